"""Damage: whatever bytes of a log or of columns are lost, no answer is wrong, and what can be saved is."""

import itertools
import warnings

import pytest
from stores import (
    NAME,
    NOTES,
    OTHER,
    OWN,
    KeptMemory,
    Note,
    after,
    contents,
    do,
    insert,
    limit,
    note,
    open_database,
)

from bufcache.buffer_metadata_cache.store.database import Edit
from bufcache.buffer_metadata_cache.store.log import Log
from bufcache.errors import CacheFormatError

STEPS = [
    [note(1, number=1, text="one"), note(2, number=2, text="two")],
    [Edit(NOTES, 2, None), note(3, number=-3)],
    {4: {"number": 4, "text": "vier"}, 5: {"number": 5, "text": "fünf"}},
    [note(1, number=10), Edit(OTHER, 1, {"a": 1})],
    [note(3, number=2**60, text="drei"), note(6, text="six")],
]
EXPECTED = list(itertools.accumulate(STEPS, after, initial={}))
PATTERNS = (0x01, 0x80, 0xFF)


class Changed(KeptMemory):
    """Files of which one has other bytes."""

    def __init__(self, files, name, content):
        super().__init__()
        self._files = {**{each: bytearray(files[each]) for each in files}, name: bytearray(content)}


@pytest.fixture
def files(monkeypatch):
    """Return the files of a store with two segments and a tail: names and bytes."""
    limit(monkeypatch, flushed=4)
    kept = KeptMemory()
    database = open_database(kept)
    for step in STEPS:
        do(database, step)
    found = {name: bytes(kept.read(name, 0, kept.size(name))) for name in (NAME, *columns(kept))}
    assert len(found) == 3
    return found


def columns(files):
    return [f"columns/{name}" for name in files.names("columns")]


def opened(files):
    """Return a database, and whether it has warned of damage."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        database = open_database(files)
    return database, bool(told)


# -- the log ----------------------------------------------------------------------------------------------------------


def commits_of(files):
    """Return where each commit of the log ends."""
    log = Log(Changed(files, NAME, files[NAME]))
    return [commit.position.end for commit in log.read_on()]


def salvaged(ends, position):
    """Return the documents of all commits but the one in which a byte is damaged; of all, if it is in none."""
    damaged = next((number for number, end in enumerate(ends) if position < end), None)
    tables = {}
    for number, step in enumerate(STEPS):
        if number != damaged:
            tables = after(tables, step)
    return tables


def test_every_byte_of_a_log_alone(files):
    """Without columns all commits but the damaged one are there, and the loss of one is told unless it was the last."""
    ends = commits_of(files)
    start = files[NAME].index(b"\n") + 1
    for position, pattern in zip(range(start, len(files[NAME])), itertools.cycle(PATTERNS)):
        database, is_told = opened(Changed({}, NAME, flipped(files[NAME], position, pattern)))
        assert contents(database) == salvaged(ends, position)
        assert is_told == (position < ends[-2])
        assert len(database.problems()) > 0


def flipped(content, position, pattern):
    changed = bytearray(content)
    changed[position] ^= pattern
    return bytes(changed)


def test_every_byte_of_a_log_with_columns(files):
    """With columns each document is right or an error, or it is told what is left; and what can be mended is."""
    ends = commits_of(files)
    wanted = EXPECTED[-1]
    for position, pattern in zip(range(len(files[NAME])), itertools.cycle(PATTERNS)):
        changed = Changed(files, NAME, flipped(files[NAME], position, pattern))
        database, is_told = opened(changed)
        is_whole = answers(database) == wanted[NOTES]
        assert is_whole or is_told or position >= ends[-2]
        tables = wanted if is_whole else salvaged(ends, position)
        damaged = [pair for pair in identified(tables) if not is_right(database, tables, *pair)]
        assert all(place_of(database, *pair).offset <= position < end_of(database, *pair) for pair in damaged)
        assert database.mend() != []
        assert database.problems() == []
        found = contents(database)
        assert found[NOTES] == tables[NOTES]
        assert found.keys() == tables.keys() or (OTHER, 1) in damaged


def identified(tables):
    return [(table, id) for table, documents in tables.items() for id in documents]


def answers(database):
    """Return the notes that the columns hold."""
    with database.reading():
        index = database.table(NOTES)
        names = [field.name for field in Note.__fields__.values()]
        rows = zip(*index.take(index.rows, Note.__fields__.values()), strict=True)
        notes = [dict(zip(names, row, strict=True)) for row in rows]
    return {note["id"]: {name: value for name, value in note.items() if value is not None} for note in notes}


def is_right(database, tables, table, id):
    try:
        assert database.document(table, id) == tables[table][id]
    except CacheFormatError:
        return False
    return True


def place_of(database, table, id):
    return database._state.table(table).place(id)


def end_of(database, table, id):
    place = place_of(database, table, id)
    return place.offset + place.length


def test_every_cut_of_a_log(files):
    """A log that was cut at any byte has the commits before it; that more is missing than a tail is told by columns."""
    ends = commits_of(files)
    last = max(int(name.split("-")[2].removesuffix(".npz")) for name in files if name != NAME)
    for size in range(len(files[NAME])):
        database, is_told = opened(Changed(files, NAME, files[NAME][:size]))
        assert contents(database) == EXPECTED[sum(end <= size for end in ends)]
        if size > files[NAME].index(b"\n"):
            assert is_told == (size < last)
            assert database.next_id(NOTES) >= 6 - (size < ends[-1] and size >= last)


# -- columns ----------------------------------------------------------------------------------------------------------


def assert_rebuilt(changed):
    """Ask, write columns, and ask another time: the answers are right, and in the end the columns are sound."""
    database, is_told = opened(changed)
    assert not is_told
    assert contents(database) == EXPECTED[-1]
    assert answers(database) == EXPECTED[-1][NOTES]
    do(database, {7: {"number": 7}, 8: {"number": 8}, 9: {}})
    database.mend()
    database, _ = opened(changed)
    assert contents(database) == after(EXPECTED[-1], {7: {"number": 7}, 8: {"number": 8}, 9: {}})
    assert database.problems() == []


@pytest.mark.parametrize("number", [0, 1])
def test_every_byte_of_columns(files, number):
    """With any byte of a segment flipped every answer is right."""
    name = sorted(files)[number]
    for position, pattern in zip(range(len(files[name])), itertools.cycle(PATTERNS)):
        changed = Changed(files, name, flipped(files[name], position, pattern))
        database, is_told = opened(changed)
        assert not is_told
        assert contents(database) == EXPECTED[-1]
        if position % 25 == 0:
            assert_rebuilt(changed)


def test_every_cut_of_columns(files):
    """With a segment cut at any byte every answer is right, and it is written anew."""
    name = sorted(files)[0]
    for size in range(0, len(files[name]), 17):
        assert_rebuilt(Changed(files, name, files[name][:size]))


@pytest.mark.parametrize(
    "content", [b"", b"PK", bytes(1000), b"\xff" * 70000, "another's"], ids=lambda each: repr(each)[:12]
)
def test_foreign_columns(files, content):
    """A segment that is none, or another's, is not used."""
    first, second = sorted(files)[:2]
    assert_rebuilt(Changed(files, first, files[second] if content == "another's" else content))


