"""Bringing the entries of one machine in line with its files: compare, read, commit, remove."""

from __future__ import annotations

import os
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from bufcache.buffer_metadata_cache import paths
from bufcache.buffer_metadata_cache.intake import TABLE, Intake
from bufcache.buffer_metadata_cache.known import Known, KnownFiles, KnownFingerprint
from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.query import Predicate, and_, or_
from bufcache.buffer_metadata_cache.reading import Task
from bufcache.buffer_metadata_cache.report import SyncReport
from bufcache.buffer_metadata_cache.scan import Fingerprint, Listing, fingerprint, walk
from bufcache.buffer_metadata_cache.store.database import Database, Edit

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from bufcache.buffer_metadata_cache.workers import Given

BATCH_SIZE = 2000
"""Files a durable commit of a synchronisation: as many as make a segment of columns."""

_FEW_ENTRIES = 20
"""Entries of a call below which all may be removed at once."""

_FEW_FILES = 1000
"""Given files up to which only entries of their names are looked at, not all of their folders."""

_TRAITS = ("header_hash", "file_size", "mtime_ns")
"""By what a file is known again that was moved."""


class Options(NamedTuple):
    """How a synchronisation goes about it.

    Attributes
    ----------
    buffer_class
        What opens the files.
    machine_id
        The machine whose entries these are.
    batch_size
        Files a durable commit.
    executor
        Who reads the files; None to decide by how long it takes.
    is_dry
        Whether nothing is changed.
    verifies
        Whether files are read, too, whose fingerprint has not changed.
    verbose
        1 shows a bar.
    """

    buffer_class: type[Any]
    machine_id: str | None
    batch_size: int = BATCH_SIZE
    executor: Executor | None = None
    is_dry: bool = False
    verifies: bool = False
    verbose: int = 0


class _Missing(NamedTuple):
    """An entry whose file was not found."""

    folder: str
    name: str
    entry: Known


