"""The kinds of values that a field can hold, and their forms: in Python, in JSON, in a comparison.

A value has one exact form inside (int, float or str), so that a document and a column give the same answers.
What a kind cannot hold counts as None when it stands in a document.
"""

from __future__ import annotations

import math
import os
import re
from abc import ABC, abstractmethod
from enum import Enum, IntEnum
from types import NoneType
from typing import Any, ClassVar

import numpy as np

from bufcache.errors import InvalidArgumentError
from bufcache.names import nearest

Scalar = int | float | str


class Kind(ABC):
    """What a field can hold."""

    @abstractmethod
    def load(self, stored: object) -> Any:
        """Return the value that stands in a document, None where it is none of this kind."""

    _plain: ClassVar[type | None] = None
    """The type of what stands in nearly all documents; `load` gives it as it is where `_are_held` says so."""

    def load_all(self, stored: list[Any]) -> list[Any]:
        """Return what `load` gives for each of many."""
        types = set(map(type, stored)) - {NoneType}
        if not types or (types == {self._plain} and self._are_held([each for each in stored if each is not None])):
            return stored
        return list(map(self.load, stored))

    def _are_held(self, plain: list[Any]) -> bool:
        """Tell whether all of some values of the plain type are held as they are."""
        return True

    @abstractmethod
    def dump(self, value: Any) -> Scalar | None:
        """Return a value as it is stored in a document; TypeError where the kind cannot hold it."""

    def restore(self, value: Any) -> Scalar | None:
        """Return how a value stands in a document of which it was loaded, also one that `dump` refuses."""
        return self.dump(value)

    @abstractmethod
    def operand(self, value: Any) -> Scalar:
        """Return what a query compares with; TypeError where the kind could never hold it."""

    def present(self, value: Any) -> Any:
        """Return a loaded value as users see it."""
        return value


class Integer(Kind):
    """Whole numbers of 64 bits, signed or unsigned."""

    _plain: ClassVar[type | None] = int

    def __init__(self, *, signed: bool = True) -> None:
        self.dtype = np.dtype(np.int64 if signed else np.uint64)
        limits = np.iinfo(self.dtype)
        self.low, self.high = int(limits.min), int(limits.max)

    def load(self, stored: object) -> int | None:
        return stored if type(stored) is int and self.low <= stored <= self.high else None

    def _are_held(self, plain: list[int]) -> bool:
        return self.low <= min(plain) and max(plain) <= self.high

    def dump(self, value: Any) -> int:
        number = _number(value)
        if not isinstance(number, int) or not self.low <= number <= self.high:
            raise TypeError(f"expected an integer from {self.low} to {self.high}, got {value!r}")
        return number

    def operand(self, value: Any) -> Scalar:
        return _number(value)


class Boolean(Integer):
    """True and False; 1 and 0 in a comparison."""

    _plain = None

    def load(self, stored: object) -> int | None:
        return int(stored) if isinstance(stored, bool) else None

    def dump(self, value: Any) -> bool:
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"expected True or False, got {_typed(value)}")
        return bool(value)

    def present(self, value: Any) -> bool:
        return bool(value)


class Float(Kind):
    """Numbers of double precision; one that is not finite is not known."""

    _plain: ClassVar[type | None] = float
    dtype = np.dtype(np.float64)

    def load(self, stored: object) -> float | None:
        if type(stored) is float:
            return stored if math.isfinite(stored) else None
        return float(stored) if type(stored) is int and _is_exact(stored) else None

    def _are_held(self, plain: list[Any]) -> bool:
        return math.isfinite(sum(plain))

    def dump(self, value: Any) -> Scalar | None:
        number = _number(value)
        if isinstance(number, int) and not _is_exact(number):
            raise TypeError(f"expected a number of double precision, got {value!r}")
        return float(number) if math.isfinite(number) else None

    def operand(self, value: Any) -> Scalar:
        return _number(value)


