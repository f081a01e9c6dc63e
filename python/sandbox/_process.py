"""Commands, sessions, terminals and running programs of a sandbox."""
import base64
import logging
import threading
from collections.abc import Sequence as AnySequence
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from . import _native
from ._client import decoded, pairs, path_of, seconds_ms, text
from ._model import (CommandLogs, ExecResult, ProcessInfo, PtyResult, PtySize, Session, SessionCommand, SessionExecuteRequest,
                     SessionExecuteResponse)
from .errors import (CancelledError, ConnectionClosedError, InvalidRequestError, NotFoundError, SandboxError, SandboxTimeoutError,
                     UnsupportedError)

if TYPE_CHECKING:
    from ._box import Sandbox

log = logging.getLogger("sandbox.process")
Command = Union[str, Sequence[str]]
Env = Optional[Mapping[str, str]]
Seconds = Union[int, float, None]
KILL = 9
WRITE_MS = 1000  # a write waits in steps, so that a signal ends it


def _words(command: Any) -> List[str]:
    """An argv. Bytes and numbers are none, though some of them could be gone through."""
    if not isinstance(command, AnySequence) or isinstance(command, (bytes, bytearray, memoryview)):
        raise TypeError(f"command: must be str or a list of str, not {type(command).__name__}")
    return [text("command", word) for word in command]


def _command(command: Command) -> Union[str, List[str]]:
    return text("command", command) if isinstance(command, str) else _words(command)


def _env(env: Env) -> Optional[Dict[str, str]]:
    return {text("env", k): text(f"env {k}", v) for k, v in pairs("env", env).items()} or None


def _bytes(what: str, data: Union[bytes, bytearray, memoryview, str, None]) -> Optional[bytes]:
    if data is None:
        return None
    if isinstance(data, str):
        try:
            return data.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidRequestError(f"{what}: is not valid Unicode text; give bytes") from None
    return bytes(data)


def _stream(body: Mapping[str, Any], name: str) -> str:
    """Output in a reply, whichever form it came in."""
    if body.get(f"{name}_b64") is not None:
        return base64.b64decode(body[f"{name}_b64"]).decode("utf-8", "replace")
    return body.get(name) or ""


