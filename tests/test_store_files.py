"""The files of a store: what was written is on the disk, or is told not to be; one process writes at a time."""

import errno
import os
import socket
import stat
import threading

import pytest
from stores import NAME, NOTES, OnDisk, OtherProcess, contents, insert, open_database

from bufcache.buffer_metadata_cache.store import files as store_files
from bufcache.buffer_metadata_cache.store.files import LOCK, OWNER, DiskFiles, UnsyncedError
from bufcache.errors import BufcacheError, CacheFormatError, CacheLockedError

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no open folders and replaces no open files")


@pytest.fixture
def place(tmp_path):
    """Return a folder for a store."""
    return OnDisk(tmp_path / "store")


@pytest.fixture
def files(place):
    """Return the files of a store."""
    return place.files()


def kind_of(descriptor):
    return "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"


@pytest.fixture
def calls(monkeypatch):
    """Record what is written and synced."""
    recorded = []

    def recording(name):
        call = getattr(os, name)

        def recorded_call(descriptor, *arguments):
            recorded.append((name, kind_of(descriptor)))
            return call(descriptor, *arguments)

        return recorded_call

    for name in ("write", "fsync", "ftruncate"):
        monkeypatch.setattr(os, name, recording(name))
    return recorded


def failing(monkeypatch, name, error, kind="file", before=lambda descriptor, *arguments: None):
    """Make a call of os fail for one kind of descriptor until it is undone."""
    call = getattr(os, name)

    def failing_call(descriptor, *arguments):
        if kind_of(descriptor) != kind:
            return call(descriptor, *arguments)
        before(descriptor, *arguments)
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, name, failing_call)


def assert_holds(place, numbers):
    """Read the store as another process does: it holds notes of these numbers, and is sound."""
    database = open_database(place.files())
    assert [note["number"] for note in contents(database).get(NOTES, {}).values()] == numbers
    assert database.problems() == []
    database.close()


# -- reading and writing ----------------------------------------------------------------------------------------------


def test_append_and_read(files):
    """What is appended is read, any part of it, and less where the file ends before."""
    files.append("a", b"0123")
    files.append("a", b"456789")
    assert files.names() == ["a"]
    assert files.size("a") == 10
    assert files.read("a", 0, 10) == b"0123456789"
    assert files.read("a", 3, 4) == b"3456"
    assert files.read("a", 8, 100) == b"89"
    assert files.read("a", 10, 1) == b""
    files.append("a", b"!")
    assert files.read("a", 9, 100) == b"9!"
    files.cut("a", 5)
    assert (files.size("a"), files.read("a", 3, 100)) == (5, b"34")


def test_what_is_not_there(tmp_path):
    """A folder that does not exist has no files, and they have no size."""
    files = DiskFiles(str(tmp_path / "missing"))
    assert files.names() == []
    assert files.size("a") == 0


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_short_reads(place, files, monkeypatch, most):
    """A disk that gives less than was asked for is asked again."""
    for number in range(5):
        insert(open_database(files), {"number": number})
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, length, offset: pread(descriptor, min(length, most), offset))
    assert_holds(place, [0, 1, 2, 3, 4])
    insert(open_database(place.files()), {"number": 5})
    assert_holds(place, [0, 1, 2, 3, 4, 5])


