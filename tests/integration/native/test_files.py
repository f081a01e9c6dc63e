"""files: content up and down, Range, multipart, listing, folders, moving, deleting; names and paths of every kind."""
import hashlib
import http.client
import os
import random

import pytest
import requests

from conftest import SANITIZED, until

pytestmark = pytest.mark.root

NAMES = ["plain.txt", "🤣.txt", "a b#c%20d?&+=.txt", 'quo"te.txt', "-dash", "n" * 255, "tab\there", "back\\slash", "new\nline"]


def content(box, path, **more):
    return box.daemon.get(f"{box.path}/files/content", params={"path": path}, **more)


def listing(box, path, **query):
    reply = box.daemon.get(f"{box.path}/files", params={"path": path, **query})
    assert reply.status_code == 200, reply.text
    return {f["name"]: f for f in reply.json()["files"]}


@pytest.mark.parametrize("name", NAMES)
def test_field_report_5_names_and_empty_files(module_sandbox, name):
    folder = "/workspace/names"
    for data in (b"", b"bytes \0\xff"):
        module_sandbox.write_file(f"{folder}/{name}", data)
        assert module_sandbox.read_file(f"{folder}/{name}") == data
        assert listing(module_sandbox, folder)[name]["size"] == len(data)
    moved = module_sandbox.daemon.post(f"{module_sandbox.path}/files/move", json={"from": f"{folder}/{name}", "to": f"{folder}/x"})
    assert moved.status_code == 200, moved.text
    assert module_sandbox.read_file(f"{folder}/x") == b"bytes \0\xff"
    gone = module_sandbox.daemon.delete(f"{module_sandbox.path}/files", params={"path": f"{folder}/x"})
    assert gone.status_code == 204


def test_a_name_of_256_bytes_is_a_clear_error(module_sandbox):
    reply = module_sandbox.daemon.put(f"{module_sandbox.path}/files/content", params={"path": "n" * 256}, data=b"x")
    assert reply.status_code == 422 and "255" in reply.json()["detail"], reply.text


@pytest.mark.parametrize("path,part", [("x" * 5000, "path"), ("a\0b", "path"), ("", "path")])
def test_bad_paths(module_sandbox, path, part):
    for reply in (content(module_sandbox, path),
                  module_sandbox.daemon.put(f"{module_sandbox.path}/files/content", params={"path": path}, data=b"x"),
                  module_sandbox.daemon.get(f"{module_sandbox.path}/files", params={"path": path})):
        assert reply.status_code == 422 and part in reply.json()["detail"], reply.text


@pytest.mark.parametrize("path,status,code", [
    ("/etc/hostname/below/a/file", 422, "invalid_request"), ("/usr/read-only", 403, "forbidden"), ("/proc/no-such", 404, "file_not_found")])
def test_what_the_kernel_refuses_is_the_caller_s_to_know(module_sandbox, path, status, code):
    """None of these is a fault of ours or of the protocol."""
    d, box = module_sandbox.daemon, module_sandbox.path
    for reply in (d.put(f"{box}/files/content", params={"path": path}, data=b"x"),
                  d.put(f"{box}/files", params={"path": path}) if "proc" not in path else None,
                  d.post(f"{box}/files/move", json={"from": "/etc/hosts", "to": path}) if "etc" in path else None):
        assert reply is None or (reply.status_code, reply.json()["code"]) == (status, code), reply.text


def test_put_says_whether_it_made_or_replaced(module_sandbox):
    assert module_sandbox.write_file("/workspace/deep/er/file", b"1").status_code == 201
    assert module_sandbox.write_file("/workspace/deep/er/file", b"22").status_code == 200
    assert module_sandbox.read_file("deep/er/file") == b"22"  # relative paths start at /workspace


def test_put_sets_a_mode_when_asked(module_sandbox):
    put = lambda mode: module_sandbox.daemon.put(f"{module_sandbox.path}/files/content", params={"path": "run.sh", "mode": mode}, data="#!/bin/sh\necho ran\n")
    assert put("0755").status_code == 201
    assert module_sandbox.exec(["/workspace/run.sh"])["stdout"] == "ran\n"
    assert put("rwx").status_code == 422


