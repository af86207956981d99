"""The database: the tables of a store for threads and processes, of which one at a time changes them."""

from __future__ import annotations

import os
import threading
import time
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from zlib import crc32

import orjson

from bufcache.buffer_metadata_cache.index import Index
from bufcache.buffer_metadata_cache.parts import Fields, Ids, Schemas, Values
from bufcache.buffer_metadata_cache.store.changes import LARGEST_ID, is_id
from bufcache.buffer_metadata_cache.store.checking import problems
from bufcache.buffer_metadata_cache.store.compaction import Rewriting, mended
from bufcache.buffer_metadata_cache.store.files import LOCK, OWNER, Files, MemoryFiles
from bufcache.buffer_metadata_cache.store.log import encode, generations, tell
from bufcache.buffer_metadata_cache.store.own_index import OwnIndex
from bufcache.buffer_metadata_cache.store.salvage import blocks
from bufcache.buffer_metadata_cache.store.segments import FOLDER, is_name
from bufcache.buffer_metadata_cache.store.state import FLUSH_SIZE, State
from bufcache.errors import BufcacheError, CacheFormatError, CacheLockedError, ClosedError, InvalidArgumentError

_BLOCK = 100
"""Documents whose lines are in memory at a time where all are read."""

_TRIES = 10
"""How often a store is looked at that others change meanwhile."""

_LOOK_AGAIN = 0.1
"""Seconds after which a commit that somebody is writing has become longer."""


class Edit(NamedTuple):
    """A document to be written under an id of a table; None removes it."""

    table: str
    id: int
    document: Mapping[str, Any] | None


