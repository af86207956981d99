"""BufferMetadataCache: opening and closing it, asking it, and what stays."""

import gc
import os
import re
import sys
from pathlib import Path

import pytest
from samples import buffer_class, set_time, write_broken, write_other, write_sample, write_samples
from tinydb import where

from bufcache import BufferMetadata as BM
from bufcache import BufferMetadataCache, select
from bufcache.buffer_metadata_cache.documents import Document
from bufcache.buffer_metadata_cache.kinds import Integer
from bufcache.buffer_metadata_cache.query import Field
from bufcache.buffer_parser import Buffer
from bufcache.buffer_parser.layout import DATAMODE
from bufcache.errors import (
    BufcacheError,
    CacheFormatError,
    CacheLockedError,
    ClosedError,
    ExpressionError,
    InvalidArgumentError,
)
from bufcache.testing import MockBuffer


def snapshot(folder):
    """Return all that is to be seen of a folder: names, contents, times."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*")}


@pytest.fixture
def filled(cache, project):
    """Fill a cache: processes 1 to 4 on two channels with compression 4 or 8, and one broken file."""
    for process in range(1, 5):
        for channel in (1, 2):
            write_sample(project, process, channel, frqratio=4 if process % 2 else 8)
    write_broken(project, 5)
    cache.synchronize_directory(project, verbose=0)
    return cache


def processes(cache, query=None):
    return [entry.process for entry in cache.get_matching_metadata(query)]


# -- the main job -------------------------------------------------------------------------------------------------


def test_the_example(project, monkeypatch):
    """What the README shows first runs as it stands, and gives the right buffers in order."""
    (project / "my").mkdir()
    (project / "my" / "directory").mkdir()
    for process in (3, 1, 2):
        write_sample(project / "my" / "directory", process, frqratio=8 if process > 1 else 4)
    monkeypatch.chdir(project)

    from bufcache.buffer_metadata_cache import BufferMetadata as BM
    from bufcache.buffer_metadata_cache import BufferMetadataCache as BMC
    from bufcache.buffer_metadata_cache import select

    cache = BMC()  # in memory; BMC("measurements.bufcache") keeps it on disk
    cache.synchronize_directory("my/directory")
    results = cache.get_matching_buffers(select(BM).filter(BM.compression_frq == 8).order_by(BM.process))

    assert [buffer.process for buffer in results] == [2, 3]
    assert [buffer.get_data().shape for buffer in results] == [(20, 64), (20, 64)]


def test_what_was_added_is_there_when_the_cache_is_opened_again(project, tmp_path):
    """A later process finds the entries, values, ids and errors of an earlier one, and reads no file again."""
    opened = []
    for path in (*write_samples(project, 3), write_broken(project, 4)):
        set_time(path, 10**9)
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.synchronize_directory(project, verbose=0)
        entries = cache.get_matching_metadata()
    with BufferMetadataCache(tmp_path / "c", buffer_class(opened.append)) as cache:
        assert cache.get_matching_metadata() == entries
        assert cache.synchronize_directory(project, verbose=0).unchanged == 4
        cache.remove_files_from_cache([entries[0].filepath])
    with BufferMetadataCache(tmp_path / "c") as cache:
        assert cache.get_matching_metadata() == entries[1:]
        assert cache.check() == []
    assert opened == []


def test_an_id_is_not_given_again_after_reopening(project, tmp_path):
    """The id of an entry that was removed is not given to another file, in a later process either."""
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.add_files_to_cache(write_samples(project, 2))
        cache.remove_files_from_cache([write_sample(project, 2)])
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.add_files_to_cache([write_sample(project, 3)])
        assert cache.distinct(BM.id) == [1, 3]


# -- where a cache is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("db_url", [":memory:", "sqlite:///:memory:", "sqlite://"])
def test_urls_of_memory(db_url, tmp_path, monkeypatch):
    """The original's names of a database in memory are one in memory, each cache its own."""
    monkeypatch.chdir(tmp_path)
    path = write_sample(tmp_path)
    with BufferMetadataCache(db_url) as cache, BufferMetadataCache(db_url) as other:
        cache.add_files_to_cache([path])
        assert (len(cache), len(other)) == (1, 0)
    assert os.listdir(tmp_path) == [os.path.basename(path)]


