"""Every state in which a crash may leave a store: it is opened, and has what was committed."""

import logging

import pytest
from crashes import FilesLeft, TracedFiles, crash_states
from stores import NOTES, Note, contents, insert, open_database

from bufcache.buffer_metadata_cache.parts import encoded
from bufcache.buffer_metadata_cache.store import database as database_module
from bufcache.buffer_metadata_cache.store import state as state_module
from bufcache.buffer_metadata_cache.store.database import Edit
from bufcache.buffer_metadata_cache.store.log import encode

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def in_small(monkeypatch, caplog):
    """Let columns be written, merged and logs rewritten after a few documents, and log nothing of it."""
    caplog.set_level(logging.ERROR)
    for name, value in (("FLUSH_SIZE", 4), ("_MERGED", 3), ("_COMMITTED", 3), ("_COMPACTED", 2), ("_LARGEST_TAIL", 3)):
        monkeypatch.setattr(state_module, name, value)
    monkeypatch.setattr(database_module, "FLUSH_SIZE", 4)
    monkeypatch.setattr(state_module, "_WORTH_COMPACTING", 1200)


class Story:
    """What happens to a store: its operations, and what stood in it after each commit."""

    def __init__(self):
        self.files = TracedFiles()
        self.database = open_database(self.files)
        self.versions = [{}]
        self.began, self.ended = [0], [0]
        """The number of operations before and after each commit."""

    def commit(self, *edits):
        self._note(lambda: self.database.commit([Edit(*edit) for edit in edits]))

    def commit_batch(self, documents):
        """Commit whole notes with their columns."""
        ids = sorted(documents)
        values = {
            name: encoded(field.kind, [field.of(documents[id]) for id in ids])
            for name, field in Note.__fields__.items()
        }
        lines = [encode(NOTES, id, documents[id]) for id in ids]
        self._note(lambda: self.database.commit_batch(NOTES, state_module.np.array(ids), lines, values))

    def compact(self):
        self._note(self.database.compact)

    def reopen(self):
        self._note(self.database.close)
        self.database = open_database(self.files)

    def _note(self, do):
        self.began.append(len(self.files.trace))
        do()
        self.ended.append(len(self.files.trace))
        self.versions.append(contents(open_database(self.files)))

    def possible(self, done):
        """Return the versions that may be found after a crash behind so many operations: none that is older."""
        acknowledged = max(number for number, end in enumerate(self.ended) if end <= done)
        begun = max(number for number, start in enumerate(self.began) if start <= done)
        return self.versions[acknowledged : begun + 1]


def note(id, number=None, text="note"):
    return NOTES, id, {"id": id, "number": id if number is None else number, "text": f"{text} {id}"}


@pytest.fixture
def story():
    """Tell a story with all that a store does: commits, columns written and merged, logs rewritten, reopening."""
    story = Story()
    story.commit(note(1), note(2), ("own", 1, {"a": [1, 2]}))
    story.commit(note(3, text="ä\0d800"))
    story.commit(note(2, 7), (NOTES, 1, None))
    story.commit_batch({id: note(id)[2] for id in (4, 5, 6)})
    story.commit(("own", 2, {"b": None}), ("own", 1, None))
    story.commit_batch({id: note(id, 9)[2] for id in (3, 5, 7, 8)})
    story.reopen()
    story.commit(*(note(id, text="longer " * 20) for id in (2, 3, 8)))
    story.commit(*((NOTES, id, None) for id in (4, 5)))
    story.compact()
    story.commit(note(9), ("own", 3, {}))
    story.commit_batch({id: note(id, text="x" * 300)[2] for id in (10, 11, 12, 13)})
    story.commit(*((NOTES, id, None) for id in (10, 11, 12, 13)))  # rewrites the log unasked
    story.commit(note(14))
    story.reopen()
    story.commit(*(note(id) for id in (2, 14, 15)))
    for id in range(16, 24):
        story.commit(note(id), note(id - 2, 1))
    return story


def test_the_story(story):
    """It has all kinds of operations, segments that were merged, and two logs that were rewritten."""
    kinds = [operation.kind for operation in story.files.trace]
    assert {"append", "publish", "remove", "sync_names"} <= {*kinds}
    removed = {operation.name for operation in story.files.trace if operation.kind == "remove"}
    assert {"documents-1.jsonl", "documents-2.jsonl"} <= removed
    assert any(name.startswith("columns/1-") for name in removed)
    assert story.database.problems() == []


def test_every_state(story):
    """Whatever a crash leaves is opened, has one of the last two versions, whole, and can be written to."""
    count = 0
    for done, left in crash_states(story.files.trace):
        count += 1
        files = FilesLeft(left)
        database = open_database(files)
        found = contents(database)
        assert found in story.possible(done), (done, {name: len(content) for name, content in left.items()})
        assert all("not finished" in told or "not used" in told for told in database.problems())
        new = insert(database, {"number": 99})
        assert new not in found.get(NOTES, {})
        found.setdefault(NOTES, {})[new] = {"number": 99, "id": new}
        database.close()
        again = open_database(files)
        assert contents(again) == found
        assert again.problems() == []
    assert count > 2000
