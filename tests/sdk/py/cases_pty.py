"""Terminals."""
import re
import threading

import e2b
from context import check, equal

CASES = {}


def case(name):
    return lambda fn: CASES.setdefault(name, fn)


class Terminal:
    """A terminal whose output is collected; type() sends, see() waits for text that came after the last see()."""

    def __init__(self, c, sbx):
        self.c, self.sbx, self.raw, self.at = c, sbx, bytearray(), 0
        self.error = None

    @property
    def text(self):
        return self.raw.decode(errors="replace")

    def follow(self):
        """Reads on: the async handle by itself, the sync one in a thread."""

        def read():
            try:
                self.handle.wait(on_pty=self.raw.extend)
            except Exception as e:  # noqa: BLE001 - the test asks for it
                self.error = e
        if not self.c.is_async:
            self.thread = threading.Thread(target=read, daemon=True)
            self.thread.start()
        return self

    async def ended(self):
        """How it ended."""
        if self.c.is_async:
            return await self.c.fails(self.handle.wait, e2b.CommandExitException)
        self.thread.join(30)
        check(isinstance(self.error, e2b.CommandExitException), self.error)
        return self.error

    async def type(self, text):
        await self.c(self.sbx.pty.send_stdin(self.pid, text.encode()))

    async def see(self, pattern):
        found = []

        def look():
            found[:] = [re.search(pattern, self.text[self.at:])]
            return found[0]
        try:
            await self.c.until(look, f"{pattern} in a terminal", 30)
        except AssertionError as e:
            raise AssertionError(f"{e}; came {self.text[self.at:]!r}") from e
        self.at += found[0].end()

    async def end(self):
        await self.c(self.sbx.pty.kill(self.pid))
        await self.ended()


async def terminal(c, follow=True, **more):
    sbx = await c.shared()
    t = Terminal(c, sbx)
    if c.is_async:
        more["on_data"] = t.raw.extend
    t.handle = await c(sbx.pty.create(e2b.PtySize(rows=40, cols=120), timeout=0, **more))
    t.pid = t.handle.pid
    return t.follow() if follow else t


@case("pty.create and sendInput")
async def _(c):
    t = await terminal(c)
    await t.type("echo $((6*7)) $TERM; tty\n")
    await t.see(r"42 xterm-256color")
    await t.see(r"/dev/pts/\d+")
    await t.type("exit 7\n")
    equal((await t.ended()).exit_code, 7, "code")


@case("pty.create: envs, cwd, user (field report 3)")
async def _(c):
    t = await terminal(c, envs={"B": "two  words", "C": "'\"$HOME\\"}, cwd="/tmp", user="root")
    await t.type('printf "[%s]" "$B" "$C" "$PWD" "$(id -un)"; echo\n')
    await t.see(r"\[two  words\]\['\"\$HOME\\\]\[/tmp\]\[root\]")
    await t.end()


@case("pty.resize (field report 4)")
async def _(c):
    t = await terminal(c)
    await t.type("stty size\n")
    await t.see(r"\b40 120\b")
    await t.type("trap 'stty size' WINCH; echo s''et\n")
    await t.see("set")
    await c(t.sbx.pty.resize(t.pid, e2b.PtySize(rows=50, cols=200)))
    await t.type("true\n")
    await t.see(r"\b50 200\b")
    await t.type("sh -c 'echo run\"\"ning; exec sleep 300'\n")  # a shell forgets an interrupt that comes while it starts a program
    await t.see("running")
    await t.type("\x03")
    await t.type("echo still $((40+2))\n")
    await t.see("still 42")
    await t.end()


@case("pty.kill")
async def _(c):
    t = await terminal(c)
    equal(await c(t.sbx.pty.kill(t.pid)), True, "kill")
    await t.ended()
    equal(await c(t.sbx.pty.kill(999999)), False, "kill of none")


@case("pty.connect")
async def _(c):
    t = await terminal(c, follow=False)
    await t.type("KEPT=kept\n")
    await c(t.handle.disconnect())
    again = Terminal(c, t.sbx)
    more = {"on_data": again.raw.extend} if c.is_async else {}
    again.pid, again.handle = t.pid, await c(t.sbx.pty.connect(t.pid, timeout=0, **more))
    again.follow()
    await again.type("echo is $KEPT\n")
    await again.see("is kept")
    await again.end()


@case("pty.stream_input")
async def _(c):
    t = await terminal(c)
    if c.is_async:
        stream = t.sbx.pty.stream_input(t.pid)
        await stream.send(b"echo from ")
        await stream.send(b"a stream $((40+2))\n")
        await stream.close()
    else:
        t.sbx.pty.stream_input(t.pid, iter([b"echo from ", b"a stream $((40+2))\n"]))
    await t.see("from a stream 42")
    await t.end()


@case("pty: UTF-8 (field report 1)")
async def _(c):
    t = await terminal(c)
    await t.type("python3 -c \"print('a'+'é€😀'*20000+'z')\"; echo en\"\"d\n")
    await t.see("end")
    check("a" + "é€😀" * 20000 + "z" in t.text, "every character arrived whole")
    await t.end()
