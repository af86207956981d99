"""The base class of users' own documents: annotated attributes become fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from enum import IntEnum
from types import NoneType, UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

from tinydb import TinyDB

from bufcache.buffer_metadata_cache.documents import Document
from bufcache.buffer_metadata_cache.kinds import Boolean, Float, Integer, Kind, Member, Text
from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.query import Field
from bufcache.errors import InvalidArgumentError

_KINDS: dict[type, Callable[[], Kind]] = {int: Integer, float: Float, str: Text, bool: Boolean}
_TAKEN = {
    BufferMetadata.__tablename__: "the table of the files",
    TinyDB.default_table_name: "the default table of TinyDB",
}


class OwnDocument(Document):
    """A document of a class of your own, kept in a table of its own beside those of the files.

    A subclass names its table by ``__tablename__`` and annotates its fields: ``int``, ``float``, ``str``, ``bool``, an
    IntEnum, or one of these ``| None``, with a default if you like. On the class a field builds predicates, on an
    instance it is the value, and `id` is the number that `BufferMetadataCache.add` gives it. A new instance takes the
    values of fields by name, any of them: which ones must not be missing is asked when it is added.

    Raises
    ------
    TypeError
        An annotation, a default or a name that cannot be a field's; for an instance, a name that is none.
    InvalidArgumentError
        The class has no ``__tablename__``, or one that is taken.
    """

    id: Field[int] = Field(Integer(), "Number of the document; it stays when the document changes")

    _required: ClassVar[frozenset[str]]

    def __init_subclass__(cls) -> None:
        _require_table(cls)
        hints = dict(_hints(cls))
        fields = {"id": Field[int](Integer(), OwnDocument.id.meaning)}
        fields |= {name: _field(cls, name, hint) for name, hint in hints.items()}
        for name, field in fields.items():
            if name in vars(cls):
                delattr(cls, name)  # so that the fields stand in the order of their annotations
            setattr(cls, name, field)
            field.__set_name__(cls, name)
        cls.__annotations__ = {"id": int | None, **hints}
        cls._required = frozenset(name for name, hint in hints.items() if not _split(hint)[1])
        super().__init_subclass__()

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        for name in set(self._names) - values.keys():
            del self.__dict__[name]  # it is at its default, and a template does not speak of it

    def to_document(self) -> dict[str, Any]:
        document = self._dumped({name: getattr(self, name) for name in self._names})
        for name in self._names:
            if name in self._required and name not in document:
                raise InvalidArgumentError(
                    f"{type(self).__name__}.{name} is {getattr(self, name)!r}; expected a value, as its annotation "
                    "has no '| None'"
                )
        return document


def get_declarative_base() -> type[OwnDocument]:
    """Return the base class of documents of your own."""
    return OwnDocument


def _require_table(cls: type[OwnDocument]) -> None:
    table = vars(cls).get("__tablename__")
    if not isinstance(table, str) or not table:
        raise InvalidArgumentError(
            f"{cls.__name__} has no __tablename__ of its own; name the table of its documents, as in "
            '__tablename__ = "notes"'
        )
    if table in _TAKEN:
        raise InvalidArgumentError(f"{cls.__name__}.__tablename__ is {table!r}, {_TAKEN[table]}; choose another name")


def _hints(cls: type[OwnDocument]) -> Iterator[tuple[str, Any]]:
    """Give the names and annotations of the fields, those of base classes first."""
    try:
        hints = get_type_hints(cls)
    except NameError as error:
        raise TypeError(f"{cls.__name__}: an annotation cannot be read, {error}; define it in the module") from error
    if _split(hints["id"])[0] not in (int, Field[int]):
        raise TypeError(f"{cls.__name__}.id is annotated as {hints['id']!r}; it is the int that the cache gives")
    names = [name for name, hint in hints.items() if _is_field(name, hint)]
    if not names:
        raise TypeError(f"{cls.__name__} has no fields; annotate some, as in 'process: int'")
    for name in names:
        if hasattr(OwnDocument, name):
            raise TypeError(f"{cls.__name__}.{name} cannot be a field: all documents have a method of that name")
        yield name, hints[name]


def _is_field(name: str, hint: Any) -> bool:
    return not name.startswith("_") and name != "id" and ClassVar not in (hint, get_origin(hint))


def _field(cls: type[OwnDocument], name: str, hint: Any) -> Field[Any]:
    kind = _kind(cls, name, hint)
    default = inspect.getattr_static(cls, name, None)
    if isinstance(default, Field):
        default = default.default  # of a base class
    try:
        if default is not None:
            kind.dump(default)
    except (TypeError, InvalidArgumentError) as error:
        raise TypeError(f"{cls.__name__}.{name}: its default cannot be stored, {error}") from None
    return Field(kind, "", default)


def _kind(cls: type[OwnDocument], name: str, hint: Any) -> Kind:
    found, _ = _split(hint)
    if isinstance(found, type) and issubclass(found, IntEnum):
        return Member(found)
    if isinstance(found, type) and found in _KINDS:
        return _KINDS[found]()
    raise TypeError(
        f"{cls.__name__}.{name} is annotated as {hint!r}; expected int, float, str, bool, an IntEnum, or one of these "
        "| None"
    )


def _split(hint: Any) -> tuple[Any, bool]:
    """Return the type that an annotation allows beside None, and whether it allows None."""
    if get_origin(hint) not in (Union, UnionType):
        return hint, False
    others = [part for part in get_args(hint) if part is not NoneType]
    return (others[0] if len(others) == 1 else hint), len(others) < len(get_args(hint))
