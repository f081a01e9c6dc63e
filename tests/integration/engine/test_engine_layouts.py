"""Hosts with other control groups than this one: the engine starts in a mount namespace where some are not mounted."""
import os
import time

import pytest

from engineclient import SANITIZED, EngineError, alive, until

pytestmark = pytest.mark.root

HIDE = {
    "v1": "umount /sys/fs/cgroup/unified",
    "v2": "for m in /sys/fs/cgroup/*; do case $m in */unified) ;; *) umount $m 2>/dev/null; esac; done",
    "none": "umount -R /sys/fs/cgroup",
}


@pytest.fixture(params=HIDE)
def layout(request, make_engine):
    if not os.path.ismount("/sys/fs/cgroup/unified"):
        pytest.skip("this host has no hybrid layout to take apart")
    if SANITIZED and request.param != "v1":
        pytest.skip("the sanitizer's agent needs more address space than the soft memory limit gives")
    engine = make_engine(prefix=["unshare", "-m", "sh", "-c", HIDE[request.param] + '; exec "$@"', "sh"])
    engine.layout = request.param
    return engine


def test_the_layout_is_found_and_told(layout):
    assert layout.hello["cgroup"] == layout.layout
    assert layout.hello["limits"] == ("hard" if layout.layout == "v1" else "soft")
    checks = {c["name"]: c for c in layout.call("doctor")["checks"]}
    assert checks["memory limit"]["ok"] == (layout.layout == "v1") and checks["pause"]["ok"] == (layout.layout != "none")


def test_a_sandbox_lives_and_dies(layout):
    sandbox = layout.create()
    id = sandbox["id"]
    assert sandbox.get("soft", False) == (layout.layout != "v1")
    assert layout.run(id, "echo hello")[:2] == (0, "hello\n")
    layout.run(id, "setsid sleep 600 >/dev/null 2>&1 &")
    if layout.layout != "none":
        assert layout.call("stats", id=id)["stats"]["cpu_ns"] > 0
    assert layout.call("stop", id=id, grace_ms=200)["sandbox"]["state"] == "stopped"
    layout.call("start", id=id)
    layout.call("delete", id=id)
    assert not alive(sandbox["pid"])


def test_pause_where_there_is_a_freezer(layout):
    sandbox = layout.create()
    if layout.layout == "none":
        with pytest.raises(EngineError) as e:
            layout.call("pause", id=sandbox["id"])
        assert e.value.code == "unsupported"
        return
    layout.run(sandbox["id"], "setsid sh -c 'while :; do :; done' >/dev/null 2>&1 &")
    layout.call("pause", id=sandbox["id"])
    layout.call("resume", id=sandbox["id"])
    assert layout.run(sandbox["id"], "echo on")[1] == "on\n"
    layout.call("pause", id=sandbox["id"])
    layout.call("set_deadline", id=sandbox["id"], deadline_ms=100)  # what v1 froze is killed by signal, then thaw
    until(lambda: not alive(sandbox["pid"]))
    until(lambda: layout.list() == [])


def test_soft_limits_are_limits(layout):
    if layout.layout == "v1":
        pytest.skip("they are hard there")
    id = layout.create(resources={"memory_mib": 200, "pids": 40})["id"]
    assert layout.run(id, ["python3", "-c", "x = bytearray(400 << 20)"])[0] != 0
    assert "fork" in layout.run(id, "for i in $(seq 60); do sleep 5 & done; wait", user="user")[2].lower()
    layout.call("delete", id=id)


def test_killed_and_found(layout):
    ids = [layout.create()["id"] for _ in range(3)]
    for id in ids:
        layout.gate.send("delete", id=id)
    time.sleep(0.002)
    layout.restart()
    for b in layout.list():
        assert layout.run(b["id"], "echo on")[1] == "on\n"
