"""What is asked: fields, and the predicates built from them. Knows nothing of storage.

A predicate is true, false or unknown for a document, as in SQL: what compares with None is unknown, and only what
is true matches. `Predicate.evaluate` is the reference; `bufcache.buffer_metadata_cache.columns` gives the same
answers for many documents at once.
"""

from __future__ import annotations

import math
import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from bufcache.buffer_metadata_cache import paths, patterns
from bufcache.buffer_metadata_cache.kinds import Kind, PathText, Scalar, Text
from bufcache.errors import InvalidArgumentError

T = TypeVar("T")
Content = Mapping[str, Any]

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class _Comparable:
    """Equal to what says the same: comparing the parts would compare fields, and that builds predicates."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


class Predicate(_Comparable, ABC):
    """A question to a document; combined with ``&``, ``|`` and ``~``. Also a query for TinyDB."""

    __slots__ = ()

    @abstractmethod
    def evaluate(self, document: Content) -> bool | None:
        """Return whether it is true of a document, None where that is unknown."""

    def __call__(self, value: Mapping[Any, Any]) -> bool:
        return self.evaluate(value) is True

    def is_cacheable(self) -> bool:
        """Tell TinyDB that results must not be kept: another process may change the documents."""
        return False

    def __and__(self, other: object) -> Predicate:
        return _combined(AllOf, (self, other)) if isinstance(other, Predicate) else NotImplemented

    def __or__(self, other: object) -> Predicate:
        return _combined(AnyOf, (self, other)) if isinstance(other, Predicate) else NotImplemented

    def __invert__(self) -> Predicate:
        return Not(self)

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self!r} has no truth value: use & | ~ with parentheses instead of 'and', 'or', 'not', "
            "and .between() instead of a chained comparison"
        )


class Field(Generic[T]):
    """A field of the documents: on the class it builds predicates, on an instance it is the value."""

    is_stored = True
    """Whether the documents have it; else it is computed from others."""

    def __init__(self, kind: Kind, meaning: str, default: T | None = None) -> None:
        self.kind = kind
        self.meaning = meaning
        self.default = default
        self.name = ""
        self.owner: type = object

    def __set_name__(self, owner: type, name: str) -> None:
        self.name, self.owner = name, owner

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[type, str]]:
        return getattr, (self.owner, self.name)  # a copy of a predicate asks for the same field

    @overload
    def __get__(self, instance: None, owner: type) -> Field[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T | None: ...
    def __get__(self, instance: object, owner: type) -> Field[T] | T | None:
        # Not a data descriptor: the value in an instance's __dict__ comes first.
        return self if instance is None else self.default

    if TYPE_CHECKING:

        def __set__(self, instance: object, value: T | None) -> None: ...

    def of(self, document: Content) -> Any:
        """Return the value that stands in a document, None where there is none that fits."""
        return self.kind.load(document.get(self.name))

    def of_all(self, documents: Iterable[Content]) -> list[Any]:
        """Return the value that stands in each of many documents."""
        name = self.name
        return self.kind.load_all([document.get(name) for document in documents])

    def __repr__(self) -> str:
        return f"{self.owner.__name__}.{self.name}"

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} is a field and has no truth value: compare it with something")

    # -- predicates -------------------------------------------------------------------------------------------------

    def __eq__(self, value: object) -> Predicate:  # type: ignore[override]
        return IsNone(self) if value is None else self._compare("==", value)

    def __ne__(self, value: object) -> Predicate:  # type: ignore[override]
        return Not(IsNone(self)) if value is None else self._compare("!=", value)

    def __lt__(self, value: object) -> Predicate:
        return self._compare("<", value)

    def __le__(self, value: object) -> Predicate:
        return self._compare("<=", value)

    def __gt__(self, value: object) -> Predicate:
        return self._compare(">", value)

    def __ge__(self, value: object) -> Predicate:
        return self._compare(">=", value)

    def _compare(self, symbol: str, value: object) -> Predicate:
        return Compare(self, symbol, self._operand(value))

    def in_(self, values: Iterable[object]) -> Predicate:
        """Match one of the values; a None among them makes unknown what is not found."""
        if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
            raise TypeError(f"{self!r}.in_: expected several values such as a list, got {values!r}")
        operands = {self._operand(value) for value in values}
        return In(self, frozenset(operands - {None}), has_none=None in operands)  # type: ignore[arg-type]

    def not_in(self, values: Iterable[object]) -> Predicate:
        """Match none of the values: ``~in_(values)``."""
        return Not(self.in_(values))

    def between(self, low: object, high: object) -> Predicate:
        """Match what is neither below `low` nor above `high`."""
        return (self >= low) & (self <= high)

    def is_(self, value: object) -> Predicate:
        """Match what is the same, None too: true or false, never unknown."""
        return IsNone(self) if value is None else Not(IsNone(self)) & (self == value)

    def is_not(self, value: object) -> Predicate:
        """Match what is not the same, None too: true or false, never unknown."""
        return Not(self.is_(value))

    def like(self, pattern: str, escape: str | None = None) -> Predicate:
        """Match a whole text: ``%`` stands for any run of characters, ``_`` for one; minds case."""
        return self._match("like", pattern, escape)

    def ilike(self, pattern: str, escape: str | None = None) -> Predicate:
        """Match as `like` does, without minding case."""
        return self._match("ilike", pattern, escape)

    def startswith(self, text: str) -> Predicate:
        """Match texts that begin so."""
        return self._match("startswith", text)

    def endswith(self, text: str) -> Predicate:
        """Match texts that end so."""
        return self._match("endswith", text)

    def contains(self, text: str) -> Predicate:
        """Match texts that have it inside."""
        return self._match("contains", text)

    def regexp_match(self, pattern: str) -> Predicate:
        """Match texts in which the regular expression finds something."""
        return self._match("regexp_match", pattern)

    def below(self, folder: str | os.PathLike[str]) -> Predicate:
        """Match what is that folder or lies below it; a relative one counts from the working folder."""
        if not (isinstance(self.kind, PathText) and self.kind.has_folder):
            raise TypeError(f"{self!r} holds no folders: below() is for directory_path and filepath")
        return self._match("below", folder)

    def _match(self, name: str, pattern: object, escape: str | None = None) -> Predicate:
        if not isinstance(self.kind, Text):
            raise TypeError(f"{self!r} holds no text: {name}() cannot be asked of it")
        text = self._operand(pattern)
        if not isinstance(text, str):
            raise TypeError(f"{self!r}.{name}: expected text, got {pattern!r}")
        return Match(self, name, paths.absolute(text) if name == "below" else text, escape)

    def _operand(self, value: object) -> Scalar | None:
        if isinstance(value, Field):
            raise TypeError(f"{self!r} is compared with the field {value!r}: expected a value")
        try:
            return None if value is None else self.kind.operand(value)
        except (TypeError, InvalidArgumentError) as error:
            raise type(error)(f"{self!r}: {error}") from None

    # -- orders -----------------------------------------------------------------------------------------------------

    def asc(self) -> Order:
        """Sort ascending by this field, None first."""
        return Order(self)

    def desc(self) -> Order:
        """Sort descending by this field, None last."""
        return Order(self, is_descending=True)

    def nulls_first(self) -> Order:
        """Sort ascending by this field, None first."""
        return Order(self, has_nulls_first=True)

    def nulls_last(self) -> Order:
        """Sort ascending by this field, None last."""
        return Order(self, has_nulls_first=False)


class JoinedPath(Field[str]):
    """The path made of two other fields, a folder and a name."""

    is_stored = False

    def __init__(self, folder: Field[str], filename: Field[str], meaning: str) -> None:
        super().__init__(PathText(has_folder=True), meaning)
        self.folder, self.filename = folder, filename

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        return _join(getattr(instance, self.folder.name), getattr(instance, self.filename.name))

    def of(self, document: Content) -> str | None:
        return _join(self.folder.of(document), self.filename.of(document))


def _join(folder: str | None, filename: str | None) -> str | None:
    return None if folder is None or filename is None else paths.join(folder, filename)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Order(_Comparable):
    """One key of a sort order."""

    field: Field[Any]
    is_descending: bool = False
    has_nulls_first: bool | None = None

    def asc(self) -> Order:
        """Return the same key, ascending."""
        return Order(self.field, False, self.has_nulls_first)

    def desc(self) -> Order:
        """Return the same key, descending."""
        return Order(self.field, True, self.has_nulls_first)

    def nulls_first(self) -> Order:
        """Return the same key, None first."""
        return Order(self.field, self.is_descending, True)

    def nulls_last(self) -> Order:
        """Return the same key, None last."""
        return Order(self.field, self.is_descending, False)

    @property
    def puts_none_first(self) -> bool:
        """Whether None comes first: where nothing is said, it counts as the smallest value."""
        return not self.is_descending if self.has_nulls_first is None else self.has_nulls_first

    def __repr__(self) -> str:
        nulls = {None: "", True: ".nulls_first()", False: ".nulls_last()"}[self.has_nulls_first]
        return f"{self.field!r}.{'desc' if self.is_descending else 'asc'}(){nulls}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Compare(Predicate):
    """A field compared with a value; unknown where either is None."""

    field: Field[Any]
    symbol: str
    value: Scalar | None

    def evaluate(self, document: Content) -> bool | None:
        found = self.field.of(document)
        if found is None or self.value is None:
            return None
        return bool(OPERATORS[self.symbol](found, self.value))

    def __repr__(self) -> str:
        return f"{self.field!r} {self.symbol} {self.value!r}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class In(Predicate):
    """A field is one of some values."""

    field: Field[Any]
    values: frozenset[Scalar]
    has_none: bool

    def evaluate(self, document: Content) -> bool | None:
        if not self.values and not self.has_none:
            return False
        found = self.field.of(document)
        if found is None:
            return None
        return True if found in self.values else (None if self.has_none else False)

    def __repr__(self) -> str:
        values = [*sorted(self.values, key=_nan_last), *([None] if self.has_none else [])]
        return f"{self.field!r}.in_({values!r})"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class IsNone(Predicate):
    """A field has no value."""

    field: Field[Any]

    def evaluate(self, document: Content) -> bool:
        return self.field.of(document) is None

    def __repr__(self) -> str:
        return f"{self.field!r}.is_(None)"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Match(Predicate):
    """A text field matches a pattern."""

    field: Field[Any]
    name: str
    pattern: str
    escape: str | None = None

    def __post_init__(self) -> None:
        self.tester()  # a pattern that cannot be compiled is told where it is written

    def tester(self) -> Callable[[str], bool]:
        """Return the test of one text."""
        return patterns.tester(self.name, self.pattern, self.escape)

    def evaluate(self, document: Content) -> bool | None:
        found = self.field.of(document)
        return None if found is None else self.tester()(found)

    def __repr__(self) -> str:
        escape = "" if self.escape is None else f", escape={self.escape!r}"
        return f"{self.field!r}.{self.name}({self.pattern!r}{escape})"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class AllOf(Predicate):
    """Every part is true; of no parts, true."""

    parts: tuple[Predicate, ...]

    def evaluate(self, document: Content) -> bool | None:
        results = [part.evaluate(document) for part in self.parts]
        return False if False in results else (None if None in results else True)

    def __repr__(self) -> str:
        return " & ".join(f"({part!r})" for part in self.parts) or "and_()"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class AnyOf(Predicate):
    """Some part is true; of no parts, false."""

    parts: tuple[Predicate, ...]

    def evaluate(self, document: Content) -> bool | None:
        results = [part.evaluate(document) for part in self.parts]
        return True if True in results else (None if None in results else False)

    def __repr__(self) -> str:
        return " | ".join(f"({part!r})" for part in self.parts) or "or_()"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Not(Predicate):
    """The part is false; unknown stays unknown."""

    part: Predicate

    def evaluate(self, document: Content) -> bool | None:
        result = self.part.evaluate(document)
        return None if result is None else not result

    def __repr__(self) -> str:
        return f"~({self.part!r})"


def and_(*predicates: Predicate) -> Predicate:
    """Return the predicate that is true where all are; without any, true."""
    return _combined(AllOf, map(as_predicate, predicates))


def or_(*predicates: Predicate) -> Predicate:
    """Return the predicate that is true where one is; without any, false."""
    return _combined(AnyOf, map(as_predicate, predicates))


def not_(predicate: Predicate) -> Predicate:
    """Return the predicate that is true where the other is false."""
    return Not(as_predicate(predicate))


def asc(key: Field[Any] | Order) -> Order:
    """Sort ascending by a field."""
    return as_order(key).asc()


def desc(key: Field[Any] | Order) -> Order:
    """Sort descending by a field."""
    return as_order(key).desc()


def as_order(key: object) -> Order:
    """Return the order that a key stands for: itself, or ascending by a field."""
    if isinstance(key, Order):
        return key
    if isinstance(key, Field):
        return key.asc()
    raise TypeError(f"expected a field to sort by such as BufferMetadata.process, got {key!r}")


def _nan_last(value: Scalar) -> tuple[bool, Scalar]:
    return isinstance(value, float) and math.isnan(value), value


def _combined(kind: type[AllOf] | type[AnyOf], predicates: Iterable[Predicate]) -> Predicate:
    """Return the combination without combinations of its own kind in it; of one predicate, that one."""
    parts: list[Predicate] = []
    for predicate in predicates:
        parts += predicate.parts if isinstance(predicate, kind) else (predicate,)
    return parts[0] if len(parts) == 1 else kind(tuple(parts))


def as_predicate(candidate: object) -> Predicate:
    """Return the predicate itself; TypeError, with what to type instead, for anything else."""
    if isinstance(candidate, Predicate):
        return candidate
    if isinstance(candidate, bool):
        raise TypeError(
            f"expected a predicate, got {candidate}: an instance was compared; "
            "compare the field of the class, as in BufferMetadata.process > 100"
        )
    raise TypeError(f"expected a predicate such as BufferMetadata.process > 100, got {candidate!r}")
