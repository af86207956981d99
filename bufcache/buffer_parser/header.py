"""Bytes to values: the header of a file or of a data block, entry by entry. The only importer of struct."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, NamedTuple

from bufcache.buffer_parser.layout import (
    BLOCK_HEADER,
    FILE_HEADER,
    KEY_ALPHABET,
    KEY_SIZE,
    LONG_KEY_SIZE,
    MAGIC,
    SUB_DATA_BEGIN,
    SUB_DATA_END,
    Entry,
)
from bufcache.errors import InvalidFileError, TruncatedFileError

Value = Any
"""What an entry holds: int, float, bytes or None, as the layout's code says."""

FIRST_ENTRY_SIZE = KEY_SIZE + 4
"""Bytes of the entry that opens a file: the magic number and the header's size."""

LARGEST_HEADER = 1 << 22
"""Bytes beyond which a header size is taken for damage; real headers have about 2000."""

_ENDS = ("headsend", "blockend")
"""The keys behind which a header is padding."""

_BLOCK_END = b"blockend"
_LONGEST_FORM = 1000
"""Characters of a struct format, ten times as many as the keys of a real block header need."""

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
        from hashlib import sha256  # loads OpenSSL, for which a mere query does not wait

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
    return Header(raw, _entries(raw, len(raw), _FILE_READERS, _is_zero_to_the_end), file_size)


def parse_block_header(raw: bytes, size: int) -> dict[str, Value]:
    """Parse the header of a data block: the value of each known key, in the order of the file.

    Parameters
    ----------
    raw
        Its bytes, fewer than `size` where the file ends inside it.
    size
        The bytes that it should have.

    Raises
    ------
    InvalidFileError
        Something else stands where a key must stand, or a value reaches beyond the header.
    TruncatedFileError
        The same, and the file ends before the header does.
    """
    return _entries(raw, size, _BLOCK_READERS, _is_zero)


class SubDataPlace:
    """Where the sub data lie in a block header, and in every other header of the same keys and of as much sub data.

    Parameters
    ----------
    raw
        The bytes of a block header that `parse_block_header` has read and that has sub data.
    size
        The bytes of the sub data that it gave.
    """

    def __init__(self, raw: bytes, size: int) -> None:
        form, position = _numbers_from(raw, 0)
        self.start = position + LONG_KEY_SIZE
        """Offset of the sub data."""
        self.stop = self.start + size
        """Offset of the key that ends them."""
        self._before = Struct(f"<{form}{LONG_KEY_SIZE}s")
        form, position = _numbers_from(raw, self.stop + LONG_KEY_SIZE)
        end = _BLOCK_END if raw.startswith(_BLOCK_END, position) else b"\0"
        self._behind = Struct(f"<{LONG_KEY_SIZE}s{form}{len(end)}s")
        self.end = position + len(end)
        """The bytes from the start of the header that are needed to know that it is laid out so."""
        self.is_plain = (
            raw.startswith(SUB_DATA_BEGIN, self.start - LONG_KEY_SIZE)
            and raw.startswith(SUB_DATA_END, self.stop)
            and raw.startswith(end, position)
        )
        """Whether there are only numbers before and behind the sub data; else `is_in` cannot be asked."""
        if self.is_plain:
            self._found = self._before.unpack_from(raw), self._behind.unpack_from(raw, self.stop)

    def is_in(self, header: memoryview) -> bool:
        """Tell whether a header, of which the first `end` bytes are given, has its sub data there too.

        Within them no end may stand.
        """
        return self._found == (self._before.unpack_from(header), self._behind.unpack_from(header, self.stop))


class _Reader(NamedTuple):
    """How to read the value of one key."""

    name: str
    code: str
    number: Struct | None


def _readers(table: Mapping[str, Entry]) -> dict[bytes, _Reader]:
    return {name.encode("ascii"): _Reader(name, entry.code, _NUMBERS.get(entry.code)) for name, entry in table.items()}


