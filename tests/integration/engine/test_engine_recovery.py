"""kill -9 of the engine at any moment: the next one finds every sandbox, and takes away what is half made."""
import http.client
import json
import os
import pathlib
import signal
import time

import pytest

from engineclient import EngineError, alive, new_id, until

pytestmark = pytest.mark.root


def meta(engine, id):
    return engine.state / "sandboxes" / id / "meta.json"


def program_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None  # it ended meanwhile


def check_consistent(engine):
    """Directories, control groups and slots belong to the sandboxes in the list and to nothing else; each of them works."""
    boxes = engine.list()
    assert all(b["state"] == "running" for b in boxes), boxes
    for b in boxes:
        assert engine.run(b["id"], "echo works")[1] == "works\n"
    ids = {b["id"] for b in boxes}
    assert {os.path.basename(d) for d in engine.directories()} == ids
    assert {os.path.basename(g) for g in engine.groups()} - {engine.instance} == set(engine.owners())
    assert set(engine.owners().values()) == ids
    init = [p for p in engine.processes() if program_of(p) == "sandmux-agent"]
    assert len(init) == len(boxes)
    return ids


@pytest.mark.parametrize("after", [0, 0.003, 0.01, 0.03, 0.06, 0.1, 0.2, 0.4, 0.8])
def test_killed_in_the_middle_of_64_creates(engine, after):
    ids = [new_id() for _ in range(64)]
    for id in ids:
        engine.gate.send("create", id=id, create={"token": "t-" + id[:5], "resources": {"memory_mib": 64}})
    time.sleep(after)
    engine.kill()
    acknowledged = [m["sandbox"]["id"] for m, _ in engine.gate.replies.values() if "sandbox" in m]
    engine.start()
    found = check_consistent(engine)
    assert set(acknowledged) <= found <= set(ids)
    assert all(b["token"] == "t-" + b["id"][:5] for b in engine.list())
    # a second engine finds the same
    engine.restart()
    assert check_consistent(engine) == found


@pytest.mark.parametrize("after", [0, 0.005, 0.02, 0.05])
def test_killed_in_the_middle_of_deletes(engine, after):
    ids = [engine.create(resources={"memory_mib": 64})["id"] for _ in range(24)]
    for id in ids:
        engine.gate.send("delete", id=id)
    time.sleep(after)
    engine.kill()
    gone = [m["sandbox"]["id"] for m, _ in engine.gate.replies.values() if m.get("sandbox", {}).get("state") == "gone"]
    engine.start()
    until(lambda: not list((engine.state / "trash").iterdir()))
    assert not check_consistent(engine) & set(gone)


@pytest.mark.parametrize("op", ["stop", "pause", "resume", "start"])
def test_killed_in_the_middle_of_a_change(engine, op):
    ids = [engine.create(resources={"memory_mib": 64})["id"] for _ in range(8)]
    if op in ("resume", "start"):
        for id in ids:
            engine.call("pause" if op == "resume" else "stop", id=id)
    for id in ids:
        engine.gate.send(op, id=id)
    time.sleep(0.004)
    engine.restart()
    # one that was killed just before may be seen running for a moment
    until(lambda: all(b["state"] != "running" or alive(b["pid"]) for b in engine.list()))

    def settled():
        """What was killed does not answer, whatever the list says for a moment."""
        try:
            return all(b["state"] != "running" or engine.run(b["id"], "true")[0] == 0 for b in engine.list())
        except (EngineError, OSError, AssertionError, http.client.HTTPException):
            return False

    until(settled)
    for b in engine.list():
        assert b["state"] in ("running", "paused", "stopped"), b
        if b["state"] != "running":
            engine.call("resume" if b["state"] == "paused" else "start", id=b["id"])
    assert check_consistent(engine) == set(ids)


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_stop_that_has_begun_is_finished_by_the_next_engine(engine, state):
    """Its processes were asked to end, and a paused one was thawed for it: it does not come back as running."""
    id = engine.create()["id"]
    engine.run(id, "(trap '' TERM; while true; do sleep 1; done) >/dev/null 2>&1 &")
    if state == "paused":
        engine.call("pause", id=id)
    engine.gate.send("stop", id=id, grace_ms=60000)
    until(lambda: json.loads(meta(engine, id).read_text())["state"] == "stopping")
    time.sleep(0.1)
    engine.restart()
    (box,) = until(lambda: [b for b in engine.list() if b["state"] == "stopped"])
    assert box["reason"] == "stopped", box
    engine.call("start", id=id)
    assert check_consistent(engine) == {id}