class Process:
    def __init__(self, sandbox: "Sandbox") -> None:
        self._box = sandbox

    def _guarded(self, op: str, fn: Callable[..., Any], *args: Any) -> Any:
        box = self._box
        return box._client.guarded(log, op, box._key, box.runtime, fn, *args)

    def _call(self, op: str, method: str, rest: Tuple[str, ...], body: Any = None, keys: Tuple[str, ...] = (), **query: Any) -> Any:
        box = self._box
        return box._client.call(op, method, path_of(box._key, *rest, **query), body, about=box._key, runtime=box.runtime, logger=log,
                                keys=keys)

    # --- one command

    def exec(self, command: Command, cwd: Optional[str] = None, env: Env = None, timeout: Seconds = None, *,
             user: Optional[str] = None, stdin: Union[bytes, str, None] = None, max_output_bytes: int = 0) -> ExecResult:
        """Runs shell text, or an argv without a shell, to its end. An exit code other than 0 is a result, not an exception; past
        the time limit (seconds) the command is killed with its children and SandboxTimeoutError raised, which has .result."""
        box = self._box
        result = ExecResult(*box._client.guarded(
            log, "exec", box._key, box.runtime, box._client.handle.exec, box._key,
            command if isinstance(command, str) else _words(command), cwd, user, pairs("env", env) or None,
            _bytes("stdin", stdin), seconds_ms("timeout", timeout) if timeout else 0, max_output_bytes))
        if result.timed_out:
            error = SandboxTimeoutError(f"the command timed out after {timeout} s and was killed")
            error.result = result  # type: ignore[attr-defined]
            raise error
        return result

    def start(self, command: Command, cwd: Optional[str] = None, env: Env = None, timeout: Seconds = None, *,
              user: Optional[str] = None) -> "RunningProcess":
        """Starts a program whose input and output stay open."""
        return RunningProcess(self._open(command, cwd, env, timeout, user, None))

    def _open(self, command: Command, cwd: Optional[str], env: Env, timeout: Seconds, user: Optional[str],
              size: Optional[PtySize]) -> "_native.Process":
        box = self._box
        return self._guarded("start", _native.Process, box._client.handle, box._key, _command(command), cwd, user, _env(env),
                             seconds_ms("timeout", timeout), size is not None, size.cols if size else 0, size.rows if size else 0)

    def list(self) -> List[ProcessInfo]:
        return [ProcessInfo.of(p) for p in self._call("list processes", "GET", ("processes",), keys=("processes",))["processes"]]

    def kill(self, pid: int, signal: int = KILL) -> None:
        self._call("kill", "DELETE", ("processes", str(int(pid))), signal=int(signal))

    # --- sessions: a shell that keeps its state between commands

    @staticmethod
    def _known(fn: Callable[..., Any], *args: Any) -> Any:
        """A daemon without sessions says so."""
        try:
            return fn(*args)
        except NotFoundError as e:
            if type(e) is NotFoundError and "no resource" in str(e):
                raise UnsupportedError("this daemon has no sessions; a newer one has") from None
            raise

    def _session(self, op: str, method: str, *rest: str, body: Any = None, keys: Tuple[str, ...] = ()) -> Any:
        return self._known(self._call, op, method, ("sessions", *rest), body, keys)

    def create_session(self, session_id: str) -> None:
        """One of that name that lives already is used again."""
        self._session("create session", "POST", body={"id": text("session_id", session_id)})

    def execute_session_command(self, session_id: str, req: Any = None, timeout: Seconds = None, *,
                                request: Any = None) -> SessionExecuteResponse:
        """req: shell text, a SessionExecuteRequest, or a dict. Past the time limit the command is killed and SandboxTimeoutError
        raised, which has .result; the session goes on."""
        wanted = SessionExecuteRequest.of(req if req is not None else request)
        cwd = None if wanted.cwd is None else text("cwd", wanted.cwd)
        run = (self._guarded, "session command", self._box._client.handle.session_exec, self._box._key, text("session_id", session_id),
               text("command", wanted.command), cwd, wanted.run_async, seconds_ms("timeout", timeout))
        try:
            got = decoded(self._known(*run), "cmd_id")
        except (KeyboardInterrupt, CancelledError):
            if not wanted.run_async:
                _native.Cancel().run(self._end_command, session_id)
            raise
        result = SessionExecuteResponse(got["cmd_id"], got.get("exit_code"), *(_stream(got, s) for s in ("output", "stdout", "stderr")))
        if got.get("timed_out"):
            error = SandboxTimeoutError(f"the command timed out after {timeout} s and was killed")
            error.result = result  # type: ignore[attr-defined]
            raise error
        return result

    def _end_command(self, session_id: str) -> None:
        """A caller who gave up waiting does not want the command either: it would hold up the session."""
        try:
            for command in self._session("get session", "GET", session_id, keys=("commands",))["commands"]:
                if command.get("status") == "running" and not command.get("async"):
                    self._session("end command", "DELETE", session_id, "commands", command["id"])
        except SandboxError as e:
            log.warning("a command of session '%s' was given up and may still run: %s", session_id, e)

    def get_session_command_logs(self, session_id: str, command_id: str) -> CommandLogs:
        """What the command has said so far: text that also has .output, .stdout, .stderr and .exit_code."""
        got = self._session("session logs", "GET", text("session_id", session_id), "commands", text("command_id", command_id), "logs",
                            keys=("cmd_id",))
        return CommandLogs(_stream(got, "output"), _stream(got, "stdout"), _stream(got, "stderr"), got.get("exit_code"))

    def send_session_command_input(self, session_id: str, command_id: str, data: Union[str, bytes], eof: bool = False) -> None:
        """To the standard input of an asynchronous command."""
        sent = base64.b64encode(_bytes("data", data) or b"").decode()
        self._session("session input", "POST", text("session_id", session_id), "commands", text("command_id", command_id), "input",
                      body={"data_b64": sent, "eof": eof})

    def get_session(self, session_id: str) -> Session:
        return Session.of(self._session("get session", "GET", text("session_id", session_id), keys=("id",)))

    def get_session_command(self, session_id: str, command_id: str) -> SessionCommand:
        for command in self.get_session(session_id).commands:
            if command.id == command_id:
                return command
        raise NotFoundError(f"command '{command_id}' not found in session '{session_id}'")

    def list_sessions(self) -> List[Session]:
        return [Session.of(s if isinstance(s, dict) else {"id": s}) for s in self._session("list sessions", "GET", keys=("sessions",))["sessions"]]

    def delete_session(self, session_id: str) -> None:
        """Kills what runs in it."""
        self._session("delete session", "DELETE", text("session_id", session_id))

    # --- terminals

    def create_pty_session(self, id: Optional[str] = None, on_data: Optional[Callable[[bytes], Any]] = None,
                           pty_size: Optional[PtySize] = None, cwd: Optional[str] = None, envs: Env = None, *,
                           command: Command = ("/bin/sh", "-c", "command -v bash >/dev/null && exec bash -l; exec sh -l"),
                           user: Optional[str] = None) -> "PtyHandle":
        """A shell on a terminal. on_data gets its output as bytes, in a thread of its own."""
        size = pty_size or PtySize()
        env = {"TERM": "xterm-256color", **(envs or {})}
        return PtyHandle(self._open(command, cwd, env, None, user, size), id, on_data)


