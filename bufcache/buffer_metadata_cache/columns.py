"""The column index: the fields of many documents as arrays. Evaluates predicates and sorts.

Gives what `Predicate.evaluate` gives document by document.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bufcache.buffer_metadata_cache import paths
from bufcache.buffer_metadata_cache.kinds import Float, Integer, Kind, Scalar
from bufcache.buffer_metadata_cache.query import (
    OPERATORS,
    AllOf,
    AnyOf,
    Compare,
    Field,
    In,
    IsNone,
    JoinedPath,
    Match,
    Not,
    Order,
    Predicate,
)

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]


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


class Column(ABC):
    """The values of one field; row by row, with a mask of those that are known."""

    @property
    @abstractmethod
    def known(self) -> Mask:
        """The rows that have a value."""

    @abstractmethod
    def compare(self, symbol: str, value: Any) -> Mask:
        """Return the rows for which the comparison holds; what it says of rows without a value is meaningless."""

    @abstractmethod
    def isin(self, values: Collection[Any]) -> Mask:
        """Return the rows that have one of the values."""

    @abstractmethod
    def matches(self, test: Callable[[str], bool]) -> Mask:
        """Return the rows whose text passes a test."""

    @abstractmethod
    def ranks(self, rows: Rows) -> NDArray[Any]:
        """Return numbers that sort the rows as their values do."""

    @abstractmethod
    def take(self, rows: Rows) -> list[Any]:
        """Return the values of rows as users see them."""


class StoredColumn(Column):
    """A column of its own array, which grows in place."""

    def __init__(self, kind: Kind, dtype: np.dtype[Any]) -> None:
        self._kind = kind
        self._size = 0
        self._array = np.zeros(0, dtype)
        self._known = np.zeros(0, np.bool_)

    @property
    def known(self) -> Mask:
        return self._known[: self._size]

    @property
    def array(self) -> NDArray[Any]:
        """What is stored for each row."""
        return self._array[: self._size]

    def put(self, rows: Rows, values: Sequence[Any], size: int) -> None:
        """Write values, None where there are none, into rows of a column of that size."""
        self._array, self._known = grown(self._array, size), grown(self._known, size)
        self._size = size
        self._known[rows] = [value is not None for value in values]
        self._array[rows] = self._encode(values)

    @abstractmethod
    def _encode(self, values: Sequence[Any]) -> NDArray[Any]:
        """Return what is stored for the values."""


class NumberColumn(StoredColumn):
    """Integers or floats, exact."""

    def __init__(self, kind: Integer | Float) -> None:
        super().__init__(kind, kind.dtype)

    def _encode(self, values: Sequence[Any]) -> NDArray[Any]:
        return np.array([0 if value is None else value for value in values], self._array.dtype)

    def compare(self, symbol: str, value: Any) -> Mask:
        fitted = fit(symbol, value, self._array.dtype)
        if isinstance(fitted, bool):
            return np.full(self._size, fitted)
        mask: Mask = OPERATORS[fitted[0]](self.array, fitted[1])
        return mask

    def isin(self, values: Collection[Any]) -> Mask:
        fitted = [fit("==", value, self._array.dtype) for value in values]
        wanted = [pair[1] for pair in fitted if not isinstance(pair, bool)]
        return np.isin(self.array, np.array(wanted, self._array.dtype))

    def matches(self, test: Callable[[str], bool]) -> Mask:
        return np.zeros(self._size, np.bool_)

    def ranks(self, rows: Rows) -> NDArray[Any]:
        return self.array[rows]

    def take(self, rows: Rows) -> list[Any]:
        values: list[Any] = self.array[rows].tolist()
        if type(self._kind).present is not Kind.present:
            values = list(map(self._kind.present, values))
        known = self.known[rows]
        if known.all():
            return values
        return [value if is_known else None for value, is_known in zip(values, known.tolist(), strict=True)]


class TextColumn(StoredColumn):
    """Texts as codes into the list of the different ones."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind, np.dtype(np.intp))
        self._texts: list[str] = []
        self._codes: dict[str, int] = {}
        self._ranks = np.zeros(0, np.intp)

    def _encode(self, values: Sequence[Any]) -> NDArray[Any]:
        return np.array([0 if value is None else self._code(value) for value in values], np.intp)

    def _code(self, text: str) -> int:
        code = self._codes.setdefault(text, len(self._texts))
        if code == len(self._texts):
            self._texts.append(text)
        return code

    def compare(self, symbol: str, value: Any) -> Mask:
        if symbol in ("==", "!="):
            mask: Mask = OPERATORS[symbol](self.array, self._codes.get(value, -1))
            return mask
        holds = OPERATORS[symbol]
        return self.matches(lambda text: holds(text, value))

    def isin(self, values: Collection[Any]) -> Mask:
        return np.isin(self.array, [self._codes[text] for text in values if text in self._codes])

    def matches(self, test: Callable[[str], bool]) -> Mask:
        passed = np.fromiter(map(test, self._texts), np.bool_, len(self._texts))
        return passed[self.array] if len(passed) else np.zeros(self._size, np.bool_)

    def ranks(self, rows: Rows) -> NDArray[Any]:
        if len(self._ranks) != len(self._texts):
            self._ranks = np.empty(len(self._texts), np.intp)
            self._ranks[sorted(range(len(self._texts)), key=self._texts.__getitem__)] = np.arange(len(self._texts))
        return self._ranks[self.array[rows]] if len(self._ranks) else self.array[rows]

    def take(self, rows: Rows) -> list[Any]:
        texts, known = self._texts, self.known[rows]
        codes = self.array[rows].tolist()
        if known.all():
            return [texts[code] for code in codes]
        return [texts[code] if is_known else None for code, is_known in zip(codes, known.tolist(), strict=True)]


