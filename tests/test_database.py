"""The database: what was committed stands there, whole and once, for every handle and every process."""

import random
import tempfile
import threading
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from stores import NAME, NOTES, SCHEMAS, InMemory, Note, OnDisk, OtherProcess, contents, insert, open_database

from bufcache import BufferMetadataCache
from bufcache.buffer_metadata_cache.parts import encoded
from bufcache.buffer_metadata_cache.store.database import Edit
from bufcache.buffer_metadata_cache.store.files import DiskFiles
from bufcache.buffer_metadata_cache.store.log import Log, encode, name_of
from bufcache.buffer_metadata_cache.store.state import State
from bufcache.errors import CacheFormatError, ClosedError, InvalidArgumentError

TABLES = (NOTES, "other")

values = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5)
documents = st.fixed_dictionaries(
    {}, optional={"id": values, "number": values, "text": values, "list": st.lists(values)}
)


def with_id(table, id, document):
    """Return a document as it is stored: those of a table with fields say their id."""
    return {**document, "id": id} if table == NOTES else document


def reopened(place):
    """Return the documents as another process finds them, in a sound store."""
    database = open_database(place.files())
    assert database.problems() == []
    found = contents(database)
    database.close()
    return found


@pytest.fixture
def database(place):
    """Return a database whose store is sound in the end."""
    database = open_database(place.files())
    yield database
    assert database.problems() == []
    assert contents(database) == reopened(place)


# -- committing -------------------------------------------------------------------------------------------------------


def test_commits(database, place):
    """A commit adds, replaces and removes documents of any tables; the last word on a document counts."""
    database.commit([Edit(NOTES, 1, {"number": 1}), Edit(NOTES, 2, {"number": 2}), Edit("other", 1, {"a": [1, {}]})])
    database.commit([Edit(NOTES, 1, {"text": "one"}), Edit(NOTES, 2, None), Edit("third", 7, {})])
    database.commit(
        [Edit("third", 8, {"b": 1}), Edit("third", 8, {"b": 2}), Edit("third", 7, {}), Edit("third", 7, None)]
    )
    expected = {NOTES: {1: {"text": "one", "id": 1}}, "other": {1: {"a": [1, {}]}}, "third": {8: {"b": 2}}}
    assert contents(database) == reopened(place) == expected
    assert database.table(NOTES).match(Note.text == "one").tolist() == [0]


@given(
    commits=st.lists(
        st.lists(st.tuples(st.sampled_from(TABLES), st.integers(-2, 6), st.none() | documents), max_size=6), max_size=6
    )
)
def test_what_is_held_is_what_is_read(commits):
    """After any commits a database holds what another one reads from the log."""
    place = InMemory()
    database = open_database(place.files())
    expected = {table: {} for table in TABLES}
    for edits in commits:
        database.commit([Edit(*edit) for edit in edits])
        for table, id, document in edits:
            expected[table].pop(id, None)
            if document is not None:
                expected[table][id] = with_id(table, id, document)
    expected = {table: dict(sorted(held.items())) for table, held in expected.items() if held}
    assert contents(database) == reopened(place) == expected
    assert [list(held) for held in contents(database).values()] == [list(expected[name]) for name in contents(database)]


def test_a_commit_of_many_documents(database):
    """A commit may be larger than what is read at a time."""
    database.commit(Edit(NOTES, id, {"number": id, "text": "x" * 1000}) for id in range(1, 3001))
    assert len(database.table(NOTES)) == 3000
    assert database.document(NOTES, 2999) == {"number": 2999, "text": "x" * 1000, "id": 2999}


