"""Files that moved: which entries go with them under their id, and which must not."""

import errno
import os
import random
import shutil
import tempfile
import warnings
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import buffer_class, damage_document, set_time, write_broken, write_other, write_sample
from syncing import counts, paths_of, sync, the_entry, told

from bufcache import BufferMetadata as BM
from bufcache import BufferMetadataCache
from bufcache.buffer_metadata_cache import cache as caches
from bufcache.buffer_metadata_cache import workers
from bufcache.buffer_metadata_cache.known import Known
from bufcache.buffer_metadata_cache.moves import Listed, Missing, Moves
from bufcache.buffer_metadata_cache.reading import Task
from bufcache.testing import MockBuffer

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files, or needs rights for them")


@pytest.fixture
def folders(project):
    """Make the folders old and new, each with a file that stays, so that neither is ever empty."""
    for number, name in enumerate(("old", "new")):
        (project / name).mkdir()
        set_time(write_sample(project / name, 90 + number), 9)
    return project / "old", project / "new"


def write_old(folder, process=1, **header):
    """Write a file that is old enough to be sure of it."""
    path = write_sample(folder, process, **header)
    set_time(path, 10**9)
    return path


def moved_to(path, target):
    """Move a file to a folder or another name, and return its new path."""
    target = os.path.join(target, os.path.basename(path)) if os.path.isdir(target) else os.fspath(target)
    os.rename(path, target)
    return target


def ids(cache):
    return {entry.filepath: entry.id for entry in cache.get_matching_metadata()}


def renamed(path):
    return path.replace("Test", "Other")


# -- entries that move --------------------------------------------------------------------------------------------


def test_a_renamed_file_keeps_its_id(cache, project):
    """An entry follows its file to another name, with all that it says and no second entry."""
    write_old(project, 1)
    path = write_old(project, 2, proj__id=7)
    sync(cache, project)
    [before] = cache.get_matching_metadata(BM.project_id == 7)
    path = moved_to(path, renamed(path))
    assert counts(sync(cache, project)) == {"moved": 1, "unchanged": 1}
    [after] = cache.get_matching_metadata(BM.project_id == 7)
    assert (after.id, after.filepath) == (before.id, path)
    before.filename = after.filename
    assert after == before
    assert counts(sync(cache, project, delete_stale_entries=True)) == {"unchanged": 2}


def test_a_moved_file_keeps_its_id(cache, folders, project):
    """An entry follows its file to another folder below the same path, with or without a new name."""
    old, new = folders
    paths = [write_old(old, number) for number in (1, 2)]
    sync(cache, project)
    before = ids(cache)
    targets = [moved_to(paths[0], new), moved_to(paths[1], new / "Other_00001p2c0b01")]
    assert counts(sync(cache, project)) == {"moved": 2, "unchanged": 2}
    assert [ids(cache)[target] for target in targets] == [before[path] for path in paths]
    assert len(cache) == 4


def test_a_renamed_folder_keeps_its_ids(cache, project):
    """The entries of a folder that has another name, or lies elsewhere, go with it, those below it as well."""
    (project / "a" / "b").mkdir(parents=True)
    write_old(project, 9)
    paths = [write_old(folder, number) for number, folder in enumerate((project / "a", project / "a" / "b"), 1)]
    sync(cache, project)
    before = ids(cache)
    os.rename(project / "a", project / "z")
    assert counts(sync(cache, project, delete_stale_entries=True)) == {"moved": 2, "unchanged": 1}
    after = ids(cache)
    assert [after[path.replace("/a", "/z", 1)] for path in paths] == [before[path] for path in paths]


def test_a_file_that_moved_between_given_paths_keeps_its_id(cache, folders):
    """Both folders may be given by themselves, in any order, and without those below them."""
    old, new = folders
    path = write_old(old)
    sync(cache, old, new)
    before = ids(cache)[path]
    path = moved_to(path, new)
    assert counts(sync(cache, new, old)) == {"moved": 1, "unchanged": 2}
    path = moved_to(path, old)
    assert counts(sync(cache, new, old, sync_subdirectories=False)) == {"moved": 1, "unchanged": 2}
    assert ids(cache)[path] == before