def test_columns_of_another_time(files):
    """Where a log was brought back from an earlier time and went on otherwise, columns of before are not used."""
    start = files[NAME].index(b"\n") + 1
    other = Changed({}, NAME, files[NAME][:start])
    database, expected = open_database(other), {}
    for step in STEPS:
        edits = [edit._replace(document=edit.document and {**edit.document, "text": "zzz"}) for edit in as_edits(step)]
        if isinstance(step, list):
            do(database, edits)
        else:
            do(database, {edit.id: edit.document for edit in edits})
        expected = after(expected, edits)
    log = other.read(NAME, 0, other.size(NAME))
    for name in sorted(files)[:2]:
        start, end = name.removesuffix(".npz").split("-")[1:]
        renamed = {f"columns/1-{start}-{size}.npz": files[name] for size in (end, len(log))}
        database, _ = opened(Changed(renamed, NAME, log))
        assert contents(database) == expected


def test_missing_columns(files):
    """Columns may be deleted: they follow from the log."""
    for names in ([], [sorted(files)[0]], [sorted(files)[1]]):
        assert_rebuilt(Changed({name: files[name] for name in names}, NAME, files[NAME]))


def damaged_array(content, array=b"\x93NUMPY"):
    """Return a segment of which the bytes of all arrays are other ones."""
    changed, start = bytearray(content), 0
    while (start := content.find(array, start)) >= 0:
        first = start + 10 + int.from_bytes(content[start + 8 : start + 10], "little")
        end = content.find(b"PK", first)
        for position in range(first, end):
            changed[position] ^= 0x55
        start = end
    return bytes(changed)


def store_of_segments(step_of):
    """Return the documents and the files of a store with thirty segments."""
    kept, expected = KeptMemory(), {}
    database = open_database(kept)
    for number in range(30):
        do(database, step_of(number))
        expected = after(expected, step_of(number))
    files = {name: bytes(kept.read(name, 0, kept.size(name))) for name in (NAME, *columns(kept))}
    assert len(files) == 31
    return expected, files


