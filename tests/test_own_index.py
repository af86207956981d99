"""The index of own documents: however it was kept up, it says what the log says."""

import tracemalloc
from contextlib import suppress

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import NAME, NOTES, OTHER, OWN, SCHEMAS, KeptMemory, Note, Own, commit_batch, limit, open_database

from bufcache.buffer_metadata_cache.store.database import Edit
from bufcache.buffer_metadata_cache.store.own_index import OwnIndex
from bufcache.buffer_metadata_cache.store.state import State
from bufcache.errors import CacheFormatError

FIELDS = list(Own.__fields__.values())


class Rotting(KeptMemory):
    """Files of which bytes are lost."""

    def rot(self, name, start, stop):
        for place in range(start, stop):
            self._files[name][place] = 0

    def rot_at(self, name, share):
        """Change some bytes, but not those of the line that names the format."""
        start = 120 if name.startswith("documents") else 0
        place = start + int(share * max(0, self.size(name) - start))
        self.rot(name, place, min(place + 20, self.size(name)))

    def logs(self):
        return [name for name in self.names() if name.startswith("documents")]

    def columns(self):
        return [f"columns/{name}" for name in self.names("columns")]


@pytest.fixture
def files(monkeypatch):
    """Return files in which segments are written of a few documents."""
    limit(monkeypatch)
    return Rotting()


def told(index):
    """Return what an index says of each document."""
    rows = zip(*index.take(index.rows, FIELDS), strict=True)
    return {values[0]: list(values) for values in rows}


def assert_follows(own, state):
    """Assert that each document is there as its line says, and beside them only such whose line rotted since."""
    stored, found = state.table(OWN), told(own.follow(state))
    lines = zip(stored.ids, state.lines(OWN, stored.rows), strict=True)
    said = {id: line and {**orjson.loads(line)[2], "id": id} for id, line in lines}
    whole = {id: [field.of(document) for field in FIELDS] for id, document in said.items() if document}
    assert {id: values for id, values in found.items() if id in whole} == whole
    assert found.keys() <= said.keys()
    assert told(OwnIndex(OWN, Own.__fields__).follow(state)) == whole


IDS = st.integers(1, 6)
DOCUMENTS = st.fixed_dictionaries({}, optional={"weight": st.sampled_from([0.5, 2.0]), "label": st.text("ab")})
EDITS = st.builds(Edit, st.sampled_from([OWN, OWN, OTHER]), IDS, st.none() | DOCUMENTS)
SHARES = st.floats(0, 1, exclude_max=True)
STEPS = st.one_of(
    st.tuples(st.just("commit"), st.lists(EDITS, min_size=1, max_size=3)),
    st.tuples(st.just("batch"), st.dictionaries(IDS, st.just({}), min_size=1)),
    st.tuples(st.sampled_from(["ask", "ask", "flush", "compact", "reopen", "look"]), st.none()),
)
ROT = st.tuples(st.sampled_from(["rot the log", "rot columns"]), SHARES)


def do(database, files, step, value):
    match step:
        case "commit":
            database.commit(value)
        case "batch":
            commit_batch(database, value)
        case "flush":
            with database.writing():
                database._state.flush()
        case "compact":
            database.compact()
        case "reopen":
            database._state = State(files, SCHEMAS)
        case "look":
            database._state.verify()
        case "rot the log":
            files.rot_at(files.logs()[-1], value)
        case "rot columns":
            for name in files.columns():
                files.rot_at(name, value)
            database._state = State(files, SCHEMAS)  # what was looked at before does not rot any more


def follow_along(steps, *errors):
    """Do steps, of which some may raise errors, and ask an index that is kept up when it is to be asked, and last."""
    files = Rotting()
    with pytest.MonkeyPatch.context() as patch:
        limit(patch)
        database, own = open_database(files), OwnIndex(OWN, Own.__fields__)
        database.commit([Edit(OWN, 1, {"weight": 1.0}), Edit(OTHER, 1, {})])
        for step, value in [*steps, ("ask", None), ("reopen", None), ("ask", None)]:
            with suppress(*errors):
                do(database, files, step, value)
                if step == "ask":
                    assert_follows(own, database._state)


