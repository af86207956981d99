"""export_tinydb: a file that TinyDB opens by itself."""

import os
import tracemalloc

import pytest
from samples import write_samples
from tinydb import TinyDB, where

from bufcache import BufferMetadata as BM
from bufcache import BufferMetadataCache
from bufcache.buffer_metadata_cache.store.database import Database
from bufcache.errors import ClosedError


def contents(db):
    """Return the documents of all tables with their ids."""
    return {name: [(document.doc_id, dict(document)) for document in db.table(name)] for name in db.tables()}


def test_tinydb_opens_what_is_exported(cache, project, tmp_path):
    """TinyDB finds in the file every document of every table under its id, whatever is in it, and can go on with it."""
    cache.add_files_to_cache(write_samples(project, 3))
    cache.db.insert({"text": "naïve ☃ 𝄞 \"'\\\n\0", "part": {"list": [1, 2.5, None, True, -(2**63), 2**64 - 1]}})
    cache.db.table('ä"\n').insert_multiple([{}, {"": {}}])
    cache.db.table("gone").insert({})
    cache.db.drop_table("gone")
    cache.remove_files_from_cache(cache.get_matching_files(BM.process == 1))
    cache.export_tinydb(tmp_path / "stock.json")
    with TinyDB(tmp_path / "stock.json", encoding="ascii") as stock:
        assert contents(stock) == contents(cache.db)
        assert stock.table("buffer_metadata").count(where("process") > 1) == 2
        assert stock.table("buffer_metadata").insert({}) == 4
    assert [name for name in os.listdir(tmp_path) if "stock" in name] == ["stock.json"]


def test_an_empty_cache(cache, tmp_path):
    """An empty cache is a file without tables."""
    cache.export_tinydb(tmp_path / "stock.json")
    with TinyDB(tmp_path / "stock.json") as stock:
        assert stock.tables() == set()
        assert stock.insert({}) == 1


