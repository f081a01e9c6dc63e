"""The connection to the daemon: found, or started, at the first call; shared by threads; used again in a child after fork().

Every call leaves one record in the loggers below `sandbox` at DEBUG: what was done, where, how long it took and how it ended.
Commands, contents, environments and passwords are in none of them.
"""
import json
import logging
import os
import secrets
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union
from urllib.parse import quote, urlencode

from . import _native
from .errors import CancelledError, IdempotencyInProgressError, InvalidRequestError, ProtocolError, SandboxError
from ._model import Resources

log = logging.getLogger("sandbox.client")
PAGE = 1000
SANDBOX = ("id", "state", "runtime")  # what each description of a sandbox has
RECLAIM_S = 60.0  # for finding and deleting what a broken-off create has made
Json = Dict[str, Any]


def bundled_program() -> Optional[str]:
    """The program that came with this package, if it did."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_programs", "sandmux")
    return path if os.access(path, os.X_OK) else None


def text(what: str, value: Any) -> str:
    """A text that can go to the daemon, or an error that names it."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise TypeError(f"{what}: must be str, not {type(value).__name__}")
    if "\0" in value:
        raise InvalidRequestError(f"{what}: must not contain a NUL character")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as e:
        raise InvalidRequestError(f"{what}: is not valid Unicode text (a lone surrogate at {e.start})") from None
    return value


def seconds_ms(what: str, seconds: Union[int, float, None]) -> int:
    """Milliseconds of a time limit; 0 for none."""
    if seconds is None:
        return 0
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e15:
        raise InvalidRequestError(f"{what}: must be a number of seconds from 0 on")
    return max(1, int(seconds * 1000)) if seconds else 0


def pairs(what: str, value: Optional[Mapping[str, str]]) -> Dict[str, str]:
    """A dict of texts that can go to the daemon; None is empty."""
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{what}: must be a dict of str, not {type(value).__name__}")
    return dict(value or {})


def path_of(sandbox_id: str, *rest: str, **query: Any) -> str:
    """/api/sandboxes/ID/REST?QUERY, escaped; query values of None are left out."""
    parts = "/".join(quote(text("id", part), safe="") for part in (sandbox_id, *rest))
    more = urlencode({k: v for k, v in query.items() if v is not None}, quote_via=quote)
    return f"/api/sandboxes/{parts}" + (f"?{more}" if more else "")


