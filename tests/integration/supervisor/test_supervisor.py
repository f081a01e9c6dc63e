"""`sandmux serve`: one owner of a state directory and a port, programs that are started again, orderly and disorderly ends."""
import contextlib
import errno
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest
import requests

from conftest import BUILD, Daemon, UnixConnection, clean_env, processes, until

needs_root = pytest.mark.root


def ended(d, seconds=30):
    status = d.process.wait(seconds)
    d.process = None
    return status


# --- refusals at start


@needs_root
def test_a_busy_port_names_its_holder(make_daemon):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        d = make_daemon("--listen", f"127.0.0.1:{port}", start=False)
        d.spawn()
        assert ended(d) == 1
    assert f"port {port}" in d.log() and f"{os.getpid()} (" in d.log() and "--listen" in d.log()


@needs_root
def test_a_state_directory_in_use_names_its_holder(make_daemon):
    first = make_daemon()
    second = make_daemon(start=False)
    second.state = first.state
    second.spawn()
    assert ended(second) == 1
    assert f"in use by sandmux serve, pid {first.process.pid}" in second.log()
    assert first.get("/healthz").status_code == 200
    second.state = second.dir / "state"


@needs_root
def test_a_socket_path_that_is_too_long_is_refused(make_daemon):
    d = make_daemon(start=False)
    d.state = d.dir / ("x" * 100)
    d.spawn()
    assert ended(d) == 1 and "SANDMUX_SOCKET" in d.log()
    make_daemon("--socket", str(d.dir / "short.sock")).get("/healthz")


@needs_root
def test_a_state_directory_that_the_gateway_cannot_reach_is_refused(make_daemon):
    d = make_daemon(start=False)
    d.dir.chmod(0o700)
    d.spawn()
    assert ended(d) == 1 and "cannot use" in d.log() and "x on every directory above" in d.log()


@needs_root
def test_a_state_directory_of_somebody_else_is_refused(make_daemon):
    d = make_daemon(start=False)
    d.state.mkdir()
    os.chown(d.state, 12345, 12345)
    d.spawn()
    assert ended(d) == 1 and "belongs to uid 12345" in d.log()


@needs_root
@pytest.mark.parametrize("flags,part", [
    (["--listen", "nowhere:1"], "--listen"), (["--memory-mib", "1"], "--memory-mib"), (["--profile", "../x"], "--profile"),
    (["--log-level", "loud"], "--log-level"),
])
def test_settings_that_make_no_sense_name_themselves(make_daemon, flags, part):
    d = make_daemon(*flags, start=False)
    d.spawn()
    assert ended(d) != 0 and part in d.log()


@needs_root
def test_a_damaged_database_is_a_clear_end(make_daemon):
    d = make_daemon()
    d.stop()
    (d.state / "gateway" / "gateway.db").write_bytes(b"this is no database" * 1000)
    d.spawn()
    assert ended(d) != 0 and "gateway.db" in d.log()


