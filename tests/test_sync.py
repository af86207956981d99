"""Synchronising: what is added, read again, left alone and removed, and what the report says of it."""

import contextlib
import os
import re
import shutil
import socket
import sys
import warnings
from pathlib import Path

import pytest
from samples import buffer_class, set_time, write_broken, write_other, write_sample, write_samples
from syncing import counts, paths_of, sync, the_entry

from bufcache import BufferMetadata as BM
from bufcache import BufferMetadataCache, SyncReport
from bufcache.buffer_metadata_cache.scan import Failure
from bufcache.buffer_metadata_cache.store.database import Edit
from bufcache.buffer_parser import Buffer
from bufcache.errors import BufcacheError, InvalidArgumentError
from bufcache.testing import MockBuffer

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files, or needs rights for them")


# -- new files ----------------------------------------------------------------------------------------------------


def test_new_files_are_added(cache, project):
    """A new file gets an entry with its place, what its header says, and its fingerprint."""
    path = write_sample(project, 7, 2)
    set_time(path, 1_000_000_000)
    report = sync(cache, project)
    assert counts(report) == {"added": 1}
    assert report.failed == []
    entry = the_entry(cache)
    assert (entry.directory_path, entry.filename, entry.filepath) == (str(project), os.path.basename(path), path)
    assert (entry.id, entry.process, entry.channel, entry.spec_count) == (1, 7, 2, 20)
    assert (entry.file_size, entry.mtime_ns) == (os.path.getsize(path), 10**18)
    assert (entry.machine_id, entry.opening_error) == (None, None)


def test_no_id_is_left_for_a_new_file(cache, project):
    """Where an entry has the largest id a new file is an error that says so, and the cache stays as it is."""
    write_sample(project)
    cache._database.commit([Edit("buffer_metadata", 2**63 - 1, {"filename": "gone", "directory_path": str(project)})])
    with pytest.raises(BufcacheError, match="no id is left for a new document of buffer_metadata"):
        sync(cache, project)
    assert len(cache) == 1


def test_files_below_are_found(cache, project):
    """Files in subfolders of any depth are found; without sync_subdirectories only those of the folder itself."""
    (project / "a" / "b").mkdir(parents=True)
    paths = [write_sample(folder) for folder in (project, project / "a", project / "a" / "b")]
    assert counts(sync(cache, project, sync_subdirectories=False)) == {"added": 1}
    assert counts(sync(cache, project)) == {"added": 2, "unchanged": 1}
    assert paths_of(cache) == sorted(paths)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"X_00001p1c0b01", "X_00001p12c3b01", "X_00001p1c0b01.bak", "p1c0b01"}),
        ({"glob_pattern": "*b01"}, {"X_00001p1c0b01", "X_00001p12c3b01", "p1c0b01"}),
        ({"glob_pattern": "**/*b01"}, {"X_00001p1c0b01", "X_00001p12c3b01", "p1c0b01"}),
        ({"glob_pattern": "X*"}, {"X_00001p1c0b01", "X_00001p12c3b01", "X_00001p1c0b01.bak"}),
        ({"glob_pattern": "X*c?b*", "regex_pattern": ".*b0?x+"}, {"X_00001p1c0bxx"}),
        ({"glob_pattern": "?", "regex_pattern": ""}, {"X"}),
        ({"regex_pattern": r".*p1c\db01$"}, {"X_00001p1c0b01", "p1c0b01"}),
        ({"regex_pattern": "p1"}, {"p1c0b01"}),
    ],
    ids=str,
)
def test_both_patterns_must_match(cache, project, options, expected):
    """A file belongs to the project if its name matches the glob pattern and, from its start, the regular one."""
    template = write_sample(project)
    for name in ("X_00001p1c0b01", "X_00001p12c3b01", "X_00001p1c0b01.bak", "p1c0b01", "X_00001p1c0bxx", "X"):
        shutil.copy(template, project / name)
    os.remove(template)
    sync(cache, project, **options)
    assert set(cache.distinct(BM.filename)) == expected


@pytest.mark.parametrize("options", [{"regex_pattern": "("}, {"glob_pattern": "a/*b01"}], ids=str)
def test_a_pattern_that_cannot_work_is_refused(cache, project, options):
    """A regular expression that is none, or a glob pattern that names folders, raises InvalidArgumentError."""
    with pytest.raises(InvalidArgumentError, match=re.escape(*options.values())):
        sync(cache, project, **options)


# -- known files --------------------------------------------------------------------------------------------------


def test_unchanged_files_are_not_opened(open_cache, project):
    """A file whose size and modification time are those of its entry is not opened again."""
    opened = []
    cache = open_cache(buffer_class(opened.append))
    paths = write_samples(project, 3)
    for path in paths:
        set_time(path, 10**9)
    sync(cache, project)
    assert opened == paths
    assert counts(sync(cache, project)) == {"unchanged": 3}
    assert counts(cache.add_files_to_cache(paths)) == {"unchanged": 3}
    assert opened == paths


@pytest.mark.parametrize("seconds", [999_999_999, 1_000_000_001])
def test_a_changed_file_is_read_again_under_its_id(cache, project, seconds):
    """A file with another modification time, earlier or later, is read again; its entry keeps its id."""
    for path in write_samples(project, 3):
        set_time(path, 1_000_000_000)
    sync(cache, project)
    path = write_sample(project, 2, proj__id=42)
    set_time(path, seconds)
    assert counts(sync(cache, project)) == {"changed": 1, "unchanged": 2}
    assert [(entry.id, entry.project_id) for entry in cache.get_matching_metadata()] == [(1, 1001), (2, 42), (3, 1001)]
    assert counts(sync(cache, project)) == {"unchanged": 3}


