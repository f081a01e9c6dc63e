"""The real daemon for integration tests: started on a free port with a state directory of its own below /tmp, stopped at
the end, and then nothing of it may be left: no mount, no cgroup, no process, no descriptor's worth of files.

SMX_BUILD names the build directory (default: build). Tests marked `root` need root; the others run as anybody.
"""
import base64
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("SMX_BUILD", ROOT / "build")).resolve()
SANITIZED = "asan" in BUILD.name or "tsan" in BUILD.name
PATIENCE_S = 60  # bounds are generous: they catch hangs, they do not measure
CLEAN_NAMES = ("SANDMUX_", "SANDBOX_RUNTIME", "E2B_", "DAYTONA_", "RUNTIME_API_TOKEN", "LOG_LEVEL")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and what we start would inherit that


def until(check, seconds=PATIENCE_S, why="it did not come to pass"):
    """Waits for a true value; errors while waiting count as not yet."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            value = check()
            if value:
                return value
        except (requests.RequestException, OSError, AssertionError, ValueError, KeyError) as e:
            last = e
        time.sleep(0.02)
    raise AssertionError(f"{why} in {seconds} s ({last})")


def clean_env(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(CLEAN_NAMES)}
    env.update(more)
    return env


class UnixConnection(http.client.HTTPConnection):
    """http.client over a unix socket."""

    def __init__(self, path, timeout=PATIENCE_S):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def processes():
    """pid -> (parent, command line, program) of every process."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            cmdline = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if stat.rpartition(")")[2].split()[0] == "Z":
                continue
            found[int(entry.name)] = (int(stat.rpartition(")")[2].split()[1]), cmdline, stat[stat.index("(") + 1:stat.rindex(")")])
        except (OSError, ValueError):
            pass
    return found


class Sandbox:
    """A sandbox of a daemon, spoken to by the native API."""

    def __init__(self, daemon, info):
        self.daemon, self.info, self.id = daemon, info, info["id"]
        self.path = f"/api/sandboxes/{self.id}"

    def try_exec(self, command, **more):
        return self.daemon.post(f"{self.path}/exec", json={"command": command, **more}, timeout=180)

    def exec(self, command, **more):
        reply = self.try_exec(command, **more)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def write_file(self, path, content):
        reply = self.daemon.put(f"{self.path}/files/content", params={"path": path}, data=content)
        assert reply.status_code in (200, 201), reply.text
        return reply

    def try_read_file(self, path):
        return self.daemon.get(f"{self.path}/files/content", params={"path": path})

    def read_file(self, path):
        reply = self.try_read_file(path)
        assert reply.status_code == 200, reply.text
        return reply.content

    def get(self):
        reply = self.daemon.get(self.path)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def delete(self):
        reply = self.daemon.delete(self.path)
        assert reply.status_code == 204, reply.text


