"""A short session of an older PyPI `e2b`, sync and async, of any version from 1.5 to the newest: prints what it saw as one line
of JSON. A program that pinned its version does no more than this: create, run, files, watch, terminal, list, pause, connect, kill.

Usage: pinned.py      (the package by PYTHONPATH, the server by the SDK's own settings)
"""
import asyncio
import importlib.metadata
import inspect
import json
import time

from e2b import AsyncSandbox, CommandExitException, PtySize, Sandbox

VERSION = tuple(int(n) for n in importlib.metadata.version("e2b").split("."))
PATIENCE_S = 60


def raised(call):
    try:
        return repr(call())
    except Exception as e:  # noqa: BLE001 - which one it is is what was asked
        return type(e).__name__


def made(**more):
    return Sandbox.create(**more) if VERSION >= (2, 0) else Sandbox(**more)


def commands(sandbox, seen):
    seen["run"] = sandbox.commands.run("echo $K; id -un").stdout
    try:
        sandbox.commands.run("echo out; exit 3")
    except CommandExitException as e:
        seen["exit"] = [e.exit_code, e.stdout]
    # the client's own clock may be ahead of the server's
    seen["timeout"] = raised(lambda: sandbox.commands.run("sleep 300", timeout=1)) in ("TimeoutException", "ReadTimeout")
    takes = inspect.signature(sandbox.commands._start).parameters
    open_stdin = {"stdin": True} if "stdin" in takes else {}
    handle = sandbox.commands.run("read a; echo got $a", background=True, **open_stdin)
    sandbox.commands.send_stdin(handle.pid, "this\n")
    seen["stdin"] = handle.wait().stdout


def files(sandbox, seen):
    sandbox.files.write("a.txt", "grüße")
    sandbox.files.write("b.bin", bytes(range(256)) * 1000)
    write_many = getattr(sandbox.files, "write_files", sandbox.files.write)
    write_many([{"path": "m1", "data": "1"}, {"path": "m2", "data": "2"}])
    sandbox.commands.run("ln -s m1 link")
    seen["read"] = [sandbox.files.read("a.txt"), sandbox.files.read("b.bin", format="bytes") == bytes(range(256)) * 1000]
    sandbox.files.rename("a.txt", "c.txt")
    sandbox.files.make_dir("d/e")
    seen["list"] = sorted(x.name for x in sandbox.files.list(".") if not x.name.startswith("."))
    seen["root"] = "bin" in [x.name for x in sandbox.files.list("/")]
    sandbox.files.remove("c.txt")
    seen["exists"] = [sandbox.files.exists("c.txt"), sandbox.files.exists("m1")]


def watch(sandbox, seen):
    watcher = sandbox.files.watch_dir("/home/user")
    sandbox.files.write("watched", "1")
    events, end = [], time.monotonic() + PATIENCE_S
    while not events and time.monotonic() < end:
        events = [e.name for e in watcher.get_new_events()]
        time.sleep(0.05)
    watcher.stop()
    seen["watch"] = events[:1]


def terminal(sandbox, seen):
    handle = sandbox.pty.create(PtySize(rows=20, cols=81))
    sandbox.pty.send_stdin(handle.pid, b"stty size; exit\n")
    seen["pty"] = b"20 81" in b"".join(data or b"" for _, _, data in handle)


def listed(sandbox):
    if VERSION < (2, 0):
        return [x.sandbox_id for x in Sandbox.list()]
    pages, ids = Sandbox.list(), []
    while pages.has_next:
        ids += [x.sandbox_id for x in pages.next_items()]
    return ids


def life(sandbox, seen):
    seen["listed"] = sandbox.sandbox_id in listed(sandbox)
    sandbox.set_timeout(200)
    seen["running"] = sandbox.is_running()
    pause = getattr(sandbox, "pause", None) or getattr(sandbox, "beta_pause", None)
    if pause:
        pause()
    again = Sandbox.connect(sandbox.sandbox_id)
    seen["again"] = [again.commands.run("cat m1").stdout, again.files.read("m2")]
    sandbox.kill()
    seen["killed"] = [sandbox.is_running(), sandbox.sandbox_id in listed(sandbox)]
    seen["dead"] = "Exception" in raised(lambda: sandbox.commands.run("true"))


async def asynchronous():
    sandbox = await AsyncSandbox.create(timeout=300)
    try:
        out = []
        result = await sandbox.commands.run("echo 1; sleep 0.1; echo 2", on_stdout=out.append)
        await sandbox.files.write("x", "y")
        return [result.stdout, "".join(out), await sandbox.files.read("x")]
    finally:
        await sandbox.kill()


def main():
    seen = {"version": importlib.metadata.version("e2b")}
    sandbox = made(timeout=300, metadata={"by": "pinned"}, envs={"K": "v"})
    try:
        for part in (commands, files, watch, terminal, life):
            part(sandbox, seen)
    finally:
        sandbox.kill()
    seen["async"] = asyncio.run(asynchronous())
    print(json.dumps(seen, ensure_ascii=False))


main()
