"""Clients that are slow on purpose, that go away at every point, and very many of them: over each listener they cost a bounded time and
nothing is left of them."""
import concurrent.futures
import resource
import socket
import struct
import threading
import time

import pytest

from conftest import SANITIZED, until
from rawhttp import daemon_with_all_listeners, dial, drain, exchange, replies

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    tls = tmp_path_factory.mktemp("slow") / "tls"
    with daemon_with_all_listeners(tls) as d:
        d.box = d.create()
        yield d


def trickle(s, data, pause_s=0.5):
    """Bytes one by one until all are sent or the other side is gone; what it said."""
    try:
        for i in range(len(data)):
            s.sendall(data[i:i + 1])
            s.settimeout(pause_s)
            try:
                piece = s.recv(65536)
                s.settimeout(60)
                return piece + drain(s) if piece else b""
            except TimeoutError:
                pass
    except OSError:
        pass  # it is closed, what it said before is still there
    s.settimeout(60)
    return drain(s)


def silent(s):
    return drain(s)


SLOW = {"silent": silent, "a head one byte at a time": lambda s: trickle(s, b"GET /" + b"a" * 1000),
        "a field one byte at a time": lambda s: trickle(s, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 1000),
        "half a head": lambda s: (s.sendall(b"GET / HTTP/1.1\r\nHost: loc"), drain(s))[1]}


def test_a_head_has_one_deadline_however_it_comes(site):
    """All of them at once: a slow one does not make another wait, and meanwhile others are served."""
    jobs = [(listener, name) for listener in ("tcp", "tls", "unix") for name in SLOW]

    def one(job):
        with dial(site, job[0]) as s:
            return job, SLOW[job[1]](s)

    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        running = [pool.submit(one, job) for job in jobs]
        assert site.get("/healthz").status_code == 200
        for future in running:
            job, answer = future.result(60)
            assert [r.status for r in replies(answer)] == [408], (job, answer)


def test_a_handshake_has_a_deadline(site):
    port = site.unix_request("GET", "/version")[1]["tls_port"]
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"h" * 600
    for data in (b"", hello[:5], hello):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
            s.sendall(data[:3])
            if data:
                trickle(s, data[3:60])
            drain(s)


# How far a client gets before it resets the connection.
POINTS = [b"", b"G", b"GET / HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50,
          b"POST /api/sandboxes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{", b"POST /sandboxes HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"]


def test_resets_at_every_point_leave_nothing(site):
    box = site.box
    token = site.get(f"{box.path}/preview", params={"port": 1}).json()["token"]
    data = f"Host: 49983-{box.id}.localhost\r\nX-Access-Token: {token}\r\n"
    points = POINTS + [f"POST /files?path=/tmp/cut&username=root HTTP/1.1\r\n{data}Content-Type: application/octet-stream\r\nContent-Length: 500000\r\n\r\n".encode() + b"x" * 4000,
                       f"GET /files?path=/bin/bash&username=root HTTP/1.1\r\n{data}\r\n".encode(), f"GET /metrics HTTP/1.1\r\n{data}\r\n".encode() * 5,
                       f"POST {box.path}/exec HTTP/1.1\r\nHost: localhost\r\nContent-Length: 23\r\n\r\n".encode() + b'{"command": "sleep 900"}'[:23],
                       f"POST {box.path}/exec HTTP/1.1\r\nHost: localhost\r\nContent-Length: 24\r\n\r\n".encode() + b'{"command": "sleep 901"}']
    site.get("/healthz")
    before = site.open_descriptors("sandmux-gateway")
    for listener in ("tcp", "tls", "unix"):
        for pause_s in (0, 0.05):
            for point in points:
                s = dial(site, listener)
                s.sendall(point)
                time.sleep(pause_s)
                if listener != "unix":
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                s.close()
    until(lambda: site.open_descriptors("sandmux-gateway") <= before + 2, why=f"there were {before} descriptors")
    until(lambda: "900" not in box.exec("pgrep -af 'sleep 90' | grep -v pgrep | cat")["stdout"], why="a command outlived its client")
    assert site.get("/healthz").status_code == 200


def test_a_body_that_never_ends_is_bounded(site):
    """Chunks without end where a small body is taken: 413 while they come, over each listener."""
    head = b"POST /api/sandboxes HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for listener in ("tcp", "tls", "unix"):
        with dial(site, listener) as s:
            s.sendall(head)
            answer = b""

            def listen(s=s):
                nonlocal answer
                answer = drain(s)
            reader = threading.Thread(target=listen)
            reader.start()
            try:
                for _ in range(64):
                    s.sendall(b"10000\r\n" + b"{" * 65536 + b"\r\n")
            except OSError:
                pass
            reader.join(60)
            assert replies(answer)[0].status in (413, 422), answer


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's stacks are of another size")
def test_ten_thousand_idle_connections(make_daemon):
    """The daemon answers newcomers all the while; when they are gone their memory and descriptors are too."""
    wanted = 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted + 1000:
        pytest.skip("fewer descriptors than that may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    d = make_daemon()
    try:
        box = d.create()
        box.exec("true")
        descriptors, before_kib = d.open_descriptors("sandmux-gateway"), d.rss_kib("sandmux-gateway")
        held = []
        for i in range(wanted):
            s = socket.socket(socket.AF_INET)
            s.bind((f"127.0.0.{2 + i // 4000}", 0))  # one address may hold a part of them only
            s.connect(("127.0.0.1", d.port))
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")  # who says nothing has ten seconds
            held.append(s)
        for s in held:
            assert s.recv(1000).startswith(b"HTTP/1.1 200 ")
        until(lambda: d.open_descriptors("sandmux-gateway") >= wanted)
        each = (d.rss_kib("sandmux-gateway") - before_kib) * 1024 / wanted
        assert box.exec("echo on")["stdout"] == "on\n"
        held[5000].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b" 200 " in drain(held[5000]).split(b"\r\n")[0]
        for s in held:
            s.close()
        until(lambda: d.open_descriptors("sandmux-gateway") <= descriptors + 8, why="connections are held")
        assert each < 16 * 1024, f"{each:.0f} bytes for an idle connection"
        box.delete()
        d.stop()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
