"""cp between here and a real sandbox."""
import os
import subprocess

import pytest

pytestmark = pytest.mark.root
NAMES = ["🤣.txt", "a b#c%20d?&+=.txt", 'quo"te\'.txt', "-dash", "x" * 255, "tab\tand\nnewline", "trailing "]


def tree(path):
    """What a copy has to keep: kinds, modes, times, content, targets, which names are one file."""
    found, inodes = {}, {}
    for folder, dirs, files in os.walk(path):
        for name in dirs + files:
            p = os.path.join(folder, name)
            st = os.lstat(p)
            kind = "link " + os.readlink(p) if os.path.islink(p) else "dir" if os.path.isdir(p) else open(p, "rb").read()
            same = inodes.setdefault(st.st_ino, p) if st.st_nlink > 1 and not os.path.isdir(p) else None
            mode = None if os.path.islink(p) else oct(st.st_mode)
            mtime = None if os.path.islink(p) else st.st_mtime_ns
            found[os.path.relpath(p, path)] = (kind, mode, mtime, same and os.path.relpath(same, path))
    return found


@pytest.fixture
def folder(tmp_path):
    src = tmp_path / "src"
    (src / "sub" / "empty").mkdir(parents=True)
    (src / "none").write_bytes(b"")
    (src / "big").write_bytes(os.urandom(3_000_001))
    for name in NAMES:
        (src / name).write_text(name)
    (src / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (src / "sub" / "run.sh").chmod(0o751)
    os.link(src / "big", src / "sub" / "same")
    (src / "link").symlink_to("big")
    (src / "dangling").symlink_to("/no/such/" + "y" * 120)
    deep = src
    for i in range(12):
        deep = deep / f"{i}-{'d' * 30}"
    deep.mkdir(parents=True)
    (deep / "leaf").write_text("deep")
    os.utime(src / "none", ns=(0, 981173106_789000001))
    os.utime(src / "sub" / "run.sh", ns=(0, -315619200 * 10**9))
    (src / "sub").chmod(0o700)
    return src


def test_a_folder_there_and_back(sm, box, folder, tmp_path):
    sm.ok("cp", "src", f"{box}:")
    sm.ok("cp", f"{box}:src", "back")
    assert tree(tmp_path / "back") == tree(folder)


def test_where_a_folder_lands(sm, box, tmp_path):
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "f").write_text("x")
    find = ["exec", box, "-w", "/tmp", "-c", "find t -type f"]
    sm.ok("cp", "d", f"{box}:/tmp/t")  # is not there: becomes it
    assert sm.ok(*find).text == "t/f\n"
    sm.ok("cp", "d", f"{box}:/tmp/t")  # is there: goes into it
    assert sm.ok(*find).text.split() == ["t/d/f", "t/f"] or sm.ok(*find).text.split() == ["t/f", "t/d/f"]
    sm.ok("cp", "d/.", f"{box}:/tmp/t/d/e2")
    assert "t/d/e2/f" in sm.ok(*find).text
    sm.ok("cp", f"{box}:/tmp/t", "into")
    sm.ok("cp", f"{box}:/tmp/t", "into")
    assert (tmp_path / "into" / "t" / "f").read_text() == "x"
    sm.ok("cp", f"{box}:/tmp/t/.", "into")
    assert not (tmp_path / "into" / "t" / "t").exists()


def test_single_files(sm, box, tmp_path):
    for n, data in enumerate((b"", b"x", os.urandom(5_000_000))):
        (tmp_path / "f").write_bytes(data)
        (tmp_path / "f").chmod(0o640 + n)
        sm.ok("cp", "f", f"{box}:/tmp/g")
        assert sm.ok("exec", box, "-c", "stat -c %a /tmp/g").text == f"{0o640 + n:o}\n"
        sm.ok("cp", f"{box}:/tmp/g", "h")
        assert (tmp_path / "h").read_bytes() == data and (tmp_path / "h").stat().st_mode & 0o777 == 0o640 + n
    sm.ok("cp", "f", f"{box}:new/dirs/f")
    sm.ok("cp", "f", f"{box}:new/")
    sm.ok("cp", "f", f"{box}:new/fresh/")
    assert sm.ok("exec", box, "-c", "find new -type f | sort").text == "new/dirs/f\nnew/f\nnew/fresh/f\n"
    sm.ok("cp", f"{box}:new/f", ".")


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_report_5_names(sm, box, tmp_path, name):
    (tmp_path / name).write_text(name)
    sm.ok("cp", f"./{name}", f"{box}:{name}")
    assert sm.ok("exec", box, "--", "cat", f"./{name}").text == name
    sm.ok("cp", f"{box}:{name}", "back")
    assert (tmp_path / "back").read_text() == name


