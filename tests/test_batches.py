"""Reading by the batch: the same documents and columns as reading one file after the other."""

import os
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import write_broken, write_other, write_sample
from scenarios import SCENARIOS
from strategies import buffer_files, combined_scenarios

from bufcache import Buffer, BufferMetadata, BufferMetadataCache
from bufcache.buffer_metadata_cache import reading, scan
from bufcache.buffer_metadata_cache.batches import read_batch
from bufcache.buffer_metadata_cache.reading import Task

FIELDS = BufferMetadata.stored_fields()
NOW = 1_700_000_000 * 10**9


class OtherBuffer(Buffer):
    """A class other than Buffer: its files are read one at a time."""


def files_of(folder):
    found = [os.stat(os.path.join(folder, name)) for name in sorted(os.listdir(folder))]
    fingerprints = [(each.st_size, each.st_mtime_ns) for each in found]
    return list(map(Task, repeat(str(folder)), sorted(os.listdir(folder)), fingerprints))


def as_read(batch):
    """Return all that a batch says, columns as lists."""
    values = {
        name: (
            list(map(column.texts.__getitem__, column.array)) if column.texts else column.array.tolist(),
            known(column),
        )
        for name, column in batch.values.items()
    }
    return batch.files.tolist(), list(map(orjson.loads, batch.documents)), values, batch.errors, batch.skipped


def known(column):
    return None if column.is_known is None else column.is_known.tolist()


def assert_same(folder):
    """Read the files of a folder in both ways."""
    files = files_of(folder)
    by_batch, one_by_one = read_batch(files, Buffer, NOW), read_batch(files, OtherBuffer, NOW)
    assert as_read(by_batch) == as_read(one_by_one)
    for name, column in by_batch.values.items():
        assert column.array.dtype == one_by_one.values[name].array.dtype
        field = BufferMetadata.__fields__[name]
        stored = [field.of(orjson.loads(document)) for document in by_batch.documents]
        found = [None if value is None else value for value in stored]
        assert [value is not None for value in found] == (known(column) or [True] * len(found))
    return by_batch


def test_every_scenario(tmp_path):
    """Files of all scenarios at once give in both ways the same, and most of them by the batch."""
    for scenario in SCENARIOS:
        scenario.write(tmp_path / f"{scenario.name}_p1c0b01")
    (tmp_path / "empty").write_bytes(b"")
    write_broken(tmp_path, 7)
    write_other(tmp_path, 8)
    batch = assert_same(tmp_path)
    assert len(batch.files) > 100
    assert len(batch.errors) >= 2
    assert len(batch.skipped) == 1 + 1


@given(
    st.lists(st.tuples(buffer_files() | combined_scenarios(), st.integers(0, 2000), st.binary(max_size=6)), max_size=8)
)
def test_random_and_damaged_files(drawn):
    """So do random files, whole and damaged."""
    with TemporaryDirectory() as folder:
        for number, (file, place, piece) in enumerate(drawn):
            path = file.write(Path(folder, f"Random_{number}"))
            content = path.read_bytes()
            path.write_bytes(content[:place] + piece + content[place + len(piece) :])
        assert_same(folder)


@pytest.mark.parametrize("machine", [None, "press 7"])
def test_the_cache_holds_what_the_log_says(tmp_path, machine):
    """The columns of a synchronisation are those that another process reads from its log."""
    project = tmp_path / "project"
    project.mkdir()
    for scenario in SCENARIOS:
        scenario.write(project / f"{scenario.name}_p1c0b01")
    write_other(project, 8)
    caches = []
    for buffer_class in (Buffer, OtherBuffer):
        cache = BufferMetadataCache(tmp_path / buffer_class.__name__, buffer_class)
        caches.append(cache)
        cache.synchronize_directory(project, verbose=0, machine_id=machine)
        assert cache.check() == []
    assert caches[0].get_matching_metadata() == caches[1].get_matching_metadata()
    assert {entry.machine_id for entry in caches[0].get_matching_metadata()} == {machine}
    logs = [next(Path(repr(cache._database)).glob("documents-*")).read_bytes() for cache in caches]
    lines = [[orjson.loads(line) for line in log.splitlines() if line.startswith(b"[")] for log in logs]
    assert lines[0] == lines[1]
    for cache in caches:
        cache.close()


def test_what_takes_the_place_of_a_file_is_not_waited_for(tmp_path):
    """A pipe where a file was listed is neither read nor waited for."""
    os.mkfifo(tmp_path / "pipe")
    batch = read_batch(files_of(tmp_path), Buffer, NOW)
    assert (len(batch.files), batch.skipped) == (0, {0})


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch, goes_on):
    """Its fingerprint is that of what was read; where it goes on changing it has no time, so that it is read again."""
    path, read = write_sample(tmp_path), os.read
    last = 0

    def change():
        nonlocal last
        last += 10**9
        os.utime(path, ns=(0, last))

    def read_beside_a_writer(descriptor, length):
        change()
        return read(descriptor, length)

    def fingerprint(path):
        if goes_on:
            change()
        return scan.fingerprint(path)

    monkeypatch.setattr(os, "read", read_beside_a_writer)
    monkeypatch.setattr(reading, "fingerprint", fingerprint)
    batch = read_batch(files_of(tmp_path), Buffer, NOW)
    [document] = map(orjson.loads, batch.documents)
    assert document["file_size"] == os.path.getsize(path)
    assert document.get("mtime_ns") == (None if goes_on else last)


@pytest.mark.parametrize(("ahead", "is_racy"), [(-2.5, False), (-1.5, True), (3600, True), (2 * 86400, False)])
@pytest.mark.parametrize("buffer_class", [Buffer, OtherBuffer])
def test_files_that_are_too_new(tmp_path, ahead, is_racy, buffer_class):
    """A file that was modified within 2 s, by the clock of its file system, or is to be soon is marked."""
    path = write_sample(tmp_path)
    os.utime(path, ns=(0, NOW + int(ahead * 10**9)))
    batch = read_batch(files_of(tmp_path), buffer_class, NOW)
    assert orjson.loads(batch.documents[0]).get("is_racy", False) is is_racy
    assert batch.values["is_racy"].array.tolist() == [is_racy]
    assert np.array_equal(known(batch.values["is_racy"]) or [True], [is_racy])
