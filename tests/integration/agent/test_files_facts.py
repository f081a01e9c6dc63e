"""GET and POST /files: each case is one that E2B's envd was observed to answer."""
import gzip
import json
import os
import random
import time

import pytest
from agentclient import agent, files_target, until  # noqa: F401 (agent is a fixture)


def error(reply):
    status, headers, body = reply
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["x-content-type-options"] == "nosniff" and body.endswith(b"\n")
    message = json.loads(body)
    assert message["code"] == status
    return status, message["message"]


def multipart(*parts, boundary="XbX", end=True):
    """parts: (name, filename or None, data)"""
    out = b""
    for name, filename, data in parts:
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if filename is not None:
            out += b'; filename="' + filename.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
        out += b"\r\n\r\n" + data + b"\r\n"
    return out + (f"--{boundary}--\r\n".encode() if end else b"")


def post_form(agent, body, kind="multipart/form-data; boundary=XbX", headers=None, path=None, **query):
    return agent.request("POST", files_target(path, **query), body, {"Content-Type": kind, **(headers or {})})


def test_get_missing(agent):
    assert error(agent.get("/nosuch/f")) == (404, "path '/nosuch/f' does not exist")


def test_get_dir(agent):
    assert error(agent.get("/etc")) == (400, "path '/etc' is a directory")


def test_get_no_path(agent):
    assert error(agent.get(None)) == (400, "path '/home/user' is a directory")


def test_get_through_file(agent):
    assert error(agent.get("/etc/passwd/x"))[0] == 500


def test_get_unknown_user(agent):
    status, message = error(agent.get("/etc/passwd", username="nosuch"))
    assert status == 401 and message.startswith("error looking up user 'nosuch'")


def test_get_other(agent):
    status, message = error(agent.get("~root/x"))
    assert status == 400 and message.startswith("error expanding and resolving path '~root/x':")


def test_get_dup_path(agent):
    status, headers, body = agent.request("GET", "/files?path=/a&path=/b")
    assert status == 400 and headers["content-type"].startswith("text/plain")
    assert body.startswith(b"Invalid format for parameter path:")
    assert agent.request("GET", "/files?path=%zz")[0] == 400
    assert agent.request("GET", "/files?path=a%00b")[0] == 400


def test_get_long_names(agent):
    assert error(agent.get("/tmp/" + "a" * 256))[0] == 500
    assert error(agent.get("/tmp/" + "a/" * 2500))[0] == 500


def test_get_ok(agent):
    status, headers, body = agent.get("/home/hostname")
    assert (status, body) == (200, b"vm\n")
    assert headers["accept-ranges"] == "bytes" and headers["content-length"] == "3"
    assert headers["content-disposition"] == "inline; filename=hostname"
    assert headers["content-type"] == "text/plain; charset=utf-8" and headers["last-modified"].endswith(" GMT")


def test_get_range(agent):
    agent.put("/tmp/digits", b"0123456789" * 20000)
    for field, want in (("bytes=0-9", (0, 10)), ("bytes=5-", (5, 200000)), ("bytes=-7", (199993, 200000)),
                        ("bytes=199999-", (199999, 200000)), ("bytes=10-999999999", (10, 200000)),
                        ("bytes=-999999999", (0, 200000)), ("bytes=3-150000", (3, 150001))):
        status, headers, body = agent.get("/tmp/digits", {"Range": field})
        assert status == 206 and body == (b"0123456789" * 20000)[want[0]:want[1]]
        assert headers["content-range"] == f"bytes {want[0]}-{want[1] - 1}/200000"


@pytest.mark.parametrize("field", ["bytes=3-", "bytes=9-1", "bytes=-", "bytes=-0", "bytes=a-b", "lines=1-2"])
def test_get_bad_range(agent, field):
    status, headers, body = agent.get("/home/hostname", {"Range": field})
    assert status == 416 and headers["content-range"] == "bytes */3" and body == b"invalid range: failed to overlap\n"


