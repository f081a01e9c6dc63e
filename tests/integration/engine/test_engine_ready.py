"""Sandboxes that are made ahead of time: agents that wait. One that was taken from there is like any other; those that wait are
in no list, count nowhere, and end with the engine."""
import os
import pathlib
import signal
import time

import pytest

from engineclient import alive, new_id, until

pytestmark = pytest.mark.root


def waiting(engine):
    return engine.waiting()


def full(engine, n=4):
    until(lambda: len(waiting(engine)) == n)
    return waiting(engine)


def taken(engine, ready, **create):
    """A sandbox, and the process that waited and is its first now; None: it was not made of one that waited."""
    made = engine.create(**create)
    return made["id"], made["pid"] if made["pid"] in ready.values() else None


def test_a_create_takes_one_that_waits_and_another_is_made(make_engine):
    engine = make_engine()
    ready = full(engine)
    assert engine.list() == []
    id, pid = taken(engine, ready)
    assert pid and [b["id"] for b in engine.list()] == [id]
    full(engine)
    assert pid not in waiting(engine).values()


def test_it_has_the_name_the_marks_and_the_limits_of_its_own(make_engine):
    engine = make_engine("--memory-mib", "96", "--pids", "50", "--cpu-milli", "700", "--disk-mib", "33")
    id, pid = taken(engine, full(engine), hostname="mine")
    assert pid
    out = engine.run(id, "hostname; cat /etc/hostname; grep -c mine /etc/hosts; cat /run/e2b/.E2B_SANDBOX_ID; echo; cat /run/e2b/.E2B_TEMPLATE_ID; echo; "
                     "cat /run/e2b/.E2B_SANDBOX; stat -c ' %U%a' /run /run/e2b /run/e2b/.E2B_SANDBOX_ID; cat /proc/self/cgroup")[1].split("\n")
    assert out[:9] == ["mine", "mine", "1", id, "base", "true root755", " root755", " root644", out[8]]
    assert out[8] and all(line.split(":", 2)[2] == "/" for line in out[8:] if line)
    stats = engine.call("stats", id=id)["stats"]
    assert (stats["memory_limit_bytes"], stats["pids_limit"], stats["disk_limit_bytes"]) == (96 << 20, 50, 33 << 20)
    assert stats["pids"] == 1 and stats["memory_bytes"] > 0
    limits = [(pathlib.Path(g) / n).read_text().strip() for g in engine.groups() if g.endswith(engine.group_name(id))
              for n in ("memory.limit_in_bytes", "memory.max", "pids.max", "cpu.cfs_quota_us", "cpu.max") if (pathlib.Path(g) / n).exists()]
    assert {str(96 << 20), "50"} < set(limits) and set(limits) & {"70000", "70000 100000"}
    assert f"{33 << 20}" in engine.run(id, "grep 'file size' /proc/self/limits")[1]


@pytest.mark.parametrize("resources", [{"memory_mib": 64}, {"cpu_milli": 500}, {"pids": 30}, {"disk_mib": 100}])
def test_other_resources_are_made_when_asked_for(make_engine, resources):
    engine = make_engine()
    ready = full(engine)
    id, pid = taken(engine, ready, resources=resources)
    assert pid is None and engine.group_name(id) == id and waiting(engine) == ready


@pytest.mark.parametrize("options", [("--ready", "0"), ("--rooms", "0"), ("--rooms", "1")])
def test_none_wait_where_none_are_wanted(make_engine, options):
    engine = make_engine(*options)
    id = engine.create()["id"]
    assert engine.group_name(id) == id and engine.run(id, "echo works")[1] == "works\n"
    assert waiting(engine) == {}


def test_one_that_ended_is_replaced_and_nothing_is_left_of_it(make_engine):
    engine = make_engine()
    ready = full(engine)
    for pid in ready.values():
        os.kill(pid, signal.SIGKILL)
    until(lambda: not [g for g in engine.groups(waiting=True) if os.path.basename(g) in ready])
    assert not set(full(engine)) & set(ready)
    assert engine.run(engine.create()["id"], "echo works")[1] == "works\n"


def test_a_create_that_meets_dead_ones_makes_its_own(make_engine):
    engine = make_engine()
    ready = full(engine)
    engine.process.send_signal(signal.SIGSTOP)  # it does not see them end before the request is there
    try:
        for pid in ready.values():
            os.kill(pid, signal.SIGKILL)
        until(lambda: not any(alive(pid) for pid in ready.values()))
        seq = engine.gate.send("create", id=new_id(), create={})
    finally:
        engine.process.send_signal(signal.SIGCONT)
    id = engine.gate.wait(seq)["sandbox"]["id"]
    assert engine.run(id, "echo works")[1] == "works\n"
    full(engine)


def test_they_end_with_an_engine_that_is_killed(make_engine):
    engine = make_engine()
    id, pid = taken(engine, full(engine))
    ready = full(engine)
    engine.kill()
    until(lambda: not any(alive(p) for p in ready.values()))
    assert alive(pid), "a sandbox goes on"
    engine.start()
    full(engine)
    assert not set(waiting(engine)) & set(ready)
    assert not [g for g in engine.groups(waiting=True) if os.path.basename(g) in ready]
    assert [b["pid"] for b in engine.list()] == [pid] and engine.run(id, "echo works")[1] == "works\n"


def test_the_next_engine_finds_its_groups_in_every_state(make_engine):
    engine = make_engine()
    ids = [taken(engine, full(engine))[0] for _ in range(3)]
    engine.run(ids[0], "sleep 1000 >/dev/null 2>&1 &")
    engine.call("pause", id=ids[1])
    engine.call("stop", id=ids[2])
    names = {id: engine.group_name(id) for id in ids}
    engine.restart()
    assert {b["id"]: b["state"] for b in engine.list()} == {ids[0]: "running", ids[1]: "paused", ids[2]: "stopped"}
    assert engine.call("stats", id=ids[0])["stats"]["pids"] == 2
    engine.call("resume", id=ids[1])
    engine.call("start", id=ids[2])
    for id in ids:
        assert engine.group_name(id) == names[id] and engine.run(id, "echo works")[1] == "works\n"
        engine.call("delete", id=id)
    full(engine)
    until(lambda: not [g for g in engine.groups() if os.path.basename(g) in names.values()])


def test_who_ends_takes_them_along(make_engine):
    """At any moment, also while one is being made."""
    engine = make_engine()
    for after in (0, 0.02, 0.05, 0.08, 0.1, 0.13, 0.2, 0.5):
        engine.process.send_signal(signal.SIGTERM)
        assert engine.process.wait(20) == 0
        engine.gate.close()
        assert engine.leftovers() == []
        engine.start()
        time.sleep(after)


def test_a_shutdown_takes_along_what_is_being_made(make_engine):
    for _ in range(6):
        engine = make_engine()
        for seq in [engine.gate.send("create", id=new_id(), create={}) for _ in range(5)]:
            engine.gate.wait(seq)
        assert engine.control_call("shutdown", all=True).get("error") is None
        assert engine.process.wait(30) == 0
        assert engine.leftovers() == []


def test_many_at_once_are_different_sandboxes(make_engine):
    engine = make_engine()
    full(engine)
    ids = [new_id() for _ in range(12)]
    seqs = [engine.gate.send("create", id=id, create={}) for id in ids]
    made = [engine.gate.wait(seq)["sandbox"] for seq in seqs]
    assert len({b["pid"] for b in made}) == 12
    for id in ids:
        assert engine.run(id, "hostname; cat /run/e2b/.E2B_SANDBOX_ID")[1].split() == [id, id]
