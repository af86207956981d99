"""The logarithm that FFT data are stored with: undone and taken."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bufcache.errors import InvalidArgumentError, UnsupportedFormatError

PIECE = 262_144
"""Samples that are converted at a time: few enough for the processor's cache, and bounded memory."""

_OFFSETS = {14: 23, 16: 23, 24: 31}
"""The exponent that the largest value stands for, by bit resolution."""

_TABLE_SIZE = 1 << 16
"""Values that a 16-bit sample can have."""


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


class Conversion:
    """One direction of a logarithm: called with the array for the results and the samples, of the same shape.

    Samples of 16 bits are looked up in a table. It is made when as many samples were computed one by one as it has
    values, so that neither few samples nor many calls for few of them cost more than twice what they must.
    """

    def __init__(self, *, is_delog: bool, base: np.float64, slope: np.float64) -> None:
        self._is_delog = is_delog
        self._base = base  # the exponent that the smallest value stands for
        self._slope = slope  # the exponents a step
        self._table: NDArray[np.float64] | None = None
        self._computed = 0

    def __call__(self, out: NDArray[np.float64], samples: NDArray[Any]) -> None:
        if samples.dtype != np.uint16:
            self._compute(out, samples)
            return
        if self._table is None:
            self._computed += samples.size
            if self._computed < _TABLE_SIZE:
                self._compute(out, samples)
                return
            self._table = self._make_table()
        self._table.take(samples, mode="clip", out=out)  # any mode but this and "wrap" copies all once more

    def _make_table(self) -> NDArray[np.float64]:
        table = np.empty(_TABLE_SIZE)
        self._compute(table, np.arange(_TABLE_SIZE, dtype=np.uint16))
        return table

    def _compute(self, out: NDArray[np.float64], samples: NDArray[Any]) -> None:
        convert = self._delog if self._is_delog else self._log
        with np.errstate(all="ignore"):  # a signalling NaN, which damage may make, warns where it is copied already
            np.copyto(out, samples)
            if samples.dtype.kind in "bu":  # never negative
                convert(out)
                return
            is_negative = out < 0
            np.abs(out, out=out)
            convert(out)
            np.negative(out, out=out, where=is_negative)

    def _delog(self, values: NDArray[np.float64]) -> None:
        values *= self._slope
        values += self._base
        np.power(2.0, values, out=values)
        values -= np.power(2.0, self._base)

    def _log(self, values: NDArray[np.float64]) -> None:
        values += np.power(2.0, self._base)
        np.log2(values, out=values)
        values -= self._base
        values /= self._slope


@lru_cache(maxsize=4)
def conversion(name: str, fft_log_shift: int, ad_bit_resolution: int) -> Conversion:
    """Return the conversion ``"log"`` or ``"delog"`` for a shift and a resolution.

    The last ones are kept, and with them their tables of half a megabyte.

    Raises
    ------
    UnsupportedFormatError
        No logarithm is defined for that resolution.
    """
    bits = ad_bit_resolution if ad_bit_resolution >= 1 else 16
    if bits not in _OFFSETS:
        raise UnsupportedFormatError(f"no logarithm is defined for a resolution of {bits} bits; only for 14, 16, 24")
    base = np.float64(0.0 + fft_log_shift) - 1  # of small unsigned integers as well
    slope = (_OFFSETS[bits] - base) / np.float64(2.0**bits)
    return Conversion(is_delog=name == "delog", base=base, slope=slope)


def _converted(data: ArrayLike, convert: Conversion) -> NDArray[np.float64]:
    samples = np.asarray(data)
    if samples.dtype.kind not in "biuf":
        samples = _real(samples)
    out = np.empty(samples.shape)
    flat, target = samples.reshape(-1), out.reshape(-1)
    for start in range(0, samples.size, PIECE):
        convert(target[start : start + PIECE], flat[start : start + PIECE])
    return out


def _real(samples: NDArray[Any]) -> NDArray[np.float64]:
    """Return objects that are real numbers as float64."""
    if samples.dtype.kind != "O" or not all(isinstance(value, (Real, Decimal)) for value in samples.flat):
        raise InvalidArgumentError(f"data of type {samples.dtype}; expected real numbers")
    try:
        return samples.astype(np.float64)
    except OverflowError:
        raise InvalidArgumentError("data beyond what float64 can hold") from None
