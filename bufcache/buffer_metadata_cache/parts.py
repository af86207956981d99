"""Parts: some documents of a table as columns. A part is finished and in order of ids; the tail takes what is new.

Where a document stands in several parts, the row in the newest one counts, and the others are dead. A document that
was removed is a row, too, so that it hides those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bufcache.buffer_metadata_cache.columns import (
    Column,
    Held,
    Mask,
    NumberColumn,
    PathColumn,
    Rows,
    Source,
    StoredColumn,
    TextColumn,
)
from bufcache.buffer_metadata_cache.kinds import Float, Integer, Kind
from bufcache.buffer_metadata_cache.query import Field, JoinedPath
from bufcache.buffer_metadata_cache.texts import GrowingTexts, HeldTexts, coded

Fields = Mapping[str, Field[Any]]
Schemas = Mapping[str, Fields]
"""The fields of the documents of each table that has any."""

Ids = NDArray[np.int64]


class Place(NamedTuple):
    """Where the line of a document stands in the log, and the CRC-32 of it."""

    offset: int
    length: int
    checksum: int


class Change(NamedTuple):
    """What became of one document: where its line stands in the log, and its content; None where it was removed."""

    id: int
    place: Place
    document: Mapping[str, Any] | None


class Values(NamedTuple):
    """What a column holds: numbers, or codes of `texts`; which rows are known, None for all."""

    array: NDArray[Any]
    is_known: Mask | None
    texts: Sequence[str] | None = None


class Places(NamedTuple):
    """Where the lines of documents stand in the log, and the CRC-32 of each."""

    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    checksums: NDArray[np.int64]

    def where(self, rows: Rows | Mask) -> Places:
        """Return the places of some."""
        return Places(self.offsets[rows], self.lengths[rows], self.checksums[rows])


def placed(start: int, lines: Sequence[bytes]) -> Places:
    """Return where lines stand of which the first begins at a place of the log, each behind the one before."""
    lengths = np.fromiter(map(len, lines), np.int64, len(lines))
    checksums = np.fromiter(map(crc32, lines), np.int64, len(lines))
    return Places(start + np.cumsum(lengths + 1) - lengths - 1, lengths, checksums)


class Content(NamedTuple):
    """All that a part holds, in order of ids, each once; `is_removed` is None where nothing was."""

    ids: Ids
    is_removed: Mask | None
    places: Places
    values: Mapping[str, Values]

    @property
    def live_lengths(self) -> NDArray[np.int64]:
        """The lengths of the lines of the documents, without those of removals."""
        return self.places.lengths if self.is_removed is None else self.places.lengths[~self.is_removed]

    def where(self, rows: Rows | Mask) -> Content:
        """Return the content of some rows."""
        is_removed = None if self.is_removed is None else self.is_removed[rows]
        values = {
            name: Values(held.array[rows], None if held.is_known is None else held.is_known[rows], held.texts)
            for name, held in self.values.items()
        }
        return Content(self.ids[rows], is_removed, self.places.where(rows), values)


class RowSet:
    """Rows with columns: what a part and the tail have in common."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.size = 0

    def ids_at(self, rows: Rows) -> Ids:
        """Return the ids of rows."""
        raise NotImplementedError

    def rows_of(self, ids: Ids) -> Rows:
        """Return the rows of those ids that have one, dead ones included; the ids in order."""
        raise NotImplementedError

    def places_at(self, rows: Rows) -> list[NDArray[np.int64]]:
        """Return offsets, lengths and checksums of the lines of rows."""
        raise NotImplementedError

    def offsets(self) -> NDArray[np.int64]:
        """Return the offsets of the lines of all rows."""
        raise NotImplementedError

    def live(self) -> Mask | None:
        """Return which rows count; None where all do."""
        raise NotImplementedError

    def stored(self, name: str) -> StoredColumn:
        """Return the column of a field that is stored."""
        raise NotImplementedError

    def column(self, field: Field[Any]) -> Column:
        """Return the column of a field; TypeError where it is a field of other documents."""
        if self.fields.get(field.name) is not field:
            raise TypeError(f"{field!r} is no field of these documents")
        if isinstance(field, JoinedPath):
            return PathColumn(self.stored(field.folder.name), self.stored(field.filename.name))
        return self.stored(field.name)


