"""Mending: what the log says in the range of a segment that is damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from bufcache.buffer_metadata_cache.columns import DamagedPartError, Mask
from bufcache.buffer_metadata_cache.index import Index
from bufcache.buffer_metadata_cache.parts import Change, Fields, Ids, Part, Place, Schemas, part_of
from bufcache.buffer_metadata_cache.store.changes import by_table
from bufcache.buffer_metadata_cache.store.log import Log
from bufcache.buffer_metadata_cache.store.segments import Segment, parts_of

_BLOCK = 1000
"""Documents in memory at a time."""


class Mended(NamedTuple):
    """The parts of a segment anew, by table, and how many documents are damaged in the log, too."""

    parts: dict[str, Part]
    lost: int


def mended_parts(log: Log, schemas: Schemas, segment: Segment) -> Mended:
    """Return what a segment has to hold; `log` is its log, and notes what is damaged there."""
    try:
        found = {table: _from_lines(log, schemas.get(table, {}), part) for table, part in segment.parts.items()}
    except DamagedPartError:  # of the ids or places of documents
        return _from_commits(log, schemas, segment)
    return Mended({table: part for table, (part, _) in found.items()}, sum(lost for _, lost in found.values()))


def _from_lines(log: Log, fields: Fields, part: Part) -> tuple[Part, int]:
    """Return a part made of the lines of its documents, each of which is sound by itself, and how many are not.

    A document that is lost counts as removed: what it was before must not come back in its place. The rows stay the
    same, for who is asking has their numbers.
    """
    live, kept, ids = part.live(), part.kept(), part.all_ids()
    index, lost = Index(fields), 0
    for start in range(0, part.size, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, part.size))
        changes = list(_changes(log, ids[rows], part.places_at(rows), kept[rows]))
        is_lost = np.array([change.document is None for change in changes], np.bool_)
        lost += int(np.count_nonzero(is_lost & (kept[rows] if live is None else live[rows])))
        index.apply(changes)
    return part_of(fields, index.tail.content()), lost


def _changes(log: Log, ids: Ids, places: Sequence[NDArray[np.int64]], kept: Mask) -> Iterator[Change]:
    numbers = zip(ids.tolist(), *(array.tolist() for array in places), kept.tolist(), strict=True)
    for (id, offset, length, checksum, is_kept), line in zip(numbers, log.sound_lines(*places), strict=True):
        document = orjson.loads(line)[2] if is_kept and line is not None else None
        yield Change(id, Place(offset, length, checksum), document)


def _from_commits(log: Log, schemas: Schemas, segment: Segment) -> Mended:
    """Return what the commits in the range of a segment say, without those that are damaged."""
    limits = segment.range
    other = log.again(limits.start)
    tables: dict[str, Index] = {}
    for commit in other.read_on(limits.end.end):
        for table, changes in by_table(commit).items():
            if table not in tables:
                tables[table] = Index(schemas.get(table, {}))
            tables[table].apply(changes)
    log.damage += other.damage
    if other.position != limits.end:
        log.damage.append(f"{log.name}: bytes {other.position.end} to {limits.end.end} are damaged")
    contents = {table: [index.tail.content()] for table, index in tables.items()}
    parts = parts_of(schemas, contents, is_first=limits.start == log.beginning)
    sizes = [(part.size, parts[table].size if table in parts else 0) for table, part in segment.parts.items()]
    return Mended(parts, sum(abs(before - now) for before, now in sizes))