def test_a_file_of_another_size_is_read_again(cache, project):
    """A file that has grown is read again even where its modification time was set back."""
    path = write_sample(project)
    set_time(path, 1_000_000_000)
    sync(cache, project)
    with open(path, "ab") as file:
        file.write(bytes(1280))
    set_time(path, 1_000_000_000)
    assert counts(sync(cache, project)) == {"changed": 1}
    assert the_entry(cache).spec_count == 30


def test_what_a_header_says_no_more_is_forgotten(cache, project):
    """A file that is read again leaves nothing of its former entry but the id."""
    path = write_sample(project)
    sync(cache, project)
    write_sample(project, asc_part=None, an4dvers=None, header_size=None)
    set_time(path, 1)
    sync(cache, project)
    assert (the_entry(cache).analyzer_version, the_entry(cache).partnumber) == (None, "")


def test_ids_follow_the_paths(cache, project):
    """New files get their ids in order of their paths, whatever the order of the file system or of the call."""
    for name in ("b", "a"):
        (project / name).mkdir()
        write_samples(project / name, 3)
    given = cache.get_matching_files
    sync(cache, project / "b", project / "a")
    assert given() == sorted(given())
    cache.remove_files_from_cache(given())
    cache.add_files_to_cache(sorted(project.rglob("Test*"), reverse=True))
    assert given() == sorted(map(str, project.rglob("Test*")))


def test_an_id_is_never_given_twice(cache, project):
    """A new file gets an id that no file had before it."""
    first = write_sample(project, 1)
    sync(cache, project)
    cache.remove_files_from_cache([first])
    write_sample(project, 2)
    assert counts(sync(cache, project)) == {"added": 2}
    assert cache.distinct(BM.id) == [2, 3]


# -- files that cannot be read ------------------------------------------------------------------------------------


def test_a_broken_file_is_told_once(open_cache, project):
    """A broken file gets an entry with opening_error, fails once, and is not opened again before it changes."""
    opened = []
    cache = open_cache(buffer_class(opened.append))
    path = write_broken(project)
    report = sync(cache, project)
    assert counts(report) == {}
    [failure] = report.failed
    assert failure.path == path
    assert failure.error.startswith("TruncatedFileError: the header should have 2000 bytes")
    entry = the_entry(cache)
    assert (entry.filepath, entry.process, entry.opening_error) == (path, None, failure.error)
    assert (entry.file_size, entry.mtime_ns) == (1000, os.stat(path).st_mtime_ns)
    again = sync(cache, project)
    assert (counts(again), again.failed) == ({"unchanged": 1}, [])
    set_time(path, 1)
    assert [failure.path for failure in sync(cache, project).failed] == [path]
    assert opened == []  # the hook runs behind a header that could be read


def test_a_mended_file_loses_its_error(cache, project):
    """A broken file that was mended is read under its id, and its error is gone."""
    write_broken(project, 1)
    write_sample(project, 2)
    sync(cache, project)
    write_sample(project, 1)
    report = sync(cache, project)
    assert (counts(report), report.failed) == ({"changed": 1, "unchanged": 1}, [])
    entries = cache.get_matching_metadata(BM.process.in_([1, 2]))
    assert sorted((entry.id, entry.process, entry.opening_error) for entry in entries) == [(1, 1, None), (2, 2, None)]


def test_a_file_that_breaks_keeps_its_id_only(cache, project):
    """An entry whose file was good and is broken now says so, and nothing of what the file was."""
    write_sample(project)
    sync(cache, project)
    write_broken(project)
    assert len(sync(cache, project).failed) == 1
    entry = the_entry(cache)
    assert (entry.id, entry.process, entry.partnumber) == (1, None, None)
    assert entry.opening_error.startswith("TruncatedFileError")


def test_a_file_that_stops_being_a_buffer_file_is_told(cache, project):
    """An entry whose file was overwritten by something else no longer describes what the file was."""
    write_sample(project)
    sync(cache, project)
    path = write_other(project)
    assert [failure.path for failure in sync(cache, project).failed] == [path]
    entry = the_entry(cache)
    assert (entry.id, entry.process) == (1, None)
    assert entry.opening_error.startswith("InvalidFileError")
    assert counts(sync(cache, project)) == {"unchanged": 1}


@pytest.mark.parametrize("content", [b"no buffer file", b"", b"qass", b"QASSDATA" + bytes(2000)], ids=str)
def test_what_is_no_buffer_file_is_skipped(cache, project, content):
    """A file without the magic number is skipped and counted, every time, and gets no entry."""
    write_sample(project, 1)
    path = write_other(project, 2, content)
    assert counts(sync(cache, project)) == {"added": 1, "skipped": 1}
    assert counts(sync(cache, project)) == {"unchanged": 1, "skipped": 1}
    report = cache.add_files_to_cache([path])
    assert (counts(report), report.failed) == ({"skipped": 1}, [])
    assert len(cache) == 1


def test_a_file_that_is_only_its_magic_number_is_broken(cache, project):
    """A file that ends behind the magic number is a buffer file, and a broken one."""
    write_other(project, 1, b"qassdata")
    assert sync(cache, project).failed[0].error.startswith("TruncatedFileError")


