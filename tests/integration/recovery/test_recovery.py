"""kill -9 of any process of sandmux, at any moment: sandboxes are found again and work on, and nothing half-made is left."""
import concurrent.futures
import json
import os
import signal
import time

import pytest
import requests

pytestmark = pytest.mark.root


def until(check, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            value = check()
            if value:
                return value
        except (requests.RequestException, OSError, AssertionError):
            pass
        time.sleep(0.05)
    raise AssertionError("it did not come to pass in %d s" % seconds)


@pytest.fixture
def own(fresh_daemon):
    """A daemon that a test may break."""
    return fresh_daemon


def beating(box):
    """Starts a process that counts, so that its survival can be seen."""
    box.exec("(while true; do n=$((n+1)); echo $n > /tmp/beat; sleep 0.05; done) >/dev/null 2>&1 &")
    until(lambda: box.exec("cat /tmp/beat")["stdout"].strip())


def beats_on(box):
    first = int(until(lambda: box.exec("cat /tmp/beat")["stdout"].strip()))
    until(lambda: int(box.exec("cat /tmp/beat")["stdout"].strip() or 0) > first)


@pytest.mark.parametrize("program", ["sandmux-gateway", "sandmux-engine"])
def test_killed_program_comes_back_and_finds_its_sandboxes(own, program):
    box = own.create(name="kept")
    beating(box)
    paused = own.create(name="paused")
    own.post(f"/api/sandboxes/{paused.id}/pause")
    old = own.pid_of(program)
    os.kill(old, signal.SIGKILL)
    until(lambda: own.pid_of(program) != old)
    until(lambda: own.get("/readyz").status_code == 200)
    beats_on(box)
    assert own.get(f"/api/sandboxes/{paused.id}").json()["state"] == "paused"
    assert own.post(f"/api/sandboxes/{paused.id}/resume").json()["state"] == "running"
    until(lambda: own.exec_in(paused.id, "echo back")["stdout"] == "back\n")
    own.create().delete()


def test_killed_supervisor_leaves_sandboxes_for_the_next(own):
    box = own.create(name="kept")
    beating(box)
    own.kill_supervisor()
    own.start()
    beats_on(box)
    assert own.get("/api/sandboxes/kept").json()["id"] == box.id
    own.create().delete()


def test_everything_killed_at_once(own):
    box = own.create(name="kept")
    beating(box)
    for program in ("sandmux-gateway", "sandmux-engine"):
        pid = own.pid_of(program)
        os.kill(pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
    own.kill_supervisor()
    own.start()
    beats_on(box)


@pytest.mark.parametrize("victim", ["sandmux-gateway", "sandmux-engine", "supervisor"])
@pytest.mark.parametrize("delay_ms", [5, 40, 120])
def test_kill_in_the_middle_of_64_creates(own, victim, delay_ms):
    url = own.url + "/api/sandboxes"  # of the daemon that is killed, however late a thread begins

    def create(_):
        try:
            reply = requests.post(url, json={}, timeout=60)
            return reply.json()["id"] if reply.status_code == 201 else None
        except (requests.RequestException, ValueError):
            return None

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        pending = [pool.submit(create, i) for i in range(64)]
        time.sleep(delay_ms / 1000)
        if victim == "supervisor":
            own.kill_supervisor()
            own.start()
        else:
            os.kill(own.pid_of(victim), signal.SIGKILL)
        answered = [f.result() for f in pending]
    until(lambda: own.get("/readyz").status_code == 200)
    listed = {item["id"]: item for item in own.get("/api/sandboxes?limit=1000").json()["items"]}
    for box in filter(None, answered):  # what was acknowledged is there and works
        assert box in listed
        assert until(lambda box=box: own.exec_in(box, "echo ok")["stdout"]) == "ok\n"
    def settled():
        items = own.get("/api/sandboxes?limit=1000").json()["items"]
        return all(item["state"] == "running" for item in items) and {i["id"] for i in items} == own.sandboxes_on_disk()
    until(settled)
    for item in own.get("/api/sandboxes?limit=1000").json()["items"]:
        assert own.delete(f"/api/sandboxes/{item['id']}").status_code == 204
    own.assert_nothing_left()


def test_gateway_that_starts_while_the_engine_is_replaced_gets_the_next_one(own):
    """It asks the engine for every half-made sandbox before it serves: with none to ask it waited 15 s for each."""
    engine, gateway = own.pid_of("sandmux-engine"), own.pid_of("sandmux-gateway")
    os.kill(engine, signal.SIGSTOP)  # takes no new gateway, so the supervisor replaces it

    def create(_):
        try:
            requests.post(own.url + "/api/sandboxes", json={}, timeout=5)
        except requests.RequestException:
            pass

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(8)))
    os.kill(gateway, signal.SIGKILL)
    until(lambda: own.get("/readyz", timeout=5).status_code == 200, 45)
    assert own.pid_of("sandmux-engine") != engine
    own.create().delete()
    until(lambda: own.get("/api/sandboxes").json()["items"] == [])


