"""Reading one file for the cache: its document, and the fingerprint that goes with it."""

from __future__ import annotations

import errno
from typing import Any, NamedTuple

from bufcache.buffer_metadata_cache import paths
from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.scan import Fingerprint, describe, fingerprint
from bufcache.buffer_parser.header import is_buffer_file
from bufcache.errors import BufcacheError, InvalidFileError


class Task(NamedTuple):
    """A file to read, as it was listed, and the id of its entry; `is_check` where the entry has its fingerprint."""

    folder: str
    name: str
    fingerprint: Fingerprint
    id: int | None = None
    is_check: bool = False

    @property
    def path(self) -> str:
        """The path of the file."""
        return paths.join(self.folder, self.name)


class Reading(NamedTuple):
    """What a file said of itself, as a document without an id; or that it is no buffer file, or gone.

    `error` says why a file could not be read; its document then says so, too. A file that is gone has only the
    error, one that is no buffer file has a document that `is_skipped` where it had no entry before.
    """

    document: dict[str, Any] | None
    error: str | None = None
    is_skipped: bool = False


_OF_THE_FILE = (None, errno.EACCES, errno.EPERM, errno.ENOENT)
"""Errors that say something of a file, or of what it needs, and not of the way to it or of this machine."""

_PASSING = (BlockingIOError, ConnectionError, InterruptedError, TimeoutError)
"""Errors that pass even where they have no number."""

_IN_USE = (32, 33)
"""Errors of Windows that look as if a right were missing while another program writes."""


def read(path: str, buffer_class: type[Any], *, is_check: bool = False) -> Reading:
    """Open a file and return what it says, or why it cannot be read.

    A file that changes while it is read, or fails for a reason that may pass, gets no `mtime_ns`, so that the next
    synchronisation reads it again.

    Parameters
    ----------
    path
        The file.
    buffer_class
        What opens it.
    is_check
        Whether it was read before, and most likely has not changed: then no error of the system is its own.
    """
    try:
        before = fingerprint(path)
        if before is None:
            return Reading(None, is_skipped=True)
        document, error, is_skipped = _open(path, buffer_class)
        after = fingerprint(path)
    except OSError as gone:
        return Reading(None, describe(gone))
    document["file_size"], mtime_ns = before
    if after == before and not (error and _may_pass(error, is_check)):
        document["mtime_ns"] = mtime_ns
    return Reading(document, document.get("opening_error"), is_skipped)


def _open(path: str, buffer_class: type[Any]) -> tuple[dict[str, Any], Exception | None, bool]:
    """Return the document of a file, why it cannot be read, and whether it is no buffer file at all."""
    is_skipped = False
    failure: Exception = BufcacheError(f"{buffer_class.__name__} gave nothing")
    try:
        with buffer_class(path) as buffer:
            return _document(path, BufferMetadata.buffer_to_metadata(buffer)), None, False
    except InvalidFileError as error:
        is_skipped, failure = not is_buffer_file(path), error
    except Exception as error:  # whatever a Buffer_cls raises: the file's entry tells it
        failure = error
    reason = describe(failure).replace(f"{path}: ", "", 1)  # the entry has the path itself
    return _document(path, BufferMetadata(opening_error=reason)), failure, is_skipped


def _may_pass(error: Exception, is_check: bool) -> bool:
    """Tell whether a file may well be read another time, although it does not change."""
    if not isinstance(error, OSError):
        return isinstance(error, MemoryError)
    is_of_file = error.errno in _OF_THE_FILE and getattr(error, "winerror", None) not in _IN_USE
    return is_check or not is_of_file or isinstance(error, _PASSING)


def _document(path: str, metadata: BufferMetadata) -> dict[str, Any]:
    metadata.directory_path, metadata.filename = paths.split(path)
    return metadata.to_document()
