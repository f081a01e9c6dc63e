"""Runs inside a sandbox and tries each way out. Prints one JSON object: attempt -> what happened.

"denied:<errno name>" is a refusal, "worked" or a value is a success. Needs only the standard library.
"""
import ctypes
import errno
import fcntl
import glob
import json
import os
import resource
import socket
import struct
import subprocess
import sys

libc = ctypes.CDLL(None, use_errno=True)
SYS = {"bpf": 321, "io_uring_setup": 425, "userfaultfd": 323, "perf_event_open": 298, "add_key": 248,
       "keyctl": 250, "request_key": 249, "unshare": 272, "setns": 308, "mount": 165, "umount2": 166,
       "pivot_root": 155, "fsopen": 430, "move_mount": 429, "open_tree": 428, "mount_setattr": 442,
       "open_by_handle_at": 304, "kexec_load": 246, "init_module": 175, "finit_module": 313,
       "delete_module": 176, "reboot": 169, "swapon": 167, "settimeofday": 164, "clone3": 435,
       "clone": 56, "ptrace": 101, "process_vm_readv": 310, "mknod": 133, "prlimit64": 302, "syslog": 103,
       "acct": 163, "quotactl": 179, "name_to_handle_at": 303, "iopl": 172, "ioperm": 173,
       "vhangup": 153, "lookup_dcookie": 212, "nfsservctl": 180, "uselib": 134, "sethostname": 170}
CLONE = {"user": 0x10000000, "mnt": 0x20000, "net": 0x40000000, "pid": 0x20000000, "ipc": 0x8000000,
         "uts": 0x4000000, "cgroup": 0x2000000, "time": 0x80}


def outcome(value):
    if value is None or value >= 0:
        return "worked"
    return "denied:" + errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))


def call(name, *args):
    ctypes.set_errno(0)
    return outcome(libc.syscall(ctypes.c_long(SYS[name]), *[
        a if isinstance(a, (bytes, ctypes.Array, ctypes.c_void_p)) else ctypes.c_long(a) for a in args]))


