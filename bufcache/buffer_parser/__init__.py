"""Everything about one buffer file."""

from bufcache.buffer_parser.buffer import Buffer
from bufcache.buffer_parser.filtering import filter_buffers
from bufcache.buffer_parser.lazy import LazyArray
from bufcache.errors import (
    InvalidArgumentError,
    InvalidFileError,
    MissingHeaderError,
    TruncatedFileError,
    UnsupportedFormatError,
)

__all__ = [
    "Buffer",
    "InvalidArgumentError",
    "InvalidFileError",
    "LazyArray",
    "MissingHeaderError",
    "TruncatedFileError",
    "UnsupportedFormatError",
    "filter_buffers",
]
