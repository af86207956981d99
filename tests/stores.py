"""Stores for the tests: in memory and on disk, what stands in them, and other processes that use them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from bufcache.buffer_metadata_cache.documents import Document
from bufcache.buffer_metadata_cache.kinds import Float, Integer, Text
from bufcache.buffer_metadata_cache.parts import encoded
from bufcache.buffer_metadata_cache.query import Field
from bufcache.buffer_metadata_cache.store import compaction as store_compaction
from bufcache.buffer_metadata_cache.store import database as store_database
from bufcache.buffer_metadata_cache.store import state as store_state
from bufcache.buffer_metadata_cache.store.database import Database, Edit
from bufcache.buffer_metadata_cache.store.files import DiskFiles, MemoryFiles
from bufcache.buffer_metadata_cache.store.log import encode, name_of


class Note(Document):
    """Documents with fields; those of other tables have none."""

    __tablename__ = "notes"

    id: Field[int] = Field(Integer(), "Number of the note")
    number: Field[int] = Field(Integer(), "A number")
    text: Field[str] = Field(Text(), "A text")


class Own(Document):
    """Documents of a user, of whose fields the store hears when they are registered."""

    __tablename__ = "own"

    id: Field[int] = Field(Integer(), "Number of the document")
    weight: Field[float] = Field(Float(), "A float")
    label: Field[str] = Field(Text(), "A text")


NOTES = Note.__tablename__
OWN = Own.__tablename__
OTHER = "other"
NAME = name_of(1)
SCHEMAS = {NOTES: Note.__fields__}


class OnDisk:
    """A store in a folder."""

    def __init__(self, path):
        self.path = Path(path)
        self.path.mkdir()
        self._log = self.path / NAME

    def files(self):
        """Return the files as another process would open them."""
        return DiskFiles(str(self.path))

    def read_log(self):
        return self._log.read_bytes() if self._log.exists() else b""

    def write_log(self, content):
        self._log.write_bytes(content)


class KeptMemory(MemoryFiles):
    """Files in memory that can be opened again after they have been closed."""

    def close(self):
        pass


class InMemory:
    """A store in memory."""

    def __init__(self):
        self._memory = KeptMemory()

    def files(self):
        """Return the files; all who use them see the same."""
        return self._memory

    def read_log(self):
        return self._memory.read(NAME, 0, self._memory.size(NAME)) if NAME in self._memory.names() else b""

    def write_log(self, content):
        if NAME in self._memory.names():
            self._memory.cut(NAME, 0)
        self._memory.append(NAME, content)


def open_database(files, **arguments):
    """Return the database over files, which waits but shortly for the lock."""
    database = Database(files, SCHEMAS, **{"lock_timeout": 0.1, **arguments})
    database.register(OWN, Own.__fields__)
    return database


def contents(database):
    """Return the documents of each table by id, and make sure that the columns say the same."""
    with database.reading():
        tables = {
            name: {id: database.document(name, id) for id in database.table(name).ids}
            for name in database.table_names()
        }
        for document_class in (Note, Own):
            name, columns = document_class.__tablename__, database.table(document_class.__tablename__)
            fields = list(columns.fields.values())  # none where the class was not registered
            values = [[field.of(document) for document in tables.get(name, {}).values()] for field in fields]
            assert columns.take(columns.rows, fields) == values
            assert len(columns) == len(tables.get(name, {}))
    return tables


def insert(database, document, table=NOTES):
    """Commit a new document and return its id."""
    with database.writing():
        id = database.next_id(table)
        database.commit([Edit(table, id, document)])
    return id


def commit_batch(database, documents, document_class=Note):
    """Commit documents by id with their columns at hand, as a synchronisation does."""
    table = document_class.__tablename__
    whole = {id: {**documents[id], "id": id} for id in sorted(documents)}
    values = {
        name: encoded(field.kind, [field.of(document) for document in whole.values()])
        for name, field in document_class.__fields__.items()
    }
    lines = [encode(table, id, document) for id, document in whole.items()]
    database.commit_batch(table, np.array(list(whole)), lines, values)


# -- a life of a store ------------------------------------------------------------------------------------------------


def limit(patch, *, flushed=2, merged=10, worth_compacting=1000):
    """Make the store write and merge segments of a few documents, and rewrite its log in small commits."""
    patch.setattr(store_database, "FLUSH_SIZE", flushed)
    patch.setattr(store_state, "FLUSH_SIZE", flushed)
    patch.setattr(store_state, "_MERGED", merged)
    patch.setattr(store_compaction, "_COMMITTED", 3)
    patch.setattr(store_compaction, "_COMPACTED", 2)
    for name, value in (
        ("_LARGEST_TAIL", 5),
        ("_SMALLEST_PART", 1),
        ("_WORTH_COMPACTING", worth_compacting),
    ):
        patch.setattr(store_state, name, value)


def note(id, **values):
    """Return the edit that writes a note."""
    return Edit(NOTES, id, {"id": id, **values})


COMPACT = "compact"
FIRST = [[note(1, number=1, text="one"), Edit(OTHER, 1, {"a": [1, {"b": None}]})]]
LIFE = [
    *FIRST,
    [note(2, number=2)],
    {3: {"number": 3, "text": "drei"}, 4: {"number": 4}},
    [Edit(OWN, 1, {"weight": 0.5, "label": "é"}), note(1, number=-1, text="\0d800")],
    [Edit(NOTES, 2, None), Edit(OTHER, 1, None)],
    {3: {"text": "three"}, 5: {"number": 5, "text": "five"}},
    [Edit(OWN, 1, {"weight": 2.0}), Edit(OWN, 2, {"label": "two"})],
    *([note(id, number=2**62 + id), note(id - 5, text=f"text {id}")] for id in range(6, 10)),
    [Edit(OWN, 1, None), Edit(OTHER, 2, {"a": 2})],
    COMPACT,
    [note(10, number=10)],
    {11: {"number": 11}, 12: {"number": 12, "text": "x" * 1000}},
    [Edit(NOTES, 12, None), Edit(OWN, 3, {"weight": -1e300})],  # after which the log is rewritten unasked
    [note(13)],
]
"""Commits, each a list of edits or a batch of notes by id, and compactions."""


def do(database, step):
    """Do a step of a life."""
    if step == COMPACT:
        database.compact()
    elif isinstance(step, dict):
        commit_batch(database, step)
    else:
        database.commit(step)


def after(tables, step):
    """Return the documents of each table after a step."""
    if step == COMPACT:
        return tables
    edits = [note(id, **document) for id, document in step.items()] if isinstance(step, dict) else step
    changed = {name: dict(documents) for name, documents in tables.items()}
    for table, id, document in edits:
        changed.setdefault(table, {}).pop(id, None)
        if document is not None:
            changed[table][id] = document if table == OTHER else {**document, "id": id}
    return {name: dict(sorted(documents.items())) for name, documents in changed.items() if documents}


class OtherProcess:
    """Another process that has the database of a folder open and does what it is told."""

    def __init__(self, path):
        self._process = subprocess.Popen(
            [sys.executable, __file__, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.kill()
        self._process.__exit__(*exception)

    def tell(self, *command):
        """Give a command."""
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def hear(self):
        """Return the next answer."""
        return json.loads(self._process.stdout.readline())

    def ask(self, *command):
        """Give a command and return its answer."""
        self.tell(*command)
        return self.hear()

    def kill(self):
        """Kill the process as kill -9 does, and return what it had still answered."""
        self._process.kill()
        return [json.loads(line) for line in self._process.stdout if line.endswith("\n")]


def _answers(database, name, *arguments):
    """Yield what another process answers to a command."""
    match name:
        case "insert":
            yield insert(database, *arguments)
        case "insert for ever":
            while True:
                yield insert(database, *arguments)
        case "numbers":
            yield [document["number"] for document in contents(database)[NOTES].values()]
        case "hold":
            with database.writing():
                yield "held"
                sys.stdin.readline()
            yield "free"
        case "limit":  # the size of files, in bytes
            import resource  # Windows has none

            resource.setrlimit(resource.RLIMIT_FSIZE, (arguments[0], resource.RLIM_INFINITY))
            yield "limited"
        case "fail":
            try:
                yield insert(database, *arguments)
            except OSError as error:
                yield type(error).__name__, error.errno


def _main(path):
    database = open_database(DiskFiles(path), lock_timeout=10)
    for line in iter(sys.stdin.readline, ""):
        for answer in _answers(database, *json.loads(line)):
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1])
