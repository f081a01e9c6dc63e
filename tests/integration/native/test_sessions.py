"""Shell sessions (R15, R39): state between commands, asynchronous ones, what ends and what does not."""
import concurrent.futures
import json
import os
import signal
import threading

import pytest
import requests

from conftest import until

pytestmark = pytest.mark.root


def suppressed(call):
    """The connection breaks: that is what is tried."""
    try:
        call()
    except requests.RequestException:
        pass


class Session:
    def __init__(self, sandbox, sid, **more):
        self.sandbox, self.daemon, self.id = sandbox, sandbox.daemon, sid
        self.path = f"{sandbox.path}/sessions/{sid}"
        self.made = self.daemon.post(f"{sandbox.path}/sessions", json={"id": sid, **more})
        assert self.made.status_code in (200, 201), self.made.text

    def try_run(self, command, **more):
        return self.daemon.post(f"{self.path}/exec", json={"command": command, **more}, timeout=120)

    def run(self, command, **more):
        reply = self.try_run(command, **more)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def out(self, command, **more):
        done = self.run(command, **more)
        assert done["exit_code"] == 0, done
        return done["stdout"]

    def logs(self, cmd_id):
        reply = self.daemon.get(f"{self.path}/commands/{cmd_id}/logs")
        assert reply.status_code == 200, reply.text
        return reply.json()

    def ended(self, cmd_id):
        return until(lambda: (log := self.logs(cmd_id))["status"] != "running" and log)


@pytest.fixture(params=["bash", "sh"])
def any_shell(request, sandbox):
    return Session(sandbox, f"s-{request.param}", shell=request.param)


@pytest.fixture
def session(sandbox):
    return Session(sandbox, "s1")


# --- state


def test_directory_variables_umask_and_options_are_kept(any_shell):
    s = any_shell
    assert s.out("pwd") == "/workspace\n"
    assert s.run("cd /usr; V='two  words'; export E='a\nb'; umask 027; set -f")["exit_code"] == 0
    assert s.out('pwd; printf "%s|" "$V"; env | grep -c ^E=; umask; echo *') == "/usr\ntwo  words|1\n0027\n*\n"
    assert s.out('printf "%s" "$E"') == "a\nb"


def test_the_directory_before_and_unset_defaults_are_kept(session):
    session.run("cd /usr; cd /tmp; unset IFS; OPTIND=5")
    assert session.out("cd -; cd -; echo ${IFS-unset} $OPTIND") == "/usr\n/tmp\nunset 5\n"
    session.run("IFS=$' \\t\\n'; OPTIND=1; unset TERM")
    assert session.out('printf "%q %s %s" "$IFS" "$OPTIND" "${TERM-unset}"') == r"$' \t\n' 1 unset"


def test_functions_arrays_aliases_and_arguments_are_kept(session):
    session.run("f() { echo \"in $1\"; }; alias ll='echo aliased'; a=(1 'two  2'); declare -A m=([k]=v); readonly R=1; set -- 'x y' z")
    assert session.out('f it; ll; echo "${a[1]}" "${m[k]}" $R; printf "<%s>" "$@"') == "in it\naliased\ntwo  2 v 1\n<x y><z>"
    session.run("unset f; unalias ll; shift")
    assert session.run("f")["exit_code"] == 127
    assert session.out('echo "$@"') == "z\n"


def test_an_unset_variable_of_the_sandbox_stays_unset(session):
    assert session.out("echo ${E2B_SANDBOX-unset} ${HOME-unset}").split()[1] != "unset"
    session.run("unset HOME")
    assert session.out("echo ${HOME-unset}") == "unset\n"


def test_exit_ends_the_command_and_not_the_session(any_shell):
    any_shell.run("cd /tmp; V=5")
    assert any_shell.run("V=6; exit 7; echo no")["exit_code"] == 7
    assert any_shell.out("echo $V; pwd") == "6\n/tmp\n"


def test_exec_ends_the_command_and_not_the_session(any_shell):
    any_shell.run("cd /tmp; V=5")
    done = any_shell.run("exec sh -c 'echo instead; exit 9'")
    assert (done["exit_code"], done["stdout"]) == (9, "instead\n")
    assert any_shell.out("echo $V; pwd") == "5\n/tmp\n"


def test_errexit_ends_the_command_and_is_kept(session):
    session.run("set -e")
    assert session.run("false; echo no")["stdout"] == ""
    assert session.out("echo on; set +e") == "on\n"
    assert session.run("false; echo yes")["stdout"] == "yes\n"


