"""Files that moved: which of the new ones are those of entries that have lost theirs."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bufcache.buffer_metadata_cache import paths, scan
from bufcache.buffer_metadata_cache.known import Known, KnownFingerprint
from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.parts import column_of
from bufcache.buffer_metadata_cache.reading import Task
from bufcache.buffer_metadata_cache.store.database import Database

if TYPE_CHECKING:
    from bufcache.buffer_metadata_cache.batches import Batch
    from bufcache.buffer_metadata_cache.workers import Given

_TRAITS = (BufferMetadata.header_hash, BufferMetadata.file_size, BufferMetadata.mtime_ns)
"""By what a file is known again."""

_Traits = tuple[str | None, int | None, int | None]

_TOLERANCE = 2 * 10**9
"""As coarsely as file systems count time, in ns."""


class Missing(NamedTuple):
    """An entry whose file was not found."""

    folder: str
    name: str
    entry: Known

    @property
    def path(self) -> str:
        """The path that the file had."""
        return paths.join(self.folder, self.name)


class Listed(NamedTuple):
    """The folders that a synchronisation came to: those that it could list, the empty ones of these, and the others."""

    folders: set[str]
    empty: set[str]
    unreadable: set[str]

    def may_hide(self, folder: str) -> bool:
        """Tell whether a folder is, or lies below, one that is empty, as an unused mount point is, or unreadable."""
        return _lies_in(folder, self.empty) or _lies_in(folder, self.unreadable)

    def left_until(self, folder: str) -> float:
        """Return until when files may have left a folder, in ns; -inf where a listing does not tell that they have.

        They have where the folder was listed, or the nearest one above that exists. If that is empty nothing may be
        mounted there; but then it was changed before the files came to where they are now.
        """
        nearest = _nearest(folder)
        if nearest not in self.folders or _lies_in(folder, self.unreadable):
            return -inf
        if nearest not in self.empty:
            return inf
        try:
            return os.stat(nearest).st_mtime_ns + _TOLERANCE
        except OSError:  # it, too, is gone by now
            return -inf


class Moves:
    """Finds the files of entries that have lost theirs among those that are to be read.

    Parameters
    ----------
    database
        Where the entries are; what is needed of it is looked up at once.
    missing
        The entries.
    listed
        Where files were looked for.
    tasks
        The files.
    """

    def __init__(self, database: Database, missing: Iterable[Missing], listed: Listed, tasks: Sequence[Task]) -> None:
        self._left_until = {folder: listed.left_until(folder) for folder in {each.folder for each in missing}}
        may_move = {each.entry.fingerprint for each in missing if self._left_until[each.folder] > -inf}
        suspects = [task for task in tasks if task.id is None and task.fingerprint in may_move]
        self.suspects = sorted(suspects, key=attrgetter("fingerprint"))
        """The new files that may be those of entries, all of one fingerprint together."""
        self.others = [task for task in tasks if task.id is not None or task.fingerprint not in may_move]
        """All other files."""
        suspected = {task.fingerprint for task in suspects}
        self.undecided: set[KnownFingerprint] = set()
        """Fingerprints of files that could not be read: entries that have them may have moved there."""
        self._lost = _by_traits(database, [each for each in missing if each.entry.fingerprint in suspected])

    def batches(self, given: Iterable[Given]) -> Iterator[list[Given]]:
        """Give what suspects said, batch by batch; those together that share files of a fingerprint."""
        waiting: dict[int, list[Given]] = {}  # by the numbers at their ends
        for each in given:
            numbers, _ = each
            before = waiting.pop(numbers.start, []) if self._is_tied(numbers.start) else []
            behind = waiting.pop(numbers.stop, []) if self._is_tied(numbers.stop) else []
            run = [*before, each, *behind]
            tied = [end for end in (run[0][0].start, run[-1][0].stop) if self._is_tied(end)]
            waiting.update(dict.fromkeys(tied, run))
            if not tied:
                yield run

    def _is_tied(self, number: int) -> bool:
        """Tell whether a suspect has the fingerprint of the one before."""
        suspects = self.suspects
        return 0 < number < len(suspects) and suspects[number].fingerprint == suspects[number - 1].fingerprint

    def among(self, run: Sequence[Given]) -> dict[int, Missing]:
        """Return the entries whose files these are, by the numbers of the suspects.

        An entry moves to the one file that is its own where no other entry and no other file may be meant.
        """
        found: dict[_Traits, list[int]] = defaultdict(list)
        unknown: set[KnownFingerprint] = set()
        for numbers, batch in run:
            unread = numbers if isinstance(batch, str) else [numbers[number] for number in batch.undecided()]
            unknown |= {self.suspects[number].fingerprint for number in unread if may_exist(self.suspects[number].path)}
            if not isinstance(batch, str):
                for number, traits in zip(batch.files.tolist(), _traits(batch), strict=True):
                    if traits[1:] == self.suspects[numbers[number]].fingerprint:  # else it has changed since
                        found[traits].append(numbers[number])
        self.undecided |= unknown
        return {
            numbers[0]: self._lost[traits][0]
            for traits, numbers in found.items()
            if len(numbers) == len(self._lost.get(traits, ())) == 1
            and traits[1:] not in unknown
            and self._has_come(self._lost[traits][0], self.suspects[numbers[0]])
        }

    def _has_come(self, missing: Missing, task: Task) -> bool:
        """Tell whether the file that an entry had is there no more, and may be where a new one is."""
        until = self._left_until[missing.folder]
        return not may_exist(missing.path) and (until == inf or _came_at(task.path) <= until)


def _by_traits(database: Database, missing: Sequence[Missing]) -> dict[_Traits, list[Missing]]:
    """Return entries by what their files are known again by; without those that have no header hash."""
    by_id = {each.entry.id: each for each in missing}
    lost: dict[_Traits, list[Missing]] = defaultdict(list)
    with database.reading():
        index = database.table(BufferMetadata.__tablename__)
        found = index.take(index.rows_of(by_id), [BufferMetadata.id, BufferMetadata.header_hash])
    for id, header_hash in zip(*found, strict=True):
        if header_hash is not None:
            lost[header_hash, *by_id[id].entry.fingerprint].append(by_id[id])
    return lost


def _traits(batch: Batch) -> Iterator[_Traits]:
    """Give what the files of a batch are known again by."""
    rows = np.arange(len(batch.files))
    return zip(*(column_of(field.kind, batch.values[field.name]).take(rows) for field in _TRAITS), strict=True)


def may_exist(path: str) -> bool:
    """Tell whether there is a file, or may be one: only a clear no counts as none."""
    try:
        return scan.fingerprint(path) is not None
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL, which no path has
        return False
    except OSError:
        return True


def _came_at(path: str) -> float:
    """Return when a file, whatever its modification time, came to its path, in ns, or later."""
    try:
        return os.stat(path).st_ctime_ns
    except OSError:
        return inf


def _nearest(folder: str) -> str:
    while not os.path.lexists(folder) and (parent := os.path.dirname(folder)) != folder:
        folder = parent
    return folder


def _lies_in(folder: str, folders: Container[str]) -> bool:
    """Tell whether a folder is one of the others, or lies below one."""
    while folder not in folders:
        parent = os.path.dirname(folder)
        if parent == folder:
            return False
        folder = parent
    return True
