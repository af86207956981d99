"""Columns: one field of many documents as an array, which answers comparisons for all rows or for some of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bufcache.buffer_metadata_cache import paths
from bufcache.buffer_metadata_cache.kinds import Kind
from bufcache.buffer_metadata_cache.query import OPERATORS
from bufcache.buffer_metadata_cache.texts import Texts

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]


_FEW_MORE = 16
"""Texts a row up to which it is quicker to look at all of them than to sort what rows have."""


class DamagedPartError(Exception):
    """A file of columns is not what was written; the log has what it should say."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name


class Source(ABC):
    """Where an array comes from: memory, or a file that is looked at when it is needed."""

    @abstractmethod
    def all(self) -> NDArray[Any]:
        """Return the whole array."""

    @abstractmethod
    def at(self, rows: Rows) -> NDArray[Any]:
        """Return its values at rows."""

    def of(self, rows: Rows | None) -> NDArray[Any]:
        """Return the whole array, or its values at rows."""
        return self.all() if rows is None else self.at(rows)


class Held(Source):
    """An array in memory."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def all(self) -> NDArray[Any]:
        return self.array

    def at(self, rows: Rows) -> NDArray[Any]:
        return self.array[rows]


class Column(ABC):
    """The values of one field. What is asked of `rows` is answered for each of them, for None of all rows."""

    @abstractmethod
    def known(self, rows: Rows | None) -> Mask:
        """Return which rows have a value."""

    def only_known(self, mask: Mask, rows: Rows | None) -> Mask:
        """Return the mask without the rows that have no value."""
        return mask & self.known(rows)

    @abstractmethod
    def compare(self, symbol: str, value: Any, rows: Rows | None) -> Mask:
        """Return for which rows the comparison holds; what it says of rows without a value is meaningless."""

    def may_hold(self, symbol: str, value: Any) -> bool:
        """Tell whether a comparison may hold for any row, without looking at any."""
        return True

    @abstractmethod
    def isin(self, values: Collection[Any], rows: Rows | None) -> Mask:
        """Return which rows have one of the values."""

    @abstractmethod
    def matches(self, test: Callable[[str], bool], rows: Rows | None) -> Mask:
        """Return the rows whose text passes a test."""

    @abstractmethod
    def take(self, rows: Rows) -> list[Any]:
        """Return the values of rows as users see them."""

    def counts(self, rows: Rows) -> Counter[Any]:
        """Return how many of the rows have each value."""
        return Counter(self.take(rows))

    def ranks(self, rows: Rows) -> NDArray[Any] | None:
        """Return numbers that sort rows as their values do, in all columns of the field; None where there are none."""
        return None

    def different(self, rows: Rows) -> tuple[list[str], NDArray[np.intp]]:
        """Return texts, and the place of each row's among them; any for a row without one."""
        return [text or "" for text in self.take(rows)], np.arange(len(rows))


class StoredColumn(Column):
    """A column of an array of its own.

    Parameters
    ----------
    kind
        What the field can hold.
    values
        What is stored for each row.
    is_known
        Which rows have a value; None where all have.
    """

    def __init__(self, kind: Kind, values: Source, is_known: Source | None) -> None:
        self.kind = kind
        self.values = values
        self.is_known = is_known

    def known(self, rows: Rows | None) -> Mask:
        if self.is_known is not None:
            return self.is_known.of(rows)
        return np.ones(self._size(rows), np.bool_)

    def only_known(self, mask: Mask, rows: Rows | None) -> Mask:
        return mask if self.is_known is None else mask & self.is_known.of(rows)

    def _size(self, rows: Rows | None) -> int:
        return len(self.values.all() if rows is None else rows)

    def counts(self, rows: Rows) -> Counter[Any]:
        known = self.known(rows)
        stored, numbers = np.unique(self.values.at(rows[known]), return_counts=True)
        counts = Counter(dict(zip(self._as_seen(stored), numbers.tolist(), strict=True)))
        if len(rows) > counts.total():
            counts[None] = len(rows) - counts.total()
        return counts

    @abstractmethod
    def _as_seen(self, stored: NDArray[Any]) -> list[Any]:
        """Return stored values as users see them."""

    def take(self, rows: Rows) -> list[Any]:
        return self._with_none(self._as_seen(self.values.at(rows)), rows)

    def _with_none(self, values: list[Any], rows: Rows) -> list[Any]:
        """Return the values, None in the place of those that are not known."""
        if self.is_known is None:
            return values
        known = self.is_known.at(rows)
        if known.all():
            return values
        return [value if is_known else None for value, is_known in zip(values, known.tolist(), strict=True)]


class NumberColumn(StoredColumn):
    """Integers or floats, exact.

    Parameters
    ----------
    limits
        The smallest and the largest value, where they are known: what lies beyond need not be looked for.
    """

    def __init__(
        self, kind: Kind, values: Source, is_known: Source | None, limits: tuple[int, int] | None = None
    ) -> None:
        super().__init__(kind, values, is_known)
        self._limits = limits

    def may_hold(self, symbol: str, value: Any) -> bool:
        if self._limits is None:
            return True
        dtype = np.dtype(np.int64 if self._limits[0] < 0 else np.uint64)
        return fit(symbol, value, dtype, self._limits) is not False

    def compare(self, symbol: str, value: Any, rows: Rows | None) -> Mask:
        array = self.values.of(rows)
        fitted = fit(symbol, value, array.dtype, self._limits)
        if isinstance(fitted, bool):
            return np.full(len(array), fitted)
        mask: Mask = OPERATORS[fitted[0]](array, fitted[1])
        return mask

    def isin(self, values: Collection[Any], rows: Rows | None) -> Mask:
        array = self.values.of(rows)
        fitted = [fit("==", value, array.dtype, self._limits) for value in values]
        wanted = [pair[1] for pair in fitted if not isinstance(pair, bool)]
        return np.isin(array, np.array(wanted, array.dtype))

    def matches(self, test: Callable[[str], bool], rows: Rows | None) -> Mask:
        return np.zeros(self._size(rows), np.bool_)

    def ranks(self, rows: Rows) -> NDArray[Any]:
        return self.values.at(rows)

    def _as_seen(self, stored: NDArray[Any]) -> list[Any]:
        values: list[Any] = stored.tolist()
        if type(self.kind).present is not Kind.present:
            shown = {value: self.kind.present(value) for value in set(values)}  # most columns have few different ones
            values = list(map(shown.__getitem__, values))
        return values