class PathColumn(Column):
    """Paths joined from a column of folders and one of names."""

    def __init__(self, folders: Column, names: Column) -> None:
        self._folders, self._names = folders, names

    @property
    def known(self) -> Mask:
        return self._folders.known & self._names.known

    def compare(self, symbol: str, value: Any) -> Mask:
        if symbol == "==":
            return self.isin({value})
        if symbol == "!=":
            return ~self.isin({value})
        holds = OPERATORS[symbol]
        return self.matches(lambda path: holds(path, value))

    def isin(self, values: Collection[Any]) -> Mask:
        # Only rows with one of the names are looked at.
        names = {value[place + 1 :] for value in values for place, mark in enumerate(value) if mark in "/\\"}
        mask = self._names.isin(names) & self.known
        rows = np.flatnonzero(mask)
        mask[rows] = [path in values for path in self.take(rows)]
        return mask

    def matches(self, test: Callable[[str], bool]) -> Mask:
        mask = self.known
        rows = np.flatnonzero(mask)
        mask[rows] = [test(path) for path in self.take(rows)]
        return mask

    def ranks(self, rows: Rows) -> NDArray[Any]:
        paths = [path or "" for path in self.take(rows)]
        ranks = {path: rank for rank, path in enumerate(sorted(set(paths)))}
        return np.array([ranks[path] for path in paths], np.intp)

    def take(self, rows: Rows) -> list[Any]:
        folders, names = self._folders.take(rows), self._names.take(rows)
        starts = {folder: paths.start(folder) for folder in set(folders) if folder is not None}
        if self.known[rows].all():
            return [starts[folder] + name for folder, name in zip(folders, names, strict=True)]
        return [
            None if folder is None or name is None else starts[folder] + name
            for folder, name in zip(folders, names, strict=True)
        ]