def test_get_conditions(agent):
    modified = agent.get("/home/hostname")[1]["last-modified"]
    assert agent.get("/home/hostname", {"If-Modified-Since": modified})[0::2] == (304, b"")
    assert agent.get("/home/hostname", {"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"})[0] == 200
    assert agent.get("/home/hostname", {"If-Modified-Since": "yesterday"})[0] == 200
    assert agent.get("/home/hostname", {"Range": "bytes=0-0", "If-Range": modified})[0] == 206
    assert agent.get("/home/hostname", {"Range": "bytes=0-0", "If-Range": '"tag"'})[0] == 200
    assert agent.get("/home/hostname", {"Range": "bytes=0-0,2-2"})[0::2] == (200, b"vm\n")


def test_get_gzip(agent):
    assert agent.get("/home/hostname", {"Accept-Encoding": "gzip, deflate"})[2] == b"vm\n"


def test_get_406(agent):
    status, message = error(agent.get("/home/hostname", {"Accept-Encoding": "br, identity;q=0"}))
    assert status == 406 and message.startswith("error parsing Accept-Encoding")


def test_get_empty(agent):
    agent.put("/tmp/empty", b"")
    status, headers, body = agent.get("/tmp/empty")
    assert (status, headers["content-length"], body) == (200, "0", b"")


def test_get_proc(agent):
    status, headers, body = agent.get("/proc/self/status")
    assert status == 200 and b"Name:" in body
    assert agent.get("/proc/1/environ")[0] in (200, 500)


def test_get_device_and_fifo(agent):
    assert agent.get("/dev/null")[2] == b""
    agent.sh("mkfifo /tmp/get-fifo")
    c = agent.connect()
    c.request("GET", files_target("/tmp/get-fifo"))
    assert agent.sh("echo through > /tmp/get-fifo").code == 0  # the agent answers while the reader waits
    assert c.getresponse().read() == b"through\n"
    c.close()


def test_get_fifo_ends_with_its_client(agent):
    agent.sh("mkfifo /tmp/idle-fifo")
    for _ in range(3):
        c = agent.connect()
        c.request("GET", files_target("/tmp/idle-fifo"))
        time.sleep(0.05)
        c.close()
    until(lambda: children(agent) == 0, "a file call outlived its client")


def children(agent):
    pid = agent.host_pid
    return len(open(f"/proc/{pid}/task/{pid}/children").read().split())


def test_get_endless_device_ends_with_its_client(agent):
    c = agent.connect()
    c.request("GET", files_target("/dev/zero"))
    assert c.getresponse().read(1000) == bytes(1000)
    c.close()
    until(lambda: children(agent) == 0, "a file call outlived its client")


def test_waiting_file_calls_are_bounded_and_others_go_on(agent):
    agent.sh("mkfifo /tmp/many-fifo")
    clients = []
    for _ in range(20):
        c = agent.connect()
        c.request("GET", files_target("/tmp/many-fifo"))
        clients.append(c)
    until(lambda: children(agent) == 16, "the places are not taken")
    assert agent.get("/home/hostname")[2] == b"vm\n" and agent.run("true").code == 0
    for c in clients:
        c.close()
    until(lambda: children(agent) == 0, "file calls outlived their clients")


def test_post_raw(agent):
    status, headers, body = agent.put("a/b/c.txt", b"hello")
    assert status == 200 and headers["content-type"] == "text/plain; charset=utf-8"
    assert json.loads(body) == [{"name": "c.txt", "path": "/home/user/a/b/c.txt", "type": "file"}]
    assert agent.get("a/b/c.txt")[2] == b"hello"
    for path, mode in (("a", "drwxr-xr-x"), ("a/b", "drwxr-xr-x"), ("a/b/c.txt", "-rw-r--r--")):
        entry = agent.stat(path)[1]["entry"]
        assert (entry["owner"], entry["group"], entry["permissions"]) == ("user", "user", mode)


