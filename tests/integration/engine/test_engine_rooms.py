"""Rooms: what the engine makes before anybody asks for a sandbox. A sandbox from a room and one that was made on demand are
the same; rooms hold no process; nothing is left of them."""
import contextlib
import os
import pathlib
import re
import signal

import pytest

from engineclient import EngineError, alive, new_id, parent, until

pytestmark = pytest.mark.root


def pool(engine):
    return {p.name for p in (engine.state / "pool").iterdir()}


def ready(engine):
    """Directories of rooms: their sockets are bound already."""
    return {name for name in pool(engine) if (engine.state / "pool" / name / "agent.sock").exists()}


def hands(engine):
    found = []
    for p in pathlib.Path("/proc").iterdir():
        if p.name.isdigit() and parent(p.name) == engine.process.pid and alive(p.name):
            with contextlib.suppress(OSError):  # it ends
                if (p / "comm").read_text().strip() == "sandmux-hand":
                    found.append(int(p.name))
    return found


def inside(engine, id):
    """All that a program inside can tell about its place, without what is different by design."""
    program = """
import os, re
strip = lambda text: re.sub(r"\\b[123]\\d{9}\\b|uid=\\d+|gid=\\d+|pool/\\w+|sandboxes/\\w+", "N", text)
for line in open("/proc/self/mountinfo"):
    f = line.split(" - ")
    print(strip(" ".join(f[0].split()[3:6])), strip(f[1].split()[0] + " " + f[1].split()[2]))
for name in ("limits", "uid_map", "gid_map", "oom_score_adj", "attr/current"):
    try:
        print(strip(open("/proc/self/" + name).read()))
    except OSError as e:
        print(name, e.errno)
for line in open("/proc/1/status"):
    if line.startswith(("Cap", "Seccomp", "NoNewPrivs", "Groups")):
        print(line.strip())
print(open("/proc/sys/net/ipv4/ip_unprivileged_port_start").read(), open("/sys/class/net/lo/flags").read() if os.path.exists("/sys/class/net") else "")
for top in ("/", "/dev", "/etc", "/home", "/proc"):
    print([(n, os.lstat(top + "/" + n).st_mode) for n in sorted(os.listdir(top)) if not n.isdigit()])
"""
    code, out, err = engine.run(id, ["python3", "-c", program])
    assert code == 0, err
    return out


def test_a_sandbox_from_a_room_is_like_one_made_on_demand(make_engine):
    with_rooms, without = make_engine("--rooms", "4"), make_engine("--rooms", "0")
    until(lambda: len(ready(with_rooms)) == 4)
    rooms = ready(with_rooms)
    assert ready(without) == set()
    a = with_rooms.create(hostname="same")["id"]
    b = without.create(hostname="same")["id"]
    assert len(rooms - ready(with_rooms)) == 1
    assert inside(with_rooms, a) == inside(without, b)


def test_rooms_are_bounded_and_made_again(make_engine):
    engine = make_engine("--rooms", "6")
    until(lambda: len(ready(engine)) == 6)
    ids = [engine.create(resources={"memory_mib": 64})["id"] for _ in range(9)]
    assert all(engine.run(id, "hostname")[1].strip() == id for id in ids)
    until(lambda: len(ready(engine)) == 6)


def test_dev_is_as_large_as_the_memory_limit_less_what_is_kept_back_in_every_room(make_engine):
    engine = make_engine("--rooms", "2")
    until(lambda: len(ready(engine)) == 2)
    for memory, mib in ((32, 24), (64, 56), (128, 112)):
        id = engine.create(resources={"memory_mib": memory})["id"]
        assert engine.run(id, "stat -fc '%b %S' /dev/shm")[1].split() == [str(mib * 256), "4096"]
        assert engine.run(id, "stat -fc %b /dev")[1].split() == [str(mib * 256)]


def test_a_room_holds_no_process_and_no_mount_of_the_host(make_engine):
    engine = make_engine("--rooms", "8")
    until(lambda: len(ready(engine)) == 8)
    assert set(engine.processes()) - {engine.process.pid} == set(hands(engine))
    assert engine.mounts() == []
    # helpers came home: none of them keeps a namespace of a room alive
    for hand in hands(engine):
        for name in ("mnt", "net", "ipc", "uts"):
            assert os.readlink(f"/proc/{hand}/ns/{name}") == os.readlink(f"/proc/{engine.process.pid}/ns/{name}")