def test_a_file_that_changes_while_it_is_read_is_read_again(open_cache, project):
    """What was read from a file that was being written is not taken for the file's last word."""

    def record(path):
        with open(path, "ab") as file:
            file.write(bytes(128))

    hooks = [record]
    cache = open_cache(buffer_class(lambda path: [hook(path) for hook in hooks]))
    write_sample(project)
    assert counts(sync(cache, project)) == {"added": 1}
    assert counts(sync(cache, project)) == {"changed": 1}
    hooks.clear()
    assert counts(sync(cache, project)) == {"changed": 1}
    assert (the_entry(cache).id, the_entry(cache).spec_count) == (1, 22)
    assert counts(sync(cache, project)) == {"unchanged": 1}


def test_a_file_that_changed_while_it_was_read_is_never_taken_for_unchanged(open_cache, project):
    """Such a file is read again even where its size and modification time are those of the beginning again."""
    path = write_sample(project)
    set_time(path, 1)
    cache = open_cache(buffer_class(lambda path: set_time(path, 2)))
    assert counts(sync(cache, project)) == {"added": 1}
    set_time(path, 1)
    assert cache.get_non_synchronized_files([path]) == ([Path(path)], [])
    assert counts(sync(cache, project)) == {"changed": 1}


def test_a_file_that_vanishes_before_it_is_read(open_cache, project):
    """A file that is gone when its turn comes is told, and the others are read; what had no entry gets none."""
    paths = write_samples(project, 3)
    cache = open_cache(buffer_class(lambda path: os.remove(paths[1]) if os.path.exists(paths[1]) else None))
    report = sync(cache, project)
    assert counts(report) == {"added": 2}
    assert [failure.path for failure in report.failed] == [paths[1]]
    assert report.failed[0].error.startswith("FileNotFoundError")
    assert paths_of(cache) == [paths[0], paths[2]]
    assert counts(sync(cache, project, delete_stale_entries=True)) == {"unchanged": 2}


def test_a_file_that_vanishes_before_it_is_opened(open_cache, project):
    """A file that is gone at the last moment is told as well, and its entry stays until it is found stale."""

    class LateBuffer(Buffer):
        def __init__(self, filepath):
            super().__init__(filepath)
            os.remove(filepath)

    path = write_sample(project)
    cache = open_cache(LateBuffer)
    assert [failure.path for failure in sync(cache, project).failed] == [path]
    assert len(cache) == 0


@posix_only
def test_a_file_that_becomes_something_else_before_it_is_read(open_cache, project):
    """What is no regular file any more when its turn comes is skipped."""
    paths = write_samples(project, 2)

    def replace(path):
        os.remove(paths[1])
        os.mkfifo(paths[1])

    report = sync(open_cache(buffer_class(replace)), project)
    assert (counts(report), report.failed) == ({"added": 1, "skipped": 1}, [])


# -- entries whose files are gone -----------------------------------------------------------------------------------


def test_stale_entries_are_removed_only_on_request(cache, project):
    """An entry whose file is gone stays, unless delete_stale_entries is given."""
    first, second = write_samples(project, 2)
    sync(cache, project)
    os.remove(first)
    assert counts(sync(cache, project)) == {"unchanged": 1}
    assert len(cache) == 2
    assert counts(sync(cache, project, delete_stale_entries=True)) == {"unchanged": 1, "removed": 1}
    assert paths_of(cache) == [second]


def test_stale_entries_elsewhere_are_kept(cache, project):
    """Only entries below the given paths are removed; a path that merely begins alike is not below."""
    for name in ("data", "data/a", "data2", "other"):
        (project / name).mkdir()
        write_samples(project / name, 2)
    sync(cache, project)
    for name in ("data", "data/a", "data2", "other"):
        os.remove(write_sample(project / name, 1))
    assert counts(sync(cache, project / "data", delete_stale_entries=True)) == {"unchanged": 2, "removed": 2}
    assert cache.count(BM.directory_path.below(project / "data")) == 2
    assert len(cache) == 6


def test_stale_entries_of_other_machines_are_kept(cache, project):
    """Only entries of this machine_id are removed, and those of no machine only by no machine."""
    paths = write_samples(project, 2)
    for machine in ("A", "B", None):
        assert counts(sync(cache, project, machine_id=machine)) == {"added": 2}
    os.remove(paths[0])
    assert counts(sync(cache, project, machine_id="A", delete_stale_entries=True)) == {"unchanged": 1, "removed": 1}
    assert cache.count(by=BM.machine_id) == {None: 2, "A": 1, "B": 2}
    assert counts(sync(cache, project, delete_stale_entries=True)) == {"unchanged": 1, "removed": 1}
    assert cache.count(by=BM.machine_id) == {None: 1, "A": 1, "B": 2}


def test_entries_of_a_folder_that_is_gone_are_removed(cache, project):
    """Where a whole subfolder was deleted its entries are removed."""
    (project / "a" / "b").mkdir(parents=True)
    for folder in (project, project / "a", project / "a" / "b"):
        write_sample(folder)
    sync(cache, project)
    shutil.rmtree(project / "a")
    assert counts(sync(cache, project, delete_stale_entries=True)) == {"unchanged": 1, "removed": 2}


def test_without_subfolders_their_entries_are_kept(cache, project):
    """With sync_subdirectories=False an entry below a subfolder is never removed."""
    (project / "a").mkdir()
    paths = [*write_samples(project, 2), *write_samples(project / "a", 2)]
    sync(cache, project)
    os.remove(paths[0])
    os.remove(paths[2])
    report = sync(cache, project, sync_subdirectories=False, delete_stale_entries=True)
    assert counts(report) == {"unchanged": 1, "removed": 1}
    assert paths_of(cache) == sorted(paths[1:])


