"""The traps that were met while the engine was designed, the limits, and the walls of a sandbox; each one a test."""
import concurrent.futures
import contextlib
import errno
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from engineclient import SANITIZED, Engine, EngineError, alive, new_id, until

pytestmark = pytest.mark.root
HERE = pathlib.Path(__file__).parent
INOTIFY = ("import ctypes,sys\nlibc=ctypes.CDLL(None)\nn=0\nwhile n<400 and libc.inotify_init1(0)>=0: n+=1\nprint(n,flush=True)\n"
           "open('/tmp/full','w')\nimport time\ntime.sleep(600)")


# --- traps

def test_trap_0_port_80_can_be_bound(box):
    assert box(["python3", "-c", "import socket; socket.create_server(('127.0.0.1',80)); print('bound')"], user="user")[1] == "bound\n"


def test_trap_2_the_upper_layer_is_writable_and_ids_on_disk_start_at_0(engine):
    id = engine.create()["id"]
    assert engine.run(id, "touch /root/r /etc/new && mkdir /opt/d && mv /opt/d /srv/e && rm -r /srv/e && rm /etc/group")[0] == 0
    assert engine.run(id, "touch /home/user/u && ln -s u /home/user/l", user="user")[0] == 0
    upper = engine.state / "sandboxes" / id / "upper"
    assert (upper / "root/r").stat().st_uid == 0 and (upper / "home/user/u").stat().st_uid == 1000
    before = engine.run(id, "cat /proc/self/uid_map")[1]
    engine.call("stop", id=id)
    others = [engine.create()["id"] for _ in range(2)]
    engine.call("start", id=id)
    assert engine.run(id, "cat /proc/self/uid_map")[1] != before
    assert engine.run(id, "stat -c '%u' /root/r /home/user/u")[1] == "0\n1000\n" and others


def test_trap_3_no_control_group_is_left_after_a_crowd_was_killed(engine):
    id = engine.create(resources={"pids": 400})["id"]
    engine.run(id, "for i in $(seq 200); do setsid sleep 600 >/dev/null 2>&1 & done")
    assert engine.call("stats", id=id)["stats"]["pids"] > 200
    engine.call("delete", id=id)
    assert not any(id in g for g in engine.groups())


