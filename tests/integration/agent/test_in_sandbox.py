"""The agent where it lives: made by the engine, with an unmapped uid, ambient capabilities and a system-call filter."""
import os
import pathlib
import socket
import sys

import pytest
from agentclient import Agent, Connection, Result

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "engine"))
import engineclient  # noqa: E402


class Inside(Agent):
    def __init__(self, engine, sandbox):
        self.engine, self.id = engine, sandbox["id"]
        self.sandbox = sandbox

    @property
    def host_pid(self):
        return self.sandbox["pid"]

    def connect(self):
        c = Connection("")
        c.sock = socket.socket(fileno=self.engine.call("connect_agent", id=self.id)[1])
        c.sock.setblocking(True)
        c.sock.settimeout(60)
        c.connect = lambda: None
        return c


@pytest.fixture(scope="module")
def inside():
    if os.geteuid() != 0:
        pytest.skip("needs root for the engine")
    engine = engineclient.Engine().start()
    try:
        yield Inside(engine, engine.create())
    finally:
        engine.clear()


def capabilities(inside, user):
    lines = inside.run("grep", "^Cap", "/proc/self/status", user=user).stdout.decode().split("\n")
    return {k: int(v, 16) for k, v in (line.split(":\t") for line in lines if line)}


def test_commands_of_a_user_have_no_capability(inside):
    caps = capabilities(inside, "user")
    assert caps["CapEff"] == caps["CapPrm"] == caps["CapInh"] == caps["CapAmb"] == 0 and caps["CapBnd"] != 0


def test_commands_of_root_inherit_nothing(inside):
    caps = capabilities(inside, "root")
    assert caps["CapInh"] == caps["CapAmb"] == 0 and caps["CapEff"] == caps["CapPrm"] == caps["CapBnd"] != 0


def test_ids_and_groups(inside):
    assert inside.sh("id -u; id -g; id -G; cat /proc/self/oom_score_adj", user="user").stdout == b"1000\n1000\n1000\n100\n"
    assert inside.sh("id -u; id -g; id -G", user="root").stdout == b"0\n0\n0\n"
    # The agent has its commands' value only while they start.
    own = pathlib.Path(f"/proc/{inside.host_pid}/oom_score_adj")
    engineclient.until(lambda: own.read_text() == "0\n")


def test_files_belong_to_the_user_in_turn(inside):
    for i in range(3):
        for user in ("user", "root"):
            small, large, made = f"/tmp/{user}{i}", f"/tmp/d{i}{user}/large", f"/opt/{i}{user}/made"
            assert inside.put(small, b"x", username=user)[0] == 200
            assert inside.put(large, bytes(500_000), username=user)[0] == 200
            assert inside.unary("/filesystem.Filesystem/MakeDir", {"path": made}, user)[0] == 200
            for path in (small, large, os.path.dirname(large), made, os.path.dirname(made)):
                entry = inside.stat(path)[1]["entry"]
                assert (entry["owner"], entry["group"]) == (user, user), path


def test_access_is_not_checked_per_user(inside):
    assert inside.put("/etc/by-user", b"x", username="user")[0] == 200
    assert inside.put("/root/by-user", b"x", username="user")[0] == 200
    assert inside.get("/root/by-user", username="user")[2] == b"x"
    assert inside.run("cat", "/root/by-user", user="user").code != 0


def test_the_terminal_belongs_to_the_user(inside):
    r = Result(inside.pty("sh", "-c", "stat -c %U $(tty); stty size", user="user"))
    assert r.pty == b"user\r\n24 80\r\n"


def test_directories_of_the_template_can_be_moved(inside):
    status, reply = inside.unary("/filesystem.Filesystem/Move", {"source": "/home/user", "destination": "/tmp/moved"}, "root")
    assert status == 200
    status, reply = inside.unary("/filesystem.Filesystem/Move", {"source": "/tmp/moved", "destination": "/home/user"}, "root")
    assert status == 200 and reply["entry"]["owner"] == "user"


