"""The index of a table: its documents in columns. Evaluates predicates and sorts, without looking at a document.

Gives what `Predicate.evaluate` gives document by document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from operator import ne
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from bufcache.buffer_metadata_cache.columns import Column, DamagedPartError, Mask, Rows, TextColumn
from bufcache.buffer_metadata_cache.parts import Change, Ids, Part, Place, RowSet, Tail
from bufcache.buffer_metadata_cache.query import (
    AllOf,
    AnyOf,
    Compare,
    Field,
    In,
    IsNone,
    Match,
    Not,
    Order,
    Predicate,
)
from bufcache.buffer_metadata_cache.texts import Texts

_ONE_IN = 8
"""One in how many candidates may be left for only those to be looked at further."""

_RANKED_TEXTS = 200_000
"""Texts of a field in all parts up to which their order is kept for the next time."""

_ONE_IN_TEXTS = 4
"""One in how many of them has to be asked for, at least, to be worth it."""


R = TypeVar("R")
P = ParamSpec("P")


def _mending(method: Callable[Concatenate[Index, P], R]) -> Callable[Concatenate[Index, P], R]:
    """Make a method begin anew where a part turned out to be damaged and was mended."""

    @wraps(method)
    def call(self: Index, /, *arguments: P.args, **options: P.kwargs) -> R:
        while True:
            try:
                return method(self, *arguments, **options)
            except DamagedPartError as damage:
                self.mend(damage)

    return call


def _reraise(damage: DamagedPartError) -> None:
    raise damage


class _Group(NamedTuple):
    """Rows that lie in one part: which of its rows, and where among all those asked for; None where they are all."""

    part: RowSet
    rows: Rows
    places: Rows | None


class Index:
    """The documents of one table: where each stands in the log, and the values of its fields.

    Rows are numbered through all parts, and through the tail behind them.

    Parameters
    ----------
    fields
        The fields of the documents.
    largest_id
        The largest id that any document has had so far.
    mend
        What puts a sound part in the place of one that turns out to be damaged.
    """

    def __init__(
        self, fields: Mapping[str, Field[Any]], largest_id: int = 0, mend: Callable[[DamagedPartError], None] = _reraise
    ) -> None:
        self.fields = fields
        self.parts: list[Part] = []
        self.tail = Tail(fields)
        self.largest_id = largest_id
        self.mend = mend
        self._ranked: dict[str, dict[RowSet, NDArray[np.intp]]] = {}  # by field and part
        self.changes = 0
        """How often what the log says was taken over: nothing else changes a document."""

    # -- changing ---------------------------------------------------------------------------------------------------

    @_mending
    def add(self, part: Part) -> None:
        """Put a part behind the others; what it says of a document counts. The tail has to be empty."""
        self.changes += 1
        self.largest_id = max(self.largest_id, part.span[1])
        for older in self.parts:
            _hide(older, part)
        self.parts.append(part)
        self._ranked.clear()

    @_mending
    def apply(self, changes: Iterable[Change]) -> None:
        """Take over the changes of a commit; the last one of a document counts."""
        self.changes += 1
        latest = {change.id: change for change in changes}
        self.largest_id = max(self.largest_id, *latest, 0)
        if self.parts:
            ids = np.array(sorted(latest), np.int64)
            for part in self.parts:
                part.kill(part.rows_of(ids))
        self.tail.put(list(latest.values()))

    def bury(self, part: Part, place: int) -> None:
        """Make dead in a part what those from a place on, and the tail, have, too."""
        for newer in self.parts[place:]:
            _hide(part, newer)
        part.kill(part.rows_of(np.sort(self.tail.all_ids())))

    def replace(self, start: int, stop: int, part: Part | None) -> None:
        """Put one part, which is buried where it has to be, in the place of some."""
        self.parts[start:stop] = [part] if part else []
        self._ranked.clear()

    def settle(self, part: Part | None) -> None:
        """Put a part, which has what the tail has, in the place of the tail."""
        self.tail = Tail(self.fields)
        self.parts += [part] if part else []
        self._ranked.clear()

    # -- documents --------------------------------------------------------------------------------------------------

    def _all(self) -> list[RowSet]:
        return [*self.parts, self.tail] if self.tail.size or not self.parts else [*self.parts]

    def __len__(self) -> int:
        return self.tail.live_count + sum(part.live_count for part in self.parts)

    @property
    def live_bytes(self) -> int:
        """Bytes of the lines of all documents in the log."""
        return self.tail.live_bytes + sum(part.live_bytes for part in self.parts)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, int) and self._find(id) is not None

    @_mending
    def _find(self, id: int) -> tuple[RowSet, Rows] | None:
        """Return the part and the row of a document."""
        if not -(2**63) <= id < 2**63:
            return None
        if id in self.tail:
            return self._if_live(self.tail, np.array([self.tail.row_of(id)]))
        for part in reversed(self.parts):
            rows = part.rows_of(np.array([id], np.int64))
            if len(rows):
                return self._if_live(part, rows)
        return None

    def _if_live(self, part: RowSet, rows: Rows) -> tuple[RowSet, Rows] | None:
        live = part.live()
        return (part, rows) if live is None or live[rows[0]] else None

    @_mending
    def place(self, id: int) -> Place:
        """Return where a document stands in the log; KeyError where there is none."""
        found = self._find(id)
        if found is None:
            raise KeyError(id)
        part, rows = found
        return Place(*(int(array[0]) for array in part.places_at(rows)))

    @property
    def rows(self) -> Rows:
        """The rows of all documents, in order of their ids."""
        return self._all_rows()

    @_mending
    def _all_rows(self) -> Rows:
        return self._in_order([self._live_rows(part) for part in self._all()])

    @_mending
    def rows_from(self, offset: int) -> Rows:
        """Return the rows of the documents whose lines stand in the log from a place on, in order of their ids."""
        return self._in_order([_live_among(part, np.flatnonzero(part.offsets() >= offset)) for part in self._all()])

    @property
    def ids(self) -> list[int]:
        """The ids of all documents, in order."""
        return self.ids_of(self.rows)

    @_mending
    def rows_of(self, ids: Iterable[int]) -> Rows:
        """Return the rows of those ids that have a document, in order of the ids."""
        wanted = np.array(sorted(ids), np.int64)
        return self._in_order([_live_among(part, part.rows_of(wanted)) for part in self._all()])

    @_mending
    def ids_of(self, rows: Rows) -> list[int]:
        """Return the ids of rows."""
        ids: list[int] = self._ids(rows).tolist()
        return ids

    @_mending
    def places(self, rows: Rows) -> list[NDArray[np.int64]]:
        """Return the offsets, lengths and checksums of the lines of rows."""
        groups = self._groups(rows)
        pieces = zip(*(group.part.places_at(group.rows) for group in groups), strict=True)
        return [_placed(groups, list(arrays)) for arrays in pieces] or [np.zeros(0, np.int64)] * 3

    def _ids(self, rows: Rows) -> Ids:
        groups = self._groups(rows)
        return _placed(groups, [group.part.ids_at(group.rows) for group in groups])

    # -- asking -----------------------------------------------------------------------------------------------------

    @_mending
    def match(self, predicate: Predicate) -> Rows:
        """Return the rows that the predicate is true of, in order of their ids."""
        found: list[Rows] = []
        for part in self._all():
            if not _may_match(part, predicate, True):
                found.append(np.zeros(0, np.intp))
                continue
            mask = _where(part, predicate, True, None)
            live = part.live()
            found.append(np.flatnonzero(mask if live is None else mask & live))
        return self._in_order(found)

    def _live_rows(self, part: RowSet) -> Rows:
        live = part.live()
        return np.arange(part.size) if live is None else np.flatnonzero(live)

    def _in_order(self, found: Sequence[Rows]) -> Rows:
        """Return rows of each part, numbered through all parts, in order of their ids."""
        starts = self._starts()
        rows = np.concatenate([rows + start for rows, start in zip(found, starts, strict=True)])
        if len(rows) < 2 or self._is_in_order():
            return rows
        return rows[np.argsort(self._ids(rows), kind="stable")]

    def _is_in_order(self) -> bool:
        """Tell whether the rows of all parts are in order of their ids; within a part they are."""
        last = -(2**63)
        for part in self.parts:
            if part.span[0] <= last:
                return False
            last = part.span[1]
        ids = self.tail.all_ids()
        return not len(ids) or bool(ids[0] > last and (ids[1:] > ids[:-1]).all())

    def _starts(self) -> list[int]:
        starts = [0]
        for part in self._all()[:-1]:
            starts.append(starts[-1] + part.size)
        return starts

    def _groups(self, rows: Rows) -> list[_Group]:
        """Return rows by the parts that they lie in."""
        parts, starts = self._all(), self._starts()
        if len(parts) == 1:
            return [_Group(parts[0], rows, None)]
        number = np.searchsorted(starts, rows, side="right") - 1
        found = np.flatnonzero(np.bincount(number, minlength=len(parts))).tolist()
        if len(found) == 1:
            return [_Group(parts[found[0]], rows - starts[found[0]], None)]
        places = ((each, np.flatnonzero(number == each)) for each in found)
        return [_Group(parts[each], rows[mine] - starts[each], mine) for each, mine in places]

    @_mending
    def sort(self, rows: Rows, order: Sequence[Order]) -> Rows:
        """Return the rows in an order; rows that are equal in it keep theirs."""
        groups = self._groups(rows)
        keys: list[NDArray[Any]] = []
        for key in reversed(order):
            columns = [group.part.column(key.field) for group in groups]
            known = _placed(groups, [column.known(group.rows) for column, group in zip(columns, groups, strict=True)])
            ranks = self._kept_ranks(groups, columns, key.field.name)
            ranks = _ranks(groups, columns) if ranks is None else ranks
            if not known.all():
                ranks = np.where(known, ranks, ranks.dtype.type(0))  # one and the same for all without a value
            keys.append(_reversed(ranks) if key.is_descending else ranks)
            if not known.all():
                keys.append(known if key.puts_none_first else ~known)
        return rows[np.lexsort(keys)] if keys else rows

    def _kept_ranks(self, groups: Sequence[_Group], columns: Sequence[Column], name: str) -> NDArray[np.intp] | None:
        """Return numbers that sort rows as the texts of a field do, from those of all parts, which are kept.

        None where that is not worth it: for few rows, many texts, one part, and what is newer than the parts.
        """
        asked = [column for column in columns if isinstance(column, TextColumn)]
        if not 1 < len(groups) == len(asked) or groups[-1].part is self.tail:
            return None
        if name not in self._ranked:
            texts = [column.texts for part in self.parts if isinstance(column := part.stored(name), TextColumn)]
            rows = sum(len(group.rows) for group in groups)
            if sum(map(len, texts)) > min(_RANKED_TEXTS, _ONE_IN_TEXTS * rows):
                return None
            self._ranked[name] = dict(zip(self.parts, _ranks_by_part(texts), strict=True))
        pieces = []
        for group, column in zip(groups, asked, strict=True):
            ranks, codes = self._ranked[name][group.part], column.values.at(group.rows)
            pieces.append(ranks[codes] if len(ranks) else np.zeros(len(codes), np.intp))
        return _placed(groups, pieces)

    @_mending
    def take(self, rows: Rows, fields: Iterable[Field[Any]]) -> list[list[Any]]:
        """Return the values of rows, a list for each field."""
        groups = self._groups(rows)
        return [
            _placed_list(groups, [group.part.column(field).take(group.rows) for group in groups]) for field in fields
        ]

    @_mending
    def records(self, rows: Rows, fields: Sequence[Field[Any]]) -> list[tuple[Any, ...]]:
        """Return the values of rows, a tuple for each row."""
        groups = self._groups(rows)
        pieces = [[group.part.column(field).take(group.rows) for field in fields] for group in groups]
        return _placed_list(groups, [list(zip(*lists, strict=True)) for lists in pieces])

    @_mending
    def counts(self, rows: Rows, field: Field[Any]) -> Counter[Any]:
        """Return how many of the rows have each value of a field, None included."""
        counts: Counter[Any] = Counter()
        for group in self._groups(rows):
            counts.update(group.part.column(field).counts(group.rows))
        return counts


def _live_among(part: RowSet, rows: Rows) -> Rows:
    live = part.live() if len(rows) else None
    return rows if live is None else rows[live[rows]]


def _hide(older: Part, newer: Part) -> None:
    """Make dead in an older part what a newer one has, too."""
    if older.span[0] <= newer.span[1] and newer.span[0] <= older.span[1]:
        older.kill(older.rows_of(newer.all_ids().astype(np.int64, copy=False)))


def _placed(groups: Sequence[_Group], pieces: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return what was found in each part in the order of the rows that were asked for."""
    if len(groups) == 1:
        return pieces[0]
    joined = np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
    placed = np.empty_like(joined)
    if groups:
        placed[np.concatenate([group.places for group in groups if group.places is not None])] = joined
    return placed


