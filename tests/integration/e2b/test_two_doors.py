"""One sandbox, two doors: what is made through one is listed, used, extended and deleted through the other, with the same id."""
import datetime

import pytest

from conftest import Sandbox
from controlplane import Control, control, refused  # noqa: F401

pytestmark = pytest.mark.root


def left_s(text):
    end = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (end - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


def test_made_by_e2b_and_used_natively(control, daemon):
    id = control.create(timeout=600, metadata={"a": "b"}, envVars={"A": "1"})
    info = daemon.get(f"/api/sandboxes/{id}").json()
    assert info["id"] == id and info["metadata"] == {"a": "b"} and info["state"] == "running" and info["template"] == "base"
    assert id in [s["id"] for s in daemon.get("/api/sandboxes").json()["items"]]
    box = Sandbox(daemon, info)
    assert box.exec("echo $A")["stdout"] == "1\n"
    box.write_file("/home/user/f", b"both")
    assert box.read_file("/home/user/f") == b"both"
    assert daemon.patch(box.path, json={"timeout_s": 3000, "name": "both-doors", "metadata": {"c": "d"}}).status_code == 200
    got = control.detail(id)
    assert got["metadata"] == {"c": "d"} and 2900 < left_s(got["endAt"]) <= 3000
    assert control.detail("both-doors")["sandboxID"] == id
    box.delete()
    refused(control.get(f"/sandboxes/{id}"), 404)
    assert id not in control.ids()


def test_made_natively_and_used_by_e2b(control, daemon):
    box = daemon.create(name="native-box", metadata={"who": "native"}, timeout_s=600)
    assert control.ids("metadata=who%3Dnative") == [box.id]
    for key in (box.id, "native-box"):
        got = control.detail(key)
        assert got["sandboxID"] == box.id and got["metadata"] == {"who": "native"} and got["envdAccessToken"]
    assert control.post(f"/sandboxes/{box.id}/timeout", {"timeout": 3000}).status_code == 204
    assert 2900 < left_s(box.get()["expires_at"]) <= 3000
    assert control.post("/sandboxes/native-box/connect", {"timeout": 5000}).status_code == 200
    assert 4900 < left_s(box.get()["expires_at"]) <= 5000
    assert control.post(f"/sandboxes/{box.id}/pause").status_code == 204
    assert box.get()["state"] == "paused"
    assert daemon.post(f"{box.path}/resume").status_code == 200
    assert control.detail(box.id)["state"] == "running"
    assert control.delete("/sandboxes/native-box").status_code == 204
    assert daemon.get(box.path).status_code == 404
    daemon.assert_nothing_left_of(box.id)


def test_a_stopped_one_is_paused_to_e2b(control, daemon):
    box = daemon.create()
    daemon.post(f"{box.path}/stop")
    assert control.detail(box.id)["state"] == "paused"
    assert control.post(f"/sandboxes/{box.id}/connect", {"timeout": 60}).status_code == 201
    assert box.get()["state"] == "running" and 40 < left_s(box.get()["expires_at"]) <= 60
    box.delete()


def test_lifetimes_of_the_native_door(control, daemon):
    forever = daemon.create(timeout_s=0)
    assert control.detail(forever.id)["endAt"].startswith("9999-")
    assert control.post(f"/sandboxes/{forever.id}/connect", {"timeout": 60}).status_code == 200
    assert forever.get()["expires_at"] is None  # connecting never makes a life shorter
    forever.delete()
    sliding = daemon.create()
    before = control.detail(sliding.id)["endAt"]
    assert control.post(f"/sandboxes/{sliding.id}/connect", {"timeout": 60}).status_code == 200
    assert control.detail(sliding.id)["endAt"] >= before
    sliding.delete()


def test_idempotency_keys_of_two_doors_do_not_meet(control, daemon):
    headers = {"Idempotency-Key": "two-doors"}
    mine = control.try_create(headers=headers).json()["sandboxID"]
    native = daemon.post("/api/sandboxes", json={"template": "base"}, headers=headers)
    assert native.status_code == 201 and native.json()["id"] != mine
    daemon.delete(f"/api/sandboxes/{native.json()['id']}")


def test_both_doors_after_a_restart(fresh_daemon):
    control = Control(fresh_daemon)
    made = control.try_create(timeout=600, metadata={"k": "v"}, autoPause=True, autoResume={"enabled": True},
                              network={"allowPublicTraffic": False}, allow_internet_access=False).json()
    before = control.detail(made["sandboxID"])
    fresh_daemon.stop()
    fresh_daemon.start()
    assert control.detail(made["sandboxID"]) == before
    assert before["lifecycle"] == {"autoResume": True, "onTimeout": "pause"} and before["allowInternetAccess"] is False
    assert control.post(f"/sandboxes/{made['sandboxID']}/connect", {"timeout": 10}).json() == made
