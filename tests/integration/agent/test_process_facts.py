"""process.Process: each case is one that E2B's envd was observed to answer; the names are those of the observations."""
import pytest
from agentclient import Result, agent, envelope  # noqa: F401 (agent is a fixture)

START, CONNECT, LIST = (f"/process.Process/{m}" for m in ("Start", "Connect", "List"))


def test_start_ok_true(agent):
    r = agent.run("/bin/true")
    assert r.status == 200 and r.type == "application/connect+json"
    assert r.pid > 1 and r.end == {"exited": True, "status": "exit status 0"} and r.error is None


def test_start_ok_echo(agent):
    r = agent.sh("echo hi; echo err >&2; exit 3")
    assert (r.stdout, r.stderr) == (b"hi\n", b"err\n")
    assert r.end == {"exitCode": 3, "exited": True, "status": "exit status 3", "error": "exit status 3"}


def test_start_killed_by_signal(agent):
    r = agent.sh("kill -9 $$")
    assert r.end == {"exitCode": -1, "status": "signal: killed", "error": "signal: killed"}
    r = agent.sh("kill -15 $$")
    assert r.end == {"exitCode": -1, "status": "signal: terminated", "error": "signal: terminated"}


def test_start_killed_by_other_signals(agent):
    for number, name in ((1, "hangup"), (2, "interrupt"), (6, "aborted"), (10, "user defined signal 1"),
                         (14, "alarm clock"), (31, "bad system call"), (34, "signal 34"), (64, "signal 64")):
        end = agent.sh(f"ulimit -c 0; kill -{number} $$").end
        assert end == {"exitCode": -1, "status": "signal: " + name, "error": "signal: " + name}


def test_start_id_env_cwd(agent):
    r = agent.sh("id; pwd; env | sort; cat /proc/self/oom_score_adj; umask")
    lines = r.stdout.decode().split("\n")
    assert lines[0] == "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)"
    assert lines[1:] == ["/home/user", "E2B_SANDBOX=true", "HOME=/home/user", "LOGNAME=user",
                         "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PWD=/home/user",
                         "USER=user", "100", "0022", ""]


def test_start_as_default_user_no_auth(agent):
    r = agent.sh("id -un; pwd", user=None)
    assert r.stdout == b"root\n/root\n"


def test_start_unknown_user(agent):
    r = agent.run("true", user="nosuch")
    assert r.error == {"code": "unauthenticated", "message": "invalid username: 'nosuch'"} and r.pid is None


def test_stat_unknown_user(agent):
    assert agent.stat("/etc", user="nosuch") == (
        401, {"code": "unauthenticated", "message": "invalid username: 'nosuch'"})


@pytest.mark.parametrize("cmd", ["/nosuch/bin", "nosuchbin", "", "/etc/passwd/x"])
def test_start_missing_binary(agent, cmd):
    r = agent.run(cmd)
    assert r.end == {"exitCode": 127, "exited": True, "status": "exit status 127", "error": "exit status 127"}
    assert r.stderr.decode() == f"sandmux-agent: '{cmd}': No such file or directory\n"


def test_start_empty_msg(agent):
    r = Result(agent.open(START, {}))
    assert r.end["exitCode"] == 127 and b"No such file" in r.stderr


@pytest.mark.parametrize("cmd", ["/etc/passwd", "/etc"])
def test_start_not_executable(agent, cmd):
    r = agent.run(cmd)
    assert r.end["exitCode"] == 126 and r.stderr.decode() == f"sandmux-agent: '{cmd}': Permission denied\n"


def test_start_script_without_interpreter_line(agent):
    agent.put("/tmp/script", b"echo script $1\n")
    agent.sh("chmod 755 /tmp/script", user="root")
    assert agent.run("/tmp/script", "arg").stdout == b"script arg\n"


def test_start_path_of_the_request(agent):
    agent.put("/tmp/bin/only-here", b"#!/bin/sh\necho found\n")
    agent.sh("chmod 755 /tmp/bin/only-here", user="root")
    assert agent.run("only-here", envs={"PATH": "/nosuch:/tmp/bin"}).stdout == b"found\n"
    assert agent.run("only-here").code == 127


def test_start_missing_cwd(agent):
    r = agent.run("true", cwd="/nosuch/dir")
    assert r.error == {"code": "invalid_argument", "message": "cwd '/nosuch/dir' does not exist"} and r.end is None


def test_start_cwd_is_a_file(agent):
    r = agent.run("true", cwd="/etc/passwd")
    assert r.error["code"] == "invalid_argument" and "not a directory" in r.error["message"]


def test_start_cwd_unreadable_for_user(agent):
    r = agent.run("true", cwd="/home/closed")
    assert r.error["code"] == "invalid_argument" and "permission denied" in r.error["message"]
    assert agent.run("true", cwd="/home/closed", user="root").code == 0


