"""exec and run in real sandboxes: bytes, exit status, stdin, signals, terminals. Names with a number are the field reports'."""
import hashlib
import os
import signal
import subprocess
import threading
import time

import pytest

from conftest import until

pytestmark = pytest.mark.root


def test_output_and_exit_status(sm, box):
    r = sm("exec", box, "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (r.returncode, r.stdout, r.stderr) == (3, b"out\n", b"err\n")
    for code in (0, 1, 124, 126, 255):
        assert sm("exec", box, "-c", f"exit {code}").returncode == code


def test_every_byte_arrives(sm, box):
    everything = bytes(range(256)) * 300
    r = sm.ok("exec", box, "--", "cat", input=everything)
    assert r.stdout == everything
    r = sm.ok("exec", box, "-c", "cat >&2", input=everything)
    assert (r.stdout, r.stderr) == (b"", everything)


def test_not_found_not_executable_killed_timed_out(sm, box):
    assert sm("exec", box, "--", "no-such-program").returncode == 127
    assert sm("exec", box, "--", "/etc/passwd").returncode == 126
    assert sm("exec", box, "-c", "kill -9 $$").returncode == 137
    assert sm("exec", box, "-c", "kill -15 $$").returncode == 143
    assert sm("exec", box, "--timeout", "0.3", "--", "sleep", "60").returncode == 124
    assert sm("exec", "nobody", "--", "true").returncode == 125


def test_our_own_failures_are_125(sm, daemon, box):
    daemon.post(f"/api/sandboxes/{box}/pause")
    r = sm("exec", box, "--", "true")
    daemon.post(f"/api/sandboxes/{box}/resume")
    assert r.returncode == 125 and "paused" in r.error


def test_report_1_characters_are_not_cut(sm, box):
    text = "a" + "é€😀" * 50000 + "\n"
    r = sm.ok("exec", box, "--", "python3", "-c", "print('a'+'é€😀'*50000)")
    assert r.stdout == text.encode()
    slow = "import sys,time\nfor b in '€'.encode():\n sys.stdout.buffer.write(bytes([b]));sys.stdout.flush();time.sleep(.1)"
    assert sm.ok("exec", box, "--", "python3", "-c", slow).stdout == "€".encode()
    assert sm.ok("exec", box, "--json", "--", "python3", "-c", slow).json["stdout"] == "€"


def test_report_2_stdin(sm, box):
    assert sm.ok("exec", box, "--", "wc", "-c", input=b"\0\1\2\xff").stdout == b"4\n"
    data = os.urandom(20_000_000)
    assert sm.ok("exec", box, "--", "sha256sum", input=data).text.split()[0] == hashlib.sha256(data).hexdigest()
    r = sm("exec", box, "--", "true", input=data)
    assert (r.returncode, r.stderr) == (0, b"")
    assert sm("exec", box, "--", "head", "-c", "1", input=data).stdout == data[:1]
    assert sm.ok("exec", box, "--", "cat", input=b"").stdout == b""
    assert sm.ok("exec", box, "--", "cat").stdout == b""
    assert sm.ok("exec", "--no-stdin", box, "--", "cat", input=b"not read").stdout == b""
    assert sm.ok("exec", box, "--", "cat", input=data).stdout == data


def test_report_3_environment(sm, daemon):
    values = {"B": "two  words", "C": "'\"$HOME\\", "D": "two\nlines", "E": ""}
    box = sm.ok("create", "-e", "A=1", "-e", "B=first").text.strip()
    try:
        args = [x for k, v in values.items() for x in ("-e", f"{k}={v}")]
        out = sm.ok("exec", *args, box, "--", "env", "-0").stdout.decode().split("\0")
        got = dict(x.split("=", 1) for x in out if x)
        assert got["A"] == "1" and {k: got[k] for k in values} == values
        r = sm("exec", "-e", "X;touch /workspace/pwned=1", box, "-c", "ls /workspace")
        assert b"pwned" not in r.stdout
    finally:
        sm.ok("rm", box)


def test_user_and_directory(sm, box):
    assert sm.ok("exec", box, "-c", "id -un; pwd").text == "root\n/workspace\n"
    assert sm.ok("exec", "-u", "user", "-w", "/tmp", box, "-c", "id -un; pwd").text == "user\n/tmp\n"
    assert sm("exec", "-u", "nobody-such", box, "--", "true").returncode == 125
    assert sm("exec", "-w", "/no/such", box, "--", "true").returncode != 0


def test_json(sm, box):
    r = sm("exec", "--json", box, "-c", "printf 'a\\377'; echo e >&2; exit 5")
    assert r.returncode == 5 and r.stderr == b""
    assert r.json == {**r.json, "exit_code": 5, "signal": None, "stdout_b64": "Yf8=", "stderr": "e\n", "timed_out": False,
                      "origin": "remote"}
    r = sm("exec", "--json", box, "-c", "kill -9 $$")
    assert r.returncode == 137 and r.json["signal"] == 9
    r = sm("exec", "--json", "--timeout", "200ms", box, "--", "sleep", "9")
    assert r.returncode == 124 and r.json["timed_out"]


def test_a_background_child_does_not_hold_us(sm, box):
    start = time.monotonic()
    assert sm.ok("exec", box, "-c", "sleep 100 & echo started").stdout == b"started\n"
    assert time.monotonic() - start < 50
    sm.ok("exec", box, "--", "pkill", "sleep")


def test_a_reader_that_leaves(sm, box):
    p = subprocess.Popen([sm.program, "exec", box, "--", "yes"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=sm.env(),
                         stdin=subprocess.DEVNULL)
    assert p.stdout.readline() == b"y\n"
    p.stdout.close()
    assert p.wait(60) == 141 and p.stderr.read() == b""


def test_signals_reach_the_command(sm, box):
    script = "trap 'echo got int; exit 9' INT; echo ready; while :; do sleep 0.1; done"
    p = sm.popen("exec", box, "--", "sh", "-c", script)
    assert p.stdout.readline() == b"ready\n"
    p.send_signal(signal.SIGINT)
    out, _ = p.communicate(timeout=60)
    assert (p.returncode, out) == (9, b"got int\n")


def test_a_second_signal_ends_us_though_the_command_ignores_it(sm, box):
    p = sm.popen("exec", box, "--", "sh", "-c", "trap 'echo ignored' TERM; echo ready; while :; do sleep 0.05; done")
    assert p.stdout.readline() == b"ready\n"
    p.send_signal(signal.SIGTERM)
    assert p.stdout.readline() == b"ignored\n" and p.poll() is None
    p.send_signal(signal.SIGTERM)
    assert p.wait(60) == 143
    p.communicate()
    sm("exec", box, "--", "pkill", "-9", "sh")


def test_many_at_once(sm, box):
    wrong = []

    def one(n):
        r = sm("exec", box, "--", "sh", "-c", f"echo {n}; exit {n}")
        if (r.returncode, r.stdout) != (n, f"{n}\n".encode()):
            wrong.append((n, r))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(40)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


# --- terminals

def test_report_4_size_resize_and_signals(sm, box):
    t = sm.terminal("exec", "-it", box, "--", "sh", rows=40, cols=120)
    before = t.mode()
    t.expect("# ")
    t.send("stty size\r")
    t.expect("\r\n40 120\r\n")
    t.send("trap 'stty size' WINCH\r")
    t.expect("WINCH\r\n# ")
    t.resize(50, 200)
    os.kill(t.pid, signal.SIGWINCH)
    for _ in range(100):  # a shell runs its trap with the next command that comes after the signal; an empty line is none
        if b"50 200\r\n" in t.output:
            break
        t.send(":\r")
        t.read(0.2)
    t.expect("50 200\r\n")
    t.send("sh -c 'echo sta''rted; sleep 1000'\r")
    t.expect("started\r\n")
    t.send("\x03")
    t.expect("^C")
    t.expect("# ")
    t.send("echo alive-$((1+1)); tty; echo $TERM\r")
    t.expect("alive-2\r\n/dev/pts/")
    t.expect("xterm")
    assert t.mode()[3] & 0o12 == 0  # neither canonical nor echoing: raw
    t.send("exit 7\r")
    status, after = t.wait()
    assert status == 7 and after[3] == before[3] | 0o12


def test_the_terminal_is_put_back_whatever_ends_us(sm, box):
    for how in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        t = sm.terminal("exec", "-it", box, "--", "sh")
        t.send("echo rea''dy\r")
        t.expect("ready")
        assert t.mode()[3] & 0o10 == 0
        os.kill(t.pid, how)
        status, after = t.wait()
        assert status == 128 + how and after[3] & 0o12 == 0o12


def test_the_shell_ends_with_its_terminal(sm, box):
    t = sm.terminal("exec", "-it", box, "--", "sh", "-c", "echo rea''dy; exec sleep 7777")
    t.expect("ready")
    os.kill(t.pid, signal.SIGKILL)
    t.wait()
    until(lambda: "7777" not in sm("exec", box, "-c", "ps ax | grep 'sleep 777[7]'").text, why="the program outlived its terminal")


def test_a_terminal_without_one_of_ours(sm, box):
    r = sm.ok("exec", "-t", box, "-c", "test -t 1 && stty size")
    assert r.stdout == b"24 80\r\n"
    r = sm.ok("exec", "-it", box, "--", "sh", input=b"echo a-$((1+1)); exit 0\n")
    assert b"a-2" in r.stdout


# --- run

def test_run(sm, daemon):
    before = sm.ok("ps", "-q").text
    r = sm("run", "--", "sh", "-c", "echo hi; exit 4")
    assert (r.returncode, r.stdout, r.stderr) == (4, b"hi\n", b"")
    assert sm.ok("run", "-e", "A=b", "-c", "echo $A; cat", input=b"stdin").stdout == b"b\nstdin"
    assert sm.ok("run", "python3", "-c", "print(6 * 7)").stdout == b"42\n"
    assert sm("run", "--", "no-such-program").returncode == 127
    assert sm("run", "-T", "no-such-template", "true").returncode == 125
    assert sm.ok("ps", "-q").text == before


def test_run_keeps_what_is_to_be_kept(sm):
    r = sm.ok("run", "--keep", "-c", "echo data > f")
    box = r.error.split()[-1]
    assert sm.ok("exec", box, "--", "cat", "f").stdout == b"data\n"
    sm.ok("rm", box)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_run_deletes_after_a_signal(sm, how):
    before = sm.ok("ps", "-q").text
    p = sm.popen("run", "--", "sh", "-c", "echo ready; exec sleep 1000")
    assert p.stdout.readline() == b"ready\n"
    p.send_signal(how)
    assert p.wait(60) == 128 + how
    assert sm.ok("ps", "-q").text == before


def test_run_on_a_terminal(sm):
    t = sm.terminal("run")
    t.send("echo $((6*7))-; tty\r")
    t.expect("42-\r\n/dev/pts/")
    t.send("exit 3\r")
    assert t.wait()[0] == 3
