"""Commands in a sandbox."""
import asyncio
import base64
import concurrent.futures
import threading

import e2b
from context import check, equal, sha256

CASES = {}


def case(name):
    return lambda fn: CASES.setdefault(name, fn)


def waits(folder):
    """A command that ends when a file was written."""
    return f"until [ -e {folder}/go ]; do sleep 0.02; done"


async def run(c, cmd, **more):
    return await c((await c.shared()).commands.run(cmd, **more))


@case("commands.run")
async def _(c):
    r = await run(c, "echo out; echo err >&2")
    equal((r.stdout, r.stderr, r.exit_code), ("out\n", "err\n", 0), "result")
    equal((await run(c, "true")).stdout, "", "no output")


@case("commands.run: exit codes")
async def _(c):
    e = await c.fails(lambda: run(c, "echo out; echo err >&2; exit 3"), e2b.CommandExitException)
    equal((e.exit_code, e.stdout, e.stderr), (3, "out\n", "err\n"), "error")
    equal((await c.fails(lambda: run(c, "exit 255"), e2b.CommandExitException)).exit_code, 255, "code")


@case("commands.run: no such program")
async def _(c):
    e = await c.fails(lambda: run(c, "no-such-program-here"), e2b.CommandExitException)
    equal(e.exit_code, 127, "code")
    check("not found" in e.stderr, e.stderr)


@case("commands.run: ended by a signal")
async def _(c):
    e = await c.fails(lambda: run(c, "kill -TERM $$"), e2b.CommandExitException)
    equal(e.exit_code, -1, "code")
    check("terminated" in e.error, e.error)


@case("commands.run: envs (field report 3)")
async def _(c):
    sbx = await c.fresh(envs={"A": "1", "B": "at create"})
    envs = {"B": "two  words", "C": "'\"$HOME\\", "D": "one\ntwo", "E": ""}
    out = (await c(sbx.commands.run("env -0 | base64 -w0", envs=envs))).stdout
    got = dict(x.split("=", 1) for x in base64.b64decode(out).decode().split("\0") if x)
    equal({k: got.get(k) for k in "ABCDE"}, {"A": "1", **envs}, "variables")
    try:
        await c(sbx.commands.run("true", envs={"X;touch /tmp/ran": "1"}))
    except e2b.SandboxException:
        pass
    equal(await c(sbx.files.exists("/tmp/ran")), False, "a name that would be a command")


@case("commands.run: cwd")
async def _(c):
    equal((await run(c, "pwd", cwd="/tmp")).stdout, "/tmp\n", "absolute")
    equal((await run(c, "pwd")).stdout, "/home/user\n", "default")
    await c.fails(lambda: run(c, "pwd", cwd="/no/such"), e2b.InvalidArgumentException, "/no/such")


@case("commands.run: user")
async def _(c):
    equal((await run(c, "id -un; echo $HOME", user="root")).stdout, "root\n/root\n", "root")
    equal((await run(c, "id -un")).stdout, "user\n", "default")
    await c.fails(lambda: run(c, "true", user="nobody-such"), e2b.AuthenticationException, "nobody-such")


@case("commands.run: timeout")
async def _(c):
    await c.fails(lambda: run(c, "sleep 300 # late", timeout=0.5), e2b.TimeoutException, "time")
    sbx = await c.shared()

    async def ended():
        return not any("# late" in " ".join(p.args) for p in await c(sbx.commands.list()))
    await c.until(ended, "the end of the process")


@case("commands.run: callbacks")
async def _(c):
    sbx, folder = await c.folder()
    out, err, going = [], [], []

    def seen(text):
        out.append(text)
        if not going:
            go = sbx.files.write(f"{folder}/go", "")
            going.append(asyncio.ensure_future(go) if c.is_async else go)
    r = await run(c, f"echo 1; {waits(folder)}; echo 2; echo e >&2", on_stdout=seen, on_stderr=err.append)
    equal(("".join(out), "".join(err)), (r.stdout, r.stderr), "callbacks and result")
    check(len(out) >= 2, out)


@case("commands.run: big output")
async def _(c):
    r = await run(c, "seq 1 1000000")
    equal(sha256(r.stdout), sha256("".join(f"{i}\n" for i in range(1, 1000001))), "checksum")


@case("commands.run: UTF-8 cut anywhere (field report 1)")
async def _(c):
    expected, seen = "a" + "é€😀" * 50000 + "\n", []
    r = await run(c, "python3 -c \"print('a'+'é€😀'*50000)\"", on_stdout=seen.append)
    equal((r.stdout == expected, "".join(seen) == expected), (True, True), "result and callback equal what was printed")
    slow = await run(c, "for b in '\\342' '\\202' '\\254'; do printf $b; sleep 0.2; done")
    equal(slow.stdout, "€", "one character written byte by byte")


@case("commands.run: background")
async def _(c):
    h = await run(c, "sleep 0.2; echo done; exit 4", background=True)
    check(h.pid > 1, h.pid)
    e = await c.fails(h.wait, e2b.CommandExitException)
    equal((e.exit_code, e.stdout), (4, "done\n"), "result")


@case("commands.run: many at once")
async def _(c):
    sbx = await c.shared()
    if c.is_async:
        results = await asyncio.gather(*(sbx.commands.run(f"sleep 0.5; echo {i}") for i in range(100)))
    else:
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            results = list(pool.map(lambda i: sbx.commands.run(f"sleep 0.2; echo {i}"), range(100)))
    equal([r.stdout for r in results], [f"{i}\n" for i in range(100)], "answers")