_FILE_READERS = _readers(FILE_HEADER)
_BLOCK_READERS = _readers(BLOCK_HEADER)


def _numbers_from(raw: bytes, position: int) -> tuple[str, int]:
    """Return the struct format of the keys of the numbers that follow in a block header, and where those end."""
    form = ""
    while (reader := _BLOCK_READERS.get(raw[position : position + KEY_SIZE])) and reader.number:
        if len(form) > _LONGEST_FORM:
            break
        form += f"{KEY_SIZE}s{reader.number.size}x"
        position += KEY_SIZE + reader.number.size
    return form, position


def _is_zero_to_the_end(raw: bytes, position: int) -> bool:
    return raw[position] == 0 and raw.count(0, position) == len(raw) - position


def _is_zero(raw: bytes, position: int) -> bool:
    return raw[position] == 0


def _entries(
    raw: bytes, size: int, readers: Mapping[bytes, _Reader], is_padding: Callable[[bytes, int], bool]
) -> dict[str, Value]:
    """Read the entries of a header that should have `size` bytes up to its end, or up to its padding."""
    entries: dict[str, Value] = {}
    position, end = 0, len(raw)
    while position + KEY_SIZE <= end:
        reader = readers.get(raw[position : position + KEY_SIZE]) or readers.get(
            raw[position : position + LONG_KEY_SIZE]
        )
        if reader is None:
            if is_padding(raw, position):
                return entries
            position = after_unknown(raw, position)
            continue
        start = position + len(reader.name)
        if reader.number is None:
            entries[reader.name], position = _special_value(raw, start, size, reader)
            if reader.name in _ENDS:
                return entries
            continue
        position = start + reader.number.size
        if position > end:
            raise _beyond_the_end(reader, start, position, end, size)
        entries[reader.name] = reader.number.unpack_from(raw, start)[0]
    if end < size:
        raise TruncatedFileError(f"a header of {size} bytes goes on where the file ends, after {end} of them")
    return entries


def _special_value(raw: bytes, start: int, size: int, reader: _Reader) -> tuple[Value, int]:
    """Return a value that is not a number, and the position behind it."""
    if reader.code == "none":
        return None, start
    if reader.code == "raw":
        stop = raw.find(SUB_DATA_END, start)
        if stop < 0:
            raise _beyond_the_end(reader, start, len(raw), len(raw), size)
        return raw[start:stop], stop
    if reader.code == "hex4":
        stop = start + _HEX_SIZE
        if stop > len(raw):
            raise _beyond_the_end(reader, start, stop, len(raw), size)
        return raw[start:stop].hex().encode("ascii"), stop
    first = start + _LENGTH.size
    stop = first if first > len(raw) else first + _LENGTH.unpack_from(raw, start)[0]
    if stop > len(raw):
        raise _beyond_the_end(reader, start, stop, len(raw), size)
    return raw[first:stop], stop


def _beyond_the_end(reader: _Reader, start: int, stop: int, end: int, size: int) -> InvalidFileError:
    kind = TruncatedFileError if end < size else InvalidFileError
    reach = f"to byte {stop}" if stop > end else "beyond the header, which lacks its end"
    return kind(f"offset {start}: the value of {reader.name!r} reaches {reach}, the header ends at byte {end}")


def after_unknown(raw: bytes, position: int) -> int:
    """Return the position behind an entry whose key is not known.

    Its value has 4 bytes where another key follows those, else 8.

    Raises
    ------
    InvalidFileError
        It is no key at all.
    """
    key = raw[position : position + KEY_SIZE]
    if not is_key(key):
        raise InvalidFileError(f"offset {position}: expected a key, found {key!r}: the header is damaged")
    following = position + KEY_SIZE + 4
    return following if is_key(raw[following : following + KEY_SIZE]) else following + 4


def is_key(candidate: bytes) -> bool:
    """Tell whether bytes could be a key."""
    return len(candidate) == KEY_SIZE and not candidate.translate(None, KEY_ALPHABET)