def test_files_of_other_names_are_not_stale(cache, project):
    """An entry whose file exists is kept, whether or not the patterns of this call match its name."""
    write_samples(project, 3)
    sync(cache, project)
    report = sync(cache, project, glob_pattern="*p1c?b*", delete_stale_entries=True)
    assert counts(report) == {"unchanged": 1}
    assert len(cache) == 3


def test_an_entry_of_a_broken_file_is_removed_with_it(cache, project):
    """An entry with opening_error goes with its file as any other does."""
    write_sample(project, 1)
    broken = write_broken(project, 2)
    sync(cache, project)
    os.remove(broken)
    assert counts(sync(cache, project, delete_stale_entries=True)) == {"unchanged": 1, "removed": 1}


@posix_only
def test_where_it_cannot_be_told_an_entry_is_kept(cache, project):
    """An entry is removed only where there clearly is no file: not where its folder cannot be followed."""
    for folder in (project / "a", project / "b"):
        folder.mkdir()
        write_sample(folder)
    sync(cache, project)
    shutil.rmtree(project / "a")
    (project / "a").symlink_to(project / "a")
    assert counts(sync(cache, project, delete_stale_entries="all")) == {"unchanged": 1}
    assert len(cache) == 2


def test_only_true_false_and_all_are_understood(cache, project):
    """delete_stale_entries takes a bool or "all"; another text raises InvalidArgumentError."""
    with pytest.raises(InvalidArgumentError, match="'every'"):
        sync(cache, project, delete_stale_entries="every")


# -- a share that is not mounted ----------------------------------------------------------------------------------


def kept_warning():
    return pytest.warns(UserWarning, match="kept.*mounted.*all")


def test_a_path_that_does_not_exist_changes_nothing(cache, project):
    """A missing path raises FileNotFoundError that names it, before the other paths are looked at."""
    write_sample(project)
    missing = project / "missing"
    for folders in ([project, missing], [missing, project]):
        with pytest.raises(FileNotFoundError, match=re.escape(str(missing))):
            sync(cache, *folders, delete_stale_entries=True)
    assert len(cache) == 0


def test_an_empty_path_is_not_the_working_folder(cache):
    """An empty text, as of a variable that is not set, names no folder."""
    with pytest.raises(FileNotFoundError, match="''"):
        sync(cache, "", delete_stale_entries=True)


def test_a_path_that_is_a_file_is_refused(cache, project):
    """A path that is no folder raises an OSError that names it."""
    path = write_sample(project)
    with pytest.raises(OSError, match=re.escape(path)):
        sync(cache, path)


@pytest.mark.parametrize("emptied", ["", "a"], ids=["the root", "a subfolder"])
def test_below_an_empty_folder_nothing_is_removed(cache, project, emptied):
    """A folder that exists and is empty keeps its entries, with a warning: a mount point looks so."""
    (project / "a" / "b").mkdir(parents=True)
    for folder in (project, project / "a", project / "a" / "b"):
        write_sample(folder)
    sync(cache, project)
    shutil.rmtree(project / emptied)
    (project / emptied).mkdir()
    there, gone = (0, 3) if emptied == "" else (1, 2)
    with kept_warning():
        report = sync(cache, project, delete_stale_entries=True)
    assert (report.unchanged, report.removed, report.kept) == (there, 0, gone)
    assert len(cache) == 3
    report = sync(cache, project, delete_stale_entries="all")
    assert (report.unchanged, report.removed, report.kept) == (there, gone, 0)
    assert len(cache) == there


def test_a_warning_points_at_the_call(cache, project):
    """The warning about entries that were kept names the line that called, and how many of how many."""
    os.remove(write_sample(project))
    write_sample(project)
    sync(cache, project)
    os.remove(write_sample(project))
    with pytest.warns(UserWarning, match="^1 of 1 entries") as caught:
        cache.synchronize_directory(project, delete_stale_entries=True, verbose=0)
    assert caught[0].filename == __file__


def test_below_a_folder_that_cannot_be_listed_nothing_is_removed(cache, project, monkeypatch):
    """A folder that cannot be listed fails and keeps its entries, and those below it."""
    (project / "shut" / "below").mkdir(parents=True)
    for folder in (project, project / "shut", project / "shut" / "below"):
        write_samples(folder, 2)
    sync(cache, project)
    for folder in (project, project / "shut", project / "shut" / "below"):
        os.remove(write_sample(folder, 1))
    scandir = os.scandir

    def scandir_of_a_user(path):  # the tests may run as root, whom nothing is shut to
        if os.fspath(path) == str(project / "shut"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir_of_a_user)
    with kept_warning():
        report = sync(cache, project, delete_stale_entries=True)
    assert counts(report) == {"unchanged": 1, "removed": 1, "kept": 2}
    assert [failure.path for failure in report.failed] == [str(project / "shut")]
    assert report.failed[0].error.startswith("PermissionError")
    assert len(cache) == 5


def test_a_root_that_cannot_be_listed_keeps_all(cache, project, monkeypatch):
    """A given path that cannot be listed is told once and keeps its entries, also where another path covers it."""
    write_samples(project, 2)
    sync(cache, project)
    os.remove(write_sample(project, 1))

    def refused(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refused)
    with kept_warning():
        report = sync(cache, project, project.parent, delete_stale_entries=True)
    assert (counts(report), [failure.path for failure in report.failed]) == ({"kept": 1}, [str(project.parent)])


