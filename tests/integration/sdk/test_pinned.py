"""Programs that pinned an older PyPI `e2b`: one short session each, tests/sdk/py/pinned.py. Before 2.3 the client has no setting for
URLs and comes by the domain. From 2.10 to 2.26, with URL settings, it sends its routing fields to the control plane (connect) and
none to the data plane afterwards: only the token says whose call it is."""
import json
import pathlib
import subprocess
import sys

import pytest
import requests
from packages import SDK, Unavailable
from sdkclients import CASE_S, sdk_env, url_settings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from domain import domain  # noqa: E402,F401 (a fixture)

pytestmark = pytest.mark.root
SEEN = {
    "run": "v\nuser\n", "exit": [3, "out\n"], "timeout": True, "stdin": "got this\n",
    "read": ["grüße", True], "list": ["b.bin", "c.txt", "d", "link", "m1", "m2"], "root": True, "exists": [False, True],
    "watch": ["watched"], "pty": True,
    "listed": True, "running": True, "again": ["1", "2"], "killed": [False, False], "dead": True, "async": ["1\n2\n", "1\n2\n", "y"],
}
SCRIPT = str(SDK / "py" / "pinned.py")


def session(packages, version, env, wrapper=()):
    try:
        path = packages.pinned(version)
    except Unavailable as e:
        pytest.skip(f"the client cannot be had: {e}")
    done = subprocess.run([*wrapper, "/usr/bin/python3", SCRIPT], env=sdk_env(env, {"PYTHONPATH": str(path)}), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=CASE_S, check=False, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"version": version, **SEEN}


@pytest.mark.parametrize("version", ["2.15.3"])
def test_a_program_that_pinned_it(version, packages, daemon):
    session(packages, version, url_settings(daemon))


@pytest.mark.parametrize("version", ["1.11.1"])
def test_a_program_that_pinned_it_by_the_domain(version, packages, domain):
    session(packages, version, domain.env(), domain.enter())


# --- what 2.10 to 2.26 send, without them

@pytest.fixture
def made(daemon):
    reply = daemon.post("/sandboxes", json={"templateID": "base", "secure": True})
    assert reply.status_code == 201, reply.text
    yield reply.json()
    daemon.delete(f"/sandboxes/{reply.json()['sandboxID']}")


def fields(id, port="49983"):
    return {"E2b-Sandbox-Id": id, "E2b-Sandbox-Port": port}


@pytest.mark.parametrize("path", ["/sandboxes/{}/connect", "/v2/sandboxes/{}/connect"])
def test_routing_fields_do_not_take_a_call_from_the_control_plane(path, daemon, made):
    id = made["sandboxID"]
    reply = daemon.post(path.format(id), json={"timeout": 300}, headers=fields(id))
    assert (reply.status_code, reply.json()["sandboxID"]) == (200, id), reply.text


def test_a_port_of_a_sandbox_keeps_its_own_paths(daemon, made):
    """Only the agent has no such path; a server inside may."""
    reply = daemon.get("/sandboxes", headers=fields(made["sandboxID"], "3000"))
    assert (reply.status_code, reply.json()["message"]) == (502, "The sandbox is running but port is not open")


def test_the_token_alone_names_its_sandbox(daemon, made):
    token = {"X-Access-Token": made["envdAccessToken"]}
    content = daemon.request("POST", "/files?path=x", data=b"mine", headers={**token, "Content-Type": "application/octet-stream"})
    assert content.status_code == 200, content.text
    assert daemon.get("/files?path=x", headers=token).content == b"mine"
    entry = daemon.post("/filesystem.Filesystem/Stat", json={"path": "x"}, headers=token)
    assert (entry.status_code, entry.json()["entry"]["size"]) == (200, "4")
    assert daemon.get("/health", headers=token).status_code == 204


def test_a_token_of_none_is_answered_as_for_a_sandbox_that_is_gone(daemon, made):
    token = made["envdAccessToken"]
    for wrong in (token[:-1], token + "0", "x", "x" * 5000, token.upper() if token.upper() != token else token[::-1]):
        reply = daemon.get("/files?path=x", headers={"X-Access-Token": wrong})
        assert (reply.status_code, reply.json()["message"]) == (502, "The sandbox was not found"), wrong
    daemon.delete(f"/sandboxes/{made['sandboxID']}")
    reply = daemon.get("/files?path=x", headers={"X-Access-Token": token})
    assert (reply.status_code, reply.json()["message"]) == (502, "The sandbox was not found")


def test_without_a_token_nothing_is_found(daemon, made):
    for path in ("/files?path=x", "/process.Process/List"):
        assert requests.get(daemon.url + path, timeout=60).status_code == 404, path
