"""What the three modules of the document share: the environment that each sandbox gets, its services, and get-or-start on a
runtime by name."""
import contextlib
import contextvars
import logging
from typing import Any, Dict, Iterator, Mapping, Optional

from ._box import Sandbox
from ._client import default_client, text
from ._model import Resources, SessionExecuteRequest, SandboxState
from .errors import SandboxError

log = logging.getLogger("sandbox.runtime")
SUPERVISORD = "exec /usr/bin/supervisord -n -c /etc/supervisor/conf.d/supervisord.conf"
SERVICES_ARE_DOWN = ("[ -x /usr/bin/supervisord ] && [ -f /etc/supervisor/conf.d/supervisord.conf ] && "
                     "! supervisorctl -c /etc/supervisor/conf.d/supervisord.conf pid >/dev/null 2>&1")


_insists: "contextvars.ContextVar[bool]" = contextvars.ContextVar("sandbox-insists", default=False)


@contextlib.contextmanager
def insisting(yes: bool) -> Iterator[None]:
    """While a manager calls that was assigned its runtime: that one or an error, no other in its place."""
    token = _insists.set(yes)
    try:
        yield
    finally:
        _insists.reset(token)


def insists() -> bool:
    return _insists.get()


def environment(password: Optional[str]) -> Dict[str, str]:
    env = {
        "CHROME_PERSISTENT_SESSION": "true", "RESOLUTION": "1024x768x24", "RESOLUTION_WIDTH": "1024", "RESOLUTION_HEIGHT": "768",
        "ANONYMIZED_TELEMETRY": "false", "CHROME_PATH": "", "CHROME_USER_DATA": "", "CHROME_DEBUGGING_PORT": "9222",
        "CHROME_DEBUGGING_HOST": "localhost", "CHROME_CDP": "",
    }
    if password is not None:
        env["VNC_PASSWORD"] = text("password", password)
    return env


def start_supervisord_session(sandbox: Any) -> None:
    """Starts the services of an image that has supervisord, in a session of their own."""
    sandbox.process.create_session("supervisord-session")
    sandbox.process.execute_session_command("supervisord-session", SessionExecuteRequest(SUPERVISORD, run_async=True))


def ensure_services(box: Sandbox) -> None:
    if box.process.exec(SERVICES_ARE_DOWN, timeout=30).exit_code == 0:
        start_supervisord_session(box)


def labels(runtime: str, project_id: Optional[str]) -> Dict[str, str]:
    if runtime == "daytona":
        return {"id": project_id} if project_id else {}
    return {"created_by": "suna", "project_id": project_id or "default"}


def create_on(runtime: str, password: str, project_id: Optional[str] = None, **more: Any) -> Sandbox:
    """A new sandbox there; one that cannot be completed is removed again."""
    more.setdefault("env", environment(password))
    more.setdefault("metadata", labels(runtime, project_id))
    if runtime == "daytona":
        more.setdefault("resources", Resources(cpu=2, memory=4, disk=5))
    box = Sandbox.create(runtime=runtime, password=password, project_id=project_id, **more)
    try:
        ensure_services(box)
    except BaseException:
        try:
            box.delete(missing_ok=True)
        except SandboxError as e:
            log.warning("sandbox %s could not be removed after a failed create: %s", box.id, e)
        raise
    return box


def get_or_start_on(runtime: str, sandbox_id: str, **more: Any) -> Sandbox:
    """The running sandbox of that id. One that exists keeps its runtime; on Daytona one that does not is an error, elsewhere it
    is made under that id."""
    name = text("sandbox_id", sandbox_id)
    if runtime == "daytona":
        box = Sandbox.get(name)
        if box.state != SandboxState.STARTED:
            box.start()
    else:
        box = Sandbox.get_or_create(name, runtime=runtime, env=environment(None), metadata=labels(runtime, None), **more)
    ensure_services(box)
    return box


def delete_one(sandbox_id: str) -> bool:
    return default_client().delete(text("sandbox_id", sandbox_id))


def configured(status: Mapping[str, Any], runtime: str) -> bool:
    return bool((status.get("runtimes") or {}).get(runtime, {}).get("configured"))