def test_trap_5_inotify_instances_are_each_sandboxes_own(engine):
    ids = [engine.create()["id"] for _ in range(3)]
    most = int(pathlib.Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    counts = []
    for id in ids:
        engine.run(id, ["sh", "-c", "setsid python3 -c \"$0\" >/tmp/count 2>/dev/null & while ! test -e /tmp/full; do sleep 0.02; done", INOTIFY])
        counts.append(int(engine.run(id, "cat /tmp/count")[1]))
    assert all(c >= min(most, 400) - 8 for c in counts), counts


def test_trap_6_a_frozen_sandbox_is_killed_at_once(engine):
    sandbox = engine.create()
    engine.run(sandbox["id"], "setsid sh -c 'while :; do :; done' >/dev/null 2>&1 &")
    engine.call("pause", id=sandbox["id"])
    begun = time.monotonic()
    engine.call("delete", id=sandbox["id"])
    assert not alive(sandbox["pid"]) and time.monotonic() - begun < 20


def test_trap_7_joining_a_group_does_not_wait(engine):
    checks = {c["name"]: c for c in engine.call("doctor")["checks"]}
    assert checks["fast joining"]["ok"]
    assert "sandmux" not in "".join(m for m in pathlib.Path("/proc/mounts").read_text().splitlines() if " cgroup " in m and "name=sandmux" in m)


def test_trap_7_holds_for_engines_that_end_and_start_at_once(make_engine):
    """The hierarchy that makes joining fast has one name: who meets another engine at it tries again."""
    engines = [make_engine() for _ in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            list(pool.map(Engine.restart, engines))
            assert all({c["name"]: c["ok"] for c in e.call("doctor")["checks"]}["fast joining"] for e in engines)


# --- what a sandbox is made of

def test_every_namespace_is_its_own(engine):
    a, b = engine.create()["pid"], engine.create()["pid"]
    for kind in ("user", "mnt", "pid", "ipc", "uts", "net", "cgroup"):
        names = {os.readlink(f"/proc/{p}/ns/{kind}") for p in (a, b, os.getpid())}
        assert len(names) == 3, kind


def test_the_agents_uid_is_outside_the_range(engine):
    pid = engine.create()["pid"]
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    inside, outside, count = map(int, pathlib.Path(f"/proc/{pid}/uid_map").read_text().split())
    for kind in ("Uid", "Gid"):
        assert set(re.search(rf"{kind}:\s+(.*)", status).group(1).split()) == {str(outside + 65536)}
    assert (inside, count) == (0, 65536)
    assert re.search(r"Groups:[ \t]*(.*)", status).group(1).strip() == ""


def test_capabilities_are_the_fourteen(box):
    for user, expected in (("root", "00000000a80425fb"), ("user", "0000000000000000")):
        status = box("grep Cap /proc/self/status", user=user)[1]
        caps = dict(re.findall(r"(Cap\w+):\s+(\w+)", status))
        assert caps["CapBnd"] == "00000000a80425fb" and caps["CapAmb"] == "0" * 16
        assert int(caps["CapEff"], 16) & ~0xa80425fb == 0
        if user == "user":
            assert caps["CapEff"] == expected


@pytest.fixture(scope="module")
def syscalls(box):
    code, out, err = box(["python3", "-c", (HERE / "syscalls.py").read_text()])
    assert code == 0, err
    return json.loads(out)


ALLOWED = {"unshare_files", "personality_query", "personality_linux", "socket_unix", "socket_inet", "socket_inet6", "socket_netlink"}
MISSING = {"clone3", "beyond", "far", "x32_getpid"}
FAMILIES = {"socket_packet", "socket_alg", "socket_vsock", "socket_bluetooth"}


def test_the_list_of_system_calls(syscalls):
    for name, got in syscalls.items():
        if name in ALLOWED:
            assert got == 0, (name, errno.errorcode.get(got))
        elif name in MISSING:
            assert got == errno.ENOSYS, (name, errno.errorcode.get(got))
        elif name in FAMILIES:
            assert got == errno.EAFNOSUPPORT, (name, errno.errorcode.get(got))
        else:
            assert got == errno.EPERM, (name, errno.errorcode.get(got))
    assert len(syscalls) > 75


def test_no_namespace_can_be_made_below(box):
    limits = box("cat /proc/sys/user/max_user_namespaces /proc/sys/user/max_mnt_namespaces /proc/sys/user/max_net_namespaces")[1]
    assert limits == "0\n0\n0\n"
    assert box("echo 5 > /proc/sys/user/max_user_namespaces")[0] != 0
    assert box(["unshare", "-Ur", "true"])[0] != 0 and box(["unshare", "-Ur", "true"], user="user")[0] != 0


def test_kernel_files_are_masked(box):
    for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/kmsg"):
        code, out, _ = box(f"head -c 100 {path} 2>/dev/null; true")
        assert out == "", path
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/sys/kernel/hostname"):
        assert box(f"test -e {path} && echo x > {path}")[0] != 0 or path == "/proc/sysrq-trigger", path
    assert box("ls /proc/acpi /proc/scsi 2>/dev/null | grep -v :")[1].strip() == "" and box("touch /proc/acpi/x")[0] != 0
    assert box("mount | grep -E ' /sys '")[1] == "" and box("ls /sys")[1] == ""


def test_mounts_are_nodev_and_nosuid(box):
    mounts = [line.split() for line in box("cat /proc/mounts")[1].splitlines()]
    at = {m[1]: set(m[3].split(",")) for m in mounts}
    assert "nodev" in at["/"] and {"nosuid", "nodev", "ro"} <= at["/usr"] and {"nosuid", "noexec"} <= at["/dev"]
    assert {"nosuid", "nodev", "noexec"} <= at["/proc"] and {"nosuid", "nodev", "noexec", "ro"} <= at["/proc/sys"]
    assert "smx" not in json.dumps(mounts) and "/tmp/" not in json.dumps(mounts)


def test_dev_holds_six_nodes(box):
    nodes = box("find /dev -xdev -type c -o -type b | sort")[1].split()
    assert nodes == ["/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"]
    assert box("mknod /tmp/sda b 8 0")[0] != 0
    assert box("stat -c %U:%G /dev/null /dev/shm")[1] == "root:root\nroot:root\n"


def test_nothing_of_the_host_is_inside(box):
    for path in ("/root/.bashrc.host", "/etc/shadow-", "/var/lib/dpkg", "/boot", "/work", "/etc/ssh"):
        assert box(["test", "-e", path])[0] != 0, path
    assert box("cat /etc/passwd | cut -d: -f1 | sort | tr '\\n' ' '")[1] == "bin daemon mail nobody root sys user www-data "
    assert box("ls /home /tmp")[1].split() == ["/home:", "user", "/tmp:"]
    host = pathlib.Path("/etc/hostname").read_text().strip()
    assert box("hostname")[1].strip() != host


def test_the_users_and_directories_of_the_template(box):
    assert box("id -u; id -g; echo $HOME; cd && pwd", user="user", cwd="")[1].splitlines()[:2] == ["1000", "1000"]
    assert box("stat -c '%a %U' /home/user /workspace /tmp /root")[1] == "755 user\n755 root\n1777 root\n700 root\n"
    assert box(["python3", "-c", "import ssl, sqlite3, json; print(len(ssl.create_default_context().get_ca_certs()) >= 0)"])[1] == "True\n"
    assert box(["git", "--version"])[1].startswith("git version")
    assert box("mkdir /tmp/r && cd /tmp/r && git init -q . && echo ok", user="user")[1].endswith("ok\n")


def test_report_22_shared_memory_is_private_and_near_the_memory_limit(engine):
    a, b = (engine.create(resources={"memory_mib": 600})["id"] for _ in range(2))
    assert engine.run(a, "df -m --output=size /dev/shm | tail -1")[1].strip() == "525"
    assert engine.run(a, ["python3", "-c", "from multiprocessing import shared_memory, Lock\nLock()\n"
                          "s=shared_memory.SharedMemory('x',create=True,size=256<<20)\ns.buf[:]=bytes(256<<20)\nprint(len(s.buf)>>20)\ns.close()\n"
                          "open('/dev/shm/mine','w')"])[1] == "256\n"
    assert "mine" not in engine.run(b, "ls /dev/shm")[1] and not os.path.exists("/dev/shm/mine")


def test_report_23_names_resolve(box):
    assert box("cat /etc/resolv.conf")[0] == 0
    assert "127.0.0.1" in box("getent ahosts localhost")[1]
    assert box("getent hosts $(hostname)")[0] == 0
    begun = time.monotonic()
    assert box("getent hosts nowhere.example.com")[0] != 0
    assert time.monotonic() - begun < 10
    assert box("hostname")[1].strip() == box.id


@pytest.mark.skipif(SANITIZED, reason="the sanitizer gives the agent signal handlers, descriptors and a large memory")
def test_pid_one_is_out_of_reach(box):
    program = """
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
def denied(f):
    try:
        return f() is None and 'done'
    except OSError as e:
        return e.errno
print([denied(lambda p=p: open(p).read() and None) for p in ('/proc/1/environ', '/proc/1/maps', '/proc/1/mem')])
print([denied(lambda n=n: os.readlink('/proc/1/' + n) and None) for n in ('fd/0', 'fd/3', 'exe', 'root', 'ns/user')])
for what, soft in ((0, 1), (7, 5)):
    lim = (ctypes.c_ulong * 2)(soft, soft)
    print(libc.prlimit(1, what, lim, None), ctypes.get_errno())
print(libc.ptrace(16, 1, 0, 0), ctypes.get_errno())
for s in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV):
    denied(lambda: os.kill(1, s))
for uid in (65536, 65534, 1879048192):
    print(denied(lambda: os.setresuid(uid, uid, uid)))
"""
    code, out, err = box(["python3", "-c", program])
    assert code == 0, err
    lines = out.splitlines()
    assert all(n in (1, 13) for n in json.loads(lines[0])), lines
    assert all(n in (1, 13) for n in json.loads(lines[1])) and lines[2] == "-1 1" and lines[3] == "-1 1" and lines[4] == "-1 1", lines
    assert lines[5] == "22"  # the agent's own number does not exist inside
    assert box("echo alive")[1] == "alive\n"


@pytest.mark.skipif(SANITIZED, reason="the sanitizer gives the agent signal handlers, descriptors and a large memory")
def test_no_descriptor_of_the_host_is_inherited(engine):
    pid = engine.create()["pid"]

    def foreign():
        """What the agent itself has just opened is closed a moment later."""
        found = []
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        return [t for t in found if not t.startswith(("socket:", "anon_inode:", "/dev/null", "pipe:", "/proc/1/oom_score_adj"))]
    until(lambda: not foreign(), foreign)
    id = engine.list()[0]["id"]
    assert engine.run(id, "ls -l /proc/self/fd | grep -c -E 'smx|socket'")[1] == "0\n"


def test_two_sandboxes_do_not_see_each_other(engine):
    a, b = engine.create()["id"], engine.create()["id"]
    engine.run(a, "setsid sh -c 'exec -a secret sleep 600' >/dev/null 2>&1 & echo x > /tmp/mine")
    assert "secret" not in engine.run(b, "ps ax")[1] and engine.run(b, "ls /tmp")[1] == ""
    engine.run(a, "setsid python3 -c 'import socket,time; s=socket.create_server((\"127.0.0.1\",7000)); open(\"/tmp/up\",\"w\"); time.sleep(600)' "
                  ">/dev/null 2>&1 & while ! test -e /tmp/up; do sleep 0.02; done")
    with pytest.raises(EngineError) as e:
        engine.call("connect_port", id=b, port=7000)
    assert e.value.code == "port_closed"


# --- limits

def test_a_memory_hog_dies_and_the_sandbox_goes_on(engine):
    id = engine.create(resources={"memory_mib": 64})["id"]
    code = engine.run(id, ["python3", "-c", "x = bytearray(300 << 20); print(len(x))"])[0]
    assert code != 0
    event = engine.gate.event(id=id, event="oom")
    assert event["sandbox"]["state"] == "running" and event["sandbox"]["ooms"] >= 1
    assert engine.run(id, "echo alive")[1] == "alive\n"


@pytest.mark.skipif(SANITIZED, reason="the sanitizer gives the agent signal handlers, descriptors and a large memory")
def test_shared_memory_is_charged(engine):
    id = engine.create(resources={"memory_mib": 64})["id"]
    engine.run(id, "head -c 40000000 /dev/zero > /dev/shm/f")
    assert engine.call("stats", id=id)["stats"]["memory_bytes"] > 38 << 20
    engine.run(id, "head -c 90000000 /dev/zero > /dev/shm/g; true")
    assert engine.call("stats", id=id)["stats"]["memory_bytes"] <= 64 << 20


def test_a_fork_bomb_meets_its_limit(engine):
    bomb, other = engine.create(resources={"pids": 40})["id"], engine.create()["id"]
    engine.run(bomb, "setsid sh -c ':(){ :|:& };:' >/dev/null 2>&1 & sleep 0.3; true")
    assert engine.call("stats", id=bomb)["stats"]["pids"] <= 40
    assert engine.run(other, "echo fine")[1] == "fine\n"
    engine.call("delete", id=bomb)
    assert not any(bomb in g for g in engine.groups())


def test_cpu_quota(engine):
    id = engine.create(resources={"cpu_milli": 200})["id"]
    before, begun = engine.call("stats", id=id)["stats"]["cpu_ns"], time.monotonic_ns()
    engine.run(id, "timeout 1 sh -c 'while :; do :; done'; true")
    used = engine.call("stats", id=id)["stats"]["cpu_ns"] - before
    assert used < 0.8 * (time.monotonic_ns() - begun)


def test_a_disk_filler_is_stopped_with_the_reason(engine):
    id = engine.create(resources={"disk_mib": 40})["id"]
    engine.run(id, "setsid sh -c 'i=0; while :; do head -c 10000000 /dev/zero > /home/user/f$i || exit; i=$((i+1)); sleep 0.05; done' "
                   ">/dev/null 2>&1 &")
    ended = engine.gate.event(id=id, event="ended")["sandbox"]
    assert ended["state"] == "stopped" and ended["reason"] == "disk_full" and ended["disk_bytes"] > 40 << 20
    engine.call("start", id=id)
    assert engine.run(id, "rm -f /home/user/f*; echo cleared")[1] == "cleared\n"
    time.sleep(1.5)
    assert engine.call("get", id=id)["sandbox"]["state"] == "running"


def test_a_file_cannot_outgrow_the_disk_limit(engine):
    id = engine.create(resources={"disk_mib": 20})["id"]
    assert engine.run(id, "truncate -s 30M /root/sparse")[0] != 0
    assert engine.run(id, "truncate -s 10M /root/sparse")[0] == 0


def test_disk_use_cannot_hide_in_a_deep_tree(engine):
    id = engine.create(resources={"disk_mib": 30})["id"]
    engine.run(id, ["sh", "-c", "cd /root; setsid python3 -c \"$0\" >/dev/null 2>&1 &",
                    "import os\nfor i in range(700):\n os.mkdir('d'); os.chdir('d')\n"
                    "for i in range(6):\n open('f%d'%i,'wb').write(bytes(10<<20))\n"])
    assert engine.gate.event(id=id, event="ended")["sandbox"]["reason"] == "disk_full"
    engine.call("delete", id=id)
    assert engine.directories() == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 MiB of its own."""
    image, point = tmp_path / "image", tmp_path / "disk"
    point.mkdir()
    with open(image, "wb") as f:
        f.truncate(300 << 20)
    if subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image]).returncode or subprocess.run(["mount", "-o", "loop", image, point]).returncode:
        pytest.skip("no loop mounts here")
    yield point
    for _ in range(100):  # what is being closed elsewhere
        if subprocess.run(["umount", point], stderr=subprocess.DEVNULL).returncode == 0:
            break
        time.sleep(0.05)
    assert not os.path.ismount(point)


def test_the_hosts_reserve_outlives_a_filler(small_disk):
    (small_disk / "e").mkdir()
    engine = Engine(state=small_disk / "e", instance="t-small-disk").start()
    try:
        id, quiet = engine.create()["id"], engine.create()["id"]
        engine.run(quiet, "setsid sh -c 'while :; do echo x >> /root/log; sleep 0.05; done' >/dev/null 2>&1 &")
        engine.run(id, "setsid sh -c 'i=0; while :; do head -c 2000000 /dev/zero > /root/f$i || sleep 0.2; i=$((i+1)); sleep 0.03; done' "
                       ">/dev/null 2>&1 &")
        ended = engine.gate.event(id=id, event="ended", timeout=60)["sandbox"]
        assert ended["reason"] == "disk_full" and ended["state"] == "stopped"
        assert os.statvfs(small_disk).f_bavail > 0
        assert engine.call("get", id=quiet)["sandbox"]["state"] == "running"
        with open(small_disk / "ballast", "wb") as f:
            stat = os.statvfs(small_disk)
            os.posix_fallocate(f.fileno(), 0, max(1, stat.f_bavail * stat.f_frsize - (10 << 20)))
        for call in (engine.create, lambda: engine.call("start", id=id)):
            with pytest.raises(EngineError) as e:
                call()
            assert e.value.code == "out_of_disk"
    finally:
        engine.clear()


def test_deleting_follows_no_link_and_meets_hostile_trees(engine, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    id = engine.create()["id"]
    engine.run(id, ["python3", "-c", "import os\nos.makedirs('/root/d'); os.chmod('/root/d', 0)\n"
                    f"os.symlink('{outside}', '/root/link'); os.symlink('../../../../../..', '/root/up')\n"
                    "for n in (b'\\xff\\xfe', b'a'*255, b'new\\nline', b'.smx-1'):\n os.mkdir(b'/root/'+n)\n open(b'/root/'+n+b'/f','w')\n"
                    "os.chdir('/root')\nfor i in range(1500):\n os.mkdir('x'); os.chdir('x')\nos.mkfifo('fifo')"])
    engine.call("delete", id=id)
    assert (outside / "precious").read_text() == "x" and engine.directories() == []


def test_no_program_is_run_by_create_and_delete(engine):
    trace = engine.root / "trace"
    until(lambda: len(engine.waiting()) == 4)  # starts no other agent meanwhile
    strace = subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=execve,execveat", "-o", trace, "-p", str(engine.process.pid)])
    until(lambda: "TracerPid:\t0\n" not in pathlib.Path(f"/proc/{engine.process.pid}/status").read_text())
    try:
        id = engine.create(resources={"memory_mib": 64})["id"]  # not made of one that waits
        engine.call("delete", id=id)
    finally:
        strace.send_signal(signal.SIGINT)
        strace.wait()
    execs = [line for line in trace.read_text().splitlines() if "exec" in line and "resumed" not in line]
    assert len(execs) == 1 and '"sandmux-agent"' in execs[0], execs


def test_ids_are_not_taken_from_paths(engine):
    for bad in ("..", "../../x", "/etc", "i" + "A" * 20, "i" + "a" * 19, ""):
        with pytest.raises(EngineError):
            engine.call("create", id=bad, create={})
    assert engine.list() == [] and new_id() != ""