def json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def decoded(data: Union[bytes, str], *keys: str) -> Any:
    """A JSON reply; with keys: an object that has these."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise ProtocolError("the daemon's reply is not JSON") from None
    if keys and not (isinstance(value, dict) and all(key in value for key in keys)):
        raise ProtocolError(f"the daemon's reply is not an object with {', '.join(keys)}")
    return value


class Client:
    """One daemon. Without arguments: as SANDMUX_URL says, else the project's, the user's or the system's daemon; else one is
    started. It may be used by any number of threads, and after fork()."""

    def __init__(self, url: Optional[str] = None, api_key: Optional[str] = None, program: Optional[str] = None,
                 timeout_s: Optional[float] = None, start: bool = True) -> None:
        self._config = (url, api_key, program or bundled_program(), seconds_ms("timeout_s", timeout_s), not start)
        self._handle: Optional[_native.Client] = None
        self._opening, self._owner = threading.Lock(), os.getpid()

    def __getstate__(self) -> Json:
        """For pickle: which daemon, without the key. The other process takes its own, SANDMUX_API_KEY."""
        url, _, program, timeout_ms, no_start = self._config
        return {"config": (self._handle.url if self._handle else url, None, program, timeout_ms, no_start)}

    def __setstate__(self, state: Json) -> None:
        self._config, self._handle = state["config"], None
        self._opening, self._owner = threading.Lock(), os.getpid()

    def __repr__(self) -> str:
        return f"Client(url={self._handle.url if self._handle else self._config[0]!r})"

    @property
    def handle(self) -> "_native.Client":
        if self._handle is None:
            if self._owner != os.getpid():  # the lock is the parent's, and may be held there
                self._opening, self._owner = threading.Lock(), os.getpid()
            with self._opening:
                if self._handle is None:
                    self._handle = self.guarded(log, "connect", "", "", _native.Client, *self._config)
        return self._handle

    @property
    def url(self) -> str:
        return self.handle.url

    # --- one call

    @staticmethod
    def guarded(logger: logging.Logger, op: str, about: str, runtime: str, fn: Callable[..., Any], *args: Any) -> Any:
        """fn(*args), recorded; what is no text for the daemon is an InvalidRequestError."""
        begin = time.monotonic()
        outcome = "ok"
        try:
            return fn(*args)
        except SandboxError as e:
            outcome = e.code
            raise
        except ValueError as e:
            outcome = InvalidRequestError.code
            raise InvalidRequestError(f"{op}: {e}") from None
        except BaseException as e:
            outcome = type(e).__name__
            raise
        finally:
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug("%s sandbox=%s runtime=%s result=%s ms=%.1f", op, about or "-", runtime or "-", outcome,
                             (time.monotonic() - begin) * 1000)

    def call(self, op: str, method: str, path: str, body: Any = None, *, about: str = "", runtime: str = "",
             logger: logging.Logger = log, keys: Tuple[str, ...] = ()) -> Any:
        """One request of the native API; its reply decoded, None when it is empty and no keys are expected."""
        sent = None if body is None else json_text(body)
        _, data = self.guarded(logger, op, about, runtime, self.handle.call, method, path, sent)
        return decoded(data, *keys) if data or keys else None

    # --- sandboxes, as the daemon describes them

    def get(self, sandbox_id: str) -> Json:
        return self.call("get", "GET", path_of(sandbox_id), about=sandbox_id, keys=SANDBOX)

    def act(self, sandbox_id: str, verb: str) -> Json:
        """start, stop, pause or resume."""
        return self.call(verb, "POST", path_of(sandbox_id, verb), about=sandbox_id, keys=SANDBOX)

    def patch(self, sandbox_id: str, **fields: Any) -> Json:
        return self.call("change", "PATCH", path_of(sandbox_id), fields, about=sandbox_id, keys=SANDBOX)

    def delete(self, sandbox_id: str, missing_ok: bool = False) -> bool:
        self.call("delete", "DELETE", path_of(sandbox_id, missing_ok=1 if missing_ok else None), about=sandbox_id)
        return True

    def list(self, *, state: Optional[str] = None, runtime: Optional[str] = None, project_id: Optional[str] = None,
             limit: Optional[int] = None) -> List[Json]:
        """All of them, or the first so many."""
        found: List[Json] = []
        cursor: Optional[str] = None
        while limit is None or len(found) < limit:
            size = PAGE if limit is None else min(PAGE, limit - len(found))
            query = {"state": state, "runtime": runtime, "project_id": project_id, "limit": size, "cursor": cursor}
            page = self.call("list", "GET", "/api/sandboxes?" + urlencode({k: v for k, v in query.items() if v is not None}),
                             keys=("items", "next_cursor"))
            found += page["items"]
            cursor = page["next_cursor"]
            if not cursor:
                break
        return found

    def create(self, *, name: Optional[str] = None, template: Optional[str] = None, runtime: Optional[str] = None,
               project_id: Optional[str] = None, password: Optional[str] = None, metadata: Optional[Mapping[str, str]] = None,
               env: Optional[Mapping[str, str]] = None, timeout_s: Optional[int] = None,
               resources: Optional[Resources] = None, idempotency_key: Optional[str] = None) -> Json:
        """A new, running sandbox. Broken off by Ctrl-C or by a task's cancellation it leaves none, unless the caller gave a key
        to ask again with."""
        spec = self._spec(False, name, template, runtime, project_id, password, metadata, env, timeout_s, resources,
                          idempotency_key or secrets.token_hex(16))
        try:
            return self._create("create", name or "", spec)
        except (KeyboardInterrupt, SystemExit, CancelledError):
            if idempotency_key is None:
                self._reclaim_soon(spec)
            raise

    def ensure(self, name: str, *, template: Optional[str] = None, runtime: Optional[str] = None,
               project_id: Optional[str] = None, password: Optional[str] = None, metadata: Optional[Mapping[str, str]] = None,
               env: Optional[Mapping[str, str]] = None, timeout_s: Optional[int] = None,
               resources: Optional[Resources] = None) -> Json:
        """The running sandbox of that name or id: found, started or made. Concurrent calls make one."""
        spec = self._spec(True, text("name", name), template, runtime, project_id, password, metadata, env, timeout_s,
                          resources, None)
        info = self._create("get or start", name, spec)
        if info.get("recreated"):
            log.warning("sandbox %s had expired and was made again: what was in it is gone", name)
        return info

    @staticmethod
    def _spec(ensure: bool, name: Optional[str], template: Optional[str], runtime: Optional[str], project_id: Optional[str],
              password: Optional[str], metadata: Optional[Mapping[str, str]], env: Optional[Mapping[str, str]],
              timeout_s: Optional[int], resources: Optional[Resources], key: Optional[str]) -> Tuple[Any, ...]:
        if timeout_s is not None and (isinstance(timeout_s, bool) or not isinstance(timeout_s, int) or timeout_s < 0):
            raise InvalidRequestError("timeout_s: must be a whole number of seconds from 0 on")
        r = resources or Resources()
        return (ensure, name, template, runtime, project_id, password, pairs("metadata", metadata), pairs("env", env),
                -1 if timeout_s is None else timeout_s, r.cpu or 0, r.memory_mib, r.disk_mib, key)

    def _create(self, op: str, about: str, spec: Tuple[Any, ...]) -> Json:
        info = decoded(self.guarded(log, op, about, spec[3] or "", self.handle.create, *spec), *SANDBOX)
        log.debug("%s sandbox=%s runtime=%s state=%s", op, info["id"], info["runtime"], info["state"])
        return info

    def _reclaim_soon(self, spec: Tuple[Any, ...]) -> None:
        """The main thread has Ctrl-C to deal with; a worker of the asynchronous twin does it at once, outside of its own end."""
        if threading.current_thread() is threading.main_thread():
            threading.Thread(target=self._reclaim, args=(spec,), name="sandbox-reclaim").start()
        else:
            _native.Cancel().run(self._reclaim, spec)

    def _reclaim(self, spec: Tuple[Any, ...]) -> None:
        """Asks for the same create again, which tells what became of it, and deletes that."""
        end = time.monotonic() + RECLAIM_S
        while time.monotonic() < end:
            try:
                info = self._create("reclaim", "", spec)
                self.delete(info["id"], missing_ok=True)
                return
            except IdempotencyInProgressError:
                time.sleep(0.1)
            except SandboxError as e:
                log.warning("a create was broken off, and what became of it is not known: %s", e)
                return

    # --- the runtime

    def status(self) -> Json:
        return self.call("status", "GET", "/api/runtime/status", keys=("current_runtime", "runtime_info", "runtimes"))

    def switch(self, runtime: str, *, dry_run: bool = False, force: bool = False, live: bool = False) -> Json:
        """Make new sandboxes there from now on. Refused, with the reason, when that runtime is not ready."""
        query = urlencode([(k, 1) for k, v in (("dry_run", dry_run), ("force", force), ("live", live)) if v])
        result = self.call("switch", "POST", "/api/runtime/switch" + (f"?{query}" if query else ""),
                           {"runtime": text("runtime", runtime)}, runtime=runtime, keys=("current_runtime",))
        for warning in result.get("warnings", []):
            log.warning("switch to %s: %s", runtime, warning)
        return result

    def validate(self, runtime: str, *, live: bool = False) -> Json:
        return self.call("validate", "GET", f"/api/runtime/validate/{quote(text('runtime', runtime), safe='')}"
                         + ("?live=1" if live else ""), runtime=runtime, keys=("is_configured", "configuration"))

    def health(self, runtime: Optional[str] = None) -> Json:
        return self.call("health", "GET", "/api/runtime/health" + (f"?runtime={quote(runtime, safe='')}" if runtime else ""))

    def templates(self, runtime: Optional[str] = None) -> List[Json]:
        return self.call("templates", "GET", "/api/templates" + (f"?runtime={quote(runtime, safe='')}" if runtime else ""))["items"]


# --- the client that is used when none is named: it opens nothing before its first call

_default = Client()


def default_client() -> Client:
    return _default


def configure(url: Optional[str] = None, api_key: Optional[str] = None, program: Optional[str] = None,
              timeout_s: Optional[float] = None, start: bool = True) -> Client:
    """Sets the client that is used when none is named; what it returns."""
    global _default
    _default = Client(url, api_key, program, timeout_s, start)
    return _default
