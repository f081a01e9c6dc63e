"""Limits as the kernel has them: each stands where it counts, with the value that was asked for, and holds for every process."""
import json
import os
import pathlib
import resource

import pytest

from engineclient import until

pytestmark = pytest.mark.root

SPEC = {"memory_mib": 96, "cpu_milli": 700, "pids": 77, "disk_mib": 345}
NODES = {
    "memory": {"memory.limit_in_bytes": str(96 << 20), "memory.max": str(96 << 20)},
    "cpu": {"cpu.cfs_quota_us": "70000", "cpu.max": "70000 100000"},
    "pids": {"pids.max": "77"},
}


@pytest.fixture(scope="module")
def limited(shared):
    box = shared.create(resources=SPEC)
    if box.get("soft"):
        pytest.skip("this host has no control groups for limits")
    return box


def test_each_limit_stands_in_its_control_group(shared, limited):
    found = {what: set() for what in NODES}
    for group in map(pathlib.Path, shared.groups()):
        if group.name != limited["id"]:
            continue
        for what, nodes in NODES.items():
            for node, value in nodes.items():
                if (group / node).exists():
                    assert (group / node).read_text().strip() == value, group / node
                    found[what].add(node)
    assert all(found.values()), found


def test_every_process_is_in_the_control_groups(shared, limited):
    shared.run(limited["id"], "sleep 300 & setsid sleep 300 & true")
    pids = set()
    for group in shared.groups():
        if group.endswith(shared.group_name(limited["id"])) and not group.startswith("/sys/fs/cgroup/unified"):
            members = set((pathlib.Path(group) / "cgroup.procs").read_text().split())
            pids = pids or members
            assert str(limited["pid"]) in members and len(members) == 3
            assert members == pids, "another set of processes than in the other hierarchies"


def test_a_process_sees_its_own_groups_only(shared, limited):
    groups = shared.run(limited["id"], "cat /proc/self/cgroup")[1].splitlines()
    assert groups and all(line.split(":", 2)[2] == "/" for line in groups), groups


def test_limits_of_a_process(shared, limited):
    rows = {line[:25].strip(): line[26:].split()[:2] for line in shared.run(limited["id"], "cat /proc/self/limits")[1].splitlines()}
    assert rows["Max core file size"] == ["0", "0"]
    assert rows["Max file size"] == [str(345 << 20)] * 2
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    locked = 8 << 20 if most == resource.RLIM_INFINITY else min(most, 8 << 20)
    assert rows["Max locked memory"] == [str(locked)] * 2
    assert int(rows["Max open files"][1]) <= 65536


def test_the_number_of_processes_is_bounded(shared):
    id = shared.create(resources={"pids": 40})["id"]
    program = """
import errno, os, time
n = 0
try:
    while n < 100:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        n += 1
    print("no limit")
except OSError as e:
    print(errno.errorcode[e.errno], n)
"""
    why, n = shared.run(id, ["python3", "-c", program])[1].split()
    assert why == "EAGAIN" and 20 < int(n) < 40
    assert shared.call("stats", id=id)["stats"]["pids"] == 40 or shared.call("stats", id=id)["stats"]["pids"] < 40
    shared.call("delete", id=id)


def test_no_process_outlives_its_sandbox(shared):
    """Not one that left its session, its parent and its process group."""
    id = shared.create()["id"]
    shared.run(id, "for i in 1 2 3 4 5; do (setsid sh -c 'sleep 1000 & sleep 1000' &) ; done; true")
    group = shared.group_name(id)
    inside = until(lambda: len(p := [p for p in shared.processes() if group in pathlib.Path(f"/proc/{p}/cgroup").read_text()]) >= 11 and p)
    shared.call("delete", id=id)
    assert not [p for p in inside if os.path.exists(f"/proc/{p}") and group in pathlib.Path(f"/proc/{p}/cgroup").read_text()]


def test_pid_one_leads_a_session_of_its_own(shared, limited):
    stat = pathlib.Path(f"/proc/{limited['pid']}/stat").read_text().rsplit(")", 1)[1].split()
    assert stat[3] == str(limited["pid"]) and stat[4] == "0", "no terminal of the host within reach"


def test_sysctls_of_the_user_namespace_are_closed(shared, limited):
    """A second wall behind the list of system calls: the kernel would refuse a namespace below this one."""
    out = shared.run(limited["id"], "grep . /proc/sys/user/max_*_namespaces")[1]
    assert out and all(line.endswith(":0") for line in out.splitlines()), out


def test_a_record_is_whole_once_the_create_is_answered(shared, limited):
    record = json.loads((shared.state / "sandboxes" / limited["id"] / "meta.json").read_text())
    assert record["id"] == limited["id"] and record["pid"] == limited["pid"] and record["state"] == "running"
    assert record["resources"] == {**record["resources"], **SPEC} and record["start_time"] > 0
