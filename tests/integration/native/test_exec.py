"""exec in its three forms: one JSON object, NDJSON lines, WebSocket."""
import asyncio
import base64
import hashlib
import json
import os
import random
import time

import pytest
import websockets

from conftest import text_of, until

pytestmark = pytest.mark.root


def lines_of(daemon, box, body):
    reply = daemon.open_stream(f"{box.path}/exec", body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in reply.iter_lines()]


def joined(lines, stream):
    out = b""
    for line in lines:
        if stream in line:
            out += line[stream].encode()
        elif stream + "_b64" in line:
            out += base64.b64decode(line[stream + "_b64"])
    return out


# --- one JSON object


def test_shell_text_and_argv(module_sandbox):
    assert module_sandbox.exec("echo a | tr a b; echo err >&2; exit 3") | {"duration_ms": 0} == {
        "exit_code": 3, "signal": None, "stdout": "b\n", "stderr": "err\n", "duration_ms": 0, "truncated": False, "timed_out": False}
    got = module_sandbox.exec(["printf", "%s|", "a b", "$HOME", "*"])
    assert got["stdout"] == "a b|$HOME|*|"


def test_user_directory_and_environment(module_sandbox):
    assert module_sandbox.exec("id -un; pwd")["stdout"] == "root\n/workspace\n"
    assert module_sandbox.exec("id -un; pwd; echo $HOME", user="user", cwd="/tmp")["stdout"] == "user\n/tmp\n/home/user\n"


def test_field_report_3_environment_is_exact(daemon):
    values = {"B": "two  words", "C": "'\"$HOME\\`", "D": "two\nlines", "E": ""}
    box = daemon.create(env={"A": "1", "B": "other"})
    got = box.exec(["env", "-0"], env=values)
    pairs = dict(item.split(b"=", 1) for item in text_of(got).split(b"\0") if item)
    assert pairs[b"A"] == b"1"
    assert {k: pairs[k.encode()].decode() for k in values} == values
    assert box.exec("echo ${X-unset}", env={"X;id": "1"})["stdout"] == "unset\n"
    box.delete()


def test_exit_codes_and_signals(module_sandbox):
    assert module_sandbox.exec("kill -TERM $$") | {"duration_ms": 0} == {
        "exit_code": 143, "signal": 15, "stdout": "", "stderr": "", "duration_ms": 0, "truncated": False, "timed_out": False}
    assert module_sandbox.exec(["no-such-program"])["exit_code"] == 127
    assert "no-such-program" in module_sandbox.exec(["no-such-program"])["stderr"]
    assert module_sandbox.exec(["/etc/passwd"])["exit_code"] == 126


def test_unknown_user_and_directory_are_refused(module_sandbox):
    for more in ({"user": "nobody-such"}, {"cwd": "/no/such"}):
        reply = module_sandbox.try_exec("true", **more)
        assert reply.status_code in (404, 422), reply.text


def test_bytes_that_are_no_text(module_sandbox):
    got = module_sandbox.exec("printf '\\000\\377'; printf 'x\\303' >&2")
    assert base64.b64decode(got["stdout_b64"]) == b"\0\xff" and base64.b64decode(got["stderr_b64"]) == b"x\xc3"
    assert "stdout" not in got and "stderr" not in got


def test_field_report_2_stdin(module_sandbox):
    assert module_sandbox.exec(["wc", "-c"], stdin_b64=base64.b64encode(b"\0\1\2\xff").decode())["stdout"].strip() == "4"
    data = random.Random(1).randbytes(2_000_000)
    got = module_sandbox.exec(["sha256sum"], stdin_b64=base64.b64encode(data).decode())
    assert got["stdout"].split()[0] == hashlib.sha256(data).hexdigest()
    assert module_sandbox.exec(["true"], stdin_b64=base64.b64encode(data).decode())["exit_code"] == 0
    assert module_sandbox.exec(["cat"], stdin="")["stdout"] == ""
    assert module_sandbox.exec(["cat"])["stdout"] == ""  # none at all is EOF
    got = module_sandbox.exec(["cat"], stdin_b64=base64.b64encode(data).decode())  # both directions at once
    assert text_of(got) == data


