"""Systems that lack what Linux has: the store keeps its promises on them, too."""

import errno
import itertools
import os

import pytest
from stores import LIFE, NOTES, OnDisk, after, contents, do, insert, limit, open_database

from bufcache.buffer_metadata_cache.store import files as store_files
from bufcache.buffer_metadata_cache.store.files import DiskFiles


class Occupying(DiskFiles):
    """Files that, as on Windows, cannot be removed while they are open or mapped."""

    opened = None

    def __init__(self, path):
        super().__init__(path)
        self._mapped = set()
        self.opened.append(self)

    def occupies(self, path):
        name = os.path.relpath(path, self._path)
        return name in self._readers or name in self._mapped

    def map(self, name):
        self._mapped.add(name)
        return super().map(name)

    def close(self):
        super().close()
        self._mapped.clear()


@pytest.fixture
def windows(monkeypatch):
    """Hide pread, preadv, fcntl and the option of mmap that closes the file; lock what is open; replace nothing."""
    for name in ("pread", "preadv"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(store_files, "fcntl", None)
    monkeypatch.setattr(store_files, "_FULL_SYNC", None)
    monkeypatch.setattr(store_files, "_UNTRACKED", {})
    monkeypatch.setattr(store_files, "_sync_folder", lambda path: None)
    monkeypatch.setattr(Occupying, "opened", [])
    monkeypatch.setattr(OnDisk, "files", lambda self: Occupying(str(self.path)))
    remove, rename = os.remove, os.rename

    def remove_unless_open(path):
        if any(files.occupies(path) for files in Occupying.opened):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        remove(path)

    def rename_unless_there(path, other):
        if os.path.exists(other):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), other)
        rename(path, other)

    monkeypatch.setattr(os, "remove", remove_unless_open)
    monkeypatch.setattr(os, "rename", rename_unless_there)


@pytest.fixture
def place(tmp_path, windows):
    return OnDisk(tmp_path / "store")


def assert_all_say(expected, *databases):
    for database in databases:
        assert contents(database) == expected
        assert database.problems() == []


def test_a_life(place, monkeypatch):
    """Commits, columns, merges and rewritten logs come out the same, for who stays and for who opens anew."""
    limit(monkeypatch, merged=3)
    writer, reader, expected = open_database(place.files()), open_database(place.files()), {}
    for step in [*LIFE, *LIFE]:
        do(writer, step)
        expected = after(expected, step)
        fresh = open_database(place.files())
        assert_all_say(expected, writer, reader, fresh)
        fresh.close()
    writer.close()
    reader.close()


def test_what_was_kept_is_removed_in_the_end(place, monkeypatch):
    """Old logs and columns that readers had open are removed when nobody has."""
    limit(monkeypatch, merged=3)
    writer, readers = open_database(place.files()), []
    for step in LIFE:
        do(writer, step)
        readers.append(open_database(place.files()))
    kept = place.files().names()
    for database in (*readers, writer):
        database.close()
    last = open_database(place.files())
    last.compact()
    last.close()
    left = place.files().names()
    assert sum(name.startswith("documents") for name in kept) > 1
    assert sum(name.startswith("documents") for name in left) == 1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_torn_tails(place, share):
    """What a crash left of a commit is cut off, beside readers that have the log open."""
    database, reader = open_database(place.files()), open_database(place.files())
    insert(database, {"number": 1})
    before = len(place.read_log())
    insert(database, {"number": 2})
    whole = place.read_log()
    reader.close()
    place.write_log(whole[: before + int(share * (len(whole) - before))])
    reader = open_database(place.files())
    assert [*contents(reader)[NOTES]] == [1]
    database = open_database(place.files())
    assert insert(database, {"number": 3}) == 2
    assert [*contents(reader)[NOTES]] == [*contents(database)[NOTES]] == [1, 2]


def test_damaged_columns(place, monkeypatch):
    """Columns that are damaged, and cannot be replaced as somebody has them mapped, are read from the log."""
    limit(monkeypatch, flushed=4)
    writer, *_, expected = open_database(place.files()), *itertools.accumulate(LIFE[:6], after, initial={})
    for step in LIFE[:6]:
        do(writer, step)
    writer.close()
    for path in (place.path / "columns").glob("*.npz"):
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 1
        path.write_bytes(content)
    reader, writer = open_database(place.files()), open_database(place.files())
    assert contents(reader) == contents(writer) == expected
    writer.mend()
    insert(writer, {"number": 1})
    assert contents(reader) == contents(writer) == contents(open_database(place.files()))
