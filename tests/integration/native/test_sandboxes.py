"""/api/sandboxes: create, get or create, list, change, life cycle."""
import concurrent.futures
import threading
import time
from datetime import datetime, timezone

import pytest

from conftest import until

pytestmark = pytest.mark.root

FIELDS = {"id", "name", "aliases", "runtime", "provider_id", "state", "template", "project_id", "metadata", "created_at",
          "updated_at", "expires_at", "resources", "limits", "internet", "capabilities", "reason"}


def names(daemon, **query):
    return [item["name"] for item in daemon.get("/api/sandboxes", params=query).json()["items"]]


def test_a_bare_create_has_every_documented_field(daemon, sandbox):
    info = sandbox.get()
    assert FIELDS <= set(info)
    assert info["id"].startswith("i") and len(info["id"]) == 21
    assert (info["runtime"], info["state"], info["template"], info["name"]) == ("local", "running", "base", None)
    assert info["resources"]["memory_mib"] == 1024 and info["resources"]["disk_mib"] == 5120
    assert info["limits"] in ("hard", "soft") and info["internet"] is False and info["reason"] is None


def test_what_was_asked_for_is_what_it_got(daemon):
    box = daemon.create(name="asked", project_id="p1", metadata={"a": "b"}, env={"X": "y"}, timeout_s=300,
                        resources={"cpu": 1, "memory_mib": 256, "disk_mib": 512})
    info = daemon.get("/api/sandboxes/asked").json()
    assert (info["id"], info["project_id"], info["metadata"]) == (box.id, "p1", {"a": "b"})
    assert (info["resources"]["cpu"], info["resources"]["memory_mib"], info["resources"]["disk_mib"]) == (1, 256, 512)
    assert box.exec("echo $X")["stdout"] == "y\n"
    box.delete()


def test_create_without_a_body_is_a_bare_create(daemon):
    reply = daemon.post("/api/sandboxes")
    assert reply.status_code == 201, reply.text
    daemon.delete(f"/api/sandboxes/{reply.json()['id']}")


def test_a_name_is_unique_among_the_living(daemon):
    box = daemon.create(name="unique")
    again = daemon.post("/api/sandboxes", json={"name": "unique"})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    box.delete()
    daemon.create(name="unique").delete()


def test_put_makes_finds_and_starts(daemon):
    first = daemon.put("/api/sandboxes/mine", json={})
    assert (first.status_code, first.json()["state"]) == (201, "running")
    second = daemon.put("/api/sandboxes/mine", json={})
    assert (second.status_code, second.json()["id"]) == (200, first.json()["id"])
    daemon.post("/api/sandboxes/mine/stop")
    third = daemon.put("/api/sandboxes/mine", json={})
    assert (third.status_code, third.json()["state"]) == (200, "running")
    assert daemon.delete("/api/sandboxes/mine").status_code == 204


def test_sixteen_callers_of_one_name_make_one_sandbox(daemon):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: daemon.put("/api/sandboxes/shared", json={}), range(16)))
    assert len({r.json()["id"] for r in replies}) == 1
    assert sorted(r.status_code for r in replies) == [200] * 15 + [201]
    daemon.delete("/api/sandboxes/shared")


def test_an_expired_name_is_made_again_and_says_so(daemon):
    daemon.put("/api/sandboxes/brief", json={"timeout_s": 1})
    until(lambda: daemon.get("/api/sandboxes/brief").status_code == 404)
    again = daemon.put("/api/sandboxes/brief", json={})
    assert (again.status_code, again.json().get("recreated")) == (201, True)
    daemon.delete("/api/sandboxes/brief")