def _placed_list(groups: Sequence[_Group], lists: Sequence[list[Any]]) -> list[Any]:
    """Return what was found in each part in the order of the rows that were asked for."""
    if len(lists) == 1:
        return lists[0]
    pieces = [np.fromiter(values, object, len(values)) for values in lists]
    placed: list[Any] = _placed(groups, pieces).tolist()
    return placed


def _ranks(groups: Sequence[_Group], columns: Sequence[Column]) -> NDArray[Any]:
    """Return numbers that sort rows as their values do; those of rows without a value are meaningless."""
    if len(columns) == 1 and isinstance(columns[0], TextColumn) and columns[0].texts.is_sorted:
        return columns[0].values.at(groups[0].rows).astype(np.intp, copy=False)
    ranks = [column.ranks(group.rows) for column, group in zip(columns, groups, strict=True)]
    numbers = [piece for piece in ranks if piece is not None]
    if numbers:
        return _placed(groups, numbers)
    texts: list[str] = []
    places = []
    for column, group in zip(columns, groups, strict=True):
        different, among = column.different(group.rows)
        places.append(among + len(texts))
        texts += different
    ranks_of_texts = _text_ranks(texts)
    return _placed(groups, [ranks_of_texts[piece] for piece in places])


def _ranks_by_part(texts: Sequence[Texts]) -> list[NDArray[np.intp]]:
    """Return the ranks of the texts of each part among those of all."""
    joined = [text for each in texts for text in each.all()]
    return np.split(_text_ranks(joined), np.cumsum([len(each) for each in texts])[:-1])