def test_columns_of_the_first_batch_are_used(place):
    """Who opens a store reads no document of its first batch from the log, when that began the log."""
    database = open_database(place.files())
    documents = {id: {"id": id, "number": -id, "text": str(id)} for id in (1, 2, 3)}
    values = {
        name: encoded(field.kind, [*map(field.of, documents.values())]) for name, field in Note.__fields__.items()
    }
    lines = [encode(NOTES, *item) for item in documents.items()]
    database.commit_batch(NOTES, values["id"].array, lines, values)
    database.close()
    state = State(place.files(), SCHEMAS)
    assert [segment.size for segment in state.segments] == [3]
    assert state.unwritten == 0
    assert reopened(place) == {NOTES: documents}


def test_nothing_to_commit(place):
    """A commit of nothing, opening, asking and closing write nothing."""
    database = open_database(place.files())
    database.commit([])
    with database.writing():
        pass
    assert contents(database) == {}
    assert database.problems() == []
    database.close()
    assert place.read_log() == b""


@pytest.mark.parametrize(
    "document",
    [
        {"a": object()},
        {"a": {1, 2}},
        {"a": b"bytes"},
        {1: "a key that is no text"},
        {"a": 2**64},
        {"a": -(2**63) - 1},
        {"a": "\ud800"},
        {"\ud800": 1},
    ],
    ids=repr,
)
def test_what_JSON_cannot_hold(database, place, document):
    """Where JSON cannot hold one document of a commit, none is written."""
    insert(database, {"number": 1})
    before = place.read_log()
    with pytest.raises(InvalidArgumentError, match="document 3 of other"):
        database.commit([Edit("other", 2, {"good": 1}), Edit("other", 3, document)])
    assert place.read_log() == before
    assert contents(database) == {NOTES: {1: {"number": 1, "id": 1}}}


def test_too_deep_a_document(database, place):
    """A document that is nested deeper than JSON is read is refused, and all that is less deep comes back."""
    refused = []
    for depth in (100, 200, *range(245, 260), 1000, 5000):
        document, before = nested(depth), place.read_log()
        try:
            id = insert(database, document, "other")
        except InvalidArgumentError:
            refused.append(depth)
            assert place.read_log() == before
        else:
            assert database.document("other", id) == document
    assert refused[-2:] == [1000, 5000]
    assert 200 not in refused


def nested(depth):
    document = {}
    for _ in range(depth):
        document = {"a": document}
    return document


@pytest.mark.parametrize("id", ["1", 1.0, None, True, 2**63, -(2**63) - 1])
def test_ids_that_are_none(database, place, id):
    """An id is an integer of 64 bits; another one is refused and nothing is written."""
    with pytest.raises(InvalidArgumentError, match="id"):
        database.commit([Edit("other", 2, {}), Edit("other", id, {})])
    assert place.read_log() == b""


def test_the_largest_ids(database, place):
    """All integers of 64 bits are ids, except that none follows the largest."""
    ids = [-(2**63), -1, 0, 2**63 - 2]
    database.commit(Edit(NOTES, id, {}) for id in ids)
    assert insert(database, {}) == 2**63 - 1
    with pytest.raises(InvalidArgumentError):
        insert(database, {})
    assert list(reopened(place)[NOTES]) == [*ids, 2**63 - 1]


def test_documents_say_their_id(database):
    """A document of a table with fields says its id, whatever it said before; others stay as they are."""
    for table in TABLES:
        database.commit([Edit(table, 1, {"id": 7, "a": 1}), Edit(table, 2, {"a": 2})])
    assert contents(database) == {
        NOTES: {1: {"id": 1, "a": 1}, 2: {"a": 2, "id": 2}},
        "other": {1: {"id": 7, "a": 1}, 2: {"a": 2}},
    }


@pytest.mark.parametrize("table", TABLES)
def test_no_id_is_given_twice(place, table):
    """The id of a removed document is not given again, nor after reopening."""
    database = open_database(place.files())
    assert [insert(database, {}, table) for _ in range(3)] == [1, 2, 3]
    database.commit([Edit(table, 3, None)])
    assert insert(database, {}, table) == 4
    database.commit(Edit(table, id, None) for id in (1, 2, 4))
    assert database.table_names() == []
    assert database.next_id(table) == open_database(place.files()).next_id(table) == 5
    assert insert(open_database(place.files()), {}, table) == 5
    assert insert(database, {}, table) == 6
    assert list(reopened(place)[table]) == [5, 6]


