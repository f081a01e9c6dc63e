"""What a daemon cannot be made to do: connections that break off, answers that are none. Nothing hangs, nothing is done twice."""
import base64
import hashlib
import time

import pytest

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def cut(c):
    """The connection dies before a byte of the reply."""


def count(fake, start):
    return sum(f"{m} {t}".startswith(start) for m, t, _ in fake.requests)


def test_what_does_no_harm_twice_is_repeated(fm, fake):
    fm.ok("create", "--name", "b")
    for request, args in (("GET /api/sandboxes/b", ["inspect", "b"]), ("DELETE /api/sandboxes/b", ["rm", "b"]),
                          ("PUT /api/sandboxes/new", ["create", "--ensure", "--name", "new"])):
        fake.faults[request] = cut
        fm.ok(*args)
        assert count(fake, request) == 2


def test_a_repeated_create_has_the_same_key(fm, fake):
    fake.faults["POST /api/sandboxes"] = cut
    fm.ok("create")
    keys = [f["idempotency-key"] for m, t, f in fake.requests if m == "POST"]
    assert len(keys) == 2 and keys[0] == keys[1] and len(keys[0]) > 16
    assert len(fake.sandboxes) == 1
    fm.ok("create")
    assert fake.requests[-1][2]["idempotency-key"] != keys[0]


def test_other_posts_are_not_repeated(fm, fake):
    fm.ok("create", "--name", "b")
    fake.faults["POST /api/sandboxes/b/stop"] = cut
    r = fm("stop", "b")
    assert r.returncode == 7 and count(fake, "POST /api/sandboxes/b/stop") == 1


def test_a_daemon_that_always_breaks_off_ends_it(fm, fake):
    fake.faults["GET /api/sandboxes"] = lambda c: "again"
    assert fm("ps").returncode == 7
    assert count(fake, "GET /api/sandboxes") == 3


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"items\":[",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ite",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + 200000 * b"x" + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnot JSON!",
    b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"items\":[{\"id\"}]",
    b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"items\":[{\"a\":1",
    b"HTTP/1.1 204 OK\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\0\0\0\0\r\n\r\n",
], ids=range(12))
def test_answers_that_are_none(fm, fake, answer):
    fake.faults["GET /api/sandboxes"] = lambda c: c.sock.sendall(answer)
    r = fm("ps")
    assert r.returncode in (1, 7) and r.stdout == b"" and r.error.startswith("sandmux: ")


def test_interim_replies_are_skipped(fm, fake):
    fake.faults["GET /version"] = lambda c: (c.sock.sendall(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"), c.reply(200, {"version": "7"}))
    assert "daemon  7" in fm.ok("version").text


def test_nobody_at_the_url(fm):
    for url in ("unix:/nonexistent.sock", "http://127.0.0.1:1", "https://127.0.0.1:1"):
        r = fm("ps", "--url", url)
        assert r.returncode == 7 and url in r.error
    assert fm("ps", "--url", "localhost:8000").returncode == 1


def upgrade(c, fake):
    key = fake.requests[-1][2]["sec-websocket-key"].encode()
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    c.sock.sendall(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    c.next_frame()


def test_streams_that_break_off_are_our_failure(fm, fake):
    fm.ok("create", "--name", "b")

    def started(c):
        upgrade(c, fake)
        c.text({"start": {"pid": 1}})
        c.frame(2, b"\x01some output\n")

    for fault in (started,
                  lambda c: upgrade(c, fake),
                  lambda c: c.sock.sendall(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                           b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"),
                  lambda c: c.reply(200, {}),
                  lambda c: (upgrade(c, fake), c.sock.sendall(b"\xff\xff\xff\xff")),
                  lambda c: (upgrade(c, fake), c.frame(1, b"not JSON")),
                  lambda c: (upgrade(c, fake), c.frame(8, b"\x03\xe8")),
                  lambda c: (upgrade(c, fake), c.text({"start": {"pid": 1}}), c.frame(8, b""))):
        fake.faults["GET /api/sandboxes/b/exec"] = fault
        r = fm("exec", "b", "--", "true")
        assert r.returncode == 125 and r.error.startswith("sandmux: "), r


def test_output_before_the_break_is_not_lost(fm, fake):
    fm.ok("create", "--name", "b")

    def fault(c):
        upgrade(c, fake)
        c.text({"start": {"pid": 1}})
        c.frame(2, b"\x01half")
        c.text({"error": {"code": "provider_unavailable", "detail": "the engine is gone", "status": 502}})

    fake.faults["GET /api/sandboxes/b/exec"] = fault
    r = fm("exec", "b", "--", "true")
    assert (r.returncode, r.stdout) == (125, b"half") and "the engine is gone" in r.error


def test_fragments_pings_and_empty_frames(fm, fake):
    fm.ok("create", "--name", "b")
    seen = []

    def fault(c):
        upgrade(c, fake)
        c.text({"start": {"pid": 1}})
        c.frame(9, b"are you there")
        c.sock.sendall(b"\x02\x03\x01ab" + b"\x00\x01c" + b"\x80\x01d")  # one binary message in three fragments
        c.frame(2, b"\x02")
        c.frame(2, b"\x02err")
        c.sock.sendall(b"\x01\x08{\"exit\":" + b"\x80\x10{\"exit_code\":4}}")
        seen.extend(c.next_frame() for _ in range(2))

    fake.faults["GET /api/sandboxes/b/exec"] = fault
    r = fm("exec", "b", "--no-stdin", "--", "true")
    assert (r.returncode, r.stdout, r.stderr) == (4, b"abcd", b"err")
    for _ in range(500):  # the fake's thread may be behind
        if len(seen) == 2:
            break
        time.sleep(0.01)
    assert (10, b"are you there") in seen  # beside the end of stdin


def test_uploads_that_are_refused_half_way(fm, fake, tmp_path):
    fm.ok("create", "--name", "b")
    (tmp_path / "big").write_bytes(bytes(20_000_000))

    def full(c):
        c.read(100000)
        c.problem(507, "out_of_disk", "the disk of the sandbox is full")

    fake.faults["PUT /api/sandboxes/b/files/content"] = full
    r = fm("cp", "big", "b:big")
    assert r.returncode == 6 and "disk of the sandbox is full" in r.error


def test_a_download_that_breaks_off_leaves_the_old_file(fm, fake, tmp_path):
    fm.ok("create", "--name", "b")
    fm.ok("cp", "-", "b:f", input=b"new")
    (tmp_path / "f").write_bytes(b"old")
    fake.faults["GET /api/sandboxes/b/files/content"] = lambda c: c.sock.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    assert fm("cp", "b:f", "f").returncode == 7
    assert (tmp_path / "f").read_bytes() == b"old" and not list(tmp_path.glob("*.part"))
    fm.ok("cp", "b:f", "f")
    assert (tmp_path / "f").read_bytes() == b"new"
