"""What every case needs, for the sync and the async classes of PyPI `e2b` alike.

A case is written once, as a coroutine. Whatever the SDK returns goes through `await c(value)`: in async mode an awaitable
is awaited, in sync mode the value is there already and the coroutine never suspends, so drive() runs it without a loop.
"""
import asyncio
import hashlib
import http.client
import inspect
import os
import ssl
import time
import urllib.parse

import e2b

NOT_SERVED = "not served"
PATIENCE_S = 60


class Absent(Exception):
    """This client has no such call."""


def equal(got, expected, what="value"):
    if got != expected:
        raise AssertionError(f"{what}: got {got!r:.400}, expected {expected!r:.400}")


def check(condition, what):
    if not condition:
        raise AssertionError(str(what)[:400])


def sha256(data):
    return hashlib.sha256(data if isinstance(data, (bytes, bytearray)) else data.encode()).hexdigest()


def drive(coroutine):
    """Runs a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("a case for the sync classes waited for something")




class Context:
    def __init__(self, is_async):
        self.is_async = is_async
        self.Sandbox = e2b.AsyncSandbox if is_async else e2b.Sandbox
        self.made, self._shared, self.count = [], None, 0
        self.unique = f"{os.getpid()}-{time.time_ns()}"

    async def __call__(self, value):
        return await value if inspect.isawaitable(value) else value

    async def sleep(self, seconds):
        if self.is_async:
            await asyncio.sleep(seconds)
        else:
            time.sleep(seconds)

    async def in_thread(self, fn, *args):
        """Something that blocks, without stopping the loop."""
        return await asyncio.to_thread(fn, *args) if self.is_async else fn(*args)

    async def until(self, fn, what, seconds=PATIENCE_S):
        """Waits for a true value; errors while waiting count as not yet."""
        end, last = time.monotonic() + seconds, None
        while time.monotonic() < end:
            try:
                last = await self(fn())
                if last:
                    return last
            except Exception as e:  # noqa: BLE001 - what the last one was is in the message
                last = e
            await self.sleep(0.025)
        raise AssertionError(f"{what}: not within {seconds} s; last {last!r:.400}")

    async def fails(self, call, kind, text=""):
        """The exception that a call ends with; it is of this kind and has the text."""
        try:
            value = await self(call())
        except kind as e:
            check(text.lower() in str(e).lower(), f"expected {text!r} in: {e}")
            return e
        except Exception as e:
            raise AssertionError(f"expected {kind}, got {type(e).__name__}: {e}") from e
        raise AssertionError(f"expected {kind}, but it succeeded with {value!r:.200}")

    async def not_served(self, call, kind=Exception):
        e = await self.fails(call, kind)
        check("501" in str(e) or "serve" in str(e) or "support" in str(e), f"{type(e).__name__}: {e}")
        return NOT_SERVED

    async def shared(self):
        """A sandbox that all cases may use and none may end or pause."""
        if self._shared is None:
            self._shared = await self.fresh(timeout=900)
        return self._shared

    async def fresh(self, *args, **more):
        """A sandbox of the case's own; it is killed when the run ends."""
        sbx = await self(self.Sandbox.create(*args, **more))
        self.made.append(sbx.sandbox_id)
        return sbx

    async def folder(self):
        """A new folder in the shared sandbox."""
        sbx = await self.shared()
        self.count += 1
        path = f"/home/user/case-{self.unique}-{self.count}"
        await self(sbx.files.make_dir(path))
        return sbx, path

    async def done(self):
        for name in self.made:
            try:
                await self(self.Sandbox.kill(name))
            except Exception:  # noqa: BLE001 - the next one has to go as well
                pass

    def port(self, sbx, port):
        """Where a client finds a port of a sandbox: address to connect to, and the Host it names."""
        host = sbx.get_host(port)
        base = os.environ.get("E2B_SANDBOX_URL")
        return (base, {"Host": host}) if base else (f"https://{host}", {})

    @staticmethod
    def request(url, method="GET", headers=None, body=None):
        """One request as a browser or curl would send it: status and body."""
        at = urllib.parse.urlsplit(url)
        if at.scheme == "https":
            connection = http.client.HTTPSConnection(at.hostname, at.port, timeout=PATIENCE_S, context=ssl.create_default_context())
        else:
            connection = http.client.HTTPConnection(at.hostname, at.port, timeout=PATIENCE_S)
        try:
            connection.request(method, at.path + (f"?{at.query}" if at.query else ""), body, headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()