# -- writing and reading ----------------------------------------------------------------------------------------------


def test_nested_writing(database, place):
    """Who holds the right to write may take it again, and each commit stands at once."""
    with database.writing():
        insert(database, {"number": 1})
        with database.writing(), database.reading():
            insert(database, {"number": 2})
        assert reopened(place) == contents(database)
        insert(database, {"number": 3})
    assert [note["number"] for note in reopened(place)[NOTES].values()] == [1, 2, 3]


def test_error_while_writing(database, place):
    """An error of who holds the right to write undoes no commit, and gives the right back."""

    def write_and_fail():
        with database.writing():
            insert(database, {"number": 1})
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        write_and_fail()
    insert(open_database(place.files()), {"number": 2})
    assert [note["number"] for note in contents(database)[NOTES].values()] == [1, 2]


def test_reading_is_of_one_state(place):
    """While a database is read it stays as it is; what was committed meanwhile is there afterwards."""
    writer, reader = open_database(place.files()), open_database(place.files())
    insert(writer, {"number": 1})
    with reader.reading():
        insert(writer, {"number": 2})
        with reader.reading():
            assert list(contents(reader)[NOTES]) == [1]
    assert list(contents(reader)[NOTES]) == [1, 2]
    assert reader.problems() == []


def test_the_names_of_tables_are_those_of_one_state(notes):
    """Who asks which tables there are waits for whoever is looking at them, or is changing them."""
    names = []
    asking = threading.Thread(target=lambda: names.append(notes.table_names()))
    with notes.reading():
        asking.start()
        asking.join(0.1)
        assert names == []
    asking.join()
    assert names == [[NOTES]]


def test_writing_while_reading(place):
    """A change that begins while the same thread reads does not harm what others committed meanwhile."""
    database, other = open_database(place.files()), open_database(place.files())
    insert(database, {"number": 1})
    with database.reading():
        insert(other, {"number": 2})
        with suppress(InvalidArgumentError):
            insert(database, {"number": 3})
    numbers = [note["number"] for note in reopened(place)[NOTES].values()]
    assert numbers in ([1, 2], [1, 2, 3])
    assert contents(database) == reopened(place)


def test_documents_are_the_callers(database):
    """A document that was handed out or in can be changed without changing the database."""
    given = {"list": [1]}
    insert(database, given, "other")
    given["list"].append(2)
    database.document("other", 1)["list"].append(3)
    assert database.document("other", 1) == {"list": [1]}


def test_what_is_not_there(database):
    """A table without documents is empty, a document that is missing is a KeyError."""
    assert len(database.table("missing")) == 0
    assert database.next_id("missing") == 1
    with pytest.raises(KeyError):
        database.document("missing", 1)


def test_closed(place):
    """A closed database answers nothing and changes nothing; closing it again is fine."""
    database = open_database(place.files())
    insert(database, {"number": 1})
    before = place.read_log()
    database.close()
    database.close()
    calls = [
        lambda: contents(database),
        lambda: insert(database, {}),
        lambda: database.commit([]),
        lambda: database.commit([Edit(NOTES, 1, None)]),
        database.problems,
    ]
    for call in calls:
        with pytest.raises(ClosedError, match="closed"):
            call()
    assert place.read_log() == before


@pytest.mark.parametrize("is_read_only", [True, False])
def test_closed_before_the_folder_was_deleted(tmp_path, is_read_only):
    """A changing call on a closed database makes no files."""
    database = open_database(DiskFiles(str(tmp_path / "missing")), is_read_only=is_read_only)
    database.close()
    with pytest.raises(ClosedError):
        insert(database, {})
    assert list(tmp_path.iterdir()) == []