def test_a_new_file_moves_too(cache, folders, project):
    """A file that was too new to be sure of it is known again all the same, and stays marked where it is."""
    old, new = folders
    path = write_sample(old)
    os.utime(path, ns=(0, os.stat(path).st_mtime_ns + 3600 * 10**9))
    sync(cache, project)
    path = moved_to(path, new)
    assert counts(sync(cache, project)) == {"moved": 1, "unchanged": 2}
    [entry] = cache.get_matching_metadata(BM.filepath == path)
    assert entry.is_racy is True


def test_files_that_change_places_are_read_again(cache, project):
    """Where two files take each other's names no path is new, so that both entries stay and say what is there."""
    first, second = write_old(project, 1, proj__id=1), write_sample(project, 2, proj__id=2)
    set_time(second, 5)
    sync(cache, project)
    os.rename(first, project / "x")
    os.rename(second, first)
    os.rename(project / "x", second)
    assert counts(sync(cache, project)) == {"changed": 2}
    assert [(entry.id, entry.filepath, entry.project_id) for entry in cache.get_matching_metadata()] == [
        (1, first, 2),
        (2, second, 1),
    ]


def test_a_chain_of_renames(cache, project):
    """Where a file took the name of one that moved on, that entry moves no entry: its own path has a file."""
    first, second = write_old(project, 1, proj__id=1), write_old(project, 2, proj__id=2)
    sync(cache, project)
    third = moved_to(second, renamed(second))
    os.rename(first, second)
    set_time(second, 5)
    assert counts(sync(cache, project, delete_stale_entries=True)) == {"added": 1, "changed": 1, "removed": 1}
    assert {path: cache.get_matching_metadata(BM.filepath == path)[0].project_id for path in (second, third)} == {
        second: 1,
        third: 2,
    }


def test_many_files_move(cache, project):
    """More files than are committed at a time move in one synchronisation, and every entry goes with its own."""
    count = 2100
    (project / "old").mkdir()
    write_old(project, 9999)
    template = Path(write_old(project / "old", 1)).read_bytes()
    place = template.index(b"proc_cnt") + 8
    for number in range(2, count + 1):
        path = project / "old" / f"Test_00001p{number}c0b01"
        path.write_bytes(template[:place] + number.to_bytes(4, "little") + template[place + 4 :])
        set_time(path, 10**9)
    assert counts(sync(cache, project)) == {"added": count + 1}
    before = {entry.process: entry.id for entry in cache.get_matching_metadata()}
    assert len(before) == count + 1
    os.rename(project / "old", project / "new")
    assert counts(sync(cache, project, delete_stale_entries=True)) == {"moved": count, "unchanged": 1}
    assert {entry.process: entry.id for entry in cache.get_matching_metadata()} == before
    assert cache.count(BM.directory_path == str(project / "new")) == count
    assert counts(sync(cache, project, delete_stale_entries=True)) == {"unchanged": count + 1}


def test_a_damaged_entry_moves(project, tmp_path):
    """An entry goes with its file although its document in the log is damaged, and is mended by that."""
    paths = [write_old(project, number) for number in (1, 2)]
    with BufferMetadataCache(tmp_path / "c") as cache:
        sync(cache, project)
    damage_document(tmp_path / "c", 2)
    target = moved_to(paths[1], renamed(paths[1]))
    with BufferMetadataCache(tmp_path / "c") as cache:
        assert counts(sync(cache, project)) == {"moved": 1, "unchanged": 1}
        assert ids(cache) == {paths[0]: 1, target: 2}
        assert cache.db.table("buffer_metadata").get(doc_id=2)["process"] == 2