class Columns:
    """The documents of one table: where each stands in the log, and the values of its fields."""

    def __init__(self, fields: Mapping[str, Field[Any]]) -> None:
        self._fields = fields
        self._stored = {
            name: _column(field.kind) for name, field in fields.items() if not isinstance(field, JoinedPath)
        }
        self._columns: dict[str, Column] = {**self._stored, **self._joined()}
        self._size = 0
        self._ids = np.zeros(0, np.int64)
        self._places = np.zeros((0, 3), np.int64)
        self._is_live = np.zeros(0, np.bool_)
        self._row_of: dict[int, int] = {}
        self._is_in_order = True
        self._last_id = 0
        self.largest_id = 0

    def _joined(self) -> dict[str, Column]:
        joined: dict[str, Column] = {}
        for name, field in self._fields.items():
            if isinstance(field, JoinedPath):
                joined[name] = PathColumn(self._stored[field.folder.name], self._stored[field.filename.name])
        return joined

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, id: object) -> bool:
        return id in self._row_of

    @property
    def rows(self) -> Rows:
        """The rows of all documents, in order of their ids."""
        return self._in_order(np.flatnonzero(self._is_live[: self._size]))

    @property
    def ids(self) -> list[int]:
        """The ids of all documents, in order."""
        return self.ids_of(self.rows)

    @property
    def places(self) -> NDArray[np.int64]:
        """Where the documents stand in the log, in order of their ids."""
        return self._places[self.rows]

    def place(self, id: int) -> Place:
        """Return where a document stands in the log; KeyError where there is none."""
        return Place(*self._places[self._row_of[id]].tolist())

    # -- changing ---------------------------------------------------------------------------------------------------

    def apply(self, changes: Iterable[Change]) -> None:
        """Take over the changes of a commit; the last one of a document counts."""
        latest = {change.id: change for change in changes}
        self.largest_id = max(self.largest_id, *latest, 0)
        written = [change for change in latest.values() if change.document is not None]
        for id in latest.keys() - {change.id for change in written}:
            row = self._row_of.pop(id, None)
            if row is not None:
                self._is_live[row] = False
        if written:
            self._write(written)

    def _write(self, changes: Sequence[Change]) -> None:
        rows = np.array([self._row(change.id) for change in changes], np.intp)
        self._ids = grown(self._ids, self._size)
        self._places = grown(self._places, self._size)
        self._is_live = grown(self._is_live, self._size)
        self._ids[rows] = [change.id for change in changes]
        self._places[rows] = [change.place for change in changes]
        self._is_live[rows] = True
        for name, column in self._stored.items():
            of = self._fields[name].of
            column.put(rows, [of(change.document) for change in changes if change.document is not None], self._size)

    def _row(self, id: int) -> int:
        """Return the row of a document, a new one for a new document."""
        row = self._row_of.get(id)
        if row is None:
            row = self._row_of[id] = self._size
            self._is_in_order = self._is_in_order and (self._size == 0 or id > self._last_id)
            self._last_id = id
            self._size += 1
        return row

    # -- asking -----------------------------------------------------------------------------------------------------

    def column(self, field: Field[Any]) -> Column:
        """Return the column of a field; TypeError where it is a field of other documents."""
        if self._fields.get(field.name) is not field:
            raise TypeError(f"{field!r} is no field of these documents")
        return self._columns[field.name]

    def match(self, predicate: Predicate) -> Rows:
        """Return the rows that the predicate is true of, in order of their ids."""
        return self._in_order(np.flatnonzero(self._where(predicate, True) & self._is_live[: self._size]))

    def _in_order(self, rows: Rows) -> Rows:
        return rows if self._is_in_order else rows[np.argsort(self._ids[rows], kind="stable")]

    def ids_of(self, rows: Rows) -> list[int]:
        """Return the ids of rows."""
        ids: list[int] = self._ids[rows].tolist()
        return ids

    def sort(self, rows: Rows, order: Sequence[Order]) -> Rows:
        """Return the rows in an order; rows that are equal in it keep theirs."""
        keys: list[NDArray[Any]] = []
        for key in reversed(order):
            column = self.column(key.field)
            known = column.known[rows]
            ranks = column.ranks(rows)  # one and the same for all rows without a value
            keys.append(_reversed(ranks) if key.is_descending else ranks)
            if not known.all():
                keys.append(known if key.puts_none_first else ~known)
        return rows[np.lexsort(keys)] if keys else rows

    def take(self, rows: Rows, fields: Iterable[Field[Any]]) -> list[list[Any]]:
        """Return the values of rows, a list for each field."""
        return [self.column(field).take(rows) for field in fields]

    def _where(self, predicate: Predicate, wanted: bool) -> Mask:
        """Return the rows that the predicate is true of, or those that it is false of; unknown ones are in neither."""
        match predicate:
            case Not(part=part):
                return self._where(part, not wanted)
            case AllOf(parts=parts):
                return self._combined(parts, wanted, np.logical_and if wanted else np.logical_or)
            case AnyOf(parts=parts):
                return self._combined(parts, wanted, np.logical_or if wanted else np.logical_and)
        return self._where_leaf(predicate, wanted)

    def _combined(self, parts: Sequence[Predicate], wanted: bool, combine: np.ufunc) -> Mask:
        mask = np.full(self._size, combine is np.logical_and)
        for part in parts:
            combine(mask, self._where(part, wanted), out=mask)
        return mask

    def _where_leaf(self, predicate: Predicate, wanted: bool) -> Mask:
        match predicate:
            case IsNone(field=field):
                known = self.column(field).known
                return ~known if wanted else known.copy()
            case Compare(value=None):
                return np.zeros(self._size, np.bool_)
            case Compare(field=field, symbol=symbol, value=value):
                column = self.column(field)
                return self._known(column, column.compare(symbol, value), wanted)
            case In(field=field, values=values, has_none=has_none):
                return self._where_in(self.column(field), values, has_none, wanted)
            case Match(field=field):
                column = self.column(field)
                return self._known(column, column.matches(predicate.tester()), wanted)
        raise TypeError(f"expected a predicate over fields, got {predicate!r}")

    def _where_in(self, column: Column, values: Collection[Scalar], has_none: bool, wanted: bool) -> Mask:
        if not values and not has_none:
            return np.full(self._size, not wanted)
        if has_none and not wanted:
            return np.zeros(self._size, np.bool_)
        return self._known(column, column.isin(values), wanted)

    def _known(self, column: Column, holds: Mask, wanted: bool) -> Mask:
        return (holds if wanted else ~holds) & column.known