# -- what is not ours -------------------------------------------------------------------------------------------------


def snapshot(path):
    return {file.relative_to(path): file.is_file() and file.read_bytes() for file in path.rglob("*")}


@pytest.mark.parametrize(
    "name", ["measurement.csv", ".hidden", "documents-1.jsonl.txt", "DOCUMENTS-1.jsonl", "columns/x", "lock.txt"]
)
def test_foreign_folder(tmp_path, name):
    """A folder of other files is refused and stays as it is."""
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"1,2")
    before = snapshot(tmp_path)
    for open_it in (lambda: open_database(DiskFiles(str(tmp_path))), lambda: BufferMetadataCache(tmp_path)):
        with pytest.raises(CacheFormatError, match="left untouched"):
            open_it()
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("content", [b"foreign\n", b'{"_default": {}}'])
def test_foreign_log(place, content):
    """A log that is none is refused, and stays as it is."""
    place.write_log(content)
    with pytest.raises(CacheFormatError, match="left untouched"):
        open_database(place.files())
    assert place.read_log() == content


def test_folder_in_the_place_of_the_log(tmp_path):
    """A folder that has the name of a log is refused, and stays."""
    (tmp_path / NAME).mkdir()
    with pytest.raises(CacheFormatError):
        open_database(DiskFiles(str(tmp_path)))
    assert list(tmp_path.iterdir()) == [tmp_path / NAME]


def test_huge_log_of_zeros(tmp_path):
    """A log of zeros that is too large to be one that was being made is refused without being read."""
    with (tmp_path / NAME).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CacheFormatError, match="left untouched"):
        open_database(DiskFiles(str(tmp_path)))


def test_file_in_the_place_of_the_folder(tmp_path):
    """A file in the place of a cache is refused, and stays as it is."""
    file = tmp_path / "file"
    file.write_bytes(b"content")
    with pytest.raises(CacheFormatError, match="left untouched"):
        BufferMetadataCache(file)
    assert file.read_bytes() == b"content"


def test_newer_version(place):
    """A cache of a newer version is refused and stays as it is."""
    insert(open_database(place.files()), {})
    first_line, rest = place.read_log().split(b"\n", 1)
    start = first_line.replace(b'"format":1', b'"format":2')[: first_line.index(b',"checksum"')]
    newer = start + b',"checksum":"%08x"}\n' % crc32(start) + rest
    place.write_log(newer)
    with pytest.raises(CacheFormatError, match="update bufcache"):
        open_database(place.files())
    assert place.read_log() == newer


@pytest.mark.parametrize("name", ["lock", "owner.json"])
def test_folder_without_a_log(tmp_path, name):
    """A folder in which a first writer had not come to its log is an empty cache."""
    (tmp_path / name).write_bytes(b"")
    database = open_database(DiskFiles(str(tmp_path)))
    assert contents(database) == {}
    insert(database, {})
    assert list(reopened_in(tmp_path)[NOTES]) == [1]


def reopened_in(path):
    return contents(open_database(DiskFiles(str(path))))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b"garbage",
        b'["notes"]',
        b'["notes",1,5]',
        b'["notes",1,{},{}]',
        b'["notes","1",{}]',
        b'["notes",1.5,{}]',
        b'["notes",true,{}]',
        b"[1,1,{}]",
        b'["notes",18446744073709551615,{}]',
        b'["notes",99999999999999999999,{}]',
        b'["notes",1,{"a":"\xff"}]',
        b"[" * 2000,
    ],
    ids=lambda line: repr(line)[:40],
)
def test_line_that_is_no_document(place, line):
    """A commit that verifies and holds no documents is an error of our own, each time."""
    Log(place.files()).append([b'["other",1,{}]', line])
    for _ in range(2):
        with pytest.raises(CacheFormatError):
            open_database(place.files())


# -- damage -----------------------------------------------------------------------------------------------------------


