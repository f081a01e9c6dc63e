"""A sandbox, in the synchronous style."""
import logging
import os
from typing import Any, Dict, List, Mapping, Optional, Union

from ._client import SANDBOX, Client, Json, decoded, default_client, path_of, text
from ._files import FileSystem, save_whole
from ._model import PreviewLink, Resources, SandboxState
from ._process import Process
from .errors import InvalidRequestError, UnsupportedError

log = logging.getLogger("sandbox.box")


class Sandbox:
    """fs: its files; process: its commands. What describes it (state, labels, ...) is as it was when it was made, found or
    refreshed; info() asks anew. As a context manager it is deleted at the end."""

    def __init__(self, client: Client, info: Json, id: Optional[str] = None) -> None:
        self._client, self._info = client, info
        self.id: str = id or info["id"]
        self._key: str = info["id"]
        self._fs: Optional[FileSystem] = None
        self._process: Optional[Process] = None

    # --- making and finding

    @classmethod
    def create(cls, *, client: Optional[Client] = None, name: Optional[str] = None, template: Optional[str] = None,
               runtime: Optional[str] = None, project_id: Optional[str] = None, password: Optional[str] = None,
               metadata: Optional[Mapping[str, str]] = None, env: Optional[Mapping[str, str]] = None,
               timeout_s: Optional[int] = None, resources: Optional[Resources] = None,
               idempotency_key: Optional[str] = None) -> "Sandbox":
        """A new one, running. timeout_s: None: an hour after its last use; 0: no end; else so many seconds from now."""
        client = client or default_client()
        return cls(client, client.create(
            name=name, template=template, runtime=runtime, project_id=project_id, password=password, metadata=metadata, env=env,
            timeout_s=timeout_s, resources=resources, idempotency_key=idempotency_key))

    @classmethod
    def get(cls, id: str, *, client: Optional[Client] = None) -> "Sandbox":
        """By id, name or alias; SandboxNotFoundError when there is none."""
        client = client or default_client()
        return cls(client, client.get(text("id", id)), id)

    @classmethod
    def get_or_create(cls, name: str, *, client: Optional[Client] = None, **spec: Any) -> "Sandbox":
        """The running one of that name: found, started or made. Any number of callers at once get the same."""
        client = client or default_client()
        return cls(client, client.ensure(name, **spec), name)

    @classmethod
    def list(cls, *, client: Optional[Client] = None, state: Optional[str] = None, runtime: Optional[str] = None,
             project_id: Optional[str] = None, limit: Optional[int] = None) -> List["Sandbox"]:
        client = client or default_client()
        found = client.list(state=state, runtime=runtime, project_id=project_id, limit=limit)
        return [cls(client, info) for info in found]

    # --- what it has

    @property
    def fs(self) -> FileSystem:
        if self._fs is None:
            self._fs = FileSystem(self)
        return self._fs

    @property
    def process(self) -> Process:
        if self._process is None:
            self._process = Process(self)
        return self._process

    @property
    def instance(self) -> "Sandbox":
        return self

    @property
    def state(self) -> SandboxState:
        return SandboxState.of(self._info["state"])

    @property
    def name(self) -> Optional[str]:
        return self._info.get("name")

    @property
    def aliases(self) -> List[str]:
        return list(self._info.get("aliases") or [])

    @property
    def runtime(self) -> str:
        return self._info["runtime"]

    target = runtime

    @property
    def template(self) -> Optional[str]:
        return self._info.get("template")

    snapshot = template

    @property
    def project_id(self) -> Optional[str]:
        return self._info.get("project_id")

    @property
    def metadata(self) -> Dict[str, str]:
        return dict(self._info.get("metadata") or {})

    @property
    def labels(self) -> Dict[str, str]:
        """The metadata, and the project's id as "id"."""
        project = {"id": self.project_id} if self.project_id else {}
        return {**project, **self.metadata}

    @property
    def created_at(self) -> str:
        return self._info["created_at"]

    @property
    def updated_at(self) -> str:
        return self._info["updated_at"]

    @property
    def expires_at(self) -> Optional[str]:
        return self._info.get("expires_at")

    def _resource(self, name: str) -> int:
        return (self._info.get("resources") or {}).get(name) or 0

    @property
    def cpu(self) -> int:
        return self._resource("cpu")

    @property
    def memory(self) -> float:
        """GiB"""
        return self._resource("memory_mib") / 1024

    @property
    def disk(self) -> float:
        """GiB"""
        return self._resource("disk_mib") / 1024

    @property
    def capabilities(self) -> Dict[str, bool]:
        return dict(self._info.get("capabilities") or {})

    @property
    def internet(self) -> bool:
        return bool(self._info.get("internet"))

    @property
    def reason(self) -> Optional[str]:
        """Why it ended, such as "oom"."""
        return self._info.get("reason")

    @property
    def recreated(self) -> bool:
        """It had expired and was made again by get-or-start: what was in it is gone."""
        return bool(self._info.get("recreated"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r}, runtime={self.runtime!r}, state={self.state.value!r})"

    # --- the same machine is the same value, here and in other processes

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Sandbox) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __getstate__(self) -> Json:
        return {**self.__dict__, "_fs": None, "_process": None}

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *exc: object) -> None:
        self.delete(missing_ok=True)

    # --- what it does

    def refresh(self) -> "Sandbox":
        self._info = self._client.get(self._key)
        return self

    refresh_data = refresh

    def info(self) -> "Sandbox":
        """As it is now."""
        return type(self)(self._client, self._client.get(self._key), self.id)

    def _act(self, verb: str) -> "Sandbox":
        self._info = self._client.act(self._key, verb)
        return self

    def start(self, timeout: Optional[float] = None) -> "Sandbox":
        return self._act("start")

    def stop(self, timeout: Optional[float] = None) -> "Sandbox":
        return self._act("stop")

    def pause(self) -> "Sandbox":
        return self._act("pause")

    def resume(self) -> "Sandbox":
        return self._act("resume")

    def archive(self) -> None:
        raise UnsupportedError(f"archiving is not supported by runtime '{self.runtime}'; stop the sandbox, its files stay")

    def delete(self, missing_ok: bool = False) -> bool:
        """Gone with its files when the call returns."""
        return self._client.delete(self._key, missing_ok)

    def set_timeout(self, timeout_s: int) -> "Sandbox":
        """From now on, in seconds; 0: no end."""
        self._info = self._client.patch(self._key, timeout_s=timeout_s)
        return self

    def set_labels(self, labels: Mapping[str, str]) -> Dict[str, str]:
        self._info = self._client.patch(self._key, metadata={text("label", k): text("label", v) for k, v in labels.items()})
        return self.metadata

    def get_preview_link(self, port: int) -> PreviewLink:
        """Where a port is reached: HTTP and WebSocket of any size."""
        if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
            raise InvalidRequestError(f"port: must be a number from 1 to 65535, not {port!r}")
        got = self._client.call("preview", "GET", path_of(self._key, "preview", port=port), about=self._key, runtime=self.runtime,
                                keys=("url",))
        return PreviewLink(got["url"], got.get("token"))

    def stats(self) -> Json:
        """Use of resources now."""
        return self._client.call("stats", "GET", path_of(self._key, "stats"), about=self._key, runtime=self.runtime)

    def logs(self, tail: Optional[int] = None) -> List[Json]:
        """Lines of its log, oldest first: life cycle, and each process's start and end."""
        _, data = self._client.guarded(log, "logs", self._key, self.runtime, self._client.handle.call, "GET",
                                       path_of(self._key, "logs", tail=tail))
        return [decoded(line) for line in data.splitlines() if line]

    def backup(self, local_path: Union[str, "os.PathLike[str]"], path: Optional[str] = None) -> None:
        """A tar file of this machine with what is in the sandbox: /workspace, /home and /root, or the one path. Streamed."""
        save_whole(os.fspath(local_path), lambda fd: self._client.guarded(
            log, "backup", self._key, self.runtime, self._client.handle.archive_save, self._key,
            None if path is None else text("path", path), fd))

    def restore(self, local_path: Union[str, "os.PathLike[str]"]) -> None:
        """Unpacks a backup over what is there."""
        with open(local_path, "rb", buffering=0) as file:
            self._client.guarded(log, "restore", self._key, self.runtime, self._client.handle.archive_load, self._key, file.fileno())

    def migrate(self, runtime: str, template: Optional[str] = None) -> "Sandbox":
        """Moves it to another runtime: it keeps its id, name, lifetime and files; what it was stays until the copy is verified."""
        self._info = decoded(self._client.guarded(log, "migrate", self._key, self.runtime, self._client.handle.migrate, self._key,
                                                  text("runtime", runtime), template), *SANDBOX)
        return self

    def create_ssh_access(self, expires_in_minutes: Union[int, None] = None) -> Any:
        raise UnsupportedError("SSH access is not supported; use process.create_pty_session()")

    def revoke_ssh_access(self, token: Optional[str] = None) -> None:
        raise UnsupportedError("SSH access is not supported")
