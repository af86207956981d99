"""What the cache knows of files, folder by folder."""

import os
import random
import shutil

import pytest
from samples import set_time, write_samples

from bufcache import BufferMetadata as BM
from bufcache.buffer_metadata_cache import known
from bufcache.buffer_metadata_cache.known import Known, KnownFiles

EVERYTHING = BM.filepath.is_not(None)


@pytest.fixture(params=[1, 4, 20_000])
def block(request, monkeypatch):
    """Make the blocks small, so that these tests have many of them."""
    monkeypatch.setattr(known, "_BLOCK", request.param)


@pytest.fixture
def folders(cache, project):
    """Make five folders of three old files each, and let the cache know of them."""
    paths = [str(project / f"folder_{number}") for number in range(5)]
    for path in paths:
        os.mkdir(path)
        for file in write_samples(path, 3):
            set_time(file, 1)
    cache.synchronize_directory(project, verbose=0)
    return paths


def files_of(cache):
    return KnownFiles(cache._database, EVERYTHING)


def expected(cache, folder):
    entries = cache.get_matching_metadata(BM.directory_path == folder)
    return {entry.filename: Known(entry.id, (entry.file_size, entry.mtime_ns), False) for entry in entries}


@pytest.mark.parametrize("order", ["as listed", "backwards", "at random"])
@pytest.mark.usefixtures("block")
def test_each_folder_in_any_order(cache, folders, order):
    """Every folder gives its own entries, in whatever order the folders are asked for, and what is left is told."""
    files, asked = files_of(cache), list(folders)
    if order == "backwards":
        asked.reverse()
    elif order == "at random":
        random.Random(1).shuffle(asked)
    for number, folder in enumerate(asked):
        assert sorted(files.folders) == sorted(asked[number:])
        taken = files.take(folder)
        assert taken.entries() == expected(cache, folder) != {}
        assert taken.fingerprints() == {name: entry.fingerprint for name, entry in taken.entries().items()}
    assert (files.folders, len(files)) == ([], 15)


@pytest.mark.usefixtures("block")
def test_a_folder_is_taken_once(cache, folders):
    """What was taken is not kept, and of other folders nothing is known."""
    files = files_of(cache)
    assert len(files.take(folders[1]).names) == 3
    for folder in (folders[1], folders[1] + "x", os.path.dirname(folders[1])):
        nothing = files.take(folder)
        assert (nothing.entries(), nothing.fingerprints(), nothing.has_racy) == ({}, {}, False)


def test_only_some_are_looked_up_at_a_time(cache, folders, monkeypatch):
    """Folders far from their turn need no memory: no more are looked up than make a block."""
    monkeypatch.setattr(known, "_BLOCK", 6)
    files = files_of(cache)
    for number, folder in enumerate(folders):
        files.take(folder)
        assert len(files._loaded) == (number + 1) % 2 * (number < 4)


@pytest.mark.usefixtures("block")
def test_what_was_looked_up_stays_as_it_was(cache, folders, project):
    """After load a change of the cache changes nothing of what was taken before it."""
    files, before = files_of(cache), {folder: expected(cache, folder) for folder in folders}
    files.load()
    cache.remove_files_from_cache([os.path.join(folders[0], name) for name in before[folders[0]]])
    cache.db.table("buffer_metadata").truncate()
    cache.compact()
    assert {folder: files.take(folder).entries() for folder in folders} == before


@pytest.mark.usefixtures("block")
def test_of_two_entries_for_a_file_the_newest_counts(cache, folders):
    """Where several entries stand for a file, which check() tells, the one with the largest id is compared with."""
    table = cache.db.table("buffer_metadata")
    [double] = table.search(BM.filepath == os.path.join(folders[2], "Test_00001p2c0b01"))
    table.insert({**double, "id": None, "mtime_ns": 7})
    entry = files_of(cache).take(folders[2]).entries()["Test_00001p2c0b01"]
    assert (entry.id, entry.fingerprint[1]) == (16, 7)
    cache.check(fix=True)


@pytest.mark.usefixtures("block")
def test_a_file_that_is_too_new_is_told(cache, folders):
    """A folder tells whether the fingerprint of any of its files is not to be trusted yet."""
    set_time(os.path.join(folders[3], "Test_00001p2c0b01"), 2**32)
    os.utime(os.path.join(folders[3], "Test_00001p2c0b01"))
    cache.synchronize_directory(folders[3], verbose=0)
    files = files_of(cache)
    assert [files.take(folder).has_racy for folder in folders] == [False, False, False, True, False]


def test_one_file_needs_only_its_own_entry(cache, folders, monkeypatch):
    """To add or to change one file nothing is looked up of the others, however many lie in its folder."""
    looked_up = []
    load = KnownFiles._load

    def noted(self, names):
        load(self, names)
        looked_up.extend(self._loaded[name].names for name in dict.fromkeys(names))

    monkeypatch.setattr(KnownFiles, "_load", noted)
    set_time(os.path.join(folders[0], "Test_00001p2c0b01"), 2)
    new = os.path.join(folders[0], "New_00001p9c0b01")
    shutil.copy(os.path.join(folders[0], "Test_00001p1c0b01"), new)
    assert cache.add_files_to_cache([os.path.join(folders[0], "Test_00001p2c0b01")]).changed == 1
    assert cache.add_files_to_cache([new]).added == 1
    assert looked_up == [["Test_00001p2c0b01"]]
