"""What goes into calls and comes out of them."""
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Dict, List, Mapping, Optional, Union


class SandboxState(str, Enum):
    """State of a sandbox. It equals its own word and, whatever the case, the words that other systems have for it:
    SandboxState.STARTED == "started" == "running" == "RUNNING"."""

    CREATING = "creating"
    STARTING = "starting"
    STARTED = "started"
    PAUSING = "pausing"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ARCHIVING = "archiving"
    ARCHIVED = "archived"
    ERROR = "error"
    DELETING = "deleting"
    DESTROYED = "destroyed"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, word: str) -> "SandboxState":
        word = _SYNONYMS.get(word.casefold(), word.casefold())
        return cls(word) if word in cls._value2member_map_ else cls.UNKNOWN

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SandboxState):
            return self is other
        if not isinstance(other, str):
            return NotImplemented
        return self.value == _SYNONYMS.get(other.casefold(), other.casefold())

    def __ne__(self, other: object) -> bool:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        return self.value


_SYNONYMS = {"running": "started", "active": "started", "resuming": "starting", "suspended": "paused", "failed": "error",
             "killed": "destroyed", "deleted": "destroyed", "destroying": "deleting"}


@dataclass
class Resources:
    """cpu in cores, memory and disk in GiB; None: what the template gives."""

    cpu: Optional[int] = None
    memory: Optional[float] = None
    disk: Optional[float] = None
    gpu: Optional[int] = None

    @staticmethod
    def _mib(gib: Optional[float]) -> int:
        return int(gib * 1024) if gib else 0

    @property
    def memory_mib(self) -> int:
        return self._mib(self.memory)

    @property
    def disk_mib(self) -> int:
        return self._mib(self.disk)


@dataclass
class FileInfo:
    """An entry of a folder. permissions: "0644"; mode: such as "-rw-r--r--"; target: of a link."""

    name: str
    is_dir: bool
    size: int
    mod_time: str
    permissions: str
    path: str = ""
    type: str = "file"
    owner: str = ""
    group: str = ""
    target: Optional[str] = None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "FileInfo":
        return cls(entry["name"], entry["is_dir"], entry["size"], entry["mod_time"], entry["permissions"], entry.get("path") or "",
                   entry.get("type") or "file", entry.get("owner") or "", entry.get("group") or "", entry.get("target"))

    @property
    def mode(self) -> str:
        import stat
        kind = {"dir": stat.S_IFDIR, "symlink": stat.S_IFLNK, "file": stat.S_IFREG}.get(self.type, 0)
        return stat.filemode(kind | int(self.permissions, 8))


@dataclass
class Match:
    """A line that holds what was looked for."""

    file: str
    line: int
    content: str


@dataclass
class ReplaceResult:
    file: str
    success: bool
    error: Optional[str] = None


@dataclass
class SearchResult:
    files: List[str]


class ExecResult:
    """What came of a command. result and stdout: its output as text; stdout_bytes: exactly; output: stdout, then stderr;
    exit_code: 128 + n after signal n."""

    __slots__ = ("exit_code", "signal", "timed_out", "truncated", "duration_ms", "stdout_bytes", "stderr_bytes")

    def __init__(self, exit_code: int, signal: int = 0, timed_out: int = 0, truncated: int = 0, duration_ms: int = 0,
                 stdout: bytes = b"", stderr: bytes = b"") -> None:
        self.exit_code, self.signal, self.timed_out, self.truncated = exit_code, signal, bool(timed_out), bool(truncated)
        self.duration_ms, self.stdout_bytes, self.stderr_bytes = duration_ms, stdout, stderr

    @property
    def stdout(self) -> str:
        return self.stdout_bytes.decode("utf-8", "replace")

    result = stdout

    @property
    def stderr(self) -> str:
        return self.stderr_bytes.decode("utf-8", "replace")

    @property
    def output(self) -> str:
        return (self.stdout_bytes + self.stderr_bytes).decode("utf-8", "replace")

    @property
    def artifacts(self) -> "ExecResult":
        return self

    def __repr__(self) -> str:
        return f"ExecResult(exit_code={self.exit_code}, stdout={len(self.stdout_bytes)} bytes, stderr={len(self.stderr_bytes)} bytes)"


