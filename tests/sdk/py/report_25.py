"""Field report 25: 90 workers of a thread pool, each with a loop of its own; the sync classes inside a running loop; a create that
is cancelled."""
import asyncio
import concurrent.futures

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


async def cancelled():
    for patience in (0, 0.001, 0.002, 0.003):  # before the reply can be there: then nobody could help
        task = asyncio.create_task(AsyncSandbox.create(metadata={"report": "25"}))
        await asyncio.sleep(patience)
        task.cancel()
        made = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(made, AsyncSandbox):
            await made.kill()
    for _ in range(400):
        left = await AsyncSandbox.list(query=SandboxQuery(metadata={"report": "25"})).next_items()
        if not left:
            break
        await asyncio.sleep(0.05)
    print("left after cancelling:", len(left))


def main():
    with concurrent.futures.ThreadPoolExecutor(90) as pool:
        print(sum(pool.map(lambda n: asyncio.run(life(n)), range(90))))
    asyncio.run(beside_a_loop())
    asyncio.run(cancelled())


main()
