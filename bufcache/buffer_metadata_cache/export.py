"""Export: all tables of a database as one JSON file, such as stock TinyDB opens."""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

import orjson

from bufcache.buffer_metadata_cache import paths
from bufcache.buffer_metadata_cache.paths import AnyPath
from bufcache.buffer_metadata_cache.store.database import Database
from bufcache.errors import CacheFormatError


def export(database: Database, path: AnyPath, overwrite: bool) -> None:
    """Write all documents, one after the other, as ``{table: {id: document}}``, and warn of those that are missing."""
    with database.reading():
        missing = _written(database, paths.absolute(path), overwrite)
    for each in missing:
        warnings.warn(each, stacklevel=3)


def _written(database: Database, path: str, overwrite: bool) -> list[str]:
    """Write the file, and return what is missing in it."""
    told: list[str] = []
    while True:
        missing: Counter[str] = Counter()
        try:
            with _made(path, overwrite) as file:
                file.writelines(_object((name, _table(database, name, missing)) for name in database.table_names()))
            break
        except CacheFormatError as damage:  # of columns, and of the log there; what is left answers from now on
            if str(damage) in told:
                raise
            told.append(str(damage))
    return told + [
        f"{database}: {count} documents of {name} are damaged, and missing in {path}; check(fix=True) mends what can "
        "be mended"
        for name, count in missing.items()
    ]


def _table(database: Database, name: str, missing: Counter[str]) -> Iterator[bytes]:
    return _object((str(id), [_ascii(orjson.loads(line)[2])]) for id, line in _whole(database, name, missing))


def _whole(database: Database, name: str, missing: Counter[str]) -> Iterator[tuple[int, bytes]]:
    """Give the ids and lines of the documents that are not lost, and count the others."""
    for id, line in database.all_lines(name):
        if line is None:
            missing[name] += 1
        else:
            yield id, line


def _object(entries: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[bytes]:
    """Give the pieces of a JSON object, an entry a line, whose values come in pieces."""
    yield b"{"
    for number, (key, value) in enumerate(entries):
        yield (b",\n" if number else b"\n") + _ascii(key) + b":"
        yield from value
    yield b"}"


def _ascii(value: object) -> bytes:
    """Return JSON in ASCII: TinyDB reads a file in the encoding of the system, which need not be UTF-8."""
    encoded = orjson.dumps(value)
    return encoded if encoded.isascii() else json.dumps(value).encode()


@contextmanager
def _made(path: str, overwrite: bool) -> Iterator[BinaryIO]:
    """Give a file to write that gets its name when it is whole; there is none where that fails."""
    _refuse_to_replace(path, overwrite)
    unfinished = f"{path}.{os.urandom(4).hex()}.part"
    try:
        with open(unfinished, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _refuse_to_replace(path, overwrite)  # writing may have taken minutes
        os.replace(unfinished, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.remove(unfinished)
        raise


def _refuse_to_replace(path: str, overwrite: bool) -> None:
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder; give the path of a file")
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{path} exists, and was left as it is; overwrite=True replaces it")
    if not os.path.isdir(os.path.dirname(path)):
        raise FileNotFoundError(f"{os.path.dirname(path)} does not exist; make that folder first")