def test_timeout_kills_the_whole_group_and_the_sandbox_goes_on(module_sandbox):
    got = module_sandbox.exec("sleep 1000 & sleep 1000", timeout_s=0.5)
    assert got["timed_out"] is True and got["exit_code"] in (137, 143)
    until(lambda: module_sandbox.exec("pgrep -c sleep")["stdout"].strip() == "0")  # the shell's end is the answer, another's may be a moment later


def test_a_background_child_does_not_hold_the_answer(module_sandbox):
    begin = time.monotonic()
    got = module_sandbox.exec("sleep 30 & echo started", timeout_s=60)
    assert got["stdout"] == "started\n" and time.monotonic() - begin < 20
    module_sandbox.exec("pkill sleep; true")


def test_output_has_a_cap_with_a_name(module_sandbox):
    got = module_sandbox.exec("head -c 200000 /dev/zero | tr '\\0' x", max_output_bytes=1000)
    assert len(got["stdout"]) == 1000 and got["truncated"] is True and got["exit_code"] == 0
    reply = module_sandbox.try_exec("true", max_output_bytes=64 * 1024 * 1024 + 1)
    assert reply.status_code == 422 and "max_output_bytes" in reply.text


def test_fifty_at_once(module_sandbox):
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda i: module_sandbox.exec(f"sleep 0.2; echo {i}")["stdout"], range(50)))
    assert answers == [f"{i}\n" for i in range(50)]


@pytest.mark.parametrize("body,part", [
    ({}, "command"), ({"command": ""}, "command"), ({"command": []}, "command"), ({"command": [""]}, "command"),
    ({"command": ["a", 1]}, "command"), ({"command": {"a": 1}}, "command"), ({"command": "x", "shell": "bash"}, "shell"),
    ({"command": "x", "timeout_s": "1"}, "timeout_s"), ({"command": "x", "env": {"A": 1}}, "env"),
    ({"command": "x", "env": ["A=1"]}, "env"), ({"command": "x", "stdin": 5}, "stdin"), ({"command": "a\0b"}, ""),
    ({"command": "x" * 200_000}, "command"), ({"command": ["x"] * 2000}, "command"),
    ({"command": "true", "cwd": "/" + "x" * 5000}, "cwd"),
])
def test_bad_requests_name_the_field(module_sandbox, body, part):
    reply = module_sandbox.daemon.post(f"{module_sandbox.path}/exec", json=body)
    assert reply.status_code == 422 and reply.json()["code"] == "invalid_request", reply.text
    assert part in reply.json()["detail"]


# --- NDJSON


def test_lines_start_output_exit(daemon, module_sandbox):
    lines = lines_of(daemon, module_sandbox, {"command": "echo out; echo err >&2; exit 4"})
    assert lines[0]["start"]["pid"] > 0
    assert joined(lines, "stdout") == b"out\n" and joined(lines, "stderr") == b"err\n"
    exit = lines[-1]["exit"]
    assert (exit["exit_code"], exit["signal"], exit["timed_out"]) == (4, None, False)


def test_lines_come_while_the_command_runs(daemon, module_sandbox):
    """The command waits for what its first line makes us do."""
    reply = daemon.open_stream(f"{module_sandbox.path}/exec", {"command": "echo first; until [ -e /tmp/seen ]; do sleep 0.05; done; echo second"})
    lines = reply.iter_lines()
    assert "start" in json.loads(next(lines)) and json.loads(next(lines)) == {"stdout": "first\n"}
    module_sandbox.exec("touch /tmp/seen")
    assert json.loads(next(lines)) == {"stdout": "second\n"} and json.loads(next(lines))["exit"]["exit_code"] == 0