def test_moved_and_gone_files(cache, folders, project):
    """Entries whose files moved are not stale: only those whose files are gone are removed."""
    old, new = folders
    paths = [write_old(old, number) for number in range(1, 21)]
    sync(cache, project)
    before = ids(cache)
    for path in paths[:15]:
        moved_to(path, new)
    os.remove(paths[15])
    report = sync(cache, project, delete_stale_entries=True)
    assert counts(report) == {"moved": 15, "removed": 1, "unchanged": 6}
    after = ids(cache)
    assert [after[path.replace("/old/", "/new/")] for path in paths[:15]] == [before[path] for path in paths[:15]]
    assert len(after) == 21


@pytest.mark.parametrize("emptied", ["old", "old/deep", "old/deep/deeper"])
def test_all_files_leave_a_folder(cache, folders, project, emptied):
    """Entries go with their files from a folder, or the folders below it, even where nothing is left in it."""
    old, new = folders
    shutil.rmtree(old)
    (project / emptied).mkdir(parents=True)
    paths = [write_old(project / emptied, number) for number in (1, 2)]
    sync(cache, project)
    before = ids(cache)
    targets = [moved_to(path, new) for path in paths]
    assert counts(sync(cache, project)) == {"moved": 2, "unchanged": 1}
    assert [ids(cache)[target] for target in targets] == [before[path] for path in paths]


def test_a_folder_moves_out_of_one_that_had_nothing_else(cache, folders, project):
    """Entries go with a folder, even where nothing is left in the one above it."""
    old, new = folders
    shutil.rmtree(old)
    (old / "run").mkdir(parents=True)
    path = write_old(old / "run")
    sync(cache, project)
    before = ids(cache)[path]
    os.rename(old / "run", new / "run")
    assert counts(sync(cache, project)) == {"moved": 1, "unchanged": 1}
    assert_stays(cache, path.replace("/old/", "/new/"), before)


def write_groups(folder, groups, each):
    """Write files of several modification times, and return their paths."""
    paths = []
    for number in range(groups * each):
        paths.append(write_sample(folder, number + 1))
        set_time(paths[-1], 10**9 + number % groups)
    return paths


def test_an_interrupt_keeps_what_moved(open_cache, project, monkeypatch):
    """Entries move while files are read: what had moved before Ctrl-C stays so, and the next run goes on."""
    opened, limit = [], None

    def interrupt(path):
        opened.append(path)
        if len(opened) == limit:
            raise KeyboardInterrupt

    cache = open_cache(buffer_class(interrupt))
    (project / "old").mkdir()
    write_old(project, 99)
    write_groups(project / "old", 6, 5)
    sync(cache, project)
    before = {entry.process: entry.id for entry in cache.get_matching_metadata()}
    os.rename(project / "old", project / "new")
    monkeypatch.setattr(caches, "BATCH_SIZE", 5)
    opened.clear()
    limit = 18
    with pytest.raises(KeyboardInterrupt):
        sync(cache, project)
    assert cache.count(BM.directory_path == str(project / "new")) == 15
    limit = None
    assert counts(sync(cache, project)) == {"moved": 15, "unchanged": 16}
    assert {entry.process: entry.id for entry in cache.get_matching_metadata()} == before


def test_files_that_are_read_in_any_order_move(cache, project, monkeypatch):
    """Whichever tasks of an executor end first, each entry goes with its own file."""
    monkeypatch.setattr(workers, "_A_TASK", 3)
    (project / "old").mkdir()
    write_old(project, 99)
    write_groups(project / "old", 7, 8)
    sync(cache, project)
    before = {entry.process: entry.id for entry in cache.get_matching_metadata()}
    os.rename(project / "old", project / "new")
    with LateExecutor(1) as executor:
        assert counts(sync(cache, project, executor=executor)) == {"moved": 56, "unchanged": 1}
    assert {entry.process: entry.id for entry in cache.get_matching_metadata()} == before


