"""The asynchronous twin: the same calls, each awaited; none blocks the event loop.

    from sandbox.aio import AsyncSandbox
    async with await AsyncSandbox.create() as box:
        print((await box.process.exec("python3 -c 'print(6 * 7)'")).result)

A task that is cancelled ends its call early: a command is killed, a sandbox that was being made is removed.
"""
import asyncio
import inspect
from typing import IO, Any, AsyncIterator, Callable, Dict, Iterable, List, Mapping, Optional, Tuple, Union, overload

from . import _box, _files, _process, runtime_manager as _runtime, sandbox as _names
from ._client import Client, Json, default_client
from ._files import Content, Path
from ._model import (CommandLogs, ExecResult, FileInfo, Match, PreviewLink, ProcessInfo, PtyResult, PtySize, ReplaceResult, Resources,
                     SandboxState, SearchResult, Session, SessionCommand, SessionExecuteRequest, SessionExecuteResponse)
from ._pool import run, run_create
from ._process import KILL, Command, Env, Seconds

__all__ = ["AsyncClient", "AsyncDaytona", "AsyncFileSystem", "AsyncProcess", "AsyncPtyHandle", "AsyncRunningProcess",
           "AsyncRuntimeManager", "AsyncSandbox", "PtySize", "Resources", "SandboxState", "SessionExecuteRequest", "create_sandbox",
           "delete_sandbox", "get_or_start_sandbox", "runtime_manager", "start_supervisord_session"]


class AsyncFileSystem:
    def __init__(self, fs: _files.FileSystem) -> None:
        self._fs = fs

    async def upload_file(self, content: Content, path: Path, mode: Union[str, int, None] = None) -> None:
        return await run(self._fs.upload_file, content, path, mode)

    async def upload_files(self, files: Iterable[Any]) -> None:
        return await run(self._fs.upload_files, files)

    @overload
    async def download_file(self, path: Path, local_path: Union[int, float, None] = None) -> bytes: ...

    @overload
    async def download_file(self, path: Path, local_path: Union[Path, IO[bytes]], timeout: Union[int, float, None] = None) -> None: ...

    async def download_file(self, path: Path, local_path: Union[Path, IO[bytes], int, float, None] = None,
                            timeout: Union[int, float, None] = None) -> Optional[bytes]:
        content: Optional[bytes] = await run(self._fs.download_file, path, local_path, timeout)
        return content

    async def list_files(self, path: Path = ".", depth: int = 1) -> List[FileInfo]:
        return await run(self._fs.list_files, path, depth)

    async def get_file_info(self, path: Path) -> FileInfo:
        return await run(self._fs.get_file_info, path)

    async def exists(self, path: Path) -> bool:
        return await run(self._fs.exists, path)

    async def create_folder(self, path: Path, mode: Union[str, int] = "755") -> None:
        return await run(self._fs.create_folder, path, mode)

    async def set_file_permissions(self, path: Path, mode: Union[str, int, None] = None, owner: Optional[str] = None,
                                   group: Optional[str] = None) -> None:
        return await run(self._fs.set_file_permissions, path, mode, owner, group)

    async def delete_file(self, path: Path, recursive: bool = False) -> None:
        return await run(self._fs.delete_file, path, recursive)

    async def move_files(self, source: Path, destination: Path) -> None:
        return await run(self._fs.move_files, source, destination)

    async def find_files(self, path: Path, pattern: str) -> List[Match]:
        return await run(self._fs.find_files, path, pattern)

    async def search_files(self, path: Path, pattern: str) -> SearchResult:
        return await run(self._fs.search_files, path, pattern)

    async def replace_in_files(self, files: Iterable[Path], pattern: str, new_value: str) -> List[ReplaceResult]:
        return await run(self._fs.replace_in_files, files, pattern, new_value)