def test_field_report_1_characters_are_never_broken(daemon, module_sandbox):
    lines = lines_of(daemon, module_sandbox, {"command": ["python3", "-c", "print('a'+'é€😀'*50000)"]})
    assert not any("stdout_b64" in line for line in lines)
    assert joined(lines, "stdout").decode() == "a" + "é€😀" * 50000 + "\n"
    slow = "import sys,time\nfor b in '€'.encode():\n sys.stdout.buffer.write(bytes([b])); sys.stdout.flush(); time.sleep(0.1)"
    lines = lines_of(daemon, module_sandbox, {"command": ["python3", "-c", slow]})
    assert [line["stdout"] for line in lines if "stdout" in line] == ["€"]


def test_lines_carry_any_bytes_exactly(daemon, module_sandbox):
    lines = lines_of(daemon, module_sandbox, {"command": ["python3", "-c", "import sys; sys.stdout.buffer.write(bytes(range(256))*5000)"]})
    assert joined(lines, "stdout") == bytes(range(256)) * 5000


def test_a_client_that_leaves_stops_nothing(daemon, module_sandbox):
    reply = daemon.open_stream(f"{module_sandbox.path}/exec", {"command": "echo go; sleep 1; echo done > /tmp/left"})
    next(reply.iter_lines())
    reply.close()
    until(lambda: module_sandbox.exec("cat /tmp/left")["stdout"] == "done\n")


def test_a_failure_before_the_start_is_a_problem(daemon, module_sandbox):
    reply = daemon.open_stream(f"{module_sandbox.path}/exec", {"command": "true", "user": "nobody-such"})
    assert reply.status_code >= 400 and reply.headers["Content-Type"] == "application/problem+json"


def test_a_sandbox_that_is_deleted_ends_its_streams(daemon):
    box = daemon.create()
    reply = daemon.open_stream(f"{box.path}/exec", {"command": "echo go; sleep 1000"})
    lines = reply.iter_lines()
    assert "start" in json.loads(next(lines)) and json.loads(next(lines)) == {"stdout": "go\n"}
    box.delete()
    last = list(lines)
    assert not last or set(json.loads(last[-1])) <= {"error", "exit"}


def test_a_paused_sandbox_keeps_its_stream(daemon, sandbox):
    reply = daemon.open_stream(f"{sandbox.path}/exec", {"command": "echo one; sleep 2; echo two"})
    lines = reply.iter_lines()
    next(lines), next(lines)
    daemon.post(f"{sandbox.path}/pause")
    time.sleep(1)
    daemon.post(f"{sandbox.path}/resume")
    assert json.loads(next(lines)) == {"stdout": "two\n"} and json.loads(next(lines))["exit"]["exit_code"] == 0


# --- WebSocket


def socket_url(daemon, box, query=""):
    return f"ws://127.0.0.1:{daemon.port}{box.path}/exec{query}"


async def collect(ws):
    output, controls = b"", []
    try:
        async for message in ws:
            if isinstance(message, bytes):
                output += message
            else:
                controls.append(json.loads(message))
    except websockets.ConnectionClosed:
        pass
    return output, controls


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def test_socket_with_a_terminal_resizes_and_interrupts(daemon, module_sandbox):
    """Report 4: size at the start, SIGWINCH on resize, Ctrl-C ends the sleep and not the shell."""
    async def talk():
        async with websockets.connect(socket_url(daemon, module_sandbox, "?tty=1&cols=120&rows=40&command=sh"), max_size=None) as ws:
            seen = b""

            async def expect(text, keep=False):
                nonlocal seen
                got = b"" if keep else seen
                while text not in got:
                    message = await ws.recv()
                    got += message if isinstance(message, bytes) else b""
                seen = seen + got if keep else got.split(text, 1)[1]

            await ws.send(b"stty size\n")
            await expect(b"40 120")
            await ws.send(b"trap 'stty size' WINCH; echo re''ady\n")
            await expect(b"ready")
            await ws.send(json.dumps({"resize": {"cols": 200, "rows": 50}}))
            while b"50 200" not in seen:  # the shell runs its trap with the first command behind the signal; an empty line is none
                await ws.send(b":; echo ne''xt\n")
                await expect(b"next", keep=True)
            await ws.send(b"sleep 1234\n")
            # Ctrl-C while the shell starts it would be the shell's own
            await asyncio.to_thread(until, lambda: module_sandbox.exec(["pgrep", "-fx", "sleep 1234"])["exit_code"] == 0)
            await ws.send(b"\x03")
            await ws.send(b"echo al''ive\n")
            await expect(b"alive")
            await ws.send(b"exit 5\n")
            _, controls = await collect(ws)
            return controls, ws.close_code
    controls, code = run(talk())
    assert controls[-1]["exit"]["exit_code"] == 5 and code == 1000