def test_expiry_works_with_the_gateway_dead(own):
    box = own.create(timeout_s=3)
    paused = own.create(timeout_s=3)
    gateway = own.pid_of("sandmux-gateway")
    os.kill(gateway, signal.SIGSTOP)
    try:
        until(lambda: not (own.sandboxes_on_disk() & {box.id, paused.id}), 20)
    finally:
        os.kill(gateway, signal.SIGCONT)
    until(lambda: own.get(f"/api/sandboxes/{box.id}").status_code == 404)


def test_restart_keeps_names_metadata_and_files(own):
    box = own.create(name="kept", metadata={"team": "red"}, env={"A": "two  words", "E": ""})
    box.write_file("note.txt", b"\x00\xff bytes")
    own.stop()
    own.start()
    again = own.get("/api/sandboxes/kept").json()
    assert (again["id"], again["metadata"]) == (box.id, {"team": "red"})
    assert box.read_file("note.txt") == b"\x00\xff bytes"
    assert box.exec("printf '%s|%s' \"$A\" \"${E-unset}\"")["stdout"] == "two  words|"


def test_stop_and_start_keep_files_and_environment(own):
    box = own.create(env={"A": "1"})
    box.write_file("note.txt", b"kept")
    assert own.post(f"/api/sandboxes/{box.id}/stop").json()["state"] == "stopped"
    reply = own.post(f"/api/sandboxes/{box.id}/exec", json={"command": "true"})
    assert reply.status_code == 409 and reply.json()["code"] == "state_conflict"
    assert own.post(f"/api/sandboxes/{box.id}/start").json()["state"] == "running"
    assert box.read_file("note.txt") == b"kept"
    assert box.exec("echo $A")["stdout"] == "1\n"


def test_pause_freezes_and_resume_goes_on_with_the_same_processes(own):
    box = own.create()
    beating(box)
    pid = box.exec("pgrep -o sleep || pgrep -o sh")["stdout"]
    assert own.post(f"/api/sandboxes/{box.id}/pause").json()["state"] == "paused"
    assert own.post(f"/api/sandboxes/{box.id}/exec", json={"command": "true"}).status_code == 409
    assert own.post(f"/api/sandboxes/{box.id}/resume").json()["state"] == "running"
    beats_on(box)
    assert pid


def test_a_paused_sandbox_can_be_deleted(own):
    box = own.create()
    own.post(f"/api/sandboxes/{box.id}/pause")
    box.delete()
    own.assert_nothing_left_of(box.id)


def test_the_listener_stays_open_while_the_gateway_restarts(own):
    """A connection made while no gateway runs is served by the next one."""
    os.kill(own.pid_of("sandmux-gateway"), signal.SIGKILL)
    assert requests.get(own.url + "/healthz", timeout=30).status_code == 200


def test_a_journal_that_lost_its_last_write_is_noticed(own):
    """The row of a create is on disk before the sandbox is: what the engine has without a row is removed."""
    box = own.create()
    own.stop()
    own.forget_row(box.id)
    own.start()
    until(lambda: box.id not in own.sandboxes_on_disk())
    assert own.get(f"/api/sandboxes/{box.id}").status_code == 404


def agent_of(box):
    """The host's pid of a sandbox's first process."""
    return json.loads((box.daemon.state / "engine" / "sandboxes" / box.id / "meta.json").read_text())["pid"]


def test_a_frozen_engine_holds_up_only_what_needs_it(own):
    box, other = own.create(), own.create()
    assert box.exec("echo warm")["stdout"] == "warm\n"
    engine = own.pid_of("sandmux-engine")
    os.kill(engine, signal.SIGSTOP)
    try:
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            made = [pool.submit(own.create) for _ in range(3)]
            paused = pool.submit(own.post, f"{other.path}/pause")
            assert box.exec("echo on")["stdout"] == "on\n"
            assert own.get("/healthz").status_code == 200 and own.get("/readyz").status_code == 503
            assert {i["id"] for i in own.get("/api/sandboxes").json()["items"]} >= {box.id, other.id}
            assert not any(f.done() for f in made) and not paused.done()
            os.kill(engine, signal.SIGCONT)
            for new in made:
                assert new.result(60).exec("echo on")["stdout"] == "on\n"
            assert paused.result(60).json()["state"] == "paused"
    finally:
        os.kill(engine, signal.SIGCONT)
    assert own.pid_of("sandmux-engine") == engine


def test_a_frozen_agent_holds_up_its_own_sandbox_only(own):
    box, other = own.create(), own.create()
    pid = agent_of(box)
    os.kill(pid, signal.SIGSTOP)
    try:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            waiting = pool.submit(box.exec, "echo late")
            assert other.exec("echo on")["stdout"] == "on\n"
            assert own.create().exec("echo on")["stdout"] == "on\n"
            assert own.post(f"{box.path}/pause").status_code == 200 and own.post(f"{box.path}/resume").status_code == 200
            assert not waiting.done()
            os.kill(pid, signal.SIGCONT)
            assert waiting.result(60)["stdout"] == "late\n"
    finally:
        os.kill(pid, signal.SIGCONT)
    os.kill(pid, signal.SIGSTOP)
    box.delete()  # the processes of a sandbox are not asked
    own.assert_nothing_left_of(box.id)
