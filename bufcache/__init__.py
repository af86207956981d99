"""bufcache: find the buffer files of QASS Analyzer4D by what they say of themselves, and read them.

The names below are imported when they are first used, so that ``bufcache --help`` does not pay for numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bufcache.buffer_metadata_cache import (
        BufferMetadata,
        BufferMetadataCache,
        LogStorage,
        OwnDocument,
        Select,
        SyncReport,
        and_,
        asc,
        desc,
        expression,
        get_declarative_base,
        not_,
        or_,
        select,
    )
    from bufcache.buffer_parser import Buffer, LazyArray, filter_buffers
    from bufcache.errors import (
        BufcacheError,
        CacheFormatError,
        CacheLockedError,
        ClosedError,
        ExpressionError,
        InvalidArgumentError,
        InvalidFileError,
        MissingHeaderError,
        TruncatedFileError,
        UnsupportedFormatError,
    )

__all__ = [
    "BufcacheError",
    "Buffer",
    "BufferMetadata",
    "BufferMetadataCache",
    "CacheFormatError",
    "CacheLockedError",
    "ClosedError",
    "ExpressionError",
    "InvalidArgumentError",
    "InvalidFileError",
    "LazyArray",
    "LogStorage",
    "MissingHeaderError",
    "OwnDocument",
    "Select",
    "SyncReport",
    "TruncatedFileError",
    "UnsupportedFormatError",
    "and_",
    "asc",
    "desc",
    "expression",
    "filter_buffers",
    "get_declarative_base",
    "not_",
    "or_",
    "select",
]

_HOMES = ("bufcache.errors", "bufcache.buffer_parser", "bufcache.buffer_metadata_cache")


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version  # as slow to import as half of numpy

        return version("bufcache")
    if name in __all__:
        for home in _HOMES:
            module = import_module(home)
            if name in module.__all__:
                value = globals()[name] = getattr(module, name)
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
