"""A proxy between a provider and its server that breaks what it passes on: cuts at any byte, resets, delays, refusals, wrong lengths,
garbage, heads without end. It counts what it accepts and is asked. One request after the other on a connection; replies are read whole."""
import socket
import struct
import threading
import time

PATIENCE_S = 60


class Request:
    def __init__(self, raw, head):
        self.raw = raw
        line, *fields = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = line.split(" ", 2)
        self.path = self.target.partition("?")[0]
        self.fields = {k.lower(): v.strip() for k, _, v in (field.partition(":") for field in fields)}


class Message:
    """Reads whole HTTP/1.1 messages from a socket."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""

    def more(self):
        got = self.sock.recv(65536)
        if not got:
            raise EOFError
        self.buffer += got

    def until(self, mark, start=0):
        while mark not in self.buffer[start:]:
            self.more()
        return self.buffer.index(mark, start) + len(mark)

    def take(self, n):
        while len(self.buffer) < n:
            self.more()
        taken, self.buffer = self.buffer[:n], self.buffer[n:]
        return taken

    def read(self, bodiless=False):
        """Head and whole message."""
        head_end = self.until(b"\r\n\r\n")
        head = self.buffer[:head_end - 4]
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            end = head_end
            while True:
                line_end = self.until(b"\r\n", end)
                size = int(self.buffer[end:line_end - 2].split(b";")[0], 16)
                end = line_end + size + 2
                while len(self.buffer) < end:
                    self.more()
                if size == 0:
                    break
            return head, self.take(end)
        length = 0
        for line in lower.split(b"\r\n"):
            if line.startswith(b"content-length:") and not bodiless:
                length = int(line.split(b":")[1])
        return head, self.take(head_end + length)


class FaultProxy:
    """http://127.0.0.1:PORT, passing on to another port. `fault`: called as fault(client, request, forward) for requests that `match`;
    forward() passes the request on and returns the reply's bytes. What a fault returns is sent; None ends the connection."""

    def __init__(self, upstream_port):
        self.upstream_port = upstream_port
        self.accepted, self.requests = 0, []
        self.rules = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.open = set()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            self.open.add(client)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            with client:
                message = Message(client)
                while True:
                    head, raw = message.read()
                    if not self.answer(client, Request(raw, head)):
                        return
        except (EOFError, OSError, ValueError):
            pass
        finally:
            self.open.discard(client)

    def answer(self, client, request):
        self.requests.append((request.method, request.target))

        def forward():
            with socket.create_connection(("127.0.0.1", self.upstream_port), timeout=PATIENCE_S) as up:
                up.sendall(request.raw)
                return Message(up).read(bodiless=request.method == "HEAD")[1]

        reply = self.pick(request)(client, request, forward)
        if reply is None:
            return False
        client.sendall(reply)
        return True

    def pick(self, request):
        with self.lock:
            for rule in self.rules:
                match, fault, left = rule
                if left != 0 and match(request):
                    rule[2] -= 1
                    return fault
        return lambda client, request, forward: forward()

    def break_next(self, fault, match=lambda request: True, times=-1):
        """From now on; times: so often (-1: always)."""
        self.rules = [[match, fault, times]]

    def heal(self):
        self.rules = []

    def close(self):
        self.listener.close()
        for client in list(self.open):
            client.close()


def method(name, path_end):
    return lambda request: request.method == name and request.path.endswith(path_end)


# --- faults

def close_before(client, request, forward):
    """The server never sees it."""
    return None


def close_after(client, request, forward):
    """The server did it; nothing comes back."""
    forward()
    return None


def reset(client, request, forward):
    forward()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def cut_at(n):
    def fault(client, request, forward):
        client.sendall(forward()[:n])
    return fault


def delay(seconds):
    def fault(client, request, forward):
        reply = forward()
        time.sleep(seconds)
        return reply
    return fault


def silent(client, request, forward):
    """Until the client leaves."""
    client.settimeout(PATIENCE_S)
    client.recv(1)


def refuse(status, retry_after=None, body=b'{"code":0,"message":"no"}'):
    def fault(client, request, forward):
        more = f"Retry-After: {retry_after}\r\n" if retry_after is not None else ""
        return f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body
    return fault


def wrong_length(client, request, forward):
    """More is announced than comes."""
    head, _, body = forward().partition(b"\r\n\r\n")
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (len(body) + 1000) + body)


def too_short_length(client, request, forward):
    """Less is announced than comes."""
    head, _, body = forward().partition(b"\r\n\r\n")
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n" + body + b"{}" * 10)


def garbage(client, request, forward):
    forward()
    client.sendall(bytes(range(256)) * 40)


def endless_head(client, request, forward):
    forward()
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    for i in range(1000000):
        client.sendall(b"X-%d: %s\r\n" % (i, b"y" * 500))


def huge(client, request, forward):
    forward()
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n[")
    for _ in range(1000):
        client.sendall(b" " * 1000000)


def answer(body, content_type="application/json", status=200):
    """Something else than what was asked for, after it was done."""
    def fault(client, request, forward):
        forward()
        return f"HTTP/1.1 {status} OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    return fault
