"""Samples out of a file: where they lie, what they are, and reading them.

Data are read into new arrays, never mapped: a mapped file that another process cuts kills the process that reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bufcache.buffer_parser.geometry import Blocks
from bufcache.buffer_parser.layout import FLOAT_SAMPLES
from bufcache.buffer_parser.logarithm import PIECE, Conversion
from bufcache.errors import TruncatedFileError, UnsupportedFormatError

_WINDOW = 1 << 20
"""Bytes of the file that are read at once where its blocks are small."""

_WORTH_A_CALL = 1 << 13
"""Bytes that are sooner read and dropped than stepped over with another call to the system."""

Numbers = range | NDArray[np.intp]
"""Numbers of rows or bands: evenly spaced, or any."""

_SEEKING = Lock()
"""Held between seek and read where the system has no preadv: threads may share a file."""


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of a file, in rows: the spectra, each of so many bands, or the samples of a signal, of one."""

    blocks: Blocks
    dtype: np.dtype[Any]
    rows: int
    bands: int
    rows_per_spectrum: int
    """1, or of a signal the samples of a frame."""
    shape: tuple[int, ...]
    """Shape of all data: (rows, bands), or (rows,) of a signal."""
    all_bands: range


def sample_dtype(bytes_per_sample: int, flags: int) -> np.dtype[Any]:
    """Return the dtype of the samples in a file.

    Raises
    ------
    UnsupportedFormatError
        Samples are neither 2 nor 4 bytes wide.
    """
    if bytes_per_sample == 2:
        return np.dtype("<u2")
    if bytes_per_sample == 4:
        return np.dtype("<f4") if flags & FLOAT_SAMPLES else np.dtype("<u4")
    raise UnsupportedFormatError(f"samples of {bytes_per_sample} bytes; bufcache reads those of 2 and 4")


# -- rows and bands -----------------------------------------------------------------------------------------------


def read_steps(
    file: FileIO, samples: Samples, rows: range, bands: Numbers, conversion: Conversion | None = None
) -> NDArray[Any]:
    """Read chosen bands of chosen rows, any steps apart, piece by piece.

    Raises
    ------
    TruncatedFileError
        The file has become shorter since it was opened.
    """
    if rows.step == 1 and isinstance(bands, range) and bands == samples.all_bands:
        return _read_whole(file, samples, rows, conversion)
    if not rows or not len(bands):
        return np.empty((len(rows), len(bands)), samples.dtype if conversion is None else np.float64)
    if rows.step < 0:
        return read_steps(file, samples, rows[::-1], bands, conversion)[::-1]
    found = np.empty((len(rows), len(bands)), samples.dtype if conversion is None else np.float64)
    convert = conversion or np.copyto
    for position, count in _pieces(samples, rows, len(bands)):
        first, last = rows[position], rows[position + count - 1] + 1
        convert(found[position : position + count], _read_bands(file, samples, first, last, bands)[:: rows.step])
    return found


def read_listed(file: FileIO, samples: Samples, rows: NDArray[np.intp], bands: Numbers) -> NDArray[Any]:
    """Read chosen bands of the rows that an array of their numbers lists, in its order.

    Raises
    ------
    TruncatedFileError
        The file has become shorter since it was opened.
    """
    found = np.empty((len(rows), len(bands)), samples.dtype)
    if not found.size:
        return found
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    for start, stop in _neighbours(samples, ascending):
        first, last = int(ascending[start]), int(ascending[stop - 1]) + 1
        part = _read_bands(file, samples, first, last, bands)
        found[order[start:stop]] = part[ascending[start:stop] - first]
    return found


def _read_whole(file: FileIO, samples: Samples, rows: range, conversion: Conversion | None) -> NDArray[Any]:
    """Read neighbouring rows whole: straight into the result, or converted piece by piece."""
    blocks, bands, width = samples.blocks, samples.bands, samples.dtype.itemsize
    start = rows.start * bands * width
    if conversion is None:
        found = np.empty((len(rows), bands), samples.dtype)
        _read_into(file, blocks, start, found)
        return found
    result = np.empty((len(rows), bands))
    flat, count = result.reshape(-1), result.size
    piece = np.empty(min(PIECE, count), samples.dtype)
    for position in range(0, count, PIECE):
        part = piece[: count - position]
        _read_into(file, blocks, start + position * width, part)
        conversion(flat[position : position + PIECE], part)
    return result


