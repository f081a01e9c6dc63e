"""The life of a sandbox at E2B's door: time, pause, connect, resume; field reports 8 and 9."""
import concurrent.futures
import datetime
import time

import pytest

from conftest import until
from controlplane import Control, control, refused  # noqa: F401

pytestmark = pytest.mark.root


def left_s(control, id):
    end = datetime.datetime.fromisoformat(control.detail(id)["endAt"].replace("Z", "+00:00"))
    return (end - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


def near(value, wanted):
    return wanted - 20 < value <= wanted + 1


def test_timeout_sets_exactly(control):
    id = control.create(timeout=1000)
    for seconds in (100, 2000, 300):
        assert control.post(f"/sandboxes/{id}/timeout", {"timeout": seconds}).status_code == 204
        assert near(left_s(control, id), seconds)


def test_a_timeout_of_zero_ends_it(control):
    id = control.create(timeout=1000)
    assert control.post(f"/sandboxes/{id}/timeout", {"timeout": 0}).status_code == 204
    refused(control.get(f"/sandboxes/{id}"), 404)


def test_refreshes_only_extend(control):
    id = control.create(timeout=1000)
    for body in ({"duration": 100}, {}, None, {"duration": 0}, {"duration": None}):
        assert control.post(f"/sandboxes/{id}/refreshes", body).status_code == 204
        assert near(left_s(control, id), 1000)
    assert control.post(f"/sandboxes/{id}/refreshes", {"duration": 3600}).status_code == 204
    assert near(left_s(control, id), 3600)
    for wrong in (-1, 3601, "9", 1.5):
        refused(control.post(f"/sandboxes/{id}/refreshes", {"duration": wrong}), 400, "duration")


@pytest.mark.parametrize("path", ["/sandboxes/{}/connect", "/v2/sandboxes/{}/connect"])
def test_field_report_08_connect_only_extends(control, path):
    id = control.create(timeout=1800)
    reply = control.post(path.format(id), {"timeout": 60})
    assert reply.status_code == 200 and reply.json()["sandboxID"] == id and reply.json()["envdAccessToken"]
    assert near(left_s(control, id), 1800)
    assert control.post(path.format(id), {"timeout": 3600}).status_code == 200
    assert near(left_s(control, id), 3600)


def test_field_report_08_the_native_lifetime_stays(control, daemon):
    box = daemon.create(name="report-8", timeout_s=1800)
    daemon.post(f"{box.path}/pause")
    again = daemon.put("/api/sandboxes/report-8", json={})
    assert again.json()["state"] == "running"
    assert near(left_s(control, again.json()["id"]), 1800)
    box.delete()


def test_connect_needs_a_time_in_version_1_only(control):
    id = control.create(timeout=60)
    refused(control.post(f"/sandboxes/{id}/connect", {}), 400, "timeout")
    refused(control.post(f"/sandboxes/{id}/connect"), 400, "timeout")
    assert control.post(f"/v2/sandboxes/{id}/connect").status_code == 200
    assert near(left_s(control, id), 300)
    assert control.post(f"/v2/sandboxes/{id}/connect", {}).status_code == 200
    for path in (f"/sandboxes/{id}/connect", f"/v2/sandboxes/{id}/connect"):
        for wrong in (0, -5):
            refused(control.post(path, {"timeout": wrong}), 400, "Timeout must be greater than 0")
        refused(control.post(path, {"timeout": 86401}), 400, "24 hours")


def test_pause_and_connect_keep_everything(control, daemon):
    made = control.try_create(timeout=600, metadata={"a": "b"}, envVars={"A": "1"}).json()
    id = made["sandboxID"]
    daemon.exec_in(id, "setsid sh -c 'i=0; while :; do i=$((i+1)); echo $i > /tmp/n; sleep 0.05; done' >/dev/null 2>&1 &")
    until(lambda: daemon.exec_in(id, "cat /tmp/n 2>/dev/null; true")["stdout"].strip())
    assert control.post(f"/sandboxes/{id}/pause").status_code == 204
    got = control.detail(id)
    assert got["state"] == "paused" and got["pauseMode"] == "full" and got["metadata"] == {"a": "b"} and got["sandboxID"] == id
    refused(control.post(f"/sandboxes/{id}/pause"), 409, "already paused")
    refused(control.post(f"/sandboxes/{id}/pause", {"memory": False}), 409)
    for path in ("timeout", "refreshes"):
        refused(control.post(f"/sandboxes/{id}/{path}", {"timeout": 60, "duration": 60}), 404)
    back = control.post(f"/sandboxes/{id}/connect", {"timeout": 100})
    assert back.status_code == 201 and back.json()["envdAccessToken"] == made["envdAccessToken"]
    assert near(left_s(control, id), 100) and control.detail(id)["state"] == "running"
    before = daemon.exec_in(id, "cat /tmp/n")["stdout"]
    until(lambda: daemon.exec_in(id, "cat /tmp/n")["stdout"] != before)
    assert daemon.exec_in(id, "echo $A")["stdout"] == "1\n"


def test_pause_without_memory_keeps_files_only(control, daemon):
    made = control.try_create(timeout=600, envVars={"A": "1"}).json()
    id = made["sandboxID"]
    daemon.exec_in(id, "echo kept > /root/file; setsid sleep 1000 >/dev/null 2>&1 &")
    assert control.post(f"/sandboxes/{id}/pause", {"memory": False}).status_code == 204
    assert control.detail(id)["state"] == "paused" and control.detail(id)["pauseMode"] == "filesystem"
    refused(control.post(f"/sandboxes/{id}/pause"), 409)
    back = control.post(f"/v2/sandboxes/{id}/connect", {})
    assert back.status_code == 201 and back.json() == made and near(left_s(control, id), 300)
    assert daemon.exec_in(id, "cat /root/file; echo $A; pgrep -c sleep; true")["stdout"] == "kept\n1\n0\n"


@pytest.mark.parametrize("bodies", [({}, {}, {}), ({"memory": False}, {"memory": False}), ({}, {"memory": False})])
def test_of_pauses_at_once_one_is_done(control, bodies):
    id = control.create(timeout=600)
    for _ in range(3):
        with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
            replies = list(pool.map(lambda body: control.post(f"/sandboxes/{id}/pause", body), bodies))
        assert sorted(r.status_code for r in replies) == [204] + [409] * (len(bodies) - 1)
        for reply in replies:
            if reply.status_code == 409:
                refused(reply, 409, "already paused")
        assert control.post(f"/sandboxes/{id}/connect", {"timeout": 600}).status_code == 201


def test_connect_without_memory_starts_afresh(control, daemon):
    id = control.create(timeout=600)
    daemon.exec_in(id, "echo kept > /root/file; setsid sleep 1000 >/dev/null 2>&1 &")
    control.post(f"/sandboxes/{id}/pause")
    assert control.post(f"/v2/sandboxes/{id}/connect", {"memory": False}).status_code == 201
    assert daemon.exec_in(id, "cat /root/file; pgrep -c sleep; true")["stdout"] == "kept\n0\n"


def test_resume(control):
    id = control.create(timeout=600)
    refused(control.post(f"/sandboxes/{id}/resume", {"timeout": 60}), 409, "already running")
    control.post(f"/sandboxes/{id}/pause")
    back = control.post(f"/sandboxes/{id}/resume", {"timeout": 60, "autoPause": True})
    assert back.status_code == 201 and back.json()["sandboxID"] == id and near(left_s(control, id), 60)
    control.post(f"/sandboxes/{id}/pause")
    assert control.post(f"/sandboxes/{id}/resume").status_code == 201 and near(left_s(control, id), 15)
    refused(control.post(f"/sandboxes/{id}/resume", {"timeout": 0}), 400)


def test_expiry_kills(control):
    id = control.create(timeout=1)
    until(lambda: control.get(f"/sandboxes/{id}").status_code == 404)


@pytest.mark.parametrize("memory", [True, False])
def test_expiry_pauses(control, daemon, memory):
    id = control.create(timeout=1, autoPause=True, autoPauseMemory=memory)
    assert control.detail(id)["lifecycle"] == {"autoResume": False, "onTimeout": "pause"}
    until(lambda: control.detail(id)["state"] == "paused")
    assert daemon.get(f"/api/sandboxes/{id}").json()["state"] == ("paused" if memory else "stopped")
    assert control.post(f"/sandboxes/{id}/connect", {"timeout": 1}).status_code == 201
    until(lambda: control.detail(id)["state"] == "paused")  # the setting is kept
    assert control.delete(f"/sandboxes/{id}").status_code == 204


def test_expiry_pauses_while_the_gateway_is_dead(fresh_daemon):
    control = Control(fresh_daemon)
    id = control.create(timeout=3, autoPause=True)
    fresh_daemon.stop()
    record = fresh_daemon.state / "engine" / "sandboxes" / id / "meta.json"
    time.sleep(3.5)
    fresh_daemon.start()
    assert record.exists()
    until(lambda: control.detail(id)["state"] == "paused")
    assert control.post(f"/sandboxes/{id}/connect", {"timeout": 60}).status_code == 201


def test_kill_ends_paused_ones(control, daemon):
    for body in ({}, {"memory": False}):
        id = control.create(timeout=600)
        control.post(f"/sandboxes/{id}/pause", body)
        assert control.delete(f"/sandboxes/{id}").status_code == 204
        refused(control.get(f"/sandboxes/{id}"), 404)
        daemon.assert_nothing_left_of(id)


def test_field_report_09_states_stay_what_clients_know(control):
    id = control.create(timeout=600)
    seen, gone = set(), []

    def look(_):
        while not gone:
            reply = control.get(f"/sandboxes/{id}")
            listed = control.ids()
            if reply.status_code == 404:
                gone.append(1)
                assert id not in control.ids()
            else:
                seen.add(reply.json()["state"])
                assert id in listed or control.get(f"/sandboxes/{id}").status_code == 404
        for _ in range(5):
            assert control.get(f"/sandboxes/{id}").status_code == 404 and id not in control.ids()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        lookers = [pool.submit(look, i) for i in range(8)]
        control.post(f"/sandboxes/{id}/pause")
        control.post(f"/sandboxes/{id}/connect", {"timeout": 60})
        assert control.delete(f"/sandboxes/{id}").status_code == 204
        for future in lookers:
            future.result()
    assert seen <= {"running", "paused"}
    refused(control.delete(f"/sandboxes/{id}"), 404)


def test_many_connects_start_it_once(control):
    id = control.create(timeout=600)
    control.post(f"/sandboxes/{id}/pause")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: control.post(f"/sandboxes/{id}/connect", {"timeout": 60}), range(8)))
    assert sorted(r.status_code for r in replies) == [200] * 7 + [201]
    assert near(left_s(control, id), 60)


