"""Every touch of the store's files: read, append, map, publish, list, lock. The seam for tests that break things."""

from __future__ import annotations

import errno
import io
import mmap
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import IO, Protocol

import orjson

from bufcache.errors import CacheFormatError, CacheLockedError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"
OWNER = "owner.json"
UNFINISHED = ".unfinished"
"""How the name of a file ends that is not yet whole."""

_BINARY = getattr(os, "O_BINARY", 0)  # without it Windows translates line ends
_UNTRACKED: dict[str, bool] = {"trackfd": False} if sys.version_info >= (3, 13) else {}  # else a map holds a file
_FULL_SYNC = getattr(fcntl, "F_FULLFSYNC", None)


class UnsyncedError(OSError):
    """The disk did not confirm a write; what it holds is not known."""


class Files(Protocol):
    """A folder of files as the store uses it; a name may have a folder before it, ``columns/1-96-4096.npz``."""

    def names(self, folder: str = "") -> list[str]:
        """Return the names of all files, or of those in a folder below; none where it does not exist."""

    def size(self, name: str) -> int:
        """Return the size of a file in bytes, 0 where it does not exist."""

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return that part of a file; less where the file ends before."""

    def map(self, name: str) -> memoryview:
        """Return the whole of a file that is never changed, without reading it yet."""

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of a file, made where it does not exist, and wait until all is on the disk."""

    def publish(self, name: str, write: Callable[[IO[bytes]], object]) -> None:
        """Make a new file under a name that none has, whole or not at all; a crash of the system may tear it."""

    def remove(self, name: str) -> None:
        """Remove a file, if it can be: where another process has it open, that may have to wait."""

    def sync(self, name: str) -> None:
        """Wait until all of a file is on the disk."""

    def sync_names(self) -> None:
        """Wait until it is on the disk that the files and their folder exist."""

    def cut(self, name: str, size: int) -> None:
        """Shorten a file, and wait until that is on the disk."""

    def locked(self, timeout: float) -> AbstractContextManager[None]:
        """Hold the only right to write."""

    def clock(self) -> int:
        """Return how many ns the clock of the file system was ahead of that of this machine when it was last locked."""

    def close(self) -> None:
        """Close what is open."""


class DiskFiles:
    """Files on the disk."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._readers: dict[str, int] = {}
        self._seeking = threading.Lock()
        self._ahead = 0

    def __repr__(self) -> str:
        return self._path

    def names(self, folder: str = "") -> list[str]:
        try:
            return os.listdir(self._of(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def size(self, name: str) -> int:
        try:
            found = os.stat(self._of(name))
        except FileNotFoundError:
            return self._size_of_removed(name)
        if not stat.S_ISREG(found.st_mode):
            raise CacheFormatError(f"{self._path}: {name} is no file; it was left untouched")
        if name in self._readers and not os.path.samestat(found, os.fstat(self._readers[name])):
            raise CacheFormatError(f"{self._path}: {name} was replaced by another; open the cache again")
        return found.st_size

    def _size_of_removed(self, name: str) -> int:
        """Return the size of a file that has no name any more: whoever has it open can read it to its end."""
        return os.fstat(self._readers[name]).st_size if name in self._readers else 0

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

    def map(self, name: str) -> memoryview:
        reader = os.open(self._of(name), os.O_RDONLY | _BINARY)
        try:
            # Whoever still looks at it keeps the map: it is never closed here.
            return memoryview(mmap.mmap(reader, 0, access=mmap.ACCESS_READ, **_UNTRACKED))
        except ValueError:  # an empty file
            return memoryview(b"")
        finally:
            os.close(reader)

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

    def publish(self, name: str, write: Callable[[IO[bytes]], object]) -> None:
        path, unfinished = self._of(name), self._of(name) + UNFINISHED
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(unfinished, "wb", buffering=1 << 20) as file:
                write(file)
            os.rename(unfinished, path)
        except BaseException:
            with suppress(OSError):
                os.remove(unfinished)
            raise

    def remove(self, name: str) -> None:
        if name in self._readers:  # Windows removes no file that is open
            os.close(self._readers.pop(name))
        with suppress(OSError):
            os.remove(self._of(name))

    def sync(self, name: str) -> None:
        writer = os.open(self._of(name), os.O_WRONLY | _BINARY)
        try:
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

        # One for each time: a process that was forked may not use what it inherited. A soft lock would outlive a killed
        # process: where the kernel has no lock, there is no writing.
        lock, process = FileLock(self._of(LOCK), fallback_to_soft=False), os.getpid()
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            raise CacheLockedError(
                f"{self._path}: {self._owner()} is writing to this cache and was not done after {timeout:g} s; "
                "wait for it, or give a longer lock_timeout"
            ) from None
        except PermissionError as error:
            reason = "nothing may be written into the folder of the cache; it can only be read"
            raise PermissionError(error.errno, reason, self._path) from None
        try:
            self._sign()
            yield
        finally:
            if os.getpid() == process:  # else it is the parent's
                lock.release()

    def _sign(self) -> None:
        import socket

        with open(self._of(OWNER), "wb") as file:
            file.write(orjson.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        self._ahead = os.stat(self._of(OWNER)).st_mtime_ns - time.time_ns()

    def clock(self) -> int:
        return self._ahead

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
        return os.path.join(self._path, name) if name else self._path


class MemoryFiles:
    """Files that live as long as this object."""

    def __init__(self) -> None:
        self._files: dict[str, bytearray] = {}

    def __repr__(self) -> str:
        return ":memory:"

    def names(self, folder: str = "") -> list[str]:
        start = folder and folder + "/"
        # Of a list, as another thread may be writing a file.
        names = (name.removeprefix(start) for name in list(self._files) if name.startswith(start))
        return [name for name in names if "/" not in name]

    def size(self, name: str) -> int:
        return len(self._files.get(name, b""))

    def read(self, name: str, offset: int, length: int) -> bytes:
        return bytes(self._files[name][offset : offset + length])

    def map(self, name: str) -> memoryview:
        return memoryview(bytes(self._files[name]))

    def append(self, name: str, data: bytes) -> None:
        self._files.setdefault(name, bytearray()).extend(data)

    def publish(self, name: str, write: Callable[[IO[bytes]], object]) -> None:
        file = io.BytesIO()
        write(file)
        self._files[name] = bytearray(file.getbuffer())

    def remove(self, name: str) -> None:
        self._files.pop(name, None)

    def sync(self, name: str) -> None:
        pass

    def sync_names(self) -> None:
        pass

    def cut(self, name: str, size: int) -> None:
        del self._files[name][size:]

    def locked(self, timeout: float) -> AbstractContextManager[None]:
        return nullcontext()

    def clock(self) -> int:
        return 0

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
