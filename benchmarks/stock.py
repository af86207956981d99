"""TinyDB as it comes, over a storage that reads and writes its one JSON file with orjson, as fast as that can be."""

import os
from typing import Any

import orjson
from tinydb import TinyDB
from tinydb.storages import Storage


class OrjsonStorage(Storage):
    """One JSON file, replaced and synced at each change as stock TinyDB's own storage does."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self) -> Any:
        with open(self._path, "rb") as file:
            content = file.read()
        return orjson.loads(content) if content else None

    def write(self, data: Any) -> None:
        with open(self._path, "r+b") as file:
            file.write(orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS))
            file.flush()
            os.fsync(file.fileno())
            file.truncate()


def open_stock(path: str) -> TinyDB:
    """Open a file that exists."""
    return TinyDB(path, storage=OrjsonStorage)