def test_missing_files_are_not_found(module_sandbox):
    for reply in (content(module_sandbox, "/no/such"), module_sandbox.daemon.get(f"{module_sandbox.path}/files", params={"path": "/no/such"}),
                  module_sandbox.daemon.get(f"{module_sandbox.path}/files", params={"path": "/no/such", "stat": 1}),
                  module_sandbox.daemon.delete(f"{module_sandbox.path}/files", params={"path": "/no/such"}),
                  module_sandbox.daemon.post(f"{module_sandbox.path}/files/move", json={"from": "/no/such", "to": "/tmp/x"})):
        assert (reply.status_code, reply.json()["code"]) == (404, "file_not_found"), reply.text
        assert "not found" in reply.text.lower()


def test_a_folder_has_no_content_and_a_file_no_listing(module_sandbox):
    assert content(module_sandbox, "/tmp").status_code == 422
    module_sandbox.write_file("/tmp/file", b"x")
    assert module_sandbox.daemon.get(f"{module_sandbox.path}/files", params={"path": "/tmp/file"}).status_code == 422


def test_range(module_sandbox):
    module_sandbox.write_file("/tmp/range", b"0123456789")
    part = lambda r: content(module_sandbox, "/tmp/range", headers={"Range": r})
    reply = part("bytes=2-4")
    assert (reply.status_code, reply.content, reply.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert part("bytes=7-").content == b"789" and part("bytes=-2").content == b"89" and part("bytes=8-99").content == b"89"
    assert part("bytes=10-").status_code == 416 and part("bytes=10-").headers["Content-Range"] == "bytes */10"
    assert (part("bytes=0-1,4-5").status_code, part("lines=1").status_code) == (200, 200)


def test_head_tells_the_size(module_sandbox):
    module_sandbox.write_file("/tmp/head", b"x" * 12345)
    reply = module_sandbox.daemon.request("HEAD", f"{module_sandbox.path}/files/content", params={"path": "/tmp/head"})
    assert (reply.status_code, reply.headers["Content-Length"], reply.content) == (200, "12345", b"")


def test_content_is_a_download_never_a_page(module_sandbox):
    module_sandbox.write_file("/tmp/evil.html", b"<script>alert(1)</script>")
    reply = content(module_sandbox, "/tmp/evil.html")
    assert reply.headers["Content-Type"] == "application/octet-stream" and reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Content-Disposition"] == "attachment; filename*=UTF-8''evil.html"


def test_a_hundred_megabytes_up_and_down_in_constant_memory(daemon, module_sandbox):
    size = (20 if SANITIZED else 100) * 1024 * 1024
    block = random.Random(3).randbytes(1024 * 1024)
    sent = hashlib.sha256()

    def blocks():
        for i in range(size // len(block)):
            piece = i.to_bytes(8, "big") + block[8:]
            sent.update(piece)
            yield piece

    before = daemon.rss_kib("sandmux-gateway")
    reply = daemon.put(f"{module_sandbox.path}/files/content", params={"path": "/workspace/big"}, data=blocks())
    assert reply.status_code == 201 and reply.json()["size"] == size, reply.text
    got = hashlib.sha256()
    with content(module_sandbox, "/workspace/big", stream=True) as reply:
        assert int(reply.headers["Content-Length"]) == size
        for piece in reply.iter_content(1024 * 1024):
            got.update(piece)
    assert got.digest() == sent.digest()
    if not SANITIZED:
        assert daemon.rss_kib("sandmux-gateway") - before < 8 * 1024
    module_sandbox.exec("rm /workspace/big")


def test_an_upload_that_is_cut_is_no_success(daemon, module_sandbox):
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port)
    connection.putrequest("PUT", f"{module_sandbox.path}/files/content?path=/tmp/cut")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders()
    connection.send(b"x" * 1000)
    connection.close()
    until(lambda: module_sandbox.exec("true")["exit_code"] == 0)
    assert len(content(module_sandbox, "/tmp/cut").content) != 1000000


def test_upload_by_form(daemon, module_sandbox):
    post = lambda **form: daemon.post(f"{module_sandbox.path}/files", **form)
    reply = post(data={"path": "/workspace/form/ü.bin"}, files={"file": ("ignored", bytes(range(256)) * 1000)})
    assert reply.status_code == 200, reply.text
    assert module_sandbox.read_file("/workspace/form/ü.bin") == bytes(range(256)) * 1000
    assert post(files={"file": ("named.txt", b"by its name")}).status_code == 200
    assert module_sandbox.read_file("/workspace/named.txt") == b"by its name"


@pytest.mark.parametrize("headers,body,part", [
    ({"Content-Type": "text/plain"}, b"x", "multipart"),
    ({"Content-Type": "multipart/form-data"}, b"x", "boundary"),
    ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\n/x\r\n--b--\r\n", "file"),
    ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b\r\nContent-Disposition: form-data; name=\"what\"\r\n\r\nx\r\n--b--\r\n", "what"),
    ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\ncut", ""),
])
def test_bad_forms(daemon, module_sandbox, headers, body, part):
    reply = daemon.post(f"{module_sandbox.path}/files", data=body, headers=headers)
    assert 400 <= reply.status_code < 500 or reply.status_code == 502, reply.text
    assert part in reply.json()["detail"]


