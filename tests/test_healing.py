"""Damage of the log and of its columns at one place, and what heals it: nothing else is lost, no id is given again.

Each step opens the cache anew, as the calls of a command line do.
"""

import errno
import os
import shutil
import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from samples import damage_document, set_time, write_samples
from syncing import counts, sync

from bufcache import BufferMetadata as BM
from bufcache import BufferMetadataCache
from bufcache.buffer_metadata_cache import get_declarative_base
from bufcache.buffer_metadata_cache.store import compaction
from bufcache.buffer_metadata_cache.store import log as store_log
from bufcache.buffer_metadata_cache.store.files import DiskFiles
from bufcache.errors import CacheFormatError

pytestmark = pytest.mark.filterwarnings("ignore:.*(damaged|ends before)")


class Remark(get_declarative_base()):
    """A document of a user's own."""

    __tablename__ = "remarks"

    text: str


@pytest.fixture
def path(project, tmp_path):
    """Make a cache of thirty old files, with its columns."""
    for file in write_samples(project, 30):
        set_time(file, 10**9)
    with BufferMetadataCache(tmp_path / "c") as cache:
        sync(cache, project)
    return tmp_path / "c"


def flip(file, what):
    """Flip a bit of the first place where something stands in a file."""
    content = bytearray(file.read_bytes())
    content[content.index(what)] ^= 1
    file.write_bytes(content)


def flip_columns(path, what):
    [segment] = (path / "columns").iterdir()
    flip(segment, what)


def ids(path):
    with BufferMetadataCache(path, read_only=True) as cache:
        return {entry.filename: entry.id for entry in cache.get_matching_metadata()}


def test_a_sync_heals_what_it_meets(path, project):
    """One synchronisation tells of it, the next reads the one file again whose document is lost, and all is well."""
    before = ids(path)
    damage_document(path, 3)
    flip_columns(path, b"Test_00001p10c0b01")
    with BufferMetadataCache(path) as cache, pytest.raises(CacheFormatError, match="at 1 of its documents"):
        sync(cache, project)
    with BufferMetadataCache(path) as cache:
        assert counts(sync(cache, project)) == {"added": 1, "unchanged": 29}
    [lost] = [name for name, id in before.items() if id == 3]
    assert ids(path) == {**before, lost: 31}
    with BufferMetadataCache(path) as cache:
        assert cache.check(fix=True)
        assert cache.check() == []


def test_verify_heals_all(path, project):
    """Columns that a synchronisation does not look at are healed by one that verifies."""
    with BufferMetadataCache(path) as cache:
        hashes = [entry.header_hash for entry in cache.get_matching_metadata()]
    damage_document(path, 3)
    flip_columns(path, min(hashes).encode())
    with BufferMetadataCache(path, read_only=True) as cache, pytest.raises(CacheFormatError, match="and so is the log"):
        cache.get_matching_metadata()
    with BufferMetadataCache(path) as cache:
        assert counts(sync(cache, project, verify=True)) == {"changed": 1, "unchanged": 29}
    assert list(ids(path).values()) == list(range(1, 31))


def test_rows_stay_in_their_places(path, project):
    """Where columns are made anew in the midst of a question, without one document, the others are not taken for it."""
    damage_document(path, 1)
    with BufferMetadataCache(path) as cache:
        cache.db.table("buffer_metadata").remove(doc_ids=[1])
    segments = sorted((path / "columns").iterdir(), key=os.path.getsize)
    with BufferMetadataCache(path) as cache:
        expected = cache.get_matching_metadata()
    flip(segments[-1], min(entry.header_hash for entry in expected).encode())
    with BufferMetadataCache(path, read_only=True) as cache:
        assert cache.get_matching_metadata() == expected


@pytest.mark.parametrize("way", ["check", "compact"])
def test_documents_that_are_sound_stay(path, way):
    """Of a commit of which one document is damaged, and the columns of other documents, all others are kept."""
    with BufferMetadataCache(path) as cache:
        cache.add(*(Remark(text=f"remark {number}") for number in range(20)))
        cache.compact()
    flip(next(path.glob("documents-*")), b"remark 7")
    flip_columns(path, b"Test_00001p10c0b01")
    with BufferMetadataCache(path) as cache:
        if way == "check":
            assert cache.check()
            assert cache.check(fix=True)
        else:
            with pytest.raises(CacheFormatError, match="at 1 of its documents"):
                cache.compact()
            cache.compact()
        assert cache.check() == []
        assert [remark.text for remark in cache.all(Remark)] == [f"remark {n}" for n in range(20) if n != 7]
        assert len(cache) == 30


def test_a_damaged_document_of_ones_own_can_be_replaced_and_removed(path):
    """Whatever its line says, another one takes its place, and nothing of it is left when it is removed."""
    for change in ("replace", "remove", "drop"):
        with BufferMetadataCache(path) as cache:
            remark, other = Remark(text=f"AAA {change}"), Remark(text="BBB")
            cache.add(remark, other)
            cache.compact()
            flip(next(path.glob("documents-*")), remark.text.encode())
            assert cache.all(Remark.id == remark.id) == []
            remark.text = "new"
            if change == "replace":
                cache.add(remark)
                assert cache.all(Remark.id == remark.id) == [remark]
            elif change == "remove":
                cache.remove(remark)
                assert remark.id not in cache._database.stored("remarks")
            else:
                cache.db.drop_table("remarks")
                assert "remarks" not in cache.db.tables()