class LateExecutor(Executor):
    """Runs its tasks when it has them all, in any order; the same each time."""

    def __init__(self, seed, count=19):
        self._tasks, self._count, self._random = [], count, random.Random(seed)

    def submit(self, function, /, *arguments, **options):
        future = Future()
        self._tasks.append((future, function, arguments, options))
        if len(self._tasks) == self._count:
            self._random.shuffle(self._tasks)
            for each, task, given, named in self._tasks:
                each.set_result(task(*given, **named))
        return future


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 6), st.randoms(use_true_random=False))
def test_files_of_a_fingerprint_are_decided_together(fingerprints, size, random):
    """Batches in any order are given once each, with all that share files of a fingerprint, and no later than that."""
    with tempfile.TemporaryDirectory() as folder, BufferMetadataCache() as cache:
        tasks = [Task(folder, str(number), (1, each)) for number, each in enumerate(fingerprints)]
        missing = [Missing(folder, "gone", Known(1, (1, each), False)) for each in set(fingerprints)]
        moves = Moves(cache._database, missing, Listed({folder}, set(), set()), tasks)
    suspects = [task.fingerprint for task in moves.suspects]
    assert suspects == sorted(suspects)
    numbers = range(len(tasks))
    batches = [(numbers[start : start + size], "unread") for start in numbers[::size]]
    random.shuffle(batches)
    seen, given = [], []
    for run in moves.batches(seen.append(batch) or batch for batch in batches):
        of_run = {suspects[number] for part, _ in run for number in part}
        others = [number for part, _ in batches if (part, _) not in run for number in part]
        assert not of_run & {suspects[number] for number in others}
        assert [part.start for part, _ in run] == sorted(part.start for part, _ in run)
        assert seen[-1] in run
        given += run
    assert sorted(given, key=lambda batch: batch[0].start) == sorted(batches, key=lambda batch: batch[0].start)


# -- entries that do not ------------------------------------------------------------------------------------------


def assert_stays(cache, path, id=1):
    """Assert that an entry is where it was."""
    assert ids(cache)[path] == id


def test_a_copy_is_a_file_of_its_own(cache, folders, project):
    """A copy, with the time of its original, gets an entry of its own while the original is there."""
    old, new = folders
    path = write_old(old)
    sync(cache, old)
    copy = shutil.copy2(path, new)
    assert counts(sync(cache, project)) == {"added": 2, "unchanged": 2}
    assert_stays(cache, path)
    assert ids(cache)[copy] != 1


@pytest.mark.parametrize("options", [{"glob_pattern": "Other*"}, {"regex_pattern": "Other"}], ids=str)
def test_a_copy_whose_original_has_no_fitting_name_this_time(cache, project, options):
    """An original that is there is there, whether or not this call looks for its name."""
    path = write_old(project)
    sync(cache, project)
    shutil.copy2(path, renamed(path))
    assert counts(sync(cache, project, **options)) == {"added": 1}
    assert ids(cache) == {path: 1, renamed(path): 2}


def test_two_files_for_one_entry(cache, folders, project):
    """Where two new files may be the one that is gone the entry moves to neither."""
    old, new = folders
    path = write_old(old)
    sync(cache, project)
    copy = shutil.copy2(path, new)
    moved_to(path, renamed(copy))
    assert counts(sync(cache, project)) == {"added": 2, "unchanged": 2}
    assert_stays(cache, path, 2)
    assert len(cache) == 5


def test_two_entries_for_one_file(cache, folders, project):
    """Where a new file may be one of two that are gone neither entry moves."""
    old, new = folders
    path = write_old(old)
    copy = shutil.copy2(path, renamed(path))
    sync(cache, project)
    before = ids(cache)
    moved_to(path, new)
    os.remove(copy)
    assert counts(sync(cache, project)) == {"added": 1, "unchanged": 2}
    assert {**before, **ids(cache)} == ids(cache)


