"""Bytes to values: the header of a file, entry by entry. The only importer of struct."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from struct import Struct
from typing import Any, NamedTuple

from bufcache.buffer_parser.layout import FILE_HEADER, KEY_ALPHABET, KEY_SIZE, MAGIC, Entry
from bufcache.errors import InvalidFileError, TruncatedFileError

Value = Any
"""What an entry holds: int, float, bytes or None, as the layout's code says."""

FIRST_ENTRY_SIZE = KEY_SIZE + 4
"""Bytes of the entry that opens a file: the magic number and the header's size."""

LARGEST_HEADER = 1 << 22
"""Bytes beyond which a header size is taken for damage; real headers have about 2000."""

_NUMBERS = {
    "i4": Struct("<i"),
    "u4": Struct("<I"),
    "i8": Struct("<q"),
    "u8": Struct("<Q"),
    "f8": Struct("<d"),
}
_LENGTH = _NUMBERS["u4"]
_HEX_SIZE = 4


class Header(NamedTuple):
    """A parsed file header: its bytes, the value of each known key in the order of the file, the file's size."""

    raw: bytes
    entries: dict[str, Value]
    file_size: int

    @property
    def digest(self) -> str:
        """SHA-256 of the header's bytes, as hex digits."""
        return sha256(self.raw).hexdigest()


def header_size(start: bytes, file_size: int) -> int:
    """Return the header size that the first bytes of a file announce.

    Raises
    ------
    InvalidFileError
        The magic number is missing, or the size cannot be true.
    TruncatedFileError
        The file ends before its header does.
    """
    if not start.startswith(MAGIC):
        raise InvalidFileError(f"offset 0: expected {MAGIC!r}, found {start[:KEY_SIZE]!r}: not a buffer file")
    if len(start) < FIRST_ENTRY_SIZE:
        raise TruncatedFileError(f"the file ends after {len(start)} bytes, inside its first header entry")
    size: int = _NUMBERS["i4"].unpack_from(start, KEY_SIZE)[0]
    if not FIRST_ENTRY_SIZE <= size <= LARGEST_HEADER:
        raise InvalidFileError(
            f"offset {KEY_SIZE}: a header of {size} bytes; expected {FIRST_ENTRY_SIZE} to {LARGEST_HEADER}"
        )
    if size > file_size:
        raise TruncatedFileError(f"the header should have {size} bytes, the file ends after {file_size}")
    return size


def is_buffer_file(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file begins with the magic number of the format."""
    with open(path, "rb", buffering=0) as file:
        return file.read(KEY_SIZE) == MAGIC


def parse_header(raw: bytes, file_size: int) -> Header:
    """Parse the bytes of a whole file header.

    Raises
    ------
    InvalidFileError
        Something else stands where a key must stand, or a value reaches beyond the header.
    """
    return Header(raw, _entries(raw, _FILE_READERS), file_size)


class _Reader(NamedTuple):
    """How to read the value of one key."""

    name: str
    code: str
    number: Struct | None


def _readers(table: Mapping[str, Entry]) -> dict[bytes, _Reader]:
    return {name.encode("ascii"): _Reader(name, entry.code, _NUMBERS.get(entry.code)) for name, entry in table.items()}


_FILE_READERS = _readers(FILE_HEADER)


def _entries(raw: bytes, readers: Mapping[bytes, _Reader]) -> dict[str, Value]:
    entries: dict[str, Value] = {}
    position, end = 0, len(raw)
    while position + KEY_SIZE <= end:
        reader = readers.get(raw[position : position + KEY_SIZE])
        if reader is None:
            if not any(raw[position:]):
                break  # zeros up to the end: the padding of a header without headsend
            position = _after_unknown(raw, position)
            continue
        start = position + KEY_SIZE
        if reader.number is None:
            entries[reader.name], position = _special_value(raw, start, reader)
            if reader.name == "headsend":
                break
            continue
        position = start + reader.number.size
        if position > end:
            raise _beyond_the_end(reader, start, position, end)
        entries[reader.name] = reader.number.unpack_from(raw, start)[0]
    return entries


def _special_value(raw: bytes, start: int, reader: _Reader) -> tuple[Value, int]:
    """Return a value that is not a number, and the position behind it."""
    if reader.code == "none":
        return None, start
    if reader.code == "hex4":
        stop = start + _HEX_SIZE
        if stop > len(raw):
            raise _beyond_the_end(reader, start, stop, len(raw))
        return raw[start:stop].hex().encode("ascii"), stop
    first = start + _LENGTH.size
    stop = first if first > len(raw) else first + _LENGTH.unpack_from(raw, start)[0]
    if stop > len(raw):
        raise _beyond_the_end(reader, start, stop, len(raw))
    return raw[first:stop], stop


def _beyond_the_end(reader: _Reader, start: int, stop: int, end: int) -> InvalidFileError:
    return InvalidFileError(
        f"offset {start}: the value of {reader.name!r} reaches to byte {stop}, the header ends at byte {end}"
    )


def _after_unknown(raw: bytes, position: int) -> int:
    """Return the position behind an entry whose key is not known.

    Its value has 4 bytes where another key follows those, else 8.
    """
    key = raw[position : position + KEY_SIZE]
    if not _is_key(key):
        raise InvalidFileError(f"offset {position}: expected a key, found {key!r}: the header is damaged")
    following = position + KEY_SIZE + 4
    return following if _is_key(raw[following : following + KEY_SIZE]) else following + 4


def _is_key(candidate: bytes) -> bool:
    return len(candidate) == KEY_SIZE and not candidate.translate(None, KEY_ALPHABET)
