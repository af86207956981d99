"""select: a predicate, an order and a range of the result, said step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, SupportsIndex, TypeGuard

from bufcache.arguments import integer
from bufcache.buffer_metadata_cache.columns import Rows
from bufcache.buffer_metadata_cache.documents import Document
from bufcache.buffer_metadata_cache.expressions import expression
from bufcache.buffer_metadata_cache.index import Index
from bufcache.buffer_metadata_cache.metadata import BufferMetadata
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
    and_,
    as_order,
    as_predicate,
)
from bufcache.errors import InvalidArgumentError
from bufcache.names import nearest


@dataclass(frozen=True, slots=True, repr=False)
class Select:
    """What to look for, in which order, and how much of it. Immutable: each call returns a new one."""

    entity: type[Document]
    predicates: tuple[Predicate, ...] = ()
    order: tuple[Order, ...] = ()
    count: int | None = None
    start: int = 0

    @property
    def predicate(self) -> Predicate:
        """All that must be true."""
        return and_(*self.predicates)

    def filter(self, *predicates: Predicate | str) -> Select:
        """Keep what all the predicates are true of; a text is read as `expression` does."""
        return replace(self, predicates=self.predicates + tuple(map(self._predicate, predicates)))

    where = filter

    def filter_by(self, **equal: Any) -> Select:
        """Keep what has these values, by names of fields; None asks for what has no value."""
        return self.filter(*(field_of(self.entity, name) == value for name, value in equal.items()))

    def order_by(self, *keys: Field[Any] | Order | str) -> Select:
        """Sort by these keys, after those given before; without any, results come in order of id."""
        return replace(self, order=self.order + tuple(map(self._key, keys)))

    def limit(self, n: SupportsIndex | None) -> Select:
        """Give at most `n` results; None gives all."""
        return replace(self, count=None if n is None else _count("limit", n))

    def offset(self, n: SupportsIndex) -> Select:
        """Leave out the first `n` results."""
        return replace(self, start=_count("offset", n))

    def _predicate(self, candidate: Predicate | str) -> Predicate:
        if isinstance(candidate, str):
            return expression(candidate, self.entity.__fields__)
        return as_predicate(candidate)

    def _key(self, key: object) -> Order:
        return as_order(field_of(self.entity, key) if isinstance(key, str) else key)

    def __repr__(self) -> str:
        parts = [f"select({self.entity.__name__})"]
        parts += [f".filter({predicate!r})" for predicate in self.predicates]
        parts += [f".order_by({', '.join(map(repr, self.order))})"] if self.order else []
        parts += [f".limit({self.count})"] if self.count is not None else []
        parts += [f".offset({self.start})"] if self.start else []
        return "".join(parts)


def select(entity: type[Document]) -> Select:
    """Start a query over the documents of a class, such as BufferMetadata.

    Raises
    ------
    TypeError
        Something else was given; to get values of one field, use ``cache.distinct(field)``.
    """
    if _is_document_class(entity):
        return Select(entity)
    raise TypeError(f"select: expected a class of documents such as BufferMetadata, got {entity!r}")


def alike(template: Document) -> Select:
    """Return the query for what is equal in every field that the template has a value for."""
    values = {name: value for name, value in vars(template).items() if value is not None}
    return select(type(template)).filter_by(**values)


def find(index: Index, asked: Select) -> Rows:
    """Return the rows that a query asks for, in its order."""
    rows = index.sort(index.match(asked.predicate), asked.order)
    return rows[asked.start :][: asked.count]


def entity_of(predicate: Predicate) -> type[Any]:
    """Return the class whose fields a predicate asks for; TypeError where it is not one."""
    owners = set(_owners(predicate))
    if len(owners) != 1:
        raise TypeError(f"expected a predicate over the fields of one class, got {predicate!r}")
    return owners.pop()


def _owners(predicate: Predicate) -> Iterator[type]:
    match predicate:
        case AllOf(parts=parts) | AnyOf(parts=parts):
            for part in parts:
                yield from _owners(part)
        case Not(part=part):
            yield from _owners(part)
        case Compare(field=field) | In(field=field) | IsNone(field=field) | Match(field=field):
            yield field.owner


Query = Select | Predicate | BufferMetadata | str
"""What files are asked for by."""


def as_select(query: Query | None) -> Select:
    """Return the select that a query stands for.

    Raises
    ------
    TypeError
        It is none, or one over other documents.
    """
    everything = select(BufferMetadata)
    match query:
        case None:
            return everything
        case Select(entity=entity):
            if entity is not BufferMetadata:
                raise TypeError(f"expected select(BufferMetadata), got {query!r}; cache.all finds other documents")
            return query
        case BufferMetadata():
            return alike(query).filter(BufferMetadata.opening_error.is_(None))
        case Predicate() | str():
            return everything.filter(query)
    raise TypeError(f"expected a select, a template, a predicate or a text, got {query!r}")


def field_of(entity: type[Document], key: object) -> Field[Any]:
    """Return a field of a class of documents: the field itself, or the one of that name.

    Raises
    ------
    TypeError
        It has no such field; the message names the nearest.
    """
    if isinstance(key, Field):
        return key
    fields = entity.__fields__
    if not isinstance(key, str):
        raise TypeError(f"expected a field such as {next(iter(fields.values()))!r}, got {key!r}")
    if key not in fields:
        raise TypeError(f"{entity.__name__} has no field {key!r}{nearest(key, fields)}")
    return fields[key]


def _is_document_class(candidate: object) -> TypeGuard[type[Document]]:
    return isinstance(candidate, type) and issubclass(candidate, Document) and hasattr(candidate, "__tablename__")


def _count(name: str, n: SupportsIndex) -> int:
    number = integer(name, n)
    if number < 0:
        raise InvalidArgumentError(f"{name} is {number}; expected 0 or more")
    return number
