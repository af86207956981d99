"""Mending: what the log says in the range of a segment that is damaged."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import orjson

from bufcache.buffer_metadata_cache.columns import DamagedPartError
from bufcache.buffer_metadata_cache.index import Index
from bufcache.buffer_metadata_cache.parts import Change, Fields, Part, Place, Schemas, merged, part_of
from bufcache.buffer_metadata_cache.store.changes import by_table
from bufcache.buffer_metadata_cache.store.log import Log
from bufcache.buffer_metadata_cache.store.segments import Segment


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
    rows = np.arange(part.size)
    ids, places, live, kept = part.all_ids().tolist(), part.places_at(rows), part.live(), part.kept()
    is_live = [True] * part.size if live is None else live.tolist()
    lost = 0
    changes = []
    numbers = zip(ids, zip(*(array.tolist() for array in places), strict=True), is_live, strict=True)
    for row, ((id, place, counts), line) in enumerate(zip(numbers, log.sound_lines(*places), strict=True)):
        document = orjson.loads(line)[2] if kept[row] and line is not None else None
        lost += counts and document is None
        changes.append(Change(id, Place(*place), document))
    index = Index(fields)
    index.apply(changes)
    return part_of(fields, index.tail.content()), lost


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
    is_first = limits.start == log.beginning
    parts = {}
    for table, index in tables.items():
        content = merged([index.tail.content()], keeps_removals=not is_first)
        if len(content.ids):
            parts[table] = part_of(index.fields, content)
    sizes = [(part.size, parts[table].size if table in parts else 0) for table, part in segment.parts.items()]
    return Mended(parts, sum(abs(before - now) for before, now in sizes))