def test_a_syntax_error_is_the_commands_own(any_shell):
    any_shell.run("V=1")
    done = any_shell.run('echo "unterminated')
    assert done["exit_code"] == 2 and ("nterminated" in done["stderr"] or "matching" in done["stderr"]), done
    assert any_shell.out("echo $V") == "1\n"


def test_cwd_holds_for_one_command(session):
    session.run("cd /usr")
    assert session.out("pwd", cwd="/etc") == "/etc\n"
    assert session.out("pwd") == "/usr\n"
    session.run("cd /var", cwd="/etc")
    assert session.out("pwd") == "/usr\n"
    refused = session.try_run("pwd", cwd="/no/such")
    assert refused.status_code == 422 and "/no/such" in refused.json()["detail"]


def test_a_session_may_start_elsewhere_and_as_another_user(sandbox):
    s = Session(sandbox, "mine", user="user", cwd="/home/user")
    assert s.out("id -un; pwd") == "user\n/home/user\n"
    assert sandbox.exec("stat -c '%U %a' /tmp/.sandmux/mine")["stdout"] == "user 700\n"
    assert sandbox.daemon.post(f"{sandbox.path}/sessions", json={"id": "x", "user": "nobody-such"}).status_code == 422


# --- output


def test_streams_come_apart_and_merged_and_byte_for_byte(session):
    read = "python3 -c 'import fcntl, time\nwhile any(fcntl.ioctl(3, 0x541b, bytes(4))): time.sleep(0.01)' 3>&{}"  # FIONREAD: until the pipe is empty
    done = session.run(f"echo a; {read.format(1)}; echo b >&2; {read.format(2)}; echo c")
    assert (done["stdout"], done["stderr"], done["output"]) == ("a\nc\n", "b\n", "a\nb\nc\n")
    done = session.run(r"printf '\000\377\036x'")
    assert done["stdout_b64"] == "AP8eeA==" and "stdout" not in done
    assert session.out("printf abc") == "abc"
    assert session.run("true")["output"] == ""


def test_field_report_1_characters_cut_at_buffer_edges(session):
    text = "a" + "é€😀" * 50000
    done = session.run("python3 -c \"print('a'+'é€😀'*50000)\"")
    assert done["stdout"] == text + "\n"
    lines = session.daemon.get(f"{session.path}/commands/{done['cmd_id']}/logs", params={"follow": "1"}).text.splitlines()
    assert "".join(json.loads(line).get("stdout", "") for line in lines) == text + "\n"


def test_field_report_3_values_arrive_exactly(daemon):
    reply = daemon.post("/api/sandboxes", json={"env": {"A": "1", "B": "two  words", "P": "$(touch /tmp/x)\"';", "E": ""}})
    sandbox = type("S", (), {"daemon": daemon, "path": f"/api/sandboxes/{reply.json()['id']}"})()
    try:
        s = Session(sandbox, "env")
        assert s.out('printf "%s|%s|%s|%s" "$A" "$B" "$P" "${E-unset}"') == "1|two  words|$(touch /tmp/x)\"';|"
        s.run("A=2")
        assert s.out('printf "%s|%s" "$A" "$P"; ls /tmp/x 2>/dev/null || true') == "2|$(touch /tmp/x)\"';"
    finally:
        daemon.delete(sandbox.path)


# --- background, asynchronous, ends


def test_a_background_child_hangs_nothing(any_shell):
    any_shell.run("sleep 300 & echo started")
    any_shell.run("nohup sleep 300 >/dev/null 2>&1 & disown 2>/dev/null; true")
    assert any_shell.out("echo next") == "next\n"


def test_an_asynchronous_command_returns_at_once_and_its_log_grows(session):
    session.run("V=before")
    begun = session.run("echo one $V; read line; echo two $line; V=changed; exit 3", **{"async": True})
    assert begun["exit_code"] is None and begun["status"] == "running"
    until(lambda: session.logs(begun["cmd_id"])["stdout"] == "one before\n")
    assert session.out("echo meanwhile") == "meanwhile\n"
    reply = session.daemon.post(f"{session.path}/commands/{begun['cmd_id']}/input", json={"data": "in\n"})
    assert reply.status_code == 204, reply.text
    done = session.ended(begun["cmd_id"])
    assert (done["exit_code"], done["stdout"]) == (3, "one before\ntwo in\n")
    assert session.out("echo $V") == "before\n"
    late = session.daemon.post(f"{session.path}/commands/{begun['cmd_id']}/input", json={"data": "x"})
    assert late.status_code == 409


