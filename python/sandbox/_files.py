"""The files of a sandbox. Paths are absolute inside it or start at /workspace; none leaves it, whatever its links say."""
import fnmatch
import io
import logging
import os
import re
import secrets
import shutil
import tempfile
from typing import IO, TYPE_CHECKING, Any, Callable, Iterable, List, Optional, Tuple, Union, overload

from ._client import path_of, text
from ._model import FileInfo, Match, ReplaceResult, SearchResult
from .errors import InvalidRequestError, SandboxError, SandboxFileNotFoundError

if TYPE_CHECKING:
    from ._box import Sandbox

log = logging.getLogger("sandbox.files")
Content = Union[bytes, bytearray, memoryview, str, "os.PathLike[str]", IO[bytes]]
Path = Union[str, "os.PathLike[str]"]
ENTRY = ("name", "is_dir", "size", "mod_time", "permissions")
_MODE = re.compile(r"(?:0o)?[0-7]{3,4}")


def mode_bits(mode: Union[str, int, None]) -> int:
    if mode is None:
        return 0
    if isinstance(mode, int) and not isinstance(mode, bool) and 0 <= mode <= 0o7777:
        return mode
    if isinstance(mode, str) and _MODE.fullmatch(mode):
        return int(mode, 8)
    raise InvalidRequestError(f"mode: must be octal such as '644', not {mode!r}")


def _encoded(content: str) -> bytes:
    try:
        return content.encode("utf-8")
    except UnicodeEncodeError as e:
        raise InvalidRequestError(f"content: is not valid Unicode text (a lone surrogate at {e.start}); give bytes") from None


def _descriptor(file: Any) -> Optional[int]:
    """Of an open binary file whose Python side holds nothing back; None for anything else."""
    try:
        fd = file.fileno()
    except (AttributeError, OSError):
        return None
    if isinstance(file, (io.FileIO, io.BufferedIOBase)) and file.seekable():
        os.lseek(fd, file.tell(), os.SEEK_SET)
        return fd
    return fd if isinstance(file, io.FileIO) else None


def save_whole(target: str, fill: Callable[[int], Any]) -> None:
    """A file of this machine, written by fill(descriptor): there as a whole or not at all."""
    part = os.path.join(os.path.dirname(os.path.abspath(target)), f".sandbox-{secrets.token_hex(8)}")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            fill(fd)
        finally:
            os.close(fd)
        os.replace(part, target)
    except BaseException:
        os.unlink(part)
        raise