@pytest.mark.parametrize(
    ("entries", "gone", "is_removed"),
    [(20, 10, True), (20, 11, False), (21, 10, True), (21, 11, False), (19, 18, True), (40, 39, False)],
)
def test_more_than_half_of_many_are_kept(cache, project, entries, gone, is_removed):
    """Where more than half of 20 or more entries would go all are kept, with a warning; "all" removes them."""
    paths = write_samples(project, entries)
    sync(cache, project)
    for path in paths[:gone]:
        os.remove(path)
    with contextlib.nullcontext() if is_removed else kept_warning():
        report = sync(cache, project, delete_stale_entries=True)
    assert (report.removed, report.kept) == ((gone, 0) if is_removed else (0, gone))
    assert len(cache) == (entries - gone if is_removed else entries)
    sync(cache, project, delete_stale_entries="all")
    assert paths_of(cache) == sorted(paths[gone:])


def test_half_is_counted_over_the_entries_of_the_call(cache, project):
    """Entries elsewhere, or of another machine, do not count in the half."""
    (project / "large").mkdir()
    (project / "small").mkdir()
    write_samples(project / "large", 30)
    paths = write_samples(project / "small", 21)
    sync(cache, project)
    sync(cache, project / "small", machine_id="other")
    for path in paths[:11]:
        os.remove(path)
    with kept_warning():
        assert sync(cache, project / "small", delete_stale_entries=True).kept == 11
    assert sync(cache, project, delete_stale_entries=True).removed == 11


# -- what is no plain file ----------------------------------------------------------------------------------------


@posix_only
def test_links_to_files_are_followed(cache, project, tmp_path):
    """A link to a file gets an entry of its own with the values and the fingerprint of the file."""
    target = write_sample(tmp_path, 5)
    link = project / "Link_00001p5c0b01"
    link.symlink_to(target)
    assert counts(sync(cache, project)) == {"added": 1}
    entry = the_entry(cache)
    assert (entry.filepath, entry.process, entry.file_size) == (str(link), 5, os.path.getsize(target))
    set_time(target, 1)
    assert counts(sync(cache, project)) == {"changed": 1}


@posix_only
def test_links_to_folders_are_not_followed(cache, project, tmp_path):
    """A link to a folder is not followed, so that a loop has an end; a given path may be a link."""
    (tmp_path / "elsewhere").mkdir()
    write_sample(tmp_path / "elsewhere", 2)
    write_sample(project, 1)
    (project / "loop").symlink_to(project)
    (project / "up_p1c0b01").symlink_to(tmp_path)
    (project / "link").symlink_to(tmp_path / "elsewhere")
    report = sync(cache, project)
    assert (counts(report), report.failed) == ({"added": 1}, [])
    assert counts(sync(cache, project / "link")) == {"added": 1}
    assert cache.distinct(BM.directory_path) == [str(project), str(project / "link")]


@posix_only
def test_links_that_lead_nowhere_are_skipped(cache, project):
    """A dangling link, one to itself and one through a file are no files: no entry, no failure."""
    path = write_sample(project, 3)
    (project / "Dangling_00001p1c0b01").symlink_to(project / "nothing")
    (project / "Self_00001p2c0b01").symlink_to(project / "Self_00001p2c0b01")
    (project / "Through_00001p4c0b01").symlink_to(os.path.join(path, "below"))
    report = sync(cache, project)
    assert (counts(report), report.failed) == ({"added": 1}, [])


@posix_only
def test_an_entry_whose_link_dangles_is_stale(cache, project, tmp_path):
    """Where a link leads to nothing any more its entry is removed as one whose file is gone."""
    write_sample(project, 1)
    target = write_sample(tmp_path, 2)
    (project / "Link_00001p2c0b01").symlink_to(target)
    sync(cache, project)
    os.remove(target)
    assert counts(sync(cache, project, delete_stale_entries=True)) == {"unchanged": 1, "removed": 1}


@posix_only
def test_only_regular_files_are_opened(open_cache, project, monkeypatch):
    """A pipe, a socket and a folder with the name of a buffer file are never opened: a pipe would wait for ever."""
    opened = []
    cache = open_cache(buffer_class(opened.append))
    names = ["Pipe_00001p1c0b01", "Socket_00001p2c0b01", "Folder_00001p3c0b01"]
    monkeypatch.chdir(project)  # a socket's path must be short
    os.mkfifo(names[0])
    os.mkdir(names[2])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(names[1])
        for report in (sync(cache, project), cache.add_files_to_cache(names)):
            assert (report.added, report.failed) == (0, [])
    assert (len(cache), opened) == (0, [])


def test_caches_below_a_path_are_not_scanned(cache, project):
    """What lies in a folder that is a cache is no part of the project, nor what lies below it."""
    write_sample(project, 1)
    with BufferMetadataCache(project / ".bufcache") as other:
        sync(other, project)
    (project / ".bufcache" / "columns").mkdir(exist_ok=True)
    write_sample(project / ".bufcache", 2)
    write_sample(project / ".bufcache" / "columns", 3)
    assert counts(sync(cache, project)) == {"added": 1}


