"""The on-disk cache: content-addressed, private to the user, without locks, checked at every read.

Layout below the root::

    graphs/<key>      record: checksum, then the JSON of a finished artifact
    units/<key>       record: checksum, then the name of a blob
    blobs/<sha256>.*  objects and shared libraries, named by the hash of their content
    notes/<key>       record: checksum, then a small fact (the version text of a compiler)
    failed/           sources that the C compiler rejected
    tmp/              files on their way in

Every file is written aside and renamed, so readers see all of it or nothing, and any number of processes may fill the
same cache at once. A record or blob whose content does not match its checksum is deleted and reported as missing; its
owner then builds it again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adjoint.errors import CompileError

_DIGEST = 64  # hexadecimal digits of sha256
_STALE_SECONDS = 24 * 3600  # age at which a leftover of a killed process may be removed


def digest(*parts: bytes | str) -> str:
    """sha256 of the parts, each prefixed with its length so that no two lists collide."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(b"%d:" % len(data))
        state.update(data)
    return state.hexdigest()


def cache_root() -> Path:
    """The folder in use now: `ADJOINT_CACHE_DIR` if set and not empty, else the user's cache folder."""
    chosen = os.environ.get("ADJOINT_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "adjoint"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "adjoint" / "cache"
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that relative paths are to be ignored.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "adjoint"


def _private_folder(path: Path) -> None:
    """Make `path` a folder that only this user can enter; repair looser modes, refuse what belongs to others.

    Libraries from here are loaded into the process, so whoever can write here can run code as this user.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = os.stat(path)
    except OSError as error:
        raise CompileError(
            f"cannot use the cache folder {path}: {error.strerror or error}; "
            "set ADJOINT_CACHE_DIR to a folder that you can write"
        ) from error
    if os.name != "posix":
        return
    if info.st_uid != os.geteuid():
        raise CompileError(
            f"the cache folder {path} belongs to user {info.st_uid}, not to you ({os.geteuid()}); "
            "set ADJOINT_CACHE_DIR to a folder of your own"
        )
    if stat.S_IMODE(info.st_mode) & 0o077:
        os.chmod(path, 0o700)


class Cache:
    """One cache folder. Cheap to make: `Cache()` at each compile follows the environment of that moment."""

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = Path(root).absolute() if root is not None else cache_root()
        _private_folder(self.root)

    def _folder(self, name: str) -> Path:
        path = self.root / name
        try:
            path.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError:  # the root was deleted since this object was made
            _private_folder(self.root)
            path.mkdir(mode=0o700, exist_ok=True)
        return path

    def _write(self, folder: str, name: str, data: bytes, mode: int = 0o600) -> Path:
        target = self._folder(folder) / name
        handle, aside = tempfile.mkstemp(dir=self._folder("tmp"), prefix="new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(aside, mode)
            os.replace(aside, target)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        return target

    def _record(self, kind: str, key: str) -> bytes | None:
        path = self.root / kind / key
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        payload = data[_DIGEST + 1 :]
        if data[:_DIGEST].decode("ascii", "replace") != hashlib.sha256(payload).hexdigest():
            path.unlink(missing_ok=True)
            return None
        return payload

    def _put_record(self, kind: str, key: str, payload: bytes) -> None:
        self._write(kind, key, hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)

    def get_graph(self, key: str) -> bytes | None:
        """The finished artifact stored under a graph key, None if there is none or it was damaged."""
        return self._record("graphs", _checked(key))

    def put_graph(self, key: str, data: bytes) -> None:
        self._put_record("graphs", _checked(key), data)

    def get_note(self, key: str) -> bytes | None:
        """A small derived fact (such as the version text of a compiler), None if unknown."""
        return self._record("notes", _checked(key))

    def put_note(self, key: str, data: bytes) -> None:
        self._put_record("notes", _checked(key), data)

    def get_unit(self, key: str) -> Path | None:
        """The verified object or library stored under a unit key, None if there is none or it was damaged."""
        name = self._record("units", _checked(key))
        return None if name is None else self.blob(name.decode("ascii", "replace"))

    def put_unit(self, key: str, data: bytes, suffix: str) -> Path:
        """Store an object (`.o`) or library (`.so`); returns the path of its blob, whose name is its content's."""
        name = hashlib.sha256(data).hexdigest() + suffix
        path = self._write("blobs", name, data, mode=0o700 if suffix != ".o" else 0o600)
        self._put_record("units", _checked(key), name.encode())
        return path

    def blob(self, name: str) -> Path | None:
        """The path of a blob by name, None when it is missing; a damaged one is deleted first."""
        wanted, dot, suffix = name.partition(".")
        if not dot or len(wanted) != _DIGEST or not wanted.isalnum() or not suffix.isalnum():
            return None
        path = self.root / "blobs" / name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None
        if found != wanted:
            # Unlinked, never overwritten: a process that has the file mapped keeps its own intact view.
            path.unlink(missing_ok=True)
            return None
        return path

    def keep_failed(self, name: str, text: str) -> Path:
        """Store a source that the compiler rejected, for the user to look at; returns its path."""
        return self._write("failed", name, text.encode())

    @contextmanager
    def workdir(self) -> Iterator[Path]:
        """A private scratch folder on the cache's file system, removed afterwards; old ones of dead processes too."""
        self.sweep()
        path = Path(tempfile.mkdtemp(dir=self._folder("tmp"), prefix="work-"))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Per kind of entry: how many files, and their bytes."""
        table: dict[str, tuple[int, int]] = {}
        for kind in ("graphs", "units", "blobs", "notes", "failed", "tmp"):
            files = [path for path in (self.root / kind).rglob("*") if path.is_file()]
            table[kind] = (len(files), sum(path.stat().st_size for path in files))
        return table

    def sweep(self) -> int:
        """Remove what killed processes left in `tmp`, if it is older than a day; returns how many entries."""
        removed = 0
        for path in self._folder("tmp").iterdir():
            try:
                old = time.time() - path.stat().st_mtime > _STALE_SECONDS
            except FileNotFoundError:  # its owner finished meanwhile
                continue
            if old:
                removed += 1
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
        return removed

    def clear(self) -> None:
        """Delete every entry. Functions that are loaded go on working."""
        for kind in ("graphs", "units", "blobs", "notes", "failed", "tmp"):
            shutil.rmtree(self.root / kind, ignore_errors=True)


def _checked(key: str) -> str:
    if not key or not all(c.isalnum() or c in "-_" for c in key):
        raise ValueError(f"a cache key is made of letters, digits, '-' and '_', got {key!r}")
    return key