def test_without_pread(place, monkeypatch):
    """A system without pread reads the same, also in several threads at once."""
    insert(open_database(place.files()), {"number": 1})
    monkeypatch.delattr(os, "pread")
    insert(open_database(place.files()), {"number": 2})
    assert_holds(place, [1, 2])
    files = place.files()
    files.append("numbers", bytes(range(250)))
    wrong = []

    def read_often(start):
        for _ in range(300):
            part = files.read("numbers", start, 20)
            if part != bytes(range(start, start + 20)):
                wrong.append(part)

    threads = [threading.Thread(target=read_often, args=[start]) for start in (0, 70, 140, 210)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files.close()
    assert wrong == []


@posix
def test_a_file_that_was_replaced(place, files):
    """A log that was deleted and made anew is not taken for the one that was read."""
    ours, reader = open_database(files), open_database(place.files())
    insert(ours, {"number": 1})
    contents(reader)
    (place.path / NAME).unlink()
    for number in (7, 8, 9):
        insert(open_database(place.files()), {"number": number})
    for database in (ours, reader):
        with pytest.raises(CacheFormatError, match="open"):
            contents(database)
        with pytest.raises(CacheFormatError, match="open"):
            insert(database, {"number": 2})
    assert_holds(place, [7, 8, 9])


def test_files_are_closed(place, monkeypatch):
    """After closing, and after a refusal, no file is open."""
    is_open = set()
    opened, closed = os.open, os.close

    def open_and_note(*arguments, **options):
        descriptor = opened(*arguments, **options)
        is_open.add(descriptor)
        return descriptor

    def close_and_note(descriptor):
        is_open.discard(descriptor)
        closed(descriptor)

    monkeypatch.setattr(os, "open", open_and_note)
    monkeypatch.setattr(os, "close", close_and_note)
    database = open_database(place.files())
    insert(database, {"number": 1})
    assert_holds(place, [1])
    database.close()
    place.write_log(b"foreign\n")
    with pytest.raises(CacheFormatError):
        open_database(place.files())
    assert is_open == set()


# -- durable ----------------------------------------------------------------------------------------------------------


def test_a_commit_is_written_and_synced(place, files, calls):
    """A commit is one write and then one fsync; before the first one the new names are synced."""
    database = open_database(files)
    insert(database, {"number": 1})
    assert calls == [
        *[("write", "file"), ("fsync", "file")],  # the first line
        *[("fsync", "folder")] * 2 * (os.name != "nt"),  # the name of the log, the name of the folder
        *[("write", "file"), ("fsync", "file")],  # the commit
    ]
    calls.clear()
    insert(database, {"number": 2})
    assert calls == [("write", "file"), ("fsync", "file")]
    calls.clear()
    place.write_log(place.read_log() + b"torn")
    insert(database, {"number": 3})
    assert calls == [("ftruncate", "file"), ("fsync", "file"), ("write", "file"), ("fsync", "file")]
    assert_holds(place, [1, 2, 3])


@pytest.mark.parametrize("most", [1, 7])
def test_short_writes(place, files, monkeypatch, most):
    """A disk that takes less than it was given is given the rest."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:most]))
    database = open_database(files)
    insert(database, {"number": 1})
    insert(database, {"number": 2})
    assert_holds(place, [1, 2])


@pytest.mark.parametrize("share", [0, 0.5, 1])
@pytest.mark.parametrize("is_cut", [True, False], ids=["", "and cannot be undone"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_failed_write(place, files, share, is_cut, error):
    """A write that fails changes nothing, whatever of it came to the disk, and the next commit works."""
    database = open_database(files)
    insert(database, {"number": 1})
    before = place.read_log()
    write = os.write

    def partly(descriptor, data):
        write(descriptor, data[: int(len(data) * share)])

    with pytest.MonkeyPatch.context() as patch:
        failing(patch, "write", error, before=partly)
        if not is_cut:
            failing(patch, "ftruncate", errno.EIO)
        with pytest.raises(OSError, match=os.strerror(error)) as raised:
            insert(database, {"number": 2})
    assert raised.value.errno == error
    if is_cut:
        assert place.read_log() == before
        assert_holds(place, [1])
    insert(database, {"number": 3})
    # What could not be cut off may be all of the commit, and then it counts.
    assert_holds(place, [1, 2, 3] if share == 1 and not is_cut else [1, 3])
    assert contents(database) == contents(open_database(place.files()))


@pytest.mark.parametrize("name", ["write", "ftruncate"])
def test_failed_write_inside_a_longer_change(place, files, name):
    """Where one commit of several fails, those before and behind it hold."""
    database = open_database(files)
    with database.writing():
        insert(database, {"number": 1})
        with pytest.MonkeyPatch.context() as patch:
            write = os.write
            failing(patch, "write", errno.ENOSPC, before=lambda descriptor, data: write(descriptor, data[:30]))
            failing(patch, name, errno.ENOSPC)
            with pytest.raises(OSError, match="No space"):
                insert(database, {"number": 2})
        insert(database, {"number": 3, "text": "longer than the one that failed"})
    assert_holds(place, [1, 3])


def test_whole_commit_that_failed_inside_a_longer_change(place, files):
    """A commit that stands whole although its write failed is not cut off: readers may have it."""
    database, reader = open_database(files), open_database(place.files())
    write = os.write
    with database.writing():
        insert(database, {"number": 1})
        with pytest.MonkeyPatch.context() as patch:
            failing(patch, "write", errno.EIO, before=write)
            failing(patch, "ftruncate", errno.EIO)
            with pytest.raises(OSError, match="Input/output"):
                insert(database, {"number": 2})
        assert [*contents(reader)[NOTES]] == [1, 2]
        with pytest.raises(BufcacheError, match="begin it anew"):
            insert(database, {"number": 3})
    insert(database, {"number": 3})
    assert [*contents(reader)[NOTES]] == [1, 2, 3]
    assert_holds(place, [1, 2, 3])


def test_failed_first_write(place, files):
    """A log that could not be begun is begun by the next commit."""
    database = open_database(files)
    with pytest.MonkeyPatch.context() as patch:
        write = os.write
        failing(patch, "write", errno.ENOSPC, before=lambda descriptor, data: write(descriptor, data[:30]))
        failing(patch, "ftruncate", errno.EIO)
        with pytest.raises(OSError, match="No space"):
            insert(database, {"number": 1})
    insert(database, {"number": 2})
    assert_holds(place, [2])


def test_full_disk(place):
    """A process whose disk is full is told so, keeps what it had, and goes on when there is room again."""
    pytest.importorskip("resource", reason="Windows cannot limit the size of files")
    with OtherProcess(place.path) as other:
        other.ask("insert", {"number": 1})
        size = len(place.read_log())
        other.ask("limit", size + 200)
        assert other.ask("fail", {"number": 2, "text": "x" * 1000}) == ["OSError", errno.EFBIG]
        assert len(place.read_log()) == size
        assert other.ask("insert", {"number": 3}) == 2
        other.ask("limit", 10**6)
        assert other.ask("insert", {"number": 4, "text": "x" * 1000}) == 3
        assert other.ask("numbers") == [1, 3, 4]
    assert_holds(place, [1, 3, 4])


@pytest.mark.parametrize("kind", ["file", pytest.param("folder", marks=posix)])
def test_failed_fsync(place, files, kind):
    """After an fsync that failed the database writes no more, as a second one might lie; a new one goes on."""
    database = open_database(files)
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, "fsync", errno.EIO, kind)
        with pytest.raises(UnsyncedError, match="may or may not have kept") as raised:
            insert(database, {"number": 1})
        assert raised.value.errno == errno.EIO
    before = place.read_log()
    with pytest.raises(BufcacheError, match="open it again"):
        insert(database, {"number": 2})
    assert place.read_log() == before
    held = [note["number"] for note in contents(database).get(NOTES, {}).values()]
    insert(open_database(place.files()), {"number": 3})
    assert_holds(place, [*held, 3])


@posix
@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP])
def test_folders_that_cannot_be_synced(place, files, monkeypatch, error):
    """A file system that knows no fsync of folders, as many on a network, is written to all the same."""
    failing(monkeypatch, "fsync", error, "folder")
    database = open_database(files)
    insert(database, {"number": 1})
    insert(database, {"number": 2})
    assert_holds(place, [1, 2])


@posix
def test_parent_that_cannot_be_listed(place, files, monkeypatch):
    """The folder above a cache need not be readable."""
    open_file = os.open

    def open_others(path, *arguments, **options):
        if os.fspath(path) == str(place.path.parent):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(os, "open", open_others)
    insert(open_database(files), {"number": 1})
    assert_holds(place, [1])


def test_failed_fsync_inside_a_longer_change(place, files):
    """Where one commit of several is not confirmed, none follows it."""
    database = open_database(files)
    insert(database, {"number": 1})
    with database.writing():
        with pytest.MonkeyPatch.context() as patch:
            failing(patch, "fsync", errno.EIO)
            with pytest.raises(UnsyncedError):
                insert(database, {"number": 2})
        with pytest.raises(BufcacheError, match="open it again"):
            insert(database, {"number": 3})
    assert_holds(place, [1, 2])


def test_failed_fsync_of_a_cut(place, files):
    """Where it is not confirmed that a torn tail is gone, nothing is written behind it."""
    database = open_database(files)
    insert(database, {"number": 1})
    place.write_log(place.read_log() + b"torn")
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, "fsync", errno.EIO)
        with pytest.raises(UnsyncedError):
            insert(database, {"number": 2})
    with pytest.raises(BufcacheError, match="open it again"):
        insert(database, {"number": 2})
    insert(open_database(place.files()), {"number": 3})
    assert_holds(place, [1, 3])


def test_full_sync(place, files, monkeypatch):
    """Where fsync does not reach the disk (macOS), F_FULLFSYNC is what counts."""
    synced = []

    class Fcntl:
        @staticmethod
        def fcntl(descriptor, command):
            synced.append(command)
            if len(synced) == 2:
                raise OSError(errno.EIO, "no")

    monkeypatch.setattr(store_files, "_FULL_SYNC", 51)
    monkeypatch.setattr(store_files, "fcntl", Fcntl)
    files.append("a", b"1")
    assert synced == [51]
    with pytest.raises(UnsyncedError):
        files.append("a", b"2")


# -- one writer -------------------------------------------------------------------------------------------------------


def test_second_writer(place):
    """While a process writes, another one that wants to is told by whom it is kept waiting; reading works."""
    database = open_database(place.files())
    insert(database, {"number": 1})
    with OtherProcess(place.path) as other:
        assert other.ask("hold") == "held"
        with pytest.raises(CacheLockedError) as raised:
            insert(database, {"number": 2})
        for part in (str(place.path), socket.gethostname(), f"process {other.pid} ", "0.1 s"):
            assert part in str(raised.value)
        assert_holds(place, [1])
        assert other.ask("done") == "free"
        insert(database, {"number": 2})
    assert_holds(place, [1, 2])


def test_a_writer_waits(place):
    """A process that wants to write waits until the other one is done, and then sees what it did."""
    database = open_database(place.files(), lock_timeout=60)
    with OtherProcess(place.path) as other:
        assert other.ask("hold") == "held"
        timer = threading.Timer(0.3, other.tell, ["done"])
        timer.start()
        insert(database, {"number": 1})
        timer.join()
        assert other.hear() == "free"
    assert_holds(place, [1])


def test_killed_writer(place):
    """The lock of a process that was killed is free at once."""
    database = open_database(place.files())
    with OtherProcess(place.path) as other:
        assert other.ask("hold") == "held"
        other.kill()
        insert(database, {"number": 1})
    assert_holds(place, [1])


def test_unknown_owner(place):
    """Whatever stands in the owner's file, the error is that another process is writing."""
    database = open_database(place.files())
    with OtherProcess(place.path) as other:
        assert other.ask("hold") == "held"
        for content in (b"", b"[]", b"1", b'{"pid": 1}', b"\xff"):
            (place.path / OWNER).write_bytes(content)
            with pytest.raises(CacheLockedError, match="another process is writing"):
                insert(database, {"number": 1})
        (place.path / OWNER).unlink()
        with pytest.raises(CacheLockedError, match="another process is writing"):
            insert(database, {"number": 1})


def test_lock_without_a_kernel(place, monkeypatch):
    """Where the kernel has no locks nothing is written: a lock of another sort would outlive its process."""
    fcntl = pytest.importorskip("fcntl", reason="Windows locks differently")

    def flock(descriptor, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises((OSError, NotImplementedError)):
        insert(open_database(place.files()), {"number": 1})
    assert NAME not in place.files().names()


# -- no right to write ------------------------------------------------------------------------------------------------


def snapshot(path):
    """Return what stands in a folder, and when it was changed."""
    return {
        entry.name: (entry.read_bytes(), entry.stat().st_mtime_ns) for entry in path.iterdir()
    }, path.stat().st_mtime_ns


def test_read_only(place):
    """A database opened for reading answers, refuses to change, and leaves every file as it is, also a torn tail."""
    insert(open_database(place.files()), {"number": 1})
    place.write_log(place.read_log() + b"torn")
    (place.path / LOCK).unlink()
    before = snapshot(place.path)
    database = open_database(place.files(), is_read_only=True)
    assert contents(database) == {NOTES: {1: {"number": 1, "id": 1}}}
    assert len(database.problems()) == 1
    with pytest.raises(BufcacheError, match="read_only"):
        insert(database, {"number": 2})
    database.close()
    assert snapshot(place.path) == before


def test_folder_that_cannot_be_written(place, monkeypatch):
    """Who may not write can read; a change is refused with a PermissionError, and reading goes on."""
    insert(open_database(place.files()), {"number": 1})
    before = snapshot(place.path)
    open_file = os.open

    def open_to_read(path, flags, *arguments, **options):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return open_file(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", open_to_read)
    database = open_database(place.files())
    with pytest.raises(PermissionError):
        insert(database, {"number": 2})
    assert contents(database) == {NOTES: {1: {"number": 1, "id": 1}}}
    assert snapshot(place.path) == before
    assert_holds(place, [1])


def test_missing_folder_read_only(tmp_path):
    """A folder that does not exist is an empty database to a reader, and is not made."""
    database = open_database(DiskFiles(str(tmp_path / "missing")), is_read_only=True)
    assert contents(database) == {}
    assert database.problems() == []
    assert list(tmp_path.iterdir()) == []
