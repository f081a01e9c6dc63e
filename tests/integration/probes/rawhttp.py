"""HTTP by raw bytes over every listener of a daemon: plain TCP, TLS, unix socket. Nothing here forgives anything."""
import re
import socket
import ssl
import subprocess

from conftest import BUILD, Daemon
from domain import untouched_env

PATIENCE_S = 60


def daemon_with_all_listeners(folder):
    """One that listens over TLS, too, with a certificate of its own in the folder."""
    subprocess.run([BUILD / "sandmux", "tls", "init", "--dir", folder, "--domain", "sandmux.test"], check=True, capture_output=True,
                   env=untouched_env(), timeout=60)
    return Daemon(["--tls-listen", "127.0.0.1:0", "--tls-cert", f"{folder}/cert.pem", "--tls-key", f"{folder}/key.pem", "--domain",
                   "sandmux.test"])


def dial(daemon, listener, timeout=PATIENCE_S):
    if listener == "unix":
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(timeout)
        s.connect(str(daemon.socket))
        return s
    if listener == "tcp":
        return socket.create_connection(("127.0.0.1", daemon.port), timeout=timeout)
    raw = socket.create_connection(("127.0.0.1", daemon.unix_request("GET", "/version")[1]["tls_port"]), timeout=timeout)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(raw, server_hostname="api.sandmux.test")


def drain(s):
    """Everything until the other side closes."""
    got = b""
    try:
        while piece := s.recv(65536):
            got += piece
    except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
        pass
    return got


def exchange(daemon, listener, data, close=True):
    """Sends bytes; what came back until the daemon closed. close False: it must do so by itself. Over TLS there is no half close."""
    with dial(daemon, listener) as s:
        try:
            s.sendall(data)
            if close:
                s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return drain(s)


class Reply:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body

    def __repr__(self):
        return f"<{self.status} {self.fields} {self.body[:300]!r}>"

    def get(self, name):
        values = [v for k, v in self.fields if k == name.lower()]
        assert len(values) < 2, (name, values)
        return values[0] if values else None


def chunks(data):
    body = b""
    while True:
        m = re.match(rb"([0-9a-f]+)\r\n", data)
        assert m, data[:100]
        n = int(m.group(1), 16)
        piece, data = data[m.end():m.end() + n], data[m.end() + n:]
        assert len(piece) == n and data[:2] == b"\r\n", "cut inside of a chunk"
        body, data = body + piece, data[2:]
        if n == 0:
            return body, data


def one_reply(data, head_only=False):
    """(Reply, rest); strict."""
    head, end, rest = data.partition(b"\r\n\r\n")
    assert end, f"no whole head: {data[:200]!r}"
    lines = head.split(b"\r\n")
    m = re.fullmatch(rb"HTTP/1\.1 ([1-5]\d\d) [\x20-\x7e\x80-\xff]*", lines[0])
    assert m, lines[0]
    fields = []
    for line in lines[1:]:
        assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*", line), line
        name, _, value = line.partition(b": ")
        fields.append((name.decode().lower(), value.decode("latin-1")))
    reply = Reply(int(m.group(1)), fields, b"")
    length, encoding = reply.get("content-length"), reply.get("transfer-encoding")
    assert not (length and encoding)
    if head_only or reply.status < 200 or reply.status in (204, 304):
        return reply, rest
    if encoding:
        assert encoding == "chunked"
        reply.body, rest = chunks(rest)
    elif length is not None:
        n = int(length)
        assert len(rest) >= n, "cut inside of a body"
        reply.body, rest = rest[:n], rest[n:]
    else:
        reply.body, rest = rest, b""
    return reply, rest


def replies(data, head_only=False):
    found = []
    while data:
        reply, data = one_reply(data, head_only)
        found.append(reply)
    return found
