"""A bare sandmux-agent for tests: pid 1 of a pid namespace, with users, homes and /tmp of its own, all of which vanish
with it. Requests go over its unix socket, byte by byte as the protocol has them."""
import base64
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
BUILD = pathlib.Path(os.environ.get("SMX_BUILD", ROOT / "build")).resolve()
BINARY = BUILD / "sandmux-agent"
SANITIZED = "asan" in BUILD.name or "tsan" in BUILD.name
PATIENCE_S = 20  # catches hangs, measures nothing

PASSWD = """root:x:0:0:root:/root:/bin/bash
user:x:1000:1000::/home/user:/bin/bash
other:x:1001:1001::/home/other:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUP = "root:x:0:\ntty:x:5:\nuser:x:1000:\nother:x:1001:\nextra:x:2000:user\nnogroup:x:65534:\n"

SET_UP = """set -e
mount --make-rprivate /
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
mount -t tmpfs -o mode=755 tmpfs /home
mount -t tmpfs -o mode=1777,size=256m tmpfs /tmp
mount -t tmpfs -o mode=700 tmpfs /root
mkdir -m 755 /home/user /home/other
printf 'bashrc' > /home/user/.bashrc
printf 'out' > /home/user/.bash_logout
printf 'profile' > /home/user/.profile
chown -R 1000:1000 /home/user
chown 1001:1001 /home/other
mkdir -m 700 /home/closed
printf 'vm\\n' > /home/hostname
ln -s /usr/bin /home/bin
shift
exec "$@"
"""


def until(check, why="it did not come to pass", seconds=PATIENCE_S):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{why} in {seconds} s")


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE_S)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def envelope(payload, flags=0):
    return struct.pack(">BI", flags, len(payload)) + payload


def basic(user):
    return {} if user is None else {"Authorization": "Basic " + base64.b64encode(f"{user}:".encode()).decode()}


class Stream:
    """A server stream: iterate for (flags, message). Closing it is a client that leaves."""

    def __init__(self, connection, response):
        self.connection, self.response = connection, response
        self.status, self.type = response.status, response.getheader("content-type")
        self.error, self.ended = None, False

    def next(self):
        head = self.response.read(5)
        if not head:
            return None
        assert len(head) == 5, "an envelope is cut short"
        flags, size = struct.unpack(">BI", head)
        payload = self.response.read(size)
        assert len(payload) == size, "an envelope is cut short"
        message = json.loads(payload)
        if flags & 2:
            self.ended, self.error = True, message.get("error")
            assert self.response.read() == b""
        return flags, message

    def event(self):
        """The next event, or None at the end."""
        while True:
            got = self.next()
            if got is None or got[0] & 2:
                return None
            return got[1].get("event", got[1])

    def events(self):
        while (event := self.event()) is not None:
            yield event

    def close(self):
        if self.connection.sock:
            with contextlib.suppress(OSError):
                self.connection.sock.shutdown(socket.SHUT_RDWR)  # ends a thread that reads
        self.connection.close()
        self.response.close()


class Result:
    """All that a Start or Connect said."""

    def __init__(self, stream):
        self.status, self.type = stream.status, stream.type
        self.output = {"stdout": bytearray(), "stderr": bytearray(), "pty": bytearray()}
        self.pid = self.end = None
        self.keepalives = 0
        self.largest = 0
        for event in stream.events():
            (kind, value), = event.items()
            if kind == "start":
                self.pid = value["pid"]
            elif kind == "data":
                (name, text), = value.items()
                data = base64.b64decode(text, validate=True)
                self.largest = max(self.largest, len(data))
                self.output[name] += data
            elif kind == "end":
                self.end = value
            else:
                assert kind == "keepalive" and value == {}
                self.keepalives += 1
        assert stream.ended, "the stream broke off"
        self.error = stream.error
        self.stdout, self.stderr, self.pty = (bytes(self.output[k]) for k in ("stdout", "stderr", "pty"))

    @property
    def code(self):
        return self.end.get("exitCode", 0)


class Agent:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.path = self.directory / "agent.sock"
        (self.directory / "passwd").write_text(PASSWD)
        (self.directory / "group").write_text(GROUP)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(128)
        fd = listener.fileno()
        binary = os.open(BINARY, os.O_RDONLY)  # by descriptor: /tmp is another one inside
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", SET_UP, "sh",
                   str(self.directory), f"/proc/self/fd/{binary}", "--listen-fd", str(fd)]
        self.process = subprocess.Popen(command, pass_fds=[fd, binary], stdin=subprocess.DEVNULL, start_new_session=True)
        listener.close()
        os.close(binary)
        until(self.healthy, "the agent did not answer")

    def healthy(self):
        assert self.process.poll() is None, "the agent did not start"
        try:
            return self.request("GET", "/health")[0] == 204
        except OSError:
            return False

    @property
    def host_pid(self):
        """Of the agent itself: the child of unshare."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def settle(self):
        """Until it sleeps: what was there for it to do is done then, such as to notice who has left."""
        stat = pathlib.Path(f"/proc/{self.host_pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S", "the agent does not come to rest")

    def stop(self):
        alive = self.process.poll() is None
        if alive:
            os.kill(self.host_pid, signal.SIGKILL)  # pid 1: everything inside goes with it
        self.process.wait()
        assert alive, "the agent died"

    def connect(self):
        return Connection(self.path)

    def request(self, method, target, body=None, headers=None):
        c = self.connect()
        try:
            c.request(method, target, body, headers or {})
            r = c.getresponse()
            return r.status, r.headers, r.read()
        finally:
            c.close()

    def unary(self, path, message, user="user", **headers):
        """(status, decoded reply)"""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        fields = {"Content-Type": "application/json", **basic(user)}
        fields.update({k.replace("_", "-"): v for k, v in headers.items()})
        status, got, reply = self.request("POST", path, body, fields)
        assert got["content-type"] == "application/json"
        return status, json.loads(reply)

    def open(self, path, message=None, user="user", body=None, headers=None):
        if body is None:
            body = envelope(message if isinstance(message, bytes) else json.dumps(message).encode())
        fields = {"Content-Type": "application/connect+json", **basic(user), **(headers or {})}
        c = self.connect()
        c.request("POST", path, body, fields)
        return Stream(c, c.getresponse())

    def start(self, cmd, *args, user="user", headers=None, **rest):
        """Starts and yields the stream."""
        process = {"cmd": cmd, "args": list(args)}
        for key in ("cwd", "envs"):
            if key in rest:
                process[key] = rest.pop(key)
        rest.setdefault("stdin", False)
        return self.open("/process.Process/Start", {"process": process, **rest}, user, headers=headers)

    def run(self, cmd, *args, **rest):
        stream = self.start(cmd, *args, **rest)
        try:
            return Result(stream)
        finally:
            stream.close()

    def sh(self, script, **rest):
        return self.run("sh", "-c", script, **rest)

    def pty(self, cmd, *args, cols=80, rows=24, **rest):
        return self.start(cmd, *args, pty={"size": {"cols": cols, "rows": rows}}, **rest)

    def pids(self):
        status, reply = self.unary("/process.Process/List", {})
        assert status == 200
        return {p["pid"] for p in reply.get("processes", [])}

    def send_input(self, pid, data, kind="stdin"):
        return self.unary("/process.Process/SendInput",
                          {"process": {"pid": pid}, "input": {kind: base64.b64encode(data).decode()}})

    def signal(self, pid, name="SIGNAL_SIGKILL"):
        return self.unary("/process.Process/SendSignal", {"process": {"pid": pid}, "signal": name})

    def stat(self, path, user="user"):
        return self.unary("/filesystem.Filesystem/Stat", {"path": path}, user)

    def get(self, path, headers=None, **query):
        return self.request("GET", files_target(path, **query), None, headers)

    def put(self, path, data, headers=None, **query):
        fields = {"Content-Type": "application/octet-stream", **(headers or {})}
        return self.request("POST", files_target(path, **query), data, fields)


def files_target(path, username="user", **query):
    from urllib.parse import quote
    fields = {"username": username, "path": path, **query}
    return "/files?" + "&".join(f"{k}={quote(str(v), safe='')}" for k, v in fields.items() if v is not None)


@pytest.fixture(scope="module")
def agent():
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces and users")
    directory = tempfile.mkdtemp(prefix="smx-agent-", dir="/tmp")
    a = Agent(directory)
    yield a
    a.stop()
    shutil.rmtree(directory)
