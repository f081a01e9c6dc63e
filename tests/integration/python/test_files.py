"""Files through the package."""
import hashlib
import io
import os
import pathlib
import resource

import pytest

pytest_plugins = ["python_package"]
pytestmark = pytest.mark.root
NAMES = ["plain", "with space", "🤣.txt", "a b#c%20d?&+=.txt", "quo\"te's.txt", "-rf", "x" * 255, "new\nline", "back\\slash", "..."]


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)), b"\r\n\0" * 5000], ids=["empty", "one", "all", "lines"])
def test_r14_bytes_are_exact(box, content):
    box.fs.upload_file(content, "/workspace/exact")
    assert box.fs.download_file("/workspace/exact") == content
    assert box.fs.get_file_info("/workspace/exact").size == len(content)


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_r14_and_field_05_any_legal_name(box, name):
    folder = f"/workspace/names {len(name)}/deep"
    box.fs.upload_file(name, f"{folder}/{name}")
    assert [f.name for f in box.fs.list_files(folder)] == [name]
    assert box.fs.download_file(f"{folder}/{name}").decode() == name
    box.fs.move_files(f"{folder}/{name}", f"{folder}/other")
    assert box.fs.download_file(f"{folder}/other").decode() == name
    box.fs.delete_file(f"{folder}/other")
    assert box.fs.list_files(folder) == []


def test_a_name_too_long_is_a_clear_error(box):
    from sandbox import SandboxError
    with pytest.raises(SandboxError, match="(?i)name|long"):
        box.fs.upload_file(b"", "/workspace/" + "x" * 256)


def test_r14_hundred_mebibytes_by_path_and_back(box, tmp_path):
    """Streamed: the memory of this process does not grow with them."""
    source, back = tmp_path / "source", tmp_path / "back"
    block = os.urandom(1 << 20)
    with open(source, "wb") as f:
        for i in range(100):
            f.write(block[i:] + block[:i])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    box.fs.upload_file(source, "/workspace/big")
    box.fs.download_file("/workspace/big", str(back))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert hashlib.sha256(back.read_bytes()).hexdigest() == digest
    assert box.process.exec("sha256sum < /workspace/big").result.split()[0] == digest
    assert hashlib.sha256(box.fs.download_file("/workspace/big")).hexdigest() == digest
    box.fs.delete_file("/workspace/big")


def test_contents_of_every_kind(box, tmp_path):
    local = tmp_path / "local"
    local.write_bytes(b"from a path")
    for content, wanted in [(bytearray(b"ba"), b"ba"), (memoryview(b"mv"), b"mv"), ("ü\0", "ü\0".encode()), (local, b"from a path"),
                            (io.BytesIO(b"stream"), b"stream")]:
        box.fs.upload_file(content, "/workspace/kind")
        assert box.fs.download_file("/workspace/kind") == wanted
    with open(local, "rb") as f:
        assert f.read(5) == b"from "
        box.fs.upload_file(f, "/workspace/kind")  # from where it stands
    assert box.fs.download_file("/workspace/kind") == b"a path"
    box.fs.upload_files([(b"1", "/workspace/one"), (b"2", "/workspace/two")])
    assert box.fs.download_file("/workspace/one") + box.fs.download_file("/workspace/two") == b"12"


def test_downloads_of_every_kind(box, tmp_path):
    box.fs.upload_file(b"content", "/workspace/d")
    assert box.fs.download_file("/workspace/d", 30) == b"content"  # (path, timeout)
    assert box.fs.download_file("/workspace/d", tmp_path / "d", 30) is None
    assert (tmp_path / "d").read_bytes() == b"content"
    for mode in ("wb", "w+b"):
        with open(tmp_path / "e", mode) as f:
            f.write(b"before ")
            box.fs.download_file("/workspace/d", f)
            f.write(b" after")
        assert (tmp_path / "e").read_bytes() == b"before content after"
    memory = io.BytesIO()
    box.fs.download_file("/workspace/d", memory)
    assert memory.getvalue() == b"content"


def test_a_download_that_fails_leaves_nothing(box, tmp_path):
    (tmp_path / "kept").write_text("old")
    with pytest.raises(FileNotFoundError):
        box.fs.download_file("/workspace/none", tmp_path / "kept")
    assert [p.name for p in tmp_path.iterdir()] == ["kept"] and (tmp_path / "kept").read_text() == "old"
    with pytest.raises(FileNotFoundError):
        box.fs.download_file("/etc/hostname", tmp_path / "no such folder" / "x")
    with open("/dev/full", "wb", buffering=0) as full:
        box.fs.upload_file(b"x" * 100000, "/workspace/d")
        with pytest.raises(OSError, match="No space"):
            box.fs.download_file("/workspace/d", full)
    assert box.fs.download_file("/etc/hostname")  # the connection is not spoiled


def test_an_upload_whose_source_breaks_is_an_error(box):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as not_readable, pytest.raises(OSError):
        box.fs.upload_file(not_readable, "/workspace/u")
    box.fs.upload_file(b"whole", "/workspace/u")
    assert box.fs.download_file("/workspace/u") == b"whole"


