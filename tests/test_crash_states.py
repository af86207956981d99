"""Crashes of the system: in each state that one may leave on the disk, the store is that of a commit, and goes on."""

import errno
import logging
import os
import random

import pytest
from disks import Disk, Known, Stopped, crash_states
from stores import (
    COMPACT,
    FIRST,
    LIFE,
    KeptMemory,
    OnDisk,
    after,
    contents,
    do,
    insert,
    limit,
    note,
    open_database,
)

from bufcache.buffer_metadata_cache.store import log as store_log
from bufcache.buffer_metadata_cache.store.files import UnsyncedError


@pytest.fixture(autouse=True)
def without_a_word(caplog):
    """Keep nothing of what is logged of torn tails and damaged columns, thousands of times."""
    caplog.set_level(logging.ERROR)


SHORT = [*FIRST, [note(1, number=2), note(2, number=2)], COMPACT, [note(3, number=3)]]
FURTHER = {
    "commits": [[note(4, number=4)], COMPACT, [note(5, number=5)]],
    "rewrites": [COMPACT, [note(4, number=4)]],
}


class Recorded:
    """A store whose system calls are recorded, with what its process knew at each of them."""

    def __init__(self, path, before=lambda kind, name: None):
        self.place = OnDisk(path)
        self.disk = Disk(path, before)
        self.known = {0: Known(0, 0)}
        self.expected = [{}]
        self.acknowledged = 0

    def live(self, steps):
        """Open the store, do steps, close it."""
        files = self.place.files()
        with pytest.MonkeyPatch.context() as patch:
            self.disk.install(patch)
            try:
                database = open_database(files)
                for step in steps:
                    self.do(database, step)
                database.close()
            except Stopped:
                files.close()
                raise

    def live_until(self, steps, moment):
        """Do steps until the process is killed, before a call or in the middle of it; tell whether it was."""
        count = 0

        def kill(kind, name):
            nonlocal count
            count += kind not in ("read", "map")
            if count > moment:
                error = Stopped()
                error.written = 7 * (count == moment + 1)
                raise error

        self.disk.before = kill
        try:
            self.live(steps)
        except Stopped:
            return True
        finally:
            self.disk.before = lambda kind, name: None
        return False

    def look(self):
        """Take for certain what there is after a process was killed; its last commit may be missing."""
        database = open_database(self.place.files(), is_read_only=True)
        found = contents(database)
        database.close()
        if found != self.expected[-1]:
            del self.expected[-1]
        assert found == self.expected[-1]
        self.know()

    def do(self, database, step):
        if step == COMPACT:
            do(database, step)
            return
        self.expected.append(after(self.expected[-1], step))
        self.know()
        do(database, step)
        self.acknowledged = len(self.expected) - 1
        self.know()

    def know(self):
        self.known[len(self.disk.calls)] = Known(len(self.expected) - 1, self.acknowledged)

    def states(self, **options):
        """Return the different states of crashes, and for each the fewest and the most commits that it must have."""
        found = {}
        for files, known in crash_states(self.disk.calls, self.known, **options):
            key = tuple(sorted(files.items()))
            least, most = found.get(key, (0, len(self.expected)))
            found[key] = max(least, known.acknowledged), min(most, known.begun)
        return [(dict(key), *limits) for key, limits in found.items()]


class Left(KeptMemory):
    """The files that a crash left."""

    def __init__(self, files):
        super().__init__()
        self._files = {name: bytearray(content) for name, content in files.items()}


def assert_sound(files, expected, *, is_checked=True, is_compacted=False):
    """Open what a crash left: it is one of those expected, nothing is lost, and another commit holds."""
    left = Left(files)
    database = open_database(left)
    found = contents(database)
    assert found in expected
    if is_checked:
        assert [problem for problem in database.problems() if not is_of_a_crash(problem)] == []
    id = insert(database, {"number": 7})
    further = after(found, [note(id, number=7)])
    assert contents(database) == contents(open_database(left)) == further
    if is_compacted:
        database.compact()
        again = open_database(left)
        assert contents(again) == further
        assert again.problems() == []


def is_of_a_crash(problem):
    return "of a commit that was not finished" in problem or "it is not used" in problem


def test_every_crash(tmp_path, monkeypatch):
    """Whatever a crash leaves of a life: the documents are those of a commit, none that was acknowledged is missing."""
    limit(monkeypatch)
    store = Recorded(tmp_path / "store")
    store.live(LIFE)
    states = store.states()
    kinds = {(call.kind, call.name.split("-")[0]) for call in store.disk.calls}
    assert {("remove", "documents"), ("remove", "columns/1"), ("rename", "columns/3")} <= kinds
    assert len(states) > 2000
    for number, (files, least, most) in enumerate(states):
        assert_sound(files, store.expected[least : most + 1], is_checked=number % 2 == 0, is_compacted=number % 10 == 0)


@pytest.mark.parametrize("further", FURTHER.values(), ids=FURTHER)
def test_crashes_after_a_killed_process(tmp_path, monkeypatch, further):
    """A process is killed at any call, a second one goes on; a crash of the system loses nothing of either."""
    limit(monkeypatch, flushed=100)
    checked = set()
    for moment in range(10000):
        monkeypatch.setattr(store_log.os, "urandom", random.Random(1).randbytes)  # so that states are the same
        store = Recorded(tmp_path / f"{moment}")
        was_killed = store.live_until(SHORT, moment)
        store.look()
        first = len(store.disk.calls)
        store.live(further)
        for files, least, most in store.states(first=first, most_torn=1):
            if (key := (tuple(sorted(files.items())), least, most)) not in checked:
                checked.add(key)
                assert_sound(files, store.expected[least : most + 1])
        if not was_killed:
            break
    assert len(checked) > 500


def test_crashes_after_a_log_was_continued_in_vain(tmp_path):
    """Where it was not confirmed that a log goes on in another, what is committed to that one is not lost with it."""

    def fail(kind, name):
        if kind == "fsync" and b"continued" in store.disk.calls[-1].data:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    store = Recorded(tmp_path / "store", fail)
    with pytest.raises(UnsyncedError):
        store.live([*FIRST, COMPACT])
    store.look()
    store.disk.before = lambda kind, name: None
    first = len(store.disk.calls)
    store.live([[note(2, number=2)]])
    states = store.states(first=first)
    assert len(states) > 20
    for files, least, most in states:
        assert_sound(files, store.expected[least : most + 1])
