"""Every touch of the store's files: read, append, cut, list, lock. The seam for tests that break things."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Protocol

import orjson

from bufcache.errors import CacheFormatError, CacheLockedError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK = "lock"
OWNER = "owner.json"

_BINARY = getattr(os, "O_BINARY", 0)  # without it Windows translates line ends
_FULL_SYNC = getattr(fcntl, "F_FULLFSYNC", None)


class UnsyncedError(OSError):
    """The disk did not confirm a write; what it holds is not known."""


class Files(Protocol):
    """A folder of files as the store uses it."""

    def names(self) -> list[str]:
        """Return the names of all files, none where the folder does not exist."""

    def size(self, name: str) -> int:
        """Return the size of a file in bytes, 0 where it does not exist."""

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return that part of a file; less where the file ends before."""

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of a file, made where it does not exist, and wait until all is on the disk."""

    def sync_names(self) -> None:
        """Wait until it is on the disk that the files and their folder exist."""

    def cut(self, name: str, size: int) -> None:
        """Shorten a file, and wait until that is on the disk."""

    def locked(self, timeout: float) -> AbstractContextManager[None]:
        """Hold the only right to write."""

    def close(self) -> None:
        """Close what is open."""


class DiskFiles:
    """Files on the disk."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._readers: dict[str, int] = {}
        self._lock: BaseFileLock | None = None
        self._seeking = threading.Lock()

    def __repr__(self) -> str:
        return self._path

    def names(self) -> list[str]:
        try:
            return os.listdir(self._path)
        except FileNotFoundError:
            return []

    def size(self, name: str) -> int:
        try:
            found = os.stat(self._of(name))
        except FileNotFoundError:
            return 0
        if not stat.S_ISREG(found.st_mode):
            raise CacheFormatError(f"{self._path}: {name} is no file; it was left untouched")
        if name in self._readers and not os.path.samestat(found, os.fstat(self._readers[name])):
            raise CacheFormatError(f"{self._path}: {name} was replaced by another; open the cache again")
        return found.st_size

    def read(self, name: str, offset: int, length: int) -> bytes:
        if name not in self._readers:
            self._readers[name] = os.open(self._of(name), os.O_RDONLY | _BINARY)
        parts = []
        # A single read may give less than there is: on a network share, after a signal, beyond 2 GiB.
        while length and (part := self._read_some(self._readers[name], offset, length)):
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return b"".join(parts)

    def _read_some(self, reader: int, offset: int, length: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(reader, length, offset)
        with self._seeking:  # Windows has no pread
            os.lseek(reader, offset, os.SEEK_SET)
            return os.read(reader, length)

    def append(self, name: str, data: bytes) -> None:
        writer = os.open(self._of(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND | _BINARY, 0o666)
        try:
            before = os.fstat(writer).st_size
            try:
                _write_all(writer, data)
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(writer, before)
                raise
            _sync(writer)
        finally:
            os.close(writer)

    def sync_names(self) -> None:
        for folder in (self._path, os.path.dirname(self._path)):
            _sync_folder(folder)

    def cut(self, name: str, size: int) -> None:
        writer = os.open(self._of(name), os.O_WRONLY | _BINARY)
        try:
            os.ftruncate(writer, size)
            _sync(writer)
        finally:
            os.close(writer)

    @contextmanager
    def locked(self, timeout: float) -> Iterator[None]:
        from filelock import FileLock, Timeout

        if self._lock is None:
            # A soft lock would outlive a killed process: where the kernel has no lock, there is no writing.
            self._lock = FileLock(self._of(LOCK), fallback_to_soft=False)
        try:
            self._lock.acquire(timeout=timeout)
        except Timeout:
            raise CacheLockedError(
                f"{self._path}: {self._owner()} is writing to this cache and was not done after {timeout:g} s; "
                "wait for it, or give a longer lock_timeout"
            ) from None
        try:
            self._sign()
            yield
        finally:
            self._lock.release()

    def _sign(self) -> None:
        import socket

        with open(self._of(OWNER), "wb") as file:
            file.write(orjson.dumps({"host": socket.gethostname(), "pid": os.getpid()}))

    def _owner(self) -> str:
        try:
            with open(self._of(OWNER), "rb") as file:
                owner = orjson.loads(file.read())
            return f"process {owner['pid']} on host {owner['host']}"
        except (OSError, ValueError, LookupError, TypeError):
            return "another process"

    def close(self) -> None:
        while self._readers:
            os.close(self._readers.popitem()[1])

    def _of(self, name: str) -> str:
        return os.path.join(self._path, name)


class MemoryFiles:
    """Files that live as long as this object."""

    def __init__(self) -> None:
        self._files: dict[str, bytearray] = {}

    def __repr__(self) -> str:
        return ":memory:"

    def names(self) -> list[str]:
        return list(self._files)

    def size(self, name: str) -> int:
        return len(self._files.get(name, b""))

    def read(self, name: str, offset: int, length: int) -> bytes:
        return bytes(self._files[name][offset : offset + length])

    def append(self, name: str, data: bytes) -> None:
        self._files.setdefault(name, bytearray()).extend(data)

    def sync_names(self) -> None:
        pass

    def cut(self, name: str, size: int) -> None:
        del self._files[name][size:]

    def locked(self, timeout: float) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        self._files.clear()


def _write_all(writer: int, data: bytes) -> None:
    """Write everything: a file system may take a part of it without an error."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(writer, rest) :]


def _sync(writer: int) -> None:
    """Wait until what was written is on the disk; on macOS only F_FULLFSYNC does that."""
    try:
        if _FULL_SYNC is None:
            os.fsync(writer)
        else:
            fcntl.fcntl(writer, _FULL_SYNC)
    except OSError as error:
        raise UnsyncedError(error.errno, f"the disk may or may not have kept what was written: {error}") from error


def _sync_folder(path: str) -> None:
    """Wait until a new name in a folder is on the disk, where the system can be asked for it."""
    if os.name == "nt":  # cannot open folders, and needs no such thing
        return
    try:
        folder = os.open(path, os.O_RDONLY)
    except PermissionError:  # a parent that may be passed through and not read
        return
    try:
        _sync(folder)
    except UnsyncedError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # what network file systems say to folders
            raise
    finally:
        os.close(folder)
