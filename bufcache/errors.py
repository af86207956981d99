"""The exceptions of bufcache: what went wrong, where, and what to do about it."""

from __future__ import annotations

__all__ = [
    "BufcacheError",
    "CacheFormatError",
    "CacheLockedError",
    "ClosedError",
    "ExpressionError",
    "InvalidArgumentError",
    "InvalidFileError",
    "MissingHeaderError",
    "TruncatedFileError",
    "UnsupportedFormatError",
]


class BufcacheError(Exception):
    """Base class of every error that bufcache raises on purpose."""


class InvalidFileError(BufcacheError):
    """The file is not a buffer file, or what its header says cannot be true."""


class TruncatedFileError(InvalidFileError):
    """A buffer file that ends before what its header announces."""


class MissingHeaderError(BufcacheError, KeyError):
    """The header lacks the key that a property is read from."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class UnsupportedFormatError(BufcacheError):
    """A valid file with a sample format or a resolution that bufcache cannot convert."""


class InvalidArgumentError(BufcacheError, ValueError):
    """An argument has a value that the call cannot work with."""


class ExpressionError(BufcacheError, ValueError):
    """A query text that does not say what it should; the message points at the place."""


class ClosedError(BufcacheError, ValueError):
    """A buffer or a cache was used after it had been closed."""


class CacheFormatError(BufcacheError):
    """What stands at the path is not a cache, or one of a newer version; it was left untouched."""


class CacheLockedError(BufcacheError):
    """Another process is writing to the cache."""
