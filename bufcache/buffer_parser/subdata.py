"""Sub data: what block headers say along the data, as a table of columns. Bytes and numbers in, arrays out.

Sub data are entries of 10 or 20 words, each of which describes a number of data bytes; they may describe a part of a
spectrum, or several spectra. docs/file-format.md tells what stands in an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import NDArray

from bufcache.arguments import integer
from bufcache.buffer_parser.geometry import Blocks
from bufcache.buffer_parser.layout import SUB_DATA_END
from bufcache.errors import InvalidArgumentError, InvalidFileError
from bufcache.names import nearest

Integers = NDArray[np.int64]
T = TypeVar("T", bound=np.generic)

WORD_SIZE = 4
"""Bytes of a word of sub data, an int32."""

_NARROW, _WIDE = 10, 20
_WIDE_SIGN = 80
"""What stands in the first word behind a narrow entry where entries are wide: the size of one in bytes."""

_PORT_BITS = 0xFFFFFF
_MOST_BLOCKS = 4096
_CHUNK = 1 << 20
"""Bytes of block headers that are held at once, where one is not larger."""

_BELIEVED = 1 << 22
"""Numbers of a table for which there is room from the start."""


class _Column(NamedTuple):
    """Where a data column stands in an entry, and how it is read from there."""

    word: int
    shift: int = 0
    inverted_bits: int = 0


DATA_COLUMNS = {
    "preamp_gain": _Column(0, shift=16),
    "mux_port": _Column(1),
    "measure_positions": _Column(2),
    "inputs": _Column(3, inverted_bits=0xFFFFFF),
    "outputs": _Column(5, inverted_bits=0xFFFF),
}
"""The columns that sub data hold, in the order of the default."""

INDEX_COLUMNS = ("times", "index", "spectrums")
"""The columns that say what a row describes."""


class Selection(NamedTuple):
    """What of the sub data is wanted."""

    columns: tuple[str, ...]
    changes_only: bool

    @property
    def data(self) -> list[int]:
        """The places of the data columns among the columns."""
        return [place for place, name in enumerate(self.columns) if name in DATA_COLUMNS]


def selection(columns: Iterable[str] | None, changes_only: bool) -> Selection:
    """Return what is wanted, the default columns where `columns` is None.

    Raises
    ------
    InvalidArgumentError
        Unknown, repeated or no data columns, or changes without an index column.
    """
    names = _names(columns)
    known = (*DATA_COLUMNS, *INDEX_COLUMNS)
    for name in names:
        if name not in known:
            raise InvalidArgumentError(f"there is no column {name!r}; expected {_listed(known)}{_hint(name, known)}")
        if names.count(name) > 1:
            raise InvalidArgumentError(f"column {name!r} is named {names.count(name)} times; expected once")
    if not set(names) & set(DATA_COLUMNS):
        raise InvalidArgumentError(f"columns {list(names)}: expected at least one of {_listed(DATA_COLUMNS)}")
    if changes_only and not set(names) & set(INDEX_COLUMNS):
        raise InvalidArgumentError(
            f"changes_only with columns {list(names)}: changes say nothing without one of {_listed(INDEX_COLUMNS)}"
        )
    return Selection(names, bool(changes_only))


def _names(columns: Iterable[str] | None) -> tuple[str, ...]:
    if columns is None:
        return tuple(DATA_COLUMNS)
    if isinstance(columns, str) or not isinstance(columns, Iterable):
        raise InvalidArgumentError(f"columns is {columns!r}; expected a list of names")
    return tuple(columns)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _hint(name: object, known: Iterable[str]) -> str:
    return nearest(name, known) if isinstance(name, str) else ""


def io_ports(value: int, byte: SupportsIndex | None, bit: SupportsIndex | None) -> int | bool:
    """Return the ports that the ``io_ports`` of a block header stand for: all 24, 8 of them, or one.

    Raises
    ------
    InvalidArgumentError
        byte is none of 1, 2, 4; bit is not in 1 to 8, or there is no byte that it is in.
    """
    byte = None if byte is None else integer("byte", byte)
    bit = None if bit is None else integer("bit", bit)
    if byte not in (None, 1, 2, 4):
        raise InvalidArgumentError(f"byte is {byte!r}; expected None, 1, 2 or 4")
    if bit is not None and byte is None:
        raise InvalidArgumentError(f"bit is {bit!r} and byte is None; expected 1, 2 or 4 for the byte that it is in")
    if bit is not None and bit not in range(1, 9):
        raise InvalidArgumentError(f"bit is {bit!r}; expected None, or 1 to 8")
    ports = ~value & _PORT_BITS
    if byte is None:
        return ports
    ports = ports >> 8 * (byte.bit_length() - 1) & 0xFF
    return ports if bit is None else bool(ports >> bit - 1 & 1)


# -- which entry describes what -----------------------------------------------------------------------------------


class Scale(NamedTuple):
    """How entries lie over the spectra; the same in all blocks of a file.

    There is a row an entry where an entry describes a spectrum or more, else a row a spectrum.
    """

    spectrum_size: int
    described_size: int
    entry_words: int

    @property
    def width(self) -> float:
        """Spectra an entry."""
        return self.described_size / self.spectrum_size

    @property
    def ratio(self) -> float:
        """Entries a spectrum, rounded as the vendor's package does: it decides which entry is that of a spectrum."""
        return 1 / self.width

    def rows(self, spectra: Integers) -> Integers:
        """Return the number of rows of blocks with so many spectra."""
        return spectra if self.ratio >= 1 else (spectra * self.ratio).astype(np.int64)

    def entries(self, rows: Integers) -> Integers:
        """Return the entries that rows are taken from."""
        return rows if self.ratio <= 1 else (rows * self.ratio).astype(np.int64)

    def spectra(self, rows: Integers) -> Integers:
        """Return the spectra that rows begin with, counted from the first of the block."""
        return rows if self.ratio >= 1 else (rows * self.width).astype(np.int64)

    def sizes(self, rows: Integers) -> Integers:
        """Return the bytes of sub data that so many rows need."""
        last = self.entries(np.maximum(rows - 1, 0))
        return np.where(rows > 0, (last + 1) * (self.entry_words * WORD_SIZE), 0)

    def largest(self, block_size: int, spectra: int) -> int:
        """Return the bytes of sub data that no block of a file of so many spectra needs more than."""
        most = np.array([min(block_size // self.spectrum_size + 1, spectra)], np.int64)
        return int(self.sizes(self.rows(most))[0])


def scale(spectrum_size: int, described_size: int, sub_data: bytes) -> Scale:
    """Return how the entries lie, of which the sub data of block 0 are an example.

    Raises
    ------
    InvalidFileError
        An entry cannot describe so many bytes.
    """
    if described_size < 1:
        raise InvalidFileError(f"sd_rsize is {described_size}; an entry of sub data describes at least 1 byte")
    sign = sub_data[_NARROW * WORD_SIZE : (_NARROW + 1) * WORD_SIZE]
    is_wide = sign == _WIDE_SIGN.to_bytes(WORD_SIZE, "little")
    return Scale(spectrum_size, described_size, _WIDE if is_wide else _NARROW)


class Run(NamedTuple):
    """Neighbouring blocks: the first of them, and of each its first spectrum, its rows and the bytes they need."""

    block: int
    first_row: int
    first_spectra: Integers
    rows: Integers
    sizes: Integers
    row_count: int
    """Rows of all blocks."""
    longest: int
    """Rows of the block that has most."""
    is_even: bool
    """Whether all blocks have so many, but the last may have fewer."""

    def each_row(self, grid: NDArray[T]) -> NDArray[T]:
        """Return what belongs to rows, one behind the other, of a grid that is as wide as the longest block."""
        if self.is_even:
            return grid.reshape(-1)[: self.row_count]
        return grid[np.arange(grid.shape[1]) < self.rows[:, None]]


def runs(how: Scale, blocks: Blocks, spectra: int, length: int) -> Iterator[Run]:
    """Give the blocks of a file of so many spectra in runs of at most `length`."""
    row = 0
    for block in range(0, blocks.count, length):
        numbers = np.arange(block, min(block + length, blocks.count) + 1, dtype=np.int64)
        edges = np.minimum(numbers * blocks.db_size // how.spectrum_size, spectra)
        rows = how.rows(edges[1:] - edges[:-1])
        count, longest = int(rows.sum()), int(rows.max())
        is_even = not np.count_nonzero(rows[:-1] - longest)
        yield Run(block, row, edges[:-1], rows, how.sizes(rows), count, longest, is_even)
        row += count


# -- entries to columns -------------------------------------------------------------------------------------------


class Chunk:
    """Room for the headers of some blocks, or for what their rows need of them.

    Parameters
    ----------
    start
        Offset of the sub data in a header.
    size
        The most bytes that are put here of a header.
    """

    def __init__(self, start: int, size: int) -> None:
        self._start = start
        self._head = -start % WORD_SIZE  # so that words begin where words can be read best
        stride = self._head + max(size, _WIDE * WORD_SIZE)
        self._stride = stride + -stride % WORD_SIZE
        self.blocks = min(_MOST_BLOCKS, max(1, _CHUNK // self._stride))
        """The number of headers that there is room for."""
        self._bytes = bytearray(self.blocks * self._stride)
        self._view = memoryview(self._bytes)
        self._words = np.frombuffer(self._bytes, "<i4")[(self._head + start) // WORD_SIZE :]

    def room(self, number: int, size: int) -> memoryview:
        """Return the room for so many bytes of a header."""
        begin = number * self._stride + self._head
        return self._view[begin : begin + size]

    def put(self, number: int, sub_data: bytes, size: int) -> None:
        """Put so many bytes of sub data where those of a header belong."""
        begin = number * self._stride + self._head + self._start
        self._view[begin : begin + size] = memoryview(sub_data)[:size]

    def has_end_within(self, number: int, size: int) -> bool:
        """Tell whether the key that ends sub data stands within the first bytes of them."""
        start = number * self._stride + self._head + self._start
        stop = start + size
        is_there = self._bytes.find
        if is_there(b"_", start, stop) < 0 or is_there(b"u", start, stop) < 0:  # ten times as fast as the next line
            return False
        return is_there(SUB_DATA_END, start, stop) >= 0

    def read(self, table: Integers, columns: tuple[str, ...], how: Scale, run: Run, spec_duration: float) -> None:
        """Fill a table, each column of which is one of its rows, with the rows of a run."""
        within = np.arange(run.longest)
        words = self._words_of(how, run, within)
        for name, column in zip(columns, table, strict=True):
            if name in DATA_COLUMNS:
                _fill(column, words(DATA_COLUMNS[name].word), DATA_COLUMNS[name])
            elif name == "index":
                column[:] = np.arange(run.first_row, run.first_row + len(column))
            elif name == "spectrums":
                column[:] = run.each_row(run.first_spectra[:, None] + how.spectra(within))
            else:
                column[:] = run.each_row(_times(how, within, run.first_spectra[:, None], spec_duration))

    def _words_of(self, how: Scale, run: Run, within: Integers) -> Callable[[int], NDArray[np.int32]]:
        """Return a function that gives one word of the entry of each row."""
        step = max(1.0, how.ratio)
        if run.is_even and step.is_integer():
            shape = len(run.rows), len(within), how.entry_words
            strides = self._stride, int(step) * how.entry_words * WORD_SIZE, WORD_SIZE
            entries: NDArray[np.int32] = np.ndarray(shape, "<i4", self._bytes, self._head + self._start, strides)
            return lambda word: run.each_row(entries[:, :, word].copy())  # twice as fast as to take each
        starts = np.arange(len(run.rows)) * (self._stride // WORD_SIZE)
        places = run.each_row(starts[:, None] + how.entries(within) * how.entry_words)
        return lambda word: np.take(self._words[word:], places, mode="clip")  # no place is beyond; faster than to look


def _fill(column: Integers, values: NDArray[np.int32], meaning: _Column) -> None:
    if meaning.inverted_bits:
        np.invert(values, out=values)
        values &= meaning.inverted_bits
    elif meaning.shift:
        values >>= meaning.shift
    column[:] = values


def _times(how: Scale, rows: Integers, first_spectra: Integers, spec_duration: float) -> NDArray[np.float64]:
    """Return the times in ns at which rows begin, whole numbers that an int64 can hold."""
    with np.errstate(all="ignore"):
        times = np.trunc(rows * (spec_duration / min(1, how.ratio)) + first_spectra * float(spec_duration))
    if not np.all(np.abs(times) < 2.0**63):  # nor where they are no numbers
        raise InvalidFileError(f"spectra of {spec_duration} ns begin at times that no integer of 64 bits can hold")
    return times


class Table:
    """The wanted columns of the rows read so far, which grows as they are read.

    What a file claims is only believed up to 32 MB; what is more is asked for when as much has been read.
    """

    def __init__(self, wanted: Selection, rows: int) -> None:
        self._wanted = wanted
        self._room = np.empty((len(wanted.columns), min(rows, _BELIEVED // len(wanted.columns))), np.int64)
        self._filled = 0

    def add(self, chunk: Chunk, how: Scale, run: Run, spec_duration: float) -> None:
        """Add the rows of the run that a chunk holds."""
        start, stop = self._filled, self._filled + run.row_count
        if stop > self._room.shape[1]:
            self._grow(stop)
        added = self._room[:, start:stop]
        chunk.read(added, self._wanted.columns, how, run, spec_duration)
        if self._wanted.changes_only:
            changed = self._is_changed(start, stop)
            stop = start + int(np.count_nonzero(changed))
            self._room[:, start:stop] = added[:, changed]
        self._filled = stop

    def rows(self) -> Integers:
        """Return the table as the caller wants it, a column beside the other."""
        is_sparse = 2 * self._filled < self._room.shape[1]
        filled = self._room[:, : self._filled]
        return (filled.copy() if is_sparse else filled).T

    def _grow(self, rows: int) -> None:
        room = np.empty((len(self._room), max(rows, 2 * self._room.shape[1])), np.int64)
        room[:, : self._filled] = self._room[:, : self._filled]
        self._room = room

    def _is_changed(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Tell of added rows whether their data differ from the row before; the last that was kept has its data."""
        before = max(start - 1, 0)
        data = self._room[self._wanted.data, before:stop]
        is_changed = (data[:, 1:] != data[:, :-1]).any(axis=0)
        return is_changed if start else np.append(True, is_changed)[: stop - start]
