"""Sandboxes by the command line, and the daemon that it starts."""
import os
import re
import signal
import subprocess

import pytest

from conftest import daemons_of, until

pytestmark = pytest.mark.root


def test_r47_stats_of_all_that_run_and_metrics(sm):
    boxes = {sm.ok("create").text.strip() for _ in range(2)}
    try:
        sm.ok("pause", paused := sm.ok("create").text.strip())
        boxes_shown = {line.split()[0] for line in sm.ok("stats").text.splitlines()[1:]}
        assert boxes <= boxes_shown and paused not in boxes_shown
        assert sm("stats", "nobody-here").returncode == 3
        assert sm.ok("get", paused).json["state"] == "paused"
        assert "\nsandmux_" in sm.ok("metrics").text
        sm.ok("rm", paused)
    finally:
        sm.ok("rm", *boxes)


def test_r31_r33_r34_switch_validate_and_health_have_the_flags_of_the_api(sm):
    assert sm.ok("switch", "local", "--dry-run", "--live").text == "Runtime can be switched to 'local'\n"
    assert sm.ok("switch", "local", "--force", "--json").json["current_runtime"] == "local"
    assert sm.ok("validate", "local", "--live").json["live"]["ok"] is True
    r = sm("validate", "e2b", "--live", "--json")
    assert r.returncode == 1 and r.json["live"]["error_code"] == "runtime_not_configured"
    assert sm.ok("health", "local").json["status"] == "healthy"
    r = sm("health", "e2b", "--json")
    assert r.returncode == 1 and (r.json["runtime"], r.json["status"]) == ("e2b", "unhealthy")
    assert sm("health", "nope").returncode == 1 and "Invalid runtime 'nope'" in sm("health", "nope").error


def test_r20_verbose_shows_every_call_and_no_command(sm):
    box = sm.ok("create", "-v", "--name", "cli-verbose", "-e", "TOKEN=s3cr3t-value")
    try:
        assert re.search(r"debug sandmux: call method=POST path=/api/sandboxes status=201 result=ok ms=[\d.]+\n", box.error), box.error
        assert "s3cr3t" not in box.error
        for args in (("exec", "-v", "cli-verbose", "--", "echo", "s3cr3t"), ("-v", "exec", "cli-verbose", "-c", "echo s3cr3t")):
            r = sm.ok(*args)
            assert r.text == "s3cr3t\n" and "path=/api/sandboxes/cli-verbose/exec status=101" in r.error and "s3cr3t" not in r.error
        r = sm("inspect", "nobody", "-v")
        assert r.returncode == 3 and "status=404" in r.error
        assert sm.ok("inspect", "cli-verbose").error == ""
        assert "status=200" in sm.ok("inspect", "cli-verbose", env={"LOG_LEVEL": "debug"}).error
        assert sm.ok("exec", "cli-verbose", "--", "echo", "-v").text == "-v\n"
    finally:
        sm.ok("rm", "cli-verbose")


def test_from_create_to_rm(sm):
    box = sm.ok("create", "--name", "cli-life", "--lifetime", "10m", "-m", "k=v").text.strip()
    try:
        shown = sm.ok("inspect", "cli-life").json
        assert shown["id"] == box and shown["state"] == "running" and shown["metadata"] == {"k": "v"} and shown["expires_at"]
        assert sm("create", "--name", "cli-life").returncode == 5
        assert sm.ok("create", "--name", "cli-life", "--ensure").text.strip() == box
        assert box in sm.ok("ps", "-q").text
        assert sm.ok("pause", box).returncode == 0 and sm.ok("inspect", box).json["state"] == "paused"
        sm.ok("resume", box)
        sm.ok("exec", box, "-c", "echo kept > f")
        sm.ok("stop", box)
        assert sm.ok("ps", "-q", "--state", "stopped").text.strip() == box
        sm.ok("start", box)
        assert sm.ok("exec", box, "--", "cat", "f").text == "kept\n"
        used = sm.ok("stats", box, "--json").json
        assert used["id"] == box and 0 < used["memory_bytes"] <= used["memory_limit_bytes"]
        assert sm.ok("stats", "cli-life").text.splitlines()[1].split()[:2] == [box, "cli-life"]
        log = sm.ok("logs", box).text
        assert "sh" in log
    finally:
        sm.ok("rm", box)
    assert sm("inspect", box).returncode == 3