class Part(RowSet):
    """A finished part: rows in order of ids, each id once.

    Parameters
    ----------
    fields
        The fields of the documents.
    ids, is_removed, places
        The id of each row, whether it says that the document was removed (None: none does), and the offset, length and
        checksum of its line in the log.
    columns
        The columns of the stored fields.
    span
        The first and the last id.
    removed
        How many rows say that their document was removed.
    live_bytes
        Bytes of the lines of the others.
    """

    def __init__(
        self,
        fields: Fields,
        *,
        size: int,
        ids: Source,
        is_removed: Source | None,
        places: Sequence[Source],
        columns: Mapping[str, StoredColumn],
        span: tuple[int, int],
        removed: int,
        live_bytes: int,
    ) -> None:
        super().__init__(fields)
        self.size = size
        self.span = span
        self.live_count = size - removed
        self.live_bytes = live_bytes
        self._ids = ids
        self._is_removed = is_removed
        self._places = places
        self._columns = columns
        self._is_dead: Mask | None = None

    def ids_at(self, rows: Rows) -> Ids:
        return self._ids.at(rows).astype(np.int64, copy=False)

    def all_ids(self) -> Ids:
        """Return the ids of all rows, in order."""
        return self._ids.all()

    def places_at(self, rows: Rows) -> list[NDArray[np.int64]]:
        return [source.at(rows).astype(np.int64, copy=False) for source in self._places]

    def offsets(self) -> NDArray[np.int64]:
        return self._places[0].all().astype(np.int64, copy=False)

    def stored(self, name: str) -> StoredColumn:
        return self._columns[name]

    def live(self) -> Mask | None:
        if self._is_removed is None:
            return None if self._is_dead is None else ~self._is_dead
        return ~self._is_removed.all() if self._is_dead is None else ~(self._is_removed.all() | self._is_dead)

    def kept(self) -> Mask:
        """Return which rows do not say that their document was removed."""
        return np.ones(self.size, np.bool_) if self._is_removed is None else ~self._is_removed.all()

    def rows_of(self, ids: Ids) -> Rows:
        inside = ids[np.searchsorted(ids, self.span[0]) : np.searchsorted(ids, self.span[1], side="right")]
        if not len(inside):
            return np.zeros(0, np.intp)
        held = self.all_ids()
        rows = np.searchsorted(held, inside.astype(held.dtype))
        found: Rows = rows[held[rows] == inside]
        return found

    def kill(self, rows: Rows) -> None:
        """Make rows dead: a newer part says what became of their documents."""
        if self._is_dead is not None:
            rows = rows[~self._is_dead[rows]]
        live = rows if self._is_removed is None else rows[~self._is_removed.at(rows)]
        size = int(self.places_at(live)[1].sum())
        if self._is_dead is None:  # nothing was changed where bytes turned out to be damaged
            self._is_dead = np.zeros(self.size, np.bool_)
        self._is_dead[rows] = True
        self.live_count -= len(live)
        self.live_bytes -= size

    def content(self) -> Content:
        """Return all that the part holds, dead rows included: it says what the commits said that it was made of."""
        columns = {name: self.stored(name) for name, field in self.fields.items() if field.is_stored}
        return Content(
            self.all_ids(),
            None if self._is_removed is None else self._is_removed.all(),
            Places(*(source.all() for source in self._places)),
            {name: values_of(column) for name, column in columns.items()},
        )


def values_of(column: StoredColumn) -> Values:
    """Return what a column holds."""
    texts = column.texts.all() if isinstance(column, TextColumn) else None
    return Values(column.values.all(), None if column.is_known is None else column.is_known.all(), texts)


def part_of(fields: Fields, content: Content) -> Part:
    """Return a part in memory."""
    is_removed = content.is_removed
    lengths = content.live_lengths
    return Part(
        fields,
        size=len(content.ids),
        ids=Held(content.ids),
        is_removed=None if is_removed is None else Held(is_removed),
        places=list(map(Held, content.places)),
        columns={name: column_of(fields[name].kind, values) for name, values in content.values.items()},
        span=(int(content.ids[0]), int(content.ids[-1])),
        removed=len(content.ids) - len(lengths),
        live_bytes=int(lengths.sum()),
    )


def column_of(kind: Kind, values: Values) -> StoredColumn:
    """Return a column in memory."""
    is_known = None if values.is_known is None else Held(values.is_known)
    if values.texts is None:
        return NumberColumn(kind, Held(values.array), is_known)
    return TextColumn(kind, Held(values.array), is_known, HeldTexts(values.texts))


