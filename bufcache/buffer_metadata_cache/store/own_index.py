"""The index of a table whose fields the store does not know by itself: made from its documents, and kept up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from bufcache.buffer_metadata_cache.columns import Rows
from bufcache.buffer_metadata_cache.index import Index
from bufcache.buffer_metadata_cache.parts import Change, Fields, Ids, Place
from bufcache.buffer_metadata_cache.store.state import State

_NOWHERE = Place(0, 0, 0)
"""Where a document that is gone stands; no line of one stands at the beginning of a log."""


class OwnIndex:
    """The documents of a table in columns of fields that were given later.

    Parameters
    ----------
    table
        The table.
    fields
        The fields of its documents. Each has one of the name ``id``, whether or not its document says it.
    """

    def __init__(self, table: str, fields: Fields) -> None:
        self.fields = fields
        self._table = table
        self._forget()

    def _forget(self) -> None:
        self._salt: int | None = None
        self._index = Index(self.fields)
        self._seen: tuple[object, int] = None, 0
        self._end = 0

    def follow(self, state: State) -> Index:
        """Return the index of what the state holds; documents whose lines are damaged are left out."""
        if self._salt != state.log.salt:
            self._forget()  # in a log that was rewritten nothing stands where it stood
        # Before anything is read: where damage is met, and mended, all that was taken over is looked at again.
        seen = state.origin, state.table(self._table).changes
        if self._seen != seen:
            self._salt = None  # all is made anew where this is interrupted, as by Ctrl-C
            self._take_over(state)
            self._seen, self._end, self._salt = seen, state.log.position.end, state.log.salt
        return self._index

    def _take_over(self, state: State) -> None:
        """Take over what differs: what came since stands behind what there was, unless the state is another one."""
        stored = state.table(self._table)
        rows = stored.rows_from(self._end) if self._seen[0] is state.origin else self._others(stored)
        self._index.apply(self._changes(state, rows))
        if len(self._held()) != len(stored):  # all that is stored is held by now
            gone = np.setdiff1d(self._held(), np.array(stored.ids, np.int64), assume_unique=True)
            self._index.apply([Change(id, _NOWHERE, None) for id in gone.tolist()])
        self._index.largest_id = stored.largest_id

    def _others(self, stored: Index) -> Rows:
        """Return the rows of the documents that were not taken over as they are stored."""
        rows, tail = stored.rows, self._index.tail
        # Not by offset alone: a last commit that was damaged is cut off, and another one stands there then.
        held = set(_as_tuples(tail.places_at(np.arange(tail.size))))
        return rows[np.array([place not in held for place in _as_tuples(stored.places(rows))], np.bool_)]

    def _changes(self, state: State, rows: Rows) -> Iterator[Change]:
        stored = state.table(self._table)
        places, lines = _as_tuples(stored.places(rows)), state.lines(self._table, rows)
        for id, place, line in zip(stored.ids_of(rows), places, lines, strict=True):
            yield Change(id, Place(*place), None if line is None else {**orjson.loads(line)[2], "id": id})

    def _held(self) -> Ids:
        """Return the ids of the documents that were taken over, also of those that were left out."""
        tail = self._index.tail  # there are no parts
        return tail.all_ids()[tail.offsets() > 0]


def _as_tuples(places: Sequence[NDArray[np.int64]]) -> Iterator[tuple[int, ...]]:
    return zip(*(array.tolist() for array in places), strict=True)