def test_socket_without_terminal_keeps_streams_apart(daemon, module_sandbox):
    async def talk():
        async with websockets.connect(socket_url(daemon, module_sandbox)) as ws:
            await ws.send(json.dumps({"start": {"command": ["sh", "-c", "cat; echo err >&2"], "channels": True, "env": {"A": "1"}}}))
            await ws.send(b"in\0\xff")
            await ws.send(json.dumps({"eof": True}))
            frames, controls = [], []
            async for message in ws:
                (frames if isinstance(message, bytes) else controls).append(message)
            return frames, [json.loads(c) for c in controls]
    frames, controls = run(talk())
    assert b"".join(f[1:] for f in frames if f[0] == 1) == b"in\0\xff"
    assert b"".join(f[1:] for f in frames if f[0] == 2) == b"err\n"
    assert controls[0]["start"]["pid"] > 0 and controls[-1]["exit"]["exit_code"] == 0


def test_socket_carries_20_megabytes_both_ways(daemon, module_sandbox):
    data = random.Random(2).randbytes(20_000_000)

    async def talk():
        async with websockets.connect(socket_url(daemon, module_sandbox, "?command=cat"), max_size=None) as ws:
            async def send():
                for i in range(0, len(data), 500_000):
                    await ws.send(data[i:i + 500_000])
                await ws.send(json.dumps({"eof": True}))
            sender = asyncio.create_task(send())
            output, controls = await collect(ws)
            await sender
            return output, controls
    output, controls = run(talk())
    assert hashlib.sha256(output).digest() == hashlib.sha256(data).digest()
    assert controls[-1]["exit"]["exit_code"] == 0


def test_socket_signal_and_exit(daemon, module_sandbox):
    async def talk():
        async with websockets.connect(socket_url(daemon, module_sandbox, "?command=" + "sleep%201000")) as ws:
            await ws.recv()
            await ws.send(json.dumps({"signal": "SIGKILL"}))
            return await collect(ws)
    _, controls = run(talk())
    assert controls[-1]["exit"]["exit_code"] == 137 and controls[-1]["exit"]["signal"] == 9


def test_socket_terminal_hangs_up_with_its_client(daemon, module_sandbox):
    async def talk():
        ws = await websockets.connect(socket_url(daemon, module_sandbox, "?tty=1&command=sleep%20987"))
        await ws.recv()
        ws.transport.abort()
    run(talk())
    until(lambda: module_sandbox.exec("pgrep -fc 'sleep 98[7]'")["stdout"].strip() == "0")


def test_socket_refusals(daemon, module_sandbox):
    reply = daemon.get(f"{module_sandbox.path}/exec")
    assert reply.status_code == 426 and reply.headers["Sec-WebSocket-Version"] == "13"

    async def first_frame(frame):
        async with websockets.connect(socket_url(daemon, module_sandbox)) as ws:
            await ws.send(frame)
            return (await collect(ws))[1]
    assert run(first_frame('{"start":{}}'))[-1]["error"]["code"] == "invalid_request"
    assert run(first_frame(b"bytes"))[-1]["error"]["code"] == "invalid_request"
    assert run(first_frame('{"start":{"command":"true","user":"nobody-such"}}'))[-1]["error"]["status"] >= 400

    async def of(path):
        try:
            await websockets.connect(f"ws://127.0.0.1:{daemon.port}{path}")
        except websockets.InvalidStatusCode as e:
            return e.status_code
    assert run(of("/api/sandboxes/none/exec?command=true")) == 404
    assert run(of(f"{module_sandbox.path}/exec?command=true&cols=0")) == 422