# -- ids ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["compact", "check"])
def test_ids_that_are_lost_are_not_given_again(path, way):
    """Not even where a table has nothing left, and the log is rewritten."""
    with BufferMetadataCache(path) as cache:
        cache.add(Remark(text="AAA"), Remark(text="BBB"))
        cache.db.table("other").insert({})
    shutil.rmtree(path / "columns")
    flip(path / "documents-1.jsonl", b"AAA")
    with BufferMetadataCache(path) as cache:
        cache.compact() if way == "compact" else cache.check(fix=True)
    with BufferMetadataCache(path) as cache:
        remark = Remark(text="new")
        cache.add(remark)
        assert remark.id > 2


def test_ids_of_a_log_that_was_cut(path):
    """Columns know of the commit that is missing, also where they have the same table in earlier ones."""
    for number in range(2):
        with BufferMetadataCache(path) as cache:
            cache.add(*(Remark(text="x") for _ in range(1500 if number == 0 else 1)))
    log = path / "documents-1.jsonl"
    os.truncate(log, log.stat().st_size - 5)
    with BufferMetadataCache(path) as cache:
        remark = Remark(text="new")
        cache.add(remark)
        assert remark.id == 1502


# -- readers and writers ------------------------------------------------------------------------------------------


def test_a_log_that_is_rewritten_while_it_is_looked_for(path, monkeypatch):
    """A reader that comes to a log which was rewritten that very moment finds the next one, and not nothing."""
    generations, fired = store_log.generations, []
    with BufferMetadataCache(path) as writer, BufferMetadataCache(path, read_only=True) as reader:
        writer.compact()

        def listed(names):
            found = generations(names)
            if found == [2] and not fired:
                fired.append(True)
                writer.compact()
            return found

        monkeypatch.setattr(store_log, "generations", listed)
        assert len(reader.get_matching_files()) == 30
    assert fired


def test_a_check_beside_a_writer(path):
    """What is being written meanwhile is nothing wrong."""
    stop = threading.Event()

    def write():
        with BufferMetadataCache(path) as cache:
            while not stop.is_set():
                cache.db.table("other").insert({"text": "x" * 1000})
                time.sleep(0.002)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with BufferMetadataCache(path, read_only=True) as cache:
            found = [cache.check() for _ in range(20)]
    finally:
        stop.set()
        thread.join()
    assert found == [[]] * 20


def test_columns_that_are_missing_are_made_anew(path, project):
    """By whoever may write, also where there is nothing to commit."""
    shutil.rmtree(path / "columns")
    with BufferMetadataCache(path) as cache:
        assert counts(sync(cache, project)) == {"unchanged": 30}
    [segment] = (path / "columns").iterdir()
    content = segment.read_bytes()
    flip(segment, b"Test_00001p10c0b01")
    with BufferMetadataCache(path) as cache:
        assert counts(sync(cache, project)) == {"unchanged": 30}
    assert segment.read_bytes() == content


# -- rewriting ----------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_at_the_last_commit_of_a_log(path, monkeypatch):
    """The log that was made is removed, and the handle goes on, whatever others rewrite meanwhile."""
    append = DiskFiles.append

    def full(files, name, data):
        if b'"continued"' in data:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(files, name, data)

    with BufferMetadataCache(path) as cache:
        with monkeypatch.context() as patched:
            patched.setattr(DiskFiles, "append", full)
            with pytest.raises(OSError, match="No space"):
                cache.compact()
        assert [each.name for each in path.glob("documents-*")] == ["documents-1.jsonl"]
        with BufferMetadataCache(path) as other:
            other.compact()
        assert len(cache) == 30
        cache.add(Remark(text="x"))
        assert cache.check() == []


def test_too_little_memory_to_rewrite_a_log(path, monkeypatch):
    """A change that was committed is no error where there is no memory to rewrite the log after it."""
    monkeypatch.setattr(compaction, "_edges", lambda lengths: (_ for _ in ()).throw(MemoryError()))
    with BufferMetadataCache(path) as cache, monkeypatch.context() as patched:
        patched.setattr(type(cache._database._state), "is_mostly_dead", True)
        cache.remove_files_from_cache(cache.get_matching_files(BM.process == 1))
        assert len(cache) == 29
        assert cache.check() == []


@pytest.mark.parametrize("lengths", [[], [1], [9], [4, 4, 4], [9, 1, 9], [1] * 30, [5, 3, 8, 20, 1, 1]])
def test_blocks_of_a_log_that_is_rewritten(monkeypatch, lengths):
    """They have all documents in order, and no more bytes than may be in memory at a time, or one document."""
    monkeypatch.setattr(compaction, "_AT_ONCE", 8)
    monkeypatch.setattr(compaction, "_COMMITTED", 5)
    monkeypatch.setattr(compaction, "_COMPACTED", 1)
    edges = compaction._edges(np.array(lengths, np.int64))
    blocks = [lengths[start:stop] for start, stop in pairwise(edges)]
    assert [length for block in blocks for length in block] == lengths
    assert all(block and len(block) <= 5 and (sum(block) <= 8 or len(block) == 1) for block in blocks)