def test_an_asynchronous_command_sees_what_was_just_answered(session):
    session.run("for i in {1..3000}; do declare v$i=$i; done")
    begun = session.run("echo $v3000", **{"async": True})
    assert session.ended(begun["cmd_id"])["stdout"] == "3000\n"


def test_a_log_is_followed_to_its_end(session):
    begun = session.run("for i in 1 2 3; do echo $i; sleep 0.1; done; echo e >&2; exit 4", **{"async": True})
    with session.daemon.get(f"{session.path}/commands/{begun['cmd_id']}/logs", params={"follow": "1"}, stream=True) as reply:
        lines = [json.loads(line) for line in reply.iter_lines()]
    assert "".join(line.get("stdout", "") for line in lines) == "1\n2\n3\n"
    assert "".join(line.get("stderr", "") for line in lines) == "e\n"
    assert lines[-1]["exit"]["exit_code"] == 4


def test_a_command_out_of_time_is_killed_and_the_session_goes_on(session):
    session.run("V=5")
    done = session.run("echo begun; sleep 300; echo no", timeout_s=0.5)
    assert done["timed_out"] and done["stdout"] == "begun\n" and done["exit_code"] == 137
    assert session.out("echo $V") == "5\n"


def test_a_command_is_signalled(session):
    begun = session.run("sleep 300", **{"async": True})
    assert session.daemon.delete(f"{session.path}/commands/{begun['cmd_id']}", params={"signal": "TERM"}).status_code == 204
    assert session.ended(begun["cmd_id"])["exit_code"] == 143


def test_a_signal_at_once_ends_the_command_and_its_children(session):
    """bash acts on a signal that comes while it starts a program only when that has ended."""
    for i in range(60):
        begun = session.run("sleep 3100", **{"async": True})
        signo = ("TERM", "INT")[i % 2]
        assert session.daemon.delete(f"{session.path}/commands/{begun['cmd_id']}", params={"signal": signo}).status_code == 204
        assert session.ended(begun["cmd_id"])["exit_code"] == {"TERM": 143, "INT": 130}[signo]
    until(lambda: session.sandbox.exec(["pgrep", "-fx", "sleep 3100"])["exit_code"] == 1)


def test_a_signal_comes_once_and_a_trap_has_its_time(session):
    begun = session.run("trap 'echo got; sleep 0.5; echo cleaned; exit 5' TERM; echo ready; sleep 300", **{"async": True})
    path = f"{session.path}/commands/{begun['cmd_id']}"
    until(lambda: "ready" in session.logs(begun["cmd_id"])["stdout"])
    assert session.daemon.delete(path, params={"signal": "TERM"}).status_code == 204
    ended = session.ended(begun["cmd_id"])
    assert (ended["exit_code"], ended["stdout"]) == (5, "ready\ngot\ncleaned\n")


def test_commands_wait_for_their_turn(session):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda i: session.run("n=$((${n:-0} + 1)); echo $n"), range(24)))
    assert sorted(int(d["stdout"]) for d in done) == list(range(1, 25))


def test_delete_kills_the_tree(session):
    sandbox = session.sandbox
    session.run("sleep 3001 & (setsid sleep 3002 >/dev/null 2>&1 &) ; echo ok")
    session.run("sleep 3003", **{"async": True})
    until(lambda: sandbox.exec("pgrep -c -f '^sleep 300[123]$' || true")["stdout"].strip() == "3")
    assert session.daemon.delete(session.path).status_code == 204
    assert sandbox.exec("pgrep -f '^sleep 300[123]$'")["exit_code"] == 1
    assert sandbox.exec("ls -A /tmp/.sandmux")["stdout"] == ""
    gone = session.try_run("true")
    assert gone.status_code == 404 and "not found" in gone.json()["detail"]
    assert session.daemon.delete(session.path).status_code == 404


def test_create_is_repeatable_and_list_shows_them(sandbox):
    first = Session(sandbox, "a")
    first.run("V=kept")
    again = Session(sandbox, "a")
    assert (first.made.status_code, again.made.status_code) == (201, 200)
    assert again.out("echo $V") == "kept\n"
    Session(sandbox, "b")
    assert sorted(sandbox.daemon.get(f"{sandbox.path}/sessions").json()["sessions"]) == ["a", "b"]
    one = sandbox.daemon.get(f"{sandbox.path}/sessions/a").json()
    assert [c["command"] for c in one["commands"]] == ["V=kept", "echo $V"]
    assert all(c["status"] == "ended" and c["exit_code"] == 0 for c in one["commands"])


