"""Checking: what is wrong with a store, held against its log alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import orjson

from bufcache.buffer_metadata_cache.index import Index
from bufcache.buffer_metadata_cache.parts import Schemas
from bufcache.buffer_metadata_cache.store.files import Files
from bufcache.buffer_metadata_cache.store.state import State
from bufcache.errors import CacheFormatError


def problems(files: Files, schemas: Schemas, held: State) -> list[str] | None:
    """Return what is wrong with the log up to where it is held, with the segments beside it, or with what is held.

    None where the log was rewritten meanwhile.
    """
    limit = held.log.position.end
    try:
        from_log = State(files, schemas, uses_segments=False, limit=limit)
        from_segments = State(files, schemas, limit=limit)
    except CacheFormatError as error:
        return [str(error)]
    if not held.log.generation == from_log.log.generation == from_segments.log.generation:
        return None
    found, end = list(from_log.log.damage), from_log.log.position.end
    if end < limit:
        found.append(f"{from_log.log.name}: bytes {end} to {limit} are damaged, as the columns show")
    for state, what in ((held, "in memory"), (from_segments, "in columns")):
        found += _differences(state, from_log, what)
    for name in from_log.tables:
        found += _wrong_ids(name, from_log)
    found += [f"{reason}; it is not used" for reason in from_segments.unusable.values()]
    return list(dict.fromkeys(found))


def _differences(state: State, from_log: State, what: str) -> Iterator[str]:
    for name in sorted({*state.tables, *from_log.tables}):
        try:
            yield from _table_differences(name, state.table(name), from_log.table(name), what)
        except CacheFormatError as damage:  # of columns, and of the log there
            yield str(damage)


def _table_differences(name: str, held: Index, read: Index, what: str) -> Iterator[str]:
    rows, others = held.rows, read.rows
    if held.ids_of(rows) != read.ids_of(others) or not all(map(np.array_equal, held.places(rows), read.places(others))):
        yield f"{name}: the documents {what} are not those in the log"
        return
    for field in read.fields.values():
        [values], [expected] = held.take(rows, [field]), read.take(others, [field])
        if values != expected:
            yield f"{name}: {field.name} {what} is not what the log says"


def _wrong_ids(name: str, state: State) -> Iterator[str]:
    index = state.table(name)
    if not index.fields:
        return
    rows = index.rows
    for id, line in zip(index.ids_of(rows), state.lines(name, rows), strict=True):
        if line is not None and orjson.loads(line)[2].get("id") != id:
            yield f"{name}: document {id} says that it is another"
