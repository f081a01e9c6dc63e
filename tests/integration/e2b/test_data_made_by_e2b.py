"""Sandboxes made by E2B's own door: open ones, private ports, resuming by use."""
import time

import pytest
import requests

from conftest import Sandbox, until
from dataplane import ask, envelopes, fields, host_of, open_command, rpc, run

pytestmark = pytest.mark.root
KEY = {"X-API-KEY": "e2b_0123456789abcdef0123456789abcdef01234567"}


class Made(Sandbox):
    def __init__(self, daemon, reply):
        assert reply.status_code == 201, reply.text
        self.made = reply.json()
        super().__init__(daemon, {"id": self.made["sandboxID"]})

    @property
    def token(self):
        return self.made.get("envdAccessToken") or False


@pytest.fixture
def make(daemon):
    made = []

    def one(path="/v2/sandboxes", **body):
        made.append(Made(daemon, daemon.post(path, json={"templateID": "base", **body}, headers=KEY)))
        return made[-1]
    yield one
    for box in made:
        daemon.delete(f"{box.path}?missing_ok=1")


def test_the_token_that_create_shows_opens_it(make):
    box = make()
    assert run(box, "id -un", token=box.token) == (b"user\n", 0)
    assert rpc(box, "process.Process/List", {}, token=False).status_code == 401


def test_v1_without_secure_is_open_to_who_knows_the_id(make):
    box = make("/sandboxes", secure=False)
    assert box.token is False
    assert run(box, "echo open", token=False) == (b"open\n", 0)
    assert ask(box, "POST", "/files", params={"path": "x"}, files={"file": ("x", b"y")}, token=False).status_code == 200
    assert ask(box, "GET", "/files", params={"path": "x"}, token=False).content == b"y"
    assert make("/sandboxes", secure=True).token


SERVER = "mkdir -p /tmp/w && cd /tmp/w && echo page >index.html && exec python3 -m http.server 8000"


def serve(box):
    stream = open_command(box, SERVER, token=box.token)
    next(envelopes(stream))
    return stream


def test_private_traffic(make):
    box = make(network={"allowPublicTraffic": False})
    traffic = box.made["trafficAccessToken"]
    keep = serve(box)
    opened = {"e2b-traffic-access-token": traffic}
    until(lambda: ask(box, "GET", "/", port=8000, token=False, headers=opened).text == "page\n")
    for by in ("fields", "host"):
        for headers in ({}, {"e2b-traffic-access-token": "wrong"}, {"e2b-traffic-access-token": box.token}, {"e2b-traffic-access-token": ""}):
            reply = ask(box, "GET", "/", port=8000, by=by, token=False, headers=headers)
            assert reply.status_code == 403 and reply.json()["code"] == 403 and reply.json()["sandboxId"] == box.id, headers
        for name in ("e2b-traffic-access-token", "E2B-TRAFFIC-ACCESS-TOKEN"):
            assert ask(box, "GET", "/", port=8000, by=by, token=False, headers={name: traffic}).text == "page\n"
    assert ask(box, "GET", "/", port=8001, token=False, headers=opened).json() == {
        "sandboxId": box.id, "message": "The sandbox is running but port is not open", "port": 8001, "code": 502}
    assert run(box, "echo envd asks for its own token only", token=box.token)[1] == 0
    assert rpc(box, "process.Process/List", {}, token=traffic).status_code == 401
    keep.close()


def test_a_public_port_of_e2b_answers_with_e2bs_bodies(make, daemon):
    box = make()
    reply = requests.get(daemon.url, headers={"Host": host_of(box, 8001)}, timeout=60)
    assert reply.status_code == 502
    assert reply.json() == {"sandboxId": box.id, "message": "The sandbox is running but port is not open", "port": 8001, "code": 502}


def paused(box):
    return box.get()["state"] == "paused"


def test_use_resumes_what_wants_to_be_resumed(make, daemon):
    box = make(autoPause=True, autoResume={"enabled": True}, timeout=600)
    keep = serve(box)
    until(lambda: ask(box, "GET", "/", port=8000, token=box.token).text == "page\n")
    for way in (lambda: ask(box, "GET", "/", port=8000, token=box.token).text == "page\n",
                lambda: requests.get(daemon.url, headers={"Host": host_of(box, 8000)}, timeout=60).text == "page\n",
                lambda: run(box, "echo up", token=box.token) == (b"up\n", 0),
                lambda: ask(box, "GET", "/health", token=box.token).status_code == 204):
        assert daemon.post(f"{box.path}/pause").status_code in (200, 202, 204)
        assert paused(box)
        assert rpc(box, "process.Process/List", {}, token=False).status_code == 401
        assert paused(box)  # a stranger wakes nobody
        assert way()
        assert box.get()["state"] == "running"
    keep.close()


def test_what_does_not_want_to_be_resumed_is_not(make, daemon):
    box = make(autoPause=True)
    assert daemon.post(f"{box.path}/pause").status_code in (200, 202, 204)
    for port in (49983, 8000):
        reply = ask(box, "GET", "/health", port=port, token=box.token)
        assert reply.status_code == 502 and reply.json() == {"sandboxId": box.id, "message": "The sandbox was not found", "code": 502}
    assert paused(box)


def test_a_call_at_the_moment_of_the_pause(make, daemon):
    """Many callers race with a pause: each is served or told, none hangs."""
    box = make(autoPause=True, autoResume={"enabled": True}, timeout=600)
    for _ in range(5):
        daemon.post(f"{box.path}/pause")
        statuses = {ask(box, "GET", "/health", token=box.token).status_code for _ in range(3)}
        assert statuses == {204}
    time.sleep(0.1)
    assert box.get()["state"] == "running"
    assert requests.get(daemon.url + "/health", headers=fields(box, token=False), timeout=60).status_code == 204
