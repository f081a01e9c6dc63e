"""Field report 24: 300 commands at once on one AsyncSandbox, then over 50 sandboxes. Prints how many answers were right, and the
errors that were not the SDK's own."""
import asyncio

from e2b import AsyncSandbox, SandboxException


async def one(sandbox, n):
    try:
        return (await sandbox.commands.run(f"sleep 4; echo {n}", timeout=120)).stdout == f"{n}\n"
    except SandboxException as e:
        return f"refused: {type(e).__name__}"


async def main():
    sandbox = await AsyncSandbox.create(timeout=600)
    print(sum(x is True for x in await asyncio.gather(*(one(sandbox, n) for n in range(300)))))
    await sandbox.kill()
    many = await asyncio.gather(*(AsyncSandbox.create(timeout=600) for _ in range(50)))
    print(sum(x is True for x in await asyncio.gather(*(one(many[n % 50], n) for n in range(300)))))
    await asyncio.gather(*(s.kill() for s in many))

asyncio.run(main())
