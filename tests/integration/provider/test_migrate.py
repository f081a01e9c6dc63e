"""A sandbox moves to another runtime (R45): same id, equal files, nothing lost, nothing left."""
import os
import signal
import subprocess
import threading
import time

import pytest

from clouds import client, cloud, cloud_ids  # noqa: F401 (fixtures)
from conftest import BUILD, Sandbox, clean_env, until

pytestmark = pytest.mark.root

FILL = r"""
cd /workspace; mkdir -p empty/dir; printf '\000\377' >f; ln -s f link; ln f hard; chmod 4751 f; printf x >'na me'
touch -d '2001-02-03 04:05:06.789' f; chown user:user empty; printf y >/home/user/mine; mkdir -m 700 /root/.keep
touch -d 2002-01-01 empty/dir
"""
LIST = ("cd /; find workspace home root \\( -type d -printf '%p %y %m %U %G %T@\\n' -o -type l -printf '%p %y %l\\n' "
        "-o -printf '%p %y %m %U %G %T@ %s %n\\n' \\) | sort; find workspace home root -type f -print0 | sort -z | xargs -0 sha256sum")


@pytest.fixture
def box(client):
    b = client.create(runtime="local", env={"A": "two  words"}, metadata={"team": "blue"})
    assert b.exec(FILL)["exit_code"] == 0
    yield b
    client.delete(f"{b.path}?missing_ok=1")


def migrate(box, runtime, **more):
    return box.daemon.post(f"{box.path}/migrate", json={"runtime": runtime, **more}, timeout=120)


def test_there_and_back(client, cloud, box):
    name = f"box{os.getpid()}"
    assert client.patch(box.path, json={"name": name}).status_code == 200
    before, made = box.exec(LIST)["stdout"], box.get()
    moved = migrate(box, "e2b")
    assert moved.status_code == 200, moved.text
    now = moved.json()
    assert (now["id"], now["runtime"], now["state"], now["name"]) == (box.id, "e2b", "running", name)
    assert now["metadata"] == made["metadata"] and now["created_at"] == made["created_at"]
    assert now["provider_id"] in cloud_ids(cloud)
    assert box.exec(LIST)["stdout"] == before
    assert box.exec('printf "%s" "$A"')["stdout"] == "two  words"
    assert [item["id"] for item in client.get("/api/sandboxes").json()["items"]] == [box.id]
    until(lambda: client.sandboxes_on_disk() == set(), why="the old machine is still there")
    box.exec("echo new >/workspace/new")
    back = migrate(box, "local")
    assert back.status_code == 200 and back.json()["runtime"] == "local", back.text
    assert box.exec("cat /workspace/new")["stdout"] == "new\n"
    until(lambda: cloud_ids(cloud) == [], why="the machine at the cloud is still there")


def test_what_runs_inside_knows_the_sandbox_by_its_own_id(client, box):
    """Not by that of the machine that it is on: here, at a cloud, after a move back, after a start."""
    def told():
        return box.exec("echo $E2B_SANDBOX_ID; cat /run/e2b/.E2B_SANDBOX_ID")["stdout"].split()

    assert told() == [box.id] * 2
    assert migrate(box, "e2b").status_code == 200 and box.get()["provider_id"] != box.id
    assert told() == [box.id] * 2
    assert migrate(box, "local").status_code == 200
    assert told() == [box.id] * 2
    client.post(f"{box.path}/stop")
    client.post(f"{box.path}/start")
    assert told() == [box.id] * 2


def test_sessions_keep_their_state(client, box):
    sessions = f"{box.path}/sessions"
    assert client.post(sessions, json={"id": "s"}).status_code == 201
    assert client.post(f"{sessions}/s/exec", json={"command": "cd /usr; V=kept"}).status_code == 200
    running = client.post(f"{sessions}/s/exec", json={"command": "sleep 300", "async": True}).json()
    assert migrate(box, "e2b").status_code == 200
    after = client.post(f"{sessions}/s/exec", json={"command": "pwd; echo $V"}).json()
    assert after["stdout"] == "/usr\nkept\n"
    assert client.get(f"{sessions}/s/commands/{running['cmd_id']}/logs").json()["status"] != "running"


def test_the_lifetime_goes_along(client, cloud, box):
    end = client.patch(box.path, json={"timeout_s": 600}).json()["expires_at"]
    moved = migrate(box, "e2b")
    assert moved.status_code == 200 and moved.json()["expires_at"] == end, moved.text
    assert client.patch(box.path, json={"timeout_s": 1}).status_code == 200
    until(lambda: client.get(box.path).status_code == 404 and cloud_ids(cloud) == [], why="it outlived its lifetime")


