"""The asynchronous twin: nothing blocks the event loop, a cancelled await leaves nothing."""
import asyncio
import contextlib
import os
import threading
import time

import pytest

from conftest import until
from package_tools import ids_of, say, settled, slow_way_to

pytest_plugins = ["python_package"]
pytestmark = pytest.mark.root
TICK_S = 0.01


@contextlib.asynccontextmanager
async def ticking():
    """Counts ticks of 10 ms of this event loop, and the longest time between two."""
    seen = {"n": 0, "longest": 0.0}

    async def tick():
        last = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            seen["n"], seen["longest"], last = seen["n"] + 1, max(seen["longest"], now - last), now
    task = asyncio.create_task(tick())
    try:
        yield seen
    finally:
        task.cancel()


def test_r43_a_slow_create_does_not_stop_the_loop(client, daemon):
    """The reply to a create takes two seconds; the loop's ticker of 10 ms goes on meanwhile. By every way that creates."""
    import sandbox
    from sandbox.aio import AsyncDaytona, AsyncSandbox, create_sandbox

    async def main(make):
        begin = time.monotonic()
        async with ticking() as seen:
            box = await make()
            took = time.monotonic() - begin
            await box.delete()
        assert took >= 1.9
        assert seen["n"] > took / TICK_S / 4, seen

    with slow_way_to(daemon, 2) as (url, _):
        sandbox.configure(url=url)
        for make in (AsyncSandbox.create, lambda: create_sandbox("pw", "p"), lambda: AsyncDaytona().create()):
            asyncio.run(main(make))


def test_r43_get_or_start_of_the_sync_style_does_not_stop_the_loop(client, daemon):
    import sandbox
    from sandbox.e2b_sandbox import delete_e2b_sandbox, get_or_start_e2b_sandbox
    from sandbox.runtime_manager import delete_sandbox, get_or_start_sandbox

    async def main():
        for start, stop in ((get_or_start_e2b_sandbox, delete_e2b_sandbox), (get_or_start_sandbox, delete_sandbox)):
            async with ticking() as seen:
                box = await start("slowly")
                assert box.id == "slowly"
                assert await stop("slowly") is True
            assert seen["n"] > 40, seen
    with slow_way_to(daemon, 1.5, "PUT /api/sandboxes/") as (url, _):
        sandbox.configure(url=url)
        asyncio.run(main())


def test_the_sync_style_inside_a_running_loop(client, box):
    """It blocks that loop, as the document's snippets do, but works."""
    async def main():
        box.fs.upload_file(b"x", "/workspace/in-loop")
        return box.process.exec("cat in-loop").result
    assert asyncio.run(main()) == "x"


def test_field_25_a_cancelled_create_leaves_no_sandbox(client, daemon):
    import sandbox
    from sandbox.aio import AsyncDaytona, AsyncSandbox, create_sandbox
    before = ids_of(daemon)

    async def main(make, wait):
        task = asyncio.create_task(make())
        await asyncio.sleep(wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with slow_way_to(daemon, 1) as (url, _):
        sandbox.configure(url=url)
        for make in (AsyncSandbox.create, lambda: create_sandbox("pw", "p"), lambda: AsyncDaytona().create()):
            begin = time.monotonic()
            asyncio.run(main(make, 0.3))
            assert time.monotonic() - begin < 30
        until(lambda: not [t for t in threading.enumerate() if t.name == "sandbox-reclaim"])
        until(lambda: ids_of(daemon) == before, why="a cancelled create left a sandbox")
        settled(lambda: ids_of(daemon) == before)
    sandbox.configure(url=daemon.url)
    for wait in (0, 0.001, 0.002, 0.004, 0.006, 0.01, 0.02):  # wherever it is cut
        async def race():
            task = asyncio.create_task(AsyncSandbox.create())
            await asyncio.sleep(wait)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await task).delete()
        asyncio.run(race())
    until(lambda: ids_of(daemon) == before, why="a cancelled create left a sandbox")


def test_a_cancelled_exec_kills_its_command(client, box):
    from sandbox.aio import AsyncSandbox
    twin = AsyncSandbox(box)

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(twin.process.exec("sleep 7531; true"), 0.7)
        with pytest.raises(asyncio.TimeoutError):  # long input goes another way
            await asyncio.wait_for(twin.process.exec("cat >/dev/null; sleep 7531", stdin=b"x" * 3_000_000), 0.7)
    asyncio.run(main())
    until(lambda: b"7531" not in box.process.exec("cat /proc/[0-9]*/cmdline").stdout_bytes, why="the command still runs")


def test_cancelled_calls_leave_no_thread_and_no_descriptor(client, box):
    from sandbox.aio import AsyncSandbox
    twin = AsyncSandbox(box)

    async def main():
        tasks = [asyncio.create_task(twin.process.exec("sleep 60")) for _ in range(30)]
        await asyncio.sleep(0.3)
        for t in tasks:
            t.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (await twin.process.exec("echo ok")).result == "ok\n"
    asyncio.run(main())
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        asyncio.run(main())
    assert threading.active_count() <= threads + 30
    until(lambda: len(os.listdir("/proc/self/fd")) <= files + 16, why="descriptors leak")


def test_field_24_three_hundred_calls_at_once(client, box):
    from sandbox.aio import AsyncSandbox
    twin = AsyncSandbox(box)

    async def main():
        async with ticking() as seen:
            got = await asyncio.gather(*(twin.process.exec(f"sleep 4; echo {i}") for i in range(300)))
        assert [g.result for g in got] == [f"{i}\n" for i in range(300)]
        assert seen["n"] > 40
    asyncio.run(main())


def test_field_24_over_fifty_sandboxes_and_by_threads(client):
    from concurrent.futures import ThreadPoolExecutor

    from sandbox import Sandbox
    from sandbox.aio import AsyncSandbox
    boxes = [Sandbox.create() for _ in range(50)]
    try:
        async def main():
            twins = [AsyncSandbox(b) for b in boxes]
            return await asyncio.gather(*(twins[i % 50].process.exec(f"sleep 4; echo {i}") for i in range(300)))
        assert [g.result for g in asyncio.run(main())] == [f"{i}\n" for i in range(300)]
        with ThreadPoolExecutor(300) as pool:
            got = list(pool.map(lambda i: boxes[i % 50].process.exec(f"sleep 4; echo {i}").result, range(300)))
        assert got == [f"{i}\n" for i in range(300)]
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