def test_one_name_asked_for_at_once_is_one_session(sandbox):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda i: Session(sandbox, "same").made.status_code, range(8)))
    assert sorted(made) == [200] * 7 + [201]


def test_sessions_outlive_the_gateway(fresh_daemon):
    daemon, sandbox = fresh_daemon, fresh_daemon.create()
    s = Session(sandbox, "long")
    s.run("cd /usr; V=kept")
    begun = s.run("read line; echo got $line", **{"async": True})
    os.kill(daemon.pid_of("sandmux-gateway"), signal.SIGKILL)
    until(lambda: s.out("pwd; echo $V") == "/usr\nkept\n")
    commands = daemon.get(s.path).json()["commands"]
    assert begun["cmd_id"] in [c["id"] for c in commands]
    until(lambda: daemon.post(f"{s.path}/commands/{begun['cmd_id']}/input", json={"data": "it\n"}).status_code == 204)
    assert s.ended(begun["cmd_id"])["stdout"] == "got it\n"
    assert daemon.delete(s.path).status_code == 204


def test_a_stopped_sandbox_loses_processes_and_keeps_state(daemon, sandbox):
    s = Session(sandbox, "kept")
    s.run("V=kept; cd /usr")
    begun = s.run("sleep 300", **{"async": True})
    assert daemon.post(f"{sandbox.path}/stop").status_code == 200
    assert daemon.post(f"{sandbox.path}/start").status_code == 200
    assert s.out("echo $V; pwd") == "kept\n/usr\n"
    log = s.logs(begun["cmd_id"])
    assert (log["status"], log["exit_code"]) in [("lost", None), ("ended", 137), ("ended", 143)]


def test_a_stop_right_behind_a_command_waits_for_its_state(daemon, sandbox):
    s = Session(sandbox, "kept")
    s.run("for i in {1..3000}; do declare v$i=$i; done; cd /usr")
    assert daemon.post(f"{sandbox.path}/stop").status_code == 200
    assert daemon.post(f"{sandbox.path}/start").status_code == 200
    assert s.out("echo $v3000; pwd") == "3000\n/usr\n"


def test_many_sessions_of_many_commands_leave_nothing(daemon, sandbox):
    def fibers():
        return next(float(line.split()[1]) for line in daemon.get("/metrics").text.splitlines() if line.startswith("sandmux_fibers "))

    before = fibers()
    for n in range(20):
        s = Session(sandbox, f"n{n}")
        for _ in range(10):
            assert s.run("x=$((x+1))")["exit_code"] == 0
        assert s.out("echo $x") == "10\n"
    for n in range(20):
        assert daemon.delete(f"{sandbox.path}/sessions/n{n}").status_code == 204
    until(lambda: fibers() <= before + 2)
    assert sandbox.exec("ls -A /tmp/.sandmux")["stdout"] == ""


# --- the shell that waits for the next command


def shells(sandbox, sid):
    """Pids of what carries the session's variable."""
    found = sandbox.exec(f"grep -lzxF SANDMUX_SESSION={sid} /proc/[0-9]*/environ 2>/dev/null; true")["stdout"].split()
    return [int(path.split("/")[2]) for path in found]


def waiting(session):
    """The one process of the session, once that is the shell that waits: its input is a socket. The one before may still be writing state."""
    def found():
        pids = shells(session.sandbox, session.id)
        return len(pids) == 1 and session.sandbox.exec(f"readlink /proc/{pids[0]}/fd/0")["stdout"].startswith("socket:") and pids[0]
    return until(found)


def test_the_next_commands_shell_waits_and_is_no_command(session):
    for n in range(3):
        pid = waiting(session)
        assert session.out("echo $$") == f"{pid}\n"
        assert len(session.daemon.get(session.path).json()["commands"]) == n + 1
        waiting(session)
        assert session.daemon.get(f"{session.sandbox.path}/processes").json()["processes"] == []
    assert session.out("echo $SECONDS") == "0\n"


def test_what_needs_a_process_of_its_own_leaves_the_waiting_shell_to_others(session):
    pid = waiting(session)
    for more in ({"cwd": "/tmp"}, {"timeout_s": 60}, {"async": True}):
        done = session.run("V=$$; echo $$", **more)
        assert session.ended(done["cmd_id"])["stdout"] != f"{pid}\n"
    assert session.out("echo $$ $((V != $$))") == f"{pid} 1\n"