def test_rooms_of_an_engine_that_was_killed_are_taken_away(make_engine):
    engine = make_engine("--rooms", "8")
    id = engine.create()["id"]
    until(lambda: len(ready(engine)) == 8)
    old = ready(engine)
    engine.kill()
    engine.options = ("--rooms", "0")
    engine.start()
    until(lambda: pool(engine) & old == set())
    until(lambda: len(engine.slots()) == 1 or all(s for s in engine.slots()))
    assert engine.run(id, "echo works")[1] == "works\n"
    for name in ("mnt", "net"):
        assert os.readlink(f"/proc/{engine.list()[0]['pid']}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")


def test_a_helper_that_is_killed_is_replaced(make_engine):
    engine = make_engine("--rooms", "2")
    until(lambda: len(ready(engine)) == 2 and hands(engine))
    for hand in hands(engine):
        os.kill(hand, signal.SIGKILL)
    made = []
    for _ in range(6):
        try:
            made.append(engine.create()["id"])
        except EngineError as e:  # the one that met the dead helper
            assert e.code == "internal_error" or "helper" in e.message, e
    assert len(made) >= 4
    assert engine.run(made[-1], "echo works")[1] == "works\n"


def test_a_create_does_not_wait_for_trees_that_are_removed(make_engine):
    engine = make_engine("--rooms", "0")
    doomed = [engine.create(resources={"memory_mib": 64})["id"] for _ in range(16)]
    stopped, pending = set(), []
    try:
        for id in doomed:
            for hand in hands(engine):
                os.kill(hand, signal.SIGSTOP)
                stopped.add(hand)
            pending.append(engine.gate.send("delete", id=id))
            until(lambda id=id: not (engine.state / "sandboxes" / id).exists())
        id = engine.create(resources={"memory_mib": 64})["id"]
        assert engine.run(id, "echo works")[1] == "works\n"
        assert len(engine.gate.replies) < len(pending), "nothing was in the way"
    finally:
        for hand in stopped:
            os.kill(hand, signal.SIGCONT)
    for seq in pending:
        engine.gate.wait(seq)


def test_descriptors_come_back(make_engine):
    engine = make_engine("--rooms", "3")
    until(lambda: len(ready(engine)) == 3)
    engine.run(engine.create()["id"], "true")
    engine.empty()
    until(lambda: len(ready(engine)) == 3)
    before = engine.descriptors()
    for _ in range(5):
        ids = [engine.create()["id"] for _ in range(8)]
        for id in ids:
            engine.call("delete", id=id)
    until(lambda: len(ready(engine)) == 3)
    # the pool of user namespaces fills meanwhile: one descriptor each, at most 128
    until(lambda: engine.descriptors() <= before + 128 + 8)
    high = [int(fd) for fd in os.listdir(f"/proc/{engine.process.pid}/fd") if int(fd) < 4096]
    assert len(high) < 64, "a child copies these"


def test_a_start_makes_a_room_of_its_own(make_engine):
    engine = make_engine("--rooms", "1")
    until(lambda: len(ready(engine)) == 1)
    id = engine.create(hostname="mine", resources={"memory_mib": 64})["id"]
    until(lambda: len(ready(engine)) == 1)
    engine.run(id, "echo kept > /root/file")
    engine.call("stop", id=id)
    engine.call("start", id=id)
    assert engine.run(id, "cat /root/file; hostname; cat /etc/hostname; stat -fc %b /dev/shm")[1].split() == ["kept", "mine", "mine", str(56 * 256)]
    assert len(ready(engine)) == 1


def test_what_the_agent_is_started_from_cannot_be_read(make_engine):
    """Its program is a copy that may be executed only: what /proc shows of pid 1 belongs to the host's root."""
    engine = make_engine()
    pid = engine.create()["pid"]
    assert os.stat(f"/proc/{pid}/exe").st_mode & 0o777 == 0o511
    for name in ("oom_score_adj", "environ", "mem", "fd"):
        assert os.stat(f"/proc/{pid}/{name}").st_uid == 0
    until(lambda: pathlib.Path(f"/proc/{pid}/comm").read_text() == "sandmux-agent\n")


def test_commands_are_killed_before_the_agent(make_engine):
    engine = make_engine()
    id = engine.create()["id"]
    assert engine.run(id, "cat /proc/self/oom_score_adj; "
                      "for i in $(seq 100); do [ $(cat /proc/1/oom_score_adj) = 0 ] && echo agent 0 && break; sleep .05; done")[1] == "100\nagent 0\n"
