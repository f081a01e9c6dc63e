"""A captured agent against the gateway: whatever it answers, its own callers get an error or what it made up, in bounded memory and
descriptors, and everybody else goes on as if nothing was."""
import concurrent.futures
import json
import os
import struct
import time

import pytest
import requests

from captured import Captured, lingering
from conftest import SANITIZED, Daemon, until

pytestmark = pytest.mark.root

SECONDS = 1  # that a caller of the captured sandbox waits
ROOM_KIB = 128 * 1024
OK = "HTTP/1.1 200 OK\r\n"
CHUNKED = (OK + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").encode()
START = json.dumps({"event": {"start": {"pid": 5}}})
END = json.dumps({"event": {"end": {"exitCode": 0, "exited": True, "status": "exit status 0"}}})
OUT = json.dumps({"event": {"data": {"stdout": "aGVsbG8="}}})


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def envelope(text):
    return chunk(struct.pack(">BI", 0, len(text)) + text.encode())


def with_lingering_sockets(call):
    """As many as go, as a file that was asked for; refused where none was."""
    sender, reader = lingering()
    call.kept = reader  # until the connection ends
    if not call.say((OK + "sandmux-descriptor: 0 4\r\nContent-Length: 0\r\n\r\n").encode(), [sender.fileno()] * 200):
        call.reply(b"{}")
    sender.close()
    time.sleep(SECONDS)


def says(*pieces):
    return lambda call: [call.say(p if isinstance(p, bytes) else p.encode()) for p in pieces]


def forever(first, piece):
    return lambda call: (call.say(first if isinstance(first, bytes) else first.encode()), call.forever(piece))


def streams(*messages, then=None, end="{}"):
    def answer(call):
        call.stream(*messages)
        if then:
            call.forever(then)
        else:
            call.message(end, 2)
            call.say(b"0\r\n\r\n")
    return answer


ANSWERS = {
    "nothing": lambda call: time.sleep(2 * SECONDS),
    "hangs up": lambda call: call.connection.close(),
    "sockets that linger": with_lingering_sockets,
    "noise": forever(b"", os.urandom(5000)),
    "a head without an end": forever(OK, b"X-a: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n" * 10),
    "a head in drops": lambda call: [call.say(b"H"), *[(call.say(b"T"), time.sleep(0.1)) for _ in range(20)]],
    "interim replies only": forever(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50),
    "another protocol": forever("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", b"x" * 1000),
    "a body without an end": forever(CHUNKED, chunk(b"x" * 4096)),
    "blanks without an end": forever(CHUNKED, chunk(b" " * 4096)),
    "drops without an end": forever(CHUNKED, chunk(b"x") * 500),
    "an extension without an end": forever(CHUNKED + b"5;a=", b"x" * 1000),
    "trailers without an end": forever(CHUNKED + b"0\r\n", b"a: b\r\n" * 100),
    "an endless length": forever(OK + "Content-Length: 9223372036854775807\r\n\r\n", b"x" * 4096),
    "less than it says": lambda call: (call.say((OK + "Content-Length: 100\r\n\r\nabc").encode()), call.connection.close()),
    "two lengths": says(OK + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a range of its own": says("HTTP/1.1 206 P\r\nContent-Range: bytes 3-5/18446744073709551615\r\nContent-Length: 3\r\n\r\nhel"),
    "a long error": lambda call: call.reply(b'{"code":"not_found","message":"' + b"%s%n" * 10000 + b'"}', status="404 Not Found"),
    "an error of other types": lambda call: call.reply(b'{"code":{},"message":[],"details":[[[[]]]]}', status="400 Bad"),
    "deep JSON": lambda call: call.reply(b'{"entry":' * 2000 + b"1" + b"}" * 2000),
    "figures beyond": lambda call: call.reply(b'{"ts":9223372036854775807,"cpu_count":4294967295,"cpu_used_pct":1e308,"mem_used":-5,"disk_total":1e400}'),
    "names with zeros and without UTF-8": lambda call: call.reply(b'{"entry":{"name":"a\\u0000b","path":"/\xff"}}'),
    "files without a path": lambda call: call.reply(b'{"entry":{},"entries":[{},{"name":null}],"processes":[{},{"config":{"args":[]}}]}'),
    "many files": lambda call: call.reply(b'{"entries":[' + b'{"name":"a","path":"/a"},' * 150000 + b'{"name":"a","path":"/a"}]}'),
    "answers to nothing": says((OK + "Content-Length: 2\r\n\r\n{}") * 50),
    "a descriptor that did not come": says(OK + "sandmux-descriptor: 0 4\r\nContent-Length: 0\r\n\r\n"),
    "noise in a stream": streams(START, then=chunk(os.urandom(1024))),
    "events of nothing": streams(START, then=envelope("{}") * 200),
    "output without an end": streams(START, then=envelope(OUT) * 50),
    "empty envelopes": streams(START, then=chunk(b"\0" * 5) * 100),
    "an end and no end": streams(START, END, then=envelope(END)),
    "three starts": streams(START, START, START, END),
    "the end first": streams(END, START),
    "a negative pid": streams('{"event":{"start":{"pid":-4}}}', END),
    "an error at the end": streams(START, end='{"error":{"code":"resource_exhausted","message":"' + "x" * 50000 + '"}}'),
    "nonsense at the end": streams(START, END, end="[[["),
}


@pytest.fixture(scope="module")
def field():
    """A daemon of its own, a neighbour, and a captured sandbox."""
    with Daemon() as daemon:
        neighbour, captured = daemon.create(), Captured(daemon)
        yield daemon, neighbour, captured
        captured.close()
        neighbour.delete()


def callers(captured):
    def read_some(method, path, **more):
        """What comes in that time; a body need not have an end."""
        end = time.monotonic() + SECONDS
        with captured.daemon.request(method, captured.box.path + path, timeout=SECONDS, stream=True, **more) as reply:
            for _ in reply.iter_content(65536):
                if time.monotonic() > end:
                    break

    rows = [("POST", "/exec", {"json": {"command": "true", "timeout_s": 1}}),
            ("POST", "/exec", {"json": {"command": "cat", "stdin": "x" * 100000}}),
            ("POST", "/exec", {"json": {"command": "true"}, "headers": {"Accept": "application/x-ndjson"}}),
            ("GET", "/processes", {}), ("DELETE", "/processes/5?signal=2", {}),
            ("POST", "/sessions", {"json": {"id": f"s{time.monotonic_ns()}"}}),
            ("GET", "/files?path=/", {}), ("GET", "/files?path=/&stat=1", {}), ("PUT", "/files?path=/x", {}), ("DELETE", "/files?path=/x", {}),
            ("GET", "/files/content?path=/x", {}), ("GET", "/files/content?path=/x", {"headers": {"Range": "bytes=3-5"}}),
            ("PUT", "/files/content?path=/x", {"data": b"y" * 300000}), ("GET", "/archive?path=/workspace", {}),
            ("PUT", "/archive", {"data": b"\0" * 10240}), ("GET", "/stats", {})]
    return [(lambda m=m, p=p, more=more: read_some(m, p, **more)) for m, p, more in rows]


def suppressed(call):
    try:
        call()
    except requests.RequestException:
        pass


@pytest.mark.parametrize("what", ANSWERS)
def test_a_captured_agent_harms_nobody_else(field, what):
    daemon, neighbour, captured = field
    gateway, captured.answer = daemon.pid_of("sandmux-gateway"), ANSWERS[what]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(suppressed, call) for call in callers(captured)]
        for _ in range(3):
            got = neighbour.try_exec("echo fine", timeout_s=30)
            assert got.status_code == 200 and got.json()["stdout"] == "fine\n"
        for each in waiting:
            each.result()
    captured.answer = lambda call: call.connection.close()
    assert daemon.pid_of("sandmux-gateway") == gateway, daemon.log()[-2000:]
    assert SANITIZED or daemon.rss_kib("sandmux-gateway") < ROOM_KIB  # a sanitizer holds memory back
    assert daemon.open_descriptors("sandmux-gateway") < 500


def test_a_captured_sandbox_takes_everything_along(field):
    """It is deleted while calls hang in it, and nothing of them stays."""
    daemon, neighbour, _ = field
    captured = Captured(daemon)
    before = daemon.open_descriptors("sandmux-gateway")
    captured.answer = streams(START, then=envelope("{}") * 100)
    for call in callers(captured):
        suppressed(call)
    captured.close()
    assert neighbour.exec("echo fine")["stdout"] == "fine\n"
    until(lambda: daemon.open_descriptors("sandmux-gateway") <= before, 60)
