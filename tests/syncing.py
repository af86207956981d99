"""Synchronising in tests: short calls, and what their reports count."""

import time

from bufcache.buffer_metadata_cache.store.database import Database


def sync(cache, *folders, **options):
    return cache.synchronize_directory(*folders, verbose=0, **options)


def counts(report):
    """Return what a report counts, without the zeros."""
    names = ("added", "changed", "moved", "unchanged", "removed", "kept", "skipped")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


def told(report):
    """Return all that a report says but how long it took; the failures in order."""
    return counts(report), sorted(report.failed)


def paths_of(cache):
    return sorted(cache.get_matching_files())


def the_entry(cache):
    [entry] = cache.get_matching_metadata()
    return entry


class Clock:
    """What the clock of the files shows, from when it is set on; it goes as any clock does."""

    def __init__(self, monkeypatch):
        self._ahead = 0
        monkeypatch.setattr(Database, "clock", lambda database: self._ahead)

    def set(self, seconds):
        self._ahead = seconds * 10**9 - time.time_ns()
