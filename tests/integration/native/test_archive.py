"""Backup and restore (R45): a sandbox's files as a stream of tar, equal in everything that tar can carry."""
import contextlib
import io
import os
import socket
import subprocess
import tarfile

import pytest
import requests

from conftest import BUILD, clean_env

pytestmark = pytest.mark.root

FILL = r"""
cd /workspace; mkdir -p empty/dirs/deep; printf '\000\377\n' >f; ln -s f link; ln -s /no/such broken; ln f hard
chmod 4751 f; mkfifo pipe; truncate -s 3M sparse; printf x >'na me
line'; printf y >'-dash'; printf z >'é😀'; mkdir -m 1777 sticky; touch /home/user/mine; chown user:user /home/user/mine empty
touch -d '2001-02-03 04:05:06.789' f; touch -h -d '1999-01-01 00:00:00.5' link; touch -d '2002-01-01' empty/dirs empty /workspace
"""
LIST = ("find /workspace /home /root \\( -type d -printf '%p %y %m %U %G %T@\\n' -o -type l -printf '%p %y %U %G %T@ %l\\n' "
        "-o -printf '%p %y %m %U %G %T@ %s %n\\n' \\) | sort")
SUMS = "find /workspace /home /root -type f -print0 | sort -z | xargs -0 sha256sum"


def listing(sandbox):
    found = sandbox.exec(LIST)
    assert found["exit_code"] == 0, found
    return found["stdout"].splitlines()


def save(sandbox, **params):
    return sandbox.daemon.get(f"{sandbox.path}/archive", params=params, timeout=180)


def load(sandbox, data):
    return sandbox.daemon.put(f"{sandbox.path}/archive", data=data, timeout=180)


@pytest.fixture
def filled(sandbox):
    assert sandbox.exec(FILL)["exit_code"] == 0
    return sandbox


def test_what_comes_back_is_equal(filled, other_sandbox):
    saved = save(filled)
    assert saved.status_code == 200 and saved.headers["Content-Type"] == "application/x-tar"
    loaded = load(other_sandbox, saved.content)
    assert loaded.status_code == 200 and loaded.json()["size"] == len(saved.content), loaded.text
    assert listing(filled) == listing(other_sandbox)
    assert other_sandbox.exec(SUMS)["stdout"] == filled.exec(SUMS)["stdout"]


def test_python_reads_it_and_writes_one(filled, other_sandbox):
    with tarfile.open(fileobj=io.BytesIO(save(filled).content)) as tar:
        names = {m.name for m in tar}
        assert {"./workspace/f", "./workspace/empty/dirs/deep", "./home/user/mine"} <= names
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        info = tarfile.TarInfo("workspace/made")
        info.size, info.mode = 3, 0o640
        tar.addfile(info, io.BytesIO(b"abc"))
    assert load(other_sandbox, data.getvalue()).status_code == 200
    assert other_sandbox.exec("stat -c '%a %s' /workspace/made")["stdout"] == "640 3\n"


def test_one_path(filled):
    with tarfile.open(fileobj=io.BytesIO(save(filled, path="/workspace/empty").content)) as tar:
        assert {m.name for m in tar} == {"./workspace/empty", "./workspace/empty/dirs", "./workspace/empty/dirs/deep"}
    odd = save(filled, path="/workspace/-dash")
    with tarfile.open(fileobj=io.BytesIO(odd.content)) as tar:
        assert [m.name for m in tar] == ["./workspace/-dash"]


@pytest.mark.parametrize("path, status", [("/no/such", 404), ("relative", 422), ("", 422), ("/" + "x" * 5000, 422)],
                         ids=["missing", "relative", "empty", "long"])
def test_bad_paths(sandbox, path, status):
    reply = save(sandbox, path=path)
    assert reply.status_code == status and reply.json()["detail"], reply.text


@pytest.mark.parametrize("data", [b"", b"garbage\n", os.urandom(100_000), b"\x1f\x8b" + b"x" * 2000],
                         ids=["empty", "text", "noise", "gzip"])
def test_what_is_no_archive_is_refused(sandbox, data):
    reply = load(sandbox, data)
    assert reply.status_code == 422 and reply.json()["code"] == "invalid_request", reply.text


@pytest.mark.parametrize("cut", [700, 3000, 10240, -1100])
def test_a_cut_archive_is_refused(filled, other_sandbox, cut):
    whole = save(filled).content.rstrip(b"\0") + bytes(1024)
    reply = load(other_sandbox, whole[:cut])
    assert reply.status_code == 422 and ("cut off" in reply.json()["detail"] or "tar in" in reply.json()["detail"]), reply.text


def test_a_full_disk_is_said(daemon):
    small = daemon.create(resources={"disk_mib": 16})
    try:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            info = tarfile.TarInfo("workspace/big")
            info.size = 64 << 20
            tar.addfile(info, io.BytesIO(os.urandom(64 << 20)))
        reply = load(small, data.getvalue())
        assert reply.status_code in (507, 409, 502), reply.text  # a soft limit may end the sandbox instead
    finally:
        daemon.delete(f"{small.path}?missing_ok=1")


def test_a_hostile_archive_stays_inside(sandbox):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        link = tarfile.TarInfo("workspace/out")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
        for name in ("workspace/out/planted", "../../../etc/planted", "/etc/planted-too"):
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    load(sandbox, data.getvalue())
    assert not any(os.path.exists(p) for p in ("/etc/planted", "/etc/planted-too"))


