"""Salvage: the lines of all documents of a table, of which those that are damaged are rebuilt from their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bufcache.buffer_metadata_cache.index import Index
from bufcache.buffer_metadata_cache.parts import Fields
from bufcache.buffer_metadata_cache.query import Field
from bufcache.buffer_metadata_cache.store.log import encode
from bufcache.buffer_metadata_cache.store.state import State


def blocks(state: State, table: str, size: int) -> Iterator[list[tuple[int, bytes | None]]]:
    """Give the ids and lines of all documents of a table, some at a time; None for a line that is lost."""
    index = state.table(table)
    rows = index.rows
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        found = zip(index.ids_of(block), block, state.lines(table, block), strict=True)
        yield [(id, line or _from_columns(index, table, id, row)) for id, row, line in found]


def _from_columns(index: Index, table: str, id: int, row: int) -> bytes | None:
    place = np.array([row])
    return rebuilt(table, id, index.fields, lambda field: index.take(place, [field])[0][0])


def rebuilt(table: str, id: int, fields: Fields, value_of: Callable[[Field[Any]], Any]) -> bytes | None:
    """Return the line that a damaged document had, from the values of its fields; None where its table has none."""
    if not fields:
        return None
    document = {
        field.name: field.kind.restore(value)
        for field in fields.values()
        if field.is_stored and (value := value_of(field)) is not None
    }
    return encode(table, id, document)