@needs_root
@pytest.mark.parametrize("damage", ["half of it", "bytes of it"])
def test_a_damaged_database_takes_no_sandbox_along_and_says_what_would(make_daemon, damage):
    """With the file put back everything is as it was; that an empty one ends the sandboxes is said before it is too late."""
    d = make_daemon()
    box = d.create()
    box.write_file("/tmp/kept", b"kept")
    d.stop()
    db = d.state / "gateway" / "gateway.db"
    whole = db.read_bytes()
    db.write_bytes(whole[:len(whole) // 2] if damage == "half of it" else whole[:4096] + bytes(b ^ 255 for b in whole[4096:]))
    d.spawn()
    assert ended(d) != 0 and "is damaged" in d.log() and "ends the local sandboxes" in d.log()
    db.write_bytes(whole)
    d.start()
    assert box.read_file("/tmp/kept") == b"kept"
    box.delete()
    d.stop()


@needs_root
def test_a_full_disk_refuses_what_is_new_and_lets_go_of_what_is_there(make_daemon):
    """What runs runs on, creates say why, a restart works, deletes make room."""
    d = make_daemon(start=False)
    d.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs", d.state], check=True)
    d.start()
    boxes = [d.create(), d.create()]
    with open(d.state / "filler", "wb", buffering=0) as filler:
        def fill():
            try:
                while filler.write(b"x" * 4096):
                    pass
            except OSError as e:
                assert e.errno == errno.ENOSPC

        fill()
        assert boxes[0].exec("echo on")["stdout"] == "on\n"
        for path, body in (("/api/sandboxes", {}), ("/sandboxes", {"templateID": "base"})):
            assert d.post(path, json=body).status_code == 507
        assert d.put(f"{boxes[0].path}/files/content?path=/tmp/x", data=b"y" * 100_000).status_code == 507
        d.stop()
        fill()
        d.start()
        assert boxes[1].exec("echo on")["stdout"] == "on\n"
        fill()
        for box in boxes:
            box.delete()
            d.assert_nothing_left_of(box.id)
        os.truncate(d.state / "filler", 0)
    assert d.create().exec("echo on")["stdout"] == "on\n"
    d.delete_all()
    d.stop()


# --- privilege


@needs_root
def test_the_gateway_has_no_privilege(make_daemon):
    d = make_daemon()
    status = pathlib.Path(f"/proc/{d.pid_of('sandmux-gateway')}/status").read_text()
    field = {line.split(":")[0]: line.split(":")[1].split() for line in status.splitlines()}
    assert "0" not in field["Uid"] and "0" not in field["Gid"] and field["Groups"] == []
    for caps in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(field[caps][0], 16) == 0, caps
    assert field["NoNewPrivs"] == ["1"]
    assert (d.state / "gateway").stat().st_mode & 0o777 == 0o700 and (d.state / "engine").stat().st_mode & 0o777 == 0o700
    assert (d.state / "gateway").stat().st_uid == int(field["Uid"][0]) and (d.state / "engine").stat().st_uid == 0
    assert d.state.stat().st_uid == 0


@needs_root
def opened_by(pid):
    """What its descriptors are; some may be closed meanwhile."""
    found = set()
    for p in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(p))
    return found


def test_lock_and_listeners_are_open_in_no_engine(make_daemon):
    d = make_daemon()
    engine, supervisor = opened_by(d.pid_of("sandmux-engine")), opened_by(d.process.pid)
    assert str(d.state / "lock") in supervisor and str(d.state / "lock") not in engine
    assert not {t for t in engine & supervisor if t.startswith("socket:")}


# --- ends


@needs_root
@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_in_an_orderly_way(make_daemon, signo):
    d = make_daemon()
    d.process.send_signal(signo)
    assert ended(d) == 0
    assert not d.socket.exists() and not (d.state / "address").exists()
    until(lambda: not d.leftovers(str(d.state)), 20)


@needs_root
def test_a_hangup_ends_nothing(make_daemon):
    d = make_daemon()
    d.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert d.get("/healthz").status_code == 200


@needs_root
def test_a_running_request_is_finished_before_the_end(fresh_daemon):
    box = fresh_daemon.create()
    stream = fresh_daemon.open_stream(f"{box.path}/exec", {"command": "echo begun; sleep 2; echo done"})
    lines = stream.iter_lines()
    next(lines), next(lines)
    fresh_daemon.process.send_signal(signal.SIGTERM)
    assert json.loads(next(lines)) == {"stdout": "done\n"}
    assert ended(fresh_daemon) == 0


@needs_root
def test_an_endless_stream_does_not_hold_the_end_up(fresh_daemon):
    box = fresh_daemon.create()
    streams = [fresh_daemon.get(path, stream=True) for path in ("/api/events", f"{box.path}/logs?follow=1", f"{box.path}/stats?follow=1")]
    fresh_daemon.process.send_signal(signal.SIGTERM)
    assert ended(fresh_daemon) == 0
    assert "were cut" not in fresh_daemon.log()
    for stream in streams:
        stream.close()


@needs_root
def test_shutdown_through_the_socket_only(make_daemon):
    d = make_daemon()
    assert d.post("/api/daemon/shutdown").status_code == 403
    assert d.unix_request("POST", "/api/daemon/shutdown")[0] == 202
    assert ended(d) == 0


@needs_root
def test_programs_that_die_are_started_again_and_counted(fresh_daemon):
    d = fresh_daemon
    for _ in range(3):
        old = d.pid_of("sandmux-gateway")
        os.kill(old, signal.SIGKILL)
        until(lambda: d.pid_of("sandmux-gateway") != old and d.get("/readyz").status_code == 200)
    old = d.pid_of("sandmux-engine")
    os.kill(old, signal.SIGKILL)
    until(lambda: d.pid_of("sandmux-engine") != old)
    until(lambda: d.post("/api/sandboxes", json={}).status_code == 201)
    metrics = d.get("/metrics").text
    assert "sandmux_gateway_restarts 3" in metrics and "sandmux_engine_restarts 1" in metrics


@needs_root
def test_a_killed_supervisor_takes_the_gateway_along_and_frees_all(make_daemon):
    d = make_daemon()
    gateway = d.pid_of("sandmux-gateway")
    port = d.port
    d.kill_supervisor()
    until(lambda: gateway not in processes())
    d.flags = ["--listen", f"127.0.0.1:{port}"]
    d.start()
    assert d.get("/readyz").status_code == 200
    d.stop()


@needs_root
def test_an_orphaned_engine_is_replaced(make_daemon):
    d = make_daemon()
    box = d.create(name="kept")
    engine = d.pid_of("sandmux-engine")
    d.kill_supervisor()
    d.start()
    assert d.get("/api/sandboxes/kept").json()["id"] == box.id
    assert box.exec("echo on")["stdout"] == "on\n"
    until(lambda: engine not in processes())
    box.delete()
    d.stop()


@needs_root
def test_a_second_signal_ends_it_at_once(make_daemon):
    d = make_daemon()
    box = d.create()
    stream = d.open_stream(f"{box.path}/exec", {"command": "sleep 1000"})
    next(stream.iter_lines())
    d.process.send_signal(signal.SIGTERM)
    until(lambda: "ending signal=15" in d.log())  # two at once would be one
    d.process.send_signal(signal.SIGTERM)
    ended(d)
    assert "were cut" not in d.log()
    d.start()
    d.delete_all()
    d.stop()


@needs_root
def test_nothing_is_left_of_a_daemon_that_had_sandboxes(fresh_daemon):
    boxes = [fresh_daemon.create() for _ in range(5)]
    for box in boxes:
        box.exec("sleep 1000 & echo")
    fresh_daemon.delete_all()
    fresh_daemon.assert_nothing_left()
    for box in boxes:
        fresh_daemon.assert_nothing_left_of(box.id)


# --- systemd


@needs_root
def test_readiness_is_told_to_systemd(make_daemon):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        d = make_daemon(start=False)
        path = str(d.dir / "notify")
        notify.bind(path)
        notify.settimeout(30)
        d.env["NOTIFY_SOCKET"] = path
        d.start()
        assert notify.recv(100) == b"READY=1"
        d.stop()
        assert notify.recv(100) == b"STOPPING=1"


# --- automatic daemons


@needs_root
def test_an_automatic_daemon_has_no_port_until_asked_and_ends_when_idle(make_daemon):
    d = make_daemon("--auto", "--auto-idle", "3")
    assert d.url is None
    status, box = d.unix_request("POST", "/api/sandboxes", {})
    assert status == 201
    _, preview = d.unix_request("GET", f"/api/sandboxes/{box['id']}/preview?port=3000")
    port = int(preview["url"].rpartition(":")[2])
    assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=10).status_code == 200
    time.sleep(5)
    assert d.process.poll() is None  # it looks after a sandbox
    assert d.unix_request("DELETE", f"/api/sandboxes/{box['id']}")[0] == 204
    assert ended(d) == 0 and not d.socket.exists()