def test_the_default_is_memory(tmp_path, monkeypatch):
    """Without a path the cache is in memory."""
    monkeypatch.chdir(tmp_path)
    with BufferMetadataCache() as cache:
        assert len(cache) == 0
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("form", [str, Path, os.path.relpath, "tinydb:///{}".format, lambda _: "tinydb:///c"])
def test_forms_of_a_path(form, tmp_path, monkeypatch):
    """The folder of a cache is named by text or Path, absolute or relative, or by a URL; it is made if need be."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c"
    with BufferMetadataCache(form(path)) as cache:
        cache.add_files_to_cache([write_sample(tmp_path)])
    assert path.is_dir()
    with BufferMetadataCache(path) as cache:
        assert len(cache) == 1


def test_a_cache_stays_where_it_is_when_the_working_folder_changes(tmp_path, monkeypatch):
    """A relative path counts from the working folder at the time of opening."""
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    with BufferMetadataCache("c") as cache:
        monkeypatch.chdir(tmp_path)
        cache.add_files_to_cache([write_sample(tmp_path)])
        assert len(cache) == 1
    assert os.listdir(tmp_path / "a") == ["c"]


@pytest.mark.parametrize("db_url", ["sqlite:///files.db", "postgresql://user@host/files", "mysql+pymysql://h/files"])
def test_other_databases_are_refused(db_url, tmp_path, monkeypatch):
    """The URL of an SQL database is a ValueError that says what to give instead; no file appears."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgumentError, match=r":memory:.*path") as caught:
        BufferMetadataCache(db_url)
    assert isinstance(caught.value, ValueError)
    assert db_url in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("is_read_only", [False, True])
def test_a_file_in_the_place_of_a_cache_is_left_alone(tmp_path, is_read_only):
    """A file at the path, such as a database of the original, raises CacheFormatError and stays as it is."""
    path = tmp_path / "files.db"
    path.write_bytes(b"SQLite format 3\0")
    before = snapshot(tmp_path)
    with pytest.raises(CacheFormatError, match=re.escape(str(path))):
        BufferMetadataCache(path, read_only=is_read_only)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"my notes"),
        ("documents-1.jsonl", b"something else\n"),
        ("documents-1.jsonl", b'{"bufcache":"documents","format":99,"generation":1,"checksum":"00000000"}\n'),
    ],
    ids=["files", "another log", "a newer version"],
)
@pytest.mark.parametrize("is_read_only", [False, True])
def test_a_foreign_folder_is_left_alone(tmp_path, name, content, is_read_only):
    """A folder that is no cache, or one of a newer version, raises CacheFormatError and stays as it is."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / name).write_bytes(content)
    before = snapshot(tmp_path)
    with pytest.raises(CacheFormatError, match=re.escape(str(tmp_path / "c"))):
        BufferMetadataCache(tmp_path / "c", read_only=is_read_only)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("db_url", ["", "tinydb:///"])
@pytest.mark.parametrize("is_read_only", [False, True])
def test_an_empty_path_is_no_cache(db_url, is_read_only, tmp_path, monkeypatch):
    """A path of no characters is an error that shows it, and not the working folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, OSError), match=f"{db_url!r}"):
        BufferMetadataCache(db_url, read_only=is_read_only)
    assert os.listdir(tmp_path) == []


def test_an_empty_folder_becomes_a_cache(tmp_path):
    """A folder that exists and is empty can be named."""
    (tmp_path / "c").mkdir()
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.add_files_to_cache([write_sample(tmp_path)])
        assert cache.check() == []


def test_a_cache_is_not_made_in_a_missing_folder(tmp_path):
    """Where the parent folder is missing FileNotFoundError names it, and nothing is made."""
    with pytest.raises(FileNotFoundError, match="missing"):
        BufferMetadataCache(tmp_path / "missing" / "c")
    assert os.listdir(tmp_path) == []


