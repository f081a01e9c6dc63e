"""Exit status, streams and JSON of every command, against the fake daemon."""
import json
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
VERBS = ("serve shutdown run create ps inspect exec cp rm start stop pause resume logs events doctor keys config status validate "
         "health switch stats metrics version completion help").split()


def test_the_overview_names_every_verb(fm):
    text = fm.ok("help").text
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", text, re.M), verb
    assert fm.ok().text == text
    assert fm.ok("--help").text == text


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_goes_to_stdout_and_asks_no_daemon(fm, fake, verb):
    r = fm.ok(verb, "--help")
    assert r.text.startswith(f"Usage: sandmux {verb} ") and "--json" in r.text and "Examples:" in r.text
    assert r.error == "" and fm.ok("help", verb).text == r.text
    assert fake.requests == []


def test_usage_mistakes_are_2_and_name_the_way_out(fm):
    for args, word in ((["frobnicate"], "no command"), (["creat"], "did you mean 'create'"), (["ps", "--quite"], "--quiet"),
                       (["--quiet", "ps"], "command comes first"), (["inspect"], "SANDBOX"), (["keys", "burn"], "create, ls"),
                       (["create", "--lifetime", "soon"], "10m"), (["create", "--cpu", "x"], "number"), (["rm"], "--all"),
                       (["rm", "--all", "x"], "not both"), (["completion", "tcsh"], "bash"), (["config", "edit"], "show"),
                       (["create", "--ensure"], "--name"), (["cp", "a", "b"], "SANDBOX:PATH")):
        r = fm(*args)
        assert (r.returncode, r.stdout) == (2, b""), args
        assert word in r.error and "--help" in r.error, (args, r.error)


def test_a_mistake_in_exec_and_run_is_125(fm):
    assert fm("exec").returncode == 125
    assert fm("exec", "--nope", "box").returncode == 125
    assert fm("run", "--timeout", "x", "true").returncode == 125
    assert fm("exec", "nobody", "--", "true").returncode == 125


def test_create_and_what_was_asked_for(fm, fake, tmp_path):
    (tmp_path / "env").write_text("# a comment\nA=1\r\nB=two  words\n")
    (tmp_path / "pw").write_text("s3cret\n")
    r = fm.ok("create", "-n", "web", "-T", "base", "--lifetime", "90", "-e", "C='\"$HOME\\", "-e", "E=", "--env-file", "env",
              "-m", "k=v", "--password-file", "pw", "--cpu", 2, "--memory", 512, "--disk", 100, "--project", "p1")
    assert r.text.startswith("i") and r.error == ""
    assert fake.last_request == {"template": "base", "name": "web", "project_id": "p1", "password": "s3cret",
                                 "metadata": {"k": "v"}, "env": {"A": "1", "B": "two  words", "C": "'\"$HOME\\", "E": ""},
                                 "timeout_s": 90, "resources": {"cpu": 2, "memory_mib": 512, "disk_mib": 100}}
    assert fm.ok("create", "--password-file", "-", input=b"from stdin").returncode == 0
    assert fake.last_request["password"] == "from stdin"
    fm.ok("create", "--password-env", "PW", "-e", "TOKEN", env={"PW": "from env", "TOKEN": "t=1"})
    assert fake.last_request == {"password": "from env", "env": {"TOKEN": "t=1"}}
    assert fm("create", "--password-env", "NOT_SET").returncode == 2
    assert fm.ok("create", "--name", "web", "--ensure", "--json").json["name"] == "web"


def test_secrets_are_not_echoed(fm):
    for args in (["create", "-e", "hunter2hunter2"], ["create", "-m", "=hunter2"]):
        r = fm(*args)
        assert r.returncode == 2 and "hunter2" not in r.error


def test_lists(fm, fake):
    ids = [fm.ok("create", "--name", f"b{i}").text.strip() for i in range(5)]
    assert fm.ok("ps", "-q").text.split() == ids  # three pages
    listed = fm.ok("ps", "--json").json
    assert [s["id"] for s in listed["items"]] == ids and listed["next_cursor"] is None
    table = fm.ok("ls").text.splitlines()
    assert table[0].split()[:3] == ["ID", "NAME", "STATE"] and len(table) == 6
    assert fm.ok("ps", "-q", "--state", "paused").text == ""
    assert fm.ok("inspect", "b3", "--json").json["id"] == ids[3]
    assert fm.ok("inspect", "b3").json["id"] == ids[3]


