"""Uploads of one file by several clients: whoever is slow holds up nobody, least of all the sandbox's agent."""
import concurrent.futures
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2b"))
from conftest import until
from dataplane import fields
from rawhttp import dial, drain, one_reply

pytestmark = pytest.mark.root
SIZE = 3_000_000


@pytest.mark.parametrize("together", [5, 20])
def test_uploads_of_one_file_at_the_same_time_all_end(sandbox, together):
    def put(i):
        return sandbox.daemon.put(f"{sandbox.path}/files/content?path=/tmp/one", data=bytes([i]) * SIZE).status_code

    with concurrent.futures.ThreadPoolExecutor(together) as pool:
        assert set(pool.map(put, range(2 * together))) <= {200, 201}
    assert sandbox.exec("stat -c %s /tmp/one")["stdout"] == f"{SIZE}\n"


def test_an_upload_that_stalls_does_not_stop_the_agent(sandbox):
    """What it writes to stays free meanwhile: for a second upload, for calls that change the file, for processes."""
    head = "".join(f"{k}: {v}\r\n" for k, v in fields(sandbox).items())
    with dial(sandbox.daemon, "tcp") as s:
        s.sendall(f"POST /files?path=/tmp/stalled&username=root HTTP/1.1\r\nHost: localhost\r\n{head}Content-Type: application/octet-stream\r\n"
                  f"Content-Length: {SIZE}\r\nConnection: close\r\n\r\n".encode() + b"a" * 100_000)
        until(lambda: int(sandbox.exec("stat -c %s /tmp/stalled 2>/dev/null || echo 0")["stdout"]) >= 65536)
        for content in (b"short", b"b" * SIZE):
            sandbox.write_file("/tmp/stalled", content)
        assert sandbox.exec("printf x >>/tmp/stalled; chmod 600 /tmp/stalled; echo on")["stdout"] == "on\n"
        s.sendall(b"a" * (SIZE - 100_000))
        reply, _ = one_reply(drain(s))
        assert reply.status == 200, reply