# -- closing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        len,
        BufferMetadataCache.check,
        BufferMetadataCache.count,
        BufferMetadataCache.get_matching_metadata,
        BufferMetadataCache.get_matching_files,
        BufferMetadataCache.get_matching_buffers,
        lambda cache: cache.distinct(BM.process),
        lambda cache: cache.synchronize_directory(os.curdir),
        lambda cache: cache.add_files_to_cache([]),
        lambda cache: cache.add_files_to_cache(["x"]),
        lambda cache: cache.remove_files_from_cache([]),
        lambda cache: cache.get_non_synchronized_files([]),
        lambda cache: cache.db.table("buffer_metadata").all(),
        lambda cache: cache.db.insert({"a": 1}),
    ],
)
@pytest.mark.parametrize("on_disk", [False, True])
def test_after_close_every_call_raises(call, on_disk, tmp_path):
    """A closed cache raises ClosedError, which names it; closing again does nothing."""
    cache = BufferMetadataCache(tmp_path / "c" if on_disk else ":memory:")
    cache.close()
    cache.close()
    with pytest.raises(ClosedError, match="c: the cache is closed" if on_disk else ":memory:"):
        call(cache)
    assert repr(cache)


def test_with_closes_a_cache(tmp_path):
    """Leaving the with block closes the cache, with an exception too, which is passed on."""
    cache = BufferMetadataCache(tmp_path / "c")
    with cache as entered:
        assert entered is cache
    with pytest.raises(ClosedError):
        len(cache)
    with pytest.raises(ZeroDivisionError), BufferMetadataCache(tmp_path / "c") as failing:
        len(failing) // 0
    with pytest.raises(ClosedError):
        len(failing)


@pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc")
def test_a_closed_cache_holds_no_file_open(project, tmp_path):
    """Close gives back every file that was opened."""
    before = os.listdir("/proc/self/fd")
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.add_files_to_cache(write_samples(project, 3))
        assert processes(cache) == [1, 2, 3]
    assert os.listdir("/proc/self/fd") == before


# -- asking -------------------------------------------------------------------------------------------------------


def test_without_a_query_everything_is_given(filled, project):
    """Without a query all entries come in order of their ids, those with an error too, as each call's type."""
    entries = filled.get_matching_metadata()
    assert [entry.id for entry in entries] == list(range(1, 10))
    assert all(type(entry) is BM for entry in entries)
    files = filled.get_matching_files()
    assert all(type(path) is str for path in files)
    assert sorted(files) == sorted(str(path) for path in project.iterdir())
    buffers = filled.get_matching_buffers()
    assert all(type(buffer) is Buffer for buffer in buffers)
    assert [buffer.filepath for buffer in buffers] == files == [entry.filepath for entry in entries]


@pytest.mark.parametrize(
    "query",
    [
        select(BM).filter(BM.compression_frq == 8, BM.process > 2),
        select(BM).where(BM.compression_frq == 8).filter("process > 2"),
        (BM.compression_frq == 8) & (BM.process > 2),
        "compression_frq == 8 and process > 2",
        BM(compression_frq=8, process=4),
        select(BM).filter_by(compression_frq=8, process=4),
    ],
    ids=["select", "select and text", "predicate", "text", "template", "filter_by"],
)
def test_every_form_of_a_query_gives_the_same(filled, query):
    """A select, a predicate, a text and a template are answered by each of the calls."""
    assert [(entry.process, entry.channel) for entry in filled.get_matching_metadata(query)] == [(4, 1), (4, 2)]
    assert [os.path.basename(path) for path in filled.get_matching_files(query)] == [
        "Test_00001p4c0b01",
        "Test_00001p4c1b01",
    ]
    assert [buffer.process for buffer in filled.get_matching_buffers(query)] == [4, 4]
    assert filled.count(query) == 2
    assert filled.distinct(BM.channel, query) == [1, 2]