def test_bad_requests(sm):
    for args in (["--name", "Not Good"], ["-T", "no-such-template"], ["--runtime", "nope"], ["--runtime", "e2b"]):
        r = sm("create", *args)
        assert r.returncode in (1, 3) and r.error.startswith("sandmux: ") and r.stdout == b""


def test_logs_and_events_follow(sm):
    p = sm.popen("events", "-f", "--json")
    box = sm.ok("create").text.strip()
    follow = sm.popen("logs", "-f", box)
    assert follow.stdout.readline()  # it follows
    sm.ok("exec", box, "--", "true")
    sm.ok("rm", box)
    out, _ = follow.communicate(timeout=60)  # ends with the sandbox
    assert follow.returncode == 0 and b"true" in out
    while box.encode() not in p.stdout.readline():
        pass
    p.kill()
    p.communicate()


def test_password_and_keys_stay_out_of_everything(sm, daemon, tmp_path):
    (tmp_path / "pw").write_text("hunter2hunter2\n")
    box = sm.ok("create", "--password-file", "pw").text.strip()
    key = sm.ok("keys", "create", "leak-test").text.strip()
    seen = sm.ok("inspect", box).text + sm.ok("logs", box).text + sm.ok("events").text + sm.ok("keys", "ls").text + daemon.log()
    assert "hunter2" not in seen and key not in seen
    listed = sm.ok("keys", "ls", "--json").json["items"]
    sm.ok("keys", "revoke", next(k["id"] for k in listed if k["name"] == "leak-test"))
    sm.ok("rm", box)


def test_doctor_is_content_here(sm):
    r = sm("doctor", "--json")
    assert {c["name"]: c["status"] for c in r.json["checks"]} | {"disk": "", "memory": "", "port": ""} == {
        **{c["name"]: "ok" for c in r.json["checks"]}, "disk": "", "memory": "", "port": ""}


# --- a daemon of one's own

def test_the_first_command_starts_a_daemon(lonely):
    box = lonely.ok("create").text.strip()
    assert lonely.ok("exec", box, "--", "echo", "hi").text == "hi\n"
    assert "daemon " in lonely.ok("version").text
    lonely.ok("shutdown", "--all")
    assert lonely("ps", "--no-start").returncode == 7
    assert "no daemon" in lonely.ok("shutdown").error


def test_sixteen_at_once_start_one(lonely):
    many = [lonely.popen("ps", "-q") for _ in range(16)]
    for p in many:
        _, err = p.communicate(timeout=60)
        assert p.returncode == 0, err
    until(lambda: len(daemons_of(lonely)) == 1, why="more than one daemon runs")


def test_it_ends_by_itself_and_is_started_again(lonely):
    lonely.ok("ps")
    assert daemons_of(lonely)
    until(lambda: not daemons_of(lonely), 100, "it does not end")  # a command would be a use
    assert lonely("ps", "--no-start").returncode == 7
    lonely.ok("ps")


def test_a_daemon_that_cannot_start_says_why(lonely):
    lonely.state.mkdir()
    (lonely.state / "gateway").write_text("in the way")
    r = lonely("ps")
    assert r.returncode == 7 and "not a directory" in r.error, r.error


def test_a_daemon_that_is_killed_is_started_again(lonely):
    box = lonely.ok("create").text.strip()
    for pid in daemons_of(lonely):
        os.kill(pid, signal.SIGKILL)
    assert lonely.ok("exec", box, "--", "echo", "still here").text == "still here\n"


def test_shutdown_of_a_daemon_started_by_hand(fresh_daemon, tmp_path, sm):
    sm.url = f"unix:{fresh_daemon.socket}"
    sm.ok("create")
    sm.ok("shutdown")
    assert fresh_daemon.process.wait(60) == 0
    assert len(fresh_daemon.sandboxes_on_disk()) == 1  # sandboxes stay
    fresh_daemon.process = None


def test_over_tcp_too(daemon, sm, box):
    sm.url = daemon.url
    assert sm.ok("exec", box, "--", "cat", input=b"over tcp").stdout == b"over tcp"
    assert box in sm.ok("ps", "-q").text
    assert sm("shutdown").returncode == 4  # through the unix socket only
    assert subprocess.run([sm.program, "ps"], env=sm.env(), capture_output=True).returncode == 0
