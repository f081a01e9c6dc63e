"""A sandbox that takes all it can get: the host, the daemon and the neighbours go on working, and inspect says why it died."""
import concurrent.futures
import http.client
import json
import time

import pytest

from conftest import SANITIZED

pytestmark = pytest.mark.root


def neighbour_works(other, seconds=30):
    got = other.exec("echo fine", timeout_s=seconds)
    assert (got["exit_code"], got["stdout"]) == (0, "fine\n")


def wait_for(check, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError("it did not come to pass in %d s" % seconds)


def test_field_report_20_fork_bomb(daemon, sandbox, other_sandbox):
    """The neighbour works, but may have to wait: on a kernel that samples pages (DAMON) a page of /bin/sh stays locked while
    the sampler queues with hundreds of forks for the lock of the file's mappings; 53 s were seen in one of 200 bombs."""
    sandbox.exec("sh -c 'bomb() { bomb | bomb & }; bomb' >/dev/null 2>&1 &", timeout_s=20)
    sandbox.try_exec("unshare -Ur sh -c 'bomb() { bomb | bomb & }; bomb' >/dev/null 2>&1 &", timeout_s=20)
    time.sleep(2)
    neighbour_works(other_sandbox, seconds=170)
    assert daemon.get("/api/runtime/health").json()["status"] == "healthy"
    assert daemon.get("/healthz").status_code == 200
    sandbox.delete()
    assert daemon.get(f"/api/sandboxes/{sandbox.id}").status_code == 404
    daemon.assert_nothing_left_of(sandbox.id)


def test_memory_hog_dies_of_oom_and_the_sandbox_lives(daemon, other_sandbox):
    hog = daemon.create(resources={"memory_mib": 64})
    got = hog.exec(["python3", "-c", "x = bytearray(300 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1"], timeout_s=60)
    assert got["exit_code"] == 137 and got["signal"] in (9, "SIGKILL")
    assert hog.exec("echo alive")["stdout"] == "alive\n"
    neighbour_works(other_sandbox)
    hog.delete()


def test_disk_filler_is_stopped_before_the_host_is_full(daemon, other_sandbox):
    filler = daemon.create(resources={"disk_mib": 64})
    got = filler.try_exec("head -c 1500000000 /dev/zero > big; echo $?", timeout_s=120)
    neighbour_works(other_sandbox)
    def stopped():
        info = daemon.get(f"/api/sandboxes/{filler.id}").json()
        return info if info.get("reason") == "disk_full" or info.get("state") in ("stopped", "error") else None
    if not (got.status_code == 200 and "No space" in got.json().get("stderr", "")):
        info = wait_for(stopped)
        assert info["reason"] == "disk_full", info
    filler.delete()


def test_inotify_hog_leaves_the_neighbour_its_instances(sandbox, other_sandbox):
    hog = """
import ctypes, sys
libc = ctypes.CDLL(None)
n = 0
while libc.inotify_init1(0) >= 0 and n < 100000: n += 1
print(n, flush=True)
import time; time.sleep(600)
"""
    sandbox.write_file("/tmp/hog.py", hog.encode())
    sandbox.exec("python3 /tmp/hog.py > /tmp/count 2>&1 & until [ -s /tmp/count ]; do sleep 0.05; done")
    got = other_sandbox.exec(["python3", "-c", "import ctypes; print(ctypes.CDLL(None).inotify_init1(0))"])
    assert int(got["stdout"]) >= 0, got


def test_a_hog_of_terminals_leaves_the_neighbour_its_own(sandbox, other_sandbox):
    """The kernel has some 3 000 for all sandboxes together."""
    sandbox.write_file("/tmp/hog.py", b"""
import os, time
held = []
try:
    while len(held) < 3000:
        held.append(os.openpty())
except OSError:
    pass
print(len(held), flush=True)
time.sleep(600)
""")
    sandbox.exec("python3 /tmp/hog.py > /tmp/count 2>&1 & until [ -s /tmp/count ]; do sleep 0.05; done")
    assert other_sandbox.exec(["python3", "-c", "import os; [os.openpty() for _ in range(200)]; print('fine')"])["stdout"] == "fine\n"
    assert 200 <= int(sandbox.exec("cat /tmp/count")["stdout"]) <= 256


def test_open_files_are_bounded_by_the_memory_of_each_sandbox(daemon):
    """Not by one number for the whole host, which one sandbox uses up for all."""
    box = daemon.create(resources={"memory_mib": 64})
    if box.info["limits"] == "soft":
        pytest.skip("memory is not bounded here")
    assert int(open("/proc/sys/fs/file-max").read()) > 2**62
    code = ("import os, signal\nfor _ in range(50):\n    if os.fork() == 0:\n        try:\n            while True: os.open('/dev/null', 0)\n"
            "        except OSError: signal.pause()\nos.wait()\nprint('killed')")
    box.write_file("/tmp/files.py", code.encode())
    assert box.exec(["python3", "/tmp/files.py"], timeout_s=60)["timed_out"] is False  # the memory limit ends it
    if not SANITIZED:  # it makes an agent as large as a hog, and for the moment of a start as killable
        assert box.exec("echo alive")["stdout"] == "alive\n"
    box.delete()


def test_output_flood_stops_the_writer_and_nothing_else(daemon, sandbox, other_sandbox):
    """A client that does not read: the process waits, the gateway does not grow."""
    before = daemon.rss_kib("sandmux-gateway")
    stream = daemon.open_stream(f"/api/sandboxes/{sandbox.id}/exec", {"command": "yes flood"})
    time.sleep(3)
    neighbour_works(other_sandbox)
    assert sandbox.exec("echo still here")["stdout"] == "still here\n"
    assert daemon.rss_kib("sandmux-gateway") - before < 16 * 1024
    stream.close()
    sandbox.exec("pkill yes; true")


def test_output_past_the_cap_is_dropped_and_said(sandbox):
    got = sandbox.exec("head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2", max_output_bytes=1000000)
    assert got["truncated"] is True and len(got["stdout"]) == 1000000
    assert got["exit_code"] == 0 and got["stderr"] == "end\n"


def test_field_report_21_orphans_are_reaped(daemon, sandbox):
    sandbox.exec("for i in $(seq 500); do (setsid sleep 0.1 &) ; done", timeout_s=60)
    zombies = "cat /proc/[0-9]*/stat 2>/dev/null | awk '$3 == \"Z\"' | wc -l"
    wait_for(lambda: sandbox.exec(zombies)["stdout"].strip() == "0"
             and int(daemon.get(f"/api/sandboxes/{sandbox.id}/stats").json()["pids"]) < 10)
    assert sandbox.exec("exit 7")["exit_code"] == 7


def test_field_report_22_shared_memory(sandbox):
    code = """
from multiprocessing import Lock, shared_memory
s = shared_memory.SharedMemory(create=True, size=256 << 20)
s.buf[len(s.buf) - 1] = 1
s.close(); s.unlink(); Lock(); print('ok')
"""
    got = sandbox.exec(["python3", "-c", code], timeout_s=60)
    assert got["stdout"] == "ok\n", got


def test_field_report_23_names_resolve(sandbox):
    assert sandbox.exec("cat /etc/resolv.conf")["exit_code"] == 0
    assert sandbox.exec("getent hosts localhost")["exit_code"] == 0
    assert sandbox.exec("getent hosts $(hostname)")["exit_code"] == 0
    begin = time.monotonic()
    assert sandbox.exec("getent hosts no-such-host.example", timeout_s=20)["exit_code"] != 0
    assert time.monotonic() - begin < 10  # fails fast: no resolver is waited for


def test_a_full_disk_does_not_stop_a_delete(daemon):
    box = daemon.create(resources={"disk_mib": 32})
    box.try_exec("head -c 100000000 /dev/zero > big", timeout_s=60)
    box.delete()
    daemon.assert_nothing_left_of(box.id)


def test_exhausted_pids_are_a_clear_error_and_pass(daemon):
    box = daemon.create(resources={"pids": 20})
    box.exec("for i in $(seq 40); do sleep 5 & done; true", timeout_s=30)
    reply = box.try_exec("true")
    if reply.status_code != 200:
        assert reply.json()["code"] in ("quota_exceeded", "rate_limited"), reply.text
    def works():
        again = box.try_exec("echo again")
        return again.status_code == 200 and again.json()["stdout"] == "again\n"
    wait_for(works, 30)
    box.delete()


def test_cpu_limit_holds(daemon):
    box = daemon.create(resources={"cpu": 0.5})
    code = "import time; e = time.time() + 2\nwhile time.time() < e: pass\nprint(time.process_time())"
    used = float(box.exec(["python3", "-c", code], timeout_s=30)["stdout"])
    assert used < 1.6, used
    box.delete()


def test_4500_commands_fifty_at_a_time(daemon, sandbox):
    """More than the agent keeps of ended ones, and many between fork and exec while others' pipes come to their end."""
    body = json.dumps({"command": ["/usr/bin/true"]})

    def many(_):
        c = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=120)
        seen = set()
        for _ in range(90):
            c.request("POST", sandbox.path + "/exec", body, {"Content-Type": "application/json"})
            reply = c.getresponse()
            seen.add((reply.status, json.loads(reply.read()).get("exit_code")))
        return seen

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        assert set().union(*pool.map(many, range(50))) == {(200, 0)}
    assert sandbox.exec("echo alive")["stdout"] == "alive\n"
