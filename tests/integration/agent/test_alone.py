"""The program itself: its options, its life without privilege, and what it costs."""
import gzip
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest
from agentclient import BINARY, SANITIZED, Agent, Connection, agent, basic, envelope, until  # noqa: F401 (a fixture)


class Plain(Agent):
    """Not in a namespace: on a socket that it makes itself, as the caller or as nobody."""

    def __init__(self, directory, unprivileged):
        self.directory = pathlib.Path(directory)
        self.path = self.directory / "agent.sock"
        command = [str(BINARY), "--listen", str(self.path)]
        if unprivileged and os.geteuid() == 0:
            os.chown(directory, 65534, 65534)
            command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *command]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        until(self.healthy, "the agent did not answer")

    @property
    def host_pid(self):
        return self.process.pid


@pytest.fixture
def plain():
    directory = tempfile.mkdtemp(prefix="smx-agent-", dir="/tmp")
    a = Plain(directory, unprivileged=True)
    yield a
    a.stop()
    shutil.rmtree(directory)


def test_without_privilege_other_users_are_refused(plain):
    me = subprocess.run(["id", "-un", "65534" if os.geteuid() == 0 else str(os.geteuid())], capture_output=True,
                        text=True).stdout.strip()
    r = plain.run("id", "-un", user=me, cwd="/")
    assert r.stdout.decode().strip() == me
    r = plain.run("true", user="daemon", cwd="/")
    assert r.error["code"] == "permission_denied" and "no privilege" in r.error["message"]
    status, reply = plain.unary("/filesystem.Filesystem/MakeDir", {"path": str(plain.directory / "d")}, user="daemon")
    assert (status, reply["code"]) == (403, "permission_denied")
    assert plain.put(str(plain.directory / "f"), b"x", username="daemon")[0] == 403
    assert plain.put(str(plain.directory / "f"), b"x", username=me)[0] == 200
    assert plain.get(str(plain.directory / "f"), username=me)[2] == b"x"


def test_without_privilege_orphans_are_reaped(plain):
    me = subprocess.run(["id", "-un", "65534" if os.geteuid() == 0 else str(os.geteuid())], capture_output=True,
                        text=True).stdout.strip()
    assert plain.sh("for i in $(seq 50); do (setsid true &); done; exit 3", user=me, cwd="/").code == 3

    def children():
        return pathlib.Path(f"/proc/{plain.host_pid}/task/{plain.host_pid}/children").read_text()

    until(lambda: children() == "", "children are left")


@pytest.mark.parametrize("arguments,code,words", [
    (["--help"], 0, "usage: sandmux-agent"), (["--version"], 0, "sandmux-agent "), (["--nosuch"], 2, "usage:"),
    (["--listen-fd", "x"], 2, "'x' is no descriptor"), (["--listen-fd", "77"], 1, "is no listening socket"),
    (["extra"], 2, "unexpected argument 'extra'"), (["--listen", "/nosuch/dir/socket"], 1, "cannot start"),
    (["--listen", "/" + "x" * 200], 1, "cannot start"), ([], 1, "cannot start")])
def test_options(arguments, code, words):
    r = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=20, close_fds=True)
    assert r.returncode == code and words in r.stdout + r.stderr


@pytest.mark.parametrize("used", [True, False])
def test_one_that_waits_serves_after_a_byte_and_ends_without(used):
    directory = tempfile.mkdtemp(prefix="smx-agent-", dir="/tmp")
    path = os.path.join(directory, "agent.sock")
    process = subprocess.Popen([BINARY, "--listen", path, "--wait"], stdin=subprocess.PIPE)
    try:
        with socket.socket(socket.AF_UNIX) as s:
            until(lambda: os.path.exists(path) and s.connect_ex(path) == 0, "it does not listen")  # it binds a moment before
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            s.settimeout(0.3)
            with pytest.raises(TimeoutError):
                s.recv(1)
            if used:
                process.stdin.write(b"x")
            process.stdin.close()
            s.settimeout(20)
            if used:
                assert s.recv(100).startswith(b"HTTP/1.1 204 ")
                assert os.readlink(f"/proc/{process.pid}/fd/0") == "/dev/null"
            else:
                assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory)


def test_a_listener_that_is_no_socket_is_refused():
    fd = os.open("/dev/null", os.O_RDWR)
    r = subprocess.run([BINARY, "--listen-fd", str(fd)], capture_output=True, text=True, timeout=20, pass_fds=[fd])
    os.close(fd)
    assert r.returncode == 1 and "cannot start" in r.stderr


@pytest.mark.skipif(SANITIZED, reason="sanitizers need a dynamic program")
def test_the_program_is_static():
    out = subprocess.run(["readelf", "-lW", BINARY], capture_output=True, text=True).stdout
    assert "INTERP" not in out and "DYN" in out  # position-independent, without an interpreter


