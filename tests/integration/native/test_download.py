"""Downloads: large files leave from the kernel's cache by a descriptor that the sandbox hands over, through both doors. Whatever
the file does meanwhile, the client gets the announced bytes or a broken connection, and nothing is left open."""
import concurrent.futures
import hashlib
import pathlib
import socket
import sys

import pytest
import requests

from conftest import until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2b"))
from dataplane import ask  # noqa: E402

pytestmark = pytest.mark.root
SIZE = 3_000_000


def content(box, path, **more):
    return box.daemon.get(f"{box.path}/files/content", params={"path": path}, **more)


@pytest.fixture(scope="module")
def large(module_sandbox):
    data = hashlib.shake_128(b"large").digest(SIZE)
    module_sandbox.write_file("/workspace/large", data)
    return data


def test_both_doors_give_the_same_bytes(module_sandbox, large):
    assert module_sandbox.read_file("/workspace/large") == large
    reply = ask(module_sandbox, "GET", "/files", params={"path": "/workspace/large", "username": "root"})
    assert reply.status_code == 200 and reply.content == large and int(reply.headers["Content-Length"]) == SIZE
    assert "sandmux-descriptor" not in {k.lower() for k in reply.headers}
    assert reply.headers["Content-Disposition"] == "inline; filename=large"


@pytest.mark.parametrize("first,last", [(0, 2_999_999), (1, 100_001), (2_000_000, 2_999_999), (2_900_000, 9_999_999), (7, 70_000)])
def test_ranges(module_sandbox, large, first, last):
    for reply in (content(module_sandbox, "/workspace/large", headers={"Range": f"bytes={first}-{last}"}),
                  ask(module_sandbox, "GET", "/files", params={"path": "/workspace/large", "username": "root"},
                      headers={"Range": f"bytes={first}-{last}"})):
        assert reply.status_code == 206 and reply.content == large[first:last + 1]
        assert reply.headers["Content-Range"] == f"bytes {first}-{min(last, SIZE - 1)}/{SIZE}"


def test_a_client_cannot_ask_for_descriptors(module_sandbox, large):
    reply = ask(module_sandbox, "GET", "/files", params={"path": "/workspace/large", "username": "root"}, headers={"Sandmux-Descriptor": "1"})
    assert reply.content == large
    assert content(module_sandbox, "/workspace/large", headers={"Sandmux-Descriptor": "1"}).content == large


def test_connections_are_kept_and_descriptors_given_back(daemon, module_sandbox, large):
    with requests.Session() as session:
        url = daemon.url + f"{module_sandbox.path}/files/content"
        assert session.get(url, params={"path": "large"}).content == large
        before = daemon.open_descriptors("sandmux-gateway")
        for _ in range(30):
            assert session.get(url, params={"path": "large"}).content == large
        until(lambda: daemon.open_descriptors("sandmux-gateway") <= before + 2)


def test_many_at_once(module_sandbox, large):
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        for got in pool.map(lambda _: content(module_sandbox, "large").content == large, range(36)):
            assert got


def test_links_shared_memory_and_files_of_the_system(module_sandbox, large):
    module_sandbox.exec("ln -s large /workspace/link; cp large /dev/shm/copy; truncate -s 2000000 sparse")
    assert module_sandbox.read_file("/workspace/link") == large
    assert module_sandbox.read_file("/dev/shm/copy") == large
    assert module_sandbox.read_file("sparse") == bytes(2_000_000)
    expected = module_sandbox.exec("sha256sum < $(readlink -f $(command -v python3))")["stdout"].split()[0]
    path = module_sandbox.exec("readlink -f $(command -v python3)")["stdout"].strip()
    assert hashlib.sha256(module_sandbox.read_file(path)).hexdigest() == expected
    assert b"Name:" in module_sandbox.read_file("/proc/self/status")


class Download:
    """A client that has read the head and does not read on."""

    def __init__(self, box, path):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", box.daemon.port))
        self.socket.sendall(f"GET {box.path}/files/content?path={path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.socket.recv(1024)
        head, self.got = data.split(b"\r\n\r\n", 1)
        assert b" 200 " in head
        self.length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])

    def rest(self):
        got = len(self.got)
        while True:
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionError:
                break
            if not data:
                break
            got += len(data)
        self.socket.close()
        return got


@pytest.fixture
def huge(daemon):
    box = daemon.create()
    box.exec("head -c 100000000 /dev/zero | tr '\\0' x > huge")
    yield box
    daemon.delete(f"{box.path}?missing_ok=1")


def test_a_file_that_is_truncated_ends_the_connection(huge):
    d = Download(huge, "huge")
    huge.exec("truncate -s 10000 huge")
    assert d.length == 100_000_000 and d.rest() < d.length
    assert huge.exec("echo alive")["stdout"] == "alive\n"


def test_a_file_that_grows_is_cut_at_the_announced_length(huge):
    d = Download(huge, "huge")
    huge.exec("head -c 50000000 /dev/zero >> huge")
    assert d.rest() == d.length == 100_000_000


def test_a_file_that_is_replaced_or_removed_is_sent_as_it_was(huge):
    d = Download(huge, "huge")
    huge.exec("echo new > other; mv other huge")
    assert d.rest() == 100_000_000
    assert huge.read_file("huge") == b"new\n"


def test_a_slow_reader_holds_nobody_and_may_leave(daemon, huge):
    before = daemon.open_descriptors("sandmux-gateway")
    downloads = [Download(huge, "huge") for _ in range(10)]
    assert huge.exec("echo alive")["stdout"] == "alive\n"
    for d in downloads[:9]:
        d.socket.close()
    assert downloads[9].rest() == 100_000_000
    until(lambda: daemon.open_descriptors("sandmux-gateway") <= before + 12)


def test_a_download_ends_with_its_sandbox(daemon, huge):
    d = Download(huge, "huge")
    huge.delete()
    assert d.rest() < d.length
    until(lambda: huge.id not in daemon.sandboxes_on_disk())


def test_a_download_goes_on_in_a_paused_sandbox(daemon, huge):
    d = Download(huge, "huge")
    assert daemon.post(f"{huge.path}/pause").status_code == 200
    assert d.rest() == d.length
