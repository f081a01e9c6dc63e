"""A daemon of the native API in one file, for what a real one cannot be made to do: break off, answer nonsense, stall.

Sandboxes are directories, commands run on this host in them. Every request is recorded. `faults` maps "METHOD path" to a
function that gets the connection instead of the real answer; it is used up by one request unless it returns "again".
"""
import base64
import fcntl
import hashlib
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading
import urllib.parse

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NOW = "2026-11-25T17:12:23.042Z"


class Connection:
    def __init__(self, sock):
        self.sock, self.buffer = sock, b""

    def fill(self):
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def read(self, n):
        while len(self.buffer) < n:
            if not self.fill():
                raise ConnectionError("cut")
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def line(self):
        while b"\r\n" not in self.buffer:
            if not self.fill():
                raise ConnectionError("cut")
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill():
                return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *fields = head.decode().split("\r\n")
        return first.split(" "), {k.lower(): v.strip() for k, v in (f.split(":", 1) for f in fields)}

    def body(self, fields):
        if fields.get("transfer-encoding") == "chunked":
            out = b""
            while n := int(self.line(), 16):
                out += self.read(n)
                self.line()
            self.line()
            return out
        return self.read(int(fields.get("content-length", 0)))

    def reply(self, status, body=b"", kind="application/json", **fields):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", f"Content-Type: {kind}"]
        lines += [f"{k.replace('_', '-')}: {v}" for k, v in fields.items()]
        self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def problem(self, status, code, detail):
        self.reply(status, {"type": "urn:sandmux:error:" + code, "title": code, "status": status, "detail": detail,
                            "code": code, "hint": "", "request_id": "r1"}, "application/problem+json")

    def frame(self, opcode, data):
        n = len(data)
        head = bytes([0x80 | opcode]) + (bytes([n]) if n < 126 else struct.pack(">BH", 126, n) if n < 65536
                                         else struct.pack(">BQ", 127, n))
        self.sock.sendall(head + data)

    def text(self, value):
        self.frame(1, json.dumps(value).encode())

    def next_frame(self):
        b = self.read(2)
        n = b[1] & 0x7f
        assert b[1] & 0x80, "a client's frame is masked"
        if n == 126:
            n = struct.unpack(">H", self.read(2))[0]
        elif n == 127:
            n = struct.unpack(">Q", self.read(8))[0]
        key = self.read(4)
        data = self.read(n)
        full = key * (n // 4 + 1)
        return b[0] & 15, (int.from_bytes(data, "big") ^ int.from_bytes(full[:n], "big")).to_bytes(n, "big")


class FakeDaemon:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.path = self.root / "fake.sock"
        self.url = f"unix:{self.path}"
        self.requests, self.faults, self.sandboxes, self.keys = [], {}, {}, {}
        self.connections = 0
        self.require_key = None
        self.lock = threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(128)
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(Connection(sock),), daemon=True).start()

    def serve(self, c):
        try:
            while (head := c.head()) is not None:
                if self.one(c, *head) == "closed":
                    break
        except (ConnectionError, OSError):
            pass
        finally:
            c.sock.close()

    def one(self, c, first, fields):
        method, target, _ = first
        path, _, query = target.partition("?")
        query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        with self.lock:
            self.requests.append((method, target, fields))
            fault = self.faults.pop(f"{method} {path}", None)
        if fault:
            if fault(c) == "again":
                self.faults[f"{method} {path}"] = fault
            return "closed"
        if self.require_key and fields.get("x-api-key") != self.require_key:
            return c.problem(401, "unauthorized", "a valid API key is needed")
        path = urllib.parse.unquote(path)
        for pattern, handler in self.routes():
            if m := re.fullmatch(pattern, f"{method} {path}"):
                if fields.get("upgrade"):
                    return handler(c, fields, query, *m.groups())
                return handler(c, c.body(fields), fields, query, *m.groups())
        return c.problem(404, "not_found", f"no resource at '{path}'")

    def routes(self):
        box = "/api/sandboxes/([^/]+)"
        return [("POST /api/sandboxes", self.create), ("GET /api/sandboxes", self.list), (f"PUT {box}", self.ensure),
                (f"GET {box}", self.get), (f"PATCH {box}", self.patch), (f"DELETE {box}", self.delete),
                (f"POST {box}/(start|stop|pause|resume)", self.move), (f"GET {box}/exec", self.exec_socket),
                (f"POST {box}/exec", self.exec_lines), (f"GET {box}/processes", self.processes),
                (f"DELETE {box}/processes/(.*)", self.kill), (f"GET {box}/files", self.files),
                (f"PUT {box}/files", self.mkdir), (f"DELETE {box}/files", self.remove), (f"POST {box}/files/move", self.rename),
                (f"GET {box}/files/content", self.content), (f"PUT {box}/files/content", self.upload),
                (f"GET {box}/preview", self.preview), (f"GET {box}/logs", self.logs), (f"GET {box}/stats", self.stats),
                ("GET /api/events", self.events), ("GET /api/runtime/(status|health)", self.runtime),
                ("GET /api/runtime/validate/(.*)", self.validate), ("POST /api/runtime/switch", self.switch),
                ("GET /api/keys", self.key_list), ("POST /api/keys", self.key_create), ("DELETE /api/keys/(.*)", self.key_revoke),
                ("GET /version", self.version), ("GET /readyz", self.ready), ("POST /api/daemon/shutdown", self.shutdown)]

    # --- sandboxes

    def find(self, c, name):
        for sb in self.sandboxes.values():
            if name in (sb["id"], sb["name"]):
                return sb
        c.problem(404, "sandbox_not_found", f"sandbox '{name}' not found")
        return None

    def make(self, request):
        with self.lock:
            n = len(self.requests)
            sb = {"id": f"i{n:020d}", "name": request.get("name"), "aliases": [], "runtime": "local", "provider_id": None,
                  "state": "running", "template": request.get("template", "base"), "project_id": request.get("project_id"),
                  "metadata": request.get("metadata", {}), "created_at": NOW, "updated_at": NOW, "expires_at": None,
                  "resources": {"cpu": 2, "memory_mib": 1024, "disk_mib": 5120}, "limits": "hard", "internet": False,
                  "capabilities": {"pause": True}, "reason": None}
            self.sandboxes[sb["id"]] = sb
            self.last_request = request
            (self.root / sb["id"]).mkdir()
        return sb

    def create(self, c, body, fields, query):
        request = json.loads(body)
        if request.get("template") == "nope":
            return c.problem(404, "template_not_found", "template 'nope' not found")
        return c.reply(201, self.make(request))

    def ensure(self, c, body, fields, query, name):
        for sb in self.sandboxes.values():
            if sb["name"] == name:
                return c.reply(200, sb)
        return c.reply(201, self.make({**json.loads(body), "name": name}))

    def list(self, c, body, fields, query):
        start, limit = int(query.get("cursor", 0)), int(query.get("limit", 2))
        items = [s for s in self.sandboxes.values() if query.get("state") in (None, s["state"])]
        more = start + limit < len(items)
        return c.reply(200, {"items": items[start:start + limit], "next_cursor": str(start + limit) if more else None})

    def get(self, c, body, fields, query, name):
        if sb := self.find(c, name):
            c.reply(200, sb)

    def patch(self, c, body, fields, query, name):
        if sb := self.find(c, name):
            request = json.loads(body)
            sb["expires_at"] = NOW if request.pop("timeout_s", None) else sb["expires_at"]
            sb.update(request)
            c.reply(200, sb)

    def delete(self, c, body, fields, query, name):
        if query.get("missing_ok") and not any(name in (s["id"], s["name"]) for s in self.sandboxes.values()):
            return c.reply(204)
        if sb := self.find(c, name):
            del self.sandboxes[sb["id"]]
            shutil.rmtree(self.root / sb["id"])
            c.reply(204)

    def move(self, c, body, fields, query, name, verb):
        if sb := self.find(c, name):
            if verb == "resume" and sb["state"] != "paused":
                return c.problem(409, "state_conflict", f"sandbox is {sb['state']}, not paused")
            sb["state"] = {"start": "running", "stop": "stopped", "pause": "paused", "resume": "running"}[verb]
            c.reply(200, sb)

    # --- commands

    def place(self, sb, path):
        home = self.root / sb["id"]
        path = path.removeprefix("/workspace").lstrip("/") if path.startswith("/workspace") else path
        return home / path

    def spec(self, sb, request):
        command = request["command"]
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        argv = [str(self.place(sb, a)) if a.startswith("/workspace") else a for a in argv]
        env = {"PATH": os.environ["PATH"], "HOME": "/root", **request.get("env", {})}
        return argv, env, self.place(sb, request.get("cwd") or "")

    def exec_lines(self, c, body, fields, query, name):
        if not (sb := self.find(c, name)):
            return None
        request = json.loads(body)
        argv, env, cwd = self.spec(sb, request)
        data = base64.b64decode(request.get("stdin_b64", "")) or request.get("stdin", "").encode()
        timed_out = False
        try:
            p = subprocess.run(argv, env=env, cwd=cwd, input=data, capture_output=True, timeout=request.get("timeout_s"))
            code, out, err = p.returncode, p.stdout, p.stderr
        except FileNotFoundError:
            code, out, err = 127, b"", b"not found\n"
        except subprocess.TimeoutExpired:
            code, out, err, timed_out = -9, b"", b"", True
        end = {"exit_code": code if code >= 0 else 128 - code, "signal": -code if code < 0 else None, "duration_ms": 1,
               "timed_out": timed_out}
        lines = [{"start": {"pid": 7}}]
        for key, data in (("stdout", out), ("stderr", err)):
            for at in range(0, len(data), 32768):
                lines.append({key + "_b64": base64.b64encode(data[at:at + 32768]).decode()})
        lines.append({"exit": end})
        return c.reply(200, "".join(json.dumps(x) + "\n" for x in lines).encode(), "application/x-ndjson")

    def exec_socket(self, c, fields, query, name):
        if not (sb := self.find(c, name)):
            return None
        accept = base64.b64encode(hashlib.sha1(fields["sec-websocket-key"].encode() + GUID).digest()).decode()
        c.sock.sendall(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                       + accept.encode() + b"\r\n\r\n")
        opcode, data = c.next_frame()
        self.start = json.loads(data)["start"]
        Running(self, c, sb, self.start).run()
        return "closed"

    def processes(self, c, body, fields, query, name):
        if self.find(c, name):
            c.reply(200, {"processes": [{"pid": 7, "tag": None, "cmd": "sleep", "args": ["9"], "cwd": "/"}]})

    def kill(self, c, body, fields, query, name, pid):
        if pid != "7":
            return c.problem(404, "process_not_found", f"no process {pid}: not found")
        self.killed = query["signal"]
        return c.reply(204)

    # --- files

    def missing(self, c, path):
        c.problem(404, "file_not_found", f"'{path}' not found")

    def entry(self, p):
        st = p.lstat()
        kind = "symlink" if p.is_symlink() else "dir" if p.is_dir() else "file"
        mtime = subprocess.run(["date", "-u", "-d", f"@{int(st.st_mtime)}", "+%FT%TZ"], capture_output=True, text=True).stdout.strip()
        return {"name": p.name, "path": str(p), "is_dir": kind == "dir", "size": st.st_size, "mod_time": mtime,
                "permissions": f"{st.st_mode & 0o7777:04o}", "type": kind, "target": os.readlink(p) if kind == "symlink" else None}

    def files(self, c, body, fields, query, name):
        if sb := self.find(c, name):
            p = self.place(sb, query["path"])
            if not p.exists() and not p.is_symlink():
                return self.missing(c, query["path"])
            if query.get("stat"):
                return c.reply(200, self.entry(p))
            if not p.is_dir():
                return c.problem(422, "invalid_request", "path: not a folder")
            c.reply(200, {"files": [self.entry(x) for x in sorted(p.iterdir())]})

    def mkdir(self, c, body, fields, query, name):
        if sb := self.find(c, name):
            self.place(sb, query["path"]).mkdir(parents=True, exist_ok=True)
            c.reply(201)

    def remove(self, c, body, fields, query, name):
        if sb := self.find(c, name):
            p = self.place(sb, query["path"])
            if not p.exists():
                return self.missing(c, query["path"])
            shutil.rmtree(p) if p.is_dir() else p.unlink()
            c.reply(204)

    def rename(self, c, body, fields, query, name):
        if sb := self.find(c, name):
            request = json.loads(body)
            self.place(sb, request["from"]).rename(self.place(sb, request["to"]))
            c.reply(204)

    def content(self, c, body, fields, query, name):
        if sb := self.find(c, name):
            p = self.place(sb, query["path"])
            if not p.exists():
                return self.missing(c, query["path"])
            data = p.read_bytes()
            if m := re.fullmatch(r"bytes=(\d+)-(\d*)", fields.get("range", "")):
                data = data[int(m[1]):int(m[2]) + 1 if m[2] else None]
                return c.reply(206, data, "application/octet-stream")
            c.reply(200, data, "application/octet-stream")

    def upload(self, c, body, fields, query, name):
        if sb := self.find(c, name):
            p = self.place(sb, query["path"])
            p.parent.mkdir(parents=True, exist_ok=True)
            p.write_bytes(body)
            if "mode" in query:
                p.chmod(int(query["mode"], 8))
            c.reply(201)

    # --- the rest

    def preview(self, c, body, fields, query, name):
        if sb := self.find(c, name):
            c.reply(200, {"url": f"http://{query['port']}-{sb['id']}.localhost:8000", "token": None})

    def logs(self, c, body, fields, query, name):
        if self.find(c, name):
            lines = [{"time": NOW, "source": "lifecycle", "message": f"line {i}\x1b[31m"} for i in range(5)]
            lines = lines[-int(query["tail"]):] if query.get("tail") else lines
            c.reply(200, "".join(json.dumps(x) + "\n" for x in lines).encode(), "application/x-ndjson")

    def stats(self, c, body, fields, query, name):
        if self.find(c, name):
            c.reply(200, {"cpu_ms": 12, "memory_bytes": 1 << 20, "pids": 3, "time": NOW})

    def events(self, c, body, fields, query):
        events = [{"seq": i, "time": NOW, "type": "sandbox.state", "sandbox_id": "i1", "state": "running",
                   "previous_state": "starting"} for i in range(1, 4)]
        text = "".join(f"id: {e['seq']}\nevent: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events
                       if e["seq"] > int(query["since"]))
        c.sock.sendall(b"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        if text:
            c.sock.sendall(f"{len(text):x}\r\n{text}\r\n".encode())
        while c.fill():
            pass
        return "closed"

    def runtime(self, c, body, fields, query, what):
        if what == "health":
            return c.reply(200, {"status": "healthy", "runtime": "local", "configured": True, "timestamp": NOW})
        return c.reply(200, {"current_runtime": "local", "available_runtimes": ["daytona", "e2b", "local"],
                             "runtime_configured": True, "runtime_info": {"x": 1}})

    def validate(self, c, body, fields, query, name):
        if name not in ("daytona", "e2b", "local"):
            return c.reply(400, {"detail": f"Invalid runtime '{name}'. Must be 'daytona', 'e2b' or 'local'"})
        return c.reply(200, {"runtime": name, "is_configured": name == "local", "configuration": {}})

    def switch(self, c, body, fields, query):
        name = json.loads(body)["runtime"]
        if name == "e2b":
            return c.reply(400, {"detail": "Runtime 'e2b' is not properly configured"})
        if name != "local":
            return c.reply(422, {"detail": [{"loc": ["body", "runtime"], "msg": "no such runtime", "type": "value_error"}]})
        return c.reply(200, {"status": "success", "message": "Runtime switched to 'local'", "previous_runtime": "e2b",
                             "current_runtime": "local", "warnings": ["3 sandboxes stay on e2b"]})

    def key_list(self, c, body, fields, query):
        c.reply(200, {"items": list(self.keys.values())})

    def key_create(self, c, body, fields, query):
        key = {"id": "k1", "name": json.loads(body)["name"], "prefix": "e2b_ab", "created_at": NOW, "last_used_at": None}
        self.keys["k1"] = key
        c.reply(201, {**key, "key": "e2b_" + 40 * "a"})

    def key_revoke(self, c, body, fields, query, key):
        if self.keys.pop(key, None):
            return c.reply(204)
        return c.problem(404, "not_found", f"key '{key}' not found")

    def version(self, c, body, fields, query):
        c.reply(200, {"version": "9.9.9", "api": "1"})

    def ready(self, c, body, fields, query):
        c.reply(503, {"ready": False, "checks": [{"name": "local", "ok": False, "detail": "no engine", "hint": "run as root"}]})

    def shutdown(self, c, body, fields, query):
        c.reply(202, {})
        self.close()
        return "closed"


class Running:
    """A command behind a WebSocket."""

    def __init__(self, daemon, c, sb, start):
        self.c, self.start, self.tty = c, start, start.get("tty")
        self.argv, self.env, self.cwd = daemon.spec(sb, start)
        self.done = threading.Event()

    def run(self):
        try:
            self.launch()
        except FileNotFoundError:
            self.c.text({"start": {"pid": 1}})
            self.c.frame(2, b"\x02not found\n")
            self.c.text({"exit": {"exit_code": 127, "signal": None, "duration_ms": 0, "timed_out": False}})
            return
        self.c.text({"start": {"pid": self.p.pid}})
        threading.Thread(target=self.input, daemon=True).start()
        timed_out = self.output()
        code = self.p.wait()
        self.c.text({"exit": {"exit_code": code if code >= 0 else 128 - code, "signal": -code if code < 0 else None,
                              "duration_ms": 1, "timed_out": timed_out}})
        self.c.frame(8, struct.pack(">H", 1000))
        self.done.wait(2)

    def terminal(self):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def launch(self):
        if self.tty:
            self.master, slave = pty.openpty()
            self.size(self.start.get("cols", 80), self.start.get("rows", 24))
            self.p = subprocess.Popen(self.argv, env=self.env, cwd=self.cwd, stdin=slave, stdout=slave, stderr=slave,
                                      start_new_session=True, preexec_fn=self.terminal)
            os.close(slave)
        else:
            self.p = subprocess.Popen(self.argv, env=self.env, cwd=self.cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, start_new_session=True)

    def size(self, cols, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def control(self, text):
        message = json.loads(text)
        if "resize" in message:
            self.size(**message["resize"])
        elif "signal" in message:
            os.killpg(self.p.pid, int(message["signal"]))
        elif message.get("eof"):
            os.write(self.master, b"\x04") if self.tty else self.p.stdin.close()

    def input(self):
        try:
            while True:
                opcode, data = self.c.next_frame()
                if opcode == 8:
                    break
                if opcode == 1:
                    self.control(data)
                elif opcode == 2:
                    try:
                        if self.tty:
                            os.write(self.master, data)
                        elif not self.p.stdin.closed:
                            self.p.stdin.write(data)
                            self.p.stdin.flush()
                    except (BrokenPipeError, OSError, ValueError):
                        pass
        except (ConnectionError, OSError):
            if self.tty:
                os.killpg(self.p.pid, signal.SIGHUP)
        finally:
            self.done.set()

    def output(self):
        streams = {self.master: b""} if self.tty else {self.p.stdout.fileno(): b"\x01", self.p.stderr.fileno(): b"\x02"}
        limit = self.start.get("timeout_s")
        timed_out = False
        while streams:
            ready, _, _ = select.select(list(streams), [], [], limit)
            if not ready:
                timed_out = True
                os.killpg(self.p.pid, signal.SIGKILL)
                limit = None
            for fd in ready:
                try:
                    data = os.read(fd, 65536)
                except OSError:
                    data = b""
                if data:
                    self.c.frame(2, streams[fd] + data)
                else:
                    del streams[fd]
        return timed_out