@case("commands.kill")
async def _(c):
    sbx = await c.shared()
    h = await c(sbx.commands.run("sleep 300", background=True))
    equal(await c(sbx.commands.kill(h.pid)), True, "kill")
    check("killed" in (await c.fails(h.wait, e2b.CommandExitException)).error, "error names the signal")
    equal(await c(sbx.commands.kill(999999)), False, "kill of none")
    other = await c(sbx.commands.run("sleep 300", background=True))
    equal(await c(other.kill()), True, "kill by the handle")
    await c.fails(other.wait, e2b.CommandExitException)


@case("commands.list")
async def _(c):
    sbx = await c.shared()
    h = await c(sbx.commands.run("sleep 301", background=True, envs={"LISTED": "yes"}, cwd="/tmp"))
    found = next(p for p in await c(sbx.commands.list()) if p.pid == h.pid)
    equal((found.cmd, found.args[-1], found.envs["LISTED"], found.cwd), ("/bin/bash", "sleep 301", "yes", "/tmp"), "entry")
    await c(h.kill())

    async def gone():
        return not any(p.pid == h.pid for p in await c(sbx.commands.list()))
    await c.until(gone, "its leaving the list")


@case("commands.sendStdin")
async def _(c):
    sbx = await c.shared()
    h = await c(sbx.commands.run('read a; read b; echo "$b $a"', background=True, stdin=True))
    await c(sbx.commands.send_stdin(h.pid, "one\n"))
    await c(sbx.commands.send_stdin(h.pid, "zwö\n"))
    equal((await c(h.wait())).stdout, "zwö one\n", "answer")
    without = await c(sbx.commands.run("sleep 5", background=True, stdin=False))
    await c.fails(lambda: sbx.commands.send_stdin(without.pid, "x"), e2b.SandboxException)
    await c(without.kill())


@case("commands.sendStdin: bytes (field report 2)")
async def _(c):
    sbx = await c.shared()
    data = bytes((i * 7919 >> 3) & 255 for i in range(2_000_000))
    h = await c(sbx.commands.run("sha256sum", background=True, stdin=True, timeout=120))
    for at in range(0, len(data), 500_000):
        await c(sbx.commands.send_stdin(h.pid, data[at:at + 500_000]))
    await c(sbx.commands.close_stdin(h.pid))
    equal((await c(h.wait())).stdout.split()[0], sha256(data), "checksum")
    none = await c(sbx.commands.run("cat", background=True, stdin=True))
    await c(sbx.commands.close_stdin(none.pid))
    equal((await c(none.wait())).stdout, "", "cat of nothing ends")


@case("commands.stream_input")
async def _(c):
    sbx = await c.shared()
    parts = [b"one ", b"two ", bytes(range(256)) * 4000]
    h = await c(sbx.commands.run("sha256sum", background=True, stdin=True))
    if c.is_async:
        stream = sbx.commands.stream_input(h.pid)
        for part in parts:
            await stream.send(part)
        await stream.close()
    else:
        sbx.commands.stream_input(h.pid, iter(parts))
    await c(sbx.commands.close_stdin(h.pid))
    equal((await c(h.wait())).stdout.split()[0], sha256(b"".join(parts)), "checksum")


@case("CommandHandle.sendStdin and closeStdin")
async def _(c):
    h = await run(c, "cat", background=True, stdin=True)
    await c(h.send_stdin("by the handle"))
    await c(h.close_stdin())
    equal((await c(h.wait())).stdout, "by the handle", "answer")


@case("commands.connect")
async def _(c):
    sbx, folder = await c.folder()
    first = await c(sbx.commands.run(f"seq 8; {waits(folder)}; seq 9 10; exit 5", background=True))
    await c(first.disconnect())
    again = await c(sbx.commands.connect(first.pid))
    await c(sbx.files.write(f"{folder}/go", ""))
    e = await c.fails(again.wait, e2b.CommandExitException)
    equal(e.exit_code, 5, "code")
    check(e.stdout.endswith("9\n10\n"), e.stdout)
    await c.fails(lambda: sbx.commands.connect(999999), e2b.NotFoundException, "999999")


@case("CommandHandle.disconnect")
async def _(c):
    sbx, folder = await c.folder()
    h = await c(sbx.commands.run(f"sleep 1; echo alive >{folder}/proof", background=True))
    await c(h.disconnect())

    async def proof():
        return await c(sbx.files.read(f"{folder}/proof")) == "alive\n"
    await c.until(proof, "the process going on alone")


@case("CommandHandle: output while it runs")
async def _(c):
    sbx, folder = await c.folder()
    h = await run(c, f"echo 1; {waits(folder)}; echo 2 >&2; echo 3", background=True)
    if c.is_async:
        await c.until(lambda: h.stdout == "1\n", "the first line")
        equal(h.exit_code, None, "no code yet")
        await sbx.files.write(f"{folder}/go", "")
        await h.wait()
        equal((h.stdout, h.stderr, h.exit_code, h.error), ("1\n3\n", "2\n", 0, None), "at the end")
    else:
        pieces = iter(h)
        parts = [next(pieces)]
        sbx.files.write(f"{folder}/go", "")
        parts += pieces
        equal("".join(out or "" for out, _, _ in parts), "1\n3\n", "by iterating")
        equal("".join(err or "" for _, err, _ in parts), "2\n", "errors by iterating")
        other, seen = await run(c, "echo 4; echo 5 >&2", background=True), []
        other.wait(on_stdout=seen.append, on_stderr=seen.append)
        equal(sorted(seen), ["4\n", "5\n"], "by wait's callbacks")
    equal(threading.active_count() < 100, True, "threads")
