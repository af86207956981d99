"""Opening a database: from what users call it to its files and tables."""

from __future__ import annotations

import os

from bufcache.buffer_metadata_cache import paths
from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.paths import AnyPath
from bufcache.buffer_metadata_cache.store.database import Database
from bufcache.buffer_metadata_cache.store.files import DiskFiles, MemoryFiles
from bufcache.errors import CacheFormatError, InvalidArgumentError

_IN_MEMORY = (":memory:", "sqlite:///:memory:", "sqlite://")


def open_database(db_url: AnyPath, *, read_only: bool = False, lock_timeout: float = 10.0) -> Database:
    """Return the database of a cache; parameters and errors as of `BufferMetadataCache`."""
    return Database(
        _files(os.fsdecode(db_url), read_only),
        {BufferMetadata.__tablename__: BufferMetadata.__fields__},
        is_read_only=read_only,
        lock_timeout=lock_timeout,
    )


def _files(url: str, read_only: bool) -> DiskFiles | MemoryFiles:
    if url in _IN_MEMORY:
        return MemoryFiles()
    path = url.removeprefix("tinydb:///")
    if "://" in path or not path:
        raise InvalidArgumentError(
            f"db_url is {url!r}: bufcache keeps no SQL database; give ':memory:' or the path of a cache folder"
        )
    path = paths.absolute(path)
    if os.path.exists(path) and not os.path.isdir(path):
        raise CacheFormatError(f"{path} is a file, a cache is a folder; it was left untouched")
    if not os.path.exists(path):
        _make_folder(path, read_only)
    return DiskFiles(path)


def _make_folder(path: str, read_only: bool) -> None:
    if read_only:
        raise FileNotFoundError(f"there is no cache at {path}")
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        raise FileNotFoundError(f"{parent} does not exist; make that folder before the cache in it")
    os.makedirs(path, exist_ok=True)
