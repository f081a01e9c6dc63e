"""One manager over every runtime: `from sandbox.runtime_manager import runtime_manager`.

The daemon owns what is current, so that a switch is seen by every process at once; what is asked here is asked of it. A runtime
that is assigned to `runtime_manager.runtime` holds for this process alone. The names of this module are looked up when a call is
made."""
import logging
import os
from typing import Any, Dict, List, Mapping, Optional

from . import _pool
from ._box import Sandbox
from ._client import default_client
from ._suna import create_on, delete_one, get_or_start_on, insisting
from .e2b_sandbox import create_e2b_sandbox, delete_e2b_sandbox, get_or_start_e2b_sandbox
from .errors import InvalidRequestError

__all__ = ["Config", "RuntimeManager", "config", "create_daytona_sandbox", "create_e2b_sandbox", "create_sandbox",
           "delete_daytona_sandbox", "delete_e2b_sandbox", "delete_sandbox", "get_or_start_daytona_sandbox",
           "get_or_start_e2b_sandbox", "get_or_start_sandbox", "runtime_manager"]

log = logging.getLogger("sandbox.runtime")
RUNTIMES = ["daytona", "e2b", "local"]
NEEDED = {"daytona": ["DAYTONA_API_KEY", "DAYTONA_SERVER_URL", "DAYTONA_TARGET"], "e2b": ["E2B_API_KEY"], "local": []}


class Config:
    """Settings of this process's environment. The daemon reads `.env` and its own environment by itself; another object in this
    one's place (in tests, say) is asked instead of the daemon."""

    _DEFAULTS = {"SANDBOX_RUNTIME": None, "E2B_API_KEY": None, "E2B_TEMPLATE_ID": "base", "DAYTONA_API_KEY": None,
                 "DAYTONA_SERVER_URL": None, "DAYTONA_TARGET": None}

    def __getattr__(self, name: str) -> Optional[str]:
        if name not in self._DEFAULTS:
            raise AttributeError(name)
        return os.environ.get(name) or self._DEFAULTS[name]

    def __repr__(self) -> str:
        return "Config()"


config: Any = Config()


def _foreign() -> bool:
    return not isinstance(config, Config)


def _named(runtime: Any) -> str:
    """The runtime that a setting names: trimmed, in lower case; of an unknown one, the documented default."""
    name = str(runtime or "").strip().lower()
    if name and name not in RUNTIMES:
        log.warning("Invalid runtime '%s', defaulting to 'daytona'", name)
    return name if name in RUNTIMES else "daytona"


def _foreign_info(runtime: str) -> Dict[str, Any]:
    info: Dict[str, Any] = {"runtime": runtime, "available_runtimes": list(RUNTIMES)}
    if runtime == "daytona":
        info.update(daytona_configured=bool(config.DAYTONA_API_KEY), daytona_server=config.DAYTONA_SERVER_URL,
                    daytona_target=config.DAYTONA_TARGET)
    elif runtime == "e2b":
        info.update(e2b_configured=bool(config.E2B_API_KEY), e2b_template=getattr(config, "E2B_TEMPLATE_ID", None) or "base")
    return info


