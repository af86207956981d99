"""Bringing the entries of one machine in line with its files: compare, read, commit, remove."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from bufcache.buffer_metadata_cache import paths
from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.query import Predicate, and_, or_
from bufcache.buffer_metadata_cache.reading import Reading, read
from bufcache.buffer_metadata_cache.report import SyncReport
from bufcache.buffer_metadata_cache.scan import Failure, Fingerprint, Listing, fingerprint, walk
from bufcache.buffer_metadata_cache.store.database import Database, Edit

TABLE = BufferMetadata.__tablename__

BATCH_SIZE = 1000
"""Files a durable commit."""

_FEW = 20
"""Entries of a call up to which all may be removed at once."""


class Known(NamedTuple):
    """What the cache knows of one file; no fingerprint where the file has to be read again."""

    id: int
    fingerprint: tuple[int | None, int | None]


KnownFolders = dict[str, dict[str, Known]]


class Task(NamedTuple):
    """A file to read, and the id of the entry that it has."""

    folder: str
    name: str
    id: int | None


class Synchronisation:
    """One run over files of one machine; to be used while the database is held for writing."""

    def __init__(self, database: Database, buffer_class: type[Any], machine_id: str | None) -> None:
        self._database = database
        self._buffer_class = buffer_class
        self._machine_id = machine_id
        self._of_the_machine = BufferMetadata(machine_id=machine_id).to_document()
        self._began = time.monotonic()
        self.report = SyncReport()

    def finish(self) -> SyncReport:
        """Return the report."""
        self.report.seconds = time.monotonic() - self._began
        return self.report

    def of_folders(
        self,
        roots: Sequence[str],
        is_wanted: Callable[[str], object],
        *,
        recursive: bool,
        verbose: int,
        delete_stale_entries: bool | Literal["all"],
    ) -> SyncReport:
        """Bring the entries below folders in line with their files."""
        listings: dict[str, Listing] = {}
        for root in roots:
            for listing in walk(root, is_wanted, recursive=recursive, failures=self.report.failed):
                listings[listing.path] = listing
        unlisted = [failure.path for failure in self.report.failed]
        folder = BufferMetadata.directory_path
        known = self.known(or_(*map(folder.below, roots)) if recursive else folder.in_(roots))
        self.read(self.compare(listings.values(), known), BATCH_SIZE, verbose)
        if delete_stale_entries:
            self.remove_stale(known, listings, unlisted, force=delete_stale_entries == "all")
        return self.finish()

    # -- comparing --------------------------------------------------------------------------------------------------

    def known(self, where: Predicate) -> KnownFolders:
        """Return the entries of this machine, by folder and name."""
        return known_files(self._database, and_(BufferMetadata.machine_id == self._machine_id, where))

    def compare(self, folders: Iterable[Listing], known: Mapping[str, Mapping[str, Known]]) -> list[Task]:
        """Return the files that are new or changed, in order of their paths, and count the others."""
        tasks = []
        for folder in folders:
            known_here = known.get(folder.path, {})
            for name, found in folder.files.items():
                entry = known_here.get(name)
                if entry is not None and entry.fingerprint == found:
                    self.report.unchanged += 1
                else:
                    tasks.append(Task(folder.path, name, entry.id if entry else None))
        return sorted(tasks)  # ids, and so results without an order, follow the paths

    # -- reading ----------------------------------------------------------------------------------------------------

    def read(self, tasks: Sequence[Task], batch_size: int, verbose: int) -> None:
        """Read files and commit what they say, a batch at a time."""
        with _progress(len(tasks), verbose) as advance:
            for start in range(0, len(tasks), batch_size):
                batch = tasks[start : start + batch_size]
                readings = []
                for task in batch:
                    readings.append(read(paths.join(task.folder, task.name), self._buffer_class))
                    advance()
                self._commit(batch, readings)

    def _commit(self, tasks: Sequence[Task], readings: Sequence[Reading]) -> None:
        next_id = self._database.next_id(TABLE)
        edits = []
        for task, reading in zip(tasks, readings, strict=True):
            self._count(task, reading)
            if reading.document is None or (reading.is_skipped and task.id is None):
                continue
            id = task.id
            if id is None:
                id, next_id = next_id, next_id + 1
            edits.append(Edit(TABLE, id, {"id": id, **reading.document, **self._of_the_machine}))
        self._database.commit(edits)

    def _count(self, task: Task, reading: Reading) -> None:
        if reading.is_skipped and task.id is None:
            self.report.skipped += 1
        elif reading.error is not None:
            self.report.failed.append(Failure(paths.join(task.folder, task.name), reading.error))
        elif task.id is None:
            self.report.added += 1
        else:
            self.report.changed += 1

    # -- removing ---------------------------------------------------------------------------------------------------

    def remove_stale(
        self, known: KnownFolders, scanned: Mapping[str, Listing], out_of_reach: Iterable[str], force: bool
    ) -> None:
        """Remove the entries whose files are gone; keep those whose files may only be out of reach.

        Parameters
        ----------
        known
            The entries below the scanned folders.
        scanned
            The folders that were listed.
        out_of_reach
            The folders that could not be.
        force
            Whether to remove all the same.
        """
        gone = {path: id for path, id in _missing(known, scanned) if not _exists(path)}
        shut = {*out_of_reach, *(path for path, folder in scanned.items() if folder.is_empty)}
        removable = gone if force else {path: id for path, id in gone.items() if not _has_parent_in(path, shut)}
        total = sum(map(len, known.values()))
        if not force and total >= _FEW and 2 * len(removable) > total:
            removable = {}
        self._database.commit(Edit(TABLE, id, None) for id in removable.values())
        self.report.removed = len(removable)
        self.report.kept = len(gone) - len(removable)
        if self.report.kept:
            warnings.warn(
                f"{self.report.kept} of {total} entries have no file any more and were kept, because a folder of "
                "theirs is empty or unreadable, or because they are more than half: is a drive not mounted? "
                'delete_stale_entries="all" removes them',
                stacklevel=4,
            )


def known_files(database: Database, where: Predicate) -> KnownFolders:
    """Return the entries that match, by folder and name."""
    fields = BufferMetadata.__fields__
    columns = database.table(TABLE)
    rows = columns.match(where)
    wanted = (fields[name] for name in ("directory_path", "filename", "id", "file_size", "mtime_ns"))
    folders: KnownFolders = {}
    for folder, name, id, size, mtime_ns in zip(*columns.take(rows, wanted), strict=True):
        folders.setdefault(folder, {})[name] = Known(id, (size, mtime_ns))
    return folders


def grouped(files: Mapping[str, Fingerprint]) -> list[Listing]:
    """Return single files as the folders that they lie in."""
    folders: dict[str, dict[str, Fingerprint]] = {}
    for path, found in files.items():
        folder, name = paths.split(path)
        folders.setdefault(folder, {})[name] = found
    return [Listing(folder, names, is_empty=False) for folder, names in folders.items()]


def _missing(known: KnownFolders, scanned: Mapping[str, Listing]) -> Iterator[tuple[str, int]]:
    for folder, names in known.items():
        found = scanned[folder].files if folder in scanned else {}
        for name, entry in names.items():
            if name not in found:
                yield paths.join(folder, name), entry.id


def _exists(path: str) -> bool:
    """Tell whether there is a file, or may be one: only a clear no counts as none."""
    try:
        return fingerprint(path) is not None
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _has_parent_in(path: str, folders: set[str]) -> bool:
    while (parent := os.path.dirname(path)) != path:
        if parent in folders:
            return True
        path = parent
    return False


@contextmanager
def _progress(total: int, verbose: int) -> Iterator[Callable[[], object]]:
    """Show a bar that each call of what is given moves on by one file."""
    if not verbose or not total:
        yield lambda: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc="reading headers", unit="file") as bar:
        yield bar.update
