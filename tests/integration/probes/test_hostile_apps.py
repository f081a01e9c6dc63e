"""What runs in a sandbox lies about its replies: the client gets one answer that cannot be read in two ways, and the next request on its
connection is not answered by what the sandbox smuggled."""
import pytest

from conftest import until
from rawhttp import dial, drain, exchange, one_reply

pytestmark = pytest.mark.root

# Sends what the query says, as hexadecimal digits; then closes, or stays.
APP = r"""
import socketserver, time
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            line = self.rfile.readline()
            if not line: return
            while self.rfile.readline() not in (b"\r\n", b""): pass
            path = line.split()[1].decode()
            for piece in path.partition("?")[2].split("&")[0].split("."):
                self.wfile.write(bytes.fromhex(piece)); self.wfile.flush(); time.sleep(0.01)
            if path.startswith("/close"): return
class Server(socketserver.ThreadingTCPServer): allow_reuse_address = daemon_threads = True
Server(("127.0.0.1", 7100), Handler).serve_forever()
"""
SMUGGLED = b"HTTP/1.1 200 OK\r\nX-Smuggled: yes\r\nContent-Length: 8\r\n\r\nsmuggled"


@pytest.fixture(scope="module")
def app(daemon, module_sandbox):
    module_sandbox.write_file("/tmp/liar.py", APP.encode())
    module_sandbox.exec("python3 /tmp/liar.py >/tmp/liar.log 2>&1 &")
    until(lambda: [r.status for r in ask(module_sandbox, [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])[:1]] == [200])
    return module_sandbox


