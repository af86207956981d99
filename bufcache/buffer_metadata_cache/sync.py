"""Bringing the entries of one machine in line with its files: compare, read, commit, remove."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bufcache.buffer_metadata_cache import paths
from bufcache.buffer_metadata_cache.intake import TABLE, Intake
from bufcache.buffer_metadata_cache.known import KnownFiles, KnownFolder
from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.moves import Listed, Missing, Moves, may_exist
from bufcache.buffer_metadata_cache.query import Predicate, and_, or_
from bufcache.buffer_metadata_cache.reading import Task
from bufcache.buffer_metadata_cache.report import SyncReport
from bufcache.buffer_metadata_cache.scan import Fingerprint, Listing, fingerprints, walk
from bufcache.buffer_metadata_cache.store.database import Database, Edit

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from bufcache.buffer_metadata_cache.workers import Reader

BATCH_SIZE = 2000
"""Files a durable commit of a synchronisation: as many as make a segment of columns."""

_FEW_ENTRIES = 20
"""Entries of a call below which all may be removed at once."""

_FEW_FILES = 1000
"""Given files up to which only entries of their names are looked at, not all of their folders."""


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


class Synchronisation:
    """One run over files of one machine; to be used while the database is held for writing, unless it is dry."""

    def __init__(self, database: Database, options: Options) -> None:
        self._database = database
        self._options = options
        self._began = time.monotonic()
        self.report = SyncReport()
        self._intake = Intake(database, options.machine_id, self.report, is_dry=options.is_dry)
        self._missing: list[Missing] = []

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
        listed = Listed(set(), set(), set())
        tasks: list[Task] = []
        for root in roots:
            for listing in walk(root, is_wanted, recursive=recursive, failures=self.report.failed):
                if listing.path not in listed.folders:
                    listed.folders.add(listing.path)
                    if listing.is_empty:
                        listed.empty.add(listing.path)
                    tasks += self._compared(listing, known)
        listed.unreadable.update(failure.path for failure in self.report.failed)
        for path in known.folders:
            self._note_missing(path, known.take(path))
        self._read(tasks, listed)
        if delete_stale_entries:
            self._remove_stale(len(known), listed, force=delete_stale_entries == "all")
        return self._finish()

    def of_files(self, files: Iterable[str], *, reads_all: bool) -> SyncReport:
        """Bring the entries of single files in line with them; with `reads_all` without comparing them."""
        folders = self._listed(files)
        where = BufferMetadata.directory_path.in_([folder.path for folder in folders])
        if sum(len(folder.files) for folder in folders) <= _FEW_FILES:
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
        self._read(tasks)
        return self._finish()

    def _listed(self, files: Iterable[str]) -> list[Listing]:
        """Return single files as the folders that they lie in; what is no file is counted."""
        folders: dict[str, dict[str, Fingerprint]] = {}
        for path, found in fingerprints(files, self.report.failed):
            if found is None:
                self.report.skipped += 1
            else:
                folder, name = paths.split(path)
                folders.setdefault(folder, {})[name] = found
        return [Listing(folder, names, is_empty=False) for folder, names in folders.items()]

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
        if entries:
            self._note_missing(folder, known_here, entries)

    def _note_missing(self, folder: str, known: KnownFolder, names: Container[str] | None = None) -> None:
        """Note the entries of a folder, or those of some names, as such that have no file."""
        entries = known.all_entries()
        self._missing += [Missing(folder, name, entry) for name, entry in entries if names is None or name in names]

    # -- reading ----------------------------------------------------------------------------------------------------

    def _read(self, tasks: list[Task], listed: Listed | None = None) -> None:
        """Read files and commit what they say, a batch at a time; where folders were listed files may have moved."""
        if not tasks:
            return
        from bufcache.buffer_metadata_cache.workers import Reader  # which a query does without

        options = self._options
        reader = Reader(options.buffer_class, self._database.clock(), options.batch_size, options.executor)
        tasks.sort()  # ids, and so results without an order, follow the paths
        with _progress(len(tasks), options.verbose) as advance:
            if self._missing and listed:
                moves = Moves(self._database, self._missing, listed, tasks)
                tasks = moves.others
                self._take_moved(moves, reader, advance)
            for numbers, batch in reader.read(tasks, advance):
                self._intake.take(tasks[numbers.start : numbers.stop], batch)

    def _take_moved(self, moves: Moves, reader: Reader, advance: Callable[[int], object]) -> None:
        """Read the files that may have moved, and let the entries go with them whose files they are."""
        moved: set[int] = set()
        for run in moves.batches(reader.read(moves.suspects, advance)):
            ids = {number: missing.entry.id for number, missing in moves.among(run).items()}
            for numbers, batch in run:
                here = {number - numbers.start: ids[number] for number in numbers if number in ids}
                self._intake.take(moves.suspects[numbers.start : numbers.stop], batch, here, may_have_moved=True)
            moved.update(ids.values())
        self._missing = [
            missing
            for missing in self._missing
            if missing.entry.id not in moved and missing.entry.fingerprint not in moves.undecided
        ]

    # -- removing ---------------------------------------------------------------------------------------------------

    def _remove_stale(self, total: int, listed: Listed, force: bool) -> None:
        """Remove the entries whose files are gone; keep those whose files may only be out of reach.

        Parameters
        ----------
        total
            How many entries there were.
        listed
            Where files were looked for.
        force
            Whether to remove all the same.
        """
        gone = [missing for missing in self._missing if not may_exist(missing.path)]
        removable = [missing for missing in gone if force or not listed.may_hide(missing.folder)]
        if not force and total >= _FEW_ENTRIES and 2 * len(removable) > total:
            removable = []
        if not self._options.is_dry:
            self._database.commit(Edit(TABLE, missing.entry.id, None) for missing in removable)
        self.report.removed = len(removable)
        self.report.kept = len(gone) - len(removable)
        if self.report.kept:
            warnings.warn(
                f"{self.report.kept} of {total} entries have no file any more and were kept, because a folder of "
                "theirs is empty or unreadable, or because they are more than half: is a drive not mounted? "
                'delete_stale_entries="all" removes them',
                stacklevel=4,
            )


@contextmanager
def _progress(total: int, verbose: int) -> Iterator[Callable[[int], object]]:
    """Show a bar that each call of what is given moves on by so many files."""
    if not verbose:
        yield lambda count: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc="reading headers", unit="file") as bar:
        yield bar.update
