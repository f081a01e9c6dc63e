"""The probe table of an HTTP server over every listener and every target behind it: what a second parser could read differently is
refused, what is unusual and allowed works, and the bytes behind a refused request are never taken for a request."""
import pathlib
import re
import socket
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2b"))
from conftest import until
from dataplane import fields, signed_url
from rawhttp import daemon_with_all_listeners, dial, drain, exchange, one_reply, replies

pytestmark = pytest.mark.root
LISTENERS = ("tcp", "tls", "unix")
TARGETS = ("native", "control", "data by fields", "data by Host", "files signed", "traffic", "metrics", "healthz")

# Reads whole requests, answers each with the bytes that it got.
APP = r"""
import re, socketserver
class Handler(socketserver.StreamRequestHandler):
    def line(self):
        line = self.rfile.readline()
        if not line: raise EOFError
        return line
    def body(self, head):
        m = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
        if m: return self.rfile.read(int(m.group(1)))
        raw = b""
        if re.search(rb"(?i)\r\ntransfer-encoding: chunked\r\n", head):
            while True:
                size = self.line()
                raw += size + self.rfile.read(int(size, 16) + 2)
                if int(size, 16) == 0: break
        return raw
    def handle(self):
        try:
            while True:
                head = self.line()
                while not head.endswith(b"\r\n\r\n"): head += self.line()
                if re.search(rb"(?i)\r\nexpect: 100-continue\r\n", head): self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                raw = head + self.body(head)
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(raw) + (b"" if head[:5] == b"HEAD " else raw))
        except (EOFError, OSError): pass
class Server(socketserver.ThreadingTCPServer): allow_reuse_address = daemon_threads = True
Server(("127.0.0.1", 7000), Handler).serve_forever()
"""


