"""Reading one file for the cache: its document, and the fingerprint that goes with it."""

from __future__ import annotations

from typing import Any, NamedTuple

from bufcache.buffer_metadata_cache import paths
from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.scan import Fingerprint, describe, fingerprint
from bufcache.buffer_parser.header import is_buffer_file
from bufcache.errors import InvalidFileError


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


def read(path: str, buffer_class: type[Any]) -> Reading:
    """Open a file and return what it says, or why it cannot be read.

    A file that changes while it is read gets no `mtime_ns`, so that the next synchronisation reads it again.
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
    if after == before:
        document["mtime_ns"] = mtime_ns
    return Reading(document, error, is_skipped)


def _open(path: str, buffer_class: type[Any]) -> tuple[dict[str, Any], str | None, bool]:
    """Return the document of a file, why it cannot be read, and whether it is no buffer file at all."""
    is_skipped, reason = False, f"{buffer_class.__name__} gave nothing"
    try:
        with buffer_class(path) as buffer:
            return _document(path, BufferMetadata.buffer_to_metadata(buffer)), None, False
    except InvalidFileError as error:
        is_skipped = not is_buffer_file(path)
        reason = describe(error)
    except Exception as error:  # whatever a Buffer_cls raises: the file's entry tells it
        reason = describe(error)
    reason = reason.replace(f"{path}: ", "", 1)  # the entry has the path itself
    return _document(path, BufferMetadata(opening_error=reason)), reason, is_skipped


def _document(path: str, metadata: BufferMetadata) -> dict[str, Any]:
    metadata.directory_path, metadata.filename = paths.split(path)
    return metadata.to_document()
