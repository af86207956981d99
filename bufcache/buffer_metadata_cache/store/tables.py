"""TinyDB over the database, by its own extension points.

TinyDB's Table reads and writes all documents for each change. `DocumentTable` runs the same updaters on an overlay
and commits only what they changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any, cast

from tinydb import TinyDB
from tinydb.queries import QueryLike
from tinydb.storages import Storage
from tinydb.table import Document, Table

from bufcache.buffer_metadata_cache.paths import AnyPath
from bufcache.buffer_metadata_cache.query import Predicate
from bufcache.buffer_metadata_cache.store.changes import is_id
from bufcache.buffer_metadata_cache.store.database import Database, Edit
from bufcache.buffer_metadata_cache.store.opening import open_database
from bufcache.errors import InvalidArgumentError

LARGEST_CHOSEN_ID = 2**62
"""The largest id that a new document may come with: times in ns fit, and as many remain for the next ones."""


class LogStorage(Storage):
    """What TinyDB reads from and writes to: ``TinyDB("measurements.bufcache", storage=LogStorage)`` opens a cache.

    Whatever is done through a `tinydb.TinyDB` of its own class costs as much as the whole cache, and is for one
    process at a time; `BufferMetadataCache.db` has neither limit.

    Parameters
    ----------
    db_url
        As of `BufferMetadataCache`, or a database that is open already.
    read_only
        Never write, and take no lock.
    lock_timeout
        Seconds to wait while another process writes.

    Raises
    ------
    CacheFormatError
        Something else stands at the path, such as a file that TinyDB wrote; it is left untouched.
    """

    def __init__(self, db_url: AnyPath | Database, *, read_only: bool = False, lock_timeout: float = 10.0) -> None:
        self.database = (
            db_url
            if isinstance(db_url, Database)
            else open_database(db_url, read_only=read_only, lock_timeout=lock_timeout)
        )

    def __repr__(self) -> str:
        return f"LogStorage({self.database!r})"

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the tables; their documents are read when they are asked for."""
        with self.database.reading():
            # TinyDB asks for dicts, and uses no more of them than a Mapping has.
            return {name: Documents(self.database, name) for name in self.database.table_names()}  # type: ignore[misc]

    def write(self, data: Mapping[str, Mapping[Any, Mapping[str, Any]]]) -> None:
        """Make these the tables, and commit what differs: the slow way of a stock Table."""
        with self.database.writing():
            names = {*self.database.table_names(), *data}
            self.database.commit([edit for name in names for edit in self._edits(name, data.get(name, {}))])

    def _edits(self, name: str, documents: Mapping[Any, Mapping[str, Any]]) -> list[Edit]:
        if isinstance(documents, Documents) and documents.are_those_of(self.database, name):
            return []  # as they were read: this is not the table that was changed
        overlay = Overlay(self.database, name)
        overlay.clear()
        overlay.update({int(id): dict(document) for id, document in documents.items()})
        return overlay.edits()

    def close(self) -> None:
        """Close the database."""
        self.database.close()


class Documents(Mapping[str, dict[str, Any]]):
    """The documents of a table by id, as TinyDB wants them: ids are texts."""

    def __init__(self, database: Database, table: str) -> None:
        self._database, self._table = database, table

    def are_those_of(self, database: Database, table: str) -> bool:
        """Tell whether this is that table."""
        return self._database is database and self._table == table

    def __getitem__(self, id: str) -> dict[str, Any]:
        with suppress(ValueError):
            if str(int(id)) == id:
                return self._database.document(self._table, int(id))
        raise KeyError(id)

    def __iter__(self) -> Iterator[str]:
        return map(str, self._database.table(self._table).ids)

    def __len__(self) -> int:
        return len(self._database.table(self._table))


class Overlay(MutableMapping[int, dict[str, Any]]):
    """The documents of a table for an updater: what it changes stays here until it is committed."""

    def __init__(self, database: Database, table: str) -> None:
        self._database, self._table = database, table
        self._stored = database.table(table)
        self._touched: dict[int, dict[str, Any] | None] = {}  # None where it was removed
        self._next_id = database.next_id(table)

    def new_id(self) -> int:
        """Return an id that no document has or had."""
        while self._next_id in self:
            self._next_id += 1
        self._database.require_id(self._table, self._next_id)
        self._next_id += 1
        return self._next_id - 1

    def __getitem__(self, id: int) -> dict[str, Any]:
        if id not in self._touched and id in self._stored:
            self._touched[id] = self._database.document(self._table, id)
        document = self._touched.get(id)
        if document is None:
            raise KeyError(id)
        return document

    def __setitem__(self, id: int, document: dict[str, Any]) -> None:
        self._require_room_behind(id)
        self._touched[id] = document

    def _require_room_behind(self, id: int) -> None:
        """Raise where a document would leave too few ids for those that follow: none of them is below the largest."""
        if is_id(id) and id > max(LARGEST_CHOSEN_ID, self._next_id) and id not in self._stored:
            raise InvalidArgumentError(
                f"{self._database}: the id of a new document of {self._table} is {id}; expected one up to "
                f"{LARGEST_CHOSEN_ID}, so that ids are left for those that follow; leave it out to get the next one"
            )

    def __delitem__(self, id: int) -> None:
        if id not in self:
            raise KeyError(id)
        self._touched[id] = None

    def __contains__(self, id: object) -> bool:
        return self._touched[id] is not None if id in self._touched else id in self._stored

    def __iter__(self) -> Iterator[int]:
        yield from (id for id in self._stored.ids if id in self)
        yield from (id for id in list(self._touched) if id in self and id not in self._stored)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def clear(self) -> None:
        self._touched = dict.fromkeys(self._database.stored(self._table).ids)

    def edits(self) -> list[Edit]:
        """Return what differs from the database."""
        edits = (Edit(self._table, id, document) for id, document in self._touched.items())
        return [edit for edit in edits if not self._is_stored(edit)]

    def _is_stored(self, edit: Edit) -> bool:
        if edit.document is None:
            return edit.id not in self._database.stored(self._table)
        return self._database.holds(edit)


