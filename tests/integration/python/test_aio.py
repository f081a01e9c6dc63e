"""The asynchronous twin: nothing blocks the event loop, a cancelled await leaves nothing."""
import asyncio
import contextlib
import os
import threading
import time

import pytest

from conftest import until
from package_tools import Gate, ids_of, say, slow_way_to

pytest_plugins = ["python_package"]
pytestmark = pytest.mark.root


async def let_through_when_asked(way, task):
    """Only this event loop lets the reply through: a call that blocked it would never end."""
    await asyncio.get_running_loop().run_in_executor(None, way.wait_for_request)
    assert not task.done()
    way.let_through()
    return await task


@pytest.mark.parametrize("how", ["class", "document", "daytona"])
def test_r43_a_slow_create_does_not_stop_the_loop(client, daemon, how):
    """By every way that creates."""
    import sandbox
    from sandbox.aio import AsyncDaytona, AsyncSandbox, create_sandbox

    async def main(way):
        make = {"class": AsyncSandbox.create, "document": lambda: create_sandbox("pw", "p"), "daytona": lambda: AsyncDaytona().create()}[how]
        await (await let_through_when_asked(way, asyncio.create_task(make()))).delete()

    with slow_way_to(daemon) as way:
        sandbox.configure(url=way.url, timeout_s=60)
        asyncio.run(main(way))


def test_r43_get_or_start_of_the_sync_style_does_not_stop_the_loop(client, daemon):
    import sandbox
    from sandbox.e2b_sandbox import delete_e2b_sandbox, get_or_start_e2b_sandbox
    from sandbox.runtime_manager import delete_sandbox, get_or_start_sandbox

    async def main(way, start, stop):
        box = await let_through_when_asked(way, asyncio.create_task(start("slowly")))
        assert box.id == "slowly"
        assert await stop("slowly") is True
    for start, stop in ((get_or_start_e2b_sandbox, delete_e2b_sandbox), (get_or_start_sandbox, delete_sandbox)):
        with slow_way_to(daemon, "PUT /api/sandboxes/") as way:
            sandbox.configure(url=way.url, timeout_s=60)
            asyncio.run(main(way, start, stop))


def test_the_sync_style_inside_a_running_loop(client, box):
    """It blocks that loop, as the document's snippets do, but works."""
    async def main():
        box.fs.upload_file(b"x", "/workspace/in-loop")
        return box.process.exec("cat in-loop").result
    assert asyncio.run(main()) == "x"


def all_calls_ended():
    from sandbox import _pool
    until(lambda: not _pool._running, why="calls still run")


@pytest.mark.parametrize("how", ["class", "document", "daytona"])
def test_field_25_a_cancelled_create_leaves_no_sandbox(client, daemon, how):
    """The daemon has made it, its answer is on the way: whoever waited for it is told at once, and it is removed."""
    import sandbox
    from sandbox.aio import AsyncDaytona, AsyncSandbox, create_sandbox
    before = ids_of(daemon)

    async def main(way):
        make = {"class": AsyncSandbox.create, "document": lambda: create_sandbox("pw", "p"), "daytona": lambda: AsyncDaytona().create()}[how]
        task = asyncio.create_task(make())
        await asyncio.get_running_loop().run_in_executor(None, way.wait_for_request)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with slow_way_to(daemon) as way:
        sandbox.configure(url=way.url)
        asyncio.run(main(way))  # ends while the reply is held back
        way.wait_for_request()  # what became of it is asked
        until(lambda: ids_of(daemon) != before, why="the daemon made none")
        way.let_through()
        all_calls_ended()
        until(lambda: ids_of(daemon) == before, why="a cancelled create left a sandbox")


def test_field_25_a_create_that_is_cancelled_anywhere_leaves_no_sandbox(client, daemon):
    from sandbox.aio import AsyncSandbox
    before = ids_of(daemon)

    async def race(wait):
        task = asyncio.create_task(AsyncSandbox.create())
        await asyncio.sleep(wait)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await (await task).delete()
    for wait in (0, 0.001, 0.002, 0.004, 0.006, 0.01, 0.02):
        asyncio.run(race(wait))
    all_calls_ended()
    until(lambda: ids_of(daemon) == before, why="a cancelled create left a sandbox")


async def cancel_when_running(twin, word, *calls):
    """Ends the tasks of these calls as soon as each has a process `sleep WORD`."""
    tasks = [asyncio.create_task(c) for c in calls]
    while (await twin.process.exec("cat /proc/[0-9]*/cmdline")).stdout_bytes.count(b"sleep\0" + word) < len(tasks):
        await asyncio.sleep(0.02)
    for t in tasks:
        t.cancel()
    for t in tasks:
        with pytest.raises(asyncio.CancelledError):
            await t