def test_listing_tells_kinds_and_permissions(module_sandbox):
    module_sandbox.exec("mkdir -p /tmp/kinds/dir; cd /tmp/kinds; echo 12345 > file; chmod 640 file; ln -s file link; ln -s nowhere dead; mkfifo fifo")
    found = listing(module_sandbox, "/tmp/kinds")
    assert set(found) == {"dir", "file", "link", "dead", "fifo"}
    assert found["dir"]["is_dir"] is True and found["dir"]["type"] == "dir"
    assert (found["file"]["size"], found["file"]["permissions"], found["file"]["path"]) == (6, "0640", "/tmp/kinds/file")
    assert found["dead"]["type"] == "symlink" and found["fifo"]["type"] == "other" and found["link"]["target"]
    assert "T" in found["file"]["mod_time"]
    deep = listing(module_sandbox, "/tmp", depth=2)
    assert "file" in deep
    one = module_sandbox.daemon.get(f"{module_sandbox.path}/files", params={"path": "/tmp/kinds/file", "stat": 1}).json()
    assert (one["name"], one["size"]) == ("file", 6)


def test_a_listing_of_a_thousand(module_sandbox):
    module_sandbox.exec("mkdir -p /tmp/many; cd /tmp/many; seq 1000 | xargs touch")
    assert len(listing(module_sandbox, "/tmp/many")) == 1000


def test_folders_are_made_and_removed(daemon, module_sandbox):
    put = lambda path: daemon.put(f"{module_sandbox.path}/files", params={"path": path})
    remove = lambda path, **q: daemon.delete(f"{module_sandbox.path}/files", params={"path": path, **q})
    assert put("/tmp/made/a/b").status_code == 201
    assert put("/tmp/made/a/b").status_code == 200
    module_sandbox.write_file("/tmp/made/file", b"x")
    assert put("/tmp/made/file").status_code in (409, 422)
    full = remove("/tmp/made")
    assert full.status_code == 409 and "recursive" in full.text
    assert remove("/tmp/made/a/b").status_code == 204
    assert remove("/tmp/made", recursive=1).status_code == 204
    assert content(module_sandbox, "/tmp/made/file").status_code == 404


def test_a_fifo_holds_nobody(daemon, module_sandbox):
    module_sandbox.exec("mkfifo /tmp/pipe")
    with pytest.raises(requests.Timeout):
        content(module_sandbox, "/tmp/pipe", timeout=2)
    assert module_sandbox.exec("echo fine")["stdout"] == "fine\n"
    module_sandbox.exec("rm /tmp/pipe")


def test_a_full_disk_is_said(daemon):
    box = daemon.create(resources={"disk_mib": 16})
    reply = daemon.put(f"{box.path}/files/content", params={"path": "big"}, data=b"\0" * (64 * 1024 * 1024))
    assert reply.status_code != 500, reply.text
    if reply.status_code != 201:
        assert (reply.status_code, reply.json()["code"]) in ((507, "out_of_disk"), (409, "state_conflict"), (502, "connection_closed"))
    daemon.delete(f"{box.path}?missing_ok=1")
