"""The database: the tables of a log, with the columns of their documents."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import orjson

from bufcache.buffer_metadata_cache.columns import Change, Columns, Place
from bufcache.buffer_metadata_cache.query import Field
from bufcache.buffer_metadata_cache.store.files import LOCK, OWNER, Files
from bufcache.buffer_metadata_cache.store.log import NAME, Commit, Log, encode
from bufcache.errors import BufcacheError, CacheFormatError, ClosedError, InvalidArgumentError

Schemas = Mapping[str, Mapping[str, Field[Any]]]


class Edit(NamedTuple):
    """A document to be written under an id of a table; None removes it."""

    table: str
    id: int
    document: Mapping[str, Any] | None


class Database:
    """The tables of a log.

    Parameters
    ----------
    files
        Where the log is.
    schemas
        The fields of the documents of each table that has any; their documents say their ``id``.
    is_read_only
        Whether changing is refused.
    lock_timeout
        Seconds to wait for another process that writes.
    """

    def __init__(
        self, files: Files, schemas: Schemas, *, is_read_only: bool = False, lock_timeout: float = 10.0
    ) -> None:
        names = files.names()
        if NAME not in names and not set(names) <= {LOCK, OWNER}:
            raise CacheFormatError(f"{files} is not a bufcache cache, and not empty; it was left untouched")
        self._files = files
        self._schemas = dict(schemas)
        self._is_read_only = is_read_only
        self._lock_timeout = lock_timeout
        self._log = Log(files)
        self._registered: set[str] = set()
        self._tables = Tables(self._schemas, self._registered)
        self._mutex = threading.RLock()
        self._depth = 0
        self._is_writing = False
        self._is_closed = False
        try:
            self._refresh()
        except BaseException:
            files.close()
            raise

    def __repr__(self) -> str:
        return repr(self._files)

    def close(self) -> None:
        """Close the files; what is asked afterwards raises ClosedError."""
        with self._mutex:
            self._is_closed = True
            self._files.close()

    # -- reading ----------------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold off the other threads, on the state of the last commit. May be nested."""
        with self._mutex:
            if self._depth == 0:
                self._refresh()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1

    def _refresh(self) -> None:
        """Take over what was committed since, also by other processes."""
        if self._is_closed:
            raise ClosedError(f"{self._files}: the cache is closed")
        told = len(self._log.damage)
        for commit in self._log.read_on():
            self._tables.apply(commit)
        for damage in self._log.damage[told:]:
            warnings.warn(
                f"{self._files}: {damage}; their files are read again by the next synchronisation", stacklevel=5
            )

    def table(self, name: str) -> Columns:
        """Return the documents of a table; empty where it has none."""
        return self._tables.of(name)

    def table_names(self) -> list[str]:
        """Return the names of the tables that have documents."""
        return [name for name, columns in self._tables.items() if len(columns)]

    def has_fields(self, table: str) -> bool:
        """Tell whether the documents of a table have fields to ask for."""
        return table in self._schemas

    def register(self, table: str, fields: Mapping[str, Field[Any]]) -> None:
        """Answer for these fields of a table, too, from now on; its documents need not say their ``id``."""
        with self.reading():
            if self._schemas.get(table) is fields:
                return
            if table in self._tables:
                held, columns = self.table(table), Columns(fields)
                columns.apply(Change(id, held.place(id), {**self.document(table, id), "id": id}) for id in held.ids)
                columns.largest_id = held.largest_id
                self._tables[table] = columns
            self._schemas[table] = fields
            self._registered.add(table)

    def document(self, table: str, id: int) -> dict[str, Any]:
        """Return a document; KeyError where there is none. The caller owns it."""
        document: dict[str, Any] = orjson.loads(self._line(table, id))[2]
        return document

    def holds(self, edit: Edit) -> bool:
        """Tell whether a document already stands just so in the log."""
        columns = self.table(edit.table)
        return edit.id in columns and self._line(edit.table, edit.id) == _line(self._with_id(edit))

    def _line(self, table: str, id: int) -> bytes:
        offset, length, checksum = self.table(table).place(id)
        line = self._files.read(NAME, offset, length)
        if crc32(line) != checksum:
            raise CacheFormatError(f"{self._files}: {NAME} was damaged at byte {offset}, in document {id} of {table}")
        return line

    # -- writing ----------------------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the only right to change, on the state of the last commit. May be nested."""
        with self._mutex:
            if self._is_writing:
                yield
                return
            if self._is_closed:
                raise ClosedError(f"{self._files}: the cache is closed")
            if self._is_read_only:
                raise BufcacheError(f"{self._files}: the cache was opened with read_only=True")
            if self._depth:
                raise InvalidArgumentError(f"{self._files}: a change was begun inside a query")
            with self._files.locked(self._lock_timeout), self.reading():
                self._is_writing = True
                try:
                    yield
                finally:
                    self._is_writing = False

    def next_id(self, table: str) -> int:
        """Return the id of the next new document; none is given twice."""
        return self.table(table).largest_id + 1

    def commit(self, edits: Iterable[Edit]) -> None:
        """Write changes, all or none, and return when they are on the disk.

        Raises
        ------
        InvalidArgumentError
            JSON cannot hold a document; nothing was written.
        """
        lines = [_line(self._with_id(edit)) for edit in edits]
        with self.writing():
            if lines:
                # What was committed is taken over as any other process will read it.
                self._tables.apply(self._log.append(lines))

    def _with_id(self, edit: Edit) -> Edit:
        if edit.document is None or edit.table not in self._schemas or edit.document.get("id") == edit.id:
            return edit
        return edit._replace(document={**edit.document, "id": edit.id})

    # -- verifying --------------------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """Read the whole log anew and return what is wrong with it, or with what is held of it in memory."""
        with self.reading():
            log, tables = Log(self._files), Tables(self._schemas, self._registered)
            try:
                for commit in log.read_on():
                    tables.apply(commit)
            except CacheFormatError as error:
                return [*log.damage, str(error)]
            rest = self._files.size(NAME) - log.end
            unfinished = [f"{NAME}: {rest} bytes at the end are of a commit that was not finished"] if rest else []
            differences = (self._differences(name, tables) for name in sorted({*self._tables, *tables}))
            return log.damage + unfinished + [problem for found in differences for problem in found]

    def _differences(self, name: str, tables: Tables) -> Iterator[str]:
        fields = self._schemas.get(name, {})
        held, read = self.table(name), tables.of(name)
        if held.ids != read.ids or not np.array_equal(held.places, read.places):
            yield f"{name}: the documents in memory are not those in the log"
            return
        for id in read.ids if fields and name not in self._registered else ():
            if self.document(name, id).get("id") != id:
                yield f"{name}: document {id} says that it is another"
        for field in fields.values():
            if held.column(field).take(held.rows) != read.column(field).take(read.rows):
                yield f"{name}: {field.name} in memory is not what the log says"