@pytest.mark.parametrize("stdin", [b"", b"x" * 3_000_000], ids=["short", "long"])  # long input goes another way
def test_a_cancelled_exec_kills_its_command(client, box, stdin):
    from sandbox.aio import AsyncSandbox
    twin = AsyncSandbox(box)
    asyncio.run(cancel_when_running(twin, b"7531", twin.process.exec("cat >/dev/null; sleep 7531; true", stdin=stdin)))
    until(lambda: b"7531" not in box.process.exec("cat /proc/[0-9]*/cmdline").stdout_bytes, why="the command still runs")


def test_an_exec_that_is_cancelled_before_its_start_is_told_kills_its_command(client, daemon, box):
    import sandbox
    from sandbox.aio import AsyncSandbox

    def runs():
        return "sleep 7541" in daemon.exec_in(box.id, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")["stdout"]

    async def main(way):
        task = asyncio.create_task(AsyncSandbox(sandbox.Sandbox.get(box.id)).process.exec("sleep 754''1; true"))
        await asyncio.get_running_loop().run_in_executor(None, way.wait_for_request)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with slow_way_to(daemon, f"POST /api/sandboxes/{box.id}/exec") as way:
        sandbox.configure(url=way.url)
        asyncio.run(main(way))
        until(runs, why="the command did not start")
        time.sleep(0.5)  # a call asks several times a second whether it is to end
        way.let_through()
        all_calls_ended()
        until(lambda: not runs(), why="the command still runs")


def test_cancelled_calls_leave_no_thread_and_no_descriptor(client, box):
    from sandbox.aio import AsyncSandbox
    twin = AsyncSandbox(box)

    async def main(seconds):
        await cancel_when_running(twin, str(seconds).encode(), *(twin.process.exec(f"sleep {seconds}; true") for _ in range(30)))
        assert (await twin.process.exec("echo ok")).result == "ok\n"
    asyncio.run(main(6001))
    all_calls_ended()  # a moment after their tasks
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for seconds in (6002, 6003):
        asyncio.run(main(seconds))
        all_calls_ended()
    assert threading.active_count() <= threads + 30
    until(lambda: len(os.listdir("/proc/self/fd")) <= files + 16, why="descriptors leak")


def test_field_24_three_hundred_calls_at_once(client, box):
    from sandbox.aio import AsyncSandbox
    twin, gate = AsyncSandbox(box), Gate(box)

    async def main():
        calls = asyncio.gather(*(twin.process.exec(gate.command(f"echo {i}"), timeout=120) for i in range(300)))
        await asyncio.get_running_loop().run_in_executor(None, gate.open_for, 300)
        return await calls
    assert [g.result for g in asyncio.run(main())] == [f"{i}\n" for i in range(300)]


def test_field_24_over_fifty_sandboxes_and_by_threads(client):
    from concurrent.futures import ThreadPoolExecutor

    from sandbox import Sandbox
    from sandbox.aio import AsyncSandbox
    boxes = [Sandbox.create() for _ in range(50)]

    def open_all(gates):
        for gate in gates:
            gate.open_for(6)
    try:
        async def main():
            twins, gates = [AsyncSandbox(b) for b in boxes], [Gate(b) for b in boxes]
            calls = asyncio.gather(*(twins[i % 50].process.exec(Gate.command(f"echo {i}"), timeout=120) for i in range(300)))
            await asyncio.get_running_loop().run_in_executor(None, open_all, gates)
            return await calls
        assert [g.result for g in asyncio.run(main())] == [f"{i}\n" for i in range(300)]
        gates = [Gate(b) for b in boxes]
        with ThreadPoolExecutor(300) as pool:
            calls = [pool.submit(boxes[i % 50].process.exec, Gate.command(f"echo {i}"), timeout=120) for i in range(300)]
            open_all(gates)
            assert [c.result().result for c in calls] == [f"{i}\n" for i in range(300)]
    finally:
        for b in boxes:
            b.delete()


def test_field_25_a_thread_pool_of_loops(client, daemon):
    """90 workers, each with a loop of its own: create, exec, delete."""
    from concurrent.futures import ThreadPoolExecutor

    from sandbox.aio import AsyncSandbox

    async def one(i):
        async with await AsyncSandbox.create() as box:
            return (await box.process.exec(f"echo {i}")).result
    with ThreadPoolExecutor(90) as pool:
        got = list(pool.map(lambda i: asyncio.run(one(i)), range(90)))
    assert got == [f"{i}\n" for i in range(90)]


def test_everything_once(client, tmp_path):
    from sandbox import SandboxState, UnsupportedError
    from sandbox.aio import AsyncClient, AsyncDaytona, AsyncSandbox, create_sandbox, delete_sandbox, get_or_start_sandbox, runtime_manager

    async def main():
        box = await create_sandbox("pw", "p")
        assert box.state == SandboxState.STARTED and box.labels["id"] == "p" and repr(box).startswith("AsyncSandbox(id=")
        assert (await get_or_start_sandbox(box.id)).id == box.id
        await box.fs.upload_file(b"\x00\xff", "/workspace/a/b")
        assert await box.fs.download_file("/workspace/a/b") == b"\x00\xff"
        assert await box.fs.download_file("/workspace/a/b", tmp_path / "b") is None
        assert [f.name for f in await box.fs.list_files("/workspace/a")] == ["b"]
        await box.fs.create_folder("/workspace/c", "700")
        await box.fs.set_file_permissions("/workspace/c", "711")
        assert (await box.fs.get_file_info("/workspace/c")).permissions == "0711" and await box.fs.exists("/workspace/c")
        await box.fs.move_files("/workspace/c", "/workspace/d")
        await box.fs.delete_file("/workspace/d")
        await box.fs.upload_files([("text", "/workspace/t")])
        assert (await box.fs.find_files("/workspace", "text"))[0].line == 1
        assert (await box.fs.search_files("/workspace", "t")).files == ["/workspace/t"]
        assert (await box.fs.replace_in_files(["/workspace/t"], "text", "new"))[0].success
        program = await box.process.start("cat; exit 2")
        await program.write("through")
        await program.close_stdin()
        assert [d async for _, d in program] == [b"through"] and program.exit_code == 2
        sleeper = await box.process.start("sleep 99")
        assert sleeper.pid in [p.pid for p in await box.process.list()]
        await box.process.kill(sleeper.pid)
        assert await sleeper.wait() == 137
        assert (await box.stop()).state == "stopped" and (await box.start()).state == "started"
        assert (await box.pause()).state == "paused" and (await box.resume()).state == "started"
        assert (await box.info()).state == "started" and (await box.refresh()) is box
        assert (await box.set_timeout(0)).expires_at is None and await box.set_labels({"a": "b"}) == {"a": "b"}
        assert (await box.get_preview_link(80)).url and await box.stats() and await box.logs()
        with pytest.raises(UnsupportedError):
            await box.archive()
        with pytest.raises(UnsupportedError):
            await box.create_ssh_access(expires_in_minutes=1)
        assert (await runtime_manager.get_runtime_info())["runtime"] == "local" and await runtime_manager.validate_runtime_config()
        assert (await AsyncClient().status())["current_runtime"] == "local"
        daytona = AsyncDaytona()
        assert box.id in [b.id for b in await daytona.list({"a": "b"})]
        async with daytona:
            await daytona.stop(await daytona.find_one(sandbox_id=box.id))
        assert await delete_sandbox(box.id) is True
    asyncio.run(main())


def test_a_terminal_whose_callback_is_a_coroutine(client, box):
    from sandbox import PtySize
    from sandbox.aio import AsyncSandbox
    out, loops = bytearray(), set()

    async def main():
        async def take(data):
            loops.add(asyncio.get_running_loop())
            out.extend(data)
        terminal = await AsyncSandbox(box).process.create_pty_session(id="t", on_data=take, pty_size=PtySize(cols=100, rows=30))
        await terminal.send_input("stty size; exit 4\n")
        assert (await terminal.wait(30)).exit_code == 4
        assert loops == {asyncio.get_running_loop()} and b"30 100" in out
    asyncio.run(main())


def test_an_interpreter_that_ends_with_calls_running_ends(client, daemon):
    """A loop that nobody closed, with tasks that nobody cancelled: the calls end."""
    program = """
        import asyncio
        from sandbox.aio import AsyncSandbox
        loop = asyncio.new_event_loop()
        box = loop.run_until_complete(AsyncSandbox.get_or_create("left-open"))
        tasks = [loop.create_task(box.process.exec("sleep 600")) for _ in range(3)]
        loop.run_until_complete(asyncio.sleep(0.3))
        print("end")
    """
    begin = time.monotonic()
    assert say(program, daemon.url) == "end\n"
    assert time.monotonic() - begin < 60
    until(lambda: not [p for p in daemon.get("/api/sandboxes/left-open/processes").json()["processes"]], why="a command still runs")
    assert client.delete("left-open")


def test_a_loop_that_ends_with_calls_running_ends(client, daemon):
    """asyncio.run() cancels what is left; the interpreter shuts down at once and the command is gone."""
    program = """
        import asyncio, sys
        from sandbox.aio import AsyncSandbox
        async def main():
            box = await AsyncSandbox.get_or_create("left-running")
            asyncio.create_task(box.process.exec("sleep 600"))
            await asyncio.sleep(0.3)
            print("end")
        asyncio.run(main())
    """
    begin = time.monotonic()
    assert say(program, daemon.url) == "end\n"
    assert time.monotonic() - begin < 30
    assert client.delete("left-running")