def test_what_exists_is_not_overwritten_by_chance(cache, tmp_path, monkeypatch):
    """A file that exists is left as it is, before anything is written, unless it is to be overwritten."""
    cache.db.insert({"a": 1})
    path = tmp_path / "stock.json"
    path.write_text("mine")
    monkeypatch.chdir(tmp_path)
    before = os.listdir(tmp_path)
    for given in (path, "stock.json", os.fsencode(path)):
        with pytest.raises(FileExistsError, match=r"stock\.json exists.*overwrite=True"):
            cache.export_tinydb(given)
    assert (path.read_text(), os.listdir(tmp_path)) == ("mine", before)
    cache.export_tinydb(path, overwrite=True)
    with TinyDB(path) as stock:
        assert stock.all() == [{"a": 1}]
    assert os.listdir(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_places_where_no_file_can_be(cache, tmp_path, overwrite):
    """A folder is not replaced, and none is made."""
    with pytest.raises(IsADirectoryError, match="is a folder"):
        cache.export_tinydb(tmp_path, overwrite=overwrite)
    with pytest.raises(FileNotFoundError, match="missing does not exist"):
        cache.export_tinydb(tmp_path / "missing" / "stock.json", overwrite=overwrite)
    assert not (tmp_path / "missing").exists()


def test_an_export_that_fails_leaves_nothing(cache, tmp_path, monkeypatch):
    """Where a document cannot be read the file that was there stands as it was, and no other beside it."""
    cache.db.insert_multiple([{}, {}])
    path = tmp_path / "stock.json"
    path.write_text("mine")
    before = os.listdir(tmp_path)

    def fail(database, table):
        raise OSError("the disk is gone")

    monkeypatch.setattr(Database, "all_lines", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        cache.export_tinydb(path, overwrite=True)
    assert (path.read_text(), os.listdir(tmp_path)) == ("mine", before)


def test_a_file_that_came_meanwhile_is_not_overwritten(cache, tmp_path, monkeypatch):
    """A file that somebody made during the export is left as it is, too."""
    cache.db.insert({})
    path = tmp_path / "stock.json"
    read = Database.all_lines

    def make_a_file(*arguments):
        path.write_text("theirs")
        return read(*arguments)

    monkeypatch.setattr(Database, "all_lines", make_a_file)
    with pytest.raises(FileExistsError):
        cache.export_tinydb(path)
    assert path.read_text() == "theirs"


def test_who_only_reads_can_export(tmp_path):
    """A cache that is open for reading can be exported; one that is closed cannot."""
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.db.insert({"a": 1})
    with BufferMetadataCache(tmp_path / "c", read_only=True) as cache:
        cache.export_tinydb(tmp_path / "stock.json")
    with TinyDB(tmp_path / "stock.json") as stock:
        assert stock.all() == [{"a": 1}]
    with pytest.raises(ClosedError):
        cache.export_tinydb(tmp_path / "stock.json", overwrite=True)


def test_the_documents_are_not_held_together(tmp_path):
    """The file is written some documents at a time: memory does not grow with their number."""
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.db.insert_multiple({"text": "x" * 1000, "number": number} for number in range(5000))
        tracemalloc.start()
        cache.export_tinydb(tmp_path / "stock.json")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert os.path.getsize(tmp_path / "stock.json") > 5_000_000
    assert peak < 1_000_000


# -- damage -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path, project):
    """Return the path of a cache with three files, a commit each, and a table of three documents."""
    with BufferMetadataCache(tmp_path / "c") as cache:
        for file in write_samples(project, 3):
            cache.add_files_to_cache([file])
        cache.db.insert_multiple({"text": f"rusty {number}"} for number in range(3))
    return tmp_path / "c"


def spoil(path, text):
    """Overwrite a text wherever it stands in a file."""
    content = path.read_bytes()
    assert text in content
    path.write_bytes(content.replace(text, b"?" * len(text)))


@pytest.mark.parametrize("is_open", [False, True])
def test_documents_that_are_damaged(path, tmp_path, is_open):
    """What is damaged in the log is taken from the columns; what has none is left out, and how much that is, told."""
    log = path / "documents-1.jsonl"
    with BufferMetadataCache(path) as cache:
        expected = contents(cache.db)
        if is_open:  # columns in memory take the place of those on the disk
            cache.db.table("buffer_metadata").update({"process": 99}, doc_ids=[2])
            expected["buffer_metadata"][1][1]["process"] = 99
            spoil(log, b'"process":99')
        else:
            spoil(log, expected["buffer_metadata"][1][1]["filename"].encode())
        spoil(log, b"rusty 0")
        spoil(log, b"rusty 2")
        del expected["_default"][::2]
        for _ in range(2):
            with pytest.warns(UserWarning, match=r"c: 2 documents of _default are damaged, and missing in") as told:
                cache.export_tinydb(tmp_path / "stock.json", overwrite=True)
            assert [(each.filename, each.category) for each in told] == [(__file__, UserWarning)]
            with TinyDB(tmp_path / "stock.json") as stock:
                assert contents(stock) == expected


def test_columns_that_are_damaged_too(path, tmp_path):
    """Where columns and log are damaged at one place, the rest is exported, and it is told."""
    [segment] = (path / "columns").iterdir()
    with BufferMetadataCache(path) as cache:
        expected = contents(cache.db)
    name = expected["buffer_metadata"][1][1]["filename"].encode()
    spoil(segment, name)
    with BufferMetadataCache(path) as cache:
        spoil(path / "documents-1.jsonl", name)
        with pytest.warns(UserWarning, match=r"and so is the log there, at 1 of its documents; what is left"):
            cache.export_tinydb(tmp_path / "stock.json")
    with TinyDB(tmp_path / "stock.json") as stock:
        del expected["buffer_metadata"][1]
        assert contents(stock) == expected