def test_a_name_that_is_too_long(sm, box):
    r = sm("cp", "-", f"{box}:{'n' * 256}", input=b"x")
    assert r.returncode != 0 and r.error.startswith("sandmux: ")
    assert sm("cp", "-", f"{box}:{'p/' * 3000}x", input=b"x").returncode == 2


def test_streams(sm, box, tmp_path):
    sm.ok("cp", "-", f"{box}:s", input=b"from stdin")
    assert sm.ok("cp", f"{box}:s", "-").stdout == b"from stdin"
    r = sm("cp", "-", f"{box}:", input=b"x")
    assert r.returncode == 1 and "name the file" in r.error
    r = sm("cp", f"{box}:/etc", "-")
    assert r.returncode == 1 and "folder" in r.error


def test_what_is_not_there(sm, box, tmp_path):
    assert sm("cp", f"{box}:nope", "x").returncode == 3
    assert sm("cp", "nope", f"{box}:").returncode == 3
    assert sm("cp", "nobody:f", "x").returncode == 3
    assert sm("cp", f"{box}:/etc/passwd", "no/such/dir/x").returncode == 3
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def own_tar(sm):
    """A sandbox whose tar is what the returned function says."""
    box = sm.ok("create", "-e", "PATH=/workspace/bin:/usr/bin:/bin").text.strip()

    def install(text):
        sm.ok("cp", "-", f"{box}:bin/tar", input=text.encode())
        sm.ok("exec", box, "-c", "chmod 755 bin/tar; mkdir -p d")
        return box

    yield install
    sm.ok("rm", box)


def test_a_sandbox_cannot_write_outside(sm, own_tar, tmp_path):
    """Its tar is its own: here it sends links and paths that lead out."""
    fake = "#!/usr/bin/python3\nimport sys,tarfile,io\nif '--version' in sys.argv: sys.exit(1)\n" \
           "t=tarfile.open(fileobj=sys.stdout.buffer,mode='w|')\n" \
           "def add(n,d=b'',k=tarfile.REGTYPE,l=''):\n" \
           " i=tarfile.TarInfo(n);i.size=len(d);i.type=k;i.linkname=l;i.mode=0o4755;t.addfile(i,io.BytesIO(d))\n" \
           "add('ok',b'fine')\n{evil}\nt.close()\n"
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("mine")
    for evil in ("add('../out',b'x')", "add('up',k=tarfile.SYMTYPE,l='..');add('up/out',b'x')",
                 "add('h',k=tarfile.LNKTYPE,l='../secret');add('h',b'x')",
                 "add('up',k=tarfile.SYMTYPE,l='..');add('h',k=tarfile.LNKTYPE,l='up/secret')"):
        box = own_tar(fake.format(evil=evil))
        r = sm("cp", f"{box}:d/.", "in")
        assert r.returncode == 1 and (tmp_path / "in" / "ok").read_text() == "fine", r
        assert (tmp_path / "in" / "ok").stat().st_mode & 0o7777 == 0o755
        assert not (tmp_path / "out").exists() and (tmp_path / "secret").read_text() == "mine"
        subprocess.run(["rm", "-rf", tmp_path / "in"], check=True)
        (tmp_path / "in").mkdir()