def grown(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Return the array with room for `size` rows; a new one has twice the room, so that growing stays cheap."""
    if size <= len(array):
        return array
    larger = np.zeros((max(size, 2 * len(array)), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


def fit(symbol: str, value: int | float, dtype: np.dtype[Any]) -> tuple[str, Any] | bool:
    """Return the comparison, exact, with a value of the array's own type; a bool where it holds for all or none."""
    if isinstance(value, float) and math.isnan(value):
        return symbol == "!="
    return _fit_float(symbol, value) if dtype.kind == "f" else _fit_integer(symbol, value, dtype)


def _fit_float(symbol: str, value: int | float) -> tuple[str, Any] | bool:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    if number == value:
        return symbol, number
    if symbol in ("==", "!="):
        return symbol == "!="
    # No float lies between the value and the one that it was rounded to.
    is_rounded_up = number > value
    if symbol in ("<", "<="):
        return ("<" if is_rounded_up else "<="), number
    return (">=" if is_rounded_up else ">"), number


def _fit_integer(symbol: str, value: int | float, dtype: np.dtype[Any]) -> tuple[str, Any] | bool:
    limits = np.iinfo(dtype)
    if value < limits.min:
        return symbol in (">", ">=", "!=")
    if value > limits.max:
        return symbol in ("<", "<=", "!=")
    if value == int(value):
        return symbol, dtype.type(int(value))
    if symbol in ("==", "!="):
        return symbol == "!="
    if symbol in ("<", "<="):
        return "<=", dtype.type(math.floor(value))
    return ">=", dtype.type(math.ceil(value))


def _column(kind: Kind) -> StoredColumn:
    return NumberColumn(kind) if isinstance(kind, (Integer, Float)) else TextColumn(kind)


def _reversed(ranks: NDArray[Any]) -> NDArray[Any]:
    """Return ranks in the opposite order; an integer's complement cannot overflow as its negative can."""
    return -ranks if ranks.dtype.kind == "f" else ~ranks
