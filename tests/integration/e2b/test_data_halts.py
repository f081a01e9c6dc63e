"""A pause or a stop under open streams, uploads and requests: clients are disconnected at once, as E2B's are, and told why."""
import base64
import json
import socket
import threading

import pytest
import requests

from conftest import PATIENCE_S, until
from dataplane import ask, envelope, envelopes, fields, open_command, open_stream, rpc, run, start_message, token_of

pytestmark = pytest.mark.root
GONE = "The sandbox was not found"
# Says nothing to /silent, the start of a reply to /half, switches protocols for /switch.
SERVER = r"""
import socket, threading
def one(c):
    head = c.recv(9999)
    if b"/half" in head: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    if b"/switch" in head: c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello")
    while c.recv(9999): pass
s = socket.create_server(("127.0.0.1", 9100))
while True: threading.Thread(target=one, args=(s.accept()[0],)).start()
"""


def head(box, method, path, token, port=49983, **more):
    lines = {"Host": "localhost", **fields(box, port, token), **more}
    return (f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode()


class Client:
    """A connection with a request on it; what came of it by the time the server closed or answered."""

    def __init__(self, box, data, until_text):
        self.socket = socket.create_connection(("127.0.0.1", box.daemon.port), timeout=PATIENCE_S)
        self.socket.sendall(data)
        self.got = b""
        while until_text not in self.got:
            self.got += self.socket.recv(65536)

    def rest(self):
        got = b""
        try:
            while piece := self.socket.recv(65536):
                got += piece
        except ConnectionResetError:
            pass
        self.socket.close()
        return got


def clients(box, token):
    """One of each kind: name -> client, all of them waiting."""
    box.write_file("/tmp/halts.py", SERVER.encode())
    box.exec("python3 /tmp/halts.py >/tmp/halts.log 2>&1 &")
    until(lambda: ask(box, "GET", "/half", port=9100, token=token, stream=True).status_code == 200)
    message = envelope(start_message("sleep 1000"))
    start = head(box, "POST", "/process.Process/Start", token, Content_Type="application/connect+json", Content_Length=len(message))
    upload = head(box, "POST", "/files?path=/tmp/halted", token, Content_Type="application/octet-stream", Transfer_Encoding="chunked", Connection="close")
    plain = {"port": 9100, "Connection": "close"}
    return {"command": Client(box, start + message, b'"start"'),
            "upload": Client(box, upload + b"5\r\nbytes\r\n", b""),
            "silent": Client(box, head(box, "GET", "/silent", token, **plain), b""),
            "half": Client(box, head(box, "GET", "/half", token, **plain), b"half"),
            "switched": Client(box, head(box, "GET", "/switch", token, port=9100, Connection="Upgrade", Upgrade="x"), b"hello")}


def disconnected(each, box):
    """Those whose reply had begun see it cut, the others E2B's answer for a sandbox that is not there."""
    for name in ("command", "half", "switched"):
        assert each[name].rest() == b"", name
    for name in ("upload", "silent"):
        answer = each[name].rest()
        assert answer.startswith(b"HTTP/1.1 502 "), (name, answer)
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"sandboxId": box.id, "message": GONE, "code": 502}, name


def test_a_pause_disconnects_clients_and_keeps_processes(daemon):
    box = daemon.create()
    token = token_of(box)
    try:
        each = clients(box, token)
        assert daemon.post(f"{box.path}/pause").status_code == 200
        disconnected(each, box)
        assert ask(box, "GET", "/health", token=token).status_code == 502
        assert daemon.post(f"{box.path}/resume").status_code == 200
        assert [p["config"]["cmd"] for p in rpc(box, "process.Process/List", {}, token=token).json()["processes"]].count("/bin/bash") >= 1
        assert ask(box, "GET", "/half", port=9100, token=token, stream=True).status_code == 200  # it listens as before
    finally:
        box.delete()


def test_a_stop_disconnects_clients_when_it_begins(daemon):
    """What does not end at SIGTERM holds up the stop for seconds; nobody waits for that."""
    box = daemon.create()
    token = token_of(box)
    try:
        each = clients(box, token)
        stop = threading.Thread(target=lambda: daemon.post(f"{box.path}/stop"))
        stop.start()
        disconnected(each, box)
        stop.join(PATIENCE_S)
        assert daemon.post(f"{box.path}/start").status_code == 200
        assert run(box, "echo up", token=token) == (b"up\n", 0)
    finally:
        box.delete()


def test_a_kill_explains_requests_to_ports(daemon):
    box = daemon.create()
    each = clients(box, token_of(box))
    box.delete()
    disconnected(each, box)


def test_a_command_that_was_cut_is_found_again(daemon):
    """Its output goes on after the resume, to who connects to it."""
    box = daemon.create()
    token = token_of(box)
    try:
        stream = envelopes(open_command(box, "while :; do echo tick; sleep 0.1; done", token=token))
        pid = next(stream)[1]["event"]["start"]["pid"]
        daemon.post(f"{box.path}/pause")
        with pytest.raises((requests.RequestException, AssertionError)):
            for _ in stream:
                pass
        daemon.post(f"{box.path}/resume")
        again = envelopes(open_stream(box, "process.Process/Connect", {"process": {"pid": pid}}, token=token))
        assert next(again)[1]["event"]["start"]["pid"] == pid
        assert base64.b64decode(next(again)[1]["event"]["data"]["stdout"]).startswith(b"tick\n")
    finally:
        box.delete()
