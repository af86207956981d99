"""Stores for the tests: in memory and on disk, what stands in them, and other processes that use them."""

import json
import subprocess
import sys
from pathlib import Path

from bufcache.buffer_metadata_cache.documents import Document
from bufcache.buffer_metadata_cache.kinds import Integer, Text
from bufcache.buffer_metadata_cache.query import Field
from bufcache.buffer_metadata_cache.store.database import Database, Edit
from bufcache.buffer_metadata_cache.store.files import DiskFiles, MemoryFiles
from bufcache.buffer_metadata_cache.store.log import name_of


class Note(Document):
    """Documents with fields; those of other tables have none."""

    __tablename__ = "notes"

    id: Field[int] = Field(Integer(), "Number of the note")
    number: Field[int] = Field(Integer(), "A number")
    text: Field[str] = Field(Text(), "A text")


NOTES = Note.__tablename__
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
    return Database(files, SCHEMAS, **{"lock_timeout": 0.1, **arguments})


def contents(database):
    """Return the documents of each table by id, and make sure that the columns say the same."""
    with database.reading():
        tables = {
            name: {id: database.document(name, id) for id in database.table(name).ids}
            for name in database.table_names()
        }
        columns = database.table(NOTES)
        fields = list(Note.__fields__.values())
        values = [[field.of(document) for document in tables.get(NOTES, {}).values()] for field in fields]
        assert columns.take(columns.rows, fields) == values
    return tables


def insert(database, document, table=NOTES):
    """Commit a new document and return its id."""
    with database.writing():
        id = database.next_id(table)
        database.commit([Edit(table, id, document)])
    return id


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
