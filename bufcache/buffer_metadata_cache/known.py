"""What the cache knows of files, to compare folders with."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from bufcache.buffer_metadata_cache.index import Index
from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.query import Predicate

_FIELDS = tuple(
    BufferMetadata.__fields__[name] for name in ("directory_path", "filename", "id", "file_size", "mtime_ns", "is_racy")
)

KnownFingerprint = tuple[int | None, int | None]
"""Size and modification time as the cache has them; without the time the file has to be read again."""


class Known(NamedTuple):
    """What the cache knows of one file; `is_racy` where its fingerprint alone is not to be trusted yet."""

    id: int
    fingerprint: KnownFingerprint
    is_racy: bool


class KnownFiles:
    """The entries that match, by folder and name; where several stand for one file, the newest."""

    def __init__(self, index: Index, where: Predicate) -> None:
        folders, self._names, self._ids, sizes, times, self._racy = index.take(index.match(where), _FIELDS)
        self._fingerprints: list[KnownFingerprint] = list(zip(sizes, times, strict=True))
        self._runs: dict[str, list[slice]] = {}
        start = 0
        for folder, run in groupby(folders):
            stop = start + sum(1 for _ in run)
            self._runs.setdefault(folder, []).append(slice(start, stop))
            start = stop

    def __len__(self) -> int:
        return len(self._names)

    @property
    def folders(self) -> list[str]:
        """The folders that have entries."""
        return list(self._runs)

    def fingerprints(self, folder: str) -> dict[str, KnownFingerprint]:
        """Return the fingerprint of each file in a folder."""
        found: dict[str, KnownFingerprint] = {}
        for run in self._runs.get(folder, ()):
            found.update(zip(self._names[run], self._fingerprints[run], strict=True))
        return found

    def has_racy(self, folder: str) -> bool:
        """Tell whether a folder has files whose fingerprint is not to be trusted yet."""
        return any(True in self._racy[run] for run in self._runs.get(folder, ()))

    def entries(self, folder: str) -> dict[str, Known]:
        """Return what is known of each file in a folder."""
        found: dict[str, Known] = {}
        for run in self._runs.get(folder, ()):
            flags = map(bool, self._racy[run])
            known = map(Known, self._ids[run], self._fingerprints[run], flags)
            found.update(zip(self._names[run], known, strict=True))
        return found

    def files(self) -> Iterator[tuple[str, str, Known]]:
        """Give folder, name and what is known of each file."""
        for folder in self._runs:
            for name, known in self.entries(folder).items():
                yield folder, name, known