class Tables(dict[str, Columns]):
    """The documents of each table that ever had any."""

    def __init__(self, schemas: Schemas, registered: Set[str]) -> None:
        super().__init__()
        self._schemas = schemas
        self._registered = registered

    def apply(self, commit: Commit) -> None:
        """Take over the changes of a commit."""
        changes: dict[str, list[Change]] = {}
        position = commit.start
        for line in commit.lines[:-1].split(b"\n"):
            table, id, document = _parsed(line)
            if document is not None and table in self._registered:
                document = {**document, "id": id}  # it may be of a process that did not know the fields
            change = Change(id, Place(position, len(line), crc32(line)), document)
            changes.setdefault(table, []).append(change)
            position += len(line) + 1
        for table, of_table in changes.items():
            self.setdefault(table, self.of(table)).apply(of_table)

    def of(self, table: str) -> Columns:
        """Return the documents of a table, none where it never had any."""
        return self[table] if table in self else Columns(self._schemas.get(table, {}))


def _parsed(line: bytes) -> Edit:
    """Return what a document line says."""
    try:
        match orjson.loads(line):
            case [str(table), id] if _is_id(id):
                return Edit(table, id, None)
            case [str(table), id, dict(document)] if _is_id(id):
                return Edit(table, id, document)
    except orjson.JSONDecodeError:
        pass
    raise CacheFormatError(f"{NAME} has a line that verifies and is no document: {line[:80]!r}")


def _is_id(id: object) -> bool:
    return type(id) is int and -(2**63) <= id < 2**63


def _line(edit: Edit) -> bytes:
    if not _is_id(edit.id):
        raise InvalidArgumentError(f"the id of a document is {edit.id!r}; expected an integer of 64 bits")
    try:
        return encode(*edit)
    except TypeError as error:
        raise InvalidArgumentError(f"document {edit.id} of {edit.table} cannot be stored as JSON: {error}") from error