class AsyncProcess:
    def __init__(self, process: _process.Process) -> None:
        self._process = process

    async def exec(self, command: Command, cwd: Optional[str] = None, env: Env = None, timeout: Seconds = None, *,
                   user: Optional[str] = None, stdin: Union[bytes, str, None] = None, max_output_bytes: int = 0) -> ExecResult:
        return await run(self._process.exec, command, cwd, env, timeout, user=user, stdin=stdin, max_output_bytes=max_output_bytes)

    async def start(self, command: Command, cwd: Optional[str] = None, env: Env = None, timeout: Seconds = None, *,
                    user: Optional[str] = None) -> "AsyncRunningProcess":
        return AsyncRunningProcess(await run_create(self._process.start, _process.RunningProcess.kill, command, cwd, env, timeout, user=user))

    async def list(self) -> List[ProcessInfo]:
        return await run(self._process.list)

    async def kill(self, pid: int, signal: int = KILL) -> None:
        return await run(self._process.kill, pid, signal)

    async def create_session(self, session_id: str) -> None:
        return await run(self._process.create_session, session_id)

    async def execute_session_command(self, session_id: str, req: Any = None, timeout: Seconds = None, *,
                                      request: Any = None) -> SessionExecuteResponse:
        return await run(self._process.execute_session_command, session_id, req, timeout, request=request)

    async def get_session_command_logs(self, session_id: str, command_id: str) -> CommandLogs:
        return await run(self._process.get_session_command_logs, session_id, command_id)

    async def send_session_command_input(self, session_id: str, command_id: str, data: Union[str, bytes], eof: bool = False) -> None:
        return await run(self._process.send_session_command_input, session_id, command_id, data, eof)

    async def get_session(self, session_id: str) -> Session:
        return await run(self._process.get_session, session_id)

    async def get_session_command(self, session_id: str, command_id: str) -> SessionCommand:
        return await run(self._process.get_session_command, session_id, command_id)

    async def list_sessions(self) -> List[Session]:
        return await run(self._process.list_sessions)

    async def delete_session(self, session_id: str) -> None:
        return await run(self._process.delete_session, session_id)

    async def create_pty_session(self, id: Optional[str] = None, on_data: Optional[Callable[[bytes], Any]] = None,
                                 pty_size: Optional[PtySize] = None, cwd: Optional[str] = None, envs: Env = None,
                                 **more: Any) -> "AsyncPtyHandle":
        """on_data, a function or a coroutine function, is called in this event loop."""
        loop = asyncio.get_running_loop()

        async def hand_on(data: bytes) -> None:
            got = on_data(data) if on_data else None
            if inspect.isawaitable(got):
                await got

        def take(data: bytes) -> None:
            if not loop.is_closed():
                asyncio.run_coroutine_threadsafe(hand_on(data), loop).result()

        handle = await run_create(self._process.create_pty_session, _process.PtyHandle.disconnect, id, take if on_data else None,
                                  pty_size, cwd, envs, **more)
        return AsyncPtyHandle(handle)


class AsyncRunningProcess:
    def __init__(self, process: _process.RunningProcess) -> None:
        self._run = process

    @property
    def pid(self) -> int:
        return self._run.pid

    @property
    def exit_code(self) -> Optional[int]:
        return self._run.exit_code

    async def next(self, timeout: Seconds = None) -> Optional[Tuple[str, bytes]]:
        return await run(self._run.next, timeout)

    async def __aiter__(self) -> AsyncIterator[Tuple[str, bytes]]:
        while True:
            event = await self.next()
            if event is None:
                return
            yield event

    async def wait(self) -> int:
        return await run(self._run.wait)

    async def write(self, data: Union[bytes, str]) -> None:
        return await run(self._run.write, data)

    async def close_stdin(self) -> None:
        return await run(self._run.close_stdin)

    async def signal(self, number: int) -> None:
        return await run(self._run.signal, number)

    async def kill(self) -> None:
        return await run(self._run.kill)


class AsyncPtyHandle:
    def __init__(self, handle: _process.PtyHandle) -> None:
        self._handle = handle

    @property
    def session_id(self) -> str:
        return self._handle.session_id

    @property
    def pid(self) -> int:
        return self._handle.pid

    @property
    def exit_code(self) -> Optional[int]:
        return self._handle.exit_code

    def is_connected(self) -> bool:
        return self._handle.is_connected()

    async def send_input(self, data: Union[str, bytes]) -> None:
        return await run(self._handle.send_input, data)

    async def resize(self, pty_size: PtySize) -> None:
        return await run(self._handle.resize, pty_size)

    async def wait(self, timeout: Seconds = None) -> PtyResult:
        return await run(self._handle.wait, timeout)

    async def kill(self) -> None:
        return await run(self._handle.kill)

    async def disconnect(self) -> None:
        return await run(self._handle.disconnect)


