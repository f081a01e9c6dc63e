"""A client of sandmux-engine for tests: starts the program alone, speaks its sequenced-packet protocol, and looks at what it
leaves on the host."""
import base64
import collections
import http.client
import json
import os
import pathlib
import re
import random
import shutil
import signal
import socket
import string
import struct
import subprocess
import tempfile
import threading
import time

BUILD = pathlib.Path(os.environ.get("SMX_BUILD", pathlib.Path(__file__).resolve().parents[3] / "build")).resolve()
SANITIZED = "asan" in BUILD.name or "tsan" in BUILD.name
MESSAGE_MAX = 192 * 1024
VERSION = 1


class EngineError(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def new_id():
    return "i" + "".join(random.choices(string.ascii_lowercase + string.digits, k=20))


class Connection:
    """One end of the protocol; replies are matched by number, events are kept."""

    def __init__(self, sock):
        self.sock = sock
        self.events = []
        self.replies = {}
        self.bringing = set()
        self.seq = 0
        self.lock = threading.Lock()
        self.news = threading.Condition()
        self.closed = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.sock, MESSAGE_MAX, 8)
            except OSError:
                data = b""
            with self.news:
                if not data:
                    self.closed = True
                    self.news.notify_all()
                    return
                message = json.loads(data)
                if message["seq"]:
                    self.replies[message["seq"]] = (message, fds)
                else:
                    self.events.append(message)
                self.news.notify_all()

    def send(self, op, **fields):
        with self.lock:
            self.seq += 1
            seq = self.seq
            if op.startswith("connect_"):
                self.bringing.add(seq)
            self.sock.send(json.dumps({"seq": seq, "op": op, **fields}).encode())
        return seq

    def wait(self, seq, timeout=60):
        """The reply, and the descriptor of what was asked for one; what a create or start brings is closed."""
        with self.news:
            assert self.news.wait_for(lambda: seq in self.replies or self.closed, timeout), "no reply"
            if seq not in self.replies:
                raise ConnectionError("the engine closed the connection")
            message, fds = self.replies.pop(seq)
        if message.get("error"):
            raise EngineError(message["error"], message.get("message"))
        if seq in self.bringing:
            self.bringing.remove(seq)
            return message, fds[0]
        for fd in fds:
            os.close(fd)
        return message

    def call(self, op, timeout=60, **fields):
        return self.wait(self.send(op, **fields), timeout)

    def event(self, timeout=20, **wanted):
        """The next event whose sandbox has these values."""
        def match():
            for i, e in enumerate(self.events):
                if all(e["sandbox"].get(k) == v or e.get(k) == v for k, v in wanted.items()):
                    return self.events.pop(i)
            return None
        found = []
        with self.news:
            assert self.news.wait_for(lambda: found.append(match()) or found[-1], timeout), f"no event {wanted}"
        return found[-1]

    def reopen(self, engine):
        """A new connection in the place of one that a test has closed."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        assert "error" not in engine.control_call("gateway", fds=[theirs.fileno()])
        theirs.close()
        engine.gate = Connection(ours)

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


class Agent:
    """HTTP over a connected descriptor that the engine handed out."""

    def __init__(self, fd):
        self.sock = socket.socket(fileno=fd)
        self.sock.setblocking(True)
        self.sock.settimeout(60)
        self.http = http.client.HTTPConnection("localhost")
        self.http.sock = self.sock

    def health(self):
        self.http.request("GET", "/health")
        r = self.http.getresponse()
        r.read()
        return r.status

    def run(self, argv, user="root", env=None, cwd="/", timeout_ms=60000):
        """(exit code, stdout, stderr) of a command; the code is negative for a signal."""
        body = json.dumps({"process": {"cmd": argv[0], "args": argv[1:], "envs": env or {}, "cwd": cwd}}).encode()
        envelope = b"\0" + struct.pack(">I", len(body)) + body
        self.http.request("POST", "/process.Process/Start", envelope, {
            "Content-Type": "application/connect+json", "Connect-Protocol-Version": "1", "Connect-Timeout-Ms": str(timeout_ms),
            "Authorization": "Basic " + base64.b64encode(f"{user}:".encode()).decode()})
        r = self.http.getresponse()
        data = r.read()
        assert r.status == 200, (r.status, data)
        out, err, code, failure = b"", b"", None, None
        while data:
            flags, n = struct.unpack(">BI", data[:5])
            message, data = json.loads(data[5:5 + n] or b"{}"), data[5 + n:]
            if flags & 2:
                failure = message.get("error")
                continue
            event = message.get("event", {})
            out += base64.b64decode(event.get("data", {}).get("stdout", ""))
            err += base64.b64decode(event.get("data", {}).get("stderr", ""))
            if "end" in event:
                code = event["end"].get("exitCode", 0)
        assert code is not None, (failure, out, err)
        return code, out.decode(errors="replace"), err.decode(errors="replace")

    def close(self):
        self.http.close()
        self.sock.close()


class Engine:
    """The program with a state directory of its own."""

    def __init__(self, *options, state=None, instance=None, prefix=()):
        self.root = pathlib.Path(state or tempfile.mkdtemp(prefix="smx-engine-"))
        self.state = self.root / "engine"
        self.instance = instance or "t" + self.root.name.lower().replace("_", "-").replace("smx-engine-", "")
        self.options = options
        self.prefix = list(prefix)
        self.log = open(self.root / "log", "ab")
        self.process = None
        self.gate = None

    def start(self, wait=True):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen(
            self.prefix + [BUILD / "sandmux-engine", "--state-dir", self.state, "--instance", self.instance, "--agent",
             BUILD / "sandmux-agent", "--gateway-fd", str(theirs.fileno()), *self.options],
            pass_fds=[theirs.fileno()], stderr=self.log)
        theirs.close()
        self.gate = Connection(ours)
        if wait:
            self.hello = self.gate.call("hello", version=VERSION)["hello"]
        return self

    def control(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.connect(str(self.state / "control.sock"))
        return s

    def control_call(self, op, fds=(), timeout=60, **fields):
        with self.control() as s:
            s.settimeout(timeout)
            socket.send_fds(s, [json.dumps({"seq": 1, "op": op, **fields}).encode()], list(fds))
            return json.loads(s.recv(MESSAGE_MAX))

    def kill(self):
        """The engine dies at once; what it made stays."""
        self.process.kill()
        self.process.wait()
        self.gate.close()

    def restart(self):
        self.kill()
        return self.start()

    def call(self, op, **fields):
        return self.gate.call(op, **fields)

    def create(self, id=None, deadline_ms=None, **create):
        fields = {"id": id or new_id(), "create": create}
        if deadline_ms is not None:
            fields["deadline_ms"] = deadline_ms
        return self.call("create", **fields)["sandbox"]

    def create_with_short_deadline(self, ms, **create):
        """One whose deadline is taken away before it has passed; where we were too slow for that, another with more time."""
        while True:
            begun = time.monotonic()
            try:
                id = self.create(deadline_ms=ms, **create)["id"]
                assert "deadline_ms" not in self.call("set_deadline", id=id)["sandbox"]
                return id, begun + ms / 1000
            except EngineError as e:
                assert e.code == "sandbox_not_found" and time.monotonic() - begun >= ms / 1000, e
                ms *= 2

    def agent(self, id):
        return Agent(self.call("connect_agent", id=id)[1])

    def run(self, id, argv, **options):
        if isinstance(argv, str):
            argv = ["sh", "-c", argv]
        agent = self.agent(id)
        try:
            return agent.run(argv, **options)
        finally:
            agent.close()

    def list(self):
        items, after = [], {}
        while True:
            page = self.call("list", **after)
            items += page.get("sandboxes", [])
            if not page.get("next"):
                return items
            after = {"after": page["next"]}

    def clear(self):
        """Ends everything by the documented way and checks that nothing is left."""
        if self.process.poll() is None:
            try:
                self.control_call("shutdown", all=True)
                assert self.process.wait(30) == 0, "the engine did not end well (sanitizers say so by the code)"
            finally:
                if self.process.poll() is None:
                    self.process.kill()
                    self.process.wait()
        self.gate.close()
        left = self.leftovers()
        if left:
            self.force()
        self.log.close()
        text = (self.root / "log").read_text()
        shutil.rmtree(self.root, ignore_errors=True)
        assert not left, f"left on the host: {left}\n{text}"
        return text

    def empty(self):
        """Deletes every sandbox of a running engine and checks that nothing is left of one."""
        seqs = [self.gate.send("delete", id=b["id"]) for b in self.list()]
        for seq in seqs:
            self.gate.wait(seq)
        until(lambda: self.list() == [] and self.directories() == [])
        def left():
            groups = [g for g in self.groups() if not g.endswith(self.instance)]
            return groups + self.mounts() + [p for p in self.processes() if p != self.process.pid and parent(p) != self.process.pid]
        until(lambda: not left(), left)
        self.gate.events.clear()

    def force(self):
        """After a failure: takes away what the engine left, so that one failed test does not fail the next."""
        for _ in range(50):
            for group in map(pathlib.Path, sorted(self.groups(waiting=True), key=len, reverse=True)):
                try:
                    if group.name != self.instance:
                        for pid in (group / "cgroup.procs").read_text().split():
                            os.kill(int(pid), signal.SIGKILL)
                    group.rmdir()
                except OSError:
                    pass
            if not self.groups(waiting=True):
                break
            time.sleep(0.05)
        for slot in self.slots():
            os.unlink(f"/run/sandmux/slots/{slot}")

    # what is on the host

    def owners(self):
        """Whose control groups have a name of their own: of a sandbox that was made of one that waited."""
        found = {}
        for p in (self.state / "sandboxes").iterdir() if self.state.is_dir() else []:
            try:
                found[json.loads((p / "meta.json").read_text()).get("group", p.name)] = p.name
            except OSError:
                pass
        return found

    def group_name(self, id):
        return next(group for group, owner in self.owners().items() if owner == id)

    def waits(self, group):
        return group.startswith("ready-") and group not in self.owners()

    def waiting(self):
        """{name of the groups: pid of the agent} of those that wait."""
        found = {}
        for group in map(pathlib.Path, self.groups(waiting=True)):
            try:
                pids = (group / "cgroup.procs").read_text().split()
            except OSError:
                continue  # gone meanwhile
            if pids and self.waits(group.name):
                found[group.name] = int(pids[0])
        return found

    def groups(self, waiting=False):
        """Directories of control groups; waiting: also of agents that wait for a sandbox to be asked for."""
        found = []
        for top in [pathlib.Path("/sys/fs/cgroup"), *pathlib.Path("/sys/fs/cgroup").iterdir()]:
            group = top / "sandmux" / self.instance
            if group.is_dir():
                found += [str(group)] + [str(p) for p in group.iterdir() if p.is_dir() and (waiting or not self.waits(p.name))]
        return found

    def slots(self):
        found, links = [], pathlib.Path("/run/sandmux/slots")
        for p in links.iterdir() if links.is_dir() else []:
            try:
                if os.readlink(p) == str(self.state):
                    found.append(p.name)
            except FileNotFoundError:
                pass  # another engine's, gone meanwhile
        return found

    def processes(self, waiting=False):
        """Processes of sandboxes and helpers that belong to this engine; waiting: as with groups()."""
        found = []
        for p in pathlib.Path("/proc").iterdir():
            if not p.name.isdigit() or not alive(p.name):
                continue
            try:
                groups = (p / "cgroup").read_text()
                cwd = os.readlink(p / "cwd")
            except OSError:
                continue
            group = re.search(f"/sandmux/{self.instance}/(ready-[0-9a-f]+)", groups)
            if group and not waiting and self.waits(group[1]):
                continue
            if f"/sandmux/{self.instance}/" in groups or cwd.startswith(str(self.state)):
                found.append(int(p.name))
        return found

    def mounts(self):
        return [m for m in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if str(self.root) in m or "sandmux" in m]

    def directories(self):
        return [str(p) for d in ("sandboxes", "trash") for p in (self.state / d).iterdir()] if self.state.is_dir() else []

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def has_full_pools(self):
        """Of an engine with 8 rooms: in 4 of them agents wait, and there are 128 user namespaces besides those of rooms."""
        kinds = collections.Counter()
        for fd in pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                kinds[os.readlink(fd).partition(":")[0]] += 1
            except OSError:
                pass  # closed meanwhile
        return kinds["mnt"] == 4 and kinds["user"] == 4 + 128 and len(self.waiting()) == 4

    def leftovers(self):
        """Everything that must be gone after the end; a moment is allowed for the kernel."""
        deadline = time.monotonic() + 5
        while True:
            left = self.groups(waiting=True) + self.slots() + self.processes(waiting=True) + self.mounts() + self.directories()
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.02)


def alive(pid):
    """Whether a process is there and no zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def parent(pid):
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None


def until(condition, shown=lambda: "", timeout=20):
    """Waits for a true value and returns it; what is shown says why it did not come."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain {shown()}"
        time.sleep(0.01)
    return value
