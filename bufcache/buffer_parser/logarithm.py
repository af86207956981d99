"""The logarithm that FFT data are stored with: undone and taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache, partial
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bufcache.errors import InvalidArgumentError, UnsupportedFormatError

PIECE = 262_144
"""Samples that are converted at a time: few enough for the processor's cache, and bounded memory."""

Converter = Callable[[NDArray[Any], NDArray[Any]], object]
"""Fills the first array with what the samples in the second, of the same shape, become."""

_OFFSETS = {14: 23, 16: 23, 24: 31}
"""The exponent that the largest value stands for, by bit resolution."""

_TABLE_SIZE = 1 << 16
"""Values that a 16-bit sample can have. Fewer samples than these are computed one by one."""


def delog(data: ArrayLike, fft_log_shift: int, ad_bit_resolution: int) -> NDArray[np.float64]:
    """Undo the logarithm of FFT data.

    Parameters
    ----------
    data
        Logarithmic values, real numbers, any shape; left as they are.
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
    InvalidArgumentError
        The data are complex, or no numbers.
    """
    return _converted(data, conversion("delog", fft_log_shift, ad_bit_resolution))


def log(data: ArrayLike, fft_log_shift: int, ad_bit_resolution: int) -> NDArray[np.float64]:
    """Take the logarithm that the Analyzer stores FFT data with; the inverse of `delog`, same parameters.

    Raises
    ------
    UnsupportedFormatError
        No logarithm is defined for that resolution.
    InvalidArgumentError
        The data are complex, or no numbers.
    """
    return _converted(data, conversion("log", fft_log_shift, ad_bit_resolution))


@dataclass(frozen=True, slots=True)
class Conversion:
    """One direction of a logarithm: called with the array for the results and the samples, of the same shape."""

    is_delog: bool
    base: np.float64
    """The exponent that the smallest value stands for."""
    slope: np.float64
    """The exponents a step."""

    def __call__(self, out: NDArray[Any], samples: NDArray[Any]) -> None:
        np.copyto(out, samples)
        if samples.dtype.kind in "bu":  # never negative
            self._convert(out)
            return
        is_negative = out < 0
        np.abs(out, out=out)
        self._convert(out)
        np.negative(out, out=out, where=is_negative)

    def _convert(self, values: NDArray[np.float64]) -> None:
        with np.errstate(all="ignore"):
            (self._delog if self.is_delog else self._log)(values)

    def _delog(self, values: NDArray[np.float64]) -> None:
        values *= self.slope
        values += self.base
        np.power(2.0, values, out=values)
        values -= np.power(2.0, self.base)

    def _log(self, values: NDArray[np.float64]) -> None:
        values += np.power(2.0, self.base)
        np.log2(values, out=values)
        values -= self.base
        values /= self.slope


def conversion(name: str, fft_log_shift: int, ad_bit_resolution: int) -> Conversion:
    """Return the conversion ``"log"`` or ``"delog"`` for a shift and a resolution.

    Raises
    ------
    UnsupportedFormatError
        No logarithm is defined for that resolution.
    """
    bits = ad_bit_resolution if ad_bit_resolution >= 1 else 16
    if bits not in _OFFSETS:
        raise UnsupportedFormatError(f"no logarithm is defined for a resolution of {bits} bits; only for 14, 16, 24")
    base = np.float64(0.0 + fft_log_shift) - 1  # of small unsigned integers as well
    return Conversion(name == "delog", base, (_OFFSETS[bits] - base) / np.float64(2.0**bits))


def fastest(convert: Conversion, dtype: np.dtype[Any], count: int) -> Converter:
    """Return what converts so many samples of a type fastest: 16 bits are looked up where they are many."""
    if dtype != np.uint16 or count < _TABLE_SIZE:
        return convert
    return partial(_look_up, _table(convert))


def _look_up(table: NDArray[np.float64], out: NDArray[np.float64], samples: NDArray[np.uint16]) -> None:
    np.take(table, samples, mode="clip", out=out)  # any mode but this and "wrap" copies all of it once more


@lru_cache(maxsize=4)
def _table(convert: Conversion) -> NDArray[np.float64]:
    """Return the conversion of every 16-bit sample; the last tables are kept, half a megabyte each."""
    table = np.empty(_TABLE_SIZE)
    convert(table, np.arange(_TABLE_SIZE, dtype=np.uint16))
    return table


def _converted(data: ArrayLike, convert: Conversion) -> NDArray[np.float64]:
    samples = np.asarray(data)
    if samples.dtype.kind not in "biuf":
        samples = _real(samples)
    out = np.empty(samples.shape)
    flat, target = samples.reshape(-1), out.reshape(-1)
    convert_piece = fastest(convert, samples.dtype, samples.size)
    for start in range(0, samples.size, PIECE):
        convert_piece(target[start : start + PIECE], flat[start : start + PIECE])
    return out


def _real(samples: NDArray[Any]) -> NDArray[np.float64]:
    """Return objects that are real numbers as float64."""
    if samples.dtype.kind != "O" or not all(isinstance(value, (Real, Decimal)) for value in samples.flat):
        raise InvalidArgumentError(f"data of type {samples.dtype}; expected real numbers")
    try:
        return samples.astype(np.float64)
    except OverflowError:
        raise InvalidArgumentError("data beyond what float64 can hold") from None
