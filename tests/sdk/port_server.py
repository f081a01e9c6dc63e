"""A server to reach from outside a sandbox: HTTP, and WebSocket echo at /ws. Only the standard library.

GET /X answers "GET /X"; POST /sum answers the SHA-256 of the body; GET /events sends five server-sent events.
"""
import base64
import hashlib
import http.server
import struct
import sys
import time

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, text):
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.headers.get("Upgrade", "").lower() == "websocket":
            return self.websocket()
        if self.path == "/events":
            return self.events()
        return self.answer(f"GET {self.path}")

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_POST(self):
        self.answer(hashlib.sha256(self.body()).hexdigest())

    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for n in range(5):
            self.wfile.write(f"data: {n}\n\n".encode())
            self.wfile.flush()
            time.sleep(0.2)
        self.close_connection = True

    # --- WebSocket: whole messages, as the clients of the tests send them

    def frame(self):
        first, second = self.rfile.read(2)
        size = second & 127
        if size == 126:
            size = struct.unpack(">H", self.rfile.read(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.rfile.read(8))[0]
        mask = self.rfile.read(4)
        data = self.rfile.read(size)
        long_mask = (mask * (size // 4 + 1))[:size]
        plain = int.from_bytes(data, "big") ^ int.from_bytes(long_mask, "big")
        return bool(first & 128), first & 15, plain.to_bytes(size, "big")

    def send_frame(self, opcode, data):
        head = bytes([128 | opcode])
        if len(data) < 126:
            head += bytes([len(data)])
        elif len(data) < 65536:
            head += struct.pack(">BH", 126, len(data))
        else:
            head += struct.pack(">BQ", 127, len(data))
        self.wfile.write(head + data)
        self.wfile.flush()

    def websocket(self):
        accept = base64.b64encode(hashlib.sha1(self.headers["Sec-WebSocket-Key"].encode() + GUID).digest())
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        kind, message = 0, b""
        while True:
            final, opcode, data = self.frame()
            if opcode == 8:
                self.send_frame(8, data)
                break
            if opcode == 9:
                self.send_frame(10, data)
                continue
            kind, message = (opcode or kind), message + data
            if final:
                self.send_frame(kind, message)
                message = b""
        self.close_connection = True

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