def test_life_cycle_verbs(fm, fake):
    fm.ok("create", "--name", "b")
    for verb, state in (("pause", "paused"), ("resume", "running"), ("stop", "stopped"), ("start", "running")):
        assert fm.ok(verb, "b").text == "b\n"
        assert fm.ok("inspect", "b", "--json").json["state"] == state
    r = fm("resume", "b")
    assert r.returncode == 5 and "not paused" in r.error
    assert fm.ok("rm", "b").text == "b\n"
    r = fm("rm", "b")
    assert r.returncode == 3 and "not found" in r.error and r.stdout == b""
    assert fm.ok("rm", "-f", "b").returncode == 0


def test_one_failure_does_not_stop_the_others(fm, fake):
    for name in ("a", "c"):
        fm.ok("create", "--name", name)
    r = fm("stop", "a", "nobody", "c")
    assert r.returncode == 3 and r.text == "a\nc\n" and "nobody" in r.error


def test_errors_as_json(fm):
    r = fm("inspect", "nobody", "--json")
    problem = json.loads(r.error)
    assert r.returncode == 3 and r.stdout == b""
    assert problem["code"] == "sandbox_not_found" and "nobody" in problem["detail"] and problem["hint"]
    for mistake in (("ps", "--nope", "--json"), ("ps", "--json", "--nope"), ("nonsense", "--json"), ("--json", "nonsense"), ("--json",),
                    ("cp", "a", "--json")):
        r = fm(*mistake)
        assert (r.returncode, json.loads(r.error)["code"], r.stdout) == (2, "usage", b""), mistake
    assert not fm("exec", "nobody", "--nope", "--", "--json").error.startswith("{")  # the command's own


def test_exit_status_of_each_kind_of_error(fm, fake):
    for status, code, want in ((401, "unauthorized", 4), (403, "forbidden", 4), (404, "sandbox_not_found", 3),
                               (409, "conflict", 5), (409, "state_conflict", 5), (402, "quota_exceeded", 6),
                               (429, "rate_limited", 6), (502, "provider_unavailable", 7), (504, "timeout", 7),
                               (422, "invalid_request", 1), (501, "unsupported", 1), (500, "internal", 1), (418, "made_up", 1)):
        fake.faults["GET /api/sandboxes/x"] = lambda c, s=status, n=code: c.problem(s, n, "because of the test")
        r = fm("inspect", "x")
        assert r.returncode == want and "because of the test" in r.error, code
        assert r.error.count("\n") == 2


def test_runtime_verbs(fm):
    assert fm.ok("status", "--json").json["current_runtime"] == "local"
    assert fm.ok("health", "--json").json["status"] == "healthy"
    assert fm.ok("validate").json["runtime"] == "local"
    assert fm("validate", "e2b").returncode == 1
    r = fm("validate", "nope")
    assert r.returncode == 1 and "Invalid runtime 'nope'" in r.error
    r = fm.ok("switch", "local")
    assert r.text == "Runtime switched to 'local'\n" and "3 sandboxes stay" in r.error
    r = fm("switch", "e2b")
    assert r.returncode == 1 and "not properly configured" in r.error
    assert "no such runtime" in fm("switch", "x").error


def test_logs_and_events(fm):
    fm.ok("create", "--name", "b")
    r = fm.ok("logs", "b")
    assert len(r.text.splitlines()) == 5 and "\x1b" not in r.text
    assert len(fm.ok("logs", "-n", "2", "b").text.splitlines()) == 2
    assert fm.ok("logs", "--json", "b").text.splitlines()[0].startswith("{")
    assert [line.split()[0] for line in fm.ok("events").text.splitlines()] == ["1", "2", "3"]
    assert [line.split()[0] for line in fm.ok("events", "--since", 2).text.splitlines()] == ["3"]


