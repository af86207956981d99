"""The documents of users' own classes in a database: added, found, removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bufcache.buffer_metadata_cache.declarative import OwnDocument
from bufcache.buffer_metadata_cache.documents import collecting_no_garbage
from bufcache.buffer_metadata_cache.query import Predicate
from bufcache.buffer_metadata_cache.selection import Select, alike, entity_of, find, select
from bufcache.buffer_metadata_cache.store.database import Database, Edit
from bufcache.buffer_metadata_cache.store.tables import Overlay
from bufcache.errors import InvalidArgumentError

OwnQuery = Select | OwnDocument | type[OwnDocument] | Predicate


class OwnDocuments:
    """The documents of users' own classes in a database; what the calls mean is told by the cache."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._classes: dict[str, type[OwnDocument]] = {}

    def add(self, documents: Sequence[OwnDocument]) -> None:
        """Store documents, all or none; new ones get an id."""
        _require(documents)
        new = [document for document in documents if document.id is None]
        try:
            with self._database.writing():
                self._put(sorted(documents, key=lambda document: document.id is None))
        except BaseException:
            for document in new:
                document.id = None
            raise

    def _put(self, documents: Sequence[OwnDocument]) -> None:
        overlays: dict[str, Overlay] = {}
        for document in documents:
            table = self._table(type(document))
            if table not in overlays:
                overlays[table] = Overlay(self._database, table)
            overlay = overlays[table]
            if document.id is None:
                document.id = overlay.new_id()
            overlay[document.id] = document.to_document()
        self._database.commit([edit for overlay in overlays.values() for edit in overlay.edits()])

    def matching(self, query: OwnQuery) -> list[Any]:
        """Return the objects that match."""
        asked = _as_select(query)
        with self._database.reading(), collecting_no_garbage():
            index = self._database.table(self._table(asked.entity))
            records = index.records(find(index, asked), asked.entity.stored_fields())
            return asked.entity.from_rows(records)

    def remove(self, documents: Sequence[OwnDocument]) -> None:
        """Remove documents, all or none, by their ids; those that are gone already are passed over."""
        _require(documents)
        edits = dict.fromkeys(Edit(self._table(type(document)), _id(document), None) for document in documents)
        with self._database.writing():
            self._database.commit([edit for edit in edits if edit.id in self._database.stored(edit.table)])

    def _table(self, entity: type[Any]) -> str:
        """Return the table of a class, whose index answers for its fields from now on."""
        table: str = entity.__tablename__
        known = self._classes.setdefault(table, entity)
        if _full_name(known) != _full_name(entity):  # a class that was defined again takes the place of the first
            raise InvalidArgumentError(
                f"table {table!r} has the documents of {_full_name(known)}; give {_full_name(entity)} another "
                "__tablename__"
            )
        self._classes[table] = entity
        self._database.register(table, entity.__fields__)
        return table


def _as_select(query: OwnQuery) -> Select:
    asked = query
    if isinstance(query, OwnDocument):
        asked = alike(query)
    elif isinstance(query, Predicate):
        asked = select(entity_of(query)).filter(query)
    elif isinstance(query, type):
        asked = select(query)
    if isinstance(asked, Select) and issubclass(asked.entity, OwnDocument):
        return asked
    raise TypeError(
        f"expected a class of your own such as Note, select(Note), a template or a predicate over it, got {query!r}"
    )


def _require(documents: Sequence[OwnDocument]) -> None:
    for document in documents:
        if not isinstance(document, OwnDocument):
            raise TypeError(
                f"expected documents of classes of your own, got {document!r}; give several as several arguments"
            )


def _id(document: OwnDocument) -> int:
    if document.id is None:
        raise InvalidArgumentError(f"{document!r} has no id: it was never added")
    return document.id


def _full_name(entity: type[Any]) -> str:
    return f"{entity.__module__}.{entity.__qualname__}"
