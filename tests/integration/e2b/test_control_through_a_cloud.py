"""The control plane over a runtime that is itself a server which speaks E2B: what the door says of machines elsewhere."""
import time

import pytest

from conftest import Daemon, Sandbox, until
from controlplane import Control, refused
from dataplane import run, token_of

pytestmark = pytest.mark.root
KEY = "e2b_0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def near(daemon):
    with Daemon(env={"SANDBOX_RUNTIME": "e2b", "E2B_API_KEY": KEY, "E2B_API_URL": daemon.url, "E2B_SANDBOX_URL": daemon.url}) as d:
        yield d


@pytest.fixture
def far(near):
    control = Control(near)
    yield control
    control.close()


def test_a_life(far):
    made = far.try_create(timeout=600, metadata={"a": "b"}, envVars={"A": "1"}, autoPause=True, autoResume={"enabled": True},
                          network={"allowPublicTraffic": False}).json()
    id = made["sandboxID"]
    got = far.detail(id)
    assert got["metadata"] == {"a": "b"} and got["lifecycle"] == {"autoResume": True, "onTimeout": "pause"} and got["state"] == "running"
    assert far.ids("metadata=a%3Db") == [id] and made["trafficAccessToken"]
    assert far.post(f"/sandboxes/{id}/timeout", {"timeout": 900}).status_code == 204
    assert far.post(f"/sandboxes/{id}/refreshes", {"duration": 3000}).status_code == 204
    assert far.post(f"/sandboxes/{id}/pause").status_code == 204
    refused(far.post(f"/sandboxes/{id}/pause"), 409, "already paused")
    assert far.post(f"/sandboxes/{id}/resume", {"timeout": 60}).status_code == 201
    refused(far.post(f"/sandboxes/{id}/resume", {"timeout": 60}), 409, "already running")
    assert far.post(f"/v2/sandboxes/{id}/connect", {}).json() == made
    assert far.delete(f"/sandboxes/{id}").status_code == 204
    refused(far.delete(f"/sandboxes/{id}"), 404)


def test_it_pauses_at_its_end_and_wakes(far, near):
    id = far.create(timeout=2, autoPause=True, autoResume={"enabled": True}, envVars={"A": "1"})
    box = Sandbox(near, near.get(f"/api/sandboxes/{id}").json())
    token = token_of(box)
    until(lambda: far.detail(id)["state"] == "paused")
    assert run(box, 'echo "$A $E2B_SANDBOX_ID"; exit 4', token=token) == (f"1 {id}\n".encode(), 4)
    until(lambda: "ended with code 4" in far.get(f"/sandboxes/{id}/logs").text)


def test_what_such_a_runtime_cannot_do(far):
    reply = far.try_create(autoPause=True, autoPauseMemory=False)
    refused(reply, 501)
    assert reply.headers["Should-Retry"] == "false"
    id = far.create(timeout=600)
    refused(far.post(f"/sandboxes/{id}/pause", {"memory": False}), 501)
    assert far.detail(id)["state"] == "running"
    refused(far.try_create(templateID="nobody"), 404)


def test_metrics(far):
    """Nobody looks at machines elsewhere every few seconds; whoever asks gets an answer."""
    id = far.create(timeout=600)
    begun = time.time()
    first = far.get(f"/sandboxes/{id}/metrics").json()
    assert len(first) == 1 and 0 < first[0]["memUsed"] < first[0]["memTotal"] and first[0]["cpuUsedPct"] >= 0, first
    assert begun - 10 < first[0]["timestampUnix"] < time.time() + 10
    other = far.create(timeout=600)
    assert set(far.get(f"/sandboxes/metrics?sandbox_ids={id},{other}").json()["sandboxes"]) == {id, other}
    far.post(f"/sandboxes/{id}/pause")
    assert far.get(f"/sandboxes/{id}/metrics").status_code == 200
