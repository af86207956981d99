"""Salvage: the lines of all documents of a table, of which those that are damaged are rebuilt from their columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bufcache.buffer_metadata_cache.index import Index
from bufcache.buffer_metadata_cache.store.log import encode
from bufcache.buffer_metadata_cache.store.state import State


def blocks(state: State, table: str, size: int) -> Iterator[list[tuple[int, bytes | None]]]:
    """Give the ids and lines of all documents of a table, some at a time; None for a line that is lost."""
    index = state.table(table)
    rows = index.rows
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        found = zip(index.ids_of(block), block, state.lines(table, block), strict=True)
        yield [(id, line or _rebuilt(index, table, id, row)) for id, row, line in found]


def _rebuilt(index: Index, table: str, id: int, row: int) -> bytes | None:
    """Return the line that a damaged document had, from its columns; None where its table has none."""
    if not index.fields:
        return None
    document = {
        field.name: field.kind.dump(value)
        for field in index.fields.values()
        if field.is_stored and (value := index.take(np.array([row]), [field])[0][0]) is not None
    }
    return encode(table, id, document)