def test_processes_go_on_while_no_engine_is_there(engine):
    id = engine.create()["id"]
    engine.run(id, "setsid sh -c 'i=0; while :; do i=$((i+1)); echo $i > /root/n; sleep 0.01; done' >/dev/null 2>&1 &")
    counter = engine.state / "sandboxes" / id / "upper/root/n"
    until(counter.exists)
    engine.kill()
    before = counter.read_text()
    until(lambda: counter.read_text() not in (before, ""))
    engine.start()
    assert engine.run(id, "pgrep -f 'while :' | wc -l")[0] == 0


def test_a_paused_sandbox_is_found_paused(engine):
    id = engine.create()["id"]
    engine.call("pause", id=id)
    engine.restart()
    assert engine.call("get", id=id)["sandbox"]["state"] == "paused"
    engine.call("resume", id=id)
    assert engine.run(id, "echo on")[1] == "on\n"


def test_deadlines_are_armed_again(engine):
    kept, passed = engine.create(deadline_ms=600000), engine.create(deadline_ms=300)
    engine.kill()
    time.sleep(0.4)
    engine.start()
    until(lambda: [b["id"] for b in engine.list()] == [kept["id"]])
    assert not alive(passed['pid'])
    left = engine.call("get", id=kept["id"])["sandbox"]["deadline_ms"]
    assert 500000 < left <= 600000


def test_a_deadline_that_was_moved_is_found_again(engine):
    moved = engine.create()["id"]
    engine.call("set_deadline", id=moved, deadline_ms=600000)
    freed, passed = engine.create_with_short_deadline(500)
    engine.restart()
    assert 500000 < engine.call("get", id=moved)["sandbox"]["deadline_ms"] <= 600000
    time.sleep(max(0, passed + 0.2 - time.monotonic()))
    assert "deadline_ms" not in engine.call("get", id=freed)["sandbox"]


@pytest.mark.parametrize("action, state", [("pause", "paused"), ("stop", "stopped")])
def test_what_a_deadline_does_is_found_again(engine, action, state):
    passed, later = (engine.create(deadline_ms=ms, at_expiry=action)["id"] for ms in (300, 2000))
    engine.kill()
    time.sleep(0.4)
    engine.start()
    for id in (passed, later):
        until(lambda id=id: engine.call("get", id=id)["sandbox"]["state"] == state)
        engine.call("resume" if action == "pause" else "start", id=id)
        assert engine.run(id, "echo on")[1] == "on\n"


def test_one_that_died_meanwhile_is_stopped_and_starts_again(engine):
    sandbox = engine.create()
    engine.run(sandbox["id"], "echo kept > /root/f")
    engine.kill()
    os.kill(sandbox["pid"], signal.SIGKILL)
    engine.start()
    until(lambda: engine.call("get", id=sandbox["id"])["sandbox"]["state"] == "stopped")
    assert engine.call("get", id=sandbox["id"])["sandbox"]["reason"] in ("lost", "killed")
    engine.call("start", id=sandbox["id"])
    assert engine.run(sandbox["id"], "cat /root/f")[1] == "kept\n"


def test_another_process_with_the_same_pid_is_not_taken_for_it(engine):
    sandbox = engine.create()
    engine.kill()
    os.kill(sandbox["pid"], signal.SIGKILL)
    until(lambda: not alive(sandbox['pid']))
    record = json.loads(meta(engine, sandbox["id"]).read_text())
    record["pid"] = os.getpid()
    meta(engine, sandbox["id"]).write_text(json.dumps(record))
    engine.start()
    assert engine.call("get", id=sandbox["id"])["sandbox"]["state"] == "stopped"
    engine.call("delete", id=sandbox["id"])


def test_after_a_restart_of_the_host_it_is_stopped_with_its_files(engine):
    id = engine.create(deadline_ms=600000)["id"]
    engine.run(id, "echo kept > /root/f")
    engine.call("stop", id=id)
    engine.kill()
    record = json.loads(meta(engine, id).read_text())
    record.update(boot_id="00000000-0000-0000-0000-000000000000", state="running", pid=4711, start_time=1, slot=7,
                  deadline_ns=1)
    meta(engine, id).write_text(json.dumps(record))
    engine.start()
    found = engine.call("get", id=id)["sandbox"]
    assert found["state"] == "stopped" and found["reason"] == "reboot" and found["deadline_ms"] > 500000
    engine.call("start", id=id)
    assert engine.run(id, "cat /root/f")[1] == "kept\n"


