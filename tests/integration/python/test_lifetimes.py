"""Threads, forks, signals, shutdown, cycles and leaks."""
import ctypes
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import pytest

from conftest import until
from package_tools import PYTHON, Gate, ids_of, python_env, say, slow_way_to

pytest_plugins = ["python_package"]
pytestmark = pytest.mark.root


def test_r23_sixteen_threads_and_four_processes_make_one_machine(client, daemon):
    from sandbox import Sandbox
    before, got, lock = ids_of(daemon), [], threading.Lock()
    program = """
        import threading
        from sandbox import Sandbox
        ids = []
        threads = [threading.Thread(target=lambda: ids.append(Sandbox.get_or_create("together")._info["id"])) for _ in range(16)]
        [t.start() for t in threads]; [t.join() for t in threads]
        print(*ids)
    """
    others = [subprocess.Popen([PYTHON, "-c", textwrap.dedent(program)], env=python_env(daemon.url), stdout=subprocess.PIPE, text=True)
              for _ in range(4)]

    def ask():
        box = Sandbox.get_or_create("together")
        with lock:
            got.append(box._info["id"])
    threads = [threading.Thread(target=ask) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for p in others:
        got += p.communicate(timeout=120)[0].split()
    assert len(got) == 16 * 5 and len(set(got)) == 1
    assert len(ids_of(daemon) - before) == 1
    client.delete("together")


def test_r43_threads_share_one_handle_and_do_not_wait_for_each_other(client, box):
    """Eight calls that can only end together: the interpreter's lock is free meanwhile."""
    got, gate = [], Gate(box)
    threads = [threading.Thread(target=lambda i=i: got.append(box.process.exec(gate.command(f"echo {i}"), timeout=60).result)) for i in range(8)]
    for t in threads:
        t.start()
    gate.open_for(8)
    for t in threads:
        t.join()
    assert sorted(got) == [f"{i}\n" for i in range(8)]


def test_a_child_after_fork_goes_on_and_so_does_its_parent(client, daemon):
    program = """
        import asyncio, os, threading
        from sandbox import Sandbox
        from sandbox.aio import AsyncSandbox
        box = Sandbox.create()
        assert asyncio.run(AsyncSandbox(box).process.exec("echo async")).result == "async\\n"  # its threads are not the child's
        assert box.process.exec("echo parent").result == "parent\\n"
        running = box.process.start("sleep 1; echo still; cat")
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                assert box.process.exec("echo busy").result == "busy\\n"
        threads = [threading.Thread(target=busy) for _ in range(4)]
        [t.start() for t in threads]
        children = []
        for i in range(10):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    assert box.process.exec(f"echo child {i}").result == f"child {i}\\n"
                    try:
                        running.next()
                    except Exception as e:
                        assert type(e).__name__ == "StateConflictError", e
                    assert asyncio.run(AsyncSandbox(box).process.exec("echo async")).result == "async\\n"
                    del running
                    import gc; gc.collect()
                    code = 0
                finally:
                    os._exit(code)
            children.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 10
        stop.set()
        [t.join() for t in threads]
        running.write("parent's own"); running.close_stdin()
        print(b"".join(d for _, d in running).decode())
        box.delete()
    """
    assert say(program, daemon.url) == "still\nparent's own\n"


def test_prefork_workers(client, daemon):
    """A server that forks its workers after the first call; multiprocessing in both ways."""
    program = """
        import multiprocessing, sys
        from sandbox import Sandbox
        def work(i):
            box = Sandbox.get_or_create("prefork")
            return box.process.exec(f"echo {i}").result
        if __name__ == "__main__":
            Sandbox.get_or_create("prefork")
            with multiprocessing.get_context("fork").Pool(4) as pool:
                assert pool.map(work, range(40)) == [f"{i}\\n" for i in range(40)]
            Sandbox.get("prefork").delete()
            print("done")
    """
    assert say(program, daemon.url) == "done\n"


def sleeps(pid):
    """It waits for something, and goes on waiting."""
    def used():
        words = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
        return words[0] == "S" and words[11:13]
    before = used()
    time.sleep(0.05)
    return before and before == used()


def interrupted(program, daemon, when, signo=signal.SIGINT):
    """The signal is sent when the program has said that it is ready and `when(pid)` is true."""
    child = subprocess.Popen([PYTHON, "-c", textwrap.dedent(program)], env=python_env(daemon.url), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n", child.stderr.read()
    until(lambda: when(child.pid), why="the call does not run")
    begin = time.monotonic()
    child.send_signal(signo)
    out, err = child.communicate(timeout=60)
    return child.returncode, out, err, time.monotonic() - begin


def test_ctrl_c_ends_a_long_call(client, daemon, box):
    """By KeyboardInterrupt, promptly; the command is killed, and the sandbox and the handle go on."""
    program = f"""
        from sandbox import Sandbox
        box = Sandbox.get({box.id!r})
        print("ready", flush=True)
        try:
            box.process.exec("sleep 9753; true")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(box.process.exec("echo usable").result, end="")
    """
    commands = lambda: box.process.exec("cat /proc/[0-9]*/cmdline").stdout_bytes
    code, out, err, took = interrupted(program, daemon, lambda _: b"9753" in commands())
    assert (code, out) == (0, "interrupted\nusable\n"), err
    assert took < 20
    until(lambda: b"9753" not in commands(), why="the command still runs")


@pytest.mark.parametrize("call", ["p.wait()", "p.next()", "p.write(b'x' * 100_000_000)"], ids=["wait", "next", "write"])
def test_ctrl_c_ends_every_kind_of_wait(client, daemon, box, call):
    program = f"""
        from sandbox import Sandbox
        box = Sandbox.get({box.id!r})
        p = box.process.start("sleep 300")
        try:
            print("ready", flush=True)
            {call}
        except KeyboardInterrupt:
            print("interrupted")
        p.kill()
    """
    code, out, err, took = interrupted(program, daemon, sleeps)
    assert (code, out) == (0, "interrupted\n"), err
    assert took < 20


def test_ctrl_c_during_a_create_leaves_no_sandbox(client, daemon):
    """The reply is held back until the program has gone on."""
    before = ids_of(daemon)
    program = """
        from sandbox import Sandbox
        try:
            Sandbox.create()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    with slow_way_to(daemon) as way:
        child = subprocess.Popen([PYTHON, "-c", textwrap.dedent(program)], env=python_env(way.url), stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        way.wait_for_request()
        until(lambda: ids_of(daemon) != before, why="the daemon made none")
        child.send_signal(signal.SIGINT)
        said = child.stdout.readline()
        way.let_through()
        out, err = child.communicate(timeout=60)
    assert (child.returncode, said, out) == (0, "interrupted\n", ""), err
    assert ids_of(daemon) == before


def test_a_signal_handler_that_returns_changes_nothing(client, daemon, box):
    """The command ends when the handler has run in the middle of the call."""
    program = f"""
        import signal
        from sandbox import Sandbox
        box, seen = Sandbox.get({box.id!r}), []
        def handler(*_):
            seen.append(box.process.exec("touch /tmp/handled; echo from the handler").result)
        signal.signal(signal.SIGUSR1, handler)
        print("ready", flush=True)
        print(box.process.exec("touch /tmp/runs; until [ -e /tmp/handled ]; do sleep 0.05; done; echo whole", timeout=50).result, seen)
    """
    code, out, err, _ = interrupted(program, daemon, lambda _: box.fs.exists("/tmp/runs"), signo=signal.SIGUSR1)
    assert (code, out) == (0, "whole\n ['from the handler\\n']\n"), err


@pytest.mark.parametrize("ending", ["", "import os; os._exit(0)", "raise SystemExit", "import sys; sys.exit(0)"])
def test_shutdown_is_clean(client, daemon, ending):
    """With live objects, cycles, a terminal and daemon threads in the middle of calls."""
    program = f"""
        import faulthandler, threading, time
        faulthandler.enable()
        from sandbox import Sandbox
        box = Sandbox.get_or_create("shutdown")
        box.me = box
        program = box.process.start("sleep 1000")
        terminal = box.process.create_pty_session(on_data=lambda data: None)
        for _ in range(4):
            threading.Thread(target=lambda: box.process.exec("sleep 1000"), daemon=True).start()
        while len(box.process.list()) < 6:
            time.sleep(0.01)
        print("end", flush=True)
        {ending}
    """
    assert say(program, daemon.url) == "end\n"
    client.delete("shutdown")


def test_cycles_are_collected(client):
    from sandbox import Sandbox, _native
    box = Sandbox.create()
    program = box.process.start("sleep 5")
    box.me, box.program, program.box = box, program, box
    files, dead = len(os.listdir("/proc/self/fd")), weakref.ref(box)
    native = ctypes.py_object(program._process)
    assert isinstance(native.value, _native.Process)
    box.delete()
    del box, program, native
    gc.collect()
    assert dead() is None and len(os.listdir("/proc/self/fd")) < files


def resident_kib():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0])


def test_ten_thousand_calls_leak_nothing(client, box):
    from sandbox import NotFoundError

    def calls(n):
        for i in range(n):
            if i % 4 == 0:
                box.process.exec(["true"], env={"A": "b"})
            elif i % 4 == 1:
                box.fs.upload_file(b"x" * 100, "/dev/shm/leak")
            elif i % 4 == 2:
                box.fs.download_file("/dev/shm/leak")
            else:
                try:
                    box.fs.download_file("/workspace/none")
                except NotFoundError:
                    pass
    calls(2000)
    gc.collect()
    files, resident, blocks = len(os.listdir("/proc/self/fd")), resident_kib(), sys.getallocatedblocks()
    calls(8000)
    gc.collect()
    more = sys.getallocatedblocks() - blocks
    assert more < 1000, f"{more} blocks of Python objects"  # one for each call of a kind would be 2000
    assert resident_kib() - resident < 8192, f"{resident_kib() - resident} KiB"
    assert len(os.listdir("/proc/self/fd")) <= files


def test_objects_that_are_started_and_dropped_leak_nothing(client, box):
    for n in (20, 100):
        for _ in range(n):
            box.process.start("true").wait()
        gc.collect()
        if n == 20:
            files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    assert len(os.listdir("/proc/self/fd")) <= files and threading.active_count() <= threads