PATHS = [("GET", ""), ("DELETE", ""), ("POST", "/connect"), ("POST", "/timeout"), ("POST", "/refreshes"), ("POST", "/pause"),
         ("POST", "/resume"), ("GET", "/metrics"), ("GET", "/logs")]


@pytest.mark.parametrize("method, tail", PATHS)
def test_sandboxes_that_are_not_there(control, method, tail):
    body = {"timeout": 60} if method == "POST" else None
    for id in ("i" + "0" * 20, "nobody", "i" + "0" * 20 + "-6532622b"):
        refused(control.request(method, f"/sandboxes/{id}{tail}", json=body), 404)
    for id in ("Not-An-Id", "a b", "%00", "..%2f", "é"):
        assert control.request(method, f"/sandboxes/{id}{tail}", json=body).status_code == 400
    refused(control.request(method, f"/sandboxes/NOT{tail}", json=body), 400, "Invalid sandbox ID")


def test_ids_with_a_client_behind_them(control):
    id = control.create(timeout=60)
    assert control.detail(f"{id}-6532622b")["sandboxID"] == id
    assert control.post(f"/sandboxes/{id}-x/timeout", {"timeout": 90}).status_code == 204
    assert control.delete(f"/sandboxes/{id}-6532622b").status_code == 204


@pytest.mark.parametrize("tail", ["/timeout", "/refreshes", "/connect", "/pause", "/resume"])
@pytest.mark.parametrize("text", ["[]", "{", '{"timeout":"x","duration":"x","memory":"x"}', "\x00"])
def test_wrong_bodies(control, tail, text):
    id = control.create(timeout=60)
    refused(control.request("POST", f"/sandboxes/{id}{tail}", data=text.encode()), 400)
    assert control.detail(id)["state"] == "running"