def of_rows(values: Values, rows: Rows) -> Values:
    """Return some rows of a column, with no more texts than they name."""
    is_known = None if values.is_known is None else values.is_known[rows]
    if values.texts is None:
        return Values(values.array[rows], is_known)
    return Values(*_used(values.array[rows], list(values.texts), is_known))


def encoded(kind: Kind, values: Sequence[Any]) -> Values:
    """Return what a column holds of values as they stand in documents, None where there is none."""
    is_known: Mask | None = None
    if None in values:
        is_known = np.fromiter((value is not None for value in values), np.bool_, len(values))
    if isinstance(kind, (Integer, Float)):
        return Values(np.array([0 if value is None else value for value in values], kind.dtype), is_known)
    texts, codes = coded(values)
    return Values(codes, is_known, texts)


class Tail(RowSet):
    """The newest documents, in order of their coming; a later change of one is written into its row."""

    def __init__(self, fields: Fields) -> None:
        super().__init__(fields)
        self._columns = {name: _growing(field.kind) for name, field in fields.items() if field.is_stored}
        self._rows: dict[int, int] = {}
        self._numbers = np.zeros((0, 4), np.int64)  # id, and the three of its place
        self._is_live = np.zeros(0, np.bool_)
        self.live_bytes = 0
        self.live_count = 0

    def __contains__(self, id: object) -> bool:
        return id in self._rows

    def put(self, changes: Sequence[Change]) -> None:
        """Take over changes, no two of one document."""
        if not changes:
            return
        rows = np.array([self._rows.setdefault(change.id, len(self._rows)) for change in changes], np.intp)
        self.size = len(self._rows)
        self._numbers, self._is_live = grown(self._numbers, self.size), grown(self._is_live, self.size)
        self._numbers[rows] = [(change.id, *change.place) for change in changes]
        self._is_live[rows] = [change.document is not None for change in changes]
        live = self._is_live[: self.size]
        self.live_count = int(np.count_nonzero(live))
        self.live_bytes = int(self._numbers[: self.size, 2][live].sum())
        documents = [change.document or {} for change in changes]
        for name, column in self._columns.items():
            column.put(rows, self.fields[name].of_all(documents), self.size)

    def row_of(self, id: int) -> int:
        """Return the row of a document, or of its removal; KeyError where there is none."""
        return self._rows[id]

    def rows_of(self, ids: Ids) -> Rows:
        return np.array([self._rows[id] for id in ids.tolist() if id in self._rows], np.intp)

    def ids_at(self, rows: Rows) -> Ids:
        ids: Ids = self._numbers[rows, 0]
        return ids

    def places_at(self, rows: Rows) -> list[NDArray[np.int64]]:
        return list(self._numbers[rows, 1:].T)

    def offsets(self) -> NDArray[np.int64]:
        offsets: NDArray[np.int64] = self._numbers[: self.size, 1]
        return offsets

    def live(self) -> Mask | None:
        return self._is_live[: self.size]

    def stored(self, name: str) -> StoredColumn:
        return self._columns[name]

    def all_ids(self) -> Ids:
        """Return the ids of all rows, removals included."""
        ids: Ids = self._numbers[: self.size, 0]
        return ids

    def content(self) -> Content:
        """Return all that the tail holds, in order of ids."""
        order = np.argsort(self.all_ids(), kind="stable")
        is_removed = ~self._is_live[: self.size]
        content = Content(
            self.all_ids(),
            is_removed if is_removed.any() else None,
            Places(*self._numbers[: self.size, 1:].T),
            {name: _sorted(values_of(column)) for name, column in self._columns.items()},
        )
        return content.where(order)


def _sorted(values: Values) -> Values:
    """Return values whose texts are sorted."""
    if values.texts is None:
        return values
    texts, codes = coded(list(values.texts))
    array = codes[values.array] if len(codes) else values.array
    return Values(array, values.is_known, texts)


class _Growing(StoredColumn):
    """A column that grows."""

    def __init__(self, kind: Kind, dtype: np.dtype[Any]) -> None:
        self._array, self._is_known = np.zeros(0, dtype), np.zeros(0, np.bool_)
        self._shown, self._shown_known = Held(self._array), Held(self._is_known)
        StoredColumn.__init__(self, kind, self._shown, self._shown_known)

    def put(self, rows: Rows, values: Sequence[Any], size: int) -> None:
        """Write values, None where there are none, into rows of a column of that size."""
        self._array, self._is_known = grown(self._array, size), grown(self._is_known, size)
        self._is_known[rows] = True
        if None in values:
            is_known = np.fromiter((value is not None for value in values), np.bool_, len(values))
            self._is_known[rows], self._array[rows] = is_known, 0
            rows, values = rows[is_known], [value for value in values if value is not None]
        self._array[rows] = self._encoded(values)
        self._shown.array, self._shown_known.array = self._array[:size], self._is_known[:size]

    def _encoded(self, values: Sequence[Any]) -> Any:
        return np.array(values, self._array.dtype)


