"""Samples out of a file: types, reading, the logarithm."""

from __future__ import annotations

import os
from io import FileIO
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bufcache.buffer_parser.geometry import Blocks
from bufcache.buffer_parser.layout import FLOAT_SAMPLES
from bufcache.errors import TruncatedFileError, UnsupportedFormatError

_LOG_OFFSETS = {14: 23, 16: 23, 24: 31}
"""The exponent that the largest value stands for, by bit resolution."""


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


def read_samples(file: FileIO, blocks: Blocks, dtype: np.dtype[Any], first: int, count: int) -> NDArray[Any]:
    """Read `count` samples from sample `first` on into a new array, block by block.

    Raises
    ------
    TruncatedFileError
        The file has become shorter since it was opened.
    """
    samples = np.empty(count, dtype)
    target = samples.view(np.uint8).data
    position = 0
    start = first * dtype.itemsize
    for offset, length in blocks.extents(start, start + len(target)):
        _read_exactly(file, offset, target[position : position + length])
        position += length
    return samples


def _read_exactly(file: FileIO, offset: int, target: memoryview) -> None:
    file.seek(offset, os.SEEK_SET)
    while target:
        count = file.readinto(target)
        if not count:
            raise TruncatedFileError(f"{len(target)} bytes from offset {file.tell()} on are gone since it was opened")
        target = target[count:]


def delog(data: ArrayLike, fft_log_shift: int, ad_bit_resolution: int) -> NDArray[np.float64]:
    """Undo the logarithm of FFT data.

    Parameters
    ----------
    data
        Logarithmic values, any shape; left as they are.
    fft_log_shift
        The shift of the logarithm, as the file header gives it.
    ad_bit_resolution
        14, 16 or 24; below 1 counts as 16.

    Returns
    -------
    float64 array of the same shape, signs kept.

    Raises
    ------
    UnsupportedFormatError
        No logarithm is defined for that resolution.
    """
    base, slope = _log_scale(fft_log_shift, ad_bit_resolution)
    values = np.asarray(data, np.float64)
    with np.errstate(all="ignore"):
        return _with_sign(np.power(2.0, np.abs(values) * slope + base) - np.power(2.0, base), values)


def log(data: ArrayLike, fft_log_shift: int, ad_bit_resolution: int) -> NDArray[np.float64]:
    """Take the logarithm that the Analyzer stores FFT data with; the inverse of `delog`, same parameters."""
    base, slope = _log_scale(fft_log_shift, ad_bit_resolution)
    values = np.asarray(data, np.float64)
    with np.errstate(all="ignore"):
        return _with_sign((np.log2(np.abs(values) + np.power(2.0, base)) - base) / slope, values)


def _with_sign(magnitudes: NDArray[np.float64], signed: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(signed < 0, -magnitudes, magnitudes)


def _log_scale(fft_log_shift: int, ad_bit_resolution: int) -> tuple[np.float64, np.float64]:
    """Return the exponent of the smallest value, and the exponents a step."""
    bits = ad_bit_resolution if ad_bit_resolution >= 1 else 16
    if bits not in _LOG_OFFSETS:
        raise UnsupportedFormatError(f"no logarithm is defined for a resolution of {bits} bits; only for 14, 16, 24")
    base = np.float64(fft_log_shift - 1)
    return base, (_LOG_OFFSETS[bits] - base) / np.float64(2.0**bits)