class Number(Float):
    """As `Float`, but whole numbers are ints."""

    _plain: ClassVar[type | None] = int

    def load(self, stored: object) -> Any:
        return _whole(super().load(stored))

    def _are_held(self, plain: list[Any]) -> bool:
        return bool(min(plain) > -_EXACT and max(plain) < _EXACT)

    def dump(self, value: Any) -> Any:
        return _whole(super().dump(value))

    def present(self, value: Any) -> Any:
        return _whole(value)


class Text(Kind):
    """Text, any Unicode."""

    _plain = str

    def load(self, stored: object) -> str | None:
        return stored if isinstance(stored, str) else None

    def dump(self, value: Any) -> str:
        text = self.operand(value)
        if _SURROGATE.search(text):
            raise TypeError(f"expected text that UTF-8 can hold, got {value!r}")
        return text

    def operand(self, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError(f"expected text, got {_typed(value)}")
        return str(value)


class PathText(Text):
    """File names and folders.

    A name on disk may hold bytes that are not UTF-8; Python shows them as lone surrogates, which JSON cannot hold.
    In a document each is a NUL and four hex digits: no name can contain a NUL, so that it can be undone.
    """

    def __init__(self, *, has_folder: bool = False) -> None:
        self.has_folder = has_folder

    def load(self, stored: object) -> str | None:
        if not isinstance(stored, str):
            return None
        return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), stored) if "\0" in stored else stored

    def _are_held(self, plain: list[str]) -> bool:
        return "\0" not in "".join(plain)

    def dump(self, value: Any) -> str:
        text = self.operand(value)
        if "\0" in text:
            raise TypeError(f"expected a path, got {value!r} with a NUL")
        return text if text.isascii() else self.restore(text)

    def restore(self, value: str) -> str:
        return _UNFIT.sub(lambda match: f"\0{ord(match[0]):04x}", value)

    def operand(self, value: Any) -> str:
        return super().operand(os.fspath(value) if isinstance(value, os.PathLike) else value)


class Member(Integer):
    """Members of an enumeration; stored as numbers, and a number that it does not know stays one."""

    def __init__(self, enumeration: type[IntEnum]) -> None:
        super().__init__()
        self.enumeration = enumeration
        self._members = {int(member): member for member in enumeration}

    def dump(self, value: Any) -> int:
        return super().dump(self.operand(value))

    def operand(self, value: Any) -> Scalar:
        if isinstance(value, str):
            return self._by_name(value)
        if isinstance(value, Enum) and not isinstance(value, self.enumeration):
            raise TypeError(f"expected a {self.enumeration.__name__}, got {value!r}")
        return _number(value)

    def _by_name(self, name: str) -> int:
        try:
            return int(self.enumeration[name])
        except KeyError:
            hint = nearest(name, self.enumeration.__members__)
            raise InvalidArgumentError(f"{self.enumeration.__name__} has no member {name!r}{hint}") from None

    def present(self, value: Any) -> Any:
        return self._members.get(value, value)


_EXACT = 2**53
"""Below this a float can hold every integer."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNFIT = re.compile("[\0\ud800-\udfff]")
_ESCAPE = re.compile("\0([0-9a-f]{4})")


def _number(value: Any) -> int | float:
    if type(value) is int or type(value) is float:  # the most by far
        return value
    if isinstance(value, (int, np.integer, np.bool_)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value)
    raise TypeError(f"expected a number, got {_typed(value)}")


def _is_exact(number: int) -> bool:
    """Tell whether a float can hold the integer exactly."""
    try:
        return int(float(number)) == number
    except OverflowError:
        return False


def _whole(number: Any) -> Any:
    """Return a whole number as an int where a float is exact; larger ones stay what they are, an estimate."""
    return int(number) if isinstance(number, float) and number.is_integer() and abs(number) < _EXACT else number


def _typed(value: object) -> str:
    return f"{value!r} ({type(value).__name__})"