class DocumentTable(Table):
    """A TinyDB table whose changes cost what they change, and whose results are never stale."""

    storage: LogStorage

    def __init__(self, storage: LogStorage, name: str, cache_size: int = 0, persist_empty: bool = False) -> None:
        # No query cache: another process may change the documents, and cached ones would be shared.
        super().__init__(storage, name, cache_size=0, persist_empty=False)
        self._database = storage.database
        self._overlay: Overlay | None = None

    def insert(self, document: Mapping[str, Any]) -> int:
        # TinyDB takes the id before it updates; under the lock no other process can take the same.
        return self.insert_multiple([document])[0]

    def insert_multiple(self, documents: Iterable[Mapping[str, Any]]) -> list[int]:
        # Taken first: a generator may itself change this table.
        return super().insert_multiple(list(documents))

    def upsert(self, document: Mapping[str, Any], cond: QueryLike | None = None) -> list[int]:
        with self._database.writing():
            return super().upsert(document, cond)

    def search(self, cond: QueryLike) -> list[Document]:
        with self._database.reading():
            ids = self._matching(cond)
            return super().search(cond) if ids is None else [self._document(id) for id in ids]

    def get(self, cond: QueryLike | None = None, doc_id: int | None = None, doc_ids: list[int] | None = None) -> Any:
        with self._database.reading():
            ids = self._matching(cond) if doc_id is None and doc_ids is None else None
            if ids is None:
                return super().get(cond, doc_id, doc_ids)  # type: ignore[arg-type]  # its overloads are stricter
            return self._document(ids[0]) if ids else None

    def count(self, cond: QueryLike) -> int:
        with self._database.reading():
            ids = self._matching(cond)
            return super().count(cond) if ids is None else len(ids)

    def update(self, fields: Any, cond: QueryLike | None = None, doc_ids: Iterable[int] | None = None) -> list[int]:
        with self._database.writing():
            return super().update(fields, cond, self._ids(cond) if doc_ids is None else doc_ids)

    def remove(self, cond: QueryLike | None = None, doc_ids: Iterable[int] | None = None) -> list[int]:
        with self._database.writing():
            return super().remove(cond, self._ids(cond) if doc_ids is None else doc_ids)

    def _ids(self, cond: QueryLike | None) -> list[int] | None:
        """Return the ids that match, so that the overlay need not hold the others; None where all do."""
        if cond is None:
            return None
        with self._overlaid():  # a condition must not change the table either
            ids = self._matching(cond)
            return [document.doc_id for document in super().search(cond)] if ids is None else ids

    def _matching(self, cond: QueryLike | None) -> list[int] | None:
        """Return the ids that match, from the index; None where the documents have to be asked."""
        if not (isinstance(cond, Predicate) and self._database.has_fields(self.name)):
            return None
        index = self._database.table(self.name)
        return index.ids_of(index.match(cond))

    def _document(self, id: int) -> Document:
        return self.document_class(self._database.document(self.name, id), id)

    def __iter__(self) -> Iterator[Document]:
        with self._database.reading():
            return iter(list(super().__iter__()))

    def _get_next_id(self) -> int:
        return cast(Overlay, self._overlay).new_id()  # TinyDB asks for ids inside an update only

    def _update_table(self, updater: Callable[[Any], None]) -> None:
        with self._database.writing():
            with self._overlaid() as overlay:
                updater(overlay)
                edits = overlay.edits()
            self._database.commit(edits)

    @contextmanager
    def _overlaid(self) -> Iterator[Overlay]:
        """Give an overlay for one change, and refuse another change inside it."""
        if self._overlay is not None:
            raise InvalidArgumentError(f"table {self.name!r} is changed inside a change of it")
        self._overlay = Overlay(self._database, self.name)
        try:
            yield self._overlay
        finally:
            self._overlay = None


class DocumentDB(TinyDB):
    """TinyDB over a database of ours."""

    table_class = DocumentTable  # type: ignore[assignment]  # TinyDB declares its own class, not a base
    default_storage_class = LogStorage  # type: ignore[assignment]
    storage: LogStorage

    def __repr__(self) -> str:
        return f"<DocumentDB of {self.storage!r}>"

    def drop_table(self, name: str) -> None:
        """Remove all documents of a table."""
        self._drop([name])

    def drop_tables(self) -> None:
        """Remove all documents of all tables."""
        with self.storage.database.writing():
            self._drop(self.storage.database.table_names())

    def _drop(self, names: Iterable[str]) -> None:
        database = self.storage.database
        with database.writing():
            database.commit([Edit(name, id, None) for name in names for id in database.stored(name).ids])
