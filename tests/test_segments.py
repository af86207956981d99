"""Segments: columns on the disk say what the log says, to us and to whoever opens them with numpy alone."""

import itertools
import math
import tempfile
import threading
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy
from stores import (
    NAME,
    NOTES,
    OTHER,
    InMemory,
    KeptMemory,
    Note,
    OnDisk,
    commit_batch,
    contents,
    do,
    insert,
    limit,
    note,
    open_database,
)

from bufcache.buffer_metadata_cache.documents import Document
from bufcache.buffer_metadata_cache.kinds import Float, Integer, PathText, Text
from bufcache.buffer_metadata_cache.parts import merged, part_of
from bufcache.buffer_metadata_cache.query import Field
from bufcache.buffer_metadata_cache.store import changes as store_changes
from bufcache.buffer_metadata_cache.store import files as store_files
from bufcache.buffer_metadata_cache.store.database import Database, Edit
from bufcache.buffer_metadata_cache.store.state import State


class Sample(Document):
    """Documents with a field of each sort of column."""

    __tablename__ = "samples"

    id: Field[int] = Field(Integer(), "Number of the document")
    signed: Field[int] = Field(Integer(), "An integer")
    unsigned: Field[int] = Field(Integer(signed=False), "An integer that is not negative")
    real: Field[float] = Field(Float(), "A float")
    text: Field[str] = Field(Text(), "A text")
    path: Field[str] = Field(PathText(), "A path")


SAMPLES = Sample.__tablename__
FIELDS = list(Sample.__fields__.values())


def open_samples(files):
    return Database(files, {SAMPLES: Sample.__fields__})


INTEGERS = st.integers(-3, 3) | st.integers(-(2**63), 2**64 - 1)
EDGES = st.sampled_from([edge + near for edge in (0, 2**7, 2**8, 2**15, 2**31, 2**32, 2**63) for near in (-1, 0, 1)])
values = st.none() | st.booleans() | INTEGERS | EDGES | st.floats() | st.text(max_size=4) | st.just("/a\0dcff")
documents = st.fixed_dictionaries({}, optional=dict.fromkeys(Sample.__fields__.keys() - {"id"}, values))
ids = st.integers(-3, 9) | st.sampled_from([-(2**63), 2**63 - 1, 40000])
commits = st.lists(st.tuples(st.sampled_from([SAMPLES, OTHER]), ids, st.none() | documents), min_size=1, max_size=5)


def columns(database):
    """Return all that columns say: ids, places, values."""
    with database.reading():
        index = database.table(SAMPLES)
        rows = index.rows
        places = [array.tolist() for array in index.places(rows)]
        return index.ids, places, [list(map(repr, taken)) for taken in index.take(rows, FIELDS)], index.largest_id


@given(history=st.lists(commits, max_size=8), flushed=st.integers(1, 6), merged=st.integers(2, 4), data=st.data())
def test_segments_and_tail_say_what_the_log_says(history, flushed, merged, data):
    """Whatever was committed, and whichever segments there are: the columns are those that the log alone makes."""
    with pytest.MonkeyPatch.context() as patch:
        limit(patch, flushed=flushed, merged=merged, worth_compacting=1 << 20)
        files = KeptMemory()
        database = open_samples(files)
        for edits in history:
            database.commit([Edit(*edit) for edit in edits])
        held = columns(database)
        database.close()
        names = [f"columns/{name}" for name in files.names("columns")]
        assert bool(names) == bool(history)
        assert columns(open_samples(files)) == held
        for name in data.draw(st.sets(st.sampled_from(names or [""]))):
            files.remove(name)
        assert columns(open_samples(files)) == held
        for name in names:
            files.remove(name)
        assert columns(open_samples(files)) == held


batches = st.dictionaries(ids, documents, min_size=1, max_size=5)


@pytest.fixture(params=["in memory", "on disk"])
def begin(request, monkeypatch):
    """Make one place for a store after the other."""
    monkeypatch.setattr(store_files, "_sync", lambda writer: None)  # not what is tested here
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()
        yield lambda: InMemory() if request.param == "in memory" else OnDisk(Path(folder, str(next(numbers))))


def everything(state):
    """Return all that a state says, and of which range of the log."""
    contents = {table: merged(pieces, keeps_removals=False) for table, pieces in state.contents().items()}
    tables = {}
    for table in [table for table, content in contents.items() if len(content.ids)]:
        index = state.tables[table]
        part, fields = part_of(index.fields, contents[table]), list(index.fields.values())
        rows = np.arange(part.size)
        places = [array.tolist() for array in part.places_at(rows)]
        values = {field.name: list(map(repr, part.column(field).take(rows))) for field in fields}
        assert [index.ids, len(index), index.live_bytes] == [part.ids_at(rows).tolist(), part.size, part.live_bytes]
        tables[table] = index.ids, places, values
    limits = [(segment.range.start, segment.range.end, segment.range.last) for segment in state.segments]
    largest = {table: index.largest_id for table, index in state.tables.items()}
    return limits[:1] and (limits[0][0], *limits[-1][1:]), largest, tables


