"""Threads for the asynchronous twin: a blocking call of the library runs in one of them, and the event loop goes on.

Threads are made when none is idle, up to WORKERS; more calls than that wait for one. When a task is cancelled its call ends
early, so that no thread hangs on a slow daemon; when the interpreter shuts down so do all that are left."""
import asyncio
import contextvars
import functools
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Optional, Set, TypeVar

from . import _native

T = TypeVar("T")
WORKERS = 1024
_pool: Optional[ThreadPoolExecutor] = None
_lock = threading.Lock()
_running: Set["_native.Cancel"] = set()


def _executor() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="sandbox")
        return _pool


def _after_fork() -> None:
    """A child has none of its parent's threads."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()
    _running.clear()


def _at_exit() -> None:
    """Before the interpreter waits for the threads of every executor."""
    for cancel in list(_running):
        cancel.set()


os.register_at_fork(after_in_child=_after_fork)
if hasattr(threading, "_register_atexit"):  # else they are waited for until their calls end
    threading._register_atexit(_at_exit)


def submit(cancel: "_native.Cancel", fn: Callable[..., T], *args: Any, **named: Any) -> "Future[T]":
    context = contextvars.copy_context()
    future = _executor().submit(cancel.run, context.run, functools.partial(fn, *args, **named))
    _running.add(cancel)
    future.add_done_callback(lambda done: _running.discard(cancel))
    return future


async def run(fn: Callable[..., T], *args: Any, **named: Any) -> T:
    cancel = _native.Cancel()
    future = submit(cancel, fn, *args, **named)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        cancel.set()
        raise


async def run_create(fn: Callable[..., T], drop: Callable[[T], Any], *args: Any, **named: Any) -> T:
    """The same for a call that makes something: what is made although the task was cancelled is dropped."""
    cancel, loop_thread = _native.Cancel(), threading.get_ident()
    future = submit(cancel, fn, *args, **named)

    def late(done: "Future[T]") -> None:
        if done.cancelled() or done.exception() is not None:
            return
        if threading.get_ident() == loop_thread:
            submit(_native.Cancel(), drop, done.result())
        else:
            _native.Cancel().run(drop, done.result())

    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        cancel.set()
        future.add_done_callback(late)
        raise