class _Left:
    """In the place of a program whose streams were closed."""

    pid = 0

    def __getattr__(self, name: str) -> Any:
        raise ConnectionClosedError("the streams of this program were closed")


class RunningProcess:
    """A program with open streams. One thread reads (iterates, waits), others may write."""

    def __init__(self, process: "_native.Process") -> None:
        self._process: Any = process
        self.exit_code: Optional[int] = None
        self.signal_number = 0
        self.timed_out = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def next(self, timeout: Seconds = None) -> Optional[Tuple[str, bytes]]:
        """("stdout" or "stderr", bytes); None at the end; SandboxTimeoutError when nothing came in time."""
        event = self._process.next(-1 if timeout is None else int(timeout * 1000))
        if event is None:
            return None
        kind, data, exit_code, signal, timed_out, _ = event
        if kind != "exited":
            return kind, data
        self.exit_code, self.signal_number, self.timed_out = exit_code, signal, bool(timed_out)
        return None

    def __iter__(self) -> Iterator[Tuple[str, bytes]]:
        while True:
            event = self.next()
            if event is None:
                return
            yield event

    def wait(self, on_stdout: Optional[Callable[[bytes], Any]] = None, on_stderr: Optional[Callable[[bytes], Any]] = None) -> int:
        """To the end, handing its output on; the exit code."""
        for kind, data in self:
            take = on_stdout if kind == "stdout" else on_stderr
            if take:
                take(data)
        assert self.exit_code is not None
        return self.exit_code

    def write(self, data: Union[bytes, str]) -> None:
        rest = _bytes("data", data) or b""
        while rest:
            rest = rest[self._process.write(rest, WRITE_MS):]

    def close_stdin(self) -> None:
        self._process.close_stdin()

    def signal(self, number: int) -> None:
        self._process.signal(number)

    def kill(self) -> None:
        self._process.signal(KILL)

    def close(self) -> None:
        """Leaves; the program goes on, one on a terminal is hung up. Calls of other threads end by themselves first."""
        self._process = _Left()


class PtyHandle:
    """A program on a terminal."""

    def __init__(self, process: "_native.Process", id: Optional[str], on_data: Optional[Callable[[bytes], Any]]) -> None:
        self._run = RunningProcess(process)
        self._on_data = on_data
        self._cancel = _native.Cancel()
        self._error: Optional[BaseException] = None
        self.session_id = id or f"pty-{self._run.pid}"
        self._reader = threading.Thread(target=self._cancel.run, args=(self._read,), name=f"sandbox-{self.session_id}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            for _, data in self._run:
                if self._on_data:
                    self._on_data(data)
        except BaseException as e:  # reported by wait()
            self._error = e

    @property
    def pid(self) -> int:
        return self._run.pid

    @property
    def exit_code(self) -> Optional[int]:
        return self._run.exit_code

    def is_connected(self) -> bool:
        return self._reader.is_alive()

    def send_input(self, data: Union[str, bytes]) -> None:
        self._run.write(data)

    def resize(self, pty_size: PtySize) -> None:
        self._run._process.resize(pty_size.cols, pty_size.rows)

    def wait(self, timeout: Seconds = None) -> PtyResult:
        self._reader.join(timeout)
        if self._reader.is_alive():
            raise SandboxTimeoutError(f"the terminal's program timed out: it still runs after {timeout} s")
        if self._error and not self._cancel.is_set():
            raise self._error
        return PtyResult(-1 if self._run.exit_code is None else self._run.exit_code)

    def kill(self) -> None:
        """Ends the program."""
        self._run.kill()

    def disconnect(self) -> None:
        """Leaves; what runs on the terminal is hung up."""
        self._cancel.set()
        if threading.current_thread() is not self._reader:
            self._reader.join()
        self._run.close()