def test_two_entries_of_which_one_is_out_of_reach(cache, folders, project):
    """An entry does not move where the file may as well be that of an entry that is only out of reach."""
    old, new = folders
    (project / "mount").mkdir()
    path = write_old(old)
    shutil.copy2(path, project / "mount")
    sync(cache, project)
    before = ids(cache)
    os.remove(path)
    moved_to(project / "mount" / os.path.basename(path), new)
    assert counts(sync(cache, project)) == {"added": 1, "unchanged": 2}
    assert {**before, **ids(cache)} == ids(cache)


@pytest.mark.parametrize("machines", [("A", "B"), ("A", None), (None, "A")], ids=str)
def test_entries_of_other_machines_do_not_move(cache, folders, project, machines):
    """An entry never moves to a file of another machine."""
    old, new = folders
    path = write_old(old)
    sync(cache, project, machine_id=machines[0])
    before = ids(cache)[path]
    moved_to(path, new)
    assert counts(sync(cache, project, machine_id=machines[1])) == {"added": 3}
    assert_stays(cache, path, before)


def change_size(path):
    with open(path, "ab") as file:
        file.write(b"\0")
    set_time(path, 10**9)


def change_header(path):
    content = bytearray(Path(path).read_bytes())
    content[content.index(b"proc_cnt") + 8] ^= 64
    Path(path).write_bytes(content)
    set_time(path, 10**9)


@pytest.mark.parametrize("change", [change_size, change_header, lambda path: set_time(path, 10**9 - 1)])
def test_a_file_that_moved_and_changed_is_a_new_one(cache, folders, project, change):
    """Another size, time or header is another file."""
    old, new = folders
    path = write_old(old)
    sync(cache, project)
    before = ids(cache)[path]
    change(moved_to(path, new))
    assert counts(sync(cache, project)) == {"added": 1, "unchanged": 2}
    assert_stays(cache, path, before)


def test_what_comes_from_outside_of_the_given_paths_is_new(cache, folders):
    """An entry that lies below none of the given paths stays where it is."""
    old, new = folders
    path = write_old(old)
    sync(cache, old)
    moved_to(path, new)
    assert counts(sync(cache, new)) == {"added": 2}
    assert_stays(cache, path)


def test_without_subfolders_nothing_moves_from_or_to_them(cache, folders, project):
    """With sync_subdirectories=False what lies in subfolders takes no part."""
    old, _ = folders
    write_old(project, 9)
    up, down = write_old(old, 1), write_old(project, 2)
    sync(cache, project)
    before = ids(cache)
    moved_to(up, project)
    moved_to(down, old)
    assert counts(sync(cache, project, sync_subdirectories=False)) == {"added": 1, "unchanged": 1}
    assert {**before, **ids(cache)} == ids(cache)


def test_given_files_do_not_move(cache, folders):
    """add_files_to_cache looks for no files but those given: a new one is a new one."""
    old, new = folders
    path = write_old(old)
    cache.add_files_to_cache([path])
    target = moved_to(path, new)
    report = cache.add_files_to_cache([target, path])
    assert (counts(report), [failure.path for failure in report.failed]) == ({"added": 1}, [path])
    assert_stays(cache, path)


@pytest.mark.parametrize("emptied", ["mount", "mount/deep"])
def test_nothing_moves_from_an_empty_folder_of_old(cache, folders, project, emptied):
    """A folder that was empty before the new file came may be a mount point: its files are somewhere else."""
    _, new = folders
    (project / "mount" / "deep").mkdir(parents=True)
    path = write_old(project / "mount" / "deep")
    sync(cache, project)
    before = ids(cache)[path]
    moved_to(path, new)
    if emptied == "mount":
        os.rmdir(project / "mount" / "deep")
    set_time(project / emptied, 10**9)
    with pytest.warns(UserWarning, match="kept"):
        report = sync(cache, project, delete_stale_entries=True)
    assert counts(report) == {"added": 1, "kept": 1, "unchanged": 2}
    assert_stays(cache, path, before)