def test_a_cache_is_no_folder_of_measured_files(cache, project):
    """To synchronise with a cache itself is an error that says so, and changes nothing."""
    write_sample(project, 1)
    with BufferMetadataCache(project / ".bufcache") as other:
        sync(other, project)
    with pytest.raises(InvalidArgumentError, match=r"bufcache is a cache; give the folder of the measured files"):
        sync(cache, project, project / ".bufcache", sync_subdirectories=False)
    assert len(cache) == 0


@pytest.mark.parametrize("name", ["documents-1.jsonl", "documents-0.jsonl", "documents-x.jsonl"])
@pytest.mark.parametrize("content", ["", "{}", '{"documents":1}'])
def test_a_file_with_the_name_of_a_log_hides_nothing(cache, project, name, content):
    """A folder with a file that is only called like the log of a cache is a folder as any other."""
    (project / "a").mkdir()
    paths = [write_sample(project, 1), write_sample(project / "a", 2)]
    (project / name).write_text(content)
    (project / "a" / name).write_text(content)
    assert counts(sync(cache, project)) == {"added": 2}
    assert paths_of(cache) == sorted(paths)


def test_all_entries_of_a_file_that_is_gone_are_removed(cache, project):
    """Where several entries stand for a file, which check() tells, none of them outlasts it."""
    paths = write_samples(project, 3)
    sync(cache, project)
    table = cache.db.table("buffer_metadata")
    [double] = table.search(BM.filepath == paths[1])
    table.insert({**double, "id": None})
    os.remove(paths[1])
    assert counts(sync(cache, project, delete_stale_entries=True)) == {"removed": 2, "unchanged": 2}
    assert paths_of(cache) == [paths[0], paths[2]]


# -- several paths ------------------------------------------------------------------------------------------------


def test_several_paths(cache, project):
    """Several paths are one synchronisation; no path at all, or a list of them, is an error."""
    for name in ("a", "b", "c"):
        (project / name).mkdir()
        write_sample(project / name)
    assert counts(sync(cache, project / "a", str(project / "b"))) == {"added": 2}
    with pytest.raises(InvalidArgumentError, match="no folder"):
        sync(cache)
    with pytest.raises(TypeError, match="several arguments"):
        sync(cache, [project / "a"])


def test_overlapping_paths_count_once(cache, project):
    """A file below several of the paths, or below one that is given twice, is read and counted once."""
    (project / "a").mkdir()
    write_sample(project)
    write_sample(project / "a")
    assert counts(sync(cache, project / "a", project, project, f"{project}{os.sep}")) == {"added": 2}
    assert counts(sync(cache, project, project / "a", sync_subdirectories=False)) == {"unchanged": 2}


def test_relative_paths_are_made_absolute(cache, project, monkeypatch):
    """Entries have absolute paths, without . and .., wherever they were synchronised from."""
    path = write_sample(project)
    monkeypatch.chdir(project.parent)
    for folder in ("project", ".", "./project/../project/"):
        sync(cache, folder)
    cache.add_files_to_cache([os.path.join("project", os.path.basename(path))])
    assert paths_of(cache) == [path]
    cache.remove_files_from_cache([os.path.join("project", os.path.basename(path))])
    assert len(cache) == 0


# -- machines -----------------------------------------------------------------------------------------------------


def test_each_machine_has_entries_of_its_own(cache, project):
    """The same path on two machines is two entries, each compared and read again by its own machine only."""
    path = write_sample(project)
    set_time(path, 1)
    assert counts(sync(cache, project, machine_id="A")) == {"added": 1}
    assert counts(cache.add_files_to_cache([path], machine_id="B")) == {"added": 1}
    set_time(path, 2)
    assert counts(sync(cache, project, machine_id="A")) == {"changed": 1}
    assert counts(sync(cache, project, machine_id="A")) == {"unchanged": 1}
    assert cache.get_non_synchronized_files([path], machine_id="A") == ([], [])
    assert cache.get_non_synchronized_files([path], machine_id="B") == ([Path(path)], [])
    entries = cache.get_matching_metadata()
    assert [(entry.id, entry.machine_id, entry.mtime_ns) for entry in entries] == [(1, "A", 2 * 10**9), (2, "B", 10**9)]


def test_a_machine_is_named_by_text(cache, project):
    """A machine_id that is no text is a TypeError that names the field, before anything is read."""
    write_sample(project)
    with pytest.raises(TypeError, match="machine_id"):
        sync(cache, project, machine_id=5)
    assert len(cache) == 0


# -- single files -------------------------------------------------------------------------------------------------


def test_files_are_added_changed_and_left_alone(cache, project):
    """add_files_to_cache does for given files, of any name, what synchronize_directory does for folders."""
    paths = write_samples(project, 3)
    odd = shutil.copy(paths[0], project / "any name")
    for path in paths:
        set_time(path, 1)
    assert counts(cache.add_files_to_cache([paths[0], Path(paths[1]), odd])) == {"added": 3}
    set_time(paths[0], 2)
    report = cache.add_files_to_cache(iter(paths))
    assert isinstance(report, SyncReport)
    assert counts(report) == {"added": 1, "changed": 1, "unchanged": 1}
    assert cache.distinct(BM.id) == [1, 2, 3, 4]


def test_given_files_are_the_only_ones_looked_at(cache, project):
    """add_files_to_cache neither finds other files nor removes entries."""
    paths = write_samples(project, 3)
    cache.add_files_to_cache(paths[:2])
    os.remove(paths[0])
    assert counts(cache.add_files_to_cache([paths[1]])) == {"unchanged": 1}
    assert paths_of(cache) == paths[:2]