class Daemon:
    """`sandmux serve` in a directory of its own. Every verb takes what requests takes; the path is without the host."""

    def __init__(self, flags=(), env=None, user=None, cwd=None, programs=BUILD):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="smx-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.state = self.dir / "state"
        self.log_path = self.dir / "log"
        self.socket = self.state / "sandmux.sock"
        self.flags, self.env, self.user, self.programs = list(flags), dict(env or {}), user, programs
        self.cwd = cwd or self.dir
        self.process = None
        self.wrapper = []  # what starts the command, such as a shell with other limits
        if user is not None:
            os.chown(self.dir, user, user)

    # --- life

    def spawn(self):
        command = [str(self.programs / "sandmux"), "serve", "--state-dir", str(self.state)]
        if "--listen" not in self.flags:
            command += ["--listen", "127.0.0.1:0"]
        more = {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.wrapper + command + self.flags, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.cwd,
                                            env=clean_env(**{"HOME": str(self.dir), **self.env}), start_new_session=True, **more)
        return self.process

    def start(self):
        (self.state / "address").unlink(missing_ok=True)
        self.spawn()

        def ready():
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log()}"
            return (self.state / "address").exists()

        end = time.monotonic() + PATIENCE_S
        while not ready():
            assert time.monotonic() < end, f"not ready:\n{self.log()}"
            time.sleep(0.02)
        return self

    def stop(self, expect=0):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE_S)
        self.process = None
        assert expect is None or status == expect, f"exit status {status}:\n{self.log()}"

    def kill_supervisor(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def url(self):
        first = (self.state / "address").read_text().splitlines()[0]
        return first if first.startswith("http") else None

    @property
    def port(self):
        return int(self.url.rpartition(":")[2])

    def pid_of(self, program):
        """Of "sandmux-gateway" or "sandmux-engine"; fails while there is none. A child that it has just forked has its name too."""
        named = {pid: parent for pid, (parent, cmdline, _) in processes().items()
                 if cmdline.startswith(program + " ") and str(self.state) in cmdline}
        for pid, parent in named.items():
            if parent not in named:
                return pid
        raise AssertionError(f"no {program} runs")

    def open_descriptors(self, program):
        return len(os.listdir(f"/proc/{self.pid_of(program)}/fd"))

    def rss_kib(self, program):
        status = pathlib.Path(f"/proc/{self.pid_of(program)}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    # --- requests

    def request(self, method, path, **more):
        more.setdefault("timeout", PATIENCE_S)
        return requests.request(method, self.url + path, **more)

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, **more):
        return self.request("POST", path, **more)

    def put(self, path, **more):
        return self.request("PUT", path, **more)

    def patch(self, path, **more):
        return self.request("PATCH", path, **more)

    def delete(self, path, **more):
        return self.request("DELETE", path, **more)

    def open_stream(self, path, body, accept="application/x-ndjson"):
        """A POST whose reply is not read; close() it."""
        return self.post(path, json=body, headers={"Accept": accept}, stream=True)

    def raw(self, data, wait=True):
        """Bytes over TCP as they are; what came back until the connection closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as s:
            s.sendall(data)
            answer = b""
            while wait:
                try:
                    got = s.recv(65536)
                except ConnectionResetError:
                    break
                if not got:
                    break
                answer += got
            return answer

    def unix_request(self, method, path, body=None, headers=None):
        connection = UnixConnection(self.socket)
        connection.request(method, path, body=json.dumps(body) if body is not None else None, headers=headers or {})
        reply = connection.getresponse()
        text = reply.read()
        connection.close()
        return reply.status, json.loads(text) if text else None

    def create(self, **body):
        reply = self.post("/api/sandboxes", json=body)
        assert reply.status_code == 201, reply.text
        return Sandbox(self, reply.json())

    def exec_in(self, name, command):
        return Sandbox(self, {"id": name}).exec(command)

    def delete_all(self):
        for item in self.get("/api/sandboxes?limit=1000").json()["items"]:
            assert self.delete(f"/api/sandboxes/{item['id']}?missing_ok=1").status_code == 204

    # --- what is on the host

    def sandboxes_on_disk(self):
        folder = self.state / "engine" / "sandboxes"
        return {p.name for p in folder.iterdir() if p.name.startswith("i")} if folder.is_dir() else set()

    def forget_row(self, sandbox_id):
        """As if the journal's last write had been lost. The daemon must not run."""
        assert self.process is None
        for file in (self.state / "gateway").glob("*.db"):
            db = sqlite3.connect(file)
            db.execute("DELETE FROM sandbox WHERE id = ?", (sandbox_id,))
            db.commit()
            db.close()

    def leftovers(self, needle):
        left = [line for line in open("/proc/self/mountinfo") if needle in line]
        left += [f"{pid} {cmd}" for pid, (_, cmd, _) in processes().items() if needle in cmd and pid != os.getpid()]
        for folder, names, _ in os.walk("/sys/fs/cgroup"):
            left += [os.path.join(folder, name) for name in names if needle in name]
        return left

    def assert_nothing_left_of(self, sandbox_id):
        until(lambda: not self.leftovers(sandbox_id) and sandbox_id not in self.sandboxes_on_disk(), 20,
              f"left of {sandbox_id}: {self.leftovers(sandbox_id)}")

    def assert_nothing_left(self):
        """Of sandboxes; and, once the daemon has ended, of itself."""
        def clean():
            return not self.sandboxes_on_disk() and (self.process or not self.leftovers(str(self.state)))
        until(clean, 20, f"left: {self.sandboxes_on_disk()} {self.leftovers(str(self.state))}")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the daemon; what a test left running is deleted first, then nothing may be left."""
        try:
            if self.process is None:
                self.start()
            self.delete_all()
            self.stop()
            self.assert_nothing_left()
        finally:
            self.kill_all()
            subprocess.run(["rm", "-rf", "--one-file-system", str(self.dir)], check=False)

    @property
    def instance(self):
        """What the daemon's cgroups are named after: FNV-1a of the state directory."""
        value = 14695981039346656037
        for byte in str(self.state).encode():
            value = (value ^ byte) * 1099511628211 % 2**64
        return f"{value:016x}"

    def kill_all(self):
        """After a failure: the machine is left clean whatever happened."""
        if self.process:
            self.process.kill()
            self.process.wait()
        for pid, (_, cmdline, _) in processes().items():
            if str(self.state) in cmdline and cmdline.startswith("sandmux"):
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
        for folder, names, _ in os.walk("/sys/fs/cgroup"):
            if self.instance in names:
                self.empty_cgroup(os.path.join(folder, self.instance))
        for line in reversed(open("/proc/self/mountinfo").readlines()):
            if line.split()[4].startswith(str(self.dir)):
                subprocess.run(["umount", "-l", line.split()[4]], check=False)

    @staticmethod
    def empty_cgroup(top):
        for folder, _, _ in os.walk(top, topdown=False):
            for _ in range(100):
                try:
                    for pid in open(os.path.join(folder, "cgroup.procs")).read().split():
                        os.kill(int(pid), signal.SIGKILL)
                    os.rmdir(folder)
                    break
                except OSError:
                    time.sleep(0.01)


def pytest_configure(config):
    config.addinivalue_line("markers", "root: needs root, for the local runtime")


def pytest_collection_modifyitems(items):
    for item in items:
        if os.geteuid() != 0 and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def daemon():
    """One daemon for all tests that leave it as it was."""
    with Daemon() as d:
        yield d


@pytest.fixture
def fresh_daemon():
    """A daemon that a test may break."""
    with Daemon() as d:
        yield d


@pytest.fixture
def make_daemon():
    """Makes daemons with flags, environment or user; they are closed at the end."""
    made = []

    def make(*flags, start=True, **more):
        d = Daemon(flags, **more)
        made.append(d)
        return d.start() if start else d

    yield make
    for d in made:
        d.kill_all()
        until(lambda d=d: not d.leftovers(str(d.state)), 20, f"left: {d.leftovers(str(d.state))}")
        shutil.rmtree(d.dir, ignore_errors=True)


def temporary(daemon):
    box = daemon.create()
    yield box
    daemon.delete(f"{box.path}?missing_ok=1")


@pytest.fixture
def sandbox(daemon):
    yield from temporary(daemon)


@pytest.fixture
def other_sandbox(daemon):
    yield from temporary(daemon)


@pytest.fixture(scope="module")
def module_sandbox(daemon):
    yield from temporary(daemon)


def text_of(result, stream="stdout"):
    """Bytes of an exec result, whichever form they came in."""
    if stream in result:
        return result[stream].encode()
    return base64.b64decode(result[stream + "_b64"])