def _drop(box: _box.Sandbox) -> None:
    box.delete(missing_ok=True)


class AsyncSandbox:
    """What describes it (state, labels, ...) is the synchronous sandbox's, without waiting; what asks the daemon is awaited."""

    def __init__(self, box: _box.Sandbox) -> None:
        self._box = box
        self.fs = AsyncFileSystem(box.fs)
        self.process = AsyncProcess(box.process)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or callable(getattr(_box.Sandbox, name, None)):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._box, name)

    def __repr__(self) -> str:
        return "Async" + repr(self._box)

    def __eq__(self, other: object) -> bool:
        return self._box == other._box if isinstance(other, AsyncSandbox) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._box)

    def __reduce__(self) -> Any:
        return type(self), (self._box,)

    @property
    def instance(self) -> "AsyncSandbox":
        return self

    async def __aenter__(self) -> "AsyncSandbox":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.delete(missing_ok=True)

    @classmethod
    async def create(cls, **spec: Any) -> "AsyncSandbox":
        """Takes what Sandbox.create() takes. Cancelled, it leaves no sandbox."""
        return cls(await run_create(_box.Sandbox.create, _drop, **spec))

    @classmethod
    async def get(cls, id: str, *, client: Optional[Client] = None) -> "AsyncSandbox":
        return cls(await run(_box.Sandbox.get, id, client=client))

    @classmethod
    async def get_or_create(cls, name: str, *, client: Optional[Client] = None, **spec: Any) -> "AsyncSandbox":
        return cls(await run(_box.Sandbox.get_or_create, name, client=client, **spec))

    @classmethod
    async def list(cls, **filters: Any) -> List["AsyncSandbox"]:
        return [cls(box) for box in await run(_box.Sandbox.list, **filters)]

    async def refresh(self) -> "AsyncSandbox":
        await run(self._box.refresh)
        return self

    refresh_data = refresh

    async def info(self) -> "AsyncSandbox":
        return type(self)(await run(self._box.info))

    async def start(self, timeout: Optional[float] = None) -> "AsyncSandbox":
        await run(self._box.start)
        return self

    async def stop(self, timeout: Optional[float] = None) -> "AsyncSandbox":
        await run(self._box.stop)
        return self

    async def pause(self) -> "AsyncSandbox":
        await run(self._box.pause)
        return self

    async def resume(self) -> "AsyncSandbox":
        await run(self._box.resume)
        return self

    async def archive(self) -> None:
        self._box.archive()

    async def delete(self, missing_ok: bool = False) -> bool:
        return await run(self._box.delete, missing_ok)

    async def set_timeout(self, timeout_s: int) -> "AsyncSandbox":
        await run(self._box.set_timeout, timeout_s)
        return self

    async def set_labels(self, labels: Mapping[str, str]) -> Dict[str, str]:
        return await run(self._box.set_labels, labels)

    async def get_preview_link(self, port: int) -> PreviewLink:
        return await run(self._box.get_preview_link, port)

    async def stats(self) -> Json:
        return await run(self._box.stats)

    async def logs(self, tail: Optional[int] = None) -> List[Json]:
        return await run(self._box.logs, tail)

    async def backup(self, local_path: Path, path: Optional[str] = None) -> None:
        return await run(self._box.backup, local_path, path)

    async def restore(self, local_path: Path) -> None:
        return await run(self._box.restore, local_path)

    async def migrate(self, runtime: str, template: Optional[str] = None) -> "AsyncSandbox":
        await run(self._box.migrate, runtime, template)
        return self

    async def create_ssh_access(self, expires_in_minutes: Optional[int] = None) -> Any:
        return self._box.create_ssh_access(expires_in_minutes)

    async def revoke_ssh_access(self, token: Optional[str] = None) -> None:
        self._box.revoke_ssh_access(token)


