"""Logs that are rewritten while other processes have them open, or are about to open them."""

import errno
import os
from functools import partial

import pytest
from stores import NAME, NOTES, OnDisk, contents, insert, limit, open_database

from bufcache.buffer_metadata_cache.store.files import DiskFiles
from bufcache.buffer_metadata_cache.store.log import Log, name_of
from bufcache.errors import CacheFormatError


@pytest.fixture
def place(tmp_path):
    return OnDisk(tmp_path / "store")


def numbers(database):
    return [document["number"] for document in contents(database).get(NOTES, {}).values()]


class Overtaken(DiskFiles):
    """Files that another process changes before the n-th call of a method."""

    def __init__(self, place, change, method, moment):
        super().__init__(str(place.path))
        self._change, self._method, self._left = change, method, moment

    def start(self, moment):
        """Count anew."""
        self._left = moment

    def _before(self, method):
        self._left -= method == self._method
        if self._left < 0 and self._change is not None:
            change, self._change = self._change, None
            change()

    def names(self, folder=""):
        found = super().names(folder)
        self._before("names")
        return found

    def size(self, name):
        self._before("size")
        return super().size(name)

    def read(self, name, offset, length):
        self._before("read")
        return super().read(name, offset, length)

    def map(self, name):
        self._before("map")
        return super().map(name)

    @property
    def was_overtaken(self):
        return self._change is None


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("method", ["names", "size", "read", "map"])
def test_rewritten_while_it_is_opened(tmp_path, monkeypatch, method, times):
    """Whoever opens a store while its log is rewritten, once or several times, finds all of its documents."""
    limit(monkeypatch, flushed=1)
    for moment in range(100):
        place = OnDisk(tmp_path / f"{moment}")
        writer = open_database(place.files())
        insert(writer, {"number": 1})
        insert(writer, {"number": 2})

        def rewrite(writer=writer):
            for _ in range(times):
                writer.compact()

        files = Overtaken(place, rewrite, method, moment)
        reader = open_database(files)
        assert numbers(reader) == [1, 2]
        reader.close()
        writer.close()
        if not files.was_overtaken:
            break
    assert 0 < moment < 99


@pytest.mark.parametrize("method", ["names", "size", "read", "map"])
@pytest.mark.parametrize("change", ["insert", "compact"])
def test_changed_while_it_is_checked(tmp_path, monkeypatch, method, change):
    """What another process commits or rewrites during a check is not called wrong."""
    limit(monkeypatch, flushed=1)
    for moment in range(100):
        place = OnDisk(tmp_path / f"{moment}")
        writer = open_database(place.files())
        insert(writer, {"number": 1})
        files = Overtaken(
            place, {"insert": partial(insert, writer, {}), "compact": writer.compact}[change], method, 1000
        )
        reader = open_database(files)
        files.start(moment)
        assert reader.problems() == []
        reader.close()
        writer.close()
        if not files.was_overtaken:
            break
    assert 0 < moment < 99


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("has_read", [False, True])
@pytest.mark.parametrize("count", [0, 1])
def test_rewritten_under_an_open_store(place, has_read, times, count):
    """Whoever has a store open, even one that was empty then, reads and writes on where it has been rewritten since."""
    database = open_database(place.files())
    for number in range(count):
        insert(database, {"number": number})
    if has_read:
        assert numbers(database) == [*range(count)]
    other = open_database(place.files())
    insert(other, {"number": 8})
    for _ in range(times):
        other.compact()
    assert numbers(database) == [*range(count), 8]
    insert(database, {"number": 9})
    assert numbers(other) == numbers(open_database(place.files())) == [*range(count), 8, 9]


def test_first_change_after_others_rewrote(place):
    """A handle that was opened before there was a log writes to the one that there is when it first writes."""
    database, other = open_database(place.files()), open_database(place.files())
    insert(other, {"number": 1})
    other.compact()
    insert(database, {"number": 2})
    assert numbers(other) == numbers(open_database(place.files())) == [1, 2]


def test_no_room_to_rewrite(place, monkeypatch):
    """Where there is no room to rewrite the log, what was written of the new one is removed again."""
    files = place.files()
    database, append = open_database(files), files.append
    insert(database, {"number": 1})

    def append_while_there_is_room(name, data):
        if name == name_of(2) and b"notes" in data:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        append(name, data)

    monkeypatch.setattr(files, "append", append_while_there_is_room)
    with pytest.raises(OSError, match="No space"):
        database.compact()
    assert name_of(2) not in files.names()
    insert(database, {"number": 2})
    assert numbers(database) == numbers(open_database(place.files())) == [1, 2]


def test_a_missing_log_is_told(place):
    """A log that goes on in one that is missing is an error that names both."""
    database = open_database(place.files())
    insert(database, {"number": 1})
    Log(place.files(), 2).append([])
    log = Log(place.files())
    assert len(list(log.read_on())) == 1
    log.append_continuation(Log(place.files(), 2))
    (place.path / name_of(2)).unlink()
    for _ in range(2):
        with pytest.raises(CacheFormatError, match=r"documents-1.*documents-2.*missing"):
            open_database(place.files())


def as_on_windows(patch):
    """Let no file be removed that is open; return what opens files."""
    opened, remove = [], os.remove

    def remove_unless_open(path):
        if any(os.path.relpath(path, files) in files._readers for files in opened):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        remove(path)

    class Occupying(DiskFiles):
        def __init__(self, path):
            super().__init__(path)
            opened.append(self)

        def __fspath__(self):
            return self._path

    patch.setattr(os, "remove", remove_unless_open)
    return Occupying


def test_logs_that_others_have_open(place, monkeypatch):
    """Where a reader keeps an old log from being removed, the store stays readable, however often it is rewritten."""
    Occupied = as_on_windows(monkeypatch)
    writer = open_database(Occupied(str(place.path)))
    insert(writer, {"number": 1})
    reader = open_database(Occupied(str(place.path)))
    for number in range(2, 6):
        writer.compact()
        insert(writer, {"number": number})
        writer.close()
        assert NAME in place.files().names()
        assert numbers(open_database(DiskFiles(str(place.path)))) == [*range(1, number + 1)]
        writer = open_database(Occupied(str(place.path)))
    assert numbers(reader) == [1, 2, 3, 4, 5]
    reader.close()
    writer.close()
    last = open_database(Occupied(str(place.path)))
    last.compact()
    last.close()
    assert [name for name in place.files().names() if name.startswith("documents")] == [name_of(6)]