def test_a_given_file_that_is_missing_fails(cache, project):
    """A given file that does not exist is told in the report, and the others are added."""
    path, missing = write_sample(project), str(project / "missing")
    report = cache.add_files_to_cache([missing, path])
    assert counts(report) == {"added": 1}
    assert [failure.path for failure in report.failed] == [missing]
    assert report.failed[0].error.startswith("FileNotFoundError")


def test_a_path_that_no_file_can_have_fails(cache, project):
    """A path with a NUL is told in the report like one that does not exist, and the others are added."""
    report = cache.add_files_to_cache(["a\0b", write_sample(project)])
    assert (counts(report), [failure.path[-3:] for failure in report.failed]) == ({"added": 1}, ["a\0b"])
    assert len(cache.get_non_synchronized_files(["a\0b"])[0]) == 1
    cache.remove_files_from_cache(["a\0b"])


def test_paths_may_be_bytes(cache, project):
    """Paths may be given as bytes, as os.fsencode makes them, and come back as text."""
    path = write_sample(project)
    for _ in range(2):
        sync(cache, os.fsencode(project))
        cache.add_files_to_cache([os.fsencode(path)])
        assert cache.get_non_synchronized_files([os.fsencode(path)]) == ([], [])
        assert paths_of(cache) == [path]
        cache.remove_files_from_cache([os.fsencode(path)])
        assert len(cache) == 0


def test_a_file_given_twice_counts_once(cache, project, monkeypatch):
    """A file that is given several times, in any form of its path, is read and counted once."""
    path = write_sample(project)
    monkeypatch.chdir(project)
    for check_synced in (True, False):
        report = cache.add_files_to_cache([path, Path(path), os.path.basename(path)], check_synced=check_synced)
        assert report.added + report.changed == 1
    assert len(cache) == 1


def test_without_comparison_entries_are_replaced(open_cache, project):
    """check_synced=False reads every file; an entry that stands is replaced under its id, never doubled."""
    opened = []
    cache = open_cache(buffer_class(opened.append))
    paths = write_samples(project, 2)
    cache.add_files_to_cache(paths[:1])
    report = cache.add_files_to_cache(paths, check_synced=False)
    assert counts(report) == {"added": 1, "changed": 1}
    assert opened == [paths[0], *paths]
    assert [(entry.id, entry.filepath) for entry in cache.get_matching_metadata()] == list(enumerate(paths, 1))
    cache.add_files_to_cache(paths[:1], check_synced=False, machine_id="A")
    assert cache.count(by=BM.machine_id) == {None: 2, "A": 1}


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_has_at_least_one_file(cache, batch_size):
    """A batch_size below 1 raises InvalidArgumentError."""
    with pytest.raises(InvalidArgumentError, match=str(batch_size)):
        cache.add_files_to_cache([], batch_size=batch_size)


@pytest.mark.parametrize("call", ["add_files_to_cache", "remove_files_from_cache", "get_non_synchronized_files"])
def test_a_single_path_is_not_taken_for_its_letters(cache, project, call):
    """A text in the place of a list of files is a TypeError, not a list of one-letter names."""
    with pytest.raises(TypeError, match="list"):
        getattr(cache, call)(write_sample(project))


def test_what_is_not_synchronised(cache, project, tmp_path):
    """get_non_synchronized_files gives the new and changed files, and those of entries that are not given."""
    paths = write_samples(project, 4)
    elsewhere = write_sample(tmp_path, 9)
    broken = write_broken(project, 8)
    cache.add_files_to_cache([*paths[:3], broken, elsewhere])
    set_time(paths[1], 1)
    os.remove(paths[2])
    given = [paths[0], paths[1], Path(paths[3]), broken]
    changed, missing = cache.get_non_synchronized_files(given)
    assert changed == [Path(paths[1]), Path(paths[3])]
    assert sorted(missing) == sorted([Path(paths[2]), Path(elsewhere)])
    assert cache.get_non_synchronized_files([], machine_id="A") == ([], [])
    assert len(cache) == 5


def test_entries_are_removed_by_path(cache, project):
    """remove_files_from_cache removes entries whether or not their files exist, and touches no file."""
    paths = write_samples(project, 4)
    sync(cache, project)
    os.remove(paths[0])
    cache.remove_files_from_cache([paths[0], Path(paths[1]), project / "no entry"])
    assert paths_of(cache) == paths[2:]
    assert os.path.exists(paths[1])
    cache.remove_files_from_cache([])
    assert len(cache) == 2


# -- commits ------------------------------------------------------------------------------------------------------


def interrupting(number):
    """Return a Buffer class that is interrupted, as by Ctrl-C, when it has opened so many files."""
    opened = []

    def on_open(path):
        opened.append(path)
        if len(opened) == number:
            raise KeyboardInterrupt

    return buffer_class(on_open)


@pytest.mark.parametrize(("batch_size", "kept"), [(1, 4), (2, 4), (3, 3), (1000, 0)])
def test_an_interrupt_keeps_what_was_committed(open_cache, project, batch_size, kept):
    """What was committed before an interrupt, batch_size files at a time, stays, and the next call goes on."""
    cache = open_cache(interrupting(5))
    paths = write_samples(project, 8)
    with pytest.raises(KeyboardInterrupt):
        cache.add_files_to_cache(paths, batch_size=batch_size)
    assert paths_of(cache) == paths[:kept]
    report = sync(cache, project)
    assert (report.added, report.unchanged) == (8 - kept, kept)