def _text_ranks(texts: Sequence[str]) -> NDArray[np.intp]:
    """Return for each text how many different ones are smaller."""
    order = sorted(range(len(texts)), key=texts.__getitem__)  # quick, as the texts of each part are sorted
    in_order = [texts[place] for place in order]
    is_larger = np.zeros(len(texts), np.bool_)
    is_larger[1:] = np.fromiter(map(ne, in_order[1:], in_order), np.bool_, max(len(texts) - 1, 0))
    ranks = np.empty(len(texts), np.intp)
    ranks[order] = np.cumsum(is_larger)
    return ranks


def _reversed(ranks: NDArray[Any]) -> NDArray[Any]:
    """Return ranks in the opposite order; an integer's complement cannot overflow as its negative can."""
    return -ranks if ranks.dtype.kind == "f" else ~ranks


# -- predicates -------------------------------------------------------------------------------------------------------


def _may_match(part: RowSet, predicate: Predicate, wanted: bool) -> bool:
    """Tell whether a part may have rows for which the predicate is true, or false, by the limits of its columns."""
    match predicate:
        case Not(part=inner):
            return _may_match(part, inner, not wanted)
        case AllOf(parts=inners) | AnyOf(parts=inners):
            holds = all if isinstance(predicate, AllOf) == wanted else any
            return holds(_may_match(part, inner, wanted) for inner in inners)
        case Compare(field=field, symbol=symbol, value=value) if wanted and value is not None:
            return part.column(field).may_hold(symbol, value)
    return True


