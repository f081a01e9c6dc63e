"""Commands, running programs and terminals through the package."""
import contextlib
import os
import signal
import threading

import pytest

from conftest import until

pytest_plugins = ["python_package"]
pytestmark = pytest.mark.root
NASTY = "two  words; $(touch /x) `id` \"' \\ \n line two \t é€😀"


def test_r37_exit_codes_are_results(box):
    assert box.process.exec("exit 7").exit_code == 7
    killed = box.process.exec("kill -9 $$")
    assert (killed.exit_code, killed.signal) == (137, 9)
    assert box.process.exec(["/no/such/program"]).exit_code == 127
    assert box.process.exec("curl -s http://127.0.0.1:1 || exit $?").exit_code in (7, 127)


def test_both_streams(box):
    done = box.process.exec("echo out; echo err >&2")
    assert (done.result, done.stdout, done.stderr, done.output) == ("out\n", "out\n", "err\n", "out\nerr\n")
    assert done.stdout_bytes == b"out\n" and done.artifacts.stdout == "out\n"
    assert "out\n" not in repr(done)


def test_shell_text_argv_and_input(box):
    assert box.process.exec("echo a && echo b | tr b c").result == "a\nc\n"
    assert box.process.exec(["printf", "%s", NASTY]).result == NASTY
    assert box.process.exec(("wc", "-c"), stdin=b"\x00\x01\x02\xff").result.strip() == "4"
    assert box.process.exec(["cat"], stdin="").result == ""
    big = os.urandom(20_000_000)
    assert box.process.exec(["cat"], stdin=big, max_output_bytes=64 << 20).stdout_bytes == big
    assert box.process.exec(["true"], stdin=big).exit_code == 0


def test_r38_environment_directory_and_user(box):
    env = {"B": "two  words", "C": "'\"$HOME\\", "D": "one\ntwo", "E": "", "F": NASTY}
    got = dict(item.split(b"=", 1) for item in box.process.exec(["env", "-0"], env=env).stdout_bytes.split(b"\0") if item)
    for name, value in env.items():
        assert got[name.encode()] == value.encode()
    assert box.process.exec("pwd", cwd="/tmp").result == "/tmp\n"
    assert box.process.exec("pwd").result == "/workspace\n"
    assert box.process.exec("id -un", user="nobody").result == "nobody\n"


def test_field_01_text_is_whole(box):
    text = "a" + "é€😀" * 50000
    done = box.process.exec(["python3", "-c", "print('a'+'é€😀'*50000, end='')"])
    assert done.result == text and done.stdout_bytes == text.encode()
    slow = box.process.exec("for b in '\\342' '\\202' '\\254'; do printf \"$b\"; sleep 0.05; done")
    assert slow.result == "€"


def test_output_beyond_the_limit_is_said(box):
    done = box.process.exec("head -c 100000 /dev/zero", max_output_bytes=1000)
    assert done.truncated and len(done.stdout_bytes) == 1000


def test_r37_a_time_limit_kills_the_group(box):
    from sandbox import SandboxTimeoutError
    with pytest.raises(TimeoutError) as caught:
        box.process.exec("echo before; sleep 4321 & sleep 4321", timeout=1.5)
    assert isinstance(caught.value, SandboxTimeoutError) and caught.value.retryable
    assert caught.value.result.stdout == "before\n"
    until(lambda: "4321" not in box.process.exec("cat /proc/[0-9]*/cmdline").result, why="the group still runs")
    assert box.process.exec("echo usable").result == "usable\n"


@pytest.mark.parametrize("call,what", [
    (lambda p: p.exec("echo \0"), "NUL"),
    (lambda p: p.exec("echo \ud800"), "surrogate"),
    (lambda p: p.exec(["a", "b\0"]), "NUL"),
    (lambda p: p.exec("x", cwd="/a\0b"), "null"),
    (lambda p: p.exec("x", env={"A": "\0"}), "NUL"),
    (lambda p: p.exec("x", env={"A\udc80": "v"}), "surrogate"),
    (lambda p: p.exec([]), "argv"),
    (lambda p: p.exec("x", timeout=-1), "timeout"),
    (lambda p: p.exec("x", timeout="soon"), "timeout"),
    (lambda p: p.start("echo \0"), "NUL"),
    (lambda p: p.create_session("a\0b"), "NUL"),
], ids=lambda v: v if isinstance(v, str) else "")
def test_bad_texts_are_clear_errors(box, call, what):
    from sandbox.errors import InvalidRequestError
    with pytest.raises(ValueError, match=f"(?i){what}") as caught:
        call(box.process)
    assert isinstance(caught.value, InvalidRequestError) and caught.value.code == "invalid_request"


@pytest.mark.parametrize("call", [
    lambda p: p.exec(b"bytes"), lambda p: p.exec(17), lambda p: p.exec(["a", 1]), lambda p: p.exec("x", env={"A": 1}),
    lambda p: p.exec("x", env={1: "A"}), lambda p: p.exec("x", cwd=3)])
def test_wrong_types_are_type_errors(box, call):
    with pytest.raises(TypeError):
        call(box.process)


