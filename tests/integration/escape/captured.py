"""A captured agent: a sandbox whose agent's socket leads to a program of ours, which answers as it likes. What the gateway asks from then on
goes there; the sandbox itself lives on behind it."""
import array
import contextlib
import os
import socket
import struct
import threading

from conftest import PATIENCE_S

HELD = 3  # connections that are in use when the socket changes hands: none of the true agent's is kept for later


def lingering():
    """A TCP socket whose last close takes five minutes, and its other end."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        sender = socket.create_connection(listener.getsockname())
        reader, _ = listener.accept()
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 300))
    sender.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sender.send(b"x" * 65536)
    return sender, reader


class Call:
    """One request to the captured agent: its connection and the bytes that came first."""

    def __init__(self, connection, first):
        self.connection, self.first = connection, first

    def say(self, data, fds=()):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.connection.sendmsg([data], rights)
            return True
        except OSError:
            return False

    def reply(self, body, status="200 OK", kind="application/json", more="", fds=()):
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        return self.say(head.encode() + body, fds)

    def stream(self, *messages):
        """The head of a stream, and envelopes."""
        self.say(b"HTTP/1.1 200 OK\r\nContent-Type: application/connect+json\r\nTransfer-Encoding: chunked\r\n\r\n")
        for message in messages:
            self.message(message)

    def message(self, text, flags=0):
        data = struct.pack(">BI", flags, len(text)) + text.encode()
        return self.say(b"%x\r\n%s\r\n" % (len(data), data))

    def forever(self, data):
        """Until the gateway hangs up."""
        while self.say(data):
            pass


class Captured:
    def __init__(self, daemon):
        self.daemon = daemon
        self.box = daemon.create()
        self.streams = [daemon.open_stream(f"{self.box.path}/exec", {"command": "sleep 600"}) for _ in range(HELD)]
        for stream in self.streams:
            next(stream.iter_lines())  # it has started
        self.answer = lambda call: None
        self.connections = []
        self.socket = daemon.state / "engine" / "sandboxes" / self.box.id / "agent.sock"
        os.rename(self.socket, str(self.socket) + ".true")
        self.listener = socket.socket(socket.AF_UNIX)
        with within(self.socket.parent):  # the name is longer than an address may be
            self.listener.bind("agent.sock")
        self.listener.listen(64)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.serve_one, args=[connection], daemon=True).start()

    def serve_one(self, connection):
        with connection:
            connection.settimeout(PATIENCE_S)
            with contextlib.suppress(OSError):
                while first := connection.recv(65536):
                    self.answer(Call(connection, first))

    def close(self):
        """The sandbox is deleted, and its agent gone with it."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for stream in self.streams:
            stream.close()
        with within(self.socket.parent):
            os.rename("agent.sock.true", "agent.sock")
        self.box.delete()


@contextlib.contextmanager
def within(folder):
    """The working directory of this process, for a moment."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
