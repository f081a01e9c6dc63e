"""One sandbox, two doors: what is made through one is listed, used, extended and deleted through the other, with the same id."""
import datetime
import threading

import pytest
import requests

from conftest import Sandbox, until
from controlplane import Control, control, refused  # noqa: F401
from dataplane import ask, envelopes, open_command, rpc, run, token_of

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


def same(control, daemon, id):
    """What both doors say of one sandbox; what each says of it in a list."""
    e2b, native = control.detail(id), daemon.get(f"/api/sandboxes/{id}").json()
    assert e2b["sandboxID"] == native["id"] and e2b["templateID"] == native["template"] and e2b["metadata"] == native["metadata"]
    assert e2b["state"] == {"stopped": "paused"}.get(native["state"], native["state"])
    assert e2b["startedAt"][:23] == native["created_at"][:23]
    if e2b["state"] == "running":
        assert e2b["endAt"] == native["expires_at"] or (native["expires_at"] is None and e2b["endAt"].startswith("9999-"))
    shown = native["resources"]
    assert (e2b["cpuCount"], e2b["memoryMB"], e2b["diskSizeMB"]) == (shown["cpu"], shown["memory_mib"], shown["disk_mib"])
    listed, = [s for s in control.list().json() if s["sandboxID"] == native["id"]]
    assert all(e2b[key] == value for key, value in listed.items())
    assert native["id"] in [s["id"] for s in daemon.get("/api/sandboxes").json()["items"]]
    return e2b, native


def test_every_property_is_the_same_at_both_doors(control, daemon):
    mine = control.create(timeout=900, metadata={"k": "v \u00e9 &=%"}, envVars={"A": "1 2"})
    box = daemon.create(name="same-box", metadata={"k": "w"}, env={"A": "1 2"}, timeout_s=900)
    for id in (mine, box.id):
        path = f"/api/sandboxes/{id}"
        there = Sandbox(daemon, same(control, daemon, id)[1])
        assert there.exec('printf "%s" "$A$E2B_SANDBOX_ID"')["stdout"] == "1 2" + id
        assert run(there, 'printf "%s" "$A$E2B_SANDBOX_ID"') == (f"1 2{id}".encode(), 0)
        daemon.patch(path, json={"metadata": {"n": "1"}, "timeout_s": 0, "name": "renamed"})
        e2b, native = same(control, daemon, "renamed")
        assert e2b["metadata"] == {"n": "1"} and native["expires_at"] is None
        assert control.ids("metadata=n%3D1") == [id]
        control.post("/sandboxes/renamed/timeout", {"timeout": 700})
        assert 600 < left_s(same(control, daemon, id)[1]["expires_at"]) <= 700
        control.post(f"/sandboxes/{id}/pause", {"memory": id == mine})
        assert same(control, daemon, id)[1]["state"] == ("paused" if id == mine else "stopped")
        assert daemon.put("/api/sandboxes/renamed", json={}).json()["id"] == id
        assert same(control, daemon, id)[0]["state"] == "running"
        daemon.post(f"{path}/{'stop' if id == mine else 'pause'}")
        assert same(control, daemon, id)[0]["pauseMode"] == ("filesystem" if id == mine else "full")
        assert control.post("/v2/sandboxes/renamed/connect", {}).status_code == 201
        assert there.exec('printf "%s" "$A"')["stdout"] == "1 2"
        daemon.patch(path, json={"name": ""})
        refused(control.get("/sandboxes/renamed"), 404)
        assert control.delete(f"/sandboxes/{id}").status_code == 204
        assert daemon.get(path).status_code == 404 and control.ids("metadata=n%3D1") == []
        refused(control.delete(f"/sandboxes/{id}"), 404)


def test_a_native_sandbox_is_used_by_e2bs_data_plane(control, daemon):
    box = daemon.create(name="native-used")
    try:
        box.write_file("/workspace/from-native", b"n")
        assert run(box, "id -un; pwd; cat /workspace/from-native") == (b"user\n/home/user\nn", 0)
        asked = {"data": b"e", "headers": {"Content-Type": "application/octet-stream"}}
        assert ask(box, "POST", "/files", params={"path": "/workspace/from-e2b", "username": "root"}, **asked).status_code == 200
        assert ask(box, "POST", "/files", params={"path": "mine"}, **asked).status_code == 200
        assert box.exec("cat from-e2b; stat -c %U from-e2b /home/user/mine")["stdout"] == "eroot\nuser\n"
        by_name = rpc(box, "process.Process/List", {}, headers={"E2b-Sandbox-Id": "native-used"})
        assert by_name.status_code == 200, by_name.text
        before = box.get()["expires_at"]
        until(lambda: run(box, "true") and box.get()["expires_at"] > before)  # every use is one
        assert control.detail(box.id)["endAt"] == box.get()["expires_at"]
    finally:
        box.delete()


def test_deleted_natively_while_a_client_of_e2b_reads(control, daemon):
    box = Sandbox(daemon, daemon.get(f"/api/sandboxes/{control.create(timeout=600)}").json())
    token, stream = token_of(box), envelopes(open_command(box, "while :; do echo x; sleep 0.05; done"))
    next(stream), next(stream)
    box.delete()
    with pytest.raises((requests.RequestException, AssertionError)):
        assert all("end" not in message.get("event", {}) and flags == 0 for flags, message in stream), "an end that was none"
        raise AssertionError("the stream ended as if all were well")
    for _ in range(2):
        gone = ask(box, "GET", "/health", token=token)
        assert gone.status_code == 502 and gone.json() == {"sandboxId": box.id, "message": "The sandbox was not found", "code": 502}
    refused(control.post(f"/sandboxes/{box.id}/connect", {"timeout": 60}), 404)


def test_deleted_by_e2b_while_a_native_client_waits(control, daemon):
    box = daemon.create()
    replies = []
    waiting = threading.Thread(target=lambda: replies.append(daemon.post(f"{box.path}/exec", json={"command": "touch /tmp/on; sleep 1000"})))
    waiting.start()
    until(lambda: box.exec("ls /tmp/on; true")["stdout"])
    assert control.delete(f"/sandboxes/{box.id}").status_code == 204
    waiting.join(60)
    assert replies and replies[0].status_code >= 400 and "deleted" in replies[0].json()["detail"], replies
    assert daemon.get(box.path).status_code == 404