class AsyncClient:
    """The calls of Client, awaited."""

    def __init__(self, client: Optional[Client] = None) -> None:
        self._client = client or default_client()

    async def list(self, **filters: Any) -> List[Json]:
        return await run(self._client.list, **filters)

    async def status(self) -> Json:
        return await run(self._client.status)

    async def switch(self, runtime: str, **how: Any) -> Json:
        return await run(self._client.switch, runtime, **how)

    async def validate(self, runtime: str, *, live: bool = False) -> Json:
        return await run(self._client.validate, runtime, live=live)

    async def health(self, runtime: Optional[str] = None) -> Json:
        return await run(self._client.health, runtime)

    async def templates(self, runtime: Optional[str] = None) -> List[Json]:
        return await run(self._client.templates, runtime)


def _twin(box: Any) -> AsyncSandbox:
    """Of a sandbox, or of a wrapper around one; it keeps the id."""
    inner = getattr(box, "sandbox", box)
    return AsyncSandbox(_box.Sandbox(inner._client, inner._info, box.id))


class AsyncRuntimeManager:
    """The calls of runtime_manager, awaited, with asynchronous sandboxes."""

    async def get_runtime_info(self) -> Dict[str, Any]:
        return await run(_runtime.runtime_manager.get_runtime_info)

    async def status(self) -> Dict[str, Any]:
        return await run(_runtime.runtime_manager.status)

    async def validate_runtime_config(self, runtime: Optional[str] = None, *, live: bool = False) -> bool:
        return await run(_runtime.runtime_manager.validate_runtime_config, runtime, live=live)

    async def switch(self, runtime: str, *, dry_run: bool = False, force: bool = False) -> Dict[str, Any]:
        return await run(_runtime.runtime_manager.switch, runtime, dry_run=dry_run, force=force)

    async def health(self, runtime: Optional[str] = None) -> Dict[str, Any]:
        return await run(_runtime.runtime_manager.health, runtime)

    async def create_sandbox(self, password: str, project_id: Optional[str] = None) -> AsyncSandbox:
        return _twin(await run_create(_runtime.create_sandbox, _drop, password, project_id))

    async def get_or_start_sandbox(self, sandbox_id: str) -> AsyncSandbox:
        return _twin(await _runtime.get_or_start_sandbox(sandbox_id))

    async def delete_sandbox(self, sandbox_id: str) -> bool:
        return await _runtime.delete_sandbox(sandbox_id)


class AsyncDaytona:
    """The calls of Daytona, awaited, with asynchronous sandboxes."""

    def __init__(self, config: Optional[_names.DaytonaConfig] = None, client: Optional[Client] = None) -> None:
        self._sync = _names.Daytona(config, client)

    async def create(self, params: Optional[_names.CreateSandboxParams] = None, timeout: Optional[float] = None) -> AsyncSandbox:
        return AsyncSandbox(await run_create(self._sync.create, _drop, params))

    async def get(self, sandbox_id: str) -> AsyncSandbox:
        return AsyncSandbox(await run(self._sync.get, sandbox_id))

    async def list(self, labels: Optional[Mapping[str, str]] = None) -> List[AsyncSandbox]:
        return [AsyncSandbox(box) for box in await run(self._sync.list, labels)]

    async def start(self, sandbox: AsyncSandbox, timeout: Optional[float] = None) -> None:
        await sandbox.start()

    async def stop(self, sandbox: AsyncSandbox, timeout: Optional[float] = None) -> None:
        await sandbox.stop()

    async def delete(self, sandbox: AsyncSandbox, timeout: Optional[float] = None) -> None:
        await sandbox.delete()

    remove = delete

    async def find_one(self, sandbox_id: Optional[str] = None, labels: Optional[Mapping[str, str]] = None) -> AsyncSandbox:
        return AsyncSandbox(await run(self._sync.find_one, sandbox_id, labels))

    async def close(self) -> None:
        """Nothing is kept open."""

    async def __aenter__(self) -> "AsyncDaytona":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


runtime_manager = AsyncRuntimeManager()


async def create_sandbox(password: str, project_id: Optional[str] = None) -> AsyncSandbox:
    return await runtime_manager.create_sandbox(password, project_id)


async def get_or_start_sandbox(sandbox_id: str) -> AsyncSandbox:
    return await runtime_manager.get_or_start_sandbox(sandbox_id)


async def delete_sandbox(sandbox_id: str) -> bool:
    return await runtime_manager.delete_sandbox(sandbox_id)


async def start_supervisord_session(sandbox: AsyncSandbox) -> None:
    await run(_names.start_supervisord_session, sandbox._box)
