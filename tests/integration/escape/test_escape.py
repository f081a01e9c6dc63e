"""Each line of the security baseline, asserted from inside a sandbox: what a hostile program can try, and what it gets.

The attempts are in inside.py, which runs in the sandbox as root and as user; the rows below say what must come out.
"""
import base64
import json
import os
import pathlib

import pytest

INSIDE = (pathlib.Path(__file__).parent / "inside.py").read_bytes()
DOCKER_CAPS = 0xa80425fb
DEVICES = {"fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero", "mqueue", "core", "console"}
NAMESPACES = ("user", "mnt", "pid", "ipc", "uts", "net", "cgroup")

pytestmark = pytest.mark.root


@pytest.fixture(scope="module", params=["root", "user"])
def user(request):
    return request.param


@pytest.fixture(scope="module")
def seen(module_sandbox, user):
    """What inside.py saw as that user."""
    module_sandbox.write_file("/tmp/inside.py", INSIDE)
    got = module_sandbox.exec(["python3", "/tmp/inside.py"], user=user, timeout_s=60)
    assert got["exit_code"] == 0, got
    return json.loads(got["stdout"])


def refused(value):
    return value.startswith(("denied", "killed"))


SYSCALLS = ["bpf", "io_uring_setup", "userfaultfd", "perf_event_open", "add_key", "keyctl", "request_key", "mount", "umount",
            "pivot_root", "fsopen", "open_tree", "move_mount", "mount_setattr", "open_by_handle_at", "kexec_load", "init_module",
            "finit_module", "delete_module", "swapon", "settimeofday", "iopl", "ioperm", "syslog", "acct", "sethostname",
            "mknod_disk", "mknod_kmem", "setns_self", "clone3_user"]
SYSCALLS += [f"{how}_{name}" for how in ("unshare", "clone") for name in NAMESPACES + ("time",) if (how, name) != ("clone", "time")]


@pytest.mark.parametrize("name", SYSCALLS)
def test_syscall_is_refused(seen, name):
    assert refused(seen["syscalls"][name]), seen["syscalls"][name]


@pytest.mark.parametrize("name", ["pid1_environ", "pid1_mem", "pid1_fd", "pid1_ptrace", "pid1_vm_readv", "pid1_prlimit_cpu",
                                  "pid1_prlimit_nofile", "pid1_setresuid_all"])
def test_pid_one_is_out_of_reach(seen, name):
    assert refused(seen["pid_one"][name]), seen["pid_one"][name]


@pytest.mark.parametrize("name", ["oom_score_adj", "oom_adj", "autogroup", "sched", "comm", "coredump_filter", "clear_refs", "setgroups",
                                  "timerslack_ns", "attr/current"])
def test_root_inside_cannot_steer_pid_one(seen, name):
    """Whoever may write oom_score_adj of the agent may have the kernel kill it in the place of a memory hog."""
    value = seen["pid_one"]["pid1_" + name]
    assert refused(value) or value == "absent", value


def test_pid_one_survives_every_signal(module_sandbox, seen):
    assert module_sandbox.exec("for s in 1 2 3 9 15 19; do kill -$s 1; done; true")["exit_code"] == 0
    assert module_sandbox.exec("echo alive")["stdout"] == "alive\n"


@pytest.mark.parametrize("path", ["/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger", "/proc/bus",
                                  "/proc/irq/default_smp_affinity", "/proc/sys/user/max_user_namespaces", "/usr/bin/python3",
                                  "/proc/sys/net/ipv4/ip_forward"])
def test_kernel_and_host_files_are_not_writable(seen, path):
    assert refused(seen["files"]["write_" + path]), seen["files"]["write_" + path]