def damage(place, part, other):
    """Overwrite a part of the log that stands in it once."""
    content = place.read_log()
    assert content.count(part) == 1
    assert len(part) == len(other)
    place.write_log(content.replace(part, other))


@pytest.fixture
def notes(place):
    """Return a database of three notes, a commit each."""
    database = open_database(place.files())
    for number in (1, 2, 3):
        insert(database, {"text": f"note {number}"})
    return database


def test_damaged_commit(place, notes):
    """Who opens a log with damage in it is warned once and gets all that is whole."""
    damage(place, b"note 2", b"note 7")
    with pytest.warns(UserWarning, match="1 commits are lost"):
        database = open_database(place.files())
    assert list(contents(database)[NOTES]) == [1, 3]
    assert insert(database, {"text": "note 4"}) == 4
    assert list(contents(database)[NOTES]) == [1, 3, 4]
    [problem] = database.problems()
    assert "damaged" in problem


@pytest.mark.parametrize("other", [b"note 7", b'note"2', b"\0\0\0\0\0\0"])
def test_damage_under_an_open_database(place, notes, other):
    """A document that was damaged after it had been read is an error, and others are given."""
    damage(place, b"note 2", other)
    assert notes.document(NOTES, 1)["text"] == "note 1"
    with pytest.raises(CacheFormatError, match="document 2 of notes"):
        notes.document(NOTES, 2)
    assert len(notes.problems()) > 0


def test_problems_of_a_sound_store(notes):
    """A sound store has no problems."""
    assert notes.problems() == []


def test_problem_of_a_torn_tail(place, notes):
    """A commit that was not finished is told until it has been cut off."""
    place.write_log(place.read_log() + b'{"commit":4')
    [problem] = notes.problems()
    assert "11 bytes at the end are of a commit that was not finished" in problem
    insert(notes, {})
    assert notes.problems() == []


def test_problem_of_damage(place, notes):
    """Damage is told, also where it lies in a commit that a later one has replaced."""
    notes.commit([Edit(NOTES, 2, {"text": "other"})])
    damage(place, b"note 2", b"note 7")
    [problem] = notes.problems()
    assert "1 commits are lost" in problem


def test_problem_of_the_first_line(place, notes):
    """A first line that was damaged is told."""
    damage(place, b'"generation":1', b'"generation":3')
    [problem] = notes.problems()
    assert "first line" in problem


@pytest.mark.parametrize(("table", "document"), [(NOTES, {"number": 2}), ("other", {"number": 2})])
def test_problem_of_another_log(place, table, document):
    """It is told when what is held is not what the log says."""
    database, other = open_database(place.files()), InMemory()
    insert(database, {"number": 1}, table)
    insert(open_database(other.files()), document, table)
    place.write_log(other.read_log())
    assert len(database.problems()) > 0


def test_problem_of_a_wrong_column(place):
    """It is told when a column is not what the documents say."""
    database = open_database(place.files())
    insert(database, {"number": 1})
    database.table(NOTES).tail.column(Note.number).values.array[0] = 2
    [problem] = database.problems()
    assert "number" in problem


def test_problem_of_missing_documents(place):
    """It is told when the documents that are held are not those in the log."""
    database, other = open_database(place.files()), InMemory()
    database.commit([Edit(NOTES, 1, {})])
    open_database(other.files()).commit([Edit(NOTES, 2, {})])
    place.write_log(other.read_log())
    assert len(database.problems()) > 0


def test_problem_of_a_wrong_id(place):
    """It is told when a document says that it is another."""
    Log(place.files()).append([b'["notes",1,{"id":2}]', b'["notes",3,{}]', b'["other",4,{"id":5}]'])
    problems = open_database(place.files()).problems()
    assert problems == [f"notes: document {id} says that it is another" for id in (1, 3)]


# -- processes and threads --------------------------------------------------------------------------------------------


