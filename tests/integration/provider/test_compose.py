"""What is built from process calls is the same on every runtime: sessions, archives."""
import pytest

from clouds import client, cloud  # noqa: F401 (fixtures)
from conftest import Daemon, until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def local_daemon():
    with Daemon() as d:
        yield d


@pytest.fixture(scope="module", params=["local", "e2b"])
def box(request):
    daemon = request.getfixturevalue("local_daemon" if request.param == "local" else "client")
    b = daemon.create()
    yield b
    daemon.delete(f"{b.path}?missing_ok=1")


def run(box, command, **more):
    reply = box.daemon.post(f"{box.path}/sessions/s/exec", json={"command": command, **more}, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.fixture
def session(box):
    assert box.daemon.post(f"{box.path}/sessions", json={"id": "s"}).status_code == 201
    yield box
    assert box.daemon.delete(f"{box.path}/sessions/s").status_code == 204


def test_the_flag_says_so(box):
    assert box.get()["capabilities"]["sessions"] is True


def test_state_is_kept(session):
    assert run(session, "cd /usr; V=5; f() { echo f$1; }; exit 3")["exit_code"] == 3
    done = run(session, "pwd; echo $V; f x; echo e >&2")
    assert (done["exit_code"], done["stdout"], done["stderr"]) == (0, "/usr\n5\nfx\n", "e\n")
    assert run(session, "exec sh -c 'exit 9'")["exit_code"] == 9
    assert run(session, "echo $V")["stdout"] == "5\n"


def test_background_children_hang_nothing(session):
    assert run(session, "sleep 60 & echo started")["stdout"] == "started\n"
    assert run(session, "echo next")["stdout"] == "next\n"


def test_asynchronous_commands(session):
    begun = run(session, "read line; echo got $line; exit 4", **{"async": True})
    path = f"{session.path}/sessions/s/commands/{begun['cmd_id']}"
    assert session.daemon.post(f"{path}/input", json={"data": "it\n"}).status_code == 204
    log = until(lambda: (r := session.daemon.get(f"{path}/logs").json())["status"] == "ended" and r)
    assert (log["stdout"], log["exit_code"]) == ("got it\n", 4)


def test_time_limits_and_signals(session):
    done = run(session, "sleep 60", timeout_s=0.5)
    assert done["timed_out"] and done["exit_code"] == 137
    assert run(session, "kill -TERM $$")["exit_code"] == 143


def test_archives(box):
    box.exec("mkdir -p /workspace/a/empty; echo x >/workspace/a/f; chmod 640 /workspace/a/f")
    saved = box.daemon.get(f"{box.path}/archive", params={"path": "/workspace/a"})
    assert saved.status_code == 200
    box.exec("rm -rf /workspace/a")
    assert box.daemon.put(f"{box.path}/archive", data=saved.content).status_code == 200
    assert box.exec("stat -c '%a %s' /workspace/a/f; ls -d /workspace/a/empty")["stdout"] == "640 2\n/workspace/a/empty\n"
