"""Taking over what files said, as commits and in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.parts import Values, encoded, of_rows
from bufcache.buffer_metadata_cache.report import SyncReport
from bufcache.buffer_metadata_cache.scan import Failure
from bufcache.buffer_metadata_cache.store.database import Database

if TYPE_CHECKING:
    from bufcache.buffer_metadata_cache.batches import Batch
    from bufcache.buffer_metadata_cache.reading import Task

TABLE = BufferMetadata.__tablename__
_NONE: Mapping[int, int] = MappingProxyType({})


class Intake:
    """Takes over what files of one machine said.

    Parameters
    ----------
    database
        Where to; held for writing, unless the run is dry.
    machine_id
        The machine.
    report
        Where each file is counted.
    is_dry
        Whether nothing is committed.
    """

    def __init__(self, database: Database, machine_id: str | None, report: SyncReport, *, is_dry: bool) -> None:
        self._database = database
        self._machine_id = machine_id
        self._report = report
        self._is_dry = is_dry
        said = orjson.dumps(BufferMetadata(machine_id=machine_id).to_document())
        self._end = (b"," + said[1:] if len(said) > 2 else b"}") + b"]"  # more than {}

    def take(
        self,
        tasks: Sequence[Task],
        batch: Batch | str,
        moved_to: Mapping[int, int] = _NONE,
        *,
        may_have_moved: bool = False,
    ) -> None:
        """Count the files of a batch, and commit what they said.

        Parameters
        ----------
        tasks
            The files.
        batch
            What they said, or why that could not be learned.
        moved_to
            The ids of entries whose files moved to these, by their numbers.
        may_have_moved
            Whether new files may be those of entries: one that cannot be read this time gets no entry of its own yet.
        """
        if isinstance(batch, str):
            self._report.failed += [Failure(task.path, batch) for task in tasks]
            return
        next_id = self._database.next_id(TABLE)
        if self._are_all_new(tasks, batch, moved_to):
            self._report.added += len(tasks)
            self._commit(batch, list(range(next_id, next_id + len(tasks))), list(range(len(tasks))))
            return
        rows = {number: row for row, number in enumerate(batch.files.tolist())}
        as_before, undecided = self._as_before(tasks, batch, rows), batch.undecided()
        ids, kept = [], []
        for number, task in enumerate(tasks):
            row, id = rows.get(number), moved_to.get(number, task.id)
            if number in as_before:
                self._report.unchanged += 1
                is_written = as_before[number]
            else:
                is_written = self._is_news(number, task, batch, row, number in moved_to)
                if number in undecided and (may_have_moved or id is not None):
                    is_written = False  # it may be read the next time
            if row is None or not is_written:
                continue
            if id is None:
                id, next_id = next_id, next_id + 1
            ids.append(id)
            kept.append(row)
        if ids:
            self._commit(batch, ids, kept)

    def _are_all_new(self, tasks: Sequence[Task], batch: Batch, moved_to: Mapping[int, int]) -> bool:
        """Tell whether nothing is special about any file of a batch, as in most of a first synchronisation."""
        return not (batch.errors or batch.skipped or moved_to) and all(task.id is None for task in tasks)

    def _as_before(self, tasks: Sequence[Task], batch: Batch, rows: Mapping[int, int]) -> dict[int, bool]:
        """Return the numbers of checked files that say what they said before, and whether their mark goes."""
        ids = {n: task.id for n, task in enumerate(tasks) if task.is_check and task.id is not None}
        lines = self._database.lines(TABLE, list(ids.values())) if ids else []
        found = {}
        for (number, id), line in zip(ids.items(), lines, strict=True):
            if line is None or number not in rows:
                continue  # it is damaged, and written anew; or there is no file any more
            now = self._line(id, batch.documents[rows[number]])
            if _say_the_same(line, now):
                found[number] = line != now and _is_marked(line) and not _is_marked(now)
            elif number in batch.errors and _document(line).get("opening_error") == batch.errors[number]:
                found[number] = False
        return found

    def _is_news(self, number: int, task: Task, batch: Batch, row: int | None, is_moved: bool) -> bool:
        """Count a file, and tell whether what it said is to be written."""
        report = self._report
        if number in batch.skipped and (task.id is None or row is None):  # without a row it is no file at all any more
            report.skipped += 1
            return False
        if number in batch.errors:
            report.failed.append(Failure(task.path, batch.errors[number]))
        elif is_moved:
            report.moved += 1
        elif task.id is None:
            report.added += 1
        else:
            report.changed += 1
        return True

    def _commit(self, batch: Batch, ids: list[int], rows: list[int]) -> None:
        if self._is_dry:
            return
        order = sorted(range(len(ids)), key=ids.__getitem__)
        ids, rows = [ids[place] for place in order], [rows[place] for place in order]
        self._database.require_id(TABLE, ids[-1])
        documents = batch.documents
        lines = [self._line(id, documents[row]) for id, row in zip(ids, rows, strict=True)]
        values = dict(batch.values)
        if rows != list(range(len(documents))):
            chosen = np.array(rows, np.intp)
            values = {name: of_rows(column, chosen) for name, column in values.items()}
        values["id"] = Values(np.array(ids, np.int64), None)
        values["machine_id"] = encoded(BufferMetadata.machine_id.kind, [self._machine_id] * len(ids))
        self._database.commit_batch(TABLE, values["id"].array, lines, values)

    def _line(self, id: int, document: bytes) -> bytes:
        """Return the line of a document in the log."""
        return b'["%b",%d,{"id":%d,%b%b' % (_TABLE, id, id, document[1:-1], self._end)


_TABLE = TABLE.encode()
_OF_THE_ENTRY = frozenset({"id", "machine_id", "is_racy"})


def _document(line: bytes) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(line)[2]
    return document


def _say_the_same(line: bytes, other: bytes) -> bool:
    """Tell whether two lines say the same of the file itself."""
    return line == other or _content(line) == _content(other)


def _content(line: bytes) -> dict[str, Any]:
    return {name: value for name, value in _document(line).items() if name not in _OF_THE_ENTRY}


def _is_marked(line: bytes) -> bool:
    """Tell whether an entry is marked as too new to be sure of."""
    return "is_racy" in _document(line)
