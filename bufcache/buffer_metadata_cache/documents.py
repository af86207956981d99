"""Classes of documents: dataclasses whose class attributes are fields to ask with."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self

from bufcache.buffer_metadata_cache.query import Field, JoinedPath
from bufcache.errors import InvalidArgumentError
from bufcache.names import nearest


@contextmanager
def collecting_no_garbage() -> Iterator[None]:
    """Put garbage collection off while many objects are made that all stay: it would go through them in vain."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Document:
    """Base of the documents of one table: a subclass declares ``name: Field[type] = Field(kind, meaning)``."""

    __tablename__: ClassVar[str]
    __fields__: ClassVar[Mapping[str, Field[Any]]]
    _stored: ClassVar[tuple[Field[Any], ...]]
    _names: ClassVar[tuple[str, ...]]
    _blank: ClassVar[dict[str, None]]

    def __init_subclass__(cls) -> None:
        fields = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        stored = [name for name, field in fields.items() if not isinstance(field, JoinedPath)]
        for name in stored:
            setattr(cls, name, None)  # the default that dataclass is to see
        dataclasses.dataclass(init=False, repr=False)(cls)
        for name in stored:
            setattr(cls, name, fields[name])
        cls.__fields__ = fields
        cls._stored = tuple(fields[name] for name in stored)
        cls._names = tuple(stored)
        cls._blank = dict.fromkeys(stored)

    def __init__(self, **values: Any) -> None:
        for name in values:
            if name not in self._names:
                raise TypeError(f"{type(self).__name__} has no field {name!r}{nearest(name, self._names)}")
        self.__dict__.update(self._blank)
        self.__dict__.update(values)

    def __repr__(self) -> str:
        known = (f"{name}={value!r}" for name, value in self.__dict__.items() if value is not None)
        return f"{type(self).__name__}({', '.join(known)})"

    @classmethod
    def stored_fields(cls) -> tuple[Field[Any], ...]:
        """Return the fields of which a document is made, in order; not those computed from others."""
        return cls._stored

    def to_document(self) -> dict[str, Any]:
        """Return what is stored: the fields that are not None, enumerations as numbers.

        Raises
        ------
        TypeError
            A field has a value of a type that it cannot hold.
        InvalidArgumentError
            A field has a name that its enumeration does not know.
        """
        return self._dumped(self.__dict__)

    def _dumped(self, values: Mapping[str, Any]) -> dict[str, Any]:
        document = {}
        for field in self._stored:
            value = values[field.name]
            if value is not None:
                stored = _dump(field, value)
                if stored is not None:
                    document[field.name] = stored
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the object of a stored document, such as TinyDB finds; what a field cannot hold is None."""
        values = (None if (value := field.of(document)) is None else field.kind.present(value) for field in cls._stored)
        [found] = cls.from_rows([tuple(values)])
        return found

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[Any, ...]]) -> list[Self]:
        """Return an object for each row of values, one for each stored field in order."""
        new, names, blank = cls.__new__, cls._names, cls._blank
        found = []
        for row in rows:  # of which there may be many: nothing is looked up twice
            values = blank.copy()  # in one go as large as it has to be
            values.update(zip(names, row, strict=True))
            instance = new(cls)
            instance.__dict__ = values
            found.append(instance)
        return found


def _dump(field: Field[Any], value: Any) -> Any:
    try:
        return field.kind.dump(value)
    except (TypeError, InvalidArgumentError) as error:
        raise type(error)(f"{field!r}: {error}") from None