def test_start_cwd_by_group_only(agent):
    agent.sh("mkdir -m 750 /home/bygroup; chgrp 2000 /home/bygroup", user="root")
    assert agent.run("pwd", cwd="/home/bygroup").stdout == b"/home/bygroup\n"
    assert agent.run("pwd", cwd="/home/bygroup", user="other").error["code"] == "invalid_argument"


def test_start_cwd_other(agent):
    r = agent.run("true", cwd="~root")
    assert r.error["code"] == "invalid_argument" and "cannot expand user-specific home dir" in r.error["message"]


def test_start_cwd_relative_and_home(agent):
    agent.sh("mkdir -p sub")
    assert agent.run("pwd", cwd="sub").stdout == b"/home/user/sub\n"
    assert agent.run("pwd", cwd="~/sub/..").stdout == b"/home/user\n"


def test_pty_missing_binary(agent):
    r = Result(agent.pty("nosuchbin"))
    assert r.pty == b"sandmux-agent: 'nosuchbin': No such file or directory\r\n" and r.end["exitCode"] == 127


def test_pty_missing_cwd(agent):
    r = Result(agent.pty("true", cwd="/nosuch"))
    assert r.error == {"code": "invalid_argument", "message": "cwd '/nosuch' does not exist"}


def test_pty_cwd_file(agent):
    r = Result(agent.pty("true", cwd="/etc/passwd"))
    assert r.error["code"] == "invalid_argument" and "not a directory" in r.error["message"]


def test_pty_ok(agent):
    r = Result(agent.pty("sh", "-c", "stty size; tty; stat -c %U $(tty); echo done"))
    assert r.pty.startswith(b"24 80\r\n/dev/pts/") and r.pty.endswith(b"\r\nuser\r\ndone\r\n")
    assert r.end == {"exited": True, "status": "exit status 0"}


def test_start_timeout_header_300ms(agent):
    r = agent.run("sleep", "600", headers={"Connect-Timeout-Ms": "300"})
    assert r.pid and r.end is None
    assert r.error == {"code": "deadline_exceeded", "message": "context deadline exceeded"}


@pytest.mark.parametrize("value", ["abc", "-1", "12345678901", "1.5", "+1"])
def test_start_bad_timeout_header(agent, value):
    r = agent.run("true", headers={"Connect-Timeout-Ms": value})
    assert r.error["code"] == "invalid_argument" and r.error["message"].startswith("parse timeout") and r.pid is None


@pytest.mark.parametrize("body", [b"{bad", b"", b"[]", b'{"process":{"cmd":5}}', b'{"process":[]}',
                                  b'{"process":{"cmd":"a\\u0000b"}}', b'{"stdin":"x"}', b"{}trailing",
                                  b'{"process":' * 100])
def test_start_bad_json(agent, body):
    r = Result(agent.open(START, body))
    assert r.error["code"] == "invalid_argument" and r.error["message"].startswith("unmarshal message")


def test_start_unknown_field(agent):
    stream = agent.open(START, {"process": {"cmd": "true", "new": [1]}, "newer": {"a": None}})
    assert Result(stream).code == 0


def test_start_no_envelope(agent):
    r = Result(agent.open(START, body=b'{"process":{"cmd":1}}'))
    assert r.error["code"] == "invalid_argument"


def test_start_empty_body(agent):
    r = Result(agent.open(START, body=b""))
    assert r.error == {"code": "unimplemented", "message": "unary request has zero messages"}


def test_start_two_frames(agent):
    one = envelope(b'{"process":{"cmd":"true"}}')
    r = Result(agent.open(START, body=one + one))
    assert r.error == {"code": "unimplemented", "message": "unary request has multiple messages"}


def test_start_truncated_frame(agent):
    r = Result(agent.open(START, body=envelope(b'{"process":{"cmd":"true"}}')[:-10]))
    assert r.error["code"] == "invalid_argument" and r.error["message"].startswith("protocol error")


def test_start_compressed_flag_without_encoding(agent):
    r = Result(agent.open(START, body=envelope(b'{"process":{"cmd":"true"}}', flags=1)))
    assert r.error == {"code": "internal",
                       "message": "protocol error: sent compressed message without compression support"}


def test_start_oversize(agent):
    r = Result(agent.open(START, body=envelope(b" " * (4 * 1024 * 1024 + 10))))
    assert r.error["code"] in ("invalid_argument", "resource_exhausted")


def test_connect_unknown_pid(agent):
    r = Result(agent.open(CONNECT, {"process": {"pid": 999999}}))
    assert r.error == {"code": "not_found", "message": "process with pid 999999 not found"}