@pytest.mark.parametrize("body, status, text", [
    ({"runtime": "local"}, 422, "already"), ({"runtime": "docker"}, 422, "Invalid runtime 'docker'"), ({}, 422, "runtime"),
    ({"runtime": "daytona"}, 400, "not properly configured"), ({"runtime": "e2b", "template": "no-such"}, 404, "no-such"),
], ids=["same", "unknown", "none", "unconfigured", "template"])
def test_refusals_change_nothing(client, cloud, box, body, status, text):
    reply = client.post(f"{box.path}/migrate", json=body)
    assert reply.status_code == status and text in reply.json()["detail"], reply.text
    assert box.get()["runtime"] == "local" and box.exec("cat '/workspace/na me'")["stdout"] == "x"
    assert cloud_ids(cloud) == []


def test_paused_and_used_sandboxes_stay(client, box):
    assert client.post(f"{box.path}/pause").status_code == 200
    assert migrate(box, "e2b").status_code == 409
    assert client.post(f"{box.path}/resume").status_code == 200
    stream = client.open_stream(f"{box.path}/exec", {"command": "sleep 300"})
    reply = migrate(box, "e2b")
    stream.close()
    assert reply.status_code == 409 and "in use" in reply.json()["detail"], reply.text


def test_a_copy_that_differs_is_not_taken(client, cloud, box):
    """Somebody inside goes on writing: no call of ours, a process of the sandbox."""
    box.exec("nohup sh -c 'while :; do date +%N >/workspace/clock; done' >/dev/null 2>&1 &")
    until(lambda: box.exec("test -e /workspace/clock")["exit_code"] == 0)
    reply = migrate(box, "e2b")
    assert reply.status_code == 409 and "differs" in reply.json()["detail"], reply.text
    assert box.get()["runtime"] == "local"
    assert box.exec("test -s /workspace/clock || test -e /workspace/clock")["exit_code"] == 0
    until(lambda: cloud_ids(cloud) == [], why="the twin is still there")


def test_calls_meanwhile_are_refused_and_say_why(client, box):
    box.exec("head -c 80M /dev/urandom >/workspace/big")
    replies = []
    thread = threading.Thread(target=lambda: replies.append(migrate(box, "e2b")))
    thread.start()
    seen = until(lambda: (r := box.try_exec("true")).status_code == 409 and r.json()["detail"] or not thread.is_alive() and "late", 30)
    thread.join()
    assert replies[0].status_code == 200, replies[0].text
    assert "moved to another runtime" in seen or seen == "late"


@pytest.mark.parametrize("delay_ms", [5, 60, 150, 400])
def test_killed_in_the_middle_it_is_whole_on_one_side(client, cloud, box, delay_ms):
    box.exec("head -c 20M /dev/urandom >/workspace/big")
    before = box.exec(LIST)["stdout"]
    thread = threading.Thread(target=_quietly, args=(box,))
    thread.start()
    time.sleep(delay_ms / 1000)
    os.kill(client.pid_of("sandmux-gateway"), signal.SIGKILL)
    thread.join()
    until(lambda: client.get(box.path).json()["state"] == "running", why="it does not run again")
    until(lambda: box.exec(LIST)["stdout"] == before, why="its files differ")
    until(lambda: [i["id"] for i in client.get("/api/sandboxes").json()["items"]] == [box.id], why="a twin is left")
    where = box.get()["runtime"]
    until(lambda: len(cloud_ids(cloud)) == (where == "e2b"), why="a machine is left at the cloud")
    until(lambda: len(client.sandboxes_on_disk()) == (where == "local"), why="a machine is left here")


def _quietly(box):
    try:
        migrate(box, "e2b")
    except OSError:
        pass


def test_the_command_line(client, box):
    env = clean_env(SANDMUX_URL=f"unix:{client.socket}", HOME="/tmp")
    done = subprocess.run([BUILD / "sandmux", "migrate", box.id, "--to", "e2b"], env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"{box.id} is on e2b\n"), done
    again = subprocess.run([BUILD / "sandmux", "migrate", box.id, "--to", "e2b"], env=env, capture_output=True, text=True, timeout=120)
    assert again.returncode == 1 and "already" in again.stderr


def test_a_switch_that_leaves_sandboxes_names_the_command(client, box):
    assert client.post("/api/runtime/switch", json={"runtime": "local"}).status_code == 200
    try:
        reply = client.post("/api/runtime/switch", json={"runtime": "e2b"}).json()
        assert "sandmux migrate ID --to e2b" in reply["warnings"][0]
    finally:
        client.post("/api/runtime/switch", json={"runtime": "e2b"})
        assert Sandbox(client, {"id": box.id}).get()["runtime"] == "local"
