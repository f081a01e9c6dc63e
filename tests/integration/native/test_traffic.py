"""Ports of a sandbox by Host: HTTP, streams, WebSocket, and what is said when it does not work (reports 11 to 14)."""
import asyncio
import hashlib
import http.client
import random
import time

import pytest
import requests
import websockets

from conftest import until

pytestmark = pytest.mark.root

SERVER = r"""
import hashlib, http.server, socketserver, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a): pass
    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while True:
                n = int(self.rfile.readline(), 16)
                data += self.rfile.read(n)
                self.rfile.readline()
                if n == 0: return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))
    def answer(self, status, data, **headers):
        self.send_response(status)
        if status not in (204, 304): self.send_header("Content-Length", str(len(data)))
        for k, v in headers.items(): self.send_header(k.replace("_", "-"), v)
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304): self.wfile.write(data)
    def do_GET(self):
        if self.path == "/stream":
            self.send_response(200); self.send_header("Content-Type", "text/event-stream"); self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
            try:
                for i in range(100):
                    d = b"data: %d\n\n" % i
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(d), d)); self.wfile.flush(); time.sleep(0.3)
            except OSError:
                open("/tmp/dropped", "w").write("yes")
        elif self.path == "/hangup": self.close_connection = True
        elif self.path == "/slow": time.sleep(3); self.answer(200, b"slow")
        elif self.path == "/204": self.answer(204, b"")
        elif self.path == "/304": self.answer(304, b"")
        elif self.path.startswith("/big"): self.answer(200, b"B" * 30_000_000)
        else: self.answer(200, repr((self.path, self.headers.get("Host"), self.headers.get("X-Own"))).encode(), X_App="yes")
    do_HEAD = do_GET
    def do_POST(self): self.answer(200, hashlib.sha256(self.body()).hexdigest().encode())
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer): daemon_threads = True
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

WS_SERVER = r"""
import asyncio, sys
sys.path.insert(0, "/usr/lib/python3/dist-packages")
import websockets
async def echo(ws):
    async for m in ws:
        if m == "bye": await ws.close(4001, "as asked"); return
        await ws.send(m)
async def main():
    async with websockets.serve(echo, "127.0.0.1", 9001, max_size=None): await asyncio.Future()
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def app(module_sandbox):
    """A sandbox with an HTTP server on port 3000."""
    module_sandbox.write_file("/tmp/server.py", SERVER.encode())
    module_sandbox.exec("python3 /tmp/server.py 3000 >/tmp/server.log 2>&1 &")
    until(lambda: ask(module_sandbox, "/").status_code == 200)
    return module_sandbox


def host(box, port):
    return f"{port}-{box.id}.localhost:{box.daemon.port}"


def ask(box, path, port=3000, method="GET", **more):
    headers = {"Host": host(box, port), **more.pop("headers", {})}
    return requests.request(method, box.daemon.url + path, headers=headers, timeout=60, **more)


def test_get_reaches_the_app_as_it_is(app):
    reply = ask(app, "/a/../b%2Fc?q=1&q=2", headers={"X-Own": "kept"})
    assert reply.status_code == 200 and reply.headers["X-App"] == "yes"
    assert "q=1&q=2" in reply.text and host(app, 3000) in reply.text and "kept" in reply.text


def test_by_name_and_case(daemon, app):
    daemon.patch(app.path, json={"name": "web-app"})
    for name in (f"3000-web-app.localhost:{daemon.port}", f"3000-WEB-APP.LOCALHOST:{daemon.port}"):
        assert requests.get(daemon.url, headers={"Host": name}, timeout=60).status_code == 200


def test_field_report_13_heads_lengths_and_expectations(daemon, app):
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    for method, path in (("HEAD", "/x"), ("GET", "/x"), ("GET", "/204"), ("GET", "/304"), ("GET", "/x")):
        connection.request(method, path, headers={"Host": host(app, 3000)})
        reply = connection.getresponse()
        body = reply.read()
        if path == "/x":
            assert int(reply.headers["Content-Length"]) == len(body) or method == "HEAD" and body == b"" and int(reply.headers["Content-Length"]) > 0
    data = random.Random(5).randbytes(1_000_000)
    digest = hashlib.sha256(data).hexdigest()
    assert ask(app, "/", method="POST", data=data, headers={"Expect": "100-continue"}).text == digest
    assert ask(app, "/", method="POST", data=(data[i:i + 70_000] for i in range(0, len(data), 70_000))).text == digest