def test_a_command_of_a_waiting_shell_reads_no_input_and_has_no_descriptor_more(session):
    waiting(session)
    assert session.out("readlink /proc/self/fd/0; cat; ls -l /proc/$$/fd | grep -c socket: || true") == "/dev/null\n0\n"


@pytest.mark.parametrize("size", [1, 100, 4096, 65000, 65536, 65537, 100000])
def test_commands_of_any_size_and_bytes_arrive_whole(session, size):
    waiting(session)
    text = ("\\ \t'é€😀\"$x`\n" * size)[:size // 2]
    quoted = "'" + text.replace("'", "'\\''") + "'"
    assert session.out("printf %s " + quoted) == text


def test_a_waiting_shell_that_was_killed_is_replaced(session):
    session.run("V=kept")
    for signo in ("KILL", "TERM", "STOP"):
        pid = waiting(session)
        session.sandbox.exec(f"kill -{signo} {pid}" + ("; kill -KILL " + str(pid) if signo == "STOP" else ""))
        until(lambda: pid not in shells(session.sandbox, session.id))
        assert session.out("echo $V") == "kept\n"


def test_a_deleted_session_leaves_no_shell(session):
    for _ in range(5):
        session.run("true")
        assert session.daemon.delete(session.path).status_code == 204
        assert shells(session.sandbox, session.id) == []
        session = Session(session.sandbox, session.id)


def test_a_waiting_shell_ends_with_its_gateway(fresh_daemon):
    sandbox = fresh_daemon.create()
    s = Session(sandbox, "s1")
    s.run("V=kept")
    pid = waiting(s)
    os.kill(fresh_daemon.pid_of("sandmux-gateway"), signal.SIGKILL)
    until(lambda: fresh_daemon.get(sandbox.path).status_code == 200)
    until(lambda: pid not in shells(sandbox, "s1"))
    assert fresh_daemon.get(s.path).json()["commands"] == []
    assert s.out("echo $V") == "kept\n"
    waiting(s)


def test_a_waiting_shell_s_command_goes_on_without_its_gateway(fresh_daemon):
    sandbox = fresh_daemon.create()
    s = Session(sandbox, "s1")
    pid = waiting(s)
    command = "touch /tmp/on; until [ -e /tmp/go ]; do sleep 0.05; done; echo $$ >/tmp/done; sleep 300 #"
    begun = threading.Thread(target=lambda: suppressed(lambda: s.try_run(f"{command} {'x' * 5000}")))
    begun.start()
    until(lambda: sandbox.exec("test -e /tmp/on")["exit_code"] == 0)
    assert len(fresh_daemon.get(s.path).json()["commands"]) == 1
    os.kill(fresh_daemon.pid_of("sandmux-gateway"), signal.SIGKILL)
    begun.join()
    running = until(lambda: (r := fresh_daemon.get(s.path)).status_code == 200 and r.json()["commands"])
    assert [(c["status"], c["command"]) for c in running] == [("running", f"{command} {'x' * 5000}")]
    sandbox.exec("touch /tmp/go")
    assert until(lambda: sandbox.exec("cat /tmp/done 2>/dev/null")["stdout"]) == f"{pid}\n"


def test_a_waiting_shell_is_there_after_a_pause(daemon, session):
    session.run("V=kept")
    pid = waiting(session)
    assert daemon.post(f"{session.sandbox.path}/pause").status_code == 200
    assert daemon.post(f"{session.sandbox.path}/resume").status_code == 200
    assert session.out("echo $V $$") == f"kept {pid}\n"


def test_a_stop_takes_the_waiting_shell_along(daemon, session):
    session.run("V=kept")
    waiting(session)
    for _ in range(2):
        assert daemon.post(f"{session.sandbox.path}/stop").status_code == 200
        assert daemon.post(f"{session.sandbox.path}/start").status_code == 200
    assert session.out("echo $V") == "kept\n"


def test_few_shells_wait_in_one_sandbox(sandbox):
    made = [Session(sandbox, f"few{n}") for n in range(7)]
    assert [s.out("echo it") for s in made] == ["it\n"] * 7
    until(lambda: 1 <= sum(len(shells(sandbox, s.id)) for s in made) <= 4)  # those that had a command write state and end


def test_state_that_gets_shorter_and_names_that_ours_use(session):
    session.run("V=$(printf 'x%.0s' $(seq 20000)); f() { echo long; }")
    assert session.out("echo ${#V}; f") == "20000\nlong\n"
    session.run("unset V; unset -f f")
    assert session.out("echo ${V-unset}; type f 2>/dev/null || echo none") == "unset\nnone\n"
    session.run("cd() { builtin cd \"$@\" && echo in $PWD; }; alias umask='echo aliased'; alias set='echo no' exit='echo no' trap='echo no'; shopt -s xpg_echo; cd /usr")
    assert session.out("true") == ""
    assert session.out("pwd; cd /") == "/usr\nin /\n"


# --- bad input


def test_more_directories_than_sessions_do_not_lock_the_sandbox_out(fresh_daemon):
    """The sandbox may write what it likes where sessions are looked for."""
    sandbox = fresh_daemon.create()
    sandbox.exec("mkdir -p -m 1777 /tmp/.sandmux; cd /tmp/.sandmux; for i in $(seq 1100); do mkdir d$i; done")
    os.kill(fresh_daemon.pid_of("sandmux-gateway"), signal.SIGKILL)
    listed = until(lambda: (r := fresh_daemon.get(f"{sandbox.path}/sessions")).status_code == 200 and r.json()["sessions"])
    assert len(listed) == 1024
    assert fresh_daemon.post(f"{sandbox.path}/sessions", json={"id": "one-more"}).status_code == 429
    assert fresh_daemon.delete(f"{sandbox.path}/sessions/{listed[0]}").status_code == 204
    assert fresh_daemon.post(f"{sandbox.path}/sessions", json={"id": "one-more"}).status_code == 201


@pytest.mark.parametrize("body, field", [
    ({}, "id"), ({"id": ""}, "id"), ({"id": "../x"}, "id"), ({"id": ".hidden"}, "id"), ({"id": "a b"}, "id"),
    ({"id": "x" * 129}, "id"), ({"id": 5}, "id"), ({"id": "x", "shell": "zsh"}, "shell"), ({"id": "x", "more": 1}, "more"),
    ({"id": "x", "cwd": "/no/such"}, "cwd"),
])
def test_bad_sessions_are_refused(sandbox, body, field):
    reply = sandbox.daemon.post(f"{sandbox.path}/sessions", json=body)
    assert reply.status_code == 422 and field in reply.json()["detail"], reply.text
    assert sandbox.daemon.get(f"{sandbox.path}/sessions").json()["sessions"] == []


@pytest.mark.parametrize("body, field", [
    ({}, "command"), ({"command": ""}, "command"), ({"command": " \n"}, "command"), ({"command": ["a"]}, "command"),
    ({"command": "a\u0000b"}, "NUL"), ({"command": "true", "timeout_s": -1}, "timeout_s"), ({"command": "true", "async": "yes"}, "async"),
    ({"command": "x" * 200000}, "command"),
])
def test_bad_commands_are_refused(session, body, field):
    reply = session.daemon.post(f"{session.path}/exec", json=body)
    assert reply.status_code == 422 and field in reply.json()["detail"], reply.text


def test_unknown_ids_are_not_found(session):
    daemon = session.daemon
    assert daemon.get(f"{session.path}/commands/0123456789abcdef/logs").status_code == 404
    assert daemon.get(f"{session.sandbox.path}/sessions/none").status_code == 404
    assert daemon.post(f"{session.sandbox.path}/sessions/none/exec", json={"command": "true"}).status_code == 404
    assert daemon.post(f"/api/sandboxes/i{'x' * 20}/sessions", json={"id": "a"}).status_code == 404


def test_a_directory_that_a_stranger_put_there_is_not_taken(sandbox):
    sandbox.exec("mkdir -p -m 1777 /tmp/.sandmux; ln -s /etc /tmp/.sandmux/evil; mkdir /tmp/.sandmux/other; chown user /tmp/.sandmux/other")
    for sid in ("evil", "other"):
        reply = sandbox.daemon.post(f"{sandbox.path}/sessions", json={"id": sid})
        assert reply.status_code == 500 and "cannot be made" in reply.json()["detail"]


def test_the_mark_is_not_taken_from_the_command(session):
    done = session.run(r"printf '\036%s:0\036' 0123456789abcdef; exit 5")
    assert done["exit_code"] == 5 and done["stdout"] == "\x1e0123456789abcdef:0\x1e"
