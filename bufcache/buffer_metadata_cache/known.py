"""What the cache knows of files, to compare folders with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Any, NamedTuple

import numpy as np

from bufcache.buffer_metadata_cache.columns import Rows
from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.query import Predicate
from bufcache.buffer_metadata_cache.store.database import Database

_FIELDS = tuple(BufferMetadata.__fields__[name] for name in ("filename", "id", "file_size", "mtime_ns", "is_racy"))

_BLOCK = 20_000
"""Entries that are looked up at a time: enough to cost little each, few enough to need little memory."""

KnownFingerprint = tuple[int | None, int | None]
"""Size and modification time as the cache has them; without the time the file has to be read again."""


class Known(NamedTuple):
    """What the cache knows of one file; `is_racy` where its fingerprint alone is not to be trusted yet."""

    id: int
    fingerprint: KnownFingerprint
    is_racy: bool


class KnownFolder(NamedTuple):
    """The entries of a folder, a list for each of their fields."""

    names: Sequence[str]
    ids: Sequence[int]
    sizes: Sequence[int | None]
    times: Sequence[int | None]
    racy: Sequence[bool | None]

    @property
    def has_racy(self) -> bool:
        """Whether there are files whose fingerprint is not to be trusted yet."""
        return True in self.racy

    def fingerprints(self) -> dict[str, KnownFingerprint]:
        """Return the fingerprint of each file; where several entries stand for one, the newest counts."""
        return dict(zip(self.names, zip(self.sizes, self.times, strict=True), strict=True))

    def entries(self) -> dict[str, Known]:
        """Return what is known of each file; where several entries stand for one, the newest counts."""
        return dict(self.all_entries())

    def all_entries(self) -> Iterator[tuple[str, Known]]:
        """Give the name and the rest of each entry, also of those that stand for one file."""
        fingerprints = zip(self.sizes, self.times, strict=True)
        return zip(self.names, map(Known, self.ids, fingerprints, map(bool, self.racy)), strict=True)


_NOTHING = KnownFolder((), (), (), (), ())


class KnownFiles:
    """The entries that match, folder by folder: each can be taken once, and needs memory only when its turn comes.

    Parameters
    ----------
    database
        Where they are. Once it has been changed none may be taken any more, unless `load` was called before.
    where
        What they match.
    """

    def __init__(self, database: Database, where: Predicate) -> None:
        self._database = database
        self._rows: dict[str, list[Rows]] = {}
        self._loaded: dict[str, KnownFolder] = {}
        with database.reading():
            index = database.table(BufferMetadata.__tablename__)
            rows = index.match(where & BufferMetadata.filepath.is_not(None))  # others were put there by hand
            [folders] = index.take(rows, [BufferMetadata.directory_path])
        self._count = len(rows)
        start = 0
        for folder, run in groupby(folders):
            stop = start + sum(1 for _ in run)
            self._rows.setdefault(folder, []).append(rows[start:stop])
            start = stop

    def __len__(self) -> int:
        return self._count

    @property
    def folders(self) -> list[str]:
        """The folders that have entries and were not taken yet."""
        return [*self._loaded, *self._rows]

    def take(self, folder: str) -> KnownFolder:
        """Return the entries of a folder; none the next time."""
        if folder in self._rows:
            self._load([folder, *self._following()])
        return self._loaded.pop(folder, _NOTHING)

    def load(self) -> None:
        """Look up all entries now, so that nothing that becomes of the database changes them."""
        self._load(list(self._rows))

    def _following(self) -> list[str]:
        """Return the folders that will be asked for soon: they were read in the order in which they are listed."""
        found, count = [], 0
        for folder, runs in self._rows.items():
            found.append(folder)
            count += sum(map(len, runs))
            if count >= _BLOCK:
                break
        return found

    def _load(self, folders: Sequence[str]) -> None:
        runs = {folder: self._rows.pop(folder) for folder in dict.fromkeys(folders)}
        if not runs:
            return
        with self._database.reading():
            index = self._database.table(BufferMetadata.__tablename__)
            columns = index.take(np.concatenate([run for each in runs.values() for run in each]), _FIELDS)
        values = list(map(iter, columns))
        for folder, each in runs.items():
            count = sum(map(len, each))
            self._loaded[folder] = KnownFolder(*(_next(count, column) for column in values))


def _next(count: int, values: Any) -> list[Any]:
    return list(islice(values, count))


def doubled(database: Database) -> dict[tuple[str | None, str], list[int]]:
    """Return the machines and paths that have several entries, with the ids of these."""
    index = database.table(BufferMetadata.__tablename__)
    rows = index.match(BufferMetadata.filepath.is_not(None))
    keys = list(zip(*index.take(rows, [BufferMetadata.machine_id, BufferMetadata.filepath]), strict=True))
    counts = Counter(keys)
    found: dict[tuple[str | None, str], list[int]] = {}
    if len(counts) < len(keys):
        for key, id in zip(keys, index.ids_of(rows), strict=True):
            if counts[key] > 1:
                found.setdefault(key, []).append(id)
    return found
