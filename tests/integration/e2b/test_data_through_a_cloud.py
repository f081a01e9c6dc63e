"""The data plane of a sandbox that runs at another server which speaks E2B: SDK, this server, that server, sandbox."""
import hashlib
import random

import pytest
import requests

from conftest import until
from dataplane import ask, envelopes, open_command, rpc, run, signed_url, token_of

pytestmark = pytest.mark.root
KEY = "e2b_0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def far(daemon):
    """A sandbox of a server whose runtime is `e2b`, and E2B is the daemon of the other tests."""
    from conftest import Daemon
    near = Daemon(env={"SANDBOX_RUNTIME": "e2b", "E2B_API_KEY": KEY, "E2B_API_URL": daemon.url, "E2B_SANDBOX_URL": daemon.url})
    near.start()
    box = near.create()
    yield box
    near.close()


def test_commands_and_files(far):
    token = token_of(far)
    assert run(far, "echo hi; exit 3", token=token) == (b"hi\n", 3)
    data = random.Random(9).randbytes(3_000_000)
    assert ask(far, "POST", "/files", params={"path": "/tmp/f"}, data=data, token=token, headers={"Content-Type": "application/octet-stream"}).status_code == 200
    assert hashlib.sha256(ask(far, "GET", "/files", params={"path": "/tmp/f"}, token=token).content).digest() == hashlib.sha256(data).digest()
    assert rpc(far, "filesystem.Filesystem/Stat", {"path": "/tmp/f"}, token=token).json()["entry"]["size"] == "3000000"
    assert ask(far, "GET", "/health", token=False).status_code == 204


def test_tokens_and_signatures_are_those_of_this_server(far, daemon):
    assert requests.get(signed_url(far, "/etc/hostname"), timeout=60).status_code == 200
    for token in (False, "x"):
        assert rpc(far, "filesystem.Filesystem/Stat", {"path": "/"}, token=token).status_code == 401
    there = daemon.get("/v2/sandboxes", headers={"X-API-KEY": KEY}).json()[0]["sandboxID"]
    theirs = daemon.get(f"/sandboxes/{there}", headers={"X-API-KEY": KEY}).json()["envdAccessToken"]
    assert rpc(far, "filesystem.Filesystem/Stat", {"path": "/"}, token=theirs).status_code == 401


def test_ports(far):
    token = token_of(far)
    assert ask(far, "GET", "/", port=8123, token=token).json()["message"] == "The sandbox is running but port is not open"
    stream = envelopes(open_command(far, "mkdir -p /tmp/w && cd /tmp/w && echo page >index.html && exec python3 -m http.server 8123", token=token))
    assert "start" in next(stream)[1]["event"]
    until(lambda: ask(far, "GET", "/", port=8123, token=token).text == "page\n")


def id_there(daemon):
    return daemon.get("/v2/sandboxes", headers={"X-API-KEY": KEY}).json()[0]["sandboxID"]


def test_one_that_was_paused_behind_our_back_is_resumed(far, daemon):
    token = token_of(far)
    for way in (lambda: far.daemon.post(f"/v2/sandboxes/{far.id}/connect", json={"timeout": 600}, headers={"X-API-KEY": KEY}),
                lambda: far.daemon.post(f"{far.path}/resume")):
        stream = envelopes(open_command(far, "sleep 1000", token=token))
        next(stream)
        assert daemon.post(f"/sandboxes/{id_there(daemon)}/pause", headers={"X-API-KEY": KEY}).status_code == 204
        with pytest.raises((requests.RequestException, AssertionError)):
            list(stream)
        assert ask(far, "GET", "/health", token=token).status_code == 502
        assert way().status_code in (200, 201)
        assert run(far, "echo back", token=token) == (b"back\n", 0)


def test_a_pause_through_us_disconnects_clients(far):
    token = token_of(far)
    stream = envelopes(open_command(far, "sleep 1000", token=token))
    next(stream)
    assert far.daemon.post(f"{far.path}/pause").status_code == 200
    with pytest.raises((requests.RequestException, AssertionError)):
        list(stream)
    assert ask(far, "GET", "/health", token=token).json() == {"sandboxId": far.id, "message": "The sandbox was not found", "code": 502}
    assert far.daemon.post(f"{far.path}/resume").status_code == 200
    assert run(far, "echo back", token=token) == (b"back\n", 0)


def test_its_end_is_seen(far, daemon):
    token = token_of(far)
    stream = envelopes(open_command(far, "sleep 1000", token=token))
    next(stream)
    for item in daemon.get("/v2/sandboxes", headers={"X-API-KEY": KEY}).json():
        daemon.delete(f"/sandboxes/{item['sandboxID']}", headers={"X-API-KEY": KEY})
    with pytest.raises((requests.RequestException, AssertionError)):
        list(stream)
    reply = ask(far, "GET", "/health", token=token)
    assert reply.status_code == 502 and "was not found" in reply.text, reply.text
