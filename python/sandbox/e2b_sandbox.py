"""Sandboxes in the shape that the E2B integration has: `from sandbox.e2b_sandbox import get_or_start_e2b_sandbox`.

They run on E2B when it is configured, else where the daemon makes sandboxes now, so that the same program also runs on a machine
without an account; not so where the program assigned `e2b` to the manager's `runtime`: then it is that or an error. The names of this module are looked up when a call is made."""
import logging
import os
from typing import Any, Dict, Optional

from . import _pool
from ._box import Sandbox
from ._client import default_client
from ._files import FileSystem
from ._model import PreviewLink, SandboxState, SessionExecuteRequest
from ._process import Process
from ._suna import configured, create_on, delete_one, get_or_start_on, insists
from .errors import InvalidRequestError

__all__ = ["E2BFilesystemWrapper", "E2BProcessWrapper", "E2BSandbox", "E2BSandboxWrapper", "E2B_API_KEY", "E2B_TEMPLATE_ID",
           "SessionExecuteRequest", "create_e2b_sandbox", "delete_e2b_sandbox", "get_or_start_e2b_sandbox"]

log = logging.getLogger("sandbox.e2b")

# What the environment of this process says; the daemon reads its own, and `.env`. Another template than that is asked for.
E2B_API_KEY = os.environ.get("E2B_API_KEY")
E2B_TEMPLATE_ID = os.environ.get("E2B_TEMPLATE_ID") or "base"
_template_at_import = E2B_TEMPLATE_ID


def _runtime() -> str:
    status = default_client().status()
    if configured(status, "e2b") or insists():
        return "e2b"
    log.info("E2B is not configured: using runtime '%s'", status["current_runtime"])
    return str(status["current_runtime"])


def _spec() -> Dict[str, Any]:
    return {} if E2B_TEMPLATE_ID == _template_at_import else {"template": E2B_TEMPLATE_ID}


def E2BSandbox(sandbox_id: Optional[str] = None, *, password: str = "", project_id: Optional[str] = None) -> Sandbox:
    """The sandbox of that id, found, started or made; without an id a new one."""
    if sandbox_id is not None:
        return get_or_start_on(_runtime(), sandbox_id, **_spec())
    return create_on(_runtime(), password, project_id, **_spec())


class E2BFilesystemWrapper(FileSystem):
    """The files of a sandbox."""


class E2BProcessWrapper(Process):
    """The commands of a sandbox. _sessions: the names that were made through it."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self._sessions: Dict[str, bool] = {}

    def create_session(self, session_id: str) -> None:
        super().create_session(session_id)
        self._sessions[session_id] = True

    def delete_session(self, session_id: str) -> None:
        super().delete_session(session_id)
        self._sessions.pop(session_id, None)


class E2BSandboxWrapper:
    """A sandbox under the id that it was asked for by; all else is the sandbox's own."""

    def __init__(self, sandbox: Any, id: Optional[str] = None) -> None:
        self.sandbox = sandbox
        self.id = str(id or getattr(sandbox, "id", None) or getattr(sandbox, "sandbox_id", ""))
        self.fs = E2BFilesystemWrapper(sandbox)
        self.process = E2BProcessWrapper(sandbox)

    @property
    def state(self) -> SandboxState:
        state = getattr(self.sandbox, "state", None)
        return state if isinstance(state, SandboxState) else SandboxState.STARTED

    def get_preview_link(self, port: int) -> PreviewLink:
        return self.sandbox.get_preview_link(port)

    def __getattr__(self, name: str) -> Any:
        if name == "sandbox":
            raise AttributeError(name)
        return getattr(self.sandbox, name)

    def __eq__(self, other: object) -> bool:
        return self.sandbox == other.sandbox if isinstance(other, E2BSandboxWrapper) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.sandbox)

    def __reduce__(self) -> Any:
        return type(self), (self.sandbox, self.id)

    def __repr__(self) -> str:
        return f"E2BSandboxWrapper(id={self.id!r}, state={self.state.value!r})"


def _get_or_start(sandbox_id: str) -> E2BSandboxWrapper:
    if not isinstance(sandbox_id, str) or not sandbox_id:
        raise InvalidRequestError("sandbox_id: must be a text that is not empty")
    return E2BSandboxWrapper(E2BSandbox(sandbox_id), sandbox_id)


async def get_or_start_e2b_sandbox(sandbox_id: str) -> E2BSandboxWrapper:
    return await _pool.run(_get_or_start, sandbox_id)


def create_e2b_sandbox(password: str, project_id: Optional[str] = None) -> E2BSandboxWrapper:
    return E2BSandboxWrapper(E2BSandbox(password=password, project_id=project_id))


async def delete_e2b_sandbox(sandbox_id: str) -> bool:
    """Really gone; SandboxNotFoundError when there is none."""
    return await _pool.run(delete_one, sandbox_id)