def test_processes_in_turn(tmp_path):
    """Two processes that write in turn see what the other one did, and give no id twice."""
    place = OnDisk(tmp_path / "store")
    database = open_database(place.files())
    with OtherProcess(place.path) as other:
        for number in range(0, 10, 2):
            assert insert(database, {"number": number}) == number + 1
            assert other.ask("numbers") == list(range(number + 1))
            assert other.ask("insert", {"number": number + 1}) == number + 2
            assert list(contents(database)[NOTES]) == list(range(1, number + 3))
    assert [note["number"] for note in reopened(place)[NOTES].values()] == list(range(10))


def run_together(*functions):
    """Run functions in a thread each, and raise what one of them raises."""
    errors = []

    def run(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[function]) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error


@pytest.mark.parametrize("has_handles_of_their_own", [False, True])
def test_threads(place, has_handles_of_their_own):
    """Threads that write, ask and rewrite the log do not disturb each other, nor do they see half a commit."""
    count = 5 if has_handles_of_their_own else 25
    shared = open_database(place.files(), lock_timeout=60)
    # Memory is one handle's own: others have nothing that they could lock, and do not keep a log open that is removed.
    is_borrowed = has_handles_of_their_own and isinstance(place, InMemory)
    lock = threading.Lock() if is_borrowed else nullcontext()

    def write():
        database = open_database(place.files(), lock_timeout=60) if has_handles_of_their_own else shared
        for number in range(count):
            with lock, database.writing():
                id = database.next_id(NOTES)
                database.commit([Edit(NOTES, id, {"number": number}), Edit("other", id, {"number": number})])

    def ask():
        for _ in range(count):
            with lock:
                tables = contents(shared)
            numbers = [[document["number"] for document in tables.get(table, {}).values()] for table in TABLES]
            assert numbers[0] == numbers[1]

    def rewrite():
        for _ in range(5):
            shared.compact()

    run_together(write, ask, write, ask, write, *([] if is_borrowed else [rewrite]))
    numbers = [note["number"] for note in reopened(place)[NOTES].values()]
    assert sorted(numbers) == sorted(3 * [*range(count)])
    assert shared.problems() == []


@pytest.mark.parametrize("is_torn", [False, True])
@pytest.mark.parametrize("method", ["append", "publish"])
def test_threads_ask_while_the_log_is_rewritten(place, monkeypatch, method, is_torn):
    """While one thread writes a new log and its columns others are answered, also where they read the old one anew."""
    files = place.files()
    database, write = open_database(files), getattr(files, method)
    insert(database, {"number": 1})
    is_writing, may_go_on = threading.Event(), threading.Event()

    def write_late(name, *arguments):
        if name == name_of(2) or name.startswith("columns/2-"):
            is_writing.set()
            assert may_go_on.wait(10)
        write(name, *arguments)

    monkeypatch.setattr(files, method, write_late)
    thread = threading.Thread(target=database.compact)
    thread.start()
    try:
        assert is_writing.wait(10)
        database._is_torn = is_torn
        assert contents(database) == {NOTES: {1: {"number": 1, "id": 1}}}
        assert name_of(1) in files.names()
        assert not may_go_on.is_set()
    finally:
        may_go_on.set()
        thread.join()
    insert(database, {"number": 2})
    assert contents(database) == reopened(place) == {NOTES: {id: {"number": id, "id": id} for id in (1, 2)}}
    assert database.problems() == []
    assert name_of(1) not in files.names()


def test_killed_processes(tmp_path):
    """Whenever a process that writes is killed: what it had committed is there, and at most one commit more."""
    place = OnDisk(tmp_path / "store")
    generator = random.Random(1)
    expected = {}
    for number in range(10):
        document = {"number": number, "text": "x" * generator.choice([10, 10_000, 200_000])}
        with OtherProcess(place.path) as other:
            other.tell("insert for ever", document)
            ids = [other.hear()]
            time.sleep(generator.uniform(0, 0.05))
            ids += other.kill()
        assert ids == list(range(len(expected) + 1, len(expected) + 1 + len(ids)))
        expected |= {id: {**document, "id": id} for id in ids}
        database = open_database(place.files())
        found = contents(database)[NOTES]
        unacknowledged = {id: {**document, "id": id} for id in found.keys() - expected}
        assert unacknowledged.keys() <= {ids[-1] + 1}
        expected |= unacknowledged
        assert found == expected
        assert all("not finished" in problem for problem in database.problems())
        database.close()
    database = open_database(place.files())
    assert insert(database, {}) == len(expected) + 1
    assert database.problems() == []