def test_nothing_moves_from_an_empty_path_of_old(cache, folders):
    """So may a given path be."""
    old, new = folders
    path = write_old(old)
    sync(cache, old, new)
    before = ids(cache)[path]
    moved_to(path, new)
    for left in old.iterdir():
        left.unlink()
    set_time(old, 10**9)
    assert counts(sync(cache, old, new)) == {"added": 1, "unchanged": 1}
    assert_stays(cache, path, before)


def failing_for(paths, number):
    """Return a Buffer that cannot open some files, with an error of the system."""

    def fail(path):
        if path in paths:
            raise OSError(number, os.strerror(number))

    return buffer_class(fail)


def test_a_moved_file_that_cannot_be_read_this_time(open_cache, folders, project):
    """Its entry waits for it, whatever is to be removed, and goes with it when the file can be read."""
    old, new = folders
    unreadable = []
    cache = open_cache(failing_for(unreadable, errno.EMFILE))
    path = write_old(old)
    sync(cache, project)
    before = ids(cache)
    unreadable.append(moved_to(path, new))
    report = sync(cache, project, delete_stale_entries="all")
    assert (counts(report), [failure.path for failure in report.failed]) == ({"unchanged": 2}, unreadable)
    assert ids(cache) == before
    [target] = unreadable
    unreadable.clear()
    assert counts(sync(cache, project, delete_stale_entries="all")) == {"moved": 1, "unchanged": 2}
    assert ids(cache)[target] == before[path]


def test_moved_files_whose_worker_died(cache, folders, project):
    """Entries stay as they were where nobody could tell whether their files moved."""
    old, new = folders
    path = write_old(old)
    sync(cache, project)
    before = ids(cache)
    target = moved_to(path, new)
    with DeadExecutor() as executor:
        report = sync(cache, project, executor=executor, delete_stale_entries="all")
    assert (counts(report), [failure.path for failure in report.failed]) == ({"unchanged": 2}, [target])
    assert ids(cache) == before
    assert counts(sync(cache, project, delete_stale_entries="all")) == {"moved": 1, "unchanged": 2}


class DeadExecutor(Executor):
    """Has no workers any more."""

    def submit(self, function, /, *arguments, **options):
        raise RuntimeError("its workers are dead")


def test_no_entry_moves_where_a_file_could_not_be_read(open_cache, folders, project):
    """Where a new file that could not be read may be the one that is gone the entry moves to no other."""
    old, new = folders
    unreadable = []
    cache = open_cache(failing_for(unreadable, errno.EIO))
    path = write_old(old)
    sync(cache, project)
    before = ids(cache)[path]
    target = moved_to(path, new)
    unreadable.append(shutil.copy2(target, renamed(target)))
    report = sync(cache, project)
    assert (counts(report), [failure.path for failure in report.failed]) == ({"added": 1, "unchanged": 2}, unreadable)
    assert_stays(cache, path, before)


@pytest.mark.parametrize("shut", ["old", "old/deep"])
def test_nothing_moves_from_a_folder_that_cannot_be_listed(cache, folders, project, monkeypatch, shut):
    """Nobody knows what became of the files in it and below it."""
    old, new = folders
    (old / "deep").mkdir()
    write_old(old / "deep", 5)
    path = write_old(old / "deep")
    sync(cache, project)
    before = ids(cache)
    moved_to(path, new)
    scandir = os.scandir

    def scandir_of_a_user(path):  # the tests may run as root, whom nothing is shut to
        if os.fspath(path) == str(project / shut):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir_of_a_user)
    report = sync(cache, project)
    assert [failure.path for failure in report.failed] == [str(project / shut)]
    assert (report.added, report.moved) == (1, 0)
    assert {**before, **ids(cache)} == ids(cache)


@posix_only
def test_nothing_moves_from_behind_a_link(cache, folders, project, tmp_path):
    """Where a link stands in the place of the old folder its files are still reached by their old paths."""
    old, new = folders
    path = write_old(old)
    sync(cache, project)
    before = ids(cache)[path]
    shutil.copy2(path, new)
    os.rename(old, tmp_path / "elsewhere")
    old.symlink_to(tmp_path / "elsewhere")
    assert counts(sync(cache, project)) == {"added": 1, "unchanged": 1}
    assert_stays(cache, path, before)


