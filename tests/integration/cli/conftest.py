"""The command line program and libsandmux against a real daemon (`sm`) or one that misbehaves (`fake`, `fm`)."""
import json
import os
import pathlib
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import fcntl

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from fake_daemon import FakeDaemon  # noqa: E402

BUILD = pathlib.Path(os.environ.get("SMX_BUILD", HERE.parent.parent.parent / "build")).resolve()
SETTINGS = ("SANDMUX_", "SANDBOX_RUNTIME", "E2B_", "DAYTONA_", "RUNTIME_API_TOKEN", "LOG_LEVEL", "NO_COLOR", "CLICOLOR")

PATIENCE_S = 60


def until(check, seconds=PATIENCE_S, why="it did not come to pass"):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"{why} in {seconds} s"
        time.sleep(0.02)


class Result(subprocess.CompletedProcess):
    @property
    def json(self):
        return json.loads(self.stdout)

    @property
    def text(self):
        return self.stdout.decode()

    @property
    def error(self):
        return self.stderr.decode()


class Cli:
    """Calling it runs `sandmux ARGS...` against one daemon; stdin is empty unless `input` says otherwise."""

    program = str(BUILD / "sandmux")

    def __init__(self, url, home):
        self.url, self.home = url, home

    def env(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)}
        env.update(HOME=str(self.home), **more)
        env.pop("XDG_RUNTIME_DIR", None)
        if self.url:
            env.setdefault("SANDMUX_URL", self.url)
        return env

    def __call__(self, *args, input=None, env=None, cwd=None, timeout=PATIENCE_S):
        source = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        r = subprocess.run([self.program, *map(str, args)], capture_output=True, timeout=timeout, cwd=cwd or self.home,
                           env=self.env(**(env or {})), **source)
        return Result(r.args, r.returncode, r.stdout, r.stderr)

    def ok(self, *args, **more):
        r = self(*args, **more)
        assert r.returncode == 0, (args, r.returncode, r.error)
        return r

    def popen(self, *args, **more):
        more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen([self.program, *map(str, args)], env=self.env(), cwd=self.home, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **more)

    def terminal(self, *args, rows=40, cols=120):
        return Terminal([self.program, *map(str, args)], self.env(TERM="xterm"), rows, cols)


class Terminal:
    """A program on a terminal of ours."""

    def __init__(self, argv, env, rows, cols):
        self.output = b""
        sized, go = os.pipe()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.close(go)
            os.read(sized, 1)  # the size comes first
            os.execve(argv[0], [str(a) for a in argv], env)
        self.resize(rows, cols)
        os.close(go)
        os.close(sized)

    def resize(self, rows, cols):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def send(self, text):
        os.write(self.fd, text.encode())

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.output += data
        return bool(data)

    def expect(self, text):
        """Reads until the text has come; what came before it is dropped."""
        end = time.monotonic() + PATIENCE_S
        while text.encode() not in self.output:
            self.read(0.2)
            assert time.monotonic() < end, f"no {text!r} in {self.output!r}"
        self.output = self.output.split(text.encode(), 1)[1]

    def mode(self):
        return termios.tcgetattr(self.fd)

    def wait(self):
        while self.read(0.1) or os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            pass
        mode = self.mode()
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return status, mode


@pytest.fixture
def fake(tmp_path):
    d = FakeDaemon(tmp_path)
    yield d
    try:
        d.close()
    except OSError:
        pass


@pytest.fixture
def fm(fake, tmp_path):
    return Cli(fake.url, tmp_path)


@pytest.fixture
def sm(daemon, tmp_path):
    return Cli(f"unix:{daemon.socket}", tmp_path)


@pytest.fixture
def box(sandbox):
    """The id of a real sandbox."""
    return sandbox.id


@pytest.fixture
def lonely():
    """No daemon anywhere: a state directory of its own, where one would be started. Not below pytest's, which is closed to others
    again whenever another run begins."""
    home = pathlib.Path(tempfile.mkdtemp(prefix="smx-lonely-", dir="/tmp"))
    home.chmod(0o755)
    cli = Cli(None, home)
    cli.state = home / "state"
    plain = cli.env
    cli.env = lambda **more: plain(**{"SANDMUX_STATE_DIR": str(cli.state), "SANDMUX_AUTO_IDLE_S": "2", **more})
    try:
        yield cli
        cli("shutdown", "--all")
        until(lambda: not daemons_of(cli), why="the daemon still runs")
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", str(home)], check=False)


def daemons_of(lonely):
    """The pids of those that its commands started."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if b"serve\0--auto" in open(f"/proc/{pid}/cmdline", "rb").read() and \
                    f"SANDMUX_STATE_DIR={lonely.state}".encode() in open(f"/proc/{pid}/environ", "rb").read():
                found.append(int(pid))
        except OSError:
            pass
    return found