def test_metadata(inside):
    assert inside.put("/home/user/meta", b"x", {"X-Metadata-K": "v"})[0] == 200
    assert inside.stat("/home/user/meta")[1]["entry"]["metadata"] == {"k": "v"}


def test_root_inside_can_neither_read_stop_nor_limit_the_agent(inside):
    for command in ("cat /proc/1/environ", "cat /proc/1/maps", "cat /proc/1/mem", "readlink /proc/1/fd/3",
                    "prlimit --pid 1 --nofile=5:5", "prlimit --pid 1 --cpu=1:1"):
        assert inside.sh(command, user="root").code != 0, command
    inside.sh("kill -9 1; kill -STOP 1; kill -TERM 1", user="root")
    assert inside.request("GET", "/health")[0] == 204
    assert inside.get("/proc/1/environ", username="root")[0] == 500  # nor by a call


def test_watch_inside(inside):
    status, reply = inside.unary("/filesystem.Filesystem/CreateWatcher", {"path": "/tmp"})
    assert status == 200
    inside.sh("touch /tmp/watched", user="user")
    created = {"name": "watched", "type": "EVENT_TYPE_CREATE"}
    engineclient.until(lambda: created in inside.unary("/filesystem.Filesystem/GetWatcherEvents", reply)[1].get("events", []))


def test_a_fork_bomb_is_killed_as_a_whole(inside):
    s = inside.start("bash", "-c", "bomb() { bomb | bomb & }; bomb; sleep 600", cwd="/")
    pid = s.event()["start"]["pid"]
    engineclient.until(lambda: inside.put("/tmp/while-bombed", bytes(200_000))[0] == 429)  # full of processes
    assert inside.signal(pid) == (200, {})
    engineclient.until(lambda: inside.sh("ps -e | wc -l", cwd="/").stdout == b"5\n")


def test_processes_exhausted(inside):
    """A sandbox that is full of processes: the call says so, and all is well again afterwards."""
    script = "import os,time\nn=0\ntry:\n while True:\n  if os.fork()==0: time.sleep(600)\n  n+=1\n" \
             "except OSError: print(n, flush=True); time.sleep(600)"
    s = inside.start("python3", "-c", script)
    pid = s.event()["start"]["pid"]
    s.event()
    r = inside.run("true")
    assert r.error["code"] == "resource_exhausted"
    assert inside.put("/tmp/large", bytes(1_000_000))[0] == 429
    assert inside.request("GET", "/health")[0] == 204
    assert inside.signal(pid) == (200, {})
    assert Result(s).end["status"] == "signal: killed"
    assert engineclient.until(lambda: inside.run("true").end)["status"] == "exit status 0"


def test_the_sandbox_knows_its_name(inside):
    body = b'{"sandboxId":"i0123456789abcdefghij","templateId":"base"}'
    assert inside.request("POST", "/init", body)[0] == 204
    script = "echo $E2B_SANDBOX_ID $E2B_TEMPLATE_ID; cd /run/e2b; head -c 99 .E2B_SANDBOX .E2B_SANDBOX_ID .E2B_TEMPLATE_ID; stat -c %U%a .E2B_SANDBOX"
    assert inside.sh(script, user="user").stdout == (
        b"i0123456789abcdefghij base\n==> .E2B_SANDBOX <==\ntrue\n==> .E2B_SANDBOX_ID <==\ni0123456789abcdefghij\n"
        b"==> .E2B_TEMPLATE_ID <==\nbaseroot644\n")
    # a link that root inside planted is replaced, never followed
    assert inside.sh("ln -sf /home/user/owned /run/e2b/.E2B_SANDBOX_ID", user="root").code == 0
    assert inside.request("POST", "/init", body)[0] == 204
    assert inside.sh("test ! -e /home/user/owned && test ! -L /run/e2b/.E2B_SANDBOX_ID", user="user").code == 0
