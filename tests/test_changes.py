"""Which changes of files a synchronisation sees, whatever the clocks say, and which it cannot."""

import os
import time
from pathlib import Path

import pytest
from samples import damage_document, set_time, write_broken, write_other, write_sample, write_samples
from syncing import Clock, counts, sync, the_entry

from bufcache import BufferMetadataCache
from bufcache.buffer_metadata_cache import batches
from bufcache.buffer_metadata_cache.store.database import Database
from bufcache.buffer_parser import Buffer
from bufcache.errors import CacheFormatError

NOW = 1_700_000_000
MINUTE, HOUR, DAY = 60, 3600, 86400


class OtherBuffer(Buffer):
    """A class other than Buffer: its files are read one at a time."""


@pytest.fixture
def clock(monkeypatch):
    """Give the clock of the files, which begins at NOW."""
    clock = Clock(monkeypatch)
    clock.set(NOW)
    return clock


@pytest.fixture
def commits(monkeypatch):
    """Give the list of what is committed in batches."""
    commits = []
    commit = Database.commit_batch

    def commit_batch(database, table, ids, lines, values):
        commits.append(ids.tolist())
        commit(database, table, ids, lines, values)

    monkeypatch.setattr(Database, "commit_batch", commit_batch)
    return commits


def rewrite(path, seconds, **header):
    """Write a file of the same size over another, with a modification time."""
    write_sample(os.path.dirname(path), **header)
    set_time(path, seconds)


def project_ids(cache):
    return [entry.project_id for entry in cache.get_matching_metadata()]


# -- files that were only just written ----------------------------------------------------------------------------


@pytest.mark.parametrize("buffer_class", [Buffer, OtherBuffer])
def test_a_rewrite_of_a_new_file_is_seen(open_cache, project, clock, buffer_class):
    """A file that was too new to be sure is compared by content: the same size and time hide nothing."""
    cache = open_cache(buffer_class)
    path = write_sample(project, proj__id=1)
    set_time(path, NOW + MINUTE)
    assert counts(sync(cache, project)) == {"added": 1}
    assert the_entry(cache).is_racy is True
    rewrite(path, NOW + MINUTE, proj__id=2)
    assert counts(sync(cache, project)) == {"changed": 1}
    rewrite(path, NOW + MINUTE, proj__id=3)
    assert counts(cache.add_files_to_cache([path])) == {"changed": 1}
    assert (the_entry(cache).id, the_entry(cache).project_id) == (1, 3)
    clock.set(NOW + HOUR)
    rewrite(path, NOW + MINUTE, proj__id=4)
    assert counts(sync(cache, project)) == {"changed": 1}
    assert (the_entry(cache).project_id, the_entry(cache).is_racy) == (4, None)


def test_a_rewrite_of_an_old_file_that_hides_is_found_by_verify(cache, project, clock):
    """A rewrite that keeps size and time of a file that was old enough is not seen, but with verify."""
    path = write_sample(project, proj__id=1)
    set_time(path, NOW - MINUTE)
    sync(cache, project)
    assert the_entry(cache).is_racy is None
    rewrite(path, NOW - MINUTE, proj__id=2)
    assert counts(sync(cache, project)) == {"unchanged": 1}
    assert project_ids(cache) == [1]
    assert counts(sync(cache, project, verify=True)) == {"changed": 1}
    assert (the_entry(cache).id, the_entry(cache).project_id) == (1, 2)
    assert counts(sync(cache, project, verify=True)) == {"unchanged": 1}


def test_the_mark_goes_when_the_file_is_old_enough(cache, project, clock, commits):
    """The mark of a new file stays without a commit, goes with one, and the file counts as unchanged all the time."""
    paths = write_samples(project, 3)
    for path in paths:
        set_time(path, NOW + MINUTE)
    set_time(paths[1], NOW - MINUTE)
    sync(cache, project)
    for _ in range(3):
        assert counts(sync(cache, project)) == {"unchanged": 3}
        assert cache.get_non_synchronized_files(paths) == ([], [])
    assert commits == [[1, 2, 3]]
    clock.set(NOW + HOUR)
    for _ in range(2):
        assert counts(sync(cache, project)) == {"unchanged": 3}
    assert commits == [[1, 2, 3], [1, 3]]
    assert [entry.is_racy for entry in cache.get_matching_metadata()] == [None] * 3