def test_a_tar_that_fails_or_stops_half_way(sm, own_tar, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(bytes(2_000_000))
    for script, word in (("echo cannot do it >&2; exit 2", "cannot do it"), ("kill -9 $$", "137"), ("exit 0", "cut")):
        box = own_tar(f"#!/bin/sh\n{script}\n")
        r = sm("cp", f"{box}:d/.", "out")
        assert r.returncode == 1 and word in r.error, (script, r.error)
        if script != "exit 0":
            r = sm("cp", "d", f"{box}:dd")
            assert r.returncode == 1 and word in r.error, (script, r.error)


def test_progress_only_on_a_terminal_and_only_when_it_takes_long(sm, box, tmp_path):
    (tmp_path / "f").write_bytes(bytes(1000))
    t = sm.terminal("cp", tmp_path / "f", f"{box}:f")
    assert t.wait()[0] == 0 and b"copying" not in t.output


# --- between sandboxes


@pytest.fixture
def other(sm):
    made = sm.ok("create").text.strip()
    yield made
    sm("rm", made)


def test_a_folder_from_one_sandbox_to_another(sm, box, other, folder, tmp_path):
    sm.ok("cp", "src", f"{box}:")
    sm.ok("cp", f"{box}:src", f"{other}:")  # is there: goes into it
    sm.ok("cp", f"{other}:src", "back")
    assert tree(tmp_path / "back") == tree(folder)
    sm.ok("cp", f"{box}:src", f"{other}:/tmp/new")  # is not there: becomes it
    sm.ok("cp", f"{box}:src/.", f"{other}:/tmp/what/is/in/it")
    for path in ("/tmp/new/sub/run.sh", "/tmp/what/is/in/it/sub/run.sh"):
        assert sm.ok("exec", other, "--", "stat", "-c", "%a", path).text == "751\n"


def test_a_file_from_one_sandbox_to_another_and_within_one(sm, box, other, tmp_path):
    data = os.urandom(3_000_001)
    (tmp_path / "f").write_bytes(data)
    (tmp_path / "f").chmod(0o750)
    sm.ok("cp", "f", f"{box}:")
    sm.ok("cp", f"{box}:f", f"{other}:")
    sm.ok("cp", f"{other}:f", f"{other}:g")
    sm.ok("cp", f"{other}:/workspace/g", f"{box}:/tmp/a/b/")
    sm.ok("cp", f"{box}:/tmp/a/b/g", "back")
    assert (tmp_path / "back").read_bytes() == data
    assert sm.ok("exec", box, "--", "stat", "-c", "%a", "/tmp/a/b/g").text == "750\n"
    sm.ok("exec", box, "-c", ": >empty; printf x >./-dash")
    sm.ok("cp", f"{box}:empty", f"{other}:")
    sm.ok("cp", f"{box}:-dash", f"{other}:name")
    assert sm.ok("exec", other, "-c", "wc -c <empty; cat name").text == "0\nx"


def test_what_cannot_be_copied_between_sandboxes(sm, box, other):
    sm.ok("exec", box, "-c", "mkdir -p d/e; echo hello >f; echo x >d/x")
    for source, target, status, says in ((f"{box}:none", f"{other}:", 3, "none"), (f"{box}:d", f"{box}:d/e", 1, "into itself"),
                                         (f"{box}:d", f"{box}:/workspace/d/new", 1, "into itself"), (f"{box}:f", f"{box}:./f", 1, "same file"),
                                         (f"{box}:f", f"{box}:f", 1, "same file"), (f"{box}:d", f"{box}:f", 5, "not a folder"),
                                         (f"{box}:f", "inone:", 3, "inone")):
        r = sm("cp", source, target)
        assert (r.returncode, says in r.error) == (status, True), (source, target, r.error)
    assert sm.ok("exec", box, "-c", "cat f; ls d/e").text == "hello\n"
    sm.ok("exec", box, "-c", "mkdir dd")
    sm.ok("cp", f"{box}:d", f"{box}:dd/d")  # a name that only begins alike
    assert sm.ok("exec", box, "--", "cat", "dd/d/x").text == "x\n"


def test_a_source_that_fails_leaves_the_target_as_it_was(sm, box, other):
    sm.ok("exec", other, "-c", "echo old >f")
    r = sm("cp", f"{box}:/proc/self/mem", f"{other}:f")  # opens, and cannot be read
    assert r.returncode != 0 and "ended with 1" in r.error
    assert sm.ok("exec", other, "--", "cat", "f").text == "old\n"
