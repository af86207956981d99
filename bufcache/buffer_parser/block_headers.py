"""Block headers of a file: their entries, and the table that their sub data make."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from io import BytesIO, FileIO
from typing import SupportsIndex, TypeVar

import numpy as np

from bufcache.arguments import integer
from bufcache.buffer_parser import subdata
from bufcache.buffer_parser.data import read_exactly
from bufcache.buffer_parser.geometry import Blocks
from bufcache.buffer_parser.header import SubDataPlace, Value, parse_block_header
from bufcache.buffer_parser.properties import Properties
from bufcache.buffer_parser.subdata import Chunk, Integers, Selection, Table
from bufcache.errors import (
    BufcacheError,
    InvalidArgumentError,
    InvalidFileError,
    MissingHeaderError,
    TruncatedFileError,
)
from bufcache.names import nearest

T = TypeVar("T")

LARGEST_BLOCK_HEADER = 1 << 24
"""Bytes beyond which the size of block headers is taken for damage; real ones have 65536."""


class BlockHeaders(Properties):
    """What the headers of the data blocks say: ports, gains, measure positions along the data.

    Blocks and spectra are counted from 0. A damaged block header raises InvalidFileError, one inside which the file
    ends TruncatedFileError, wrong arguments InvalidArgumentError.
    """

    @abstractmethod
    def _reading(self, read: Callable[[FileIO], T]) -> T:
        """Call a function with the open file, the header known; put the path into its errors."""

    def db_header(self, db_idx: SupportsIndex) -> dict[str, Value]:
        """Read the header of a data block.

        Parameters
        ----------
        db_idx
            The block, 0 to `db_count` - 1.

        Returns
        -------
        The known entries in file order: key -> value; none of them where the header is empty. ``begin_subdat`` gives
        the sub data as bytes; ``end___subdat`` and ``blockend`` are None.

        Raises
        ------
        InvalidArgumentError
            There is no such block.
        InvalidFileError
            The header is damaged.
        TruncatedFileError
            The file ends inside the header.
        """
        return self._reading(lambda file: read_block_header(file, self._blocks, self._block(db_idx)))

    def db_header_spec(self, spec: SupportsIndex) -> dict[str, Value]:
        """Read the header of the block in which a spectrum starts, 0 to `spec_count` - 1, as `db_header` does."""
        return self._reading(lambda file: read_block_header(file, self._blocks, self._block_of(spec)))

    def db_value(self, db_idx: SupportsIndex, key: str) -> Value:
        """Read the value of one key of a block header, as `db_header` does.

        Raises
        ------
        InvalidArgumentError
            There is no such block, or the key is no str.
        MissingHeaderError
            The header of that block lacks the key.
        """
        return self._reading(lambda file: self._value(file, self._block(db_idx), key))

    def io_ports(
        self, db_idx: SupportsIndex, byte: SupportsIndex | None = None, bit: SupportsIndex | None = None
    ) -> int | bool:
        """Read the input and output ports of a data block (``io_ports``, inverted: a set bit is an active port).

        Parameters
        ----------
        db_idx
            The block, 0 to `db_count` - 1.
        byte
            1, 2 or 4 for ports 0 to 7, 8 to 15 or 16 to 23; all 24 where it is None.
        bit
            1 to 8 for one port of that byte.

        Returns
        -------
        The ports as bits of an int; a bool for one port.

        Raises
        ------
        InvalidArgumentError
            There is no such block, byte or bit, or a bit is asked for without a byte.
        MissingHeaderError
            The header of that block lacks the ports.
        """
        return self._reading(lambda file: self._ports(file, self._block(db_idx), byte, bit))

    def io_ports_spec(
        self, spec: SupportsIndex, byte: SupportsIndex | None = None, bit: SupportsIndex | None = None
    ) -> int | bool:
        """Read the ports of the block in which a spectrum starts, 0 to `spec_count` - 1, as `io_ports` does."""
        return self._reading(lambda file: self._ports(file, self._block_of(spec), byte, bit))

    @property
    def last_spec(self) -> int:
        """Number of spectra by the recorder's count: ``lastsamp`` of the last block // `frq_bands`.

        `spec_count` is what the file holds. MissingHeaderError where there is no block, or no such key in its header.
        """
        samples: int = self._reading(lambda file: self._value(file, self._last_block(), "lastsamp"))
        return samples // self.frq_bands

    def block_infos(
        self, columns: Iterable[str] | None = None, changes_only: bool = False, fast_jump: bool = True
    ) -> Integers:
        """Read what the sub data of all blocks say along the data, as a table.

        Parameters
        ----------
        columns
            Any of ``preamp_gain``, ``mux_port``, ``measure_positions``, ``inputs`` (24 ports as bits, a set bit is an
            active port), ``outputs`` (16 ports), which are the default, and of the index columns ``times`` (ns from
            the start of the file to the start of the row), ``index`` (number of the row in the file) and
            ``spectrums`` (first spectrum of the row).
        changes_only
            Keep only the first row and those in which a data column differs from the row before.
        fast_jump
            Changes nothing; accepted for the sake of old programs.

        Returns
        -------
        int64 array of shape (rows, columns), the columns in the order asked for. There is a row an entry of sub data
        where an entry describes one spectrum or more, else a row a spectrum; no rows where there are no spectra.

        Raises
        ------
        InvalidArgumentError
            An unknown, a repeated or no data column; changes without an index column.
        MissingHeaderError
            A block lacks its sub data, block 0 what an entry describes (``sd_rsize``), or the file header what times
            are computed from.
        TruncatedFileError
            A block has fewer entries than it has rows.
        InvalidFileError
            A damaged block header, or times beyond 64 bits.
        """
        wanted = self._named(subdata.selection, columns, changes_only)
        return self._reading(lambda file: self._table(file, wanted))

    def _table(self, file: FileIO, wanted: Selection) -> Integers:
        spectra, blocks = self.spec_count, self._blocks
        if not spectra:
            return Table(wanted, 0).rows()
        spectrum_size = self.frq_bands * self.bytes_per_sample
        duration = self.spec_duration if "times" in wanted.columns else 0.0
        return _SubData(file, blocks, spectrum_size, spectra).table(wanted, duration)

    # -- one header -------------------------------------------------------------------------------------------

    def _value(self, file: FileIO, block: int, key: str) -> Value:
        if not isinstance(key, str):
            raise InvalidArgumentError(f"key is {key!r}; expected a str")
        header = read_block_header(file, self._blocks, block)
        if key not in header:
            raise MissingHeaderError(f"the header of block {block} has no {key!r}{nearest(key, header)}")
        return header[key]

    def _ports(self, file: FileIO, block: int, byte: SupportsIndex | None, bit: SupportsIndex | None) -> int | bool:
        return subdata.io_ports(self._value(file, block, "io_ports"), byte, bit)

    def _block(self, number: SupportsIndex) -> int:
        return _checked("block", number, self.db_count)

    def _block_of(self, spec: SupportsIndex) -> int:
        number = _checked("spectrum", spec, self.spec_count)
        return number * self.frq_bands * self.bytes_per_sample // self.db_size

    def _last_block(self) -> int:
        if self.db_count < 1:
            raise MissingHeaderError("last_spec needs a data block, which this file lacks")
        return self.db_count - 1


def _checked(name: str, number: SupportsIndex, count: int) -> int:
    checked = integer(name, number)
    if not 0 <= checked < count:
        possible = f"0 to {count - 1} are possible" if count > 0 else "the file has none"
        raise InvalidArgumentError(f"{name} is {checked}; {possible}")
    return checked


def read_block_header(file: FileIO, blocks: Blocks, block: int) -> dict[str, Value]:
    """Read the header of a block; errors name the block."""
    return _parsed(_header_bytes(file, blocks, block), blocks, block)


def _header_bytes(file: FileIO, blocks: Blocks, block: int) -> bytes:
    offset, size = blocks.header_extent(block)
    if blocks.db_header_size > LARGEST_BLOCK_HEADER:
        raise InvalidFileError(
            f"header of block {block}: a block header of {blocks.db_header_size} bytes (dbhdsize); "
            f"expected at most {LARGEST_BLOCK_HEADER}"
        )
    raw = BytesIO(bytes(size))  # gives its bytes without a copy
    with raw.getbuffer() as room:
        read_exactly(file, offset, room)
    return raw.getvalue()


def _parsed(raw: bytes, blocks: Blocks, block: int) -> dict[str, Value]:
    try:
        return parse_block_header(raw, blocks.db_header_size)
    except BufcacheError as error:
        raise _of_block(block, error) from None


def _of_block(block: int, error: BufcacheError) -> BufcacheError:
    return type(error)(f"header of block {block}: {error}")


# -- all sub data -------------------------------------------------------------------------------------------------


class _SubData:
    """The sub data of a file, read run by run.

    Of each header that is laid out as that of block 0 no more is read than tells so; of any other one, all.
    """

    def __init__(self, file: FileIO, blocks: Blocks, spectrum_size: int, spectra: int) -> None:
        self._file, self._blocks = file, blocks
        raw = _header_bytes(file, blocks, 0)
        header = _parsed(raw, blocks, 0)
        sub_data, described = _needed(header, "begin_subdat", 0), _needed(header, "sd_rsize", 0)
        try:
            self._how = subdata.scale(spectrum_size, described, sub_data)
        except BufcacheError as error:
            raise _of_block(0, error) from None
        first = next(subdata.runs(self._how, blocks, spectra, 1))
        _check_size(0, int(first.sizes[0]), sub_data)  # before there is room for what the file says it holds
        place = SubDataPlace(raw, len(sub_data))
        self._place = place if place.is_plain else None
        largest = min(self._how.largest(blocks.db_size, spectra), blocks.db_header_size)
        self._chunk = Chunk(place.start, max(place.start + largest, place.end)) if place.is_plain else Chunk(0, largest)
        self._spectra = spectra

    def table(self, wanted: Selection, spec_duration: float) -> Integers:
        """Return the wanted columns of all rows."""
        rows = int(self._how.rows(np.array([self._spectra], np.int64))[0])
        table = Table(wanted, rows)
        for run in subdata.runs(self._how, self._blocks, self._spectra, self._chunk.blocks):
            for number, size in enumerate(run.sizes.tolist()):
                if size:
                    self._read(run.block + number, number, size)
            table.add(self._chunk, self._how, run, spec_duration)
        return table.rows()

    def _read(self, block: int, number: int, size: int) -> None:
        """Read so many bytes of the sub data of a block to a place of the chunk."""
        offset, length = self._blocks.header_extent(block)
        place = self._place
        if place and place.start + size <= place.stop and place.end <= length:
            room = self._chunk.room(number, place.end)
            read_exactly(self._file, offset, room)
            if place.is_in(room) and not self._chunk.has_end_within(number, place.stop - place.start):
                return
        sub_data: bytes = _needed(read_block_header(self._file, self._blocks, block), "begin_subdat", block)
        _check_size(block, size, sub_data)
        self._chunk.put(number, sub_data, size)


def _check_size(block: int, size: int, sub_data: bytes) -> None:
    if len(sub_data) < size:
        raise TruncatedFileError(
            f"header of block {block}: its rows need {size} bytes of sub data, it has {len(sub_data)}"
        )


def _needed(header: dict[str, Value], key: str, block: int) -> Value:
    if key not in header:
        raise MissingHeaderError(f"header of block {block}: block_infos needs the key {key!r}, which it lacks")
    return header[key]