def _where(part: RowSet, predicate: Predicate, wanted: bool, rows: Rows | None) -> Mask:
    """Tell for which rows the predicate is true, or for which it is false; unknown ones are in neither."""
    match predicate:
        case Not(part=inner):
            return _where(part, inner, not wanted, rows)
        case AllOf(parts=inners):
            return _everywhere(part, inners, True, rows) if wanted else _anywhere(part, inners, False, rows)
        case AnyOf(parts=inners):
            return _anywhere(part, inners, True, rows) if wanted else _everywhere(part, inners, False, rows)
    return _where_leaf(part, predicate, wanted, rows)


def _everywhere(part: RowSet, predicates: Sequence[Predicate], wanted: bool, rows: Rows | None) -> Mask:
    """Tell where all are; those behind the first are asked only of what is left, once that is little."""
    mask = np.ones(_size(part, rows), np.bool_)
    left: Rows | None = None  # where in the mask the candidates stand, once they are few
    for predicate in predicates:
        if left is None:
            mask &= _where(part, predicate, wanted, rows)
            if np.count_nonzero(mask) * _ONE_IN < len(mask):
                left = np.flatnonzero(mask)
        else:
            left = left[_where(part, predicate, wanted, left if rows is None else rows[left])]
    if left is not None:
        mask[:] = False
        mask[left] = True
    return mask


def _anywhere(part: RowSet, predicates: Sequence[Predicate], wanted: bool, rows: Rows | None) -> Mask:
    mask = np.zeros(_size(part, rows), np.bool_)
    for predicate in predicates:
        mask |= _where(part, predicate, wanted, rows)
    return mask


def _where_leaf(part: RowSet, predicate: Predicate, wanted: bool, rows: Rows | None) -> Mask:
    match predicate:
        case IsNone(field=field):
            known = part.column(field).known(rows)
            return ~known if wanted else known.copy()
        case Compare(value=None):
            return np.zeros(_size(part, rows), np.bool_)
        case Compare(field=field, symbol=symbol, value=value):
            column = part.column(field)
            return _known(column, column.compare(symbol, value, rows), wanted, rows)
        case In():
            return _where_in(part, predicate, wanted, rows)
        case Match(field=field):
            column = part.column(field)
            return _known(column, column.matches(predicate.tester(), rows), wanted, rows)
    raise TypeError(f"expected a predicate over fields, got {predicate!r}")


def _where_in(part: RowSet, predicate: In, wanted: bool, rows: Rows | None) -> Mask:
    if not predicate.values and not predicate.has_none:
        return np.full(_size(part, rows), not wanted)
    if predicate.has_none and not wanted:
        return np.zeros(_size(part, rows), np.bool_)
    column = part.column(predicate.field)
    return _known(column, column.isin(predicate.values, rows), wanted, rows)


def _known(column: Column, holds: Mask, wanted: bool, rows: Rows | None) -> Mask:
    return column.only_known(holds if wanted else ~holds, rows)


def _size(part: RowSet, rows: Rows | None) -> int:
    return part.size if rows is None else len(rows)
