"""The names under which the application knows its sandboxes: create_sandbox, get_or_start_sandbox, delete_sandbox on the current
runtime, and `daytona`, a client in the shape of Daytona's over the same sandboxes."""
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Union

from ._box import Sandbox
from ._client import Client, default_client
from ._model import Resources, SandboxState, SessionExecuteRequest
from ._suna import start_supervisord_session
from .errors import SandboxNotFoundError
from .runtime_manager import create_sandbox, delete_sandbox, get_or_start_sandbox, runtime_manager

__all__ = ["CreateSandboxFromImageParams", "CreateSandboxFromSnapshotParams", "CreateSandboxParams", "Daytona", "DaytonaConfig",
           "Resources", "Sandbox", "SandboxState", "SessionExecuteRequest", "create_sandbox", "daytona", "delete_sandbox",
           "get_or_start_sandbox", "runtime_manager", "start_supervisord_session"]


@dataclass
class DaytonaConfig:
    """Accepted for compatibility: the daemon holds the settings of its runtimes."""

    api_key: Optional[str] = field(default=None, repr=False)
    server_url: Optional[str] = None
    target: Optional[str] = None
    api_url: Optional[str] = None


@dataclass
class CreateSandboxParams:
    """image or snapshot: a template of the runtime. auto_stop_interval, auto_archive_interval: minutes, for a runtime that stops
    and archives by itself."""

    image: Optional[str] = None
    snapshot: Optional[str] = None
    name: Optional[str] = None
    public: bool = False
    labels: Dict[str, str] = field(default_factory=dict)
    env_vars: Dict[str, str] = field(default_factory=dict, repr=False)
    resources: Union[Resources, Mapping[str, int], None] = None
    language: Optional[str] = None
    target: Optional[str] = None
    auto_stop_interval: Optional[int] = None
    auto_archive_interval: Optional[int] = None


CreateSandboxFromImageParams = CreateSandboxParams
CreateSandboxFromSnapshotParams = CreateSandboxParams


class Daytona:
    """create, get, start, stop, delete and list, with sandboxes of the current runtime. What is made here has no end of its own."""

    def __init__(self, config: Optional[DaytonaConfig] = None, client: Optional[Client] = None) -> None:
        self._named_client = client

    @property
    def _client(self) -> Client:
        return self._named_client or default_client()

    def create(self, params: Optional[CreateSandboxParams] = None, timeout: Optional[float] = None) -> Sandbox:
        p = params or CreateSandboxParams()
        resources = p.resources if p.resources is None or isinstance(p.resources, Resources) else Resources(**p.resources)
        return Sandbox.create(client=self._client, name=p.name, template=p.image or p.snapshot, project_id=p.labels.get("id"),
                              metadata=p.labels, env=p.env_vars, resources=resources, timeout_s=0)

    def get(self, sandbox_id: str) -> Sandbox:
        return Sandbox.get(sandbox_id, client=self._client)

    get_current_sandbox = get

    def find_one(self, sandbox_id: Optional[str] = None, labels: Optional[Mapping[str, str]] = None) -> Sandbox:
        if sandbox_id is not None:
            return self.get(sandbox_id)
        found = self.list(labels)
        if not found:
            raise SandboxNotFoundError("a sandbox with these labels was not found")
        return found[0]

    def list(self, labels: Optional[Mapping[str, str]] = None) -> List[Sandbox]:
        wanted = dict(labels or {})
        return [s for s in Sandbox.list(client=self._client) if wanted.items() <= s.labels.items()]

    def start(self, sandbox: Any, timeout: Optional[float] = None) -> None:
        sandbox.start()

    def stop(self, sandbox: Any, timeout: Optional[float] = None) -> None:
        sandbox.stop()

    def delete(self, sandbox: Any, timeout: Optional[float] = None) -> None:
        sandbox.delete()

    remove = delete


daytona = Daytona()