@pytest.mark.parametrize("call,said", [
    (lambda p: p.exec("x", env=["A"]), "env: must be a dict of str, not list"), (lambda p: p.start("x", env="A=1"), "env: must be a dict of str, not str"),
    (lambda p: p.exec(None), "command: must be str or a list of str, not NoneType"),
    (lambda p: p.exec(b"x"), "command: must be str or a list of str, not bytes"),
    (lambda p: p.start(5), "command: must be str or a list of str, not int"),
    (lambda p: p.execute_session_command("s", None), "req: must be str, a SessionExecuteRequest or a dict, not NoneType"),
    (lambda p: p.execute_session_command("s", {"comand": "x"}), r"req: must have a 'command'; this dict has \['comand'\]")])
def test_a_command_of_the_wrong_type_is_named(box, call, said):
    with pytest.raises(TypeError, match=said):
        call(box.process)


def test_a_running_program(box):
    program = box.process.start("read x; echo \"got $x\"; echo bad >&2; exit 5")
    assert program.pid > 1
    assert any(p.pid == program.pid for p in box.process.list())
    program.write("word\n")
    seen = list(program)
    assert b"".join(d for k, d in seen if k == "stdout") == b"got word\n"
    assert b"".join(d for k, d in seen if k == "stderr") == b"bad\n"
    assert program.exit_code == 5 and program.next() is None


def test_much_goes_in_and_out_at_once(box):
    program, sent, got = box.process.start(["cat"]), os.urandom(8_000_000), bytearray()

    def feed():
        program.write(sent)
        program.close_stdin()

    writer = threading.Thread(target=feed)
    writer.start()
    assert program.wait(on_stdout=got.extend) == 0
    writer.join()
    assert bytes(got) == sent


def test_next_with_a_limit_and_a_second_reader(box):
    from sandbox.errors import BusyError, SandboxTimeoutError
    program = box.process.start("sleep 600")
    with pytest.raises(SandboxTimeoutError):
        program.next(timeout=0.05)

    def read():
        while program.exit_code is None:
            with contextlib.suppress(BusyError):  # who of the two reads first is open
                program.wait()
    reader = threading.Thread(target=read)
    reader.start()

    def is_busy():
        with pytest.raises((BusyError, SandboxTimeoutError)) as caught:
            program.next(timeout=0)
        return caught.type is BusyError
    until(is_busy, why="two threads could read")
    program.signal(signal.SIGTERM)
    reader.join()
    assert (program.exit_code, program.signal_number) == (143, 15)


def test_kill_by_pid(box):
    from sandbox.errors import ProcessNotFoundError
    program = box.process.start("sleep 600")
    box.process.kill(program.pid, signal.SIGTERM)
    assert program.wait() == 143
    with pytest.raises(ProcessLookupError) as caught:
        box.process.kill(999999)
    assert isinstance(caught.value, ProcessNotFoundError) and "not found" in str(caught.value)


def test_field_04_a_terminal(box):
    from sandbox import PtySize
    out = bytearray()
    terminal = box.process.create_pty_session(id="t", on_data=out.extend, pty_size=PtySize(cols=120, rows=40), envs={"PS1": "> "})
    assert terminal.session_id == "t" and terminal.is_connected()
    terminal.send_input("trap 'stty size' WINCH; stty size\n")  # the trap is set before the size is shown
    until(lambda: b"40 120" in out, why="the size did not reach the program")
    terminal.resize(PtySize(cols=200, rows=50))
    terminal.send_input("\n")
    until(lambda: b"50 200" in out, why="the resize did not reach the program")
    terminal.send_input("sh -c 'echo sta''rted; sleep 1000'; echo in''terrupted\n")
    until(lambda: b"started" in out, why="the shell did not take the command")
    terminal.send_input("\x03")
    until(lambda: b"# " in out.partition(b"^C")[2], why="Ctrl-C did not bring the prompt back")
    terminal.send_input("echo li''ves; exit 3\n")
    assert terminal.wait(30).exit_code == 3
    assert b"lives" in out and not terminal.is_connected()


def test_leaving_a_terminal_hangs_its_program_up(box):
    from sandbox.errors import ConnectionClosedError
    terminal = box.process.create_pty_session(command="sleep 777 & wait")
    until(lambda: "777" in box.process.exec("cat /proc/[0-9]*/cmdline").result)
    terminal.disconnect()
    assert not terminal.is_connected()
    with pytest.raises(ConnectionClosedError):
        terminal.send_input("x")
    until(lambda: "777" not in box.process.exec("cat /proc/[0-9]*/cmdline").result, why="the terminal's program still runs")


def test_killing_a_terminals_program(box):
    from sandbox import SandboxTimeoutError
    terminal = box.process.create_pty_session(command=["sleep", "600"])
    with pytest.raises(SandboxTimeoutError, match="still runs"):
        terminal.wait(0.1)
    terminal.kill()
    assert terminal.wait(30).exit_code == 137 and terminal.exit_code == 137


def test_what_on_data_raises_comes_out_of_wait(box):
    def bad(data):
        raise RuntimeError("from the callback")
    terminal = box.process.create_pty_session(on_data=bad)
    with pytest.raises(RuntimeError, match="from the callback"):
        terminal.wait(30)
    terminal.disconnect()
