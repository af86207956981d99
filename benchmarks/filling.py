"""Filling a cache of ours, the rival's SQLite file and a file of stock TinyDB with the same documents.

Ours is filled in commits of 1000 as a synchronisation fills it. Reading a million files would take the rival half an
hour; so the rival makes its database itself, empty, and its rows are written with sqlite3 into the table and under the
indexes that it made. The JSON file is written as TinyDB writes it, but in one go.
"""

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import orjson
from documents import TABLE, Document
from measure import open_rival

from bufcache import BufferMetadata
from bufcache.buffer_metadata_cache.kinds import Member
from bufcache.buffer_metadata_cache.parts import Ids, Values, encoded
from bufcache.buffer_metadata_cache.store.log import encode
from bufcache.buffer_metadata_cache.store.opening import open_database

SUFFIXES = {"ours": ".bufcache", "rival": ".sqlite", "TinyDB": ".json"}


class Filler(Protocol):
    """What takes documents, a batch at a time."""

    def add(self, batch: Sequence[Document]) -> None: ...

    def close(self) -> None: ...


class OurFiller:
    def __init__(self, path: Path) -> None:
        self._database = open_database(path)

    def add(self, batch: Sequence[Document]) -> None:
        self._database.commit_batch(*columns_of(batch))

    def close(self) -> None:
        self._database.close()


class RivalFiller:
    def __init__(self, path: Path) -> None:
        open_rival(path.with_suffix("")).engine.dispose()
        self._connection = sqlite3.connect(path)
        self._connection.execute("PRAGMA cache_size = -500000")
        about = self._connection.execute(f"PRAGMA table_info({TABLE})")
        self._names = [name for _, name, *_ in about]
        marks = ", ".join("?" * len(self._names))
        self._insert = f"INSERT INTO {TABLE} ({', '.join(self._names)}) VALUES ({marks})"

    def add(self, batch: Sequence[Document]) -> None:
        rows = map(rival_row, batch)
        self._connection.executemany(self._insert, [[row.get(name) for name in self._names] for row in rows])

    def close(self) -> None:
        self._connection.commit()
        self._connection.close()


class StockFiller:
    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._next = b'{"%s":{' % TABLE.encode()

    def add(self, batch: Sequence[Document]) -> None:
        text = orjson.dumps({str(document["id"]): document for document in batch})
        self._file.write(self._next + text[1:-1])
        self._next = b","

    def close(self) -> None:
        self._file.write(b"}}")
        self._file.close()


FILLERS: dict[str, type[Filler]] = {"ours": OurFiller, "rival": RivalFiller, "TinyDB": StockFiller}


def fill(base: Path, batches: Iterable[Sequence[Document]]) -> dict[str, float]:
    """Fill all three beside each other, and return the seconds that each took."""
    seconds: Counter[str] = Counter()
    fillers = {side: make(base.with_suffix(SUFFIXES[side])) for side, make in FILLERS.items()}
    for batch in batches:
        for side, filler in fillers.items():
            began = time.perf_counter()
            filler.add(batch)
            seconds[side] += time.perf_counter() - began
    for side, filler in fillers.items():
        began = time.perf_counter()
        filler.close()
        seconds[side] += time.perf_counter() - began
    return dict(seconds)


def columns_of(batch: Sequence[Document]) -> tuple[str, Ids, list[bytes], dict[str, Values]]:
    """Return what a synchronisation commits: table, ids in order, lines and columns of documents."""
    lines = [encode(TABLE, document["id"], document) for document in batch]
    columns = {
        name: encoded(field.kind, [document.get(name) for document in batch])
        for name, field in BufferMetadata.__fields__.items()
        if field.is_stored
    }
    return TABLE, columns["id"].array, lines, columns


def rival_row(document: Document) -> dict[str, Any]:
    """Return what the rival stores of a document: enumerations as the names of their members."""
    return {name: _named(name, value) for name, value in document.items()}


def _named(name: str, value: Any) -> Any:
    members = ENUMERATIONS.get(name)
    return members(value).name if members else value


ENUMERATIONS: dict[str, type[Enum]] = {
    name: field.kind.enumeration for name, field in BufferMetadata.__fields__.items() if isinstance(field.kind, Member)
}