def test_connect_no_selector(agent):
    r = Result(agent.open(CONNECT, {}))
    assert r.error["code"] == "unimplemented"


def test_list_ok(agent):
    assert agent.unary(LIST, {}) == (200, {})


def test_list_shows_what_runs(agent):
    s = agent.start("sleep", "600", tag="listed", envs={"A": "1"}, cwd="/tmp")
    pid = s.event()["start"]["pid"]
    status, reply = agent.unary(LIST, {})
    assert status == 200
    assert reply == {"processes": [{"config": {"cmd": "sleep", "args": ["600"], "envs": {"A": "1"}, "cwd": "/tmp"},
                                    "pid": pid, "tag": "listed"}]}
    assert agent.signal(pid)[0] == 200
    assert s.event()["end"]["status"] == "signal: killed"
    s.close()
    assert agent.unary(LIST, {}) == (200, {})


def test_list_bad_json(agent):
    status, reply = agent.unary(LIST, b"{bad")
    assert status == 400 and reply["code"] == "invalid_argument" and "unmarshal message" in reply["message"]


def test_list_empty_body(agent):
    status, reply = agent.unary(LIST, b"")
    assert status == 400 and reply == {
        "code": "invalid_argument",
        "message": "unmarshal message: zero-length payload is not a valid JSON object"}


def test_list_unknown_field(agent):
    assert agent.unary(LIST, {"x": 1}) == (200, {})


@pytest.mark.parametrize("method,extra", [
    ("SendInput", {"input": {"stdin": "aGk="}}), ("SendSignal", {"signal": "SIGNAL_SIGKILL"}),
    ("SendSignal", {"signal": "SIGNAL_NOSUCH"}), ("Update", {"pty": {"size": {"cols": 1, "rows": 1}}}),
    ("CloseStdin", {})])
def test_unknown_pid(agent, method, extra):
    path = f"/process.Process/{method}"
    assert agent.unary(path, {"process": {"pid": 999999}, **extra}) == (
        404, {"code": "not_found", "message": "process with pid 999999 not found"})
    assert agent.unary(path, {"process": {"tag": "nope"}, **extra}) == (
        404, {"code": "not_found", "message": "process with tag nope not found"})
    status, reply = agent.unary(path, extra)
    assert (status, reply["code"]) == (501, "unimplemented")


def test_sendinput_bad_base64(agent):
    status, reply = agent.unary("/process.Process/SendInput", {"process": {"pid": 1}, "input": {"stdin": "***"}})
    assert (status, reply["code"]) == (400, "invalid_argument")


def test_sendsignal_bad_enum(agent):
    s = agent.start("sleep", "600")
    pid = s.event()["start"]["pid"]
    assert agent.signal(pid, "SIGNAL_NOSUCH")[0] == 501
    assert agent.signal(pid, 2)[0] == 501
    assert agent.signal(pid, 9)[0] == 200
    assert s.event()["end"]["status"] == "signal: killed"


def test_sendsignal_term_hits_the_process_itself(agent):
    s = agent.start("bash", "-c", "trap 'echo got term; exit 5' TERM; echo set; while :; do sleep 0.05; done")
    pid = s.event()["start"]["pid"]
    assert s.event() == {"data": {"stdout": "c2V0Cg=="}}
    assert agent.signal(pid, "SIGNAL_SIGTERM") == (200, {})
    r = Result(s)
    assert (r.stdout, r.code) == (b"got term\n", 5)


def test_init_and_envs(agent):
    assert agent.request("POST", "/init", b"{bad")[0] == 400
    status, headers, body = agent.request("POST", "/init", b"")
    assert (status, body, headers["x-envd-version"], headers["cache-control"]) == (204, b"", "0.6.13", "no-store")
    assert agent.request("GET", "/envs")[2] == b'{"E2B_SANDBOX":"true"}'
    body = b'{"envVars":{"G":"global","O":"global"},"defaultUser":"user","defaultWorkdir":"/tmp","accessToken":"x"}'
    assert agent.request("POST", "/init", body)[0] == 204
    try:
        assert agent.request("GET", "/envs")[2] == b'{"E2B_SANDBOX":"true","G":"global","O":"global"}'
        r = agent.sh("id -un; pwd; echo $G $O", user=None, envs={"O": "own"})
        assert r.stdout == b"user\n/tmp\nglobal own\n"
        assert agent.stat("", user=None)[1]["entry"]["path"] == "/tmp"
    finally:
        assert agent.request("POST", "/init", b'{"envVars":{},"defaultUser":"root","defaultWorkdir":""}')[0] == 204
    assert agent.sh("id -un; pwd; echo $G", user=None).stdout == b"root\n/root\n\n"
