"""A sandbox's log tells of the processes that E2B's data plane starts, though their bytes are relayed: who, since when, how it ended."""
import re
import socket
import subprocess

import pytest

from conftest import BUILD, clean_env, until
from controlplane import Control, control, refused  # noqa: F401
from dataplane import envelope, envelopes, fields, open_command, open_stream, rpc, run

pytestmark = pytest.mark.root
HEADERS = {"Content-Type": "application/connect+json", "Connect-Protocol-Version": "1"}


@pytest.fixture
def box(daemon):
    box = daemon.create()
    yield box
    box.delete()


def told(control, box):
    """What is logged of processes, without their numbers; each number once a start."""
    logs = control.get(f"/v2/sandboxes/{box.id}/logs").json()["logs"]
    return [re.sub(r"process \d+", "process", e["message"]) for e in logs if e["message"].startswith("process")]


def test_start_and_end(control, box):
    assert run(box, "echo planted-output; exit 3") == (b"planted-output\n", 3)
    until(lambda: told(control, box) == ["process started: /bin/bash", "process ended with code 3"])
    assert run(box, "head -c 3000000 /dev/zero") [1] == 0
    run(box, "kill -9 $$")
    until(lambda: len(told(control, box)) == 6)
    assert told(control, box)[3:] == ["process ended with code 0", "process started: /bin/bash", "process ended: signal: killed"]
    for path in ("/sandboxes/{}/logs", "/v2/sandboxes/{}/logs"):
        text = control.get(path.format(box.id)).text
        assert "planted-output" not in text and "head -c" not in text and "ended: signal: killed" in text
    assert box.daemon.get(f"{box.path}/logs").text.count("ended") == 3


def test_the_command_line_shows_them(control, box):
    run(box, "exit 7")
    until(lambda: len(told(control, box)) == 2)
    shown = subprocess.run([BUILD / "sandmux", "logs", box.id], capture_output=True, text=True, timeout=60,
                           env=clean_env(SANDMUX_URL=box.daemon.url))
    assert "ended with code 7" in shown.stdout, shown


def test_numbers_are_those_of_the_processes(control, box):
    stream = envelopes(open_command(box, "sleep 1000"))
    pid = next(stream)[1]["event"]["start"]["pid"]
    until(lambda: f"process {pid} started: /bin/bash" in control.get(f"/sandboxes/{box.id}/logs").text)
    rpc(box, "process.Process/SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGTERM"})
    list(stream)
    until(lambda: f"process {pid} ended: signal: terminated" in control.get(f"/sandboxes/{box.id}/logs").text)


def test_an_end_is_told_once(control, box):
    """Also when several are connected, and when only one who came later is."""
    stream = open_command(box, "sleep 1000")
    pid = next(envelopes(stream))[1]["event"]["start"]["pid"]
    others = [envelopes(open_stream(box, "process.Process/Connect", {"process": {"pid": pid}})) for _ in range(3)]
    for other in others:
        next(other)
    stream.close()
    rpc(box, "process.Process/SendSignal", {"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"})
    for other in others:
        list(other)
    until(lambda: "process ended: signal: killed" in told(control, box))
    assert told(control, box) == ["process started: /bin/bash", "process ended: signal: killed"]


def exchange(box, pieces, chunked):
    """A Start that arrives in pieces; the whole reply."""
    head = "".join(f"{k}: {v}\r\n" for k, v in {**fields(box), **HEADERS}.items())
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {sum(map(len, pieces))}"
    with socket.create_connection(("127.0.0.1", box.daemon.port), 60) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.sendall(f"POST /process.Process/Start HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}{length}\r\n\r\n".encode())
        for piece in pieces:
            s.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        s.sendall(b"0\r\n\r\n" if chunked else b"")
        return b"".join(iter(lambda: s.recv(65536), b""))


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("size", [1, 7, 300, 100000])
def test_requests_in_pieces(control, box, chunked, size):
    body = envelope({"process": {"cmd": "/bin/true", "args": ["x" * 300], "envs": {"cmd": "no"}}})
    assert b'"end"' in exchange(box, [body[i:i + size] for i in range(0, len(body), size)], chunked)
    until(lambda: told(control, box) == ["process started: /bin/true", "process ended with code 0"])


def test_requests_that_make_no_sense(control, box):
    for message in ({"process": {"cmd": "/nobody"}}, {"process": {}}, {}, {"process": {"cmd": 7}}, {"process": {"cmd": "a\nb\"c"}}):
        open_stream(box, "process.Process/Start", message).content
    for data in (b"", b"\0", b"\0\xff\xff\xff\xff", b"\1\0\0\0\2{}", b"\2\0\0\0\2{}", envelope(b"{" * 300), envelope(b"\0" * 300)):
        box.daemon.post("/process.Process/Start", data=data, headers={**fields(box), **HEADERS}, timeout=60)
    run(box, "exit 5")
    until(lambda: told(control, box)[-1:] == ["process ended with code 5"])
    lines = told(control, box)
    assert all(re.fullmatch(r"process (started: [ -~]+|ended with code \d+)", line) for line in lines), lines
    assert lines[::2] == [line for line in lines if "started" in line] and lines[-2] == "process started: /bin/bash"


def test_odd_programs_are_one_plain_line(control, box):
    program = "/home/user/é" + "x" * 150
    run(box, f"cp /bin/true '{program}'")
    open_stream(box, "process.Process/Start", {"process": {"cmd": program}}).content
    until(lambda: len(told(control, box)) == 4)
    assert re.fullmatch(r"process started: /home/user/[?]*x*", told(control, box)[2])