def test_an_interrupt_of_a_synchronisation(open_cache, project):
    """synchronize_directory commits every 2000 files."""
    last = str(project / "Mock_00001p2000c0b01")

    class InterruptedBuffer(MockBuffer):
        def __enter__(self):
            if self.filepath == last:
                raise KeyboardInterrupt
            return super().__enter__()

    for process in range(2001):
        MockBuffer(project / f"Mock_00001p{process:04}c0b01", process=process).write()
    cache = open_cache(InterruptedBuffer)
    with pytest.raises(KeyboardInterrupt):
        sync(cache, project)
    assert len(cache) == 2000
    last = None
    assert counts(sync(cache, project)) == {"added": 1, "unchanged": 2000}


def test_an_interrupt_releases_the_lock(project, tmp_path):
    """After an interrupt another cache on the same folder can go on."""
    paths = write_samples(project, 3)
    with BufferMetadataCache(tmp_path / "c", interrupting(2)) as cache:
        with pytest.raises(KeyboardInterrupt):
            cache.add_files_to_cache(paths, batch_size=1)
        with BufferMetadataCache(tmp_path / "c", lock_timeout=0) as other:
            assert counts(sync(other, project)) == {"added": 2, "unchanged": 1}
        assert cache.check() == []


def test_a_call_without_changes_commits_nothing(project, tmp_path):
    """A synchronisation that finds nothing to do leaves the log as it is."""
    write_sample(project)
    with BufferMetadataCache(tmp_path / "c") as cache:
        sync(cache, project)
        [log] = (tmp_path / "c").glob("documents-*.jsonl")
        before = log.read_bytes()
        sync(cache, project, delete_stale_entries=True)
        cache.remove_files_from_cache(["no entry"])
        assert log.read_bytes() == before


# -- reports ------------------------------------------------------------------------------------------------------


def test_progress_is_shown_on_stderr(cache, project, capsys):
    """verbose=1 shows a progress bar on stderr, which reaches its end; verbose=0 says nothing."""
    paths = write_samples(project, 3)
    cache.synchronize_directory(project)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "3/3" in captured.err
    cache.add_files_to_cache(paths, verbose=1, check_synced=False)
    assert "3/3" in capsys.readouterr().err
    cache.synchronize_directory(project, verbose=0)
    cache.add_files_to_cache(paths, check_synced=False)
    assert capsys.readouterr() == ("", "")


def test_progress_moves_while_files_are_read(open_cache, project, capsys):
    """The bar counts files that were read, not files that will be."""
    shown = []
    cache = open_cache(buffer_class(lambda path: shown.append(capsys.readouterr().err)))
    write_samples(project, 3)
    cache.synchronize_directory(project)
    assert "0/3" in shown[0]
    assert "3/3" not in "".join(shown)


def test_a_report_is_one_line():
    """A report prints as one line with all its counts."""
    report = SyncReport(added=1, changed=2, moved=3, unchanged=4, removed=5, kept=6, skipped=7, seconds=0.123)
    numbers = dict(re.findall(r"(\d+) (added|changed|moved|unchanged|removed|kept|skipped)", str(report)))
    assert numbers == {str(getattr(report, name)): name for name in numbers.values()}
    assert len(numbers) == 7
    assert "0.12 s" in str(report)
    assert "\n" not in str(report)


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (SyncReport(added=2, unchanged=3), "2 added, 3 unchanged in 0.00 s"),
        (SyncReport(failed=[Failure("x", "y")], seconds=9), "1 failed in 9.00 s"),
        (SyncReport(), "nothing found in 0.00 s"),
    ],
)
def test_a_report_leaves_out_what_did_not_happen(report, text):
    """Counts of nothing are not printed."""
    assert str(report) == text


def test_a_report_counts_each_file_once(cache, project):
    """Every file of a run is in one of the counts; failures are named tuples of path and error."""
    write_samples(project, 3)
    write_broken(project, 4)
    write_other(project, 5)
    report = sync(cache, project)
    assert counts(report) == {"added": 3, "skipped": 1}
    [(path, error)] = report.failed
    assert (path, error) == (report.failed[0].path, report.failed[0].error)
    assert 0 < report.seconds < 60
    assert "1 failed" in str(report)


def test_nothing_is_warned_of_without_reason(cache, project):
    """A synchronisation in which all is well gives no warning, with broken files and links among them too."""
    write_samples(project, 3)
    write_broken(project, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sync(cache, project, delete_stale_entries=True)


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_names_that_are_not_utf_8(cache, project):
    """Files and folders whose names are not UTF-8 are added, known again, and removed as any others."""
    folder = os.path.join(os.fsencode(project), b"Gr\xf6\xdfe")
    os.mkdir(folder)
    path = write_sample(os.fsdecode(folder))
    broken = write_broken(os.fsdecode(folder), 2)
    report = sync(cache, project)
    assert (counts(report), [failure.path for failure in report.failed]) == ({"added": 1}, [broken])
    assert counts(sync(cache, project)) == {"unchanged": 2}
    assert paths_of(cache) == [path, broken]
    assert os.fsencode(path) == os.path.join(folder, b"Test_00001p1c0b01")
    assert cache.get_non_synchronized_files([]) == ([], [Path(path), Path(broken)])
    os.remove(broken)
    assert counts(sync(cache, project, delete_stale_entries=True)) == {"unchanged": 1, "removed": 1}
    cache.remove_files_from_cache([path])
    assert len(cache) == 0
