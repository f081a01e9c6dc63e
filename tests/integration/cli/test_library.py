"""libsandmux as others use it: the example programs, threads, and a fork."""
import ctypes
import os
import pathlib
import subprocess
import threading

import pytest

pytestmark = pytest.mark.root
HERE = pathlib.Path(__file__).resolve()
BUILD = pathlib.Path(os.environ.get("SMX_BUILD", HERE.parent.parent.parent.parent / "build")).resolve()
HEADERS = sorted(p.stem for p in (HERE.parent.parent.parent.parent / "include" / "sandmux").glob("*.h"))
SANITIZED = "asan" in BUILD.name or "tsan" in BUILD.name


def test_every_header_has_an_example():
    programs = {p.name.removeprefix("example-") for p in (BUILD / "examples").glob("example-*") if p.is_file()}
    assert set(HEADERS) - {"sandmux"} <= programs and "client" in programs


@pytest.mark.parametrize("name", ["client"] + [h for h in HEADERS if h != "sandmux"])
def test_the_example_runs(sm, daemon, name):
    before = {s["id"] for s in daemon.get("/api/sandboxes?limit=1000").json()["items"]}
    r = subprocess.run([BUILD / "examples" / f"example-{name}"], env=sm.env(), capture_output=True, text=True, timeout=120)
    assert r.returncode == 0 and r.stderr == "" and r.stdout, r
    assert {s["id"] for s in daemon.get("/api/sandboxes?limit=1000").json()["items"]} == before


class Config(ctypes.Structure):
    _fields_ = [("url", ctypes.c_char_p), ("api_key", ctypes.c_char_p), ("program", ctypes.c_char_p),
                ("timeout_ms", ctypes.c_uint64), ("flags", ctypes.c_uint)]


class Spec(ctypes.Structure):
    _fields_ = [("shell", ctypes.c_char_p), ("argv", ctypes.c_void_p), ("cwd", ctypes.c_char_p), ("user", ctypes.c_char_p),
                ("env", ctypes.c_void_p), ("n_env", ctypes.c_size_t), ("stdin_data", ctypes.c_char_p),
                ("stdin_bytes", ctypes.c_size_t), ("timeout_ms", ctypes.c_uint64), ("max_output_bytes", ctypes.c_uint64),
                ("tty", ctypes.c_int), ("cols", ctypes.c_uint), ("rows", ctypes.c_uint)]


class Outcome(ctypes.Structure):
    _fields_ = [("exit_code", ctypes.c_int), ("signal", ctypes.c_int), ("timed_out", ctypes.c_int), ("truncated", ctypes.c_int),
                ("duration_ms", ctypes.c_uint64), ("stdout_data", ctypes.c_void_p), ("stderr_data", ctypes.c_void_p),
                ("stdout_bytes", ctypes.c_size_t), ("stderr_bytes", ctypes.c_size_t)]


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("os_errno", ctypes.c_int), ("msg", ctypes.c_char * 240)]


@pytest.fixture
def library(sm):
    if SANITIZED:
        pytest.skip("a sanitized library cannot be loaded into Python")
    lib = ctypes.CDLL(str(BUILD / "libsandmux.so.0"))
    client = ctypes.c_void_p()
    err = Error()
    config = Config(url=sm.url.encode())
    assert lib.smx_client_open(ctypes.byref(config), ctypes.byref(client), ctypes.byref(err)) == 0, err.msg

    def run(box, shell, data=b"", **more):
        spec = Spec(shell=shell.encode(), stdin_data=data, stdin_bytes=len(data), **more)
        out, e = ctypes.POINTER(Outcome)(), Error()
        r = lib.smx_exec(client, box.encode(), ctypes.byref(spec), ctypes.byref(out), ctypes.byref(e))
        if r < 0:
            return e.msg
        result = out.contents.exit_code, ctypes.string_at(out.contents.stdout_data, out.contents.stdout_bytes), out.contents.truncated
        lib.smx_exec_result_free(out)
        return result

    run.lib, run.client = lib, client
    yield run
    lib.smx_client_close(client)


def test_one_handle_and_many_threads(library, box):
    wrong = []

    def work(n):
        for i in range(15):
            got = library(box, f"echo {n}-{i}; exit {n}")
            if got != (n, f"{n}-{i}\n".encode(), 0):
                wrong.append(got)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(24)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_a_child_goes_on_with_the_handle(library, box):
    assert library(box, "echo parent")[1] == b"parent\n"
    children = []
    for n in range(4):
        pid = os.fork()
        if pid == 0:
            ok = all(library(box, f"echo {n}")[1] == f"{n}\n".encode() for _ in range(5))
            os._exit(0 if ok else 1)
        children.append(pid)
    assert all(library(box, "echo parent")[1] == b"parent\n" for _ in range(5))
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4


def test_long_input_and_capped_output(library, box):
    data = os.urandom(8_000_000)
    assert library(box, "cat", data) == (0, data, 0)
    assert library(box, "true", data) == (0, b"", 0)
    assert library(box, "head -c 5000000 /dev/zero", max_output_bytes=1000) == (0, bytes(1000), 1)


def test_the_library_exports_what_its_headers_declare_and_no_more():
    lines = subprocess.run(["nm", "-D", "--defined-only", BUILD / "libsandmux.so.0"], capture_output=True, text=True).stdout
    exported = {line.split()[-1] for line in lines.splitlines()}
    headers = "".join(p.read_text() for p in (HERE.parent.parent.parent.parent / "include" / "sandmux").glob("*.h"))
    missing = {name for name in exported if name + "(" not in headers}
    assert not missing or SANITIZED and all(not m.startswith("smx_") for m in missing)
    assert len(exported) > 60
