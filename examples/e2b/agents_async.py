"""Five sandboxes at once: each gets a share of the work, and all of them are gone at the end."""
import asyncio

from e2b import AsyncSandbox


async def share(n):
    async with await AsyncSandbox.create(metadata={"share": str(n)}, timeout=120) as sandbox:
        lines = []
        command = await sandbox.commands.run(f"for i in 1 2 3; do echo $((i * {n})); done", background=True,
                                             on_stdout=lambda text: lines.append(text))
        await command.wait()
        return sum(map(int, "".join(lines).split()))


async def main():
    print(await asyncio.gather(*(share(n) for n in range(1, 6))))

asyncio.run(main())
