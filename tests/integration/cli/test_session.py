"""sandmux session: the words of a shell, its exit status, its output as it comes."""
import json
import signal
import subprocess
import time

import pytest

pytestmark = pytest.mark.root


@pytest.fixture
def session(sm, sandbox):
    made = sm("session", "create", sandbox.id, "s1")
    assert (made.returncode, made.text) == (0, "s1\n"), made
    return sandbox.id


def test_state_output_and_exit_status(sm, session):
    assert sm("session", "exec", session, "s1", "cd /usr; V=5").returncode == 0
    done = sm("session", "exec", session, "s1", "pwd; echo $V; echo e >&2; exit 3")
    assert (done.returncode, done.text, done.error) == (3, "/usr\n5\n", "e\n")
    words = sm("session", "exec", session, "s1", "printf", "%s-", "a", "b")
    assert words.text == "a-b-"


def test_json_and_listing(sm, session):
    done = sm("--json", "session", "exec", session, "s1", "echo hi; exit 2")
    assert done.returncode == 2 and done.json["output"] == "hi\n"
    listed = sm("--json", "session", "ls", session).json
    assert listed == {"sessions": ["s1"]}
    commands = sm("--json", "session", "ls", session, "s1").json["commands"]
    assert [(c["command"], c["exit_code"]) for c in commands] == [("echo hi; exit 2", 2)]


def test_output_comes_as_it_is_written(sm, session):
    child = sm.popen("session", "exec", session, "s1", "echo first; sleep 300; echo last")
    assert child.stdout.readline() == b"first\n"
    child.terminate()
    child.communicate(timeout=30)


def test_asynchronous_input_and_logs(sm, session):
    begun = sm("session", "exec", "--async", session, "s1", "cat; echo done >&2; exit 4")
    command = begun.text.strip()
    assert begun.returncode == 0 and len(command) == 16
    assert sm("session", "input", session, "s1", command, input=b"some\nlines\n").returncode == 0
    followed = sm("session", "logs", "-f", session, "s1", command)
    assert (followed.text, followed.error) == ("some\nlines\n", "done\n")
    whole = sm("--json", "session", "logs", session, "s1", command).json
    assert (whole["exit_code"], whole["output"]) == (4, "some\nlines\ndone\n")


def test_time_limit(sm, session):
    done = sm("session", "exec", "--timeout", "500ms", session, "s1", "sleep 60")
    assert done.returncode == 137


def test_removal_and_refusals(sm, session):
    assert sm("session", "rm", session, "s1").returncode == 0
    gone = sm("session", "exec", session, "s1", "true")
    assert gone.returncode == 3 and "session 's1' not found" in gone.error
    assert sm("session", "exec", session).returncode == 2
    assert sm("session", "dance", session).returncode == 2
    assert sm("session", "create", session, "../x").returncode == 1
    assert sm("--json", "session", "ls", session).json == {"sessions": []}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_command_and_not_the_session(sm, session, how):
    """A command that went on would hold up the next one."""
    p = sm.popen("session", "exec", session, "s1", "echo ready; V=kept; sleep 1000")
    assert p.stdout.readline() == b"ready\n"
    p.send_signal(how)
    assert p.wait(60) == 128 + how and p.stderr.read() == b""
    p.stdout.close()
    p.stderr.close()
    begun = time.monotonic()
    assert sm.ok("session", "exec", session, "s1", "echo next").text == "next\n"
    assert time.monotonic() - begun < 60
    commands = sm.ok("--json", "session", "ls", session, "s1").json["commands"]
    assert [(c["status"], c["exit_code"]) for c in commands] == [("ended", 137), ("ended", 0)]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_with_json_too(sm, session, how):
    p = sm.popen("--json", "session", "exec", session, "s1", "touch /tmp/begun-json; sleep 1000")
    end = time.monotonic() + 60
    while sm("exec", session, "--", "test", "-e", "/tmp/begun-json").returncode != 0:
        assert time.monotonic() < end
    p.send_signal(how)
    assert p.wait(60) == 128 + how and p.stdout.read() == b""
    p.stdout.close()
    p.stderr.close()
    sm.ok("exec", session, "--", "rm", "/tmp/begun-json")
    done = sm("--json", "session", "exec", session, "s1", "echo next; echo err >&2; exit 4")
    assert done.returncode == 4
    assert {k: done.json[k] for k in ("status", "exit_code", "stdout", "stderr", "timed_out")} == {
        "status": "ended", "exit_code": 4, "stdout": "next\n", "stderr": "err\n", "timed_out": False}
    assert "sleep 1000" not in sm.ok("exec", session, "--", "ps", "-ef").text


def test_streamed_lines_begin_with_the_command_s_id(sm, session):
    reply = subprocess.run(["curl", "-sSfN", "--unix-socket", sm.url.removeprefix("unix:"), "-H", "Accept: application/x-ndjson", "-d",
                            json.dumps({"command": "echo hi"}), f"http://localhost/api/sandboxes/{session}/sessions/s1/exec"],
                           capture_output=True, check=True, timeout=60)
    lines = [json.loads(line) for line in reply.stdout.splitlines()]
    known = sm.ok("--json", "session", "ls", session, "s1").json["commands"]
    assert lines[0] == {"start": {"cmd_id": known[-1]["id"]}} and lines[1] == {"stdout": "hi\n"}