def test_large_bodies(app):
    assert hashlib.sha256(ask(app, "/big").content).hexdigest() == hashlib.sha256(b"B" * 30_000_000).hexdigest()


def test_field_report_12_events_come_one_by_one_and_a_drop_is_seen(app):
    begin = time.monotonic()
    with ask(app, "/stream", stream=True, headers={"Accept-Encoding": "gzip"}) as reply:
        lines = reply.iter_lines()
        assert next(line for line in lines if line) == b"data: 0"
        assert next(line for line in lines if line) == b"data: 1"
        assert time.monotonic() - begin < 20
    until(lambda: app.exec("cat /tmp/dropped")["stdout"] == "yes")


def test_an_app_that_thinks(app):
    assert ask(app, "/slow").text == "slow"


def test_field_report_11_websockets(app):
    app.write_file("/tmp/ws.py", WS_SERVER.encode())
    if app.exec("python3 -c 'import sys; sys.path.insert(0, \"/usr/lib/python3/dist-packages\"); import websockets'")["exit_code"] != 0:
        pytest.skip("no websockets module inside the sandbox")
    app.exec("python3 /tmp/ws.py >/tmp/ws.log 2>&1 &")
    data = random.Random(6).randbytes(20_000_000)

    async def talk():
        url = f"ws://127.0.0.1:{app.daemon.port}/"
        async with websockets.connect(url, max_size=None, extra_headers={}, host="127.0.0.1", port=app.daemon.port, origin="http://elsewhere.example") as _:
            pass

    async def through():
        reader = f"ws://{host(app, 9001)}/"
        async with websockets.connect(reader, host="127.0.0.1", port=app.daemon.port, max_size=None, origin="http://elsewhere.example") as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
            await asyncio.sleep(2)
            await ws.send(data)
            assert await ws.recv() == data
            await ws.send("bye")
            with pytest.raises(websockets.ConnectionClosed):
                await ws.recv()
            return ws.close_code, ws.close_reason
    def tried():
        return asyncio.run(asyncio.wait_for(through(), 60))
    until(lambda: app.exec("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 9001))'")["exit_code"] == 0)
    assert tried() == (4001, "as asked")


@pytest.fixture(scope="module")
def stopped(daemon):
    box = daemon.create()
    daemon.post(f"{box.path}/pause")
    yield box
    box.delete()


def test_field_report_14_every_failure_has_its_own_cause(daemon, app, stopped):
    class Nobody:
        id = "i00000000000000000000"
    Nobody.daemon = daemon
    causes = {
        "closed": ask(app, "/", port=3999), "unknown": ask(Nobody, "/"), "paused": ask(stopped, "/"), "silent": ask(app, "/hangup"),
    }
    assert all(reply.status_code == 502 for reply in causes.values()), {k: v.status_code for k, v in causes.items()}
    codes = {what: reply.json()["code"] for what, reply in causes.items()}
    assert codes == {"closed": "port_closed", "unknown": "sandbox_not_found", "paused": "state_conflict", "silent": "connection_closed"}
    for reply in causes.values():
        assert reply.headers["X-Sandmux-Error"] == reply.json()["code"] and "10." not in reply.json()["detail"]
    page = ask(app, "/", port=3999, headers={"Accept": "text/html"})
    assert page.headers["Content-Type"].startswith("text/html") and "port_closed" in page.text and "<script" not in page.text


def test_traffic_extends_the_lifetime_of_a_sandbox(daemon):
    box = daemon.create()
    before = box.get()["expires_at"]
    time.sleep(1.1)
    ask(box, "/", port=1)
    assert box.get()["expires_at"] > before


def test_hosts_that_only_look_like_ports(daemon, app):
    for name, status in ((f"0-{app.id}.localhost", 400), (f"65536-{app.id}.localhost", 400), ("3000-.localhost", 400), (f"x-{app.id}.localhost", 404)):
        assert requests.get(daemon.url + "/nowhere", headers={"Host": name}, timeout=60).status_code == status
    assert requests.get(daemon.url, headers={"Host": f"3000-{app.id}.evil.example"}, timeout=60).status_code == 403
