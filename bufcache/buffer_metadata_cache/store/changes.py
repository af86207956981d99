"""Changes: what the lines of commits say of documents."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import orjson

from bufcache.buffer_metadata_cache.parts import Change, Place
from bufcache.buffer_metadata_cache.store.log import Commit
from bufcache.errors import CacheFormatError

LARGEST_ID = 2**63 - 1


def by_table(commit: Commit) -> dict[str, list[Change]]:
    """Return what the lines of a commit say, by their tables.

    Raises
    ------
    CacheFormatError
        A line verifies and is no document.
    """
    changes: dict[str, list[Change]] = {}
    position = commit.start
    for line in commit.lines[:-1].split(b"\n"):
        table, id, document = _parsed(line)
        changes.setdefault(table, []).append(Change(id, Place(position, len(line), crc32(line)), document))
        position += len(line) + 1
    return changes


def _parsed(line: bytes) -> tuple[str, int, dict[str, Any] | None]:
    try:
        match orjson.loads(line):
            case [str(table), id] if is_id(id):
                return table, id, None
            case [str(table), id, dict(document)] if is_id(id):
                return table, id, document
    except orjson.JSONDecodeError:
        pass
    raise CacheFormatError(f"a line of the log verifies and is no document: {line[:80]!r}")


def is_id(id: object) -> bool:
    """Tell whether something can be the id of a document."""
    return type(id) is int and -(2**63) <= id <= LARGEST_ID