@pytest.mark.parametrize("query", [5, True, BM, BM.process, [BM.process == 1], where("process") == 1])
@pytest.mark.parametrize("call", ["get_matching_metadata", "get_matching_files", "get_matching_buffers", "count"])
def test_what_is_no_query_is_refused(filled, call, query):
    """Anything else is a TypeError that says what to give."""
    with pytest.raises(TypeError, match="expected a select, a template, a predicate or a text"):
        getattr(filled, call)(query)


def test_a_select_of_other_documents_is_refused(filled):
    """A select over another class of documents is a TypeError."""

    class Note(Document):
        __tablename__ = "notes"
        process = Field(Integer(), "Process number")

    for query in (select(Note), select(Note).filter(Note.process == 1), Note.process == 1):
        with pytest.raises(TypeError, match="Note"):
            filled.get_matching_files(query)


@pytest.mark.parametrize("text", ["proces == 1", "process ==", "process", "import os"])
def test_a_text_that_is_no_query_is_refused(filled, text):
    """A text that cannot be read as an expression raises ExpressionError with the text in it."""
    with pytest.raises(ExpressionError, match=re.escape(text)):
        filled.get_matching_files(text)


def test_order(filled):
    """Results come in the order asked for; what is equal in it, and all without one, in order of their ids."""
    known = BM.process.is_not(None)
    assert processes(filled, select(BM).filter(known)) == [1, 1, 2, 2, 3, 3, 4, 4]
    by = select(BM).filter(known).order_by(BM.compression_frq.desc(), BM.process)
    found = filled.get_matching_metadata(by)
    assert [(entry.process, entry.channel) for entry in found] == [(p, c) for p in (2, 4, 1, 3) for c in (1, 2)]
    descending = filled.get_matching_metadata(select(BM).order_by(BM.process.desc()))
    assert [(entry.process, entry.channel) for entry in descending[:3]] == [(4, 1), (4, 2), (3, 1)]
    assert descending[-1].process is None
    assert processes(filled, select(BM).order_by(BM.process))[0] is None


@pytest.mark.parametrize(
    ("limit", "offset", "expected"),
    [(2, 0, [1, 1]), (2, 3, [2, 3]), (None, 6, [4, 4]), (0, 0, []), (5, 8, []), (5, 99, []), (100, 7, [4])],
)
def test_limit_and_offset(filled, limit, offset, expected):
    """Limit and offset give a part of the ordered result, which may be nothing."""
    query = select(BM).filter(BM.process > 0).order_by(BM.process).limit(limit).offset(offset)
    assert processes(filled, query) == expected
    assert len(filled.get_matching_files(query)) == len(filled.get_matching_buffers(query)) == len(expected)
    assert filled.count(query) == len(expected)


@pytest.mark.parametrize("is_enabled", [True, False])
def test_garbage_collection_stays_as_it_was(filled, is_enabled):
    """Whoever has it switched off, or on, still has after asking for objects, also where that fails."""
    gc.enable() if is_enabled else gc.disable()
    try:
        assert filled.get_matching_metadata()
        assert gc.isenabled() == is_enabled
        with pytest.raises(TypeError):
            filled.get_matching_metadata(1)
        assert gc.isenabled() == is_enabled
    finally:
        gc.enable()


def test_templates_leave_out_what_could_not_be_read(filled):
    """A template gives no entry with an opening_error, not even an empty template; other queries do."""
    assert len(filled.get_matching_files(BM())) == 8
    assert len(filled.get_matching_files(BM(machine_id=None, filename="Test_00001p5c0b01"))) == 0
    assert len(filled.get_matching_files("filename == 'Test_00001p5c0b01'")) == 1
    [broken] = filled.get_matching_metadata(BM.opening_error.is_not(None))
    assert broken.filename == "Test_00001p5c0b01"


def test_a_template_may_be_an_entry(filled):
    """An entry that was given out stands for itself when it is asked with."""
    entry = filled.get_matching_metadata()[3]
    assert filled.get_matching_metadata(entry) == [entry]


