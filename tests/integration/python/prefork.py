"""prefork PORT WORKERS - the same application without FastAPI: a server of the standard library whose workers are forked."""
import asyncio
import http.server
import json
import os
import sys

from sandbox.e2b_sandbox import get_or_start_e2b_sandbox
from sandbox.errors import NotFoundError, RuntimeNotConfiguredError
from sandbox.runtime_manager import delete_sandbox, get_or_start_sandbox, runtime_manager


def create(project_id):
    box = runtime_manager.create_sandbox(password="pw", project_id=project_id)
    box.fs.upload_file(project_id, "/workspace/project")
    return {"id": box.id, "link": str(box.get_preview_link(8080))}


def read(sandbox_id):
    return {"project": asyncio.run(get_or_start_sandbox(sandbox_id)).process.exec("cat project").result}


def shared(name):
    box = asyncio.run(get_or_start_e2b_sandbox(name))
    return {"state": box.state, "inner": box.sandbox._info["id"]}


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        words = self.path.strip("/").split("/")
        calls = {("GET", "worker"): dict, ("POST", "projects"): create, ("POST", "switch"): runtime_manager.switch, ("GET", "shared"): shared,
                 ("GET", "sandboxes"): read, ("DELETE", "sandboxes"): lambda i: {"deleted": asyncio.run(delete_sandbox(i))},
                 ("GET", "runtime"): lambda: {"valid": runtime_manager.validate_runtime_config(), **runtime_manager.get_runtime_info()}}
        try:
            status, body = 200, {"pid": os.getpid(), **calls[self.command, words[0]](*words[1:2])}
        except NotFoundError as e:
            status, body = 404, {"detail": str(e)}
        except RuntimeNotConfiguredError as e:
            status, body = 400, {"detail": f"{e} {e.hint}"}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *args):
        pass


def main():
    runtime_manager.status()  # before the workers are forked
    server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
    for _ in range(int(sys.argv[2])):
        if os.fork() == 0:
            server.serve_forever()
    while True:
        os.wait()


main()