def test_files_that_were_only_just_written_are_synchronised(cache, project):
    """After a synchronisation no file is new or changed, however new it is."""
    paths = write_samples(project, 3)
    sync(cache, project)
    assert cache.get_non_synchronized_files(paths) == ([], [])
    assert counts(cache.add_files_to_cache(paths)) == {"unchanged": 3}


def test_a_new_file_that_is_broken_is_told_once(cache, project, clock):
    """The check of a new file that cannot be read finds the same failure, and does not tell it again."""
    path = write_broken(project)
    set_time(path, NOW + MINUTE)
    assert len(sync(cache, project).failed) == 1
    report = sync(cache, project)
    assert (counts(report), report.failed) == ({"unchanged": 1}, [])
    size = os.path.getsize(path)
    rewrite(path, NOW + MINUTE)
    os.truncate(path, size + 1)
    set_time(path, NOW + MINUTE)
    assert [failure.path for failure in sync(cache, project).failed] == [path]
    rewrite(path, NOW + MINUTE)
    assert counts(sync(cache, project)) == {"changed": 1}
    assert the_entry(cache).opening_error is None


def test_a_new_file_that_is_another_broken_one_is_told(cache, project, clock):
    """A failure of another kind under the same size and time is news."""
    path = write_other(project, 1, b"qassdata" + bytes(992))
    set_time(path, NOW + MINUTE)
    first = sync(cache, project).failed
    write_broken(project)
    set_time(path, NOW + MINUTE)
    second = sync(cache, project).failed
    assert [failure.path for failure in first + second] == [path, path]
    assert first[0].error != second[0].error == the_entry(cache).opening_error


# -- clocks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead", "is_seen"), [(-MINUTE, False), (HOUR, True), (23 * HOUR, True), (2 * DAY, False)])
def test_times_ahead_of_the_clock(cache, project, clock, ahead, is_seen):
    """A time that is ahead by less than a day may be reached by a later write; one further ahead was set on purpose."""
    path = write_sample(project, proj__id=1)
    set_time(path, NOW + ahead)
    sync(cache, project)
    rewrite(path, NOW + ahead, proj__id=2)
    assert counts(sync(cache, project)) == {"changed" if is_seen else "unchanged": 1}
    assert counts(sync(cache, project, verify=True)) == {"unchanged" if is_seen else "changed": 1}
    assert project_ids(cache) == [2]


def test_a_clock_that_goes_back(cache, project, clock):
    """Times that are earlier than before are changes as any others, and what the clock has yet to reach is checked."""
    old, new = write_samples(project, 2)
    set_time(old, NOW - MINUTE)
    sync(cache, project)
    clock.set(NOW - HOUR)
    rewrite(old, NOW - HOUR - MINUTE, proj__id=2)
    set_time(new, NOW)  # was written before the clock went back
    assert counts(sync(cache, project)) == {"changed": 2}
    write_sample(project, 2, proj__id=3)
    set_time(new, NOW)  # and again when the clock came there a second time
    assert counts(sync(cache, project)) == {"changed": 1, "unchanged": 1}
    clock.set(NOW + MINUTE)
    assert counts(sync(cache, project)) == {"unchanged": 2}
    assert project_ids(cache) == [2, 3]
    assert [entry.is_racy for entry in cache.get_matching_metadata()] == [None, None]


def test_the_clock_is_that_of_the_files(project, tmp_path, monkeypatch):
    """Where the clock of this machine is not that of the file system, that of the cache's folder decides."""
    path = write_sample(project, proj__id=1)
    now = time.time_ns
    moment = now() // 10**9 + MINUTE
    set_time(path, moment)
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10 * HOUR * 10**9)
    with BufferMetadataCache(tmp_path / "c") as cache:
        sync(cache, project)
        rewrite(path, moment, proj__id=2)
        assert counts(sync(cache, project)) == {"changed": 1}


