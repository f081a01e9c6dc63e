"""Bytes through the data plane: sizes, slow and vanishing clients, broken messages, streams (reports 1, 11, 12 and 13)."""
import asyncio
import base64
import hashlib
import random
import socket
import struct
import threading
import time

import pytest
import requests
import websockets

from conftest import SANITIZED, until
from dataplane import ask, envelope, envelopes, fields, host_of, open_command, open_stream, rpc, run, signed_url, start_message, token_of

pytestmark = pytest.mark.root
BIG = (20 if SANITIZED else 100) << 20
STREAM = {"Content-Type": "application/connect+json", "Connect-Protocol-Version": "1"}


def alive(box):
    return run(box, "echo alive") == (b"alive\n", 0)


def raw_request(box, method, path, headers=None, by_host=False, **sent):
    """Head of a request as bytes."""
    lines = {"Host": host_of(box) if by_host else "localhost", **fields(box, **sent), **(headers or {})}
    return (f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode()


def connect(box):
    return socket.create_connection(("127.0.0.1", box.daemon.port), timeout=60)


def read_until(s, needle):
    data = b""
    while needle not in data:
        got = s.recv(65536)
        assert got, data
        data += got
    return data


# --- sizes

def test_100_mib_both_ways(module_sandbox):
    box, data = module_sandbox, random.Random(7).randbytes(1 << 20) * (BIG >> 20)
    digest = hashlib.sha256(data).hexdigest()
    octets = {"Content-Type": "application/octet-stream"}
    for path, more in (("/tmp/length", {"data": data, "headers": octets}),
                       ("/tmp/chunked", {"data": (data[i:i + 700_000] for i in range(0, len(data), 700_000)), "headers": octets}),
                       ("/tmp/form", {"files": {"file": ("x", data)}})):
        reply = ask(box, "POST", "/files", params={"path": path}, timeout=180, **more)
        assert reply.status_code == 200 and reply.json()[0]["path"] == path, reply.text
        got = hashlib.sha256()
        with ask(box, "GET", "/files", params={"path": path}, stream=True, timeout=180) as reply:
            assert int(reply.headers["Content-Length"]) == len(data)
            for piece in reply.iter_content(1 << 20):
                got.update(piece)
        assert got.hexdigest() == digest, path
        assert box.exec(f"sha256sum <{path}; rm {path}", timeout_s=120)["stdout"].split()[0] == digest


def test_empty_files_have_a_length(module_sandbox):
    assert ask(module_sandbox, "POST", "/files", params={"path": "/tmp/empty"}, data=b"", headers={"Content-Type": "application/octet-stream"}).status_code == 200
    reply = ask(module_sandbox, "GET", "/files", params={"path": "/tmp/empty"})
    assert reply.status_code == 200 and reply.headers["Content-Length"] == "0" and reply.content == b""


def test_field_report_13_one_connection_many_requests(module_sandbox):
    """Keep-alive through replies with and without bodies, errors and 100-continue."""
    session = requests.Session()
    box, sent = module_sandbox, fields(module_sandbox)
    for _ in range(3):
        assert session.get(box.daemon.url + "/health", headers=sent).status_code == 204
        assert session.get(box.daemon.url + "/files", params={"path": "/no"}, headers=sent).status_code == 404
        reply = session.post(box.daemon.url + "/files", params={"path": "/tmp/c"}, data=b"x" * 1_000_000,
                             headers={**sent, "Expect": "100-continue", "Content-Type": "application/octet-stream"})
        assert reply.status_code == 200
        assert session.post(box.daemon.url + "/files", params={"path": "/tmp/c"}, data=b"x" * 100_000, headers={**sent, "X-Access-Token": "no"}).status_code == 401
        assert session.head(box.daemon.url + "/files", params={"path": "/tmp/c"}, headers=sent).content == b""
        assert session.options(box.daemon.url + "/health", headers={**sent, "Origin": "http://x", "Access-Control-Request-Method": "GET"}).status_code == 204


def test_field_report_13_continue_is_asked_of_the_sandbox(module_sandbox):
    box = module_sandbox
    with connect(box) as s:
        s.sendall(raw_request(box, "POST", "/files?path=/tmp/e", {"Content-Length": "5", "Expect": "100-continue", "Content-Type": "application/octet-stream"}))
        assert read_until(s, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        s.sendall(b"12345")
        assert read_until(s, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    with connect(box) as s:  # and not at all when the caller is refused
        s.sendall(raw_request(box, "POST", "/files?path=/tmp/e", {"Content-Length": "5", "Expect": "100-continue", "X-Access-Token": "no"}))
        assert read_until(s, b"\r\n\r\n").startswith(b"HTTP/1.1 401 ")


# --- streams

def test_field_report_12_events_come_one_by_one(module_sandbox):
    """Each is waited for until the one before has been seen."""
    box, seen = module_sandbox, []
    command = "for i in 1 2 3; do echo $i; until [ -e /tmp/seen-$i ]; do sleep 0.05; done; done"
    with open_command(box, command, headers={"Accept-Encoding": "gzip"}) as reply:
        assert reply.headers["Content-Type"] == "application/connect+json"
        for _, message in envelopes(reply):
            if "data" in message.get("event", {}):
                seen.append(base64.b64decode(message["event"]["data"]["stdout"]))
                box.exec(f"touch /tmp/seen-{len(seen)}")
    assert seen == [b"1\n", b"2\n", b"3\n"]


def test_field_report_1_a_character_cut_at_any_edge(module_sandbox):
    text = ("a" + "é€😀" * 50_000 + "\n").encode()
    assert run(module_sandbox, "python3 -c \"print('a'+'é€😀'*50000)\"") == (text, 0)
    out, _ = run(module_sandbox, r"for b in '\xe2' '\x82' '\xac'; do printf $b; sleep 0.2; done")
    assert out == "€".encode()


def test_a_client_that_leaves_is_told_to_the_sandbox_and_the_process_lives(module_sandbox):
    box = module_sandbox
    stream = open_command(box, "echo $$ >/tmp/pid; sleep 300")
    next(envelopes(stream))
    until(lambda: box.exec("cat /tmp/pid")["stdout"].strip())
    before = box.daemon.open_descriptors("sandmux-gateway")
    stream.close()
    until(lambda: box.daemon.open_descriptors("sandmux-gateway") < before)
    assert box.exec("kill -0 $(cat /tmp/pid) && kill $(cat /tmp/pid)")["exit_code"] == 0


def test_a_client_that_stops_reading_stops_only_itself(module_sandbox):
    box = module_sandbox
    message = envelope(start_message("yes | head -c 300000000; echo done >/tmp/yes-done"))
    with connect(box) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(raw_request(box, "POST", "/process.Process/Start", {**STREAM, "Content-Length": str(len(message))}) + message)
        read_until(s, b'"start"')
        time.sleep(0.5)
        memory = box.daemon.rss_kib("sandmux-gateway")
        for _ in range(20):
            assert alive(box)
        assert box.daemon.rss_kib("sandmux-gateway") - memory < (200_000 if SANITIZED else 16_000)
        assert box.exec("ls /tmp/yes-done")["exit_code"] != 0  # the pipe is full, the process waits
    until(lambda: box.exec("ls /tmp/yes-done")["exit_code"] == 0)  # who left does not hold it up


def test_a_download_that_is_not_read_stops_only_itself(module_sandbox):
    box = module_sandbox
    box.exec("truncate -s 200M /tmp/holes")
    with connect(box) as s:
        s.sendall(raw_request(box, "GET", "/files?path=/tmp/holes"))
        read_until(s, b"\r\n\r\n")
        for _ in range(20):
            assert alive(box)


def test_sides_that_close_early(module_sandbox):
    """Clients that leave in the middle of everything cost nothing that stays."""
    box = module_sandbox
    assert alive(box)
    before = box.daemon.open_descriptors("sandmux-gateway")
    message = envelope(start_message("sleep 0.2; yes | head -c 1000000"))
    for cut_at in (1, 30, 200, 400):
        for head, body in ((raw_request(box, "POST", "/process.Process/Start", {**STREAM, "Content-Length": str(len(message))}), message),
                           (raw_request(box, "POST", "/files?path=/tmp/half", {"Content-Length": "1000000", "Content-Type": "application/octet-stream"}), b"x" * 500)):
            with connect(box) as s:
                s.sendall((head + body)[:len(head) - 20 + cut_at])
    until(lambda: box.daemon.open_descriptors("sandmux-gateway") <= before + 2)
    assert alive(box)


# --- broken messages: the agent answers, nothing hangs

@pytest.mark.parametrize("body, code", [
    (b"", "invalid_argument"), (b"\0\0\0", "invalid_argument"), (b"\0\0\0\0\x10{}", "invalid_argument"), (envelope(b"{"), "invalid_argument"),
    (envelope(b"[]"), "invalid_argument"), (b"\0\xff\xff\xff\xff" + b"x" * 100, "resource_exhausted"), (struct.pack(">BI", 1, 2) + b"{}", "internal"),
    (envelope(b'{"process":{"cmd":"\xff\xfe"}}'), "invalid_argument"),
])
def test_envelopes_that_are_none(module_sandbox, body, code):
    reply = ask(module_sandbox, "POST", "/process.Process/Start", data=body, headers=STREAM)
    assert reply.status_code == 200 and reply.headers["Content-Type"] == "application/connect+json"
    flags, message = list(envelopes(reply))[-1]
    assert flags == 2 and message["error"]["code"] in (code, "invalid_argument", "unimplemented"), message
    assert alive(module_sandbox)


def test_unary_bodies_that_are_none(module_sandbox):
    for body in (b"", b"{", b"[]", b"\xff", b"x" * 5_000_000):
        reply = ask(module_sandbox, "POST", "/filesystem.Filesystem/Stat", data=body, headers={"Content-Type": "application/json"})
        assert 400 <= reply.status_code < 500 and "code" in reply.json(), (body[:10], reply.status_code)
    assert ask(module_sandbox, "POST", "/filesystem.Filesystem/Stat", data=b"{}", headers={"Content-Type": "text/html"}).status_code == 415
    assert ask(module_sandbox, "GET", "/filesystem.Filesystem/Stat").status_code == 405
    assert alive(module_sandbox)


def test_a_chunked_body_that_breaks_the_framing_is_refused(module_sandbox):
    box = module_sandbox
    for body in (b"zz\r\n", b"5\r\nabc", b"5\r\nabcdefg\r\n0\r\n\r\n"):
        with connect(box) as s:
            s.sendall(raw_request(box, "POST", "/files?path=/tmp/x", {"Transfer-Encoding": "chunked", "Content-Type": "application/octet-stream"}) + body)
            if body.endswith(b"abc"):  # it is not complete: only its end says that no more comes
                s.shutdown(socket.SHUT_WR)
            answer = b""
            while True:
                got = s.recv(65536)
                if not got:
                    break
                answer += got
        assert answer.startswith(b"HTTP/1.1 503 " if body.endswith(b"abc") else b"HTTP/1.1 400 "), answer[:100]
    assert alive(box)


def form(*parts, boundary="b", end=True):
    out = b"".join(f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts)
    return out + (f"--{boundary}--\r\n".encode() if end else b"")


def post_form(box, body, **more):
    return ask(box, "POST", "/files", data=body, headers={"Content-Type": "multipart/form-data; boundary=b"}, **more)


def test_forms_with_many_truncated_and_interleaved_parts(module_sandbox):
    box = module_sandbox
    parts = [(f'name="file"; filename="/tmp/many/{i}"', str(i).encode()) for i in range(200)]
    mixed = [p for i, part in enumerate(parts) for p in (part, (f'name="other"; filename="/tmp/other/{i}"', b"ignored"))]
    reply = post_form(box, form(*mixed))
    assert reply.status_code == 200 and len(reply.json()) == 200
    assert box.exec("ls /tmp/many | wc -l; ls /tmp/other 2>&1 | wc -l; cat /tmp/many/199")["stdout"].split()[0] == "200"
    whole = form(('name="file"; filename="/tmp/cut"', b"x" * 1000))
    for n in (0, 1, 30, 90, 600, len(whole) - 3):
        assert post_form(box, whole[:n]).status_code >= 400, n
    assert post_form(box, form(('name="file"; filename="/tmp/twice"', b"1"), ('name="file"; filename="/tmp/twice"', b"2"))).status_code == 400
    assert alive(box)


def test_a_form_of_many_files(module_sandbox):
    box = module_sandbox
    reply = post_form(box, form(*((f'name="file"; filename="/tmp/thousands/{i}"', str(i).encode()) for i in range(1500))))
    assert reply.status_code == 200 and [e["path"] for e in reply.json()] == [f"/tmp/thousands/{i}" for i in range(1500)]
    assert box.exec("cd /tmp/thousands && ls | wc -l && cat 1499")["stdout"] == "1500\n1499"


def test_content_that_looks_like_a_boundary_is_content(module_sandbox):
    data = b"\r\n--bx\r\n--b-\r\n--b!" * 3
    reply = post_form(module_sandbox, form(('name="file"; filename="/tmp/alike"', data)))
    assert reply.status_code == 200, reply.text
    assert ask(module_sandbox, "GET", "/files", params={"path": "/tmp/alike"}).content == data


def test_a_form_without_end_stops_with_its_client(module_sandbox):
    box = module_sandbox
    with connect(box) as s:
        s.sendall(raw_request(box, "POST", "/files", {"Transfer-Encoding": "chunked", "Content-Type": "multipart/form-data; boundary=b"}))
        part = form(('name="file"; filename="/tmp/endless"', b""), end=False)[:-2]
        s.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        for _ in range(50):
            s.sendall(b"10000\r\n" + b"e" * 0x10000 + b"\r\n")
        assert alive(box)
    assert alive(box)
    until(lambda: box.exec("pgrep -c cat; ls /tmp/.sandmux* 2>/dev/null | wc -l")["stdout"].split()[-1] == "0")


# --- ports

PORT_SERVER = r"""
import asyncio, hashlib, sys
sys.path.insert(0, "/usr/lib/python3/dist-packages")
import websockets
async def echo(ws):
    async for m in ws:
        if m == "bye": await ws.close(4001, "as asked"); return
        await ws.send(m)
async def main():
    async with websockets.serve(echo, "127.0.0.1", 9002, max_size=None): await asyncio.Future()
asyncio.run(main())
"""


def test_field_report_11_websockets_by_fields_and_by_host(module_sandbox):
    box = module_sandbox
    if box.exec("python3 -c 'import sys; sys.path.insert(0, \"/usr/lib/python3/dist-packages\"); import websockets'")["exit_code"] != 0:
        pytest.skip("no websockets module inside the sandbox")
    box.write_file("/tmp/ws.py", PORT_SERVER.encode())
    box.exec("python3 /tmp/ws.py >/tmp/ws.log 2>&1 &")
    until(lambda: box.exec("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 9002))'")["exit_code"] == 0)
    data = random.Random(8).randbytes(5_000_000)

    async def talk(url, headers):
        async with websockets.connect(url, host="127.0.0.1", port=box.daemon.port, max_size=None, extra_headers=headers) as ws:
            for message in ("hello", data):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send("bye")
            with pytest.raises(websockets.ConnectionClosed):
                await ws.recv()
            return ws.close_code, ws.close_reason
    for url, headers in ((f"ws://127.0.0.1:{box.daemon.port}/", fields(box, 9002)), (f"ws://{host_of(box, 9002)}/", {})):
        assert asyncio.run(asyncio.wait_for(talk(url, headers), 60)) == (4001, "as asked")


# --- many at once

def test_many_streams_at_once(module_sandbox):
    box, results = module_sandbox, []
    token = token_of(box)

    def one(i):
        results.append(run(box, f"sleep 0.3; echo {i}", token=token) == (f"{i}\n".encode(), 0))
    threads = [threading.Thread(target=one, args=(i,)) for i in range(60)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert results == [True] * 60


def test_watching_and_signing_work_through_the_door(module_sandbox):
    box = module_sandbox
    box.exec("mkdir -p /home/user/w")
    stream = envelopes(open_stream(box, "filesystem.Filesystem/WatchDir", {"path": "w"}))
    assert "start" in next(stream)[1]
    requests.post(signed_url(box, "w/new", "write"), files={"file": ("new", b"x")}, timeout=60)
    names = {next(stream)[1]["filesystem"]["name"]}
    assert names == {"new"}
    reply = rpc(box, "filesystem.Filesystem/ListDir", {"path": "w"})
    assert [e["name"] for e in reply.json()["entries"]] == ["new"]
    assert base64.b64encode(ask(box, "GET", "/files", params={"path": "w/new"}).content) == b"eA=="
    assert rpc(box, "process.Process/List", {}).status_code == 200


def test_watches_and_websockets_do_not_hold_up_an_orderly_end(fresh_daemon):
    box = fresh_daemon.create()
    stream = envelopes(open_stream(box, "filesystem.Filesystem/WatchDir", {"path": "/tmp"}))
    assert "start" in next(stream)[1]
    fresh_daemon.stop()
    assert "did not finish in time" not in fresh_daemon.log()  # what a command that goes on leads to
    fresh_daemon.start()