class PreviewLink:
    """Where a port of a sandbox is reached. Its text has url='...' and token='...', because callers cut them out of it."""

    __slots__ = ("url", "token")

    def __init__(self, url: str, token: Optional[str] = None) -> None:
        self.url, self.token = url, token

    def __repr__(self) -> str:
        return f"PreviewLink(url='{self.url}', token='{self.token or ''}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PreviewLink) and (self.url, self.token) == (other.url, other.token)

    def __hash__(self) -> int:
        return hash((self.url, self.token))


@dataclass
class PtySize:
    cols: int = 80
    rows: int = 24


class SessionExecuteRequest:
    """A command for a session. run_async, or its older name var_async: do not wait for it. cwd: for this command alone."""

    __slots__ = ("command", "run_async", "cwd")

    def __init__(self, command: str, var_async: Optional[bool] = None, run_async: Optional[bool] = None,
                 cwd: Optional[str] = None, **other: Any) -> None:
        later = [v for v in (run_async, var_async, other.pop("async", None), other.pop("runAsync", None)) if v is not None]
        if other:
            raise TypeError(f"SessionExecuteRequest() got an unexpected argument {next(iter(other))!r}")
        self.command, self.run_async, self.cwd = command, bool(later and later[0]), cwd

    @property
    def var_async(self) -> bool:
        return self.run_async

    @var_async.setter
    def var_async(self, value: bool) -> None:
        self.run_async = bool(value)

    @classmethod
    def of(cls, request: Union["SessionExecuteRequest", Mapping[str, Any], str, Any]) -> "SessionExecuteRequest":
        """A request, a dict, shell text, or any object with these attributes."""
        if isinstance(request, cls):
            return request
        if isinstance(request, str):
            return cls(request)
        if isinstance(request, Mapping):
            if "command" in request:
                return cls(**request)
            raise TypeError(f"req: must have a 'command'; this dict has {sorted(request)}")
        if not hasattr(request, "command"):
            raise TypeError(f"req: must be str, a SessionExecuteRequest or a dict, not {type(request).__name__}")
        return cls(request.command, getattr(request, "var_async", None), getattr(request, "run_async", None),
                   getattr(request, "cwd", None))

    def __repr__(self) -> str:
        return f"SessionExecuteRequest(run_async={self.run_async}, cwd={self.cwd!r})"


class CommandLogs(str):
    """Output of a session's command: the text of both streams, which also has output, stdout, stderr and exit_code."""

    stdout: str
    stderr: str
    exit_code: Optional[int]

    def __new__(cls, output: str, stdout: str = "", stderr: str = "", exit_code: Optional[int] = None) -> "CommandLogs":
        self = super().__new__(cls, output)
        self.stdout, self.stderr, self.exit_code = stdout, stderr, exit_code
        return self

    @property
    def output(self) -> str:
        return str(self)


@dataclass
class SessionExecuteResponse:
    """exit_code: None while it runs. result is another name of output."""

    cmd_id: str
    exit_code: Optional[int] = None
    output: Optional[str] = None
    stdout: Optional[str] = None
    stderr: Optional[str] = None

    @property
    def result(self) -> Optional[str]:
        return self.output


@dataclass
class SessionCommand:
    id: str
    command: str
    exit_code: Optional[int] = None


@dataclass
class Session:
    session_id: str
    commands: List[SessionCommand] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.session_id

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Session":
        return cls(body["id"], [SessionCommand(c["id"], c.get("command") or "", c.get("exit_code")) for c in body.get("commands") or []])


@dataclass
class ProcessInfo:
    pid: int
    command: str
    cwd: Optional[str] = None
    tag: Optional[str] = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "ProcessInfo":
        return cls(body["pid"], " ".join([body.get("cmd") or "", *(body.get("args") or [])]), body.get("cwd"), body.get("tag"))


@dataclass
class PtyResult:
    exit_code: int
    error: Optional[str] = None


Labels = Dict[str, str]