def ask(box, pieces, method="GET", fields="", path="close", listener="tcp"):
    """The replies to a request of the app and to one of our own behind it on the same connection; the last may be missing."""
    query = ".".join(p.hex() for p in pieces)
    data = (f"{method} /{path}?{query} HTTP/1.1\r\nHost: 7100-{box.id}.localhost\r\n{fields}\r\n"
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").encode()
    answer = exchange(box.daemon, listener, data, close=False)
    found = []
    while answer:
        reply, answer = one_reply(answer, head_only=method == "HEAD" and all(r.status < 200 for r in found))
        found.append(reply)
    return found


def head(*lines, status="200 OK"):
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1")


BAD_HEADS = {
    "CL and TE": head("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "two CL": head("Content-Length: 5", "Content-Length: 6") + b"abcdef",
    "CL list": head("Content-Length: 5, 5") + b"abcde",
    "CL plus": head("Content-Length: +5") + b"abcde",
    "CL hex": head("Content-Length: 0x5") + b"abcde",
    "CL with a space before the colon": head("Content-Length : 5") + b"abcde",
    "CL of 2^64": head("Content-Length: 18446744073709551616"),
    "two TE": head("Transfer-Encoding: chunked", "Transfer-Encoding: identity") + b"0\r\n\r\n",
    "TE gzip": head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "folded": head("X-A: b", " Content-Length: 5") + b"abcde",
    "two CL, the second behind a bare LF": head("X-A: b\nContent-Length: 6", "Content-Length: 5") + b"abcdef",
    "bare CR in a field": head("X-A: b\rX-B: c", "Content-Length: 5") + b"abcde",
    "NUL in a field": head("X-A: b\0c", "Content-Length: 5") + b"abcde",
    "no colon": head("X-A") + b"abcde", "empty name": head(": a") + b"abcde",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n", "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n", "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status 099": b"HTTP/1.1 099 X\r\n\r\n", "status of letters": b"HTTP/1.1 2OO OK\r\n\r\n", "a bell in the reason": b"HTTP/1.1 200 \a\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-", "nothing": b"", "101 unasked": head("Upgrade: websocket", "Connection: Upgrade", status="101 Switching Protocols"),
    "100 KB of head": head("X-A: " + "a" * 3000)[:-4] + b"\r\nX-B: ".ljust(3000, b"b"),
    "200 fields": head(*["X-A: b"] * 200) + b"abcde",
    "a hundred 1xx": head(status="102 Processing") * 100 + head("Content-Length: 5") + b"abcde",
    "smuggled behind 101": head(status="101 X") + SMUGGLED,
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_reply_that_is_no_reply_is_502_and_the_next_request_is_answered_by_us(app, name):
    found = [r for r in ask(app, [BAD_HEADS[name]]) if r.status != 102]
    assert [r.status for r in found] == [502, 200] and all(not r.get("x-smuggled") for r in found), found
    assert found[0].get("x-sandmux-error") and b"smuggled" not in found[1].body


CUT = {
    "body shorter than its length": head("Content-Length: 50") + b"abcde",
    "chunk cut": head("Transfer-Encoding: chunked") + b"50\r\nabcde",
    "no last chunk": head("Transfer-Encoding: chunked") + b"5\r\nabcde\r\n",
    "0x chunk": head("Transfer-Encoding: chunked") + b"5\r\nabcde\r\n0x5\r\nabcde\r\n0\r\n\r\n",
    "LF chunk": head("Transfer-Encoding: chunked") + b"5\r\nabcde\r\n5\nabcde\n0\n\n",
    "negative chunk": head("Transfer-Encoding: chunked") + b"5\r\nabcde\r\n-5\r\nabcde\r\n0\r\n\r\n",
    "huge chunk": head("Transfer-Encoding: chunked") + b"5\r\nabcde\r\nfffffffffffffffff\r\nabcde",
}


@pytest.mark.parametrize("name", CUT)
def test_a_body_that_breaks_off_is_seen_to_break_off(app, name):
    """Neither a whole body nor the next reply may come of it."""
    query = CUT[name].hex()
    answer = exchange(app.daemon, "tcp", f"GET /close?{query} HTTP/1.1\r\nHost: 7100-{app.id}.localhost\r\n\r\n"
                      "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(), close=False)
    with pytest.raises(AssertionError):
        one_reply(answer)
    assert answer.count(b"HTTP/1.1 ") <= 1, answer


SURPLUS = {
    "behind a length": head("Content-Length: 5") + b"abcde" + SMUGGLED, "behind chunks": head("Transfer-Encoding: chunked") + b"5\r\nabcde\r\n0\r\n\r\n" + SMUGGLED,
    "behind 204": head(status="204 No Content") + SMUGGLED, "behind 304": head("Content-Length: 5", status="304 Not Modified") + b"abcde" + SMUGGLED,
    "a body of 204": head("Content-Length: 5", status="204 No Content") + b"abcde" + SMUGGLED,
    "chunks of 304": head("Transfer-Encoding: chunked", status="304 Not Modified") + b"0\r\n\r\n" + SMUGGLED,
    "behind 103": head("Link: </a>", status="103 Early Hints") + head("Content-Length: 5") + b"abcde" + SMUGGLED,
    "a body of 103": head("Content-Length: 9", status="103 Early Hints") + head("Content-Length: 5") + b"abcde" + SMUGGLED,
}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", ["close", "stay"])
@pytest.mark.parametrize("name", SURPLUS)
def test_what_stands_behind_a_reply_reaches_nobody(app, name, path, method):
    for fields in ("", "Connection: keep-alive\r\n"):
        found = [r for r in ask(app, [SURPLUS[name]], method, "Content-Length: 0\r\n" + fields, path) if r.status != 103]
        assert len(found) == 2 and found[0].status in (200, 204, 304) and found[1].status == 200, found
        assert all(not r.get("x-smuggled") and b"smuggled" not in r.body for r in found), found


def test_fields_between_the_app_and_us_stay_there(app):
    raw = head("Content-Length: 5", "Connection: close, X-Hop, Set-Cookie", "X-Hop: a", "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic",
               "Trailer: X-T", "X-Kept: b", "Set-Cookie: a=b", "sandmux-descriptor: 0 5") + b"abcde"
    reply = ask(app, [raw])[0]
    assert reply.body == b"abcde" and reply.get("x-kept") == "b" and reply.get("set-cookie") == "a=b"
    for name in ("x-hop", "keep-alive", "proxy-authenticate", "trailer", "sandmux-descriptor"):
        assert reply.get(name) is None, reply


def test_lines_that_end_with_lf_alone_are_lines(app):
    """As a server made of echo and nc sends them. They are written anew: no LF alone reaches a client."""
    for raw in (b"HTTP/1.1 200 OK\nX-Kept: b\nContent-Length: 5\n\nabcde", head("X-A: b\nX-Kept: b", "Content-Length: 5") + b"abcde"):
        reply, behind = ask(app, [raw + SMUGGLED])
        assert (reply.status, reply.get("x-kept"), reply.body, behind.status) == (200, "b", b"abcde", 200) and not behind.get("x-smuggled")


def test_a_body_until_close_is_framed(app):
    reply, behind = ask(app, [head("X-A: b") + b"abc", b"de"])
    assert reply.get("transfer-encoding") == "chunked" and reply.body == b"abcde" and behind.status == 200


def test_a_tunnel_is_opened_by_101_only(app):
    """An upgrade that the app declines leaves the connection HTTP: what the client sent behind it is a request and not the app's."""
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    reply, behind = ask(app, [head("Content-Length: 5") + b"abcde"], fields=upgrade)
    assert reply.status == 200 and reply.body == b"abcde" and behind.status == 200 and behind.body != b""
    reply, behind = ask(app, [head("Content-Length: 2", status="426 Upgrade Required") + b"no"], fields=upgrade)
    assert (reply.status, behind.status) == (426, 200)


def test_an_upgrade_with_a_body_is_a_plain_request(app):
    raw = head("Connection: Upgrade", "Upgrade: x", status="101 Switching Protocols") + SMUGGLED
    found = ask(app, [raw], "POST", "Connection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    assert found[0].status in (101, 502)
    if found[0].status == 502:
        assert all(not r.get("x-smuggled") for r in found)


def test_bytes_before_the_request_are_not_the_next_ones_reply(app):
    """Each connection of a client to a port has its own one behind it: nothing that an app sends early or late meets another client."""
    box = app
    late = head("Content-Length: 5") + b"abcde"
    with dial(box.daemon, "tcp") as s:
        s.sendall(f"GET /stay?{late.hex()}.{SMUGGLED.hex()} HTTP/1.1\r\nHost: 7100-{box.id}.localhost\r\n\r\n".encode())
        until(lambda: s.recv(65536))
        s.sendall(f"GET /close?{late.hex()} HTTP/1.1\r\nHost: 7100-{box.id}.localhost\r\nConnection: close\r\n\r\n".encode())
        assert b"smuggled" not in drain(s)