def test_post_raw_meta(agent):
    status, _, body = agent.put("meta", b"x", {"X-Metadata-Foo-Bar": "baz", "x-metadata-b": "two words"})
    assert json.loads(body)[0]["metadata"] == {"foo-bar": "baz", "b": "two words"}
    assert agent.stat("meta")[1]["entry"]["metadata"] == {"b": "two words", "foo-bar": "baz"}
    assert "metadata" not in json.loads(agent.put("meta", b"y")[2])[0]
    assert "metadata" not in agent.stat("meta")[1]["entry"]


def test_post_raw_no_path(agent):
    status, message = error(agent.request("POST", "/files", b"x", {"Content-Type": "application/octet-stream"}))
    assert (status, message) == (400, "path query parameter is required for raw body upload")


def test_post_raw_empty(agent):
    assert json.loads(agent.put("empty.txt", b"")[2]) == [
        {"name": "empty.txt", "path": "/home/user/empty.txt", "type": "file"}]
    assert agent.get("empty.txt")[2] == b""


def test_post_onto_dir(agent):
    assert error(agent.put("/home/user", b"x")) == (400, "path is a directory: /home/user")
    assert error(agent.put("/", b"x"))[0] == 400


def test_post_under_file(agent):
    status, message = error(agent.put("/etc/passwd/x", b"x"))
    assert (status, message) == (500, "error ensuring directories: path is a file: /etc/passwd/x")


def test_post_unknown_user(agent):
    assert error(agent.put("x", b"x", username="nosuch"))[0] == 401


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain", "multipart/mixed; boundary=x"])
def test_post_content_type(agent, kind):
    status, message = error(agent.put("x", b"x", {"Content-Type": kind}))
    assert status == 400 and message.startswith(f"unsupported content type: {kind}, expected")


def test_post_multipart_no_boundary(agent):
    status, message = error(post_form(agent, b"x", "multipart/form-data"))
    assert status == 500 and message.startswith("error parsing multipart form:")


def test_post_multipart_two(agent):
    status, headers, body = post_form(agent, multipart(("file", "m/one.txt", b"1"), ("file", "m/two.txt", b"\r\n2\r\n")))
    assert status == 200 and json.loads(body) == [
        {"name": "one.txt", "path": "/home/user/m/one.txt", "type": "file"},
        {"name": "two.txt", "path": "/home/user/m/two.txt", "type": "file"}]
    assert agent.get("m/one.txt")[2] == b"1" and agent.get("m/two.txt")[2] == b"\r\n2\r\n"


def test_post_multipart_two_and_path(agent):
    status, message = error(post_form(agent, multipart(("file", "1", b"1"), ("file", "2", b"2")), path="m/x.txt"))
    assert status == 400 and message.startswith("you cannot upload multiple files to the same path '/home/user/m/x.txt'")
    assert agent.get("m/x.txt")[2] == b"1"


def test_post_multipart_path_wins(agent):
    assert json.loads(post_form(agent, multipart(("file", None, b"v")), path="m/named")[2])[0]["name"] == "named"
    assert agent.get("m/named")[2] == b"v"


def test_post_multipart_other_name(agent):
    assert post_form(agent, multipart(("other", "o.txt", b"o")))[0::2] == (200, b"[]")
    assert agent.get("o.txt")[0] == 404


def test_post_multipart_truncated(agent):
    status, message = error(post_form(agent, multipart(("file", "t.txt", b"1" * 1000), end=False)))
    assert status == 500 and message.startswith("error reading")
    assert error(post_form(agent, b""))[0] == 500
    assert error(post_form(agent, b"rubbish"))[0] == 500


def test_post_gzip_body_bogus(agent):
    agent.put("gz", b"old")
    status, message = error(agent.put("gz", b"not gzip", {"Content-Encoding": "gzip"}))
    assert status == 400 and message.startswith("error decompressing request body:")
    assert agent.get("gz")[2] == b"old"


def test_post_br_body(agent):
    status, message = error(agent.put("br", b"x", {"Content-Encoding": "br"}))
    assert status == 400
    assert message == "error decompressing request body: unsupported Content-Encoding: br, supported: [gzip]"


