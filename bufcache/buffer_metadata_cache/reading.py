"""Reading one file for the cache: its metadata and the fingerprint that goes with them."""

from __future__ import annotations

from typing import Any, NamedTuple

from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.scan import describe, fingerprint
from bufcache.buffer_parser.header import is_buffer_file
from bufcache.errors import InvalidFileError


class Reading(NamedTuple):
    """What a file said of itself. Without metadata it is no buffer file, or it is gone; then there is no entry."""

    metadata: BufferMetadata | None
    error: str | None = None


def read(path: str, buffer_class: type[Any]) -> Reading:
    """Open a file and return what it says, or why it cannot be read.

    A file that changes while it is read gets no `mtime_ns`, so that the next synchronisation reads it again.
    """
    try:
        before = fingerprint(path)
        if before is None:
            return Reading(None)
        metadata, error = _open(path, buffer_class)
        after = fingerprint(path)
    except OSError as gone:
        return Reading(None, describe(gone))
    if metadata is None and error is None:
        return Reading(None)
    metadata = metadata or BufferMetadata(opening_error=error)
    metadata.file_size = before.size
    metadata.mtime_ns = before.mtime_ns if after == before else None
    return Reading(metadata, error)


def _open(path: str, buffer_class: type[Any]) -> tuple[BufferMetadata | None, str | None]:
    """Return metadata or an error; neither where the file is no buffer file."""
    try:
        with buffer_class(path) as buffer:
            return BufferMetadata.buffer_to_metadata(buffer), None
    except FileNotFoundError:
        raise
    except InvalidFileError as error:
        return None, describe(error) if is_buffer_file(path) else None
    except Exception as error:  # whatever a Buffer_cls raises: the file's entry tells it
        return None, describe(error)