def test_memory_does_not_grow_with_size(daemon, sandbox):
    assert sandbox.exec("head -c 300M /dev/urandom >/workspace/big")["exit_code"] == 0
    before = daemon.rss_kib("sandmux-gateway")
    with daemon.get(f"{sandbox.path}/archive", stream=True) as reply:
        size = sum(len(piece) for piece in reply.iter_content(1 << 20))
    assert size > 300 << 20
    assert daemon.rss_kib("sandmux-gateway") - before < 16 * 1024


def test_a_client_that_leaves_ends_the_reading(sandbox):
    sandbox.exec("head -c 200M /dev/zero >/workspace/big")
    reply = sandbox.daemon.get(f"{sandbox.path}/archive", stream=True)
    next(reply.iter_content(1000))
    reply.close()
    gone = sandbox.exec("for i in $(seq 100); do grep -qx tar /proc/[0-9]*/comm 2>/dev/null || exit 0; sleep 0.1; done; exit 1")
    assert gone["exit_code"] == 0, "tar goes on for nobody"


@contextlib.contextmanager
def with_tar(daemon, then):
    """A sandbox whose tar is a script that notes where its ends lead, does that, and is tar."""
    sandbox = daemon.create(env={"PATH": "/opt/own:/usr/bin:/bin"})
    try:
        made = sandbox.exec(f"""mkdir -p /opt/own; cat >/opt/own/tar <<'END'; chmod +x /opt/own/tar
#!/bin/sh
for n in 0 1; do end=$(readlink /proc/$$/fd/$n); echo "$end" >>/tmp/ends; done
{then}
exec /usr/bin/tar "$@"
END
""")
        assert made["exit_code"] == 0, made
        yield sandbox
    finally:
        daemon.delete(f"{sandbox.path}?missing_ok=1")


def test_the_stream_has_a_socket_of_its_own(daemon):
    with socket.socketpair()[0] as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, 83, 0)  # SO_PASSRIGHTS
        except OSError:
            pytest.skip("before Linux 6.16 a socket cannot refuse descriptors: the stream comes by events")
    with with_tar(daemon, "") as one, with_tar(daemon, "") as two:
        assert one.exec(FILL)["exit_code"] == 0
        assert load(two, save(one).content).status_code == 200
        assert listing(one) == listing(two)
        for sandbox in (one, two):
            assert "socket:" in sandbox.exec("cat /tmp/ends")["stdout"]


@pytest.mark.parametrize("then", ["exit 2", "kill -9 $$", "exec 1>&- 3>&-; sleep 1; exit 2"], ids=["fails", "killed", "closes"])
def test_a_tar_that_does_not_end_well_is_no_backup(daemon, then):
    """The bytes are there and their end is a clean one: only the exit code says that they are not all."""
    with with_tar(daemon, f'case "$*" in *-cf*) head -c 3000000 /dev/zero; {then};; esac') as sandbox:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            save(sandbox)


def test_a_sandbox_that_goes_away_is_no_backup(daemon):
    with with_tar(daemon, 'case "$*" in *-cf*) head -c 3000000 /dev/zero; sleep 600;; esac') as sandbox:
        with daemon.get(f"{sandbox.path}/archive", stream=True, timeout=60) as reply:
            assert reply.status_code == 200 and reply.raw.read(100000)
            daemon.delete(sandbox.path)
            with pytest.raises(requests.exceptions.RequestException):
                for _ in reply.iter_content(1 << 20):
                    pass


def test_a_tar_that_takes_nothing_is_said(daemon):
    with with_tar(daemon, 'case "$*" in *-xf*) echo no room >&2; exit 2;; esac') as sandbox:
        reply = load(sandbox, bytes(8 << 20))
        assert reply.status_code == 422 and "no room" in reply.json()["detail"], reply.text


# --- the command line


def sandmux(daemon, *args, **more):
    env = clean_env(SANDMUX_URL=f"unix:{daemon.socket}", HOME="/tmp")
    return subprocess.run([BUILD / "sandmux", *args], env=env, capture_output=True, timeout=180, **more)


def test_the_command_line_saves_and_restores(daemon, filled, tmp_path):
    target = tmp_path / "box.tar"
    saved = sandmux(daemon, "backup", filled.id, "-o", str(target))
    assert saved.returncode == 0 and saved.stdout.decode().strip() == str(target), saved
    assert os.stat(target).st_mode & 0o777 == 0o600 and not (tmp_path / "box.tar.part").exists()
    made = sandmux(daemon, "restore", str(target))
    assert made.returncode == 0, made
    new = made.stdout.decode().strip()
    try:
        assert daemon.exec_in(new, "cat /workspace/f | od -An -tx1")["stdout"] == " 00 ff 0a\n"
    finally:
        daemon.delete(f"/api/sandboxes/{new}")
    piped = sandmux(daemon, "backup", filled.id, "-o", "-")
    assert piped.returncode == 0 and sandmux(daemon, "restore", "-", filled.id, input=piped.stdout).returncode == 0


def test_the_command_line_leaves_nothing_behind_after_a_failure(daemon, sandbox, tmp_path):
    count = len(daemon.get("/api/sandboxes").json()["items"])
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"garbage")
    assert sandmux(daemon, "restore", str(bad)).returncode == 1
    assert len(daemon.get("/api/sandboxes").json()["items"]) == count
    missing = sandmux(daemon, "backup", sandbox.id, "--path", "/no/such", "-o", str(tmp_path / "x.tar"))
    assert missing.returncode == 3 and list(tmp_path.iterdir()) == [bad]
    assert sandmux(daemon, "restore", str(tmp_path / "none.tar")).returncode == 3