class RuntimeManager:
    def __init__(self) -> None:
        self._runtime: Optional[str] = _named(config.SANDBOX_RUNTIME) if _foreign() else None
        self._warned: Optional[str] = None

    @property
    def runtime(self) -> str:
        """Where new sandboxes are made."""
        return self._runtime or str(self.status()["current_runtime"])

    @runtime.setter
    def runtime(self, runtime: Optional[str]) -> None:
        if runtime is not None and (not isinstance(runtime, str) or runtime.strip().lower() not in RUNTIMES):
            raise InvalidRequestError(f"Invalid runtime '{runtime}'. Must be 'daytona', 'e2b' or 'local'")
        self._runtime = runtime.strip().lower() if runtime else None

    def __repr__(self) -> str:
        return "RuntimeManager()"

    # --- looking and switching

    def status(self) -> Dict[str, Any]:
        """All that the daemon says about its runtimes."""
        status = default_client().status()
        warning = status.get("warning")
        if warning and warning != self._warned:
            log.warning("%s", warning)
        self._warned = warning
        return status

    def get_runtime_info(self) -> Dict[str, Any]:
        if _foreign():
            return _foreign_info(self._runtime or _named(config.SANDBOX_RUNTIME))
        if self._runtime:
            return default_client().validate(self._runtime)["configuration"]
        return self.status()["runtime_info"]

    def missing_settings(self, runtime: Optional[str] = None) -> List[str]:
        """Names of the settings that a runtime still needs."""
        if _foreign():
            return [name for name in NEEDED[runtime or self.runtime] if not getattr(config, name, None)]
        return list(default_client().validate(runtime or self.runtime).get("missing") or [])

    def validate_runtime_config(self, runtime: Optional[str] = None, *, live: bool = False) -> bool:
        """Whether a runtime, or the current one, is configured; what is missing is logged. live: also ask its provider."""
        name = runtime or self.runtime
        if _foreign():
            missing, why, good = self.missing_settings(name), None, not self.missing_settings(name)
        else:
            answer = default_client().validate(name, live=live)
            missing, why = answer.get("missing") or [], answer.get("unavailable")
            good = bool(answer["is_configured"]) and (not live or bool((answer.get("live") or {}).get("ok")))
        if not good:
            log.error("runtime '%s' is not usable: %s", name, "missing " + ", ".join(missing) if missing else why or "see its status")
        return good

    def switch(self, runtime: str, *, dry_run: bool = False, force: bool = False) -> Dict[str, Any]:
        """New sandboxes are made there from now on, in every process; existing ones stay where they are. It is validated first;
        a refusal changes nothing."""
        result = default_client().switch(runtime, dry_run=dry_run, force=force)
        if not dry_run:
            self._runtime = None
        return result

    def health(self, runtime: Optional[str] = None) -> Dict[str, Any]:
        return default_client().health(runtime)

    def capabilities(self, runtime: Optional[str] = None) -> Dict[str, bool]:
        """What a runtime can do."""
        status = self.status()
        name = runtime or self._runtime or status["current_runtime"]
        known: Mapping[str, Any] = status["runtimes"]
        if name not in known:
            raise InvalidRequestError(f"Invalid runtime '{name}'. Must be 'daytona', 'e2b' or 'local'")
        return dict(known[name]["capabilities"])

    # --- sandboxes

    def create_sandbox(self, password: str, project_id: Optional[str] = None) -> Any:
        runtime = self.runtime
        if runtime == "e2b":
            with insisting(self._runtime is not None):
                return create_e2b_sandbox(password, project_id)
        if runtime == "daytona":
            return create_daytona_sandbox(password, project_id)
        return create_on(runtime, password, project_id)

    async def get_or_start_sandbox(self, sandbox_id: str) -> Any:
        """The running sandbox of that id. One that exists keeps its runtime."""
        runtime = await _pool.run(lambda: self.runtime)
        if runtime == "e2b":
            with insisting(self._runtime is not None):
                return await get_or_start_e2b_sandbox(sandbox_id)
        if runtime == "daytona":
            return await get_or_start_daytona_sandbox(sandbox_id)
        return await _pool.run(get_or_start_on, runtime, sandbox_id)

    async def delete_sandbox(self, sandbox_id: str) -> bool:
        """Really gone, wherever it runs; SandboxNotFoundError when there is none."""
        if self._runtime == "e2b":
            return await delete_e2b_sandbox(sandbox_id)
        if self._runtime == "daytona":
            return await delete_daytona_sandbox(sandbox_id)
        return await _pool.run(delete_one, sandbox_id)

    def list_sandboxes(self, *, runtime: Optional[str] = None, state: Optional[str] = None,
                       project_id: Optional[str] = None) -> List[Sandbox]:
        return Sandbox.list(runtime=runtime, state=state, project_id=project_id)


def create_daytona_sandbox(password: str, project_id: Optional[str] = None) -> Sandbox:
    return create_on("daytona", password, project_id)


async def get_or_start_daytona_sandbox(sandbox_id: str) -> Sandbox:
    return await _pool.run(get_or_start_on, "daytona", sandbox_id)


async def delete_daytona_sandbox(sandbox_id: str) -> bool:
    return await _pool.run(delete_one, sandbox_id)


runtime_manager = RuntimeManager()


def create_sandbox(password: str, project_id: Optional[str] = None) -> Any:
    return runtime_manager.create_sandbox(password, project_id)


async def get_or_start_sandbox(sandbox_id: str) -> Any:
    return await runtime_manager.get_or_start_sandbox(sandbox_id)


async def delete_sandbox(sandbox_id: str) -> bool:
    return await runtime_manager.delete_sandbox(sandbox_id)
