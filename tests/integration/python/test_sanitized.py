"""In a sanitized build: the extension module, sanitized too, in an interpreter that has the sanitizers loaded. One program goes
through every call of it, with what is wrong as well; a report of any kind is a failure. (The other tests of the package skip then.)"""
import subprocess
import tempfile

import pytest

from conftest import SANITIZED, clean_env
from package_tools import PYTHON, build_wheel, unpack

pytestmark = [pytest.mark.root, pytest.mark.skipif(not SANITIZED, reason="this is no sanitized build")]
PROGRAM = r'''
import asyncio, gc, os, signal, threading
from sandbox import Sandbox, SandboxError, _native
from sandbox.aio import AsyncSandbox

box = Sandbox.create(env={"A": "b"}, metadata={"k": "v"})
wrong = [lambda: box.process.exec("\0"), lambda: box.process.exec(["a", 1]), lambda: box.process.exec(["a", "\ud800"]), lambda: box.process.exec([]),
         lambda: box.process.exec("x", env={"a": 1}), lambda: box.process.exec("x", env={"a\0": "b"}), lambda: box.fs.download_file("/none"),
         lambda: Sandbox.create(metadata={"a": 1}), lambda: Sandbox.create(name="Bad Name"), lambda: _native.Client("nonsense"),
         lambda: _native.Process(box, "x", "y", None, None, None, 0, False, 0, 0), lambda: _native.Cancel().run(),
         lambda: box._client.handle.create(True, None, None, None, None, None, None, None, -1, 0, 0, 0, None)]
for i in range(10):
    box.process.exec("echo $A; exit 3", env={"X": str(i)}, stdin=b"x" * i, cwd="/tmp")
    box.process.exec(["cat"], stdin=os.urandom(10000))
    box.process.create_session("s")
    box.process.execute_session_command("s", "echo x")
    box.fs.upload_file(os.urandom(i * 1000), "/workspace/x")
    box.fs.download_file("/workspace/x")
    with open("/etc/passwd", "rb") as file:
        box.fs.upload_file(file, "/workspace/y")
    with open(os.devnull, "wb", buffering=0) as null:
        box.fs.download_file("/workspace/y", null)
    for call in wrong:
        try:
            call()
            raise SystemExit(f"no error at line {call.__code__.co_firstlineno}")
        except (TypeError, ValueError, SandboxError):
            pass
    program = box.process.start("cat")
    program.write("x" * 1000)
    program.close_stdin()
    program.wait()
box.backup("backup.tar")
box.restore("backup.tar")
terminal = box.process.create_pty_session(on_data=lambda data: None)
terminal.send_input("exit\n")
terminal.wait(60)
threads = [threading.Thread(target=lambda: [box.process.exec("true") for _ in range(10)]) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]

async def cancel():
    for _ in range(3):
        try:
            await asyncio.wait_for(AsyncSandbox(box).process.exec("sleep 60"), 0.2)
        except asyncio.TimeoutError:
            pass
    task = asyncio.create_task(AsyncSandbox.create())
    await asyncio.sleep(0.01)
    task.cancel()
    try:
        await (await task).delete()
    except asyncio.CancelledError:
        pass
asyncio.run(cancel())

def interrupt(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.5)
try:
    box.process.exec("sleep 60")
except KeyboardInterrupt:
    pass
child = os.fork()
if child == 0:
    box.process.exec("true")
    os._exit(0)
os.waitpid(child, 0)
box.delete()
del box, terminal, program
gc.collect()
print("done")
'''


def library(name):
    return subprocess.run(["gcc", f"-print-file-name={name}"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def test_r50_no_report_of_any_sanitizer(daemon, monkeypatch):
    monkeypatch.setenv("CFLAGS", "-g -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=all")
    with tempfile.TemporaryDirectory(prefix="smx-python-", dir="/tmp") as folder:
        unpack(build_wheel(), folder)
        env = clean_env(SANDMUX_URL=daemon.url, PYTHONPATH=folder, PYTHONMALLOC="malloc", LD_PRELOAD=f"{library('libasan.so')} {library('libubsan.so')}",
                        ASAN_OPTIONS="detect_leaks=0:log_path=stderr", UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
        done = subprocess.run([PYTHON, "-c", PROGRAM], env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-8000:]
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr[-8000:]