@pytest.mark.parametrize(
    "mtime_ns",
    [0, 1, -1, -1_500_000_000, 4_102_444_800 * 10**9 + 1, 2**63 - 1, 2**63, 2**63 + 1, 15 * 10**18, -(10**18)],
)
@pytest.mark.parametrize("buffer_class", [Buffer, OtherBuffer])
def test_any_time_is_a_time(open_cache, project, mtime_ns, buffer_class):
    """Files of 1970, of before, of 2100 and of times that 64 bits cannot count in ns are known again to the ns."""
    cache = open_cache(buffer_class)
    paths = write_samples(project, 2)
    os.utime(paths[0], ns=(0, mtime_ns))
    if os.stat(paths[0]).st_mtime_ns != mtime_ns:
        mtime_ns = os.stat(paths[0]).st_mtime_ns  # the latest or earliest that this file system has
    set_time(paths[1], 1)
    assert counts(sync(cache, project)) == {"added": 2}
    assert counts(sync(cache, project)) == {"unchanged": 2}
    assert counts(cache.add_files_to_cache(paths)) == {"unchanged": 2}
    assert cache.get_non_synchronized_files(paths) == ([], [])
    os.utime(paths[0], ns=(0, mtime_ns - 1))
    if os.stat(paths[0]).st_mtime_ns == mtime_ns:
        os.utime(paths[0], ns=(0, mtime_ns - 10**9))
    assert counts(sync(cache, project)) == {"changed": 1, "unchanged": 1}


# -- files that change while they are read ------------------------------------------------------------------------


def grow(path):
    with open(path, "ab") as file:
        file.write(bytes(128))  # another spectrum


def test_a_file_that_grows_before_it_is_read(cache, project, monkeypatch):
    """What grew since it was listed is read as it is now, with its size of now."""
    path = write_sample(project)
    read_start = batches._read_start

    def grown(path, fingerprint):
        grow(path)
        set_time(path, 1)
        return read_start(path, fingerprint)

    with monkeypatch.context() as patched:
        patched.setattr(batches, "_read_start", grown)
        assert counts(sync(cache, project)) == {"added": 1}
    entry = the_entry(cache)
    assert (entry.file_size, entry.mtime_ns, entry.spec_count) == (os.path.getsize(path), 10**9, 21)
    assert counts(sync(cache, project)) == {"unchanged": 1}


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_file_that_grows_while_it_is_read(cache, project, monkeypatch, goes_on):
    """What grows while its header is read is never taken for its last word."""
    path = write_sample(project)
    read, document_of = os.read, batches.read
    node = os.stat(path).st_ino

    def read_and_grow(descriptor, length):
        content = read(descriptor, length)
        if os.fstat(descriptor).st_ino == node:
            grow(path)
        return content

    class GrowingBuffer(Buffer):
        def __enter__(self):
            grow(self.filepath)
            return super().__enter__()

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", read_and_grow)
        if goes_on:
            patched.setattr(batches, "read", lambda path, *arguments, **options: document_of(path, GrowingBuffer))
        assert counts(sync(cache, project)) == {"added": 1}
        assert cache.get_non_synchronized_files([path]) == ([Path(path)] if goes_on else [], [])
        assert counts(sync(cache, project)) == {"changed": 1}
    assert counts(sync(cache, project)) == ({"changed": 1} if goes_on else {"unchanged": 1})
    entry = the_entry(cache)
    assert (entry.id, entry.file_size, entry.spec_count) == (1, os.path.getsize(path), 20 + (4 if goes_on else 2))
    assert counts(sync(cache, project)) == {"unchanged": 1}


# -- files in the place of others ---------------------------------------------------------------------------------