class _GrowingNumbers(_Growing, NumberColumn):
    def __init__(self, kind: Integer | Float) -> None:
        super().__init__(kind, kind.dtype)
        self._limits = None


class _GrowingTexts(_Growing, TextColumn):
    def __init__(self, kind: Kind) -> None:
        super().__init__(kind, np.dtype(np.intp))
        self.texts = self._growing = GrowingTexts()

    def _encoded(self, values: Sequence[Any]) -> Any:
        return self._growing.add(values)


def _growing(kind: Kind) -> _Growing:
    return _GrowingNumbers(kind) if isinstance(kind, (Integer, Float)) else _GrowingTexts(kind)


def grown(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Return the array with room for `size` rows; a new one has twice the room, so that growing stays cheap."""
    if size <= len(array):
        return array
    larger = np.zeros((max(size, 2 * len(array)), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


def merged(contents: Sequence[Content], *, keeps_removals: bool) -> Content:
    """Return the content of several parts, oldest first, as one: the newest row of each id.

    Parameters
    ----------
    keeps_removals
        Whether there are older parts, in which removals have something to hide.
    """
    if len(contents) == 1 and (keeps_removals or contents[0].is_removed is None):
        return contents[0]
    ids = np.concatenate([content.ids for content in contents])
    order = np.argsort(ids, kind="stable")
    is_last = np.ones(len(ids), np.bool_)
    is_last[:-1] = ids[order][1:] != ids[order][:-1]
    rows, is_removed = order[is_last], _joined_masks([(c.is_removed, len(c.ids)) for c in contents], False)
    if is_removed is not None and not keeps_removals:
        rows, is_removed = rows[~is_removed[rows]], None
    columns = {name: _joined([content.values[name] for content in contents], rows) for name in contents[0].values}
    joined = (np.concatenate(arrays) for arrays in zip(*(content.places for content in contents), strict=True))
    places = Places(*(array[rows].astype(np.int64, copy=False) for array in joined))
    return Content(ids[rows], None if is_removed is None else is_removed[rows], places, columns)


def _joined_masks(masks: Sequence[tuple[Mask | None, int]], filler: bool) -> Mask | None:
    if all(mask is None for mask, _ in masks):
        return None
    return np.concatenate([np.full(size, filler) if mask is None else mask for mask, size in masks])


def _joined(pieces: Sequence[Values], rows: Rows) -> Values:
    """Return rows of columns put one behind the other."""
    is_known = _joined_masks([(values.is_known, len(values.array)) for values in pieces], True)
    is_known = None if is_known is None else is_known[rows]
    if pieces[0].texts is None:
        return Values(np.concatenate([values.array for values in pieces])[rows], is_known)
    texts, codes = coded([text for values in pieces for text in values.texts or ()])
    return Values(*_used(np.concatenate(list(_translated(pieces, codes)))[rows], texts, is_known))


def _used(codes: NDArray[np.int64], texts: list[str], is_known: Mask | None) -> tuple[Any, Mask | None, list[str]]:
    """Return codes of no more texts than they name."""
    is_used = np.zeros(len(texts), np.bool_)
    if len(texts):
        is_used[codes] = True
    if is_used.all():
        return codes, is_known, texts
    return (np.cumsum(is_used) - 1)[codes], is_known, list(compress(texts, is_used.tolist()))


def _translated(pieces: Sequence[Values], codes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Give the codes of each column among the texts of all."""
    start = 0
    for values in pieces:
        mine = codes[start : start + len(values.texts or ())]
        yield mine[values.array] if len(mine) else np.zeros(len(values.array), np.int64)
        start += len(mine)


Loader = Callable[[str], StoredColumn]


class LazyColumns(dict[str, StoredColumn]):
    """Columns that are made when they are first asked for."""

    def __init__(self, load: Loader) -> None:
        super().__init__()
        self._load = load

    def __missing__(self, name: str) -> StoredColumn:
        column = self[name] = self._load(name)
        return column
