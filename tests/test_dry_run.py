"""Dry runs: the report of the run that would follow, and nothing changed."""

import os
import shutil
import warnings

import pytest
from samples import buffer_class, set_time, write_broken, write_other, write_sample, write_samples
from syncing import counts, paths_of, sync, told

from bufcache import BufferMetadataCache
from bufcache.buffer_parser import Buffer


class OtherBuffer(Buffer):
    """A class other than Buffer: its files are read one at a time."""


def snapshot(folder):
    """Return all that is in a folder: names, times and bytes."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in [folder, *folder.rglob("*")]
    }


def write_tree(project):
    """Write files that are as they should be, and some that are not."""
    for name in ("a", "b", "empty"):
        (project / name).mkdir()
        for path in write_samples(project / name, 12):
            set_time(path, 10**9)
    set_time(write_sample(project / "a", 1, proj__id=7), 10**9)  # no other is like it
    for path in (write_broken(project, 20), write_broken(project, 21), write_other(project, 22)):
        set_time(path, 10**9)


def change_tree(project):
    """Let all happen to the files that can."""
    os.rename(project / "a" / "Test_00001p1c0b01", project / "b" / "Moved_00001p1c0b01")
    for number, name in enumerate(("a", "b")):
        changed, hidden, removed = (write_sample(project / name, process, proj__id=9) for process in (2, 3, 4))
        set_time(changed, 5 + number)
        set_time(hidden, 10**9)
        os.remove(removed)
    os.truncate(write_sample(project / "a", 5), 1000)
    set_time(project / "Test_00001p20c0b01", 5)
    write_sample(project, 30)
    write_broken(project, 31)
    write_other(project, 32)
    shutil.rmtree(project / "empty")
    (project / "empty").mkdir()


@pytest.mark.parametrize("kind", [Buffer, OtherBuffer])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"added": 1, "changed": 2, "moved": 1, "unchanged": 19, "skipped": 2}),
        ({"verify": True}, {"added": 1, "changed": 4, "moved": 1, "unchanged": 17, "skipped": 2}),
        (
            {"delete_stale_entries": True},
            {"added": 1, "changed": 2, "moved": 1, "unchanged": 19, "skipped": 2, "removed": 2, "kept": 12},
        ),
        (
            {"delete_stale_entries": "all", "verify": True},
            {"added": 1, "changed": 4, "moved": 1, "unchanged": 17, "skipped": 2, "removed": 14},
        ),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:12 of 38 entries")
def test_a_dry_run_tells_what_a_run_would_do(project, tmp_path, kind, options, expected):
    """The report is that of the run that follows, and folder, cache and log are as they were."""
    write_tree(project)
    with BufferMetadataCache(tmp_path / "c", kind) as cache:
        first = sync(cache, project, dry_run=True)
        assert (len(cache), told(sync(cache, project))) == (0, told(first))
        change_tree(project)
        entries = cache.get_matching_metadata()
        before = snapshot(tmp_path)
        dry = sync(cache, project, dry_run=True, **options)
        assert counts(dry) == expected
        assert len(dry.failed) == 3
        assert cache.get_matching_metadata() == entries
        assert snapshot(tmp_path) == before
        assert told(sync(cache, project, **options)) == told(dry)
        assert cache.get_matching_metadata() != entries
        assert cache.check() == []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert sync(cache, project, dry_run=True, **options).added == 0


def test_a_dry_run_of_a_cache_in_memory(cache, project):
    """A dry run of an empty cache leaves it empty."""
    paths = write_samples(project, 3)
    assert counts(sync(cache, project, dry_run=True)) == {"added": 3}
    assert len(cache) == 0
    assert counts(sync(cache, project)) == {"added": 3}
    assert paths_of(cache) == paths


def test_a_dry_run_needs_no_right_to_write(project, tmp_path):
    """A cache that is only read, and one that another is writing to, may be asked what would be done."""
    write_tree(project)
    with BufferMetadataCache(tmp_path / "c") as cache:
        sync(cache, project)
        change_tree(project)
        before = snapshot(tmp_path)
        with BufferMetadataCache(tmp_path / "c", read_only=True) as reader:
            dry = sync(reader, project, dry_run=True, verify=True, delete_stale_entries="all")
            assert snapshot(tmp_path) == before
        with cache._database.writing(), BufferMetadataCache(tmp_path / "c", lock_timeout=0) as other:
            again = sync(other, project, dry_run=True, verify=True, delete_stale_entries="all")
        assert told(again) == told(dry) == told(sync(cache, project, verify=True, delete_stale_entries="all"))


def test_a_dry_run_of_a_share_that_is_not_mounted(project, tmp_path):
    """It says what would be kept, with the warning, and at the line that called."""
    with BufferMetadataCache(tmp_path / "c") as cache:
        paths = write_samples(project, 25)
        sync(cache, project)
        for path in paths:
            os.remove(path)
        with pytest.warns(UserWarning, match="25 of 25 entries") as caught:
            report = cache.synchronize_directory(project, verbose=0, dry_run=True, delete_stale_entries=True)
        assert caught[0].filename == __file__
        assert counts(report) == {"kept": 25}


def test_a_dry_run_reads_what_a_run_reads(open_cache, project):
    """Files are opened, and only those that a run would open."""
    opened = []
    cache = open_cache(buffer_class(opened.append))
    paths = write_samples(project, 3)
    for path in paths:
        set_time(path, 5)
    sync(cache, project)
    set_time(paths[1], 6)
    for options, expected in (({}, paths[1:2]), ({"verify": True}, paths)):
        opened.clear()
        sync(cache, project, dry_run=True, **options)
        assert opened == expected


@pytest.mark.parametrize("others", ["removes", "compacts"])
def test_a_dry_run_beside_a_writer(project, tmp_path, others):
    """Whatever another does to the entries meanwhile, a dry run ends with the report of what it looked at."""
    paths = write_samples(project, 4)
    for path in paths:
        set_time(path, 5)
    with BufferMetadataCache(tmp_path / "c") as writer:
        sync(writer, project)

        def interfere(path):
            writer.remove_files_from_cache([paths[0]] if others == "compacts" else paths)
            if others == "compacts":
                writer.compact()

        os.rename(paths[3], paths[3].replace("Test", "Other"))
        with BufferMetadataCache(tmp_path / "c", buffer_class(interfere), read_only=True) as reader:
            report = sync(reader, project, verify=True, dry_run=True)
        assert report.failed == []
        assert report.added + report.changed + report.moved + report.unchanged == 4
        assert writer.check() == []