@pytest.mark.parametrize("headers,words", [({"X-Metadata-k": "a\tb"}, "non-printable-ASCII byte 0x09 at offset 1"),
                                           ({"X-Metadata-k": "\xe9"}, "non-printable-ASCII byte"),
                                           ({"X-Metadata-" + "k" * 247: "v"}, "characters"),
                                           ({"X-Metadata-k": "v" * 4097}, "4096")])
def test_post_bad_metadata(agent, headers, words):
    status, message = error(agent.put("bad-meta", b"x", headers))
    assert status == 400 and message.startswith("invalid metadata:") and words in message
    assert agent.stat("bad-meta")[0] == 404


def test_field_report_5_names(agent):
    names = ["\U0001f923.txt", "a b#c%20d?&+=.txt", 'quo"te.txt', "n" * 255, "back\\slash", "-rf", "x;y"]
    for i, name in enumerate(names):
        data = f"content {i}".encode()
        assert agent.put("names/" + name, data)[0] == 200
        status, headers, body = agent.get("names/" + name)
        assert (status, body) == (200, data)
        assert json.loads(post_form(agent, multipart(("file", "form/" + name, data)))[2])[0]["name"] == name
    status, reply = agent.unary("/filesystem.Filesystem/ListDir", {"path": "names"})
    assert {e["name"] for e in reply["entries"]} == set(names)
    status, reply = agent.unary("/filesystem.Filesystem/Move",
                                {"source": "names/" + names[0], "destination": "names/" + "m" * 255})
    assert status == 200
    assert agent.unary("/filesystem.Filesystem/Remove", {"path": "names/" + names[2]}) == (200, {})
    assert error(agent.put("names/" + "n" * 256, b"x"))[0] == 500