def in_child(fn):
    """Runs fn in a forked child: attempts that would change this process."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            text = fn()
        except OSError as e:
            text = "denied:" + errno.errorcode.get(e.errno, str(e.errno))
        os.write(w, text.encode())
        os._exit(0)
    os.close(w)
    text = b""
    while chunk := os.read(r, 4096):
        text += chunk
    os.close(r)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return "killed:%d" % os.WTERMSIG(status)
    return text.decode()


def opened(path, flags=os.O_RDONLY):
    try:
        os.close(os.open(path, flags))
        return "worked"
    except OSError as e:
        return "denied:" + errno.errorcode.get(e.errno, str(e.errno))


def written(path, text):
    try:
        with open(path, "w") as f:
            f.write(text)
        return "worked"
    except FileNotFoundError:
        return "absent"
    except OSError as e:
        return "denied:" + errno.errorcode.get(e.errno, str(e.errno))


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError as e:
        return "denied:" + errno.errorcode.get(e.errno, str(e.errno))


def signalled(pid, number):
    try:
        os.kill(pid, number)
        return "worked"
    except OSError as e:
        return "denied:" + errno.errorcode.get(e.errno, str(e.errno))


def connected(address):
    try:
        with socket.create_connection(address, timeout=2):
            return "worked"
    except OSError as e:
        return "denied:" + errno.errorcode.get(e.errno or 0, type(e).__name__)


def syscalls():
    buf = ctypes.create_string_buffer(256)
    rows = {
        "bpf": call("bpf", 0, buf, 64),
        "io_uring_setup": call("io_uring_setup", 8, buf),
        "userfaultfd": call("userfaultfd", 0),
        "perf_event_open": call("perf_event_open", buf, 0, -1, -1, 0),
        "add_key": call("add_key", b"user\0", b"x\0", b"y", 1, -3),
        "keyctl": call("keyctl", 0, -3, 1),
        "request_key": call("request_key", b"user\0", b"x\0", 0, 0),
        "mount": call("mount", b"none\0", b"/mnt\0", b"tmpfs\0", 0, 0),
        "umount": call("umount2", b"/proc\0", 2),
        "pivot_root": call("pivot_root", b"/\0", b"/tmp\0"),
        "fsopen": call("fsopen", b"tmpfs\0", 0),
        "open_tree": call("open_tree", -100, b"/\0", 1),
        "move_mount": call("move_mount", -100, b"/tmp\0", -100, b"/mnt\0", 0),
        "mount_setattr": call("mount_setattr", -100, b"/\0", 0, buf, 32),
        "open_by_handle_at": call("open_by_handle_at", -100, buf, 0),
        "kexec_load": call("kexec_load", 0, 0, 0, 0),
        "init_module": call("init_module", buf, 1, b"\0"),
        "finit_module": call("finit_module", 0, b"\0", 0),
        "delete_module": call("delete_module", b"x\0", 0),
        "swapon": call("swapon", b"/tmp/x\0", 0),
        "settimeofday": call("settimeofday", buf, 0),
        "iopl": call("iopl", 3),
        "ioperm": call("ioperm", 0x80, 1, 1),
        "syslog": call("syslog", 3, buf, 64),
        "acct": call("acct", b"/tmp/acct\0"),
        "sethostname": call("sethostname", b"evil", 4),
        "mknod_disk": call("mknod", b"/tmp/disk\0", 0o60666, os.makedev(254, 0)),
        "mknod_kmem": call("mknod", b"/tmp/kmem\0", 0o20666, os.makedev(1, 2)),
        "setns_self": in_child(lambda: call("setns", os.open("/proc/self/ns/mnt", os.O_RDONLY), 0)),
    }
    for name, flag in CLONE.items():
        rows["unshare_" + name] = in_child(lambda: call("unshare", flag))
        rows["clone_" + name] = in_child(lambda: clone(flag))
    rows["clone3_user"] = in_child(lambda: clone3(CLONE["user"]))
    return rows


def clone(flag):
    ctypes.set_errno(0)
    pid = libc.syscall(ctypes.c_long(SYS["clone"]), ctypes.c_long(flag | 17), 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return outcome(pid)


def clone3(flag):
    args = ctypes.create_string_buffer(struct.pack("<8Q", flag, 0, 0, 0, 17, 0, 0, 0))
    ctypes.set_errno(0)
    pid = libc.syscall(ctypes.c_long(SYS["clone3"]), args, ctypes.c_long(64))
    if pid == 0:
        os._exit(0)
    return outcome(pid)


WRITABLE_OF_PID_ONE = {"oom_score_adj": "500", "oom_adj": "5", "autogroup": "5", "sched": "0", "comm": "mine", "coredump_filter": "1",
                       "clear_refs": "1", "setgroups": "deny", "timerslack_ns": "100000", "attr/current": "mine"}


def pid_one():
    return {
        "pid1_environ": opened("/proc/1/environ"),
        "pid1_mem": opened("/proc/1/mem", os.O_RDWR),
        "pid1_fd": descriptors_of(1),
        "pid1_root": "worked" if listable("/proc/1/root/") else "denied",
        "pid1_kill": in_child(lambda: "delivered" if signalled(1, 9) == "worked" else "denied"),
        "pid1_term": signalled(1, 15),
        "pid1_ptrace": in_child(lambda: call("ptrace", 16, 1, 0, 0)),
        "pid1_vm_readv": vm_readv(1),
        "pid1_prlimit_cpu": call("prlimit64", 1, resource.RLIMIT_CPU, ctypes.create_string_buffer(
            struct.pack("<2Q", 1, 1)), 0),
        "pid1_prlimit_nofile": call("prlimit64", 1, resource.RLIMIT_NOFILE, ctypes.create_string_buffer(
            struct.pack("<2Q", 5, 5)), 0),
        "pid1_setresuid_all": in_child(become_everybody),
        **{f"pid1_{name}": written(f"/proc/1/{name}", text) for name, text in WRITABLE_OF_PID_ONE.items()},
    }


def descriptors_of(pid):
    """The numbers may show; what they lead to must not."""
    for n in range(64):
        for attempt in (os.readlink, os.open):
            try:
                attempt(f"/proc/{pid}/fd/{n}", *([os.O_RDONLY | os.O_NONBLOCK] if attempt is os.open else []))
                return "worked on %d" % n
            except OSError:
                pass
    return "denied"


def vm_readv(pid):
    """Reads this program's own text address from another process; the address is mapped in any process of ours."""
    room = ctypes.create_string_buffer(64)
    here = ctypes.create_string_buffer(struct.pack("<2Q", ctypes.addressof(room), 16))
    there = ctypes.create_string_buffer(struct.pack("<2Q", ctypes.addressof(room), 16))
    return call("process_vm_readv", pid, here, 1, there, 1, 0)


def listable(path):
    try:
        os.listdir(path)
        return True
    except OSError:
        return False