class Synchronisation:
    """One run over files of one machine; to be used while the database is held for writing, unless it is dry."""

    def __init__(self, database: Database, options: Options) -> None:
        self._database = database
        self._options = options
        self._began = time.monotonic()
        self.report = SyncReport()
        self._intake = Intake(database, options.machine_id, self.report, is_dry=options.is_dry)
        self._missing: list[_Missing] = []

    def of_folders(
        self,
        roots: Sequence[str],
        is_wanted: Callable[[str], object],
        *,
        recursive: bool,
        delete_stale_entries: bool | Literal["all"],
    ) -> SyncReport:
        """Bring the entries below folders in line with their files."""
        folder = BufferMetadata.directory_path
        known = self._known(or_(*map(folder.below, roots)) if recursive else folder.in_(roots))
        listed: set[str] = set()
        out_of_reach: set[str] = set()
        tasks: list[Task] = []
        for root in roots:
            for listing in walk(root, is_wanted, recursive=recursive, failures=self.report.failed):
                if listing.path not in listed:
                    listed.add(listing.path)
                    if listing.is_empty:  # as is a mount point of what is not mounted
                        out_of_reach.add(listing.path)
                    tasks += self._compared(listing, known)
        out_of_reach.update(failure.path for failure in self.report.failed)
        for path in known.folders:
            self._note_missing(path, known.take(path).entries())
        self._read(tasks, _gone((missing.folder for missing in self._missing), listed, out_of_reach))
        if delete_stale_entries:
            self._remove_stale(len(known), out_of_reach, force=delete_stale_entries == "all")
        return self._finish()

    def of_files(self, files: Mapping[str, Fingerprint], *, reads_all: bool) -> SyncReport:
        """Bring the entries of single files in line with them; with `reads_all` without comparing them."""
        folders = _grouped(files)
        where = BufferMetadata.directory_path.in_([folder.path for folder in folders])
        if len(files) <= _FEW_FILES:
            where &= BufferMetadata.filename.in_([name for folder in folders for name in folder.files])
        known = self._known(where)
        tasks: list[Task] = []
        for listing in folders:
            if reads_all:
                ids = {name: entry.id for name, entry in known.take(listing.path).entries().items()}
                tasks += [Task(listing.path, name, found, ids.get(name)) for name, found in listing.files.items()]
            else:
                tasks += self._compared(listing, known)
        self._missing.clear()  # nobody looked for the others
        self._read(tasks, gone=())
        return self._finish()

    def _finish(self) -> SyncReport:
        self.report.seconds = time.monotonic() - self._began
        return self.report

    # -- comparing --------------------------------------------------------------------------------------------------

    def _known(self, where: Predicate) -> KnownFiles:
        with self._database.reading():
            known = KnownFiles(self._database, and_(BufferMetadata.machine_id == self._options.machine_id, where))
            if self._options.is_dry:  # others may change the cache meanwhile
                known.load()
            return known

    def _compared(self, listing: Listing, known: KnownFiles) -> Iterator[Task]:
        """Give the files of a folder that are to be read, count the others, and note the entries without a file."""
        folder, files = listing.path, listing.files
        known_here = known.take(folder)
        if not (self._options.verifies or known_here.has_racy) and known_here.fingerprints() == files:
            self.report.unchanged += len(files)
            return
        entries = known_here.entries()
        for name, found in files.items():
            entry = entries.pop(name, None)
            if entry is None:
                yield Task(folder, name, found)
            elif entry.fingerprint != found:
                yield Task(folder, name, found, entry.id)
            elif entry.is_racy or self._options.verifies:
                yield Task(folder, name, found, entry.id, is_check=True)
            else:
                self.report.unchanged += 1
        self._note_missing(folder, entries)

    def _note_missing(self, folder: str, entries: Mapping[str, Known]) -> None:
        self._missing += [_Missing(folder, name, entry) for name, entry in entries.items()]

    # -- reading ----------------------------------------------------------------------------------------------------

    def _read(self, tasks: list[Task], gone: Container[str]) -> None:
        """Read files and commit what they say, a batch at a time; files of the folders `gone` may have moved."""
        if not tasks:
            return
        from bufcache.buffer_metadata_cache.workers import Reader  # which a query does without

        options = self._options
        reader = Reader(options.buffer_class, self._database.clock(), options.batch_size, options.executor)
        tasks.sort()  # ids, and so results without an order, follow the paths
        with _progress(len(tasks), options.verbose) as advance:
            suspects, others = self._suspects(tasks, gone)
            self._take_moved(suspects, list(reader.read(suspects, advance)), gone)
            for numbers, batch in reader.read(others, advance):
                self._intake.take(others[numbers.start : numbers.stop], batch)

    def _suspects(self, tasks: list[Task], gone: Container[str]) -> tuple[list[Task], list[Task]]:
        """Return the new files that may be those of entries that have lost theirs, and all other files."""
        fingerprints = {missing.entry.fingerprint for missing in self._missing if missing.folder in gone}
        if not fingerprints:
            return [], tasks
        is_suspect = [task.id is None and task.fingerprint in fingerprints for task in tasks]
        pairs = list(zip(tasks, is_suspect, strict=True))
        return [task for task, suspected in pairs if suspected], [task for task, suspected in pairs if not suspected]

    def _take_moved(self, suspects: Sequence[Task], given: Sequence[Given], gone: Container[str]) -> None:
        """Let entries move to the one file that is theirs where no other entry and no other file may be meant."""
        found: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for numbers, batch in given:
            if not isinstance(batch, str):
                for number, document in zip(batch.files.tolist(), batch.documents, strict=True):
                    found[_traits(orjson.loads(document))].append(numbers[number])
        lost = self._missing_by_traits({task.fingerprint for task in suspects})
        moved = {
            numbers[0]: lost[traits][0]
            for traits, numbers in found.items()
            if None not in traits and len(numbers) == len(lost[traits]) == 1 and _is_gone(lost[traits][0], gone)
        }
        for numbers, batch in given:
            ids = {number - numbers.start: moved[number].entry.id for number in numbers if number in moved}
            self._intake.take(suspects[numbers.start : numbers.stop], batch, ids)
        taken = {missing.entry.id for missing in moved.values()}
        self._missing = [missing for missing in self._missing if missing.entry.id not in taken]

    def _missing_by_traits(self, fingerprints: Container[KnownFingerprint]) -> dict[tuple[Any, ...], list[_Missing]]:
        """Return the entries without a file that have one of these fingerprints, wherever they are."""
        lost: dict[tuple[Any, ...], list[_Missing]] = defaultdict(list)
        with self._database.reading():
            for missing in self._missing:
                if missing.entry.fingerprint in fingerprints:
                    lost[_traits(self._database.document(TABLE, missing.entry.id))].append(missing)
        return lost

    # -- removing ---------------------------------------------------------------------------------------------------

    def _remove_stale(self, total: int, out_of_reach: set[str], force: bool) -> None:
        """Remove the entries whose files are gone; keep those whose files may only be out of reach.

        Parameters
        ----------
        total
            How many entries there were.
        out_of_reach
            The folders that are empty, or could not be listed.
        force
            Whether to remove all the same.
        """
        paths_of_missing = {paths.join(missing.folder, missing.name): missing.entry.id for missing in self._missing}
        gone = {path: id for path, id in paths_of_missing.items() if not _exists(path)}
        removable = {
            path: id for path, id in gone.items() if force or not _lies_in(os.path.dirname(path), out_of_reach)
        }
        if not force and total >= _FEW_ENTRIES and 2 * len(removable) > total:
            removable = {}
        if not self._options.is_dry:
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


def _traits(document: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(map(document.get, _TRAITS))


def _gone(folders: Iterable[str], listed: Container[str], out_of_reach: Container[str]) -> set[str]:
    """Return the folders of which a listing tells what became of their files.

    They were listed, or the nearest folder above that exists was: then they are gone. Others are only out of reach.
    """
    return {folder for folder in set(folders) if _nearest(folder) in listed and not _lies_in(folder, out_of_reach)}


def _is_gone(missing: _Missing, gone: Container[str]) -> bool:
    """Tell whether there is no file any more; there may be one whose name does not match this time."""
    return missing.folder in gone and not _exists(paths.join(missing.folder, missing.name))


def _nearest(folder: str) -> str:
    while not os.path.lexists(folder) and (parent := os.path.dirname(folder)) != folder:
        folder = parent
    return folder


def _grouped(files: Mapping[str, Fingerprint]) -> list[Listing]:
    """Return single files as the folders that they lie in."""
    folders: dict[str, dict[str, Fingerprint]] = {}
    for path, found in files.items():
        folder, name = paths.split(path)
        folders.setdefault(folder, {})[name] = found
    return [Listing(folder, names, is_empty=False) for folder, names in folders.items()]


def _exists(path: str) -> bool:
    """Tell whether there is a file, or may be one: only a clear no counts as none."""
    try:
        return fingerprint(path) is not None
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _lies_in(folder: str, folders: Container[str]) -> bool:
    """Tell whether a folder is one of the others, or lies below one."""
    while folder not in folders:
        parent = os.path.dirname(folder)
        if parent == folder:
            return False
        folder = parent
    return True


@contextmanager
def _progress(total: int, verbose: int) -> Iterator[Callable[[int], object]]:
    """Show a bar that each call of what is given moves on by so many files."""
    if not verbose:
        yield lambda count: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc="reading headers", unit="file") as bar:
        yield bar.update