class Target:
    """What is behind a request line and its fields."""

    def __init__(self, get, post, host="localhost", more=()):
        self.get, self.post = get, post
        self.host, self.more = host, "".join(f"{k}: {v}\r\n" for k, v in more)

    def fields(self, host=True):
        return (f"Host: {self.host}\r\n" if host else "") + self.more


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A daemon with all listeners, and the targets by name."""
    tls = tmp_path_factory.mktemp("probes") / "tls"
    with daemon_with_all_listeners(tls) as d:
        box = d.create()
        box.write_file("/tmp/app.py", APP.encode())
        box.write_file("/tmp/read-me", b"what was read")
        box.exec("python3 /tmp/app.py >/tmp/app.log 2>&1 &")
        token = fields(box)
        by_host = {"X-Access-Token": token["X-Access-Token"]}
        read = signed_url(box, "/tmp/read-me", user="root").replace(d.url, "")
        write = signed_url(box, "/tmp/written", "write", user="root").replace(d.url, "")
        d.targets = {
            "native": Target("/api/sandboxes", "/api/sandboxes"), "control": Target("/v2/sandboxes", "/sandboxes"),
            "data by fields": Target("/envs", "/filesystem.Filesystem/Stat", more=token.items()),
            "data by Host": Target("/envs", "/filesystem.Filesystem/Stat", f"49983-{box.id}.localhost", by_host.items()),
            "files signed": Target(read, write, more=fields(box, token=False).items()), "traffic": Target("/app", "/app", f"7000-{box.id}.localhost"),
            "metrics": Target("/metrics", "/metrics"), "healthz": Target("/healthz", "/healthz")}
        traffic = d.targets["traffic"]
        until(lambda: b" 200 " in exchange(d, "tcp", f"GET /app HTTP/1.1\r\n{traffic.fields()}Connection: close\r\n\r\n".encode()))
        d.box = box
        yield d


# name: (request, statuses). {get} {post}: request targets, {h}: Host and what else the target needs, {x}: the same without Host.
REFUSED = {
    "CL and TE": ("POST {post} HTTP/1.1\r\n{h}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    "TE and CL": ("POST {post} HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", {400}),
    "CL 0 and TE": ("GET {get} HTTP/1.1\r\n{h}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    "two CL": ("POST {post} HTTP/1.1\r\n{h}Content-Length: 0\r\nContent-Length: 40\r\n\r\n", {400}),
    "two equal CL": ("POST {post} HTTP/1.1\r\n{h}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}", {400}),
    "CL list": ("POST {post} HTTP/1.1\r\n{h}Content-Length: 2, 2\r\n\r\n{{}}", {400}),
    "CL empty": ("POST {post} HTTP/1.1\r\n{h}Content-Length:\r\n\r\n", {400}),
    "CL plus": ("POST {post} HTTP/1.1\r\n{h}Content-Length: +5\r\n\r\nabcde", {400}),
    "CL minus": ("POST {post} HTTP/1.1\r\n{h}Content-Length: -5\r\n\r\nabcde", {400}),
    "CL hex": ("POST {post} HTTP/1.1\r\n{h}Content-Length: 0x5\r\n\r\nabcde", {400}),
    "CL inner space": ("POST {post} HTTP/1.1\r\n{h}Content-Length: 1 0\r\n\r\nabcde", {400}),
    "CL quoted": ('POST {post} HTTP/1.1\r\n{h}Content-Length: "5"\r\n\r\nabcde', {400}),
    "CL overflow": ("POST {post} HTTP/1.1\r\n{h}Content-Length: 18446744073709551621\r\n\r\nabcde", {400}),
    "CL beyond int64": ("POST {post} HTTP/1.1\r\n{h}Content-Length: 9223372036854775808\r\n\r\nabcde", {400}),
    "space before colon of CL": ("POST {post} HTTP/1.1\r\n{h}Content-Length : 5\r\n\r\nabcde", {400}),
    "tab before colon of TE": ("POST {post} HTTP/1.1\r\n{h}Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", {400}),
    "two TE": ("POST {post} HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    "TE identity, chunked": ("POST {post} HTTP/1.1\r\n{h}Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", {400, 501}),
    "TE chunked, identity": ("POST {post} HTTP/1.1\r\n{h}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", {400, 501}),
    "TE chunked twice in one": ("POST {post} HTTP/1.1\r\n{h}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", {400, 501}),
    "TE xchunked": ("POST {post} HTTP/1.1\r\n{h}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", {400, 501}),
    "TE quoted": ('POST {post} HTTP/1.1\r\n{h}Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', {400, 501}),
    "TE with a parameter": ("POST {post} HTTP/1.1\r\n{h}Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", {400, 501}),
    "TE empty": ("POST {post} HTTP/1.1\r\n{h}Transfer-Encoding:\r\n\r\n0\r\n\r\n", {400, 501}),
    "TE with a vertical tab": ("POST {post} HTTP/1.1\r\n{h}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", {400}),
    "TE with a Latin-1 byte": ("POST {post} HTTP/1.1\r\n{h}Transfer-Encoding: chunked\xa0\r\n\r\n0\r\n\r\n", {400, 501}),
    "TE in HTTP/1.0": ("POST {post} HTTP/1.0\r\n{h}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    "folded TE": ("POST {post} HTTP/1.1\r\n{h}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", {400}),
    "folded field": ("GET {get} HTTP/1.1\r\n{h}X-A: b\r\n c\r\n\r\n", {400}),
    "fold in the first line": ("GET {get} HTTP/1.1\r\n X-A: b\r\n{h}\r\n", {400}),
    "bare LF ends a line": ("GET {get} HTTP/1.1\r\n{h}X-A: b\nContent-Length: 5\r\n\r\nabcde", {400}),
    "bare LF ends the head": ("GET {get} HTTP/1.1\r\n{h}X-A: b\n\nGET /healthz HTTP/1.1\r\n\r\n", {400}),
    "bare LF ends the request line": ("GET {get} HTTP/1.1\n{h}\r\n", {400}),
    "bare CR in a value": ("GET {get} HTTP/1.1\r\n{h}X-A: b\rContent-Length: 5\r\n\r\n", {400}),
    "bare CR in a name": ("GET {get} HTTP/1.1\r\n{h}X\r-A: b\r\n\r\n", {400}),
    "CR CR LF": ("GET {get} HTTP/1.1\r\n{h}X-A: b\r\r\n\r\n", {400}),
    "NUL in a value": ("GET {get} HTTP/1.1\r\n{h}X-A: a\0b\r\n\r\n", {400}),
    "NUL in a name": ("GET {get} HTTP/1.1\r\n{h}X\0A: ab\r\n\r\n", {400}),
    "NUL in the target": ("GET {get}\0 HTTP/1.1\r\n{h}\r\n", {400}),
    "DEL in a value": ("GET {get} HTTP/1.1\r\n{h}X-A: a\x7fb\r\n\r\n", {400}),
    "escape in a value": ("GET {get} HTTP/1.1\r\n{h}X-A: a\x1bb\r\n\r\n", {400}),
    "no name": ("GET {get} HTTP/1.1\r\n{h}: b\r\n\r\n", {400}),
    "no colon": ("GET {get} HTTP/1.1\r\n{h}X-A\r\n\r\n", {400}),
    "a name of Latin-1": ("GET {get} HTTP/1.1\r\n{h}X-\xe4: b\r\n\r\n", {400}),
    "no Host": ("GET {get} HTTP/1.1\r\n{x}\r\n", {400}),
    "two Hosts": ("GET {get} HTTP/1.1\r\n{h}Host: localhost\r\n\r\n", {400}),
    "two Hosts, other case": ("GET {get} HTTP/1.1\r\n{h}hOST: localhost\r\n\r\n", {400}),
    "Host of two": ("GET {get} HTTP/1.1\r\nHost: localhost, evil.test\r\n{x}\r\n", {400}),
    "Host with a path": ("GET {get} HTTP/1.1\r\nHost: localhost/x\r\n{x}\r\n", {400}),
    "Host with a user": ("GET {get} HTTP/1.1\r\nHost: a@localhost\r\n{x}\r\n", {400}),
    "Host with a bad port": ("GET {get} HTTP/1.1\r\nHost: localhost:99999\r\n{x}\r\n", {400}),
    "Host with a port of letters": ("GET {get} HTTP/1.1\r\nHost: localhost:8o\r\n{x}\r\n", {400}),
    "Host of spaces": ("GET {get} HTTP/1.1\r\nHost: local host\r\n{x}\r\n", {400}),
    "absolute target of another host": ("GET http://evil.test{get} HTTP/1.1\r\n{h}\r\n", {400}),
    "target without a slash": ("GET x{get} HTTP/1.1\r\n{h}\r\n", {400}),
    "target of another scheme": ("GET ftp://localhost{get} HTTP/1.1\r\n{h}\r\n", {400}),
    "target with a fragment": ("GET {get}#x HTTP/1.1\r\n{h}\r\n", {400}),
    "target * of GET": ("GET * HTTP/1.1\r\n{h}\r\n", {400}),
    "target with a space": ("GET {get} x HTTP/1.1\r\n{h}\r\n", {400}),
    "target with a backslash": ("GET {get}\\x\x01 HTTP/1.1\r\n{h}\r\n", {400}),
    "two spaces": ("GET  {get} HTTP/1.1\r\n{h}\r\n", {400}),
    "tabs for spaces": ("GET\t{get}\tHTTP/1.1\r\n{h}\r\n", {400}),
    "space ahead of the method": (" GET {get} HTTP/1.1\r\n{h}\r\n", {400}),
    "trailing space": ("GET {get} HTTP/1.1 \r\n{h}\r\n", {400}),
    "no version": ("GET {get}\r\n{h}\r\n", {400}),
    "lower-case version": ("GET {get} http/1.1\r\n{h}\r\n", {400}),
    "HTTP/1.2": ("GET {get} HTTP/1.2\r\n{h}\r\n", {505}),
    "HTTP/2.0": ("GET {get} HTTP/2.0\r\n{h}\r\n", {505}),
    "HTTP/0.9": ("GET {get} HTTP/0.9\r\n{h}\r\n", {505}),
    "HTTP/1.10": ("GET {get} HTTP/1.10\r\n{h}\r\n", {400, 505}),
    "HTTP/01.1": ("GET {get} HTTP/01.1\r\n{h}\r\n", {400, 505}),
    "preface of HTTP/2": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}),
    "CONNECT": ("CONNECT localhost:80 HTTP/1.1\r\n{h}\r\n", {400, 501}),
    "a method of 40 letters": ("G" * 40 + " {get} HTTP/1.1\r\n{h}\r\n", {400, 501}),
    "an unknown expectation": ("POST {post} HTTP/1.1\r\n{h}Expect: 200-ok\r\nContent-Length: 2\r\n\r\n{{}}", {417}),
    "100 KB in a field": ("GET {get} HTTP/1.1\r\n{h}X-A: " + "a" * 102400 + "\r\n\r\n", {431}),
    "200 fields": ("GET {get} HTTP/1.1\r\n{h}" + "X-A: a\r\n" * 200 + "\r\n", {431}),
    "100 KB of target": ("GET {get}?" + "a" * 102400 + " HTTP/1.1\r\n{h}\r\n", {414}),
    "many empty lines ahead": ("\r\n\r\n\r\nGET {get} HTTP/1.1\r\n{h}\r\n", {400}),
    "a TLS hello": ("\x16\x03\x01\x00\x05hello\r\n\r\n", {400}),
}
SMUGGLED = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: smuggled-1\r\n\r\n"


def request(target, text, host=True):
    return text.format(get=target.get, post=target.post, h=target.fields(), x=target.fields(host=False)).encode("latin-1")


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("target", TARGETS)
def test_what_can_be_read_in_two_ways_is_refused_and_ends_the_connection(site, listener, target):
    wrong = []
    for name, (text, statuses) in REFUSED.items():
        answer = exchange(site, listener, request(site.targets[target], text) + SMUGGLED.encode(), close=False)
        got = replies(answer)
        if [r.status for r in got] != [r.status for r in got if r.status in statuses][:1]:
            wrong.append((name, got))
        elif got[0].get("connection") != "close":
            wrong.append((name, "does not say that it closes", got))
    assert not wrong, wrong
    assert "smuggled-1" not in site.log()


# The size line of a chunk, or what is around it: none of it is a chunked body.
BAD_CHUNKS = {
    "0x5": "0x5\r\nabcde\r\n0\r\n\r\n", "+5": "+5\r\nabcde\r\n0\r\n\r\n", "-1": "-1\r\nabcde\r\n0\r\n\r\n", "space behind": "5 \r\nabcde\r\n0\r\n\r\n",
    "space ahead": " 5\r\nabcde\r\n0\r\n\r\n", "tab behind": "5\t\r\nabcde\r\n0\r\n\r\n", "empty": "\r\nabcde\r\n0\r\n\r\n", "letters": "g\r\nabcde\r\n0\r\n\r\n",
    "bare LF ends it": "5\nabcde\r\n0\r\n\r\n", "bare LF behind data": "5\r\nabcde\n0\r\n\r\n", "CR CR LF": "5\r\r\nabcde\r\n0\r\n\r\n",
    "17 digits": "00000000000000005\r\nabcde\r\n0\r\n\r\n", "2^64 + 5": "10000000000000005\r\nabcde\r\n0\r\n\r\n", "2^64 - 1": "ffffffffffffffff\r\nabcde\r\n0\r\n\r\n",
    "too little data": "6\r\nabcde\r\n0\r\n\r\n", "too much data": "4\r\nabcde\r\n0\r\n\r\n", "LF in an extension": "5;a=\nb\r\nabcde\r\n0\r\n\r\n",
    "NUL in an extension": "5;a=\0\r\nabcde\r\n0\r\n\r\n", "a long extension": "5;" + "a" * 5000 + "\r\nabcde\r\n0\r\n\r\n",
    "bad trailer": "5\r\nabcde\r\n0\r\nContent Length: 5\r\n\r\n", "folded trailer": "5\r\nabcde\r\n0\r\nX-A: b\r\n c\r\n\r\n",
    "LF ends a trailer": "5\r\nabcde\r\n0\r\nX-A: b\n\r\n", "LF ends the body": "5\r\nabcde\r\n0\r\n\n", "endless trailers": "0\r\n" + "X-A: b\r\n" * 5000 + "\r\n",
}


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("target", TARGETS)
def test_a_malformed_chunked_body_ends_the_connection(site, listener, target):
    head = request(site.targets[target], "POST {post} HTTP/1.1\r\n{h}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    wrong = []
    for name, body in BAD_CHUNKS.items():
        got = replies(exchange(site, listener, head + body.encode("latin-1") + SMUGGLED.encode(), close=False))
        if len(got) > 1 or got and got[0].status < 400:
            wrong.append((name, got))
    assert not wrong, wrong
    assert "smuggled-1" not in site.log()


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("target", TARGETS)
def test_what_is_unusual_and_allowed_works(site, listener, target):
    t = site.targets[target]
    plain = request(t, "GET {get} HTTP/1.1\r\n{h}\r\n")
    last = request(t, "GET {get} HTTP/1.1\r\n{h}Connection: close\r\n\r\n")
    accepted = {
        "ten pipelined": plain * 9 + last,
        "one empty line ahead": b"\r\n" + plain + last,
        "no space behind the colon": request(t, "GET {get} HTTP/1.1\r\n{h}X-A:b\r\nX-B:  \t b \t \r\nX-C:\r\n\r\n") + last,
        "names in any case": request(t, "GET {get} HTTP/1.1\r\n{h}cOnNeCtIoN: KEEP-alive\r\n\r\n") + last,
        "absolute target": request(t, f"GET http://{t.host}{{get}} HTTP/1.1\r\n{{h}}\r\n") + last,
        "query": request(t, "GET {get} HTTP/1.1\r\n{h}\r\n") + last,
        "GET with a body of length 0": request(t, "GET {get} HTTP/1.1\r\n{h}Content-Length: 0\r\n\r\n") + last,
        "GET with a body": request(t, "GET {get} HTTP/1.1\r\n{h}Content-Length: 5\r\n\r\nabcde") + last,
        "GET with a chunked body": request(t, "GET {get} HTTP/1.1\r\n{h}Transfer-Encoding: Chunked\r\n\r\n5;a=b\r\nabcde\r\n0\r\nX-T: a\r\n\r\n") + last,
        "ninety fields": request(t, "GET {get} HTTP/1.1\r\n{h}" + "X-A: a\r\n" * 90 + "\r\n") + last,
        "60 KB of fields": request(t, "GET {get} HTTP/1.1\r\n{h}X-A: " + "a" * 61440 + "\r\n\r\n") + last,
    }
    wrong = []
    for name, data in accepted.items():
        got = replies(exchange(site, listener, data, close=False))
        if [r.status for r in got] != [200] * (10 if name == "ten pipelined" else 2):
            wrong.append((name, got))
    assert not wrong, wrong


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("target", TARGETS)
def test_http_1_0_gets_no_chunks_and_closes_unless_it_asks(site, listener, target):
    t = site.targets[target]
    got = exchange(site, listener, request(t, "GET {get} HTTP/1.0\r\n{h}\r\n") * 2, close=False)
    reply, rest = one_reply(got)
    assert reply.status == 200 and reply.get("transfer-encoding") is None and rest == b""
    with dial(site, listener) as s:
        s.sendall(request(t, "GET {get} HTTP/1.0\r\n{h}Connection: keep-alive\r\n\r\n"))
        s.sendall(request(t, "GET {get} HTTP/1.0\r\n{h}\r\n"))
        got = drain(s)
    first, rest = one_reply(got)
    assert first.status == 200 and first.get("transfer-encoding") is None
    if first.get("connection") == "keep-alive":
        assert [r.status for r in replies(rest)] == [200]
    else:  # its length was not known
        assert rest == b"" and first.get("content-length") is None


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("target", TARGETS)
def test_head_has_no_body_and_the_next_reply_is_the_next(site, listener, target):
    t = site.targets[target]
    with dial(site, listener) as s:
        s.sendall(request(t, "HEAD {get} HTTP/1.1\r\n{h}\r\n") + request(t, "HEAD {get} HTTP/1.1\r\n{h}Connection: close\r\n\r\n"))
        got = replies(drain(s), head_only=True)
    assert len(got) == 2 and got[0].status == got[1].status


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("framing", ["Content-Length: 2", "Transfer-Encoding: chunked"])
def test_who_expects_100_gets_it_or_an_answer_and_no_third_thing(site, listener, target, framing):
    """A client that waits for 100 is not left waiting; the reply to the body follows; nothing is read as another request."""
    t = site.targets[target]
    body = b"{}" if "Length" in framing else b"2\r\n{}\r\n0\r\n\r\n"
    with dial(site, listener) as s:
        s.sendall(request(t, "POST {post} HTTP/1.1\r\n{h}Connection: close\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n" + framing + "\r\n\r\n"))
        first = b""
        while b"\r\n\r\n" not in first:
            piece = s.recv(65536)
            assert piece, first
            first += piece
        if first.startswith(b"HTTP/1.1 100 "):
            s.sendall(body)
        answer = replies(first + drain(s))
    assert [r.status for r in answer[:-1]] in ([], [100]) and answer[-1].status >= 200, answer


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("target", TARGETS)
def test_one_byte_at_a_time(site, listener, target):
    t = site.targets[target]
    data = request(t, "POST {post} HTTP/1.1\r\n{h}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n{{\"\r\n3\r\nx\":\r\n2\r\n1}}\r\n0\r\nX-T: a\r\n\r\n")
    data += request(t, "GET {get} HTTP/1.1\r\n{h}Connection: close\r\n\r\n")
    with dial(site, listener) as s:
        if listener != "unix":
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(data)):
            s.sendall(data[i:i + 1])
        got = replies(drain(s))
    assert len(got) == 2 and got[1].status == 200, got


def relayed(target):
    return target.startswith(("data", "files")) or target == "traffic"


@pytest.mark.parametrize("listener", ["tcp", "unix"])
@pytest.mark.parametrize("target", TARGETS)
def test_who_has_sent_all_and_half_closes_is_answered(site, listener, target):
    """By ourselves. What would have to wait for a sandbox may be given up: a half close and a client that left look the same."""
    got = replies(exchange(site, listener, request(site.targets[target], "GET {get} HTTP/1.1\r\n{h}\r\n") * 3))
    assert len(got) == 3 and {r.status for r in got} <= ({200, 503} if relayed(target) else {200}), got


@pytest.mark.parametrize("listener", ["tcp", "unix"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_body_cut_by_the_end_of_the_connection_is_no_request(site, listener, target):
    t = site.targets[target]
    before = len(site.get("/api/sandboxes?limit=1000").json()["items"])
    for tail in ("Content-Length: 50\r\n\r\n{{}}", "Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n", "Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n"):
        answer = exchange(site, listener, request(t, "POST {post} HTTP/1.1\r\n{h}Content-Type: application/json\r\n" + tail))
        assert not re.match(rb"HTTP/1\.1 2", answer), answer
    assert len(site.get("/api/sandboxes?limit=1000").json()["items"]) == before


@pytest.mark.parametrize("listener", ["tcp", "unix"])
def test_a_sandbox_sees_one_canonical_request(site, listener):
    """However the client framed it: fields between the two connections are gone, framing is ours, credentials are not for the sandbox."""
    t = site.targets["traffic"]
    data = request(t, "POST {post}?q=%20 HTTP/1.1\r\n{h}Connection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n"
                      "Trailer: X-T\r\nX-Kept:\t kept \r\nTransfer-Encoding: chunked\r\n\r\n00002;ext=\"a\"\r\nab\r\n3\r\ncde\r\n0\r\nX-T: trailer\r\n\r\n")
    got = replies(exchange(site, listener, data, close=False))
    assert [r.status for r in got] == [200], got
    head, _, body = got[0].body.partition(b"\r\n\r\n")
    lower = head.lower()
    assert head.startswith(b"POST /app?q=%20 HTTP/1.1\r\n") and b"\r\nX-Kept: kept" in head
    for gone in (b"x-hop", b"\r\nte:", b"keep-alive", b"proxy-connection", b"trailer", b"content-length"):
        assert gone not in lower, head
    assert lower.count(b"transfer-encoding: chunked") == 1 and lower.count(b"\r\nhost: ") == 1
    assert b"".join(re.findall(rb"[0-9a-f]+\r\n(.*?)\r\n", body, re.S)) == b"abcde" and body.endswith(b"0\r\n\r\n") and b"X-T" not in body
