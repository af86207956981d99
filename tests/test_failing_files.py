"""A disk that fails at any call, once or for good: nothing acknowledged is lost, nothing half is found."""

import errno
import os

import pytest
from disks import Disk
from stores import COMPACT, LIFE, OnDisk, after, contents, do, insert, limit, open_database

from bufcache.errors import BufcacheError

STEPS = [*LIFE[:6], COMPACT, *LIFE[-4:-1]]

FAILURES = {
    "write": errno.ENOSPC,
    "fsync": errno.EIO,
    "open": errno.EMFILE,
    "rename": errno.EIO,
    "remove": errno.EACCES,
    "makedirs": errno.ENOSPC,
    "read": errno.EIO,
    "map": errno.ENOMEM,
}

OF_COLUMNS_ALONE = ("rename", "remove", "makedirs", "map")
"""Calls that are made for columns, without which everything works, and for what is of no use any more."""


class Failing(Disk):
    """A disk of which calls of a kind fail, from the n-th on."""

    def __init__(self, root, kind, first, last, share=0):
        super().__init__(root, self.fail)
        self.kind, self.first, self.last, self.share = kind, first, last, share
        self.count = 0
        self.is_sound = False

    def fail(self, kind, name):
        if kind != self.kind or self.is_sound:
            return
        self.count += 1
        if self.first <= self.count <= self.last:
            error = OSError(FAILURES[kind], os.strerror(FAILURES[kind]))
            error.written = self.share
            raise error


class Life:
    """What becomes of a store on a disk that fails."""

    def __init__(self, path, **failure):
        self.place = OnDisk(path)
        self.disk = Failing(path, **failure)
        self.database = None
        self.expected = {}
        self.errors = []

    def live(self, steps):
        """Do steps, whatever fails, and look after each failure at what there is."""
        with pytest.MonkeyPatch.context() as patch:
            self.disk.install(patch)
            for step in steps:
                self.try_to(step)
            self.close()
        self.go_on()

    def try_to(self, step):
        try:
            self.database = self.database or open_database(self.place.files())
            do(self.database, step)
        except (OSError, BufcacheError) as error:
            self.errors.append(error)
            self.disk.is_sound = True
            self.look(error, [self.expected, after(self.expected, step)])
            self.disk.is_sound = False
        else:
            self.expected = after(self.expected, step)

    def look(self, error, possible):
        """Find one of the states that are possible after an error, and go on from it."""
        self.expected = self.found()
        assert self.expected in possible
        if self.database is not None:
            assert contents(self.database) == self.expected
            if not isinstance(error, OSError):
                assert "open it again" in str(error)
                self.close()

    def found(self):
        """Return what another process finds."""
        database = open_database(self.place.files(), is_read_only=True)
        found = contents(database)
        database.close()
        return found

    def close(self):
        if self.database is not None:
            self.database.close()
        self.database = None

    def go_on(self):
        """Read and write when the disk is sound again."""
        assert self.found() == self.expected
        database = open_database(self.place.files())
        assert [problem for problem in database.problems() if "not finished" not in problem] == []
        insert(database, {"number": 99})
        database.compact()
        assert contents(database) == self.found()
        database.close()
        assert os.listdir(self.place.path / "columns")


@pytest.fixture(autouse=True)
def in_small(monkeypatch):
    limit(monkeypatch, merged=3)


@pytest.mark.parametrize("is_for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("kind", FAILURES)
def test_every_failure(tmp_path, kind, is_for_good):
    """The n-th call of a kind fails, for every n: a commit that raised is there whole or not at all, the others are."""
    number, errors = 0, []
    while True:
        number += 1
        life = Life(tmp_path / f"{number}", kind=kind, first=number, last=10**9 * is_for_good or number)
        life.live(STEPS)
        errors += life.errors
        if life.disk.count < number:
            break
    assert number > 1
    assert bool(errors) == (kind not in OF_COLUMNS_ALONE)


@pytest.mark.parametrize("share", [1, 40, 10**9])
def test_a_part_is_written(tmp_path, share):
    """The n-th write fails after a part of it, or all, was written."""
    for number in range(1, 40):
        Life(tmp_path / f"{number}", kind="write", first=number, last=number, share=share).live(STEPS)
