"""Any order of events: two handles that write in turn, a reader, crashes, damage; a dict says what must be there."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from stores import NAME, NOTES, OTHER, OWN, Note, OnDisk, Own, commit_batch, contents, insert, limit, open_database

from bufcache.buffer_metadata_cache.store import files as store_files
from bufcache.buffer_metadata_cache.store.database import Database, Edit
from bufcache.buffer_metadata_cache.store.log import generations, name_of

TABLES = (NOTES, OWN, OTHER)
NUMBERS = st.none() | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 127, 128, 2**15, 2**31, 2**63 - 1])
FLOATS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.none() | st.text(st.characters(codec="utf-8"), max_size=5) | st.sampled_from(["\0d800", "é", "ab" * 50])
IDS = st.integers(1, 12) | st.sampled_from([-5, 300, 2**40])

DOCUMENTS = {
    NOTES: st.fixed_dictionaries({}, optional={"number": NUMBERS, "text": TEXTS}),
    OWN: st.fixed_dictionaries({}, optional={"weight": FLOATS, "label": TEXTS}),
    OTHER: st.dictionaries(st.text("ab", max_size=2), st.lists(st.booleans() | TEXTS, max_size=2), max_size=2),
}
FIELDS = {NOTES: Note.number, OWN: Own.weight}


@st.composite
def edits(draw):
    table = draw(st.sampled_from(TABLES))
    return Edit(table, draw(IDS), draw(st.none() | DOCUMENTS[table]))


class Store(RuleBasedStateMachine):
    """A store on disk."""

    @initialize(flushed=st.sampled_from([2, 5, 2000]), merged=st.sampled_from([2, 3, 10]))
    def begin(self, flushed, merged):
        self.patch = pytest.MonkeyPatch()
        limit(self.patch, flushed=flushed, merged=merged)
        self.patch.setattr(store_files, "_sync", lambda writer: None)  # not what is tested here
        self.folder = tempfile.mkdtemp()
        self.place = OnDisk(Path(self.folder, "store"))
        self.expected = {table: {} for table in TABLES}
        self.largest = dict.fromkeys(TABLES, 0)
        self.open()

    def open(self):
        self.files = [self.place.files() for _ in range(3)]
        self.writer, self.other = map(open_database, self.files[:2])
        self.reader = open_database(self.files[2], is_read_only=True)

    def take(self, edits):
        for table, id, document in edits:
            self.expected[table].pop(id, None)
            self.largest[table] = max(self.largest[table], id)
            if document is not None:
                self.expected[table][id] = document if table == OTHER else {**document, "id": id}

    @rule(edits=st.lists(edits(), min_size=1, max_size=4))
    def commit(self, edits):
        self.writer.commit(edits)
        self.take(edits)

    @rule(table=st.sampled_from(TABLES), data=st.data())
    def add(self, table, data):
        document = data.draw(DOCUMENTS[table])
        id = insert(self.writer, document, table)
        assert id == self.largest[table] + 1
        self.take([Edit(table, id, document)])

    @rule(documents=st.dictionaries(IDS, DOCUMENTS[NOTES], min_size=1, max_size=5))
    def add_batch(self, documents):
        commit_batch(self.writer, documents)
        self.take(Edit(NOTES, id, document) for id, document in documents.items())

    @rule(data=st.data(), table=st.sampled_from(TABLES))
    def remove(self, data, table):
        if self.expected[table]:
            ids = data.draw(st.sets(st.sampled_from(list(self.expected[table])), min_size=1))
            self.commit([Edit(table, id, None) for id in ids])

    @rule(documents=st.lists(DOCUMENTS[NOTES], min_size=1, max_size=3))
    def write_in_turn(self, documents):
        """Change what the other handle has just changed, in one change of several commits."""
        with self.other.writing():
            for id, document in enumerate(documents, self.largest[NOTES] + 1):
                self.other.commit([Edit(NOTES, id, document)])
                self.take([Edit(NOTES, id, document)])

    @rule()
    def take_turns(self):
        self.writer, self.other = self.other, self.writer

    @rule()
    def flush(self):
        with self.writer.writing():
            self.writer._state.flush()

    @rule()
    def compact(self):
        self.writer.compact()

    @rule()
    def reopen(self):
        self.writer.close()
        self.writer = open_database(self.place.files())

    def die(self):
        for files in self.files:
            files.close()

    @rule(edits=st.lists(edits(), min_size=1, max_size=3), share=st.floats(0, 1, exclude_max=True))
    def crash(self, edits, share):
        """Die in the middle of a commit, and leave a part of it."""
        path = self.current_log()
        with pytest.MonkeyPatch.context() as patch:
            for name in ("_flush_where_due", "_compact_where_due"):
                patch.setattr(Database, name, lambda self: None)
            self.writer.commit(edits)
        whole = path.read_bytes()
        start = whole.rindex(b'{"commit"')
        path.write_bytes(whole[: start + int(share * (len(whole) - start))])
        self.die()
        self.open()

    def current_log(self):
        if NAME not in self.place.files().names() and not generations(self.place.files().names()):
            self.commit([Edit(OTHER, 1, {})])
        return self.place.path / name_of(generations(self.place.files().names())[-1])

    @rule(lost=st.integers(0, 2**8 - 1))
    def lose_columns(self, lost):
        """Delete some columns, or all, and open the store anew."""
        for number, path in enumerate(self.segments()):
            if lost & (1 << number % 8):
                path.unlink()
        self.die()
        self.open()

    @rule(number=st.integers(0, 20), share=st.floats(0, 1, exclude_max=True))
    def damage_columns(self, number, share):
        """Overwrite bytes of a segment, and open the store anew."""
        self.die()
        if paths := self.segments():
            path = paths[number % len(paths)]
            content = bytearray(path.read_bytes())
            start = int(share * len(content))
            content[start : start + 20] = bytes(len(content[start : start + 20]))
            path.write_bytes(content)
        self.open()

    def segments(self):
        return sorted((self.place.path / "columns").glob("*.npz"))

    @rule(table=st.sampled_from([NOTES, OWN]), value=st.integers(-2, 200))
    def ask(self, table, value):
        """Ask the columns of the reader what a plain loop over documents gives."""
        with self.reader.reading():
            index, field = self.reader.table(table), FIELDS[table]
            for question in (field >= value, field == value, ~(field < value), field.is_(None)):
                wanted = [id for id, document in sorted(self.expected[table].items()) if question(document)]
                assert index.ids_of(index.match(question)) == wanted

    @invariant()
    def holds_what_is_expected(self):
        expected = {table: dict(sorted(held.items())) for table, held in self.expected.items() if held}
        assert contents(self.writer) == contents(self.reader) == expected
        for table in TABLES:
            assert self.reader.next_id(table) == self.largest[table] + 1

    @precondition(lambda self: hasattr(self, "place"))
    @rule()
    def check(self):
        told = self.writer.problems()
        assert [each for each in told if "not finished" not in each and "not used" not in each] == []

    def teardown(self):
        if not hasattr(self, "place"):
            return
        try:
            self.writer.mend()
            assert self.writer.problems() == self.reader.problems() == []
            self.holds_what_is_expected()
            for database in (self.writer, self.other, self.reader):
                database.close()
        finally:
            self.patch.undo()
            shutil.rmtree(self.folder)


TestStoreMachine = Store.TestCase
TestStoreMachine.settings = settings(stateful_step_count=25, max_examples=max(60, settings().max_examples // 10))
