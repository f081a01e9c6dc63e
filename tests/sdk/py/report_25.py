"""Field report 25: 90 workers of a thread pool, each with a loop of its own; the sync classes inside a running loop; a create that
is cancelled. Argument: the pid of the engine, which is stopped where a reply must not be there yet."""
import asyncio
import concurrent.futures
import json
import os
import signal
import sys
import urllib.request

from e2b import AsyncSandbox, Sandbox, SandboxQuery


async def life(n):
    sandbox = await AsyncSandbox.create(metadata={"report": "25"})
    try:
        return (await sandbox.commands.run(f"echo {n}")).stdout == f"{n}\n"
    finally:
        await sandbox.kill()


def sync_life():
    sandbox = Sandbox.create(metadata={"report": "25"})
    said = sandbox.commands.run("echo sync").stdout
    sandbox.kill()
    return said


async def beside_a_loop():
    ticks, stop = 0, asyncio.Event()

    async def tick():
        nonlocal ticks
        while not stop.is_set():
            ticks += 1
            await asyncio.sleep(0.001)
    ticking = asyncio.create_task(tick())
    inside = sync_life()  # blocks the loop, as it must, but ends
    beside = await asyncio.to_thread(sync_life)
    stop.set()
    await ticking
    print(inside == beside == "sync\n", ticks > 1)


def creating():
    """Whether the daemon is making a sandbox: the native list shows that."""
    with urllib.request.urlopen(os.environ["E2B_API_URL"] + "/api/sandboxes?limit=1000", timeout=60) as reply:
        return any(item["state"] == "creating" for item in json.load(reply)["items"])


async def in_the_daemon():
    while not await asyncio.to_thread(creating):
        await asyncio.sleep(0.01)


async def left():
    return len(await AsyncSandbox.list(query=SandboxQuery(metadata={"report": "25"})).next_items())


async def cancelled(engine):
    """The engine stands still until each is cancelled: a reply that is on its way already, nobody could call back."""
    ends = []
    for moment in (asyncio.sleep(0), asyncio.sleep(0.001), asyncio.sleep(0.003), in_the_daemon(), in_the_daemon(), in_the_daemon()):
        os.kill(engine, signal.SIGSTOP)
        try:
            task = asyncio.create_task(AsyncSandbox.create(metadata={"report": "25"}))
            await asyncio.wait_for(moment, 60)
            task.cancel()
            ends += await asyncio.gather(task, return_exceptions=True)
        finally:
            os.kill(engine, signal.SIGCONT)
        for _ in range(1200):
            if not await asyncio.to_thread(creating) and not await left():
                break
            await asyncio.sleep(0.05)
        else:
            break
    print("cancelled:", sum(isinstance(end, asyncio.CancelledError) for end in ends), "left:", await left())


def main():
    with concurrent.futures.ThreadPoolExecutor(90) as pool:
        print(sum(pool.map(lambda n: asyncio.run(life(n)), range(90))))
    asyncio.run(beside_a_loop())
    asyncio.run(cancelled(int(sys.argv[1])))


main()