def test_r41_missing_things_say_not_found(box):
    from sandbox.errors import SandboxFileNotFoundError
    for call in (box.fs.download_file, box.fs.get_file_info, box.fs.delete_file, box.fs.list_files,
                 lambda p: box.fs.set_file_permissions(p, "644"), lambda p: box.fs.move_files(p, "/workspace/y"),
                 lambda p: box.fs.find_files(p, "x"), lambda p: box.fs.search_files(p, "*")):
        with pytest.raises(FileNotFoundError) as caught:
            call("/workspace/nothing here")
        assert "not found" in str(caught.value).lower()
        assert isinstance(caught.value, SandboxFileNotFoundError) and caught.value.hint
    assert not box.fs.exists("/workspace/nothing here") and box.fs.exists("/workspace")


def test_entries_have_what_callers_read(box):
    box.process.exec("rm -rf /workspace/e; mkdir -p /workspace/e/sub; echo 12345 >/workspace/e/f; chmod 640 /workspace/e/f; "
                     "ln -s f /workspace/e/l; ln -s gone /workspace/e/dangling")
    by_name = {f.name: f for f in box.fs.list_files("/workspace/e")}
    f = by_name["f"]
    assert (f.is_dir, f.size, f.permissions, f.mode, f.owner, f.group) == (False, 6, "0640", "-rw-r-----", "root", "root")
    assert f.mod_time.endswith("Z") and by_name["sub"].is_dir
    assert by_name["l"].target
    link = box.fs.get_file_info("/workspace/e/l")
    assert (link.name, link.size, link.is_dir) == ("l", 6, False)
    with pytest.raises(FileNotFoundError):
        box.fs.get_file_info("/workspace/e/dangling")
    assert box.fs.list_files("e")[0].path.startswith("/workspace/e/")  # relative to /workspace


def test_folders(box):
    box.fs.create_folder("/workspace/g/h", "755")
    box.fs.create_folder("/workspace/g/h", "700")  # is there already: stays as it is
    assert box.fs.get_file_info("/workspace/g/h").permissions == "0755"
    box.fs.create_folder("/workspace/g/i", "1777")
    assert box.process.exec("stat -c %a /workspace/g/i").result == "1777\n"
    box.fs.set_file_permissions("/workspace/g/i", "0711", owner="nobody", group="nogroup")
    assert box.process.exec("stat -c '%a %U %G' /workspace/g/i").result == "711 nobody nogroup\n"
    with pytest.raises(Exception, match="(?i)empty|recursive"):
        box.fs.delete_file("/workspace/g")
    box.fs.delete_file("/workspace/g", recursive=True)
    assert not box.fs.exists("/workspace/g")


@pytest.mark.parametrize("mode", ["rwx", "999", "", "7", -1, 0o10000, True])
def test_bad_modes(box, mode):
    with pytest.raises(ValueError, match="mode"):
        box.fs.set_file_permissions("/workspace", mode)


@pytest.mark.parametrize("path,kind", [("/a\0b", ValueError), ("/a\udc80", ValueError), (b"/bytes", TypeError), (None, TypeError), (3, TypeError)])
def test_bad_paths_are_clear_errors(box, path, kind):
    for call in (box.fs.download_file, box.fs.list_files, box.fs.delete_file, lambda p: box.fs.upload_file(b"", p),
                 box.fs.create_folder, box.fs.get_file_info):
        with pytest.raises(kind, match="path"):
            call(path)
    with pytest.raises(ValueError, match="content"):
        box.fs.upload_file("\ud800", "/workspace/x")
    with pytest.raises(TypeError, match="content"):
        box.fs.upload_file(17, "/workspace/x")


def test_r41_nothing_leads_out(box):
    secret = pathlib.Path("/var/tmp/smx-python-secret")
    secret.write_text("host")
    try:
        box.process.exec(f"ln -sf ../../../../../../{secret} /workspace/out")
        for path in (f"/../../../..{secret}", "/workspace/out", str(secret)):
            with pytest.raises(FileNotFoundError):
                box.fs.download_file(path)
    finally:
        secret.unlink()


def test_looking_for_things(box):
    box.process.exec("rm -rf /workspace/s; mkdir -p /workspace/s/sub")
    box.fs.upload_file("one\ntwo needle: x\n", "/workspace/s/a b.txt")
    box.fs.upload_file("needle\n", "/workspace/s/sub/c:d.py")
    found = sorted((m.file, m.line, m.content) for m in box.fs.find_files("/workspace/s", "needle"))
    assert found == [("/workspace/s/a b.txt", 2, "two needle: x"), ("/workspace/s/sub/c:d.py", 1, "needle")]
    assert box.fs.find_files("/workspace/s", "-none.*") == []
    assert box.fs.search_files("/workspace/s", "*.py").files == ["/workspace/s/sub/c:d.py"]
    results = box.fs.replace_in_files(["/workspace/s/a b.txt", "/workspace/s/none"], "needle", "pin\\1&")
    assert [r.success for r in results] == [True, False] and "not found" in results[1].error
    assert box.fs.download_file("/workspace/s/a b.txt") == b"one\ntwo pin\\1&: x\n"