@needs_root
def test_an_open_connection_keeps_an_automatic_daemon(make_daemon):
    d = make_daemon("--auto", "--auto-idle", "1", start=False)
    d.spawn()
    connection = UnixConnection(d.socket)
    until(lambda: connection.connect() is None)  # before it is ready: a second later it may be gone again
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    time.sleep(3)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()
    assert ended(d) == 0


# --- without root


@pytest.fixture
def unprivileged(make_daemon):
    return make_daemon(user=54321 if os.geteuid() == 0 else None)


def test_as_another_user_everything_but_local_works(unprivileged):
    d = unprivileged
    assert d.get("/healthz").status_code == 200
    status = d.get("/api/runtime/status").json()
    assert (status["current_runtime"], status["runtime_configured"]) == ("local", False)
    assert "root" in status["runtimes"]["local"]["unavailable"]
    reply = d.post("/api/sandboxes", json={})
    assert reply.status_code in (400, 502) and "root" in reply.json()["detail"], reply.text
    assert d.get("/readyz").status_code == 503
    health = d.get("/api/runtime/health").json()
    assert health["status"] == "unhealthy"
    assert d.unix_request("GET", "/api/sandboxes")[0] == 200
    assert not [cmd for _, cmd, _ in processes().values() if cmd.startswith("sandmux-engine") and str(d.state) in cmd]
    d.stop()


def test_doctor_tells_another_user_why(unprivileged):
    more = {"user": 54321, "group": 54321, "extra_groups": []} if os.geteuid() == 0 else {}
    told = subprocess.run([BUILD / "sandmux", "doctor"], capture_output=True, text=True, cwd=unprivileged.dir,
                          env=clean_env(HOME=str(unprivileged.dir), SANDMUX_URL=unprivileged.url), **more)
    assert "root" in told.stdout + told.stderr
    unprivileged.stop()
