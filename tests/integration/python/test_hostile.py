"""What a broken or hostile daemon answers becomes a typed error, in bounded time, and never spoils the next call."""
import socket
import threading
import time

import pytest

pytest_plugins = ["python_package"]


def whole(body, status="200 OK", kind="application/json"):
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


REPLIES = {
    "no http": b"hello there\r\n\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "no json": whole(b"certainly not"),
    "half json": whole(b'{"id": "x"'),
    "bytes": whole(b"\xff\xfe\x00" * 10),
    "a list": whole(b"[]"),
    "a number": whole(b"17"),
    "null": whole(b"null"),
    "an empty object": whole(b"{}"),
    "empty": whole(b""),
    "deep": whole(b"[" * 100000),
    "an error in html": whole(b"<html>no</html>", "500 Oops", "text/html"),
    "an error of the future": whole(b'{"code": "from_the_future", "detail": "new", "status": 418}', "418 x"),
    "an error of a wrong type": whole(b'{"code": 5, "detail": []}', "400 x"),
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100000,
    "too much": b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n" + b" " * 1000,
}


class Liar:
    """Answers every request with the same bytes and closes; with None it says nothing."""

    def __init__(self, reply):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.reply, self.held = reply, []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(s,), daemon=True).start()

    def answer(self, s):
        try:
            s.recv(65536)
            if self.reply is None:
                self.held.append(s)
                return
            s.sendall(self.reply)
            s.shutdown(socket.SHUT_WR)
            s.recv(65536)
            s.close()
        except OSError:
            pass

    def close(self):
        self.listener.close()
        for s in self.held:
            s.close()


@pytest.mark.parametrize("name", REPLIES)
def test_r50_a_wrong_reply_is_a_typed_error(package, name):
    from sandbox import Client, Sandbox, SandboxError
    liar = Liar(REPLIES[name])
    client = Client(url=liar.url, timeout_s=20)
    box = Sandbox(client, {"id": "i" + "0" * 20, "state": "running", "runtime": "local"})
    calls = [lambda: Sandbox.get("x", client=client), lambda: Sandbox.list(client=client), lambda: Sandbox.create(client=client, idempotency_key="k"),
             lambda: Sandbox.get_or_create("x", client=client), client.status, lambda: client.validate("e2b"), box.info, box.pause,
             lambda: box.process.exec("true"), lambda: box.process.start("true"), box.process.list, lambda: box.get_preview_link(80),
             lambda: box.fs.list_files("/"), lambda: box.fs.get_file_info("/"), lambda: box.process.execute_session_command("s", "true")]
    begin = time.monotonic()
    for number, call in enumerate(calls):
        with pytest.raises(SandboxError):
            print(number, call())
    assert time.monotonic() - begin < 120
    liar.close()


def test_silence_ends_at_the_clients_time_limit(package):
    from sandbox import Client, SandboxTimeoutError
    liar = Liar(None)
    client = Client(url=liar.url, timeout_s=0.5)
    begin = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        client.status()
    assert isinstance(caught.value, SandboxTimeoutError) and time.monotonic() - begin < 30
    liar.close()
