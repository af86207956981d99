"""Everything about one buffer file."""

from bufcache.buffer_parser.buffer import Buffer
from bufcache.buffer_parser.filtering import filter_buffers
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
    "MissingHeaderError",
    "TruncatedFileError",
    "UnsupportedFormatError",
    "filter_buffers",
]