def test_following_events_survives_a_broken_connection(fm, fake):
    fake.faults["GET /api/events"] = lambda c: c.sock.sendall(
        b"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"28\r\ndata: {\"seq\":1,\"type\":\"sandbox.state\"}\n\n\r\n3\r\nid:\r\n")
    p = fm.popen("events", "-f", "--json")
    lines = [p.stdout.readline() for _ in range(3)]
    p.kill()
    p.communicate()
    assert [json.loads(x)["seq"] for x in lines] == [1, 2, 3]
    assert [t.partition("?")[2] for _, t, _ in fake.requests] == ["since=0", "since=1"]


def test_keys(fm):
    assert fm.ok("keys", "create", "ci").text == "e2b_" + 40 * "a" + "\n"
    assert "ci" in fm.ok("keys", "ls").text and 40 * "a" not in fm.ok("keys", "ls").text
    assert fm.ok("keys", "revoke", "k1").returncode == 0
    assert fm("keys", "revoke", "k1").returncode == 3


def test_an_api_key_comes_from_the_environment_or_env_file(fm, fake, tmp_path):
    fake.require_key = "e2b_right"
    assert fm("ps").returncode == 4
    assert fm.ok("ps", env={"SANDMUX_API_KEY": "e2b_right"}).returncode == 0
    (tmp_path / ".env").write_text("SANDMUX_API_KEY=e2b_right\r\n")
    assert fm.ok("ps").returncode == 0
    r = fm("ps", env={"SANDMUX_API_KEY": "bad\nkey"})
    assert r.returncode == 1 and "bad\nkey" not in r.error


def test_config_show_hides_secrets(fm, tmp_path):
    (tmp_path / ".env").write_text("E2B_API_KEY=e2b_hunter2\nSANDMUX_LISTEN=127.0.0.1:9\nthis is no line\n")
    r = fm.ok("config", "show", "--origin")
    assert "e2b_hunter2" not in r.text + r.error and "***" in r.text
    assert re.search(r"^listen +127.0.0.1:9 .*\.env:2", r.text, re.M) and ".env:3" in r.error
    shown = fm.ok("config", "--json").json
    assert shown["listen"]["value"] == "127.0.0.1:9" and shown["e2b-api-key"]["value"] == "***"


def test_version_and_doctor(fm):
    assert fm.ok("version").text.startswith("sandmux ") and "9.9.9" in fm.ok("--version").text
    assert fm.ok("version", "--url", "unix:/nonexistent").text.count("\n") == 1
    r = fm("doctor", "--json")
    assert r.json["checks"] and {c["status"] for c in r.json["checks"]} <= {"ok", "warning", "problem"}
    daemon = next(c for c in r.json["checks"] if c["name"] == "daemon")
    assert daemon["detail"] == "local: no engine" and daemon["fix"] == "run as root"


def test_colour_only_where_it_is_wanted(fm):
    assert "\x1b[" not in fm("doctor").text
    assert "\x1b[32m" in fm("doctor", env={"CLICOLOR_FORCE": "1"}).text
    assert "\x1b[" not in fm("doctor", env={"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}).text


def test_shutdown(fm, fake):
    fm.ok("create")
    fm.ok("shutdown", "--all")
    assert fake.sandboxes == {}
    assert "no daemon" in fm.ok("shutdown").error


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(fm, tmp_path, shell):
    script = fm.ok("completion", shell).text
    for verb in VERBS:
        assert verb in script
    (tmp_path / "script").write_text(script)
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n", str(tmp_path / "script")], capture_output=True)
        assert checked.returncode == 0, checked.stderr


def test_bash_completes_commands_options_and_sandboxes(fm, fake, tmp_path):
    fm.ok("create", "--name", "b")
    box = next(iter(fake.sandboxes))
    (tmp_path / "script").write_text(fm.ok("completion", "bash").text)
    ask = 'source ./script; COMP_WORDS=({words}); COMP_CWORD={n}; _sandmux; echo "${{COMPREPLY[@]}}"'
    for words, n, want in (("sandmux insp", 1, "inspect"), ("sandmux exec --inter", 2, "--interactive"),
                           ("sandmux rm i", 2, box), ("sandmux keys rev", 2, "revoke")):
        r = subprocess.run(["bash", "-c", ask.format(words=words, n=n)], capture_output=True, text=True, cwd=tmp_path,
                           env=fm.env(PATH=f"{pathlib.Path(fm.program).parent}:/usr/bin:/bin"))
        assert r.stdout.split() == [want], (words, r.stdout, r.stderr)


def test_the_manual_page(fm, tmp_path):
    text = fm.ok("help", "--man").text
    assert text.startswith(".TH SANDMUX 1") and "sandmux exec" in text
    if shutil.which("groff"):
        (tmp_path / "sandmux.1").write_text(text)
        r = subprocess.run(["groff", "-man", "-Tutf8", "-ww", str(tmp_path / "sandmux.1")], capture_output=True, text=True)
        assert r.returncode == 0 and r.stderr == ""


def test_docs_are_those_of_the_command_table(fm):
    assert (ROOT / "docs" / "cli.md").read_text() == fm.ok("help", "--markdown").text, \
        "run: build/sandmux help --markdown > docs/cli.md"


def test_output_that_cannot_be_written_is_a_failure(fm):
    with open("/dev/full", "wb") as full:
        r = subprocess.run([fm.program, "help"], stdout=full, stderr=subprocess.PIPE)
    assert r.returncode == 1 and r.stderr == b"sandmux: writing the output: No space left on device\n"


def test_what_takes_long_is_said_on_a_terminal_only(fm, fake):
    def slow(c):
        time.sleep(2.2)
        c.reply(201, fake.make({}))

    fake.faults["POST /api/sandboxes"] = slow
    assert fm.ok("create").error == ""
    said = threading.Event()

    def as_slow_as_it_takes(c):
        assert said.wait(60)
        c.reply(201, fake.make({}))

    fake.faults["POST /api/sandboxes"] = as_slow_as_it_takes
    t = fm.terminal("create")
    t.expect("creating the sandbox ..")
    said.set()
    status, _ = t.wait()
    assert status == 0 and b"\r\x1b[Ki" in t.output  # the line is wiped, the id comes
    t = fm.terminal("create")
    t.wait()
    assert b"creating" not in t.output


def test_run_interrupted_while_the_sandbox_is_made(fm, fake):
    asked, go_on = threading.Semaphore(0), threading.Event()

    def slow(c):
        asked.release()
        assert go_on.wait(60)
        c.reply(201, fake.make({}))

    def run_and_interrupt():
        fake.faults["POST /api/sandboxes"] = slow
        p = fm.popen("run", "--", "echo", "never")
        assert asked.acquire(timeout=60)
        p.send_signal(signal.SIGINT)
        assert b"once more to leave" in p.stderr.readline()
        return p

    p = run_and_interrupt()
    go_on.set()
    out, err = p.communicate(timeout=60)
    assert (p.returncode, out, err) == (130, b"", b"")
    assert fake.sandboxes == {} and not any(t.endswith("/exec") for _, t, _ in fake.requests)
    go_on.clear()
    p = run_and_interrupt()
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=50)  # the daemon has not answered yet
    assert p.returncode == 130
    go_on.set()


def test_bytes_that_json_cannot_carry_are_refused(fm, fake):
    fm.ok("create", "--name", "b")
    for args in (["exec", "b", "--", "cat", b"\xff"], ["exec", "b", "-c", b"echo \xff"], ["exec", "b", "-e", b"A=\xff", "true"],
                 ["exec", "b", "-w", b"/\xff", "true"]):
        r = subprocess.run([fm.program, *args], env=fm.env(), capture_output=True, stdin=subprocess.DEVNULL)
        assert r.returncode == 125 and b"UTF-8" in r.stderr, r
    r = subprocess.run([fm.program, "create", "-m", b"k=\xff"], env=fm.env(), capture_output=True)
    assert r.returncode == 1 and b"metadata: must be UTF-8" in r.stderr
    assert len(fake.sandboxes) == 1


def test_closed_standard_descriptors(fm, fake):
    fm.ok("create", "--name", "b")
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        r = subprocess.run(["sh", "-c", f"{fm.program} exec b -c 'echo hi; echo err >&2; exit 3' {closed}"], env=fm.env(),
                           capture_output=True)
        assert r.returncode == 3
    assert all(b"hi" not in t.encode() for _, t, _ in fake.requests)
