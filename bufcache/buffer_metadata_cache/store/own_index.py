"""The index of a table whose fields the store does not know by itself: made from its documents, and kept up."""

from __future__ import annotations

import numpy as np
import orjson

from bufcache.buffer_metadata_cache.index import Index
from bufcache.buffer_metadata_cache.parts import Change, Fields, Place
from bufcache.buffer_metadata_cache.store.state import State


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
        self._salt: int | None = None
        self._forget()

    def _forget(self) -> None:
        self._index = Index(self.fields)
        self._end = 0
        self._ids = np.zeros(0, np.int64)
        self._offsets = np.zeros(0, np.int64)

    def follow(self, state: State) -> Index:
        """Return the index of what the state holds; documents whose lines are damaged are left out."""
        if self._salt != state.log.salt:
            self._salt = state.log.salt
            self._forget()
        if self._end != state.log.position.end:
            self._take_over(state)
            self._end = state.log.position.end
        return self._index

    def _take_over(self, state: State) -> None:
        stored = state.table(self._table)
        rows = stored.rows
        ids, places = np.array(stored.ids_of(rows), np.int64), stored.places(rows)
        new = np.flatnonzero(np.isin(places[0], self._offsets, invert=True))
        changes = [Change(id, Place(0, 0, 0), None) for id in np.setdiff1d(self._ids, ids).tolist()]
        numbers = zip(ids[new].tolist(), *(array[new].tolist() for array in places), strict=True)
        for (id, *place), line in zip(numbers, state.lines(self._table, rows[new]), strict=True):
            document = None if line is None else {**orjson.loads(line)[2], "id": id}
            changes.append(Change(id, Place(*place), document))
        self._index.apply(changes)
        self._index.largest_id = stored.largest_id
        self._ids, self._offsets = ids, places[0]