class FileSystem:
    def __init__(self, sandbox: "Sandbox") -> None:
        self._box = sandbox

    def _call(self, op: str, method: str, rest: Tuple[str, ...], body: Any = None, keys: Tuple[str, ...] = (), **query: Any) -> Any:
        box = self._box
        return box._client.call(op, method, path_of(box._key, *rest, **query), body, about=box._key, runtime=box.runtime, logger=log,
                                keys=keys)

    def _native(self, op: str, fn: str, *args: Any) -> Any:
        box = self._box
        return box._client.guarded(log, op, box._key, box.runtime, getattr(box._client.handle, fn), box._key, *args)

    # --- contents

    def upload_file(self, content: Content, path: Path, mode: Union[str, int, None] = None) -> None:
        """Writes a file, with its parents; one that is there is replaced. content: bytes, text, an open binary file,
        or a pathlib.Path of this machine, which is streamed."""
        target, bits = text("path", path), mode_bits(mode)
        if isinstance(content, str):
            content = _encoded(content)
        if isinstance(content, (bytearray, memoryview)):
            content = bytes(content)
        if isinstance(content, bytes):
            self._native("upload", "write", target, content, bits)
        elif isinstance(content, os.PathLike):
            with open(content, "rb", buffering=0) as file:
                self._native("upload", "write_fd", target, file.fileno(), bits)
        else:
            self._upload_stream(content, target, bits)

    def _upload_stream(self, file: IO[bytes], target: str, bits: int) -> None:
        if not hasattr(file, "read"):
            raise TypeError(f"content: must be bytes, str, a path or an open binary file, not {type(file).__name__}")
        fd = _descriptor(file)
        if fd is not None:
            self._native("upload", "write_fd", target, fd, bits)
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            copy.flush()
            copy.seek(0)
            self._native("upload", "write_fd", target, copy.fileno(), bits)

    def upload_files(self, files: Iterable[Any]) -> None:
        """Pairs of content and path, or objects with source and destination."""
        for item in files:
            content, path = item if isinstance(item, (tuple, list)) else (item.source, item.destination)
            self.upload_file(content, path)

    @overload
    def download_file(self, path: Path, local_path: Union[int, float, None] = None) -> bytes: ...

    @overload
    def download_file(self, path: Path, local_path: Union[Path, IO[bytes]], timeout: Union[int, float, None] = None) -> None: ...

    def download_file(self, path: Path, local_path: Union[Path, IO[bytes], int, float, None] = None,
                      timeout: Union[int, float, None] = None) -> Optional[bytes]:
        """A file's bytes; with local_path (a path or an open binary file of this machine) streamed there instead. A number in
        its place is a time limit, as in (path, timeout)."""
        source = text("path", path)
        if local_path is None or isinstance(local_path, (int, float)):
            content: bytes = self._native("download", "read", source)
            return content
        if isinstance(local_path, (str, os.PathLike)):
            save_whole(os.fspath(local_path), lambda fd: self._native("download", "read_fd", source, fd))
        else:
            local_path.flush()
            fd = _descriptor(local_path)
            if fd is None:
                local_path.write(self._native("download", "read", source))
            else:
                self._native("download", "read_fd", source, fd)
                local_path.seek(0, os.SEEK_CUR if isinstance(local_path, io.FileIO) else os.SEEK_END)
        return None

    # --- folders and entries

    def list_files(self, path: Path = ".", depth: int = 1) -> List[FileInfo]:
        body = self._call("list files", "GET", ("files",), keys=("files",), path=text("path", path), depth=depth if depth != 1 else None)
        return [FileInfo.of(entry) for entry in body["files"]]

    def get_file_info(self, path: Path) -> FileInfo:
        """One entry; raises when there is none. Of a link: what it leads to."""
        entry = self._stat(text("path", path))
        return self._followed(entry) if entry.target is not None else entry

    def _stat(self, path: str) -> FileInfo:
        body = self._call("stat", "GET", ("files",), keys=ENTRY, path=path, stat=1)
        return FileInfo.of(body)

    def _followed(self, link: FileInfo) -> FileInfo:
        found = self._box.process.exec(["readlink", "-e", "--", link.path])
        if found.exit_code:
            raise SandboxFileNotFoundError(f"{link.path} is a link to what is not there: file not found")
        info = self._stat(found.stdout_bytes[:-1].decode("utf-8", "surrogateescape"))
        info.name, info.path, info.target = link.name, link.path, link.target
        return info

    def exists(self, path: Path) -> bool:
        try:
            self.get_file_info(path)
        except SandboxFileNotFoundError:
            return False
        return True

    def create_folder(self, path: Path, mode: Union[str, int] = "755") -> None:
        """A folder and its parents; one that is there already stays as it is."""
        bits, target = mode_bits(mode), text("path", path)
        new = not self.exists(target)
        self._call("create folder", "PUT", ("files",), path=target)
        if new and bits != 0o755:
            self.set_file_permissions(target, mode)

    def set_file_permissions(self, path: Path, mode: Union[str, int, None] = None, owner: Optional[str] = None,
                             group: Optional[str] = None) -> None:
        target = text("path", path)
        if mode is not None:
            self._tool("chmod", format(mode_bits(mode), "04o"), "--", target)
        if owner or group:
            self._tool("chown", f"{owner or ''}:{group or ''}".rstrip(":"), "--", target)

    def delete_file(self, path: Path, recursive: bool = False) -> None:
        self._call("delete file", "DELETE", ("files",), path=text("path", path), recursive=1 if recursive else None)

    def move_files(self, source: Path, destination: Path) -> None:
        self._call("move", "POST", ("files", "move"), {"from": text("source", source), "to": text("destination", destination)})

    # --- looking for things

    def find_files(self, path: Path, pattern: str) -> List[Match]:
        """Lines that hold the text."""
        found = self._box.process.exec(["grep", "-rnIHZF", "-e", text("pattern", pattern), "--", text("path", path)])
        if found.exit_code > 1:
            self._refuse(found.stderr, text("path", path))
        matches = []
        for line in found.stdout_bytes.splitlines():
            name, _, rest = line.partition(b"\0")
            number, _, content = rest.partition(b":")
            matches.append(Match(name.decode("utf-8", "replace"), int(number), content.decode("utf-8", "replace")))
        return matches

    def search_files(self, path: Path, pattern: str) -> SearchResult:
        """Files whose names match the glob."""
        top = text("path", path)
        found = self._box.process.exec(["find", top if not top.startswith("-") else f"./{top}", "-mindepth", "1", "-print0"])
        if found.exit_code and not found.stdout_bytes:
            self._refuse(found.stderr, top)
        names = [n.decode("utf-8", "replace") for n in found.stdout_bytes.split(b"\0") if n]
        return SearchResult(sorted(n for n in names if fnmatch.fnmatchcase(n.rpartition("/")[2], pattern)))

    def replace_in_files(self, files: Iterable[Path], pattern: str, new_value: str) -> List[ReplaceResult]:
        """Replaces a text wherever it stands in these files."""
        old, new = text("pattern", pattern).encode(), text("new_value", new_value).encode()
        return [self._replace(text("files", f), old, new) for f in files]

    def _replace(self, path: str, old: bytes, new: bytes) -> ReplaceResult:
        try:
            content = self.download_file(path)
            if old and old in content:
                self.upload_file(content.replace(old, new), path)
        except SandboxError as e:
            return ReplaceResult(path, False, str(e))
        return ReplaceResult(path, True)

    def _tool(self, *argv: str) -> None:
        done = self._box.process.exec(list(argv))
        if done.exit_code:
            self._refuse(done.stderr, argv[-1])

    @staticmethod
    def _refuse(said: str, path: str) -> None:
        said = said.strip().rpartition("\n")[2]
        if "No such file" in said:
            raise SandboxFileNotFoundError(f"file not found: {path}: {said}")
        raise InvalidRequestError(f"{path}: {said}")