class Database:
    """The tables of a store.

    Parameters
    ----------
    files
        Where the store is.
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
        _require_ours(files)
        self._files = files
        self._schemas = dict(schemas)
        self._is_read_only = is_read_only
        self._lock_timeout = lock_timeout
        self._begin_in_process()
        self._own: dict[str, OwnIndex] = {}
        self._is_closed = False
        self._told: set[str] = set()
        try:
            self._state = State(files, schemas)
            self._tell_damage(self._state.log.damage, stacklevel=4)
        except BaseException:
            files.close()
            raise
        _databases.add(self)

    def _begin_in_process(self) -> None:
        self._mutex = threading.RLock()  # who looks at the state, or changes it
        self._writer = threading.RLock()  # who may change it, for as long as a change takes
        self._local = threading.local()
        self._has_written = False
        self._is_forked = False
        self._is_torn = False

    def begin_in_fork(self) -> None:
        """Let go, in a forked process, of what threads of the parent hold, and of the right to write."""
        self._begin_in_process()
        self._is_forked = True

    def __repr__(self) -> str:
        return repr(self._files)

    def close(self) -> None:
        """Close the files; what is asked afterwards raises ClosedError. Columns that are missing are written first."""
        with self._writer, self._mutex:
            if not self._is_closed:
                self._is_closed = True
                try:
                    self._flush_unless_locked()
                finally:
                    self._state = State(MemoryFiles(), {})  # maps nothing
                    self._files.close()

    def _flush_unless_locked(self) -> None:
        """Write the columns that are missing, unless this handle never wrote or another process is writing."""
        if not (self._has_written and self._state.unwritten):
            return
        try:
            with self._files.locked(0):
                self._refresh()
                self._state.flush()
        except (CacheLockedError, CacheFormatError, OSError):
            return  # who opens the cache next reads the log a little longer

    # -- reading ----------------------------------------------------------------------------------------------------

    @property
    def _depth(self) -> int:
        """How many readings this thread is inside of."""
        return getattr(self._local, "depth", 0)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold off the other threads, on the state of the last commit. May be nested."""
        with self._mutex:
            if self._depth == 0:
                self._require_open()
                self._refresh()
            self._local.depth = self._depth + 1
            try:
                yield
            finally:
                self._local.depth -= 1

    def _require_open(self) -> None:
        if self._is_closed:
            raise ClosedError(f"{self._files}: the cache is closed")

    def _refresh(self) -> None:
        """Take over what was committed since, also by other processes."""
        is_of_no_use = self._is_forked or self._is_torn
        with self._changing():
            if is_of_no_use or self._state.is_far_behind or self._state.read_on() is not None:
                before, self._state = self._state, State(self._files, self._schemas)
                self._state.log.is_poisoned = before.log.is_poisoned
                self._is_forked = False
        self._tell_damage(self._state.log.damage, stacklevel=6)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Have the state read anew where this is interrupted, as by Ctrl-C, since it may be changed by half.

        That is noted beforehand: no handler is sure to run to its end. After an error the state knows what holds.
        """
        before, self._is_torn = self._is_torn, True
        try:
            yield
        except Exception:
            self._is_torn = before
            raise
        self._is_torn = False

    def _tell_damage(self, found: Iterable[str], stacklevel: int) -> None:
        for damage in found:
            if damage not in self._told:
                self._told.add(damage)
                warnings.warn(
                    f"{self._files}: {damage}; what was said of files there is read again by the next synchronisation",
                    stacklevel=stacklevel,
                )

    def table(self, name: str) -> Index:
        """Return the documents of a table; empty where it has none."""
        with self._mutex:
            return self._own[name].follow(self._state) if name in self._own else self._state.table(name)

    def table_names(self) -> list[str]:
        """Return the names of the tables that have documents."""
        with self._mutex:
            return [name for name, index in self._state.tables.items() if len(index)]

    def has_fields(self, table: str) -> bool:
        """Tell whether the documents of a table have fields to ask for."""
        return table in self._schemas or table in self._own

    def register(self, table: str, fields: Fields) -> None:
        """Answer for these fields of a table, too, from now on; its documents need not say their ``id``."""
        with self._mutex:
            if table not in self._own or self._own[table].fields is not fields:
                self._own[table] = OwnIndex(table, fields)

    def document(self, table: str, id: int) -> dict[str, Any]:
        """Return a document; KeyError where there is none. The caller owns it."""
        document: dict[str, Any] = orjson.loads(self._line(table, id))[2]
        return document

    def all_lines(self, table: str) -> Iterator[tuple[int, bytes | None]]:
        """Give the ids and lines of all documents, as far as they can be rebuilt where they are damaged; else None."""
        for block in blocks(self._state, table, _BLOCK):
            yield from block

    def stored(self, table: str) -> Index:
        """Return the documents of a table as they are stored, those included that are damaged; without their fields."""
        with self._mutex:
            return self._state.table(table)

    def holds(self, edit: Edit) -> bool:
        """Tell whether a document already stands just so in the log."""
        if edit.id not in self.stored(edit.table):
            return False
        [line] = self.lines(edit.table, [edit.id])
        return line is not None and line == _line(self._with_id(edit))

    def lines(self, table: str, ids: Sequence[int]) -> list[bytes | None]:
        """Return the lines of documents in the log; None for one that is damaged, and where there is none."""
        with self.reading():
            index = self._state.table(table)
            rows = index.rows_of(ids)
            found = dict(zip(index.ids_of(rows), self._state.lines(table, rows), strict=True))
        return [found.get(id) for id in ids]

    def _line(self, table: str, id: int) -> bytes:
        state = self._state  # other threads may put another in its place
        offset, length, checksum = state.table(table).place(id)
        [line] = state.log.read_lines([offset], [length])
        if crc32(line) != checksum:
            raise CacheFormatError(
                f"{self._files}: {state.log.name} was damaged at byte {offset}, in document {id} of {table}; "
                "check(fix=True) mends what can be mended"
            )
        return line

    # -- writing ----------------------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the only right to change, on the state of the last commit. May be nested.

        Other threads may read meanwhile; they see each commit when it is made.
        """
        if getattr(self._local, "is_writing", False):
            yield
            return
        if self._depth:
            raise InvalidArgumentError(f"{self._files}: a change was begun inside a query")
        local = self._local
        with self._writer:
            self._require_open()
            if self._is_read_only:
                raise BufcacheError(f"{self._files}: the cache was opened with read_only=True")
            with self._files.locked(self._lock_timeout):
                self._has_written = True  # or may: what was found missing is made anew, too
                with self.reading():
                    pass
                local.is_writing = True
                try:
                    yield
                finally:
                    local.is_writing = False
                    if self._local is local:  # else this is a fork, which does not hold the lock
                        self._compact_where_due()

    def _compact_where_due(self) -> None:
        """Rewrite the log where that is worth it and there is room for it; else keep what there is."""
        if self._is_torn or not self._state.is_mostly_dead:  # one that is torn may lack what was committed
            return
        try:
            self._rewrite()
        except (OSError, MemoryError, BufcacheError) as error:
            tell("%s: the log could not be rewritten without what is dead: %s", self._files, error)

    def clock(self) -> int:
        """Return how many ns the clock of the files is ahead of that of this machine, as far as it is known."""
        return self._files.clock()

    def next_id(self, table: str) -> int:
        """Return the id of the next new document; none is given twice."""
        return max(self._state.table(table).largest_id, self._state.lost_up_to) + 1

    def require_id(self, table: str, id: int) -> None:
        """Raise where the id of a new document would follow the largest that there is."""
        if id > LARGEST_ID:
            raise BufcacheError(
                f"{self._files}: no id is left for a new document of {table}, as id {LARGEST_ID}, the largest that "
                "there is, was taken; give the document a smaller one that is free, or use another table or cache"
            )

    def commit(self, edits: Iterable[Edit]) -> None:
        """Write changes, all or none, and return when they are on the disk.

        Raises
        ------
        InvalidArgumentError
            JSON cannot hold a document; nothing was written.
        """
        complete = [self._with_id(edit) for edit in edits]
        lines = [_line(edit) for edit in complete]
        with self.writing(), self._mutex, self._changing():
            if lines:
                self._state.commit(lines, max(edit.id for edit in complete))
                self._flush_where_due()

    def commit_batch(self, table: str, ids: Ids, lines: Sequence[bytes], values: Mapping[str, Values]) -> None:
        """Write whole documents whose columns are known, as `State.commit_batch` does."""
        with self.writing(), self._mutex, self._changing():
            if lines:
                self._state.commit_batch(table, ids, lines, values)
                self._flush_where_due()

    def _flush_where_due(self) -> None:
        if self._state.unwritten >= FLUSH_SIZE:
            self._state.flush()

    def _with_id(self, edit: Edit) -> Edit:
        if edit.document is None or not self.has_fields(edit.table) or edit.document.get("id") == edit.id:
            return edit
        return edit._replace(document={**edit.document, "id": edit.id})

    # -- upkeep -----------------------------------------------------------------------------------------------------

    def compact(self) -> None:
        """Write what holds into a new log and forget the old one."""
        with self.writing():
            self._rewrite()

    def _rewrite(self) -> None:
        """Rewrite the log. To be called by who alone may change it; other threads may read while it is written."""
        with self._mutex, self._changing():
            before = self._state
            rewriting = Rewriting(self._files, self._schemas, before)
        rewriting.write()
        with self._mutex, self._changing():
            self._state = rewriting.finish()
        self._tell_damage(before.log.damage, stacklevel=5)

    def problems(self) -> list[str]:
        """Read the whole log anew and return what is wrong with it, with its segments, or with what is held of them."""
        for _ in range(_TRIES):
            with self.reading():
                found = problems(self._files, self._schemas, self._state)
            if found is not None:
                return found + self._unfinished()
        return [f"{self._files}: the log was rewritten again and again while it was looked at"]

    def _unfinished(self) -> list[str]:
        """Tell of bytes at the end of the log that are of no commit, and do not become one while they are looked at."""
        for _ in range(_TRIES):
            with self.reading():
                log = self._state.log
                before, size = log.position.end, self._files.size(log.name)
            if size <= before:
                return []
            time.sleep(_LOOK_AGAIN)
            with self.reading():
                if self._state.log is log and log.position.end == before and self._files.size(log.name) == size:
                    return [f"{log.name}: {size - before} bytes at the end are of a commit that was not finished"]
        return []

    def mend(self) -> list[str]:
        """Drop what cannot be trusted, rebuild what can be, and return what was wrong."""
        with self.writing(), self._mutex:
            found = self.problems()
            if found:
                with self._changing():
                    self._state, lost = mended(self._files, self._schemas)
                found += [each for each in lost if each not in found]
            return found


_databases: weakref.WeakSet[Database] = weakref.WeakSet()


def _begin_in_fork() -> None:
    for database in list(_databases):
        database.begin_in_fork()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_begin_in_fork)


def _require_ours(files: Files) -> None:
    """Raise where there is a folder of something else."""
    names = files.names()
    is_new = set(names) <= {LOCK, OWNER, FOLDER} and all(map(is_name, files.names(FOLDER)))
    if not (generations(names) or is_new):
        raise CacheFormatError(f"{files} is not a bufcache cache, and not empty; it was left untouched")


def _line(edit: Edit) -> bytes:
    if not is_id(edit.id):
        raise InvalidArgumentError(f"the id of a document is {edit.id!r}; expected an integer of 64 bits")
    try:
        return encode(*edit)
    except TypeError as error:
        raise InvalidArgumentError(f"document {edit.id} of {edit.table} cannot be stored as JSON: {error}") from error