def test_the_select_that_a_template_stands_for(filled):
    """get_buffer_metadata_query gives a select, which can be refined."""
    query = filled.get_buffer_metadata_query(BM(compression_frq=8, datamode=DATAMODE.DATAMODE_FFT))
    assert processes(filled, query) == [2, 2, 4, 4]
    assert processes(filled, query.filter(BM.channel == 1).order_by(BM.process.desc())) == [4, 2]
    assert "opening_error.is_(None)" in repr(query)


def test_what_is_given_out_is_the_callers(filled):
    """Changing a result changes nothing in the cache."""
    for entry in filled.get_matching_metadata():
        entry.process = -1
    filled.get_matching_files().clear()
    filled.distinct(BM.process).clear()
    filled.db.table("buffer_metadata").all()[0]["process"] = -1
    assert processes(filled, BM.process > 0) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_matching_buffers_are_not_opened(open_cache, project):
    """get_matching_buffers opens no file, and gives buffers for files that are gone."""
    opened = []
    cache = open_cache(buffer_class(opened.append))
    path = write_sample(project)
    cache.add_files_to_cache([path])
    os.remove(path)
    opened.clear()
    [buffer] = cache.get_matching_buffers()
    assert (buffer.filepath, opened) == (path, [])


def test_a_cache_answers_for_an_empty_cache(cache):
    """A cache without entries gives nothing, and no error."""
    query = select(BM).filter(BM.process > 1, BM.filepath.like("%")).order_by(BM.filepath, BM.spec_duration.desc())
    assert cache.get_matching_metadata(query) == cache.get_matching_files(query) == []
    assert cache.get_matching_buffers(query) == cache.distinct(BM.process) == []
    assert (len(cache), cache.count(), cache.count(by=BM.process)) == (0, 0, {})


# -- counting -----------------------------------------------------------------------------------------------------


def test_counts(filled):
    """Count gives how many match, or by a field how many of each value, None included, in the order of values."""
    assert len(filled) == filled.count() == 9
    assert filled.count(BM.process == None) == 1  # noqa: E711  # how one says is_(None)
    assert list(filled.count(by=BM.process).items()) == [(None, 1), (1, 2), (2, 2), (3, 2), (4, 2)]
    assert filled.count("channel == 1", by=BM.compression_frq) == {4: 2, 8: 2}
    assert filled.count(by=BM.datamode) == {None: 1, DATAMODE.DATAMODE_FFT: 8}
    assert filled.count(BM.process > 99, by=BM.process) == {}


def test_distinct_values(filled, project):
    """Distinct gives the different values in order, None first, as users see them."""
    assert filled.distinct(BM.process) == [None, 1, 2, 3, 4]
    assert filled.distinct(BM.compression_frq, BM.process < 2) == [4]
    assert filled.distinct(BM.directory_path) == [str(project)]
    [nothing, mode] = filled.distinct(BM.datamode)
    assert (nothing, mode) == (None, DATAMODE.DATAMODE_FFT)
    assert isinstance(mode, DATAMODE)
    assert filled.distinct(BM.filepath) == sorted(filled.get_matching_files())


@pytest.mark.parametrize("field", [None, 5, BM])
def test_values_are_those_of_a_field(filled, field):
    """What is no field is a TypeError that says what to give."""
    with pytest.raises(TypeError, match=r"BufferMetadata\.id"):
        filled.distinct(field)


def test_check_finds_an_entry_twice(cache, project):
    """Check tells where two entries stand for one file; nothing where all is well."""
    path = write_sample(project)
    cache.add_files_to_cache([path])
    assert cache.check() == []
    table = cache.db.table("buffer_metadata")
    twin = table.insert({"directory_path": str(project), "filename": os.path.basename(path)})
    for fix in (False, True):
        [problem] = cache.check(fix=fix)
        assert path in problem
    assert cache.check() == []
    assert [entry.id for entry in cache.get_matching_metadata()] == [twin]  # the newest stays


