"""sandbox - sandboxes of AI agents on E2B, on Daytona, or on this machine, through a sandmux daemon.

    from sandbox import Sandbox
    with Sandbox.create() as box:
        print(box.process.exec("python3 -c 'print(6 * 7)'").result)

An application may have a package `sandbox` of its own beside this one: the directories of both are searched, ours first.
The names below are looked up when they are first used, so that importing a neighbour's module costs nothing.
"""
from importlib import import_module
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any, List

__path__ = extend_path(__path__, __name__)
__version__ = "0.1.0"

_PLACES = {
    "Client": "_client", "configure": "_client", "default_client": "_client",
    "Sandbox": "_box", "AsyncSandbox": "aio", "AsyncClient": "aio",
    "SandboxError": "errors", "NotFoundError": "errors", "SandboxTimeoutError": "errors", "UnsupportedError": "errors",
    "SandboxState": "_model", "Resources": "_model", "SessionExecuteRequest": "_model", "PtySize": "_model", "FileInfo": "_model",
    "ExecResult": "_model", "PreviewLink": "_model",
    "RuntimeManager": "runtime_manager",
}
__all__ = sorted(_PLACES)

if TYPE_CHECKING:
    from .aio import AsyncClient, AsyncSandbox
    from ._box import Sandbox
    from ._client import Client, configure, default_client
    from .errors import NotFoundError, SandboxError, SandboxTimeoutError, UnsupportedError
    from ._model import ExecResult, FileInfo, PreviewLink, PtySize, Resources, SandboxState, SessionExecuteRequest
    from .runtime_manager import RuntimeManager


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted([*globals(), *_PLACES])