@given(st.lists(STEPS, max_size=15))
@settings(max_examples=settings().max_examples * 3)
def test_an_index_that_is_kept_up(steps):
    """After any commits, removals, flushes, compactions and reopenings it is as one that is made anew."""
    follow_along(steps)


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(st.lists(STEPS | ROT, max_size=20))
@settings(max_examples=settings().max_examples * 3)
def test_an_index_that_is_kept_up_while_files_rot(steps):
    """Whatever rots meanwhile, in the log and in columns, each document is as its line says, and none is left over."""
    follow_along(steps, CacheFormatError)  # which tells of damage; the next step goes on


def test_documents_that_are_lost_while_damage_is_mended(files):
    """Where columns are made anew from a log that is damaged, too, what is lost is lost to an index that had it."""
    database = open_database(files)
    database.commit([Edit(OWN, 1, {"label": "one"}), Edit(OWN, 2, {"label": "two"})])
    database.commit([Edit(NOTES, 1, {"text": "mouldy"}), Edit(OWN, 2, {"label": "zwei"}), Edit(OWN, 3, {})])
    rot_text(files, files.columns()[1], b"mouldy")
    state, own = State(files, SCHEMAS), OwnIndex(OWN, Own.__fields__)
    assert told(own.follow(state)) == {1: [1, None, "one"], 2: [2, None, "zwei"], 3: [3, None, None]}
    rot_text(files, NAME, b"zwei")
    with pytest.raises(CacheFormatError, match="and so is the log there"):
        state.table(NOTES).match(Note.text == "mouldy")
    assert told(own.follow(state)) == {1: [1, None, "one"], 3: [3, None, None]}
    from_log = State(files, SCHEMAS, uses_segments=False)  # in which what was lost hides nothing
    assert told(own.follow(from_log)) == {1: [1, None, "one"], 2: [2, None, "two"]}


def test_another_commit_in_the_place_of_one_that_was_damaged(files):
    """Where the last commit was damaged, and was cut off by the next writer, what stands in its place now counts."""
    database, own = open_database(files), OwnIndex(OWN, Own.__fields__)
    database.commit([Edit(OWN, 1, {"label": "one"})])
    own.follow(database._state)
    rot_text(files, NAME, b"one")
    database._state = State(files, SCHEMAS)
    database.commit([Edit(OWN, 1, {"label": "eins"})])
    assert told(own.follow(database._state)) == {1: [1, None, "eins"]}


def test_what_was_changed_by_half_is_made_anew(files, monkeypatch):
    """Where taking over is interrupted, as by Ctrl-C, nothing is left of it."""
    database, own = open_database(files), OwnIndex(OWN, Own.__fields__)
    database.commit([Edit(OWN, 1, {"label": "one"})])
    own.follow(database._state)
    database.commit([Edit(OWN, 1, {"label": "eins"}), Edit(OWN, 2, {"label": "zwei"})])

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bufcache.buffer_metadata_cache.texts.GrowingTexts.add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            own.follow(database._state)
    assert_follows(own, State(files, SCHEMAS))


@pytest.mark.parametrize(
    ("edits", "most"),
    [
        ([], 10_000),
        ([Edit(OTHER, 1, {})], 10_000),
        ([Edit(OWN, 2, {"label": "other"})], 100_000),
    ],
    ids=["no commit", "of another table", "of this table"],
)
def test_what_a_commit_costs(edits, most):
    """After a commit to another table nothing is read; after one to this table no list of all documents is made."""
    database, own = open_database(KeptMemory()), OwnIndex(OWN, Own.__fields__)
    database.commit(Edit(OWN, id, {"label": f"label {id}"}) for id in range(1, 5001))
    own.follow(database._state)
    database.commit(edits)
    tracemalloc.start()
    own.follow(database._state)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < most
    assert_follows(own, database._state)


def rot_text(files, name, text):
    start = files.read(name, 0, files.size(name)).index(text)
    files.rot(name, start, start + len(text))