def test_check_mends_the_entries_of_each_machine_apart(cache, project):
    """Where two machines have two entries for a path, the newest of each stays."""
    path = write_sample(project)
    folder, name = os.path.split(path)
    table = cache.db.table("buffer_metadata")
    for machine in ("one", "two", "one", "two"):
        table.insert({"directory_path": folder, "filename": name, "machine_id": machine})
    assert cache.check(fix=True) == [f"2 entries stand for {path}"] * 2
    assert [(entry.id, entry.machine_id) for entry in cache.get_matching_metadata()] == [(3, "one"), (4, "two")]


@pytest.fixture
def damaged(project, tmp_path):
    """Make a cache of two commits, a file in each, and damage the first; give its path and those of the files."""
    files = write_samples(project, 2)
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.add_files_to_cache(files, batch_size=1)
    [log] = (tmp_path / "c").glob("documents-*.jsonl")
    content = bytearray(log.read_bytes())
    content[len(content) // 2 - 100] ^= 1
    log.write_bytes(content)
    for segment in (tmp_path / "c" / "columns").iterdir():
        segment.unlink()  # else it has what the log had
    return tmp_path / "c", files


@pytest.mark.filterwarnings("ignore:.*damaged")
def test_check_mends(damaged, project):
    """What is damaged is told and dropped; the next synchronisation reads that file again, and no other."""
    path, files = damaged
    with BufferMetadataCache(path) as cache:
        assert cache.get_matching_files() == files[1:]
        found = cache.check()
        assert found
        assert cache.check(fix=True) == found
        assert cache.check() == []
    with BufferMetadataCache(path) as cache:
        assert cache.check() == []
        report = cache.synchronize_directory(project, verbose=0)
        assert (report.added, report.unchanged) == (1, 1)
        assert sorted(cache.get_matching_files()) == files


def test_compacting(cache, project):
    """A store without dead records answers as before, in this handle and in those that follow."""
    files = write_samples(project, 3)
    for time in (1, 2, 3):
        set_time(files[0], time)
        cache.synchronize_directory(project, verbose=0)
    cache.remove_files_from_cache(files[1:2])
    before = cache.get_matching_metadata()
    cache.compact()
    assert cache.get_matching_metadata() == before
    [new] = cache.db.table("buffer_metadata").insert_multiple([{}])
    assert new == 4  # the id of a document that is gone is not given again
    cache.db.table("buffer_metadata").remove(doc_ids=[new])


def test_a_reader_beside_compaction(project, tmp_path):
    """Who has the cache open while it is compacted goes on, and sees what is committed afterwards."""
    files = write_samples(project, 3)
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.add_files_to_cache(files[:2])
        with BufferMetadataCache(tmp_path / "c", read_only=True) as reader:
            assert reader.get_matching_files() == files[:2]
            cache.compact()
            assert reader.get_matching_files() == files[:2]
            cache.add_files_to_cache(files)
            assert reader.get_matching_files() == files
            cache.compact()
            cache.compact()
            assert reader.get_matching_metadata() == cache.get_matching_metadata()
            assert reader.check() == []
    assert len(list((tmp_path / "c").glob("documents-*.jsonl"))) == 1


# -- TinyDB -------------------------------------------------------------------------------------------------------


def test_the_documents_are_a_tinydb(filled):
    """cache.db is a TinyDB in which None is left out and an enumeration is its number."""
    table = filled.db.table("buffer_metadata")
    assert len(table) == 9
    assert [document.doc_id for document in table.search(BM.process > 3)] == [7, 8]
    assert table.search(where("process") > 3) == table.search(BM.process > 3)
    assert table.count(where("datamode") == Buffer.DATAMODE.DATAMODE_FFT) == 8
    [broken] = table.search(where("opening_error").exists())
    assert "process" not in broken
    assert {type(value) for document in table for value in document.values()} <= {int, float, str, bool}


# -- other classes of buffers -------------------------------------------------------------------------------------


def test_the_class_of_the_metadata_is_at_hand(cache):
    """BufferMetadataCache.BufferMetadata is the class, on the cache as well."""
    assert BufferMetadataCache.BufferMetadata is BM
    assert cache.BufferMetadata is BM


def test_a_stand_in_for_buffers(open_cache, project):
    """Any class with a filepath can be read: what it does not know is None, and it is what is given back."""
    cache = open_cache(MockBuffer)
    MockBuffer(project / "Mock_00001p1c0b01", process=1, datamode=2, spec_duration=1.5).write()
    MockBuffer(project / "Mock_00001p2c0b01", process=2, partnumber="Ä", unknown=3).write()
    write_other(project, 3, b"{not JSON")
    report = cache.synchronize_directory(project, verbose=0)
    assert (report.added, report.skipped, report.failed) == (2, 1, [])
    first, second = cache.get_matching_metadata()
    assert (first.process, first.datamode, first.spec_duration) == (1, DATAMODE.DATAMODE_FFT, 1.5)
    assert (second.process, second.partnumber, second.channel) == (2, "Ä", None)
    [buffer] = cache.get_matching_buffers(BM(process=2))
    assert type(buffer) is MockBuffer
    with buffer:
        assert buffer.unknown == 3


class UnprintableError(Exception):
    """An error that cannot say what it is."""

    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a value"),
        Exception("Gr\udcf6\udcdfe\n\0"),
        UnprintableError(),
        KeyError("key"),
        OSError(5, "Input/output error"),
        PermissionError(13, "Permission denied"),
        FileNotFoundError(2, "No such file or directory", "a companion of the file"),
        RecursionError(),
        MemoryError(),
        StopIteration(),
        ExceptionGroup("several", [ValueError(1)]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_class_raises_is_told_in_the_entry(open_cache, project, error):
    """A class that raises any exception for one file costs that file's values, not the synchronisation."""

    def refuse_the_first(path):
        if path == paths[0]:
            raise error

    cache = open_cache(buffer_class(refuse_the_first))
    paths = write_samples(project, 2)
    report = cache.synchronize_directory(project, verbose=0)
    assert (report.added, [failure.path for failure in report.failed]) == (1, [paths[0]])
    [entry] = cache.get_matching_metadata(BM.process.is_(None))
    assert entry.opening_error.startswith(type(error).__name__)
    assert entry.opening_error == report.failed[0].error
    assert "\n" not in str(report)


class OddBuffer(Buffer):
    """The base of buffers that are not as they should be."""


class SwallowingBuffer(OddBuffer):
    """Hides its own errors."""

    @property
    def process(self):
        raise ValueError("hidden")

    def __exit__(self, *exception):
        super().__exit__(*exception)
        return True


class EmptyBuffer(OddBuffer):
    """Gives nothing to the with statement."""

    def __enter__(self):
        return None


class TextBuffer(OddBuffer):
    """Gives a text where a number belongs."""

    process = "first"


class LargeBuffer(OddBuffer):
    """Gives a number that no field can hold."""

    process = 2**80


class PlainBuffer:
    """Is no context manager."""

    def __init__(self, filepath):
        self.filepath = filepath


@pytest.mark.parametrize("Buffer_cls", [SwallowingBuffer, EmptyBuffer, TextBuffer, LargeBuffer, PlainBuffer])
def test_a_class_that_is_not_as_it_should_be_is_told_in_the_entry(open_cache, project, Buffer_cls):
    """What a class gives that cannot be kept is an opening_error, not the end of the synchronisation."""
    cache = open_cache(Buffer_cls)
    path = write_sample(project)
    report = cache.synchronize_directory(project, verbose=0)
    assert [failure.path for failure in report.failed] == [path]
    [entry] = cache.get_matching_metadata()
    assert (entry.filepath, entry.process) == (path, None)
    assert entry.opening_error


# -- one cache, several owners ------------------------------------------------------------------------------------


def test_two_caches_on_a_folder_see_each_others_commits(project, tmp_path):
    """What one commits the other finds with its next question, and goes on from there."""
    paths = write_samples(project, 4)
    with BufferMetadataCache(tmp_path / "c") as one, BufferMetadataCache(tmp_path / "c") as two:
        one.add_files_to_cache(paths[:2])
        assert two.get_matching_files() == paths[:2]
        assert two.add_files_to_cache(paths).added == 2
        assert one.get_matching_files() == paths
        set_time(paths[0], 1)
        two.synchronize_directory(project, verbose=0)
        assert one.get_non_synchronized_files(paths) == ([], [])
        one.remove_files_from_cache(paths[1:2])
        assert [len(one), len(two)] == [3, 3]
        assert two.get_matching_metadata() == one.get_matching_metadata()
        assert one.check() == two.check() == []


def test_only_one_writes_at_a_time(project, tmp_path):
    """While one is writing another is refused after lock_timeout, told who it is, and free afterwards."""
    refusals = []

    def write_too(path):
        with pytest.raises(CacheLockedError) as refused:
            other.remove_files_from_cache([path])
        refusals.append(str(refused.value))
        assert len(other) == 0

    cache = BufferMetadataCache(tmp_path / "c", buffer_class(write_too))
    other = BufferMetadataCache(tmp_path / "c", lock_timeout=0)
    with cache, other:
        cache.add_files_to_cache([write_sample(project)])
        assert len(refusals) == 1
        assert f"process {os.getpid()} on host" in refusals[0]
        assert str(tmp_path / "c") in refusals[0]
        other.remove_files_from_cache([write_sample(project)])
        assert len(cache) == 0


# -- reading only -------------------------------------------------------------------------------------------------


def test_a_reader_never_writes(project, tmp_path):
    """A cache opened read_only answers everything and leaves not a trace in its folder."""
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.add_files_to_cache(write_samples(project, 2))
    (tmp_path / "c" / "lock").unlink(missing_ok=True)
    before = snapshot(tmp_path / "c")
    with BufferMetadataCache(tmp_path / "c", read_only=True) as reader:
        assert processes(reader) == [1, 2]
        assert reader.check() == []
        assert reader.get_non_synchronized_files([]) == ([], [Path(path) for path in write_samples(project, 2)])
        for change in (
            lambda: reader.synchronize_directory(project),
            lambda: reader.add_files_to_cache([]),
            lambda: reader.remove_files_from_cache([]),
            lambda: reader.db.insert({"a": 1}),
            reader.db.drop_tables,
        ):
            with pytest.raises(BufcacheError, match=r"c: .*read_only"):
                change()
    assert snapshot(tmp_path / "c") == before


def test_a_reader_reads_while_another_writes(project, tmp_path):
    """A reader needs no lock: it answers while another writes, with what was committed."""
    seen = []
    cache = BufferMetadataCache(tmp_path / "c", buffer_class(lambda path: seen.append(len(reader))))
    with cache, BufferMetadataCache(tmp_path / "c", read_only=True) as reader:
        cache.add_files_to_cache(write_samples(project, 4), batch_size=2)
        assert seen == [0, 0, 2, 2]
        assert len(reader) == 4


def test_there_must_be_something_to_read(tmp_path):
    """A path that does not exist is a FileNotFoundError that names it, and is not made."""
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "c"))):
        BufferMetadataCache(tmp_path / "c", read_only=True)
    assert os.listdir(tmp_path) == []


# -- names that are not UTF-8 -------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_names_that_are_not_utf_8(project, tmp_path):
    """A name of any bytes is found by queries, opened again, and kept over reopening, byte for byte."""
    folder = os.fsdecode(os.path.join(os.fsencode(project), b"Gr\xf6\xdfe"))
    os.mkdir(folder)
    path = write_sample(folder, 7)
    for url in (tmp_path / "c", os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\xe4.bufcache"))):
        with BufferMetadataCache(url) as cache:
            cache.synchronize_directory(project, verbose=0)
        with BufferMetadataCache(url) as cache:
            assert list(map(os.fsencode, cache.get_matching_files())) == [os.fsencode(path)]
            for query in (BM.filepath == path, BM.directory_path.below(folder), BM(directory_path=folder)):
                [buffer] = cache.get_matching_buffers(query)
                assert buffer.process == 7
            assert cache.count(by=BM.directory_path) == {folder: 1}
            assert cache.check() == []