@pytest.mark.filterwarnings("ignore:.*damaged")
@given(history=st.lists(commits | batches, max_size=8), flushed=st.integers(1, 6), data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_rewritten_log_has_the_columns_that_it_makes(begin, history, flushed, data):
    """Whatever was committed, and whichever lines are damaged: the columns of a rewritten log are those it makes."""
    with pytest.MonkeyPatch.context() as patch:
        limit(patch, flushed=flushed, merged=3, worth_compacting=1 << 20)
        place = begin()
        database = open_samples(place.files())
        for step in history:
            if isinstance(step, dict):
                commit_batch(database, step, Sample)
            else:
                database.commit([Edit(*edit) for edit in step])
        stored = [(table, id) for table in (SAMPLES, OTHER) for id in database.table(table).ids]
        damaged = data.draw(st.sets(st.sampled_from(stored))) if stored else set()
        log = bytearray(place.read_log())
        for table, id in damaged:
            log[database.table(table).place(id).offset] ^= 1
        place.write_log(log)
        ids, _, taken, largest = columns(database)
        others, largest_other = database.table(OTHER).ids, database.table(OTHER).largest_id
        with pytest.MonkeyPatch.context() as unparsed:
            unparsed.setattr(store_changes, "_parsed", None)
            database.compact()
        from_log = State(place.files(), {SAMPLES: Sample.__fields__}, uses_segments=False)
        assert everything(database._state) == everything(from_log)
        assert from_log.log.damage == database.problems() == []
        assert all(segment.name for segment in database._state.segments)
        assert (columns(database)[0], *columns(database)[2:]) == (ids, taken, largest)
        assert database.table(OTHER).ids == [id for id in others if (OTHER, id) not in damaged]
        assert database.table(OTHER).largest_id == largest_other
        database.close()


ROUND = {
    "small": {"signed": [0, 1, -128, 127, None], "unsigned": [0, 255, 1, 2, 3]},
    "two bytes": {"signed": [-32768, 32767, 0, None, 1], "unsigned": [256, 65535, None, None, 0]},
    "four bytes": {"signed": [-(2**31), 2**31 - 1, 0, 1, 2], "unsigned": [2**32 - 1, 65536, 0, 1, 2]},
    "huge": {"signed": [-(2**63), 2**63 - 1, 2**53 + 1, None, 0], "unsigned": [2**64 - 1, 2**63, 2**53 + 1, 0, None]},
    "floats": {"real": [0.0, -0.0, 5e-324, -1.7976931348623157e308, 0.1]},
    "no number": {"real": [math.nan, math.inf, -math.inf, None, 1.5]},
    "texts": {"text": ["", "a", "\0", "é", "\U0001f600\uffff"]},
    "one text": {"text": ["same"] * 5},
    "surrogates": {"path": ["/a\0dcff/b", "C:\\x", "/é", None, "/\0d800"]},
    "nothing": {"text": [None] * 5, "signed": [None] * 5},
    "mixed": {"signed": ["1", 1.0, True, 2**64 - 1, 7], "text": [1, True, None, "x", [1]]},
}


@pytest.mark.parametrize("of_fields", ROUND.values(), ids=ROUND)
def test_values_come_back(of_fields):
    """Each value comes back from a segment as the field reads it from its document, to the bit; others as None."""
    files = KeptMemory()
    database = open_samples(files)
    given = [dict(zip(of_fields, row, strict=True)) for row in zip(*of_fields.values(), strict=True)]
    database.commit([Edit(SAMPLES, id, document) for id, document in enumerate(given, 1)])
    database.close()
    assert len(files.names("columns")) == 1
    database = open_samples(files)
    assert database.table(SAMPLES).tail.size == 0
    stored = [database.document(SAMPLES, id) for id in range(1, 6)]
    for name in of_fields:
        field = Sample.__fields__[name]
        expected = [None if (value := field.of(document)) is None else field.kind.present(value) for document in stored]
        [taken] = database.table(SAMPLES).take(database.table(SAMPLES).rows, [field])
        assert list(map(repr, taken)) == list(map(repr, expected))
        for value in expected:
            wanted = [id for id, other in enumerate(expected, 1) if value is not None and other == value]
            assert (
                value is None or database.table(SAMPLES).ids_of(database.table(SAMPLES).match(field == value)) == wanted
            )


@pytest.mark.parametrize(
    ("numbers", "size"),
    [([-128, 127], 1), ([-129, 0], 2), ([0, 2**15 - 1], 2), ([0, 2**15], 4), ([0, 2**31], 8), ([-(2**31), 1], 4)],
)
def test_integers_are_as_narrow_as_can_be(tmp_path, numbers, size):
    """An array of integers takes as few bytes a value as its largest needs."""
    about, arrays = opened_with_numpy(tmp_path, [{"number": number} for number in numbers])
    values = about["tables"][NOTES]["columns"]["number"]["values"]
    array = arrays[values["start"]]
    assert (array.dtype.kind, array.dtype.itemsize, array.tolist()) == ("i", size, numbers)


def opened_with_numpy(tmp_path, notes):
    """Return what a segment says of itself, and by their places its arrays as numpy loads them."""
    place = OnDisk(tmp_path / "store")
    database = open_database(place.files())
    database.commit([note(id, **document) for id, document in enumerate(notes, 1)])
    database.close()
    [path] = (place.path / "columns").glob("*.npz")
    arrays = {}
    with np.load(path, allow_pickle=False) as loaded, ZipFile(path) as archive, path.open("rb") as file:
        assert archive.testzip() is None
        for info in archive.infolist():
            file.seek(info.header_offset + 26)
            name_size, extra_size = (int.from_bytes(file.read(2), "little") for _ in range(2))
            start = info.header_offset + 30 + name_size + extra_size
            if info.filename.endswith(".npy"):
                file.seek(start)
                assert npy.read_magic(file) == (1, 0)
                npy.read_array_header_1_0(file)
                arrays[file.tell()] = loaded[info.filename.removesuffix(".npy")]
        about = orjson.loads(archive.read("contents.json"))
    return about, arrays


def test_numpy_opens_a_segment(tmp_path):
    """numpy.load opens a segment, and its arrays, each where contents.json says, have the values of the documents."""
    notes = [{"number": number * 1000, "text": f"é{number % 3}"} for number in range(1, 8)]
    about, arrays = opened_with_numpy(tmp_path, [*notes, {}])
    said = about["tables"][NOTES]
    assert said["count"] == 8
    assert arrays[said["ids"]["start"]].tolist() == [*range(1, 9)]
    number, text = said["columns"]["number"], said["columns"]["text"]
    assert arrays[number["is_known"]["start"]].tolist() == [True] * 7 + [False]
    assert arrays[number["values"]["start"]].tolist() == [*(each["number"] for each in notes), 0]
    stops, raw = (arrays[text[name]["start"]] for name in ("stops", "bytes"))
    texts = [raw[start:stop].tobytes().decode() for start, stop in itertools.pairwise(stops.tolist())]
    assert [texts[code] for code in arrays[text["values"]["start"]].tolist()][:7] == [each["text"] for each in notes]
    assert all(start % 64 == 0 for start in arrays)


def test_ten_segments_become_one(monkeypatch):
    """Segments are merged ten to one, and what was merged is removed."""
    limit(monkeypatch, flushed=2, worth_compacting=1 << 20)
    files = KeptMemory()
    database = open_database(files)
    counts = []
    for number in range(1, 101):
        do(database, [note(2 * number, number=number), note(2 * number + 1)])
        counts.append(len(files.names("columns")))
    assert counts[:20] == [*range(1, 10), 1, *range(2, 11), 2]
    assert counts[-1] == 1
    assert len(contents(open_database(files))[NOTES]) == 200


def test_readers_of_merged_and_rewritten_segments(tmp_path, monkeypatch):
    """Whoever has segments mapped goes on with them while they are merged, removed, and the log rewritten."""
    limit(monkeypatch, flushed=2, merged=3)
    place = OnDisk(tmp_path / "store")
    writer = open_database(place.files())
    do(writer, [note(1, number=1), note(2, number=2)])
    readers = [open_database(place.files()) for _ in range(3)]
    with readers[0].reading():
        before = contents(readers[0])
        for number in range(3, 40):
            do(writer, [note(number, number=number), note(number - 1, text="changed")])
            if number % 10 == 0:
                writer.compact()
            assert contents(readers[1]) == contents(writer)
        assert contents(readers[0]) == before
    assert contents(readers[0]) == contents(readers[2]) == contents(writer)
    assert [reader.problems() for reader in readers] == [[], [], []]


@pytest.mark.parametrize("is_shared", [False, True], ids=["another object", "the same object"])
def test_a_thread_asks_while_segments_change(tmp_path, monkeypatch, is_shared):
    """A thread that asks all the time sees each state once it is committed, and none before."""
    limit(monkeypatch, flushed=2, merged=3, worth_compacting=1 << 20)
    place = OnDisk(tmp_path / "store")
    writer = open_database(place.files())
    insert(writer, {"number": 0})
    wrong, done = [], threading.Event()

    def ask():
        reader, last = writer if is_shared else open_database(place.files()), 0
        while not done.is_set():
            with reader.reading():
                index = reader.table(NOTES)
                numbers = index.take(index.rows, [Note.number])[0]
            if numbers != [*range(len(numbers))] or len(numbers) < last:
                wrong.append(numbers)
            last = len(numbers)
        if not is_shared:
            reader.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for number in range(1, 150):
            insert(writer, {"number": number})
            if number % 40 == 0:
                writer.compact()
    finally:
        done.set()
        thread.join()
    assert wrong == []


def test_columns_that_cannot_be_mapped(tmp_path, monkeypatch):
    """Where the system maps no file, everything is read from the log."""
    place = OnDisk(tmp_path / "store")
    database = open_database(place.files())
    insert(database, {"number": 1})
    database.close()
    files = place.files()

    def fail(name):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(files, "map", fail)
    database = open_database(files)
    assert contents(database) == {NOTES: {1: {"number": 1, "id": 1}}}
    [problem] = database.problems()
    assert "Cannot allocate memory; it is not used" in problem
    assert NAME in files.names()