class TextColumn(StoredColumn):
    """Texts as codes into the different ones."""

    def __init__(self, kind: Kind, codes: Source, is_known: Source | None, texts: Texts) -> None:
        super().__init__(kind, codes, is_known)
        self.texts = texts

    def compare(self, symbol: str, value: Any, rows: Rows | None) -> Mask:
        if symbol in ("==", "!="):
            code = self.texts.code(value)
            if code < 0:
                return np.full(self._size(rows), symbol == "!=")
            mask: Mask = OPERATORS[symbol](self.values.of(rows), code)
            return mask
        holds = OPERATORS[symbol]
        return self.matches(lambda text: holds(text, value), rows)

    def isin(self, values: Collection[Any], rows: Rows | None) -> Mask:
        codes = [code for value in values if (code := self.texts.code(value)) >= 0]
        return np.isin(self.values.of(rows), codes) if codes else np.zeros(self._size(rows), np.bool_)

    def matches(self, test: Callable[[str], bool], rows: Rows | None) -> Mask:
        codes = self.values.of(rows)
        if rows is not None and len(rows) < len(self.texts):
            return np.fromiter(map(test, self.texts.take(codes)), np.bool_, len(rows))
        passed = np.fromiter(map(test, self.texts.all()), np.bool_, len(self.texts))
        return passed[codes] if len(passed) else np.zeros(len(codes), np.bool_)

    def different(self, rows: Rows) -> tuple[list[str], NDArray[np.intp]]:
        if not len(self.texts):
            return [""], np.zeros(len(rows), np.intp)
        codes = self.values.at(rows)
        if len(self.texts) > _FEW_MORE * len(rows):
            found, places = np.unique(codes, return_inverse=True)
            return self.texts.take(found), places
        is_found = np.zeros(len(self.texts), np.bool_)
        is_found[codes] = True
        return self.texts.take(np.flatnonzero(is_found)), (np.cumsum(is_found) - 1)[codes]

    def _as_seen(self, stored: NDArray[Any]) -> list[Any]:
        return self.texts.take(stored) if len(self.texts) else [None] * len(stored)


class PathColumn(Column):
    """Paths joined from a column of folders and one of names."""

    def __init__(self, folders: Column, names: Column) -> None:
        self._folders, self._names = folders, names

    def known(self, rows: Rows | None) -> Mask:
        return self._folders.known(rows) & self._names.known(rows)

    def compare(self, symbol: str, value: Any, rows: Rows | None) -> Mask:
        if symbol == "==":
            return self.isin({value}, rows)
        if symbol == "!=":
            return ~self.isin({value}, rows)
        holds = OPERATORS[symbol]
        return self.matches(lambda path: holds(path, value), rows)

    def isin(self, values: Collection[Any], rows: Rows | None) -> Mask:
        # Only rows with one of the names are looked at.
        names = {value[place + 1 :] for value in values for place, mark in enumerate(value) if mark in "/\\"}
        return self._passing(lambda path: path in values, self._names.isin(names, rows) & self.known(rows), rows)

    def matches(self, test: Callable[[str], bool], rows: Rows | None) -> Mask:
        return self._passing(test, self.known(rows), rows)

    def _passing(self, test: Callable[[str], bool], candidates: Mask, rows: Rows | None) -> Mask:
        places = np.flatnonzero(candidates)
        candidates[places] = [test(path) for path in self.take(places if rows is None else rows[places])]
        return candidates

    def take(self, rows: Rows) -> list[Any]:
        folders, names = self._folders.take(rows), self._names.take(rows)
        starts = {folder: paths.start(folder) for folder in set(folders) if folder is not None}
        try:
            return list(map(add, map(starts.__getitem__, folders), names))
        except (KeyError, TypeError):  # a None among them
            return [
                None if folder is None or name is None else starts[folder] + name
                for folder, name in zip(folders, names, strict=True)
            ]


def fit(
    symbol: str, value: int | float, dtype: np.dtype[Any], limits: tuple[int, int] | None = None
) -> tuple[str, Any] | bool:
    """Return the comparison, exact, with a value of the array's own type; a bool where it holds for all or none.

    Parameters
    ----------
    limits
        The smallest and the largest integer in the array, where they are known.
    """
    if isinstance(value, float) and math.isnan(value):
        return symbol == "!="
    if dtype.kind == "f":
        return _fit_float(symbol, value)
    return _fit_integer(symbol, value, dtype, limits or (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)))


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


def _fit_integer(
    symbol: str, value: int | float, dtype: np.dtype[Any], limits: tuple[int, int]
) -> tuple[str, Any] | bool:
    if value < limits[0]:
        return symbol in (">", ">=", "!=")
    if value > limits[1]:
        return symbol in ("<", "<=", "!=")
    if value == int(value):
        return symbol, dtype.type(int(value))
    if symbol in ("==", "!="):
        return symbol == "!="
    if symbol in ("<", "<="):
        return "<=", dtype.type(math.floor(value))
    return ">=", dtype.type(math.ceil(value))