def test_another_file_in_the_place_of_one(cache, project, tmp_path, clock):
    """A file that is moved over another is read under the id of that: another time or size, or too new to be sure."""
    path = write_sample(project, proj__id=1)
    set_time(path, NOW + MINUTE)
    sync(cache, project)
    for number, (seconds, extra) in enumerate([(NOW + MINUTE, 0), (NOW - HOUR, 0), (NOW - HOUR, 128)], 2):
        other = write_sample(tmp_path, proj__id=number)
        os.truncate(other, os.path.getsize(other) + extra)
        set_time(other, seconds)
        os.replace(other, path)
        assert counts(sync(cache, project)) == {"changed": 1}
        assert (the_entry(cache).id, the_entry(cache).project_id) == (1, number)


# -- verify -------------------------------------------------------------------------------------------------------


def test_verify_commits_nothing_where_all_is_well(cache, project, clock, commits):
    """To verify files that are as they were counts them as unchanged, and writes nothing."""
    for path in [*write_samples(project, 3), write_broken(project, 4)]:
        set_time(path, NOW - MINUTE)
    write_other(project, 5)
    sync(cache, project)
    commits.clear()
    report = sync(cache, project, verify=True)
    assert (counts(report), report.failed, commits) == ({"unchanged": 4, "skipped": 1}, [], [])


@pytest.mark.parametrize("buffer_class", [Buffer, OtherBuffer])
def test_verify_finds_whatever_became_of_files(open_cache, project, clock, buffer_class):
    """Whole files that broke, broken ones that were mended, and what is no buffer file any more."""
    cache = open_cache(buffer_class)
    size = 1000
    breaks, stays, mended, other = write_samples(project, 4)
    os.truncate(mended, size)
    for path in (breaks, stays, mended, other):
        set_time(path, NOW - HOUR)
    assert [failure.path for failure in sync(cache, project).failed] == [mended]
    whole = Path(breaks).read_bytes()
    Path(breaks).write_bytes(b"qassdata" + bytes(len(whole) - 8))
    Path(other).write_bytes(bytes(len(whole)))
    Path(mended).write_bytes(b"no more than something else".ljust(size))
    for path in (breaks, stays, mended, other):
        set_time(path, NOW - HOUR)
    assert counts(sync(cache, project)) == {"unchanged": 4}
    report = sync(cache, project, verify=True)
    assert counts(report) == {"unchanged": 1}
    assert sorted(failure.path for failure in report.failed) == [breaks, mended, other]
    assert [entry.id for entry in cache.get_matching_metadata()] == [1, 2, 3, 4]
    assert cache.get_matching_files("opening_error is None") == [stays]
    Path(breaks).write_bytes(whole)
    set_time(breaks, NOW - HOUR)
    report = sync(cache, project, verify=True)
    assert (counts(report), report.failed) == ({"changed": 1, "unchanged": 3}, [])


@pytest.mark.parametrize("is_racy", [False, True])
def test_a_check_mends_a_damaged_document(project, tmp_path, is_racy):
    """Where the log is damaged under columns that are not, the entry whose file is checked is written anew."""
    paths = write_samples(project, 3)
    for path in paths:
        set_time(path, int(time.time()) + HOUR if is_racy else NOW)
    with BufferMetadataCache(tmp_path / "c") as cache:
        sync(cache, project)
    damage_document(tmp_path / "c", 2)
    with BufferMetadataCache(tmp_path / "c") as cache:
        table = cache.db.table("buffer_metadata")
        with pytest.raises(CacheFormatError, match="document 2"):
            table.get(doc_id=2)
        assert counts(sync(cache, project, verify=not is_racy, dry_run=True)) == {"changed": 1, "unchanged": 2}
        assert counts(sync(cache, project, verify=not is_racy)) == {"changed": 1, "unchanged": 2}
        assert table.get(doc_id=2)["process"] == 2
        assert counts(sync(cache, project, verify=True)) == {"unchanged": 3}
        assert cache.check(fix=True)
        assert cache.check() == []
        assert [entry.id for entry in cache.get_matching_metadata()] == [1, 2, 3]