def become_everybody():
    """Can any uid that this sandbox can reach signal pid 1's limits?"""
    for uid in (1, 1000, 65534, 65535):
        pid = os.fork()
        if pid == 0:
            try:
                os.setresuid(uid, uid, uid)
            except OSError:
                os._exit(0)
            got = call("prlimit64", 1, resource.RLIMIT_NOFILE,
                       ctypes.create_string_buffer(struct.pack("<2Q", 5, 5)), 0)
            os._exit(1 if got == "worked" else 0)
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status):
            return "worked as %d" % uid
    return "denied"


def files():
    rows = {"write_" + p: opened(p, os.O_WRONLY) for p in (
        "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger", "/proc/bus",
        "/proc/irq/default_smp_affinity", "/proc/sys/user/max_user_namespaces", "/usr/bin/python3", "/proc/sys/net/ipv4/ip_forward")}
    rows.update({"read_" + p: ("empty" if read(p) == "" else "worked") if opened(p) == "worked" else opened(p)
                 for p in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/kmsg", "/dev/kmsg", "/dev/mem")})
    rows["devices"] = sorted(os.listdir("/dev"))
    rows["block_devices"] = [p for p in glob.glob("/dev/*") if os.path.exists(p) and (os.stat(p).st_mode & 0o170000) == 0o60000]
    rows["sys"] = os.path.ismount("/sys") and os.access("/sys/kernel", os.W_OK)
    rows["cgroup_visible"] = read("/proc/self/cgroup")
    rows["mounts"] = read("/proc/self/mountinfo")
    rows["dotdot"] = sorted(os.listdir("/../../.."))
    rows["root_dir"] = sorted(os.listdir("/"))
    rows["host_passwd"] = read("/etc/passwd")
    rows["release_agent"] = glob.glob("/sys/fs/cgroup/**/release_agent", recursive=True)
    rows["agent_socket"] = [line for line in read("/proc/net/unix").splitlines() if "agent.sock" in line]
    rows["agent_connect"] = connect_all([line.split()[-1] for line in rows["agent_socket"]])
    return rows


def connect_all(paths):
    for path in paths:
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(path)
                return "worked"
            except OSError as e:
                return "denied:" + errno.errorcode[e.errno]
    return "none"


def identity():
    status = dict(line.split(":\t", 1) for line in read("/proc/self/status").splitlines() if ":\t" in line)
    return {
        "cap_bounding": status["CapBnd"].strip(), "cap_effective": status["CapEff"].strip(),
        "cap_ambient": status["CapAmb"].strip(), "seccomp": status["Seccomp"].strip(),
        "uid_map": read("/proc/self/uid_map").split(), "gid_map": read("/proc/self/gid_map").split(),
        "setgroups": read("/proc/self/setgroups").strip(),
        "namespaces": {n: os.readlink("/proc/self/ns/" + n) for n in ("user", "mnt", "pid", "ipc", "uts", "net", "cgroup")},
        "core_limit": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "memlock": resource.getrlimit(resource.RLIMIT_MEMLOCK)[1],
        "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd")),
        "hostname": socket.gethostname(),
        "oom_score_adj": read("/proc/self/oom_score_adj").strip(),
        "processes": sorted(int(n) for n in os.listdir("/proc") if n.isdigit()),
        "tiocsti": tiocsti(),
    }


def tiocsti():
    try:
        fd = os.open("/dev/tty", os.O_RDWR)
    except OSError as e:
        return "no terminal:" + errno.errorcode[e.errno]
    try:
        fcntl.ioctl(fd, 0x5412, b"x")
        return "worked"
    except OSError as e:
        return "denied:" + errno.errorcode[e.errno]


def network():
    return {
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        "metadata_service": connected(("169.254.169.254", 80)),
        "internet": connected(("1.1.1.1", 53)),
        "port_80": in_child(bind_80),
        "raw_packet": in_child(packet_socket),
        "link_add": subprocess.run(["ip", "link", "add", "dummy0", "type", "dummy"], capture_output=True).returncode
        if os.path.exists("/usr/sbin/ip") or os.path.exists("/usr/bin/ip") else 1,
    }


def bind_80():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 80))
    return "worked"


def packet_socket():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).close()
    return "worked"


sections = {"syscalls": syscalls, "pid_one": pid_one, "files": files, "identity": identity, "network": network}
json.dump({name: sections[name]() for name in sys.argv[1:] or sections}, sys.stdout)