def test_list_pages_without_doubles_and_filters(daemon):
    boxes = [daemon.create(name=f"page{i}", project_id="paging") for i in range(5)]
    seen, cursor = [], None
    while True:
        query = {"project_id": "paging", "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = daemon.get("/api/sandboxes", params=query).json()
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(box.id for box in boxes)
    daemon.post(f"{boxes[0].path}/stop")
    assert names(daemon, project_id="paging", state="stopped") == ["page0"]
    assert names(daemon, project_id="paging", runtime="e2b") == []
    for box in boxes:
        box.delete()


def test_patch_changes_name_metadata_and_lifetime(daemon, sandbox):
    info = daemon.patch(sandbox.path, json={"name": "patched", "metadata": {"k": "v"}, "timeout_s": 0}).json()
    assert (info["name"], info["metadata"], info["expires_at"]) == ("patched", {"k": "v"}, None)
    info = daemon.patch(sandbox.path, json={"timeout_s": 120}).json()
    assert info["expires_at"] is not None and info["metadata"] == {"k": "v"}


def test_delete_is_really_gone(daemon):
    box = daemon.create()
    box.delete()
    assert daemon.get(box.path).status_code == 404
    assert daemon.delete(box.path).status_code == 404
    assert daemon.delete(f"{box.path}?missing_ok=1").status_code == 204
    assert box.id not in [item["id"] for item in daemon.get("/api/sandboxes?limit=1000").json()["items"]]
    daemon.assert_nothing_left_of(box.id)


def test_states_and_their_conflicts(daemon):
    box = daemon.create()
    assert daemon.post(f"{box.path}/pause").json()["state"] == "paused"
    conflict = box.try_exec("true")
    assert (conflict.status_code, conflict.json()["code"]) == (409, "state_conflict") and "paused" in conflict.text
    assert daemon.post(f"{box.path}/resume").json()["state"] == "running"
    assert daemon.post(f"{box.path}/stop").json()["state"] == "stopped"
    assert daemon.post(f"{box.path}/stop").status_code == 200  # there already
    assert daemon.post(f"{box.path}/pause").status_code == 409
    assert daemon.post(f"{box.path}/start").json()["state"] == "running"
    box.delete()


def test_idempotency_key(daemon):
    key = {"Idempotency-Key": "test-key-1"}
    first = daemon.post("/api/sandboxes", json={"name": "idem"}, headers=key)
    again = daemon.post("/api/sandboxes", json={"name": "idem"}, headers=key)
    assert (first.status_code, again.status_code, first.content) == (201, 201, again.content)
    other = daemon.post("/api/sandboxes", json={}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    daemon.delete("/api/sandboxes/idem")


def test_idempotency_key_of_sixteen_at_once_makes_one(daemon):
    def create(_):
        return daemon.post("/api/sandboxes", json={"project_id": "idem16"}, headers={"Idempotency-Key": "test-key-16"})
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(create, range(16)))
    for r in replies:
        assert r.status_code == 201 or (r.status_code, r.json()["code"]) == (409, "idempotency_in_progress"), r.text
    listed = daemon.get("/api/sandboxes?project_id=idem16").json()["items"]
    assert len(listed) == 1
    daemon.delete(f"/api/sandboxes/{listed[0]['id']}")


def test_unknown_template_and_impossible_resources(daemon):
    reply = daemon.post("/api/sandboxes", json={"template": "no-such"})
    assert (reply.status_code, reply.json()["code"]) == (404, "template_not_found"), reply.text
    reply = daemon.post("/api/sandboxes", json={"resources": {"memory_mib": 16777215}})
    assert reply.status_code in (422, 429), reply.text


def test_the_password_appears_nowhere(daemon):
    box = daemon.create(password="planted-secret-7731", env={"TOKEN": "planted-secret-7732"})
    texts = [daemon.get(box.path).text, daemon.get("/api/sandboxes").text, daemon.get("/metrics").text,
             daemon.get(f"{box.path}/logs").text, daemon.log()]
    assert not any("planted-secret" in text for text in texts)
    box.delete()


def test_field_report_8_a_lifetime_survives_pause_and_another_put(daemon):
    def left(info):
        return (datetime.fromisoformat(info["expires_at"]) - datetime.now(timezone.utc)).total_seconds()
    first = daemon.put("/api/sandboxes/long", json={"timeout_s": 1800}).json()
    assert 1790 < left(first) <= 1800
    assert daemon.post("/api/sandboxes/long/pause").json()["expires_at"] is None  # suspended
    again = daemon.put("/api/sandboxes/long", json={}).json()
    assert again["id"] == first["id"] and again["state"] == "running" and 1790 < left(again) <= 1800
    daemon.delete("/api/sandboxes/long")


def test_a_sliding_lifetime_moves_with_every_use(daemon, sandbox):
    before = sandbox.get()["expires_at"]
    time.sleep(1.1)
    sandbox.exec("true")
    assert sandbox.get()["expires_at"] > before


def test_deadlines_fire(daemon):
    box = daemon.create(timeout_s=1)
    paused = daemon.create(timeout_s=1000)
    until(lambda: daemon.get(box.path).status_code == 404)
    daemon.assert_nothing_left_of(box.id)
    paused.delete()


def test_field_report_9_once_absent_never_back(daemon):
    box = daemon.create()
    stop = threading.Event()
    seen = []

    def poll():
        states = []
        while not stop.is_set():
            reply = daemon.get(box.path)
            states.append(reply.json()["state"] if reply.status_code == 200 else reply.json()["code"])
        seen.append(states)

    threads = [threading.Thread(target=poll) for _ in range(8)]
    for t in threads:
        t.start()
    box.delete()
    again = daemon.delete(box.path)
    time.sleep(0.3)
    stop.set()
    for t in threads:
        t.join()
    assert (again.status_code, again.json()["code"]) == (404, "sandbox_not_found")
    for states in seen:
        assert set(states) <= {"running", "stopping", "deleting", "sandbox_not_found"}, set(states)
        gone = states.index("sandbox_not_found") if "sandbox_not_found" in states else len(states)
        assert set(states[gone:]) <= {"sandbox_not_found"}