def test_the_agent_is_not_dumpable(agent):
    agent.put("/tmp/switch", b"x")  # after a change of ids, too
    agent.run("true")
    owner = os.stat(f"/proc/{agent.host_pid}/environ").st_uid
    assert owner == 0
    assert agent.sh("cat /proc/1/maps > /dev/null; echo $?").stdout != b"0\n"
    status = pathlib.Path(f"/proc/{agent.host_pid}/status").read_text()
    assert "Threads:\t1\n" in status


@pytest.mark.skipif(SANITIZED, reason="a sanitizer holds memory back")
def test_memory_is_given_back(agent):
    def private_kib():
        text = open(f"/proc/{agent.host_pid}/smaps_rollup").read()
        return sum(int(x.split()[1]) for x in text.splitlines() if x.startswith("Private_Dirty"))

    agent.run("head", "-c", "20000000", "/dev/zero")
    agent.put("/tmp/memory", bytes(30_000_000))
    agent.get("/tmp/memory")
    agent.sh("mkdir -p /tmp/mem; cd /tmp/mem; seq 1 5000 | xargs touch")
    agent.unary("/filesystem.Filesystem/ListDir", {"path": "/tmp/mem"})
    until(lambda: private_kib() < 2048, f"{private_kib()} KiB are held after load", seconds=10)


@pytest.mark.skipif(SANITIZED, reason="a sanitizer needs more")
def test_an_idle_agent_is_small(plain):
    text = open(f"/proc/{plain.host_pid}/smaps_rollup").read()
    dirty = sum(int(x.split()[1]) for x in text.splitlines() if x.startswith("Private_Dirty"))
    assert dirty < 200


def test_termination():
    """Outside a sandbox it ends like any program, and has lost no memory by then (a sanitizer would say so)."""
    d = tempfile.mkdtemp(prefix="smx-agent-", dir="/tmp")
    a = Plain(d, unprivileged=False)
    me = subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
    for i in range(3):
        assert a.sh("cat; exit 3", user=me, cwd="/").code == 3
        assert a.run("nosuch", user=me, cwd="/").code == 127
        assert a.run("true", user=me, cwd="/nosuch").error
        assert a.run("true", user="nosuch").error
        assert a.put(f"{d}/f{i}", b"x" * 100000, {"X-Metadata-A": "b"}, username=me)[0] == 200
        assert a.put(f"{d}/g{i}", gzip.compress(b"x" * 100000), {"Content-Encoding": "gzip"}, username=me)[0] == 200
        assert a.put(f"{d}/g{i}", b"bad", {"Content-Encoding": "gzip"}, username=me)[0] == 400
        assert a.get(f"{d}/f{i}", username=me)[2] == b"x" * 100000
        assert a.get("/proc/self/status", username=me)[0] == 200
        assert a.stat(f"{d}/f{i}", user=me)[0] == 200 and a.stat("/nosuch", user=me)[0] == 404
        assert a.unary("/filesystem.Filesystem/ListDir", {"path": "/etc", "depth": 3}, me)[0] == 200
        assert a.unary("/filesystem.Filesystem/MakeDir", {"path": f"{d}/a{i}/b"}, me)[0] == 200
        assert a.unary("/filesystem.Filesystem/Move", {"source": f"{d}/a{i}", "destination": f"{d}/c{i}"}, me)[0] == 200
        assert a.unary("/filesystem.Filesystem/Remove", {"path": f"{d}/c{i}"}, me) == (200, {})
        status, reply = a.unary("/filesystem.Filesystem/CreateWatcher", {"path": d, "recursive": True}, me)
        assert status == 200 and a.unary("/filesystem.Filesystem/RemoveWatcher", reply) == (200, {})
        assert a.request("POST", "/init", b'{"envVars":{"A":"%d"},"defaultUser":"x"}' % i)[0] == 204
        assert a.unary("/process.Process/List", b"{bad")[0] == 400
    s = a.start("sleep", "600", user=me, cwd="/")
    pid = s.event()["start"]["pid"]
    s.close()
    assert a.signal(pid) == (200, {})
    until(lambda: pid not in a.pids(), "it was not killed")
    a.process.send_signal(signal.SIGTERM)
    assert a.process.wait(20) == 0
    shutil.rmtree(d)


def test_thousands_of_commands_in_a_row(agent):
    """Exits that are kept for a late Connect use up no place of a command."""
    c = agent.connect()
    body = envelope(b'{"process":{"cmd":"true"},"stdin":false}')
    for _ in range(4200):
        c.request("POST", "/process.Process/Start", body, {"Content-Type": "application/connect+json"})
        assert b"exit status 0" in c.getresponse().read()
    c.close()