@pytest.mark.parametrize("record", [None, "", "{", "[]", '{"format":2}', '{"format":1}', "x" * 100000, "\0" * 50])
def test_what_has_no_valid_record_is_removed(engine, record):
    good = engine.create()["id"]
    bad = engine.create()["id"]
    pid = engine.call("get", id=bad)["sandbox"]["pid"]
    engine.kill()
    if record is None:
        meta(engine, bad).unlink()
    else:
        meta(engine, bad).write_text(record)
    engine.start()
    assert [b["id"] for b in engine.list()] == [good]
    until(lambda: not alive(pid))
    assert check_consistent(engine) == {good}


@pytest.mark.parametrize("generation", ["../../../../tmp", "a/../../../../../tmp", ".", ".."])
def test_hostile_names_and_values_in_the_state_directory(engine, generation):
    id = engine.create()["id"]
    engine.kill()
    record = json.loads(meta(engine, id).read_text())
    record.update(generation=generation, state="stopped", pid=0)
    meta(engine, id).write_text(json.dumps(record))
    (engine.state / "sandboxes" / "notes").mkdir()
    (engine.state / "trash" / new_id()).symlink_to("/usr/lib")
    engine.start()
    assert engine.list() == [] and os.path.isdir("/usr/lib")
    assert (engine.state / "sandboxes" / "notes").is_dir()
    (engine.state / "sandboxes" / "notes").rmdir()


def test_a_record_that_belongs_to_another_sandbox_is_not_believed(engine):
    id, other = engine.create()["id"], new_id()
    engine.kill()
    (engine.state / "sandboxes" / other).mkdir()
    meta(engine, other).write_text(meta(engine, id).read_text())
    engine.start()
    assert check_consistent(engine) == {id}
    assert not (engine.state / "sandboxes" / other).exists()


def test_control_groups_without_a_sandbox_are_removed(engine):
    groups = [g for g in engine.groups() if g.endswith(engine.instance)]
    engine.kill()
    orphan = new_id()
    for group in groups:
        os.mkdir(os.path.join(group, orphan))
    engine.start()
    assert not any(orphan in g for g in engine.groups())


def test_slots_of_nobody_are_given_back(engine):
    id = engine.create()["id"]
    engine.kill()
    os.symlink(engine.state, "/run/sandmux/slots/29999")
    os.symlink("/nonexistent/state", "/run/sandmux/slots/29998")
    engine.start()
    assert not os.path.lexists("/run/sandmux/slots/29999") and not os.path.lexists("/run/sandmux/slots/29998")
    slot = json.loads(meta(engine, id).read_text())["slot"]
    assert os.readlink(f"/run/sandmux/slots/{slot}") == str(engine.state)


def test_a_failed_create_leaves_nothing(make_engine):
    engine = make_engine("--rooms", "0")
    (engine.state / "mnt/root").rmdir()
    with pytest.raises(EngineError) as e:
        engine.create()
    assert "starting sandbox" in e.value.message
    assert engine.list() == [] and engine.directories() == []
    assert [g for g in engine.groups() if not g.endswith(engine.instance)] == []
    (engine.state / "mnt/root").mkdir()
    assert engine.create()["state"] == "running"


def test_an_agent_that_cannot_run_is_an_error(make_engine, tmp_path):
    bad = tmp_path / "agent"
    bad.write_text("#!/nonexistent\n")
    bad.chmod(0o755)
    engine = make_engine("--agent", str(bad))
    with pytest.raises(EngineError) as e:
        engine.create()
    assert "starting the agent" in e.value.message
    assert engine.directories() == []


def test_without_an_agent_creates_are_refused_with_the_reason(make_engine):
    engine = make_engine("--agent", "/nonexistent/agent")
    assert not engine.hello["ready"] and "agent" in engine.hello["why"]
    with pytest.raises(EngineError) as e:
        engine.create()
    assert e.value.code == "provider_unavailable" and "agent" in e.value.message