# -- everything together ----------------------------------------------------------------------------------------------


class Store(RuleBasedStateMachine):
    """A store with two handles, which in any order of events holds what a dict holds."""

    def __init__(self):
        super().__init__()
        self.expected = {table: {} for table in TABLES}
        self.ids = dict.fromkeys(TABLES, 0)
        self.folder = tempfile.TemporaryDirectory()
        self.place = self.new_place()
        self.open()

    def new_place(self):
        return InMemory()

    def open(self):
        self.database, self.other = (open_database(self.place.files()) for _ in range(2))

    def close(self):
        self.database.close()
        self.other.close()

    def commit(self, table, changes):
        """Commit documents by id, and note them."""
        self.database.commit(Edit(table, id, document) for id, document in changes.items())
        for id, document in changes.items():
            self.expected[table].pop(id, None)
            if document is not None:
                self.expected[table][id] = with_id(table, id, document)

    @rule(table=st.sampled_from(TABLES), documents=st.lists(documents, min_size=1, max_size=3))
    def insert(self, table, documents):
        with self.database.writing():
            first = self.database.next_id(table)
            assert first > self.ids[table]
            self.commit(table, dict(enumerate(documents, first)))
        self.ids[table] = self.database.next_id(table) - 1

    @rule(table=st.sampled_from(TABLES), document=documents, data=st.data())
    def update(self, table, document, data):
        if self.expected[table]:
            self.commit(table, {data.draw(st.sampled_from(list(self.expected[table]))): document})

    @rule(table=st.sampled_from(TABLES), data=st.data())
    def remove(self, table, data):
        if self.expected[table]:
            ids = data.draw(st.sets(st.sampled_from(list(self.expected[table])), min_size=1))
            self.commit(table, dict.fromkeys(ids))

    @rule(table=st.sampled_from(TABLES))
    def refuse(self, table):
        with pytest.raises(InvalidArgumentError):
            self.database.commit([Edit(table, 1, {}), Edit(table, 2, {"a": object()})])

    @rule()
    def use_the_other_handle(self):
        self.database, self.other = self.other, self.database

    @rule()
    def reopen(self):
        self.database.close()
        self.database = open_database(self.place.files())

    @rule(table=st.sampled_from(TABLES), document=documents, share=st.floats(0, 1, exclude_max=True))
    def crash_while_inserting(self, table, document, share):
        insert(self.database, document, table)
        content = self.place.read_log()
        start = content.rindex(b'{"commit"')
        self.place.write_log(content[: start + int(share * (len(content) - start))])
        self.close()
        self.open()

    @invariant()
    def holds_what_is_expected(self):
        expected = {table: dict(sorted(held.items())) for table, held in self.expected.items() if held}
        assert contents(self.database) == contents(self.other) == expected

    def teardown(self):
        insert(self.database, {}, "last")  # cuts off a torn tail
        assert self.database.problems() == self.other.problems() == []
        self.close()
        self.folder.cleanup()


class StoreOnDisk(Store):
    """The same on disk."""

    def new_place(self):
        return OnDisk(Path(self.folder.name) / "store")


TestStore = Store.TestCase
TestStore.settings = settings(stateful_step_count=20)
TestStoreOnDisk = StoreOnDisk.TestCase
TestStoreOnDisk.settings = settings(max_examples=settings().max_examples // 5, stateful_step_count=20)