def with_damaged_arrays(files):
    return Changed(
        {name: content if name == NAME else damaged_array(content) for name, content in files.items()},
        NAME,
        files[NAME],
    )


def test_all_segments_are_damaged(monkeypatch):
    """However many segments turn out to be damaged while a store is opened, the answers are those of the log."""
    limit(monkeypatch, merged=100, worth_compacting=1 << 20)
    expected, files = store_of_segments(
        lambda number: [note(number % 7, number=number), note(100 + number), Edit(OWN, number % 5, {})]
    )
    assert contents(open_database(with_damaged_arrays(files))) == expected


@pytest.mark.parametrize(
    "ask",
    [
        lambda database: database.document(NOTES, 3),
        lambda database: 3 in database.table(NOTES),
        lambda database: database.table(NOTES).match(Note.number > 3),
        lambda database: database.table(NOTES).match(Note.text == "text 3"),
        lambda database: database.table(NOTES).sort(database.table(NOTES).rows, [Note.text.desc()]),
        lambda database: insert(database, {"number": 1}),
        lambda database: do(database, {100: {}, 101: {}}),
        lambda database: do(database, {3: {}, 40: {}, 400: {}}),
        lambda database: do(database, [note(3), Edit(NOTES, 40, None)]),
        lambda database: database.compact(),
        lambda database: database.mend(),
        lambda database: database.close(),
    ],
)
def test_whatever_meets_the_damage(monkeypatch, ask):
    """Whoever first looks at bytes of segments that are damaged, also to merge them, gets what the log says."""
    limit(monkeypatch, merged=100, worth_compacting=1 << 20)
    expected, files = store_of_segments(lambda number: [note(2 * number), note(2 * number + 1, text=f"text {number}")])
    limit(monkeypatch, merged=3)
    damaged = with_damaged_arrays(files)
    database = open_database(damaged)
    ask(database)
    again = open_database(damaged)
    found = contents(again)
    assert expected[NOTES].keys() - found[NOTES].keys() <= {40}
    assert again.mend() is not None
    assert contents(again) == contents(open_database(damaged)) == found
    assert again.problems() == []


def damaged_in_both(monkeypatch):
    """Return what stood in a store, its files with damaged columns and a damaged document in the log, and the store."""
    limit(monkeypatch, merged=100, worth_compacting=1 << 20)
    expected, files = store_of_segments(lambda number: [note(2 * number), note(2 * number + 1, text=f"text {number}")])
    damaged = with_damaged_arrays(files)
    database = open_database(damaged)
    damaged._files[NAME][files[NAME].index(b"text 1")] ^= 1
    return expected, damaged, database


@pytest.mark.filterwarnings("ignore:.*damaged")
@pytest.mark.parametrize("step", [[note(2, number=-2), note(70)], {2: {"number": -2}, 70: {}}], ids=["commit", "batch"])
def test_a_commit_that_meets_damage_of_both(monkeypatch, step):
    """Where columns and log are damaged at a document that is changed, that is told, and the change holds."""
    expected, damaged, database = damaged_in_both(monkeypatch)
    with pytest.raises(CacheFormatError, match="and so is the log there"):
        do(database, step)
    found = contents(database)
    assert found == contents(open_database(damaged)) == after(expected, [Edit(NOTES, 3, None), *as_edits(step)])
    insert(database, {})
    assert contents(database) == contents(open_database(damaged))


@pytest.mark.filterwarnings("ignore:.*damaged")
def test_compact_meets_damage_of_both(monkeypatch):
    """Where columns and log are damaged at a document that is told; all else can then be rewritten."""
    expected, damaged, database = damaged_in_both(monkeypatch)
    with pytest.raises(CacheFormatError, match="and so is the log there"):
        database.compact()
    assert [name for name in damaged.names() if name.startswith("documents")] == [NAME]
    database.compact()
    left = after(expected, [Edit(NOTES, 2, None), Edit(NOTES, 3, None)])
    assert contents(database) == contents(open_database(damaged)) == left
    assert database.problems() == []


def as_edits(step):
    return step if isinstance(step, list) else [note(id, **document) for id, document in step.items()]


def test_columns_that_the_disk_spoils(monkeypatch):
    """Where every segment that is written comes back wrong, commits and answers are right all the same."""

    class Spoiling(KeptMemory):
        def publish(self, name, write):
            super().publish(name, write)
            self._files[name][:] = damaged_array(bytes(self._files[name]))

    limit(monkeypatch, merged=3)
    files, expected = Spoiling(), {}
    database = open_database(files)
    for step in [*STEPS, *STEPS]:
        do(database, step)
        expected = after(expected, step)
        assert contents(database) == contents(open_database(files)) == expected