def test_nothing_moves_from_a_cache(cache, folders, project):
    """A folder that has become a cache is not looked into, so that nothing is known of what was there."""
    old, new = folders
    path = write_old(old)
    sync(cache, project)
    before = ids(cache)[path]
    moved_to(path, new)
    (old / "documents-1.jsonl").write_text('{"bufcache":"documents"')
    assert counts(sync(cache, project)) == {"added": 1, "unchanged": 1}
    assert_stays(cache, path, before)


def test_broken_files_do_not_move(cache, folders, project):
    """A file that could not be read is known by nothing: where it moved it fails again, under a new id."""
    old, new = folders
    path = write_broken(old)
    set_time(path, 10**9)
    sync(cache, project)
    before = ids(cache)[path]
    target = moved_to(path, new)
    report = sync(cache, project, delete_stale_entries=True)
    assert (counts(report), [failure.path for failure in report.failed]) == ({"removed": 1, "unchanged": 2}, [target])
    assert ids(cache)[target] > before


def test_files_without_a_header_do_not_move(open_cache, project):
    """Nor do files of a class that knows of no header hash."""
    cache = open_cache(MockBuffer)
    path = MockBuffer(project / "Mock_00001p1c0b01", process=1).write().filepath
    MockBuffer(project / "Mock_00001p2c0b01", process=2).write()
    sync(cache, project)
    os.rename(path, project / "Other_00001p1c0b01")
    assert counts(sync(cache, project)) == {"added": 1, "unchanged": 1}
    assert_stays(cache, str(path))


def test_a_file_that_is_gone_before_it_is_known_again(open_cache, folders, project):
    """A moved file that vanishes before it is read fails, and its entry stays where it was."""
    old, new = folders
    vanishing = []
    cache = open_cache(buffer_class(lambda path: [os.remove(vanishing.pop()) for _ in vanishing[:1]]))
    first, second = write_old(old, 1), write_old(old, 2)
    sync(cache, project)
    before = ids(cache)
    vanishing.append(moved_to(second, new))
    gone, target = vanishing[0], moved_to(first, new)
    report = sync(cache, project)
    assert (counts(report), [failure.path for failure in report.failed]) == ({"moved": 1, "unchanged": 2}, [gone])
    assert (ids(cache)[target], ids(cache)[second]) == (before[first], before[second])


def test_other_files_of_the_same_size_and_time(cache, folders, project):
    """What has the size and the time of a file that is gone, and is no buffer file at all, is skipped."""
    old, new = folders
    path = write_old(old)
    sync(cache, project)
    before = ids(cache)[path]
    size = os.path.getsize(path)
    os.remove(path)
    set_time(write_other(new, 1, bytes(size)), 10**9)
    assert counts(sync(cache, project)) == {"skipped": 1, "unchanged": 2}
    assert_stays(cache, path, before)


def test_a_moved_file_is_told_by_a_dry_run(project, tmp_path):
    """A dry run tells what moved and what is stale as the run that follows does, and moves nothing."""
    paths = [write_old(project, number) for number in range(1, 5)]
    with BufferMetadataCache(tmp_path / "c") as cache:
        sync(cache, project)
        moved_to(paths[0], renamed(paths[0]))
        os.remove(paths[1])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dry = sync(cache, project, delete_stale_entries=True, dry_run=True)
        assert counts(dry) == {"moved": 1, "removed": 1, "unchanged": 2}
        assert paths_of(cache) == paths
        assert told(sync(cache, project, delete_stale_entries=True)) == told(dry)
        assert paths_of(cache) == sorted([renamed(paths[0]), *paths[2:]])
        cache.remove_files_from_cache(paths_of(cache)[1:])
        assert the_entry(cache).id == 1