@pytest.mark.parametrize("path", ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/kmsg", "/dev/kmsg", "/dev/mem"])
def test_kernel_memory_and_log_are_masked(seen, path):
    got = seen["files"]["read_" + path]
    assert refused(got) or got == "empty", got


def test_dev_holds_harmless_nodes_only(seen):
    assert set(seen["files"]["devices"]) <= DEVICES
    assert seen["files"]["block_devices"] == []


def test_sys_and_cgroups_cannot_be_written(seen):
    assert seen["files"]["sys"] is False
    assert seen["files"]["release_agent"] == []


def test_no_host_path_shows(seen):
    for word in ("/engine/", "upper", "lowerdir=/var"):
        assert word not in "".join(line.split(" - ")[0] for line in seen["files"]["mounts"].splitlines()), word
    for line in seen["files"]["agent_socket"]:  # the name of pid 1's socket is no path of the host, and leads nowhere here
        assert not line.split()[-1].startswith("/")
    assert seen["files"]["agent_connect"] in ("none", "denied:ENOENT", "denied:ECONNREFUSED")
    assert set(seen["files"]["root_dir"]) == set(seen["files"]["dotdot"])


def test_passwd_is_the_sandboxes_own(seen):
    names = [line.split(":")[0] for line in seen["files"]["host_passwd"].splitlines()]
    assert "root" in names and "user" in names
    assert seen["files"]["host_passwd"] != pathlib.Path("/etc/passwd").read_text()


def test_capabilities_are_bounded(seen, user):
    assert int(seen["identity"]["cap_bounding"], 16) & ~DOCKER_CAPS == 0
    assert int(seen["identity"]["cap_ambient"], 16) == 0
    if user == "user":
        assert int(seen["identity"]["cap_effective"], 16) == 0


def test_seccomp_filters(seen):
    assert seen["identity"]["seccomp"] == "2"


def test_ids_are_a_range_of_its_own(seen, other_sandbox):
    inside, outside, count = map(int, seen["identity"]["uid_map"])
    assert (inside, count) == (0, 65536) and outside >= 65536
    other = other_sandbox.exec("cat /proc/self/uid_map")["stdout"].split()
    assert abs(int(other[1]) - outside) >= 65536


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_namespace_is_its_own(seen, other_sandbox, namespace):
    inside = seen["identity"]["namespaces"][namespace]
    assert inside != os.readlink(f"/proc/self/ns/{namespace}")
    assert inside != other_sandbox.exec(f"readlink /proc/self/ns/{namespace}")["stdout"].strip()


def test_limits_and_leaks_of_a_process(seen):
    identity = seen["identity"]
    assert identity["core_limit"] == 0
    assert identity["memlock"] <= 64 << 20
    assert identity["descriptors"][:3] == [0, 1, 2] and len(identity["descriptors"]) == 4  # and the listing itself
    assert int(identity["oom_score_adj"]) > 0
    assert identity["tiocsti"].startswith(("no terminal", "denied"))
    assert max(identity["processes"]) < 10000 and 1 in identity["processes"]


def test_hostname_is_not_the_hosts(seen):
    assert seen["identity"]["hostname"] != os.uname().nodename


def test_network_is_loopback_only(seen):
    network = seen["network"]
    assert network["interfaces"] == ["lo"]
    assert refused(network["metadata_service"]) and refused(network["internet"])
    assert refused(network["raw_packet"])
    assert network["link_add"] != 0
    assert network["port_80"] == "worked"


def test_a_link_does_not_lead_file_calls_out(module_sandbox):
    module_sandbox.exec("ln -sfn /proc/1/root/etc /workspace/out; ln -sfn /../../../../etc/hostname /workspace/up")
    inside = module_sandbox.read_file("/workspace/up")
    assert inside.decode().strip() != os.uname().nodename
    got = module_sandbox.try_read_file("/workspace/out/shadow")
    assert got.status_code >= 400 or got.content != pathlib.Path("/etc/shadow").read_bytes()


def test_files_flipped_while_we_look_stay_inside(module_sandbox):
    """A path component that changes between a folder and a link never yields the host's file."""
    secret = pathlib.Path("/etc/smx-escape-secret")
    secret.write_text("host only")
    try:
        module_sandbox.exec("mkdir -p /tmp/d/etc; echo inside > /tmp/d/etc/smx-escape-secret; "
                            "(for i in $(seq 4000); do ln -sfn / /tmp/flip; ln -sfn /tmp/d /tmp/flip; done) >/dev/null 2>&1 &")
        for _ in range(100):
            reply = module_sandbox.try_read_file("/tmp/flip/etc/smx-escape-secret")
            assert b"host only" not in reply.content
    finally:
        secret.unlink()


def test_a_sandbox_does_not_see_another_ones_processes_or_files(module_sandbox, other_sandbox):
    module_sandbox.write_file("/dev/shm/mark", b"x")
    module_sandbox.write_file("/tmp/mark", b"x")
    assert other_sandbox.exec("ls /dev/shm /tmp")["stdout"].count("mark") == 0
    shm = module_sandbox.exec("ipcmk -M 4096 >/dev/null 2>&1; ipcs -m | grep -c 0x || true")["stdout"].strip()
    assert other_sandbox.exec("ipcs -m | grep -c 0x || true")["stdout"].strip() == "0", shm


def test_setuid_programs_of_the_host_gain_nothing(module_sandbox):
    """sudo and friends of the host's /usr lie on a nosuid mount."""
    options = [line for line in module_sandbox.exec("cat /proc/self/mountinfo")["stdout"].splitlines() if line.split()[4] == "/usr"]
    for line in options:
        assert "nosuid" in line.split()[5] and "ro" in line.split()[5].split(","), line


def test_a_forged_token_in_the_environment_means_nothing(module_sandbox):
    env = module_sandbox.exec("env; cat /proc/self/environ | tr '\\0' '\\n'")["stdout"].lower()
    for word in ("token", "secret", "api_key"):
        assert word not in env


def test_raw_bytes_survive(module_sandbox):
    got = module_sandbox.exec(["python3", "-c", "import sys; sys.stdout.buffer.write(bytes(range(256)))"])
    assert base64.b64decode(got["stdout_b64"]) == bytes(range(256))