def test_field_report_6_gzip(agent):
    content = random.Random(6).randbytes(300000) + b"text" * 50000
    packed = gzip.compress(content)
    agent.put("report6", b"old content")
    form = multipart(("file", "report6", content))
    for body, kind in ((packed[:len(packed) // 2], "application/octet-stream"),
                       (form, "multipart/form-data; boundary=XbX"),
                       (packed + b"rubbish", "application/octet-stream"),
                       (gzip.compress(form)[:-200], "multipart/form-data; boundary=XbX")):
        reply = agent.put("report6", body, {"Content-Encoding": "gzip", "Content-Type": kind})
        assert error(reply)[0] in (400, 415)
        assert agent.get("report6")[2] == b"old content"
    agent.sh("chmod 640 report6; ln report6 report6-link")
    assert agent.put("report6", packed, {"Content-Encoding": "gzip"})[0] == 200
    assert agent.get("report6-link")[2] == content and agent.stat("report6")[1]["entry"]["mode"] == 0o640
    assert post_form(agent, gzip.compress(form), headers={"Content-Encoding": "gzip"})[0] == 200
    assert agent.get("report6")[2] == content


def test_overwriting_keeps_the_mode_and_gives_the_file_to_the_user(agent):
    agent.sh("echo longer content > /tmp/over; chmod 705 /tmp/over", user="root")
    assert agent.put("/tmp/over", b"new")[0] == 200
    entry = agent.stat("/tmp/over")[1]["entry"]
    assert (entry["mode"], entry["owner"], entry["size"]) == (0o705, "user", "3")


def test_large_files_both_ways(agent):
    content = os.urandom(1 << 20) * 40
    for kind, body in (("application/octet-stream", content),
                       ("multipart/form-data; boundary=XbX", multipart(("file", "x", content)))):
        status, _, _ = agent.put("/tmp/large", body, {"Content-Type": kind})
        assert status == 200 and agent.get("/tmp/large")[2] == content
        assert agent.stat("/tmp/large")[1]["entry"]["owner"] == "user"
    c = agent.connect()
    c.request("POST", files_target("/tmp/large2"), iter([content[i:i + 99999] for i in range(0, len(content), 99999)]),
              {"Content-Type": "application/octet-stream"}, encode_chunked=True)
    assert c.getresponse().status == 200
    c.close()
    assert agent.get("/tmp/large2")[2] == content
    agent.unary("/filesystem.Filesystem/Remove", {"path": "/tmp/large"})
    agent.unary("/filesystem.Filesystem/Remove", {"path": "/tmp/large2"})


def test_an_upload_that_is_cut_is_no_success(agent):
    for size, sent in ((1 << 20, 1000), (1000, 10), (1 << 22, 1 << 21)):
        c = agent.connect()
        c.putrequest("POST", files_target("/tmp/cut"))
        c.putheader("Content-Type", "application/octet-stream")
        c.putheader("Content-Length", str(size))
        c.endheaders()
        c.sock.sendall(b"x" * sent)
        c.sock.shutdown(1)
        answer = c.sock.recv(65536)
        assert not answer.startswith(b"HTTP/1.1 2")
        c.close()
    until(lambda: children(agent) == 0, "a file call outlived its client")


def cut(agent, path, size, sent):
    """An upload of size bytes of which only some come; what the file is then."""
    c = agent.connect()
    c.putrequest("POST", files_target(path))
    c.putheader("Content-Type", "application/octet-stream")
    c.putheader("Content-Length", str(size))
    c.endheaders()
    c.sock.sendall(b"x" * sent)
    c.sock.shutdown(1)
    assert not c.sock.recv(65536).startswith(b"HTTP/1.1 2")
    c.close()
    return agent.get(path)[2]


def test_a_short_upload_that_is_cut_changes_nothing(agent):
    agent.put("/tmp/kept", b"what was there")
    for size, sent in ((1000, 0), (1000, 999), (65536, 65000)):
        assert cut(agent, "/tmp/kept", size, sent) == b"what was there"
    assert cut(agent, "/tmp/new-and-cut", 1000, 10) == b""
    assert agent.put("/tmp/kept", b"new")[0] == 200 and agent.get("/tmp/kept")[2] == b"new"
    assert agent.put("/tmp/kept", b"")[0] == 200 and agent.get("/tmp/kept")[2] == b""


def test_an_overwrite_is_in_place(agent):
    """As envd does it: links, mode and whoever has the file open see the new content; a long upload that is cut has begun."""
    for size in (100, 300_000):
        agent.sh("cd /tmp; rm -f place hard soft; printf old >place; chmod 640 place; ln place hard; ln -s place soft")
        before = agent.sh("stat -c '%i %a' /tmp/place").stdout
        assert agent.put("/tmp/soft", b"n" * size)[0] == 200
        assert agent.sh("stat -c '%i %a' /tmp/place").stdout == before
        assert agent.get("/tmp/hard")[2] == b"n" * size
        assert agent.sh("test -L /tmp/soft").code == 0
    left = cut(agent, "/tmp/place", 1 << 20, 1000)
    assert left == b"x" * len(left) and len(left) <= 1000


def test_full_disk(agent):
    agent.sh("mkdir -p /home/small && mount -t tmpfs -o size=1m,mode=777 tmpfs /home/small", user="root")
    if "/home/small" not in agent.sh("cat /proc/mounts").stdout.decode():
        pytest.skip("cannot mount inside")
    for kind, body in (("application/octet-stream", b"x" * (4 << 20)),
                       ("multipart/form-data; boundary=XbX", multipart(("file", "f", b"x" * (4 << 20))))):
        status, message = error(agent.put("/home/small/f", body, {"Content-Type": kind}))
        assert status == 507 and "not enough disk space" in message
    agent.sh("rm /home/small/f; head -c 1048576 /dev/zero > /home/small/fill")
    assert error(agent.put("/home/small/g", b"x" * 5000))[0] == 507
    assert agent.put("/tmp/after", b"fine")[0] == 200


def test_post_to_a_fifo(agent):
    agent.sh("mkfifo /tmp/post-fifo")
    c = agent.connect()
    c.request("POST", files_target("/tmp/post-fifo"), b"into the pipe", {"Content-Type": "application/octet-stream"})
    assert agent.run("cat", "/tmp/post-fifo").stdout == b"into the pipe"
    assert c.getresponse().status == 200
    c.close()