def _pieces(samples: Samples, rows: range, chosen_bands: int) -> Iterator[tuple[int, int]]:
    """Give position and number of the rows that are read at once: one where too much lies between them."""
    skipped = (rows.step - 1) * samples.bands * samples.dtype.itemsize
    most = 1 if skipped >= _WORTH_A_CALL else max(1, PIECE // (max(samples.bands, chosen_bands) * rows.step))
    for position in range(0, len(rows), most):
        yield position, min(most, len(rows) - position)


def _neighbours(samples: Samples, ascending: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Give start and stop of the runs of sorted row numbers that are read at once."""
    widest = 1 + _WORTH_A_CALL // (samples.bands * samples.dtype.itemsize)
    most = max(1, PIECE // samples.bands)
    edges = [0, *(np.flatnonzero(np.diff(ascending) > widest) + 1).tolist(), len(ascending)]
    for start, end in pairwise(edges):
        stop = start
        while stop < end:
            first, stop = stop, stop + int(np.searchsorted(ascending[stop:end], ascending[stop] + most))
            yield first, stop


def _read_bands(file: FileIO, samples: Samples, first: int, last: int, bands: Numbers) -> NDArray[Any]:
    """Read chosen bands of neighbouring rows, one by one where too much lies between them."""
    ends = (bands[0], bands[-1]) if isinstance(bands, range) else (int(bands.min()), int(bands.max()))
    low, high = min(ends), max(ends) + 1
    width, row = samples.dtype.itemsize, samples.bands
    if last - first > 1 and (row - (high - low)) * width < _WORTH_A_CALL:
        low, high = 0, row
    found = np.empty((last - first, high - low), samples.dtype)
    if high - low == row:
        _read_into(file, samples.blocks, first * row * width, found)
    else:
        for number, target in enumerate(found, first):
            _read_into(file, samples.blocks, (number * row + low) * width, target)
    if not isinstance(bands, range):
        return found.take(bands - low, axis=1)
    start, stop = bands[0] - low, bands[-1] - low + (1 if bands.step > 0 else -1)
    return found[:, start : None if stop < 0 else stop : bands.step]


# -- bytes --------------------------------------------------------------------------------------------------------


def _read_into(file: FileIO, blocks: Blocks, start: int, target: NDArray[Any]) -> None:
    """Fill an array with the data bytes from `start` on."""
    block, inside = divmod(start, blocks.db_size)
    if inside + target.nbytes <= blocks.db_size:
        read_exactly(file, blocks.data_offset(block) + inside, target.data)
    elif max(blocks.db_size, blocks.db_header_size) < _WORTH_A_CALL:
        _read_small_blocks(file, blocks, start, target.reshape(-1).view(np.uint8))
    else:
        _read_by_block(file, blocks, start, target.reshape(-1).view(np.uint8).data)


def _read_by_block(file: FileIO, blocks: Blocks, start: int, target: memoryview) -> None:
    """Read each block's bytes straight to their place."""
    position = 0
    for offset, length in blocks.extents(start, start + len(target)):
        read_exactly(file, offset, target[position : position + length])
        position += length


def _read_small_blocks(file: FileIO, blocks: Blocks, start: int, target: NDArray[np.uint8]) -> None:
    """Read the whole blocks of a range with their headers, many at once, and what stands before and behind them."""
    size = blocks.db_size
    head = -start % size
    stop = head + (len(target) - head) // size * size
    _read_by_block(file, blocks, start, target[:head].data)
    _read_whole_blocks(file, blocks, (start + head) // size, target[head:stop].reshape(-1, size))
    _read_by_block(file, blocks, start + stop, target[stop:].data)


def _read_whole_blocks(file: FileIO, blocks: Blocks, first: int, target: NDArray[np.uint8]) -> None:
    """Fill each row of the target with the data of one block."""
    size, period = blocks.db_size, blocks.db_size + blocks.db_header_size
    most = max(1, min(_WINDOW // period, len(target)))
    window = np.empty((most, period), np.uint8)  # a row is a block's data and the next block's header
    for position in range(0, len(target), most):
        count = min(most, len(target) - position)
        wanted = window.reshape(-1)[: count * period - blocks.db_header_size]
        read_exactly(file, blocks.data_offset(first + position), wanted.data)
        target[position : position + count] = window[:count, :size]


def read_exactly(file: FileIO, offset: int, target: memoryview) -> None:
    """Fill memory with the bytes of the file from an offset on.

    Raises
    ------
    TruncatedFileError
        The file ends before.
    """
    size = target.nbytes
    done = _read_at(file, offset, target) if size else 0
    while done < size:
        rest = np.frombuffer(target, np.uint8)[done:].data
        count = _read_at(file, offset + done, rest)
        if not count:
            raise TruncatedFileError(f"{size - done} bytes from offset {offset + done} on are gone since it was opened")
        done += count


def _read_at(file: FileIO, offset: int, target: memoryview) -> int:
    """Read from an offset into memory and return how many bytes; the only place that reads blocks."""
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), (target,), offset)
    with _SEEKING:  # on Windows
        file.seek(offset)
        return file.readinto(target)
