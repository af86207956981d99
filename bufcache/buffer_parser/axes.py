"""What the axes of the data stand for: times and frequencies, and the part of an axis that a range of them selects."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Set
from math import inf, isfinite, isnan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bufcache.errors import InvalidArgumentError, InvalidFileError

_SECOND = 1e9  # in ns
_MOST_BANDS = 1 << 20
"""Bands that no file needs to hold to be believed; of more, a whole spectrum must be there."""

_NO_PAIRS = (str, bytes, bytearray, memoryview, Mapping, Set)
"""What can have two items and is no pair of numbers."""


class Axis(NamedTuple):
    """So many evenly spaced values; number i stands at (origin + i * step) / divisor."""

    size: int
    origin: float
    step: float
    divisor: float

    def values(self) -> NDArray[np.float64]:
        """Return all values, float64."""
        with np.errstate(all="ignore"):  # of steps that are no numbers
            values: NDArray[np.float64] = self._at(np.arange(self.size, dtype=np.float64))
        return values

    def between(self, name: str, limits: Any) -> range:
        """Return the numbers of the values from the first limit up to, without, the second; None is no limit.

        Raises
        ------
        InvalidArgumentError
            The limits are not two numbers or None, or in the wrong order.
        InvalidFileError
            The values do not rise.
        """
        low, high = _limits(name, limits)
        if not (self.step > 0 and isfinite(self._at(self.size))):
            raise InvalidFileError(f"no data can be chosen by {name}: the header gives steps of {self.step}")
        numbers = range(self.size)
        return numbers[bisect_left(numbers, low, key=self._at) : bisect_left(numbers, high, key=self._at)]

    def _at(self, number: Any) -> Any:
        return (self.origin + number * self.step) / self.divisor


def times(rows: int, rows_per_spectrum: int, spec_duration: float) -> Axis:
    """Return when the rows of the data start, in s, for a duration of spectra in ns."""
    return Axis(rows, 0.0, float(spec_duration) / rows_per_spectrum, _SECOND)


def frequencies(bands: int, samples: int, start: float, width: float) -> Axis:
    """Return where the bands start, in Hz, in a file of so many samples.

    Raises
    ------
    InvalidFileError
        More bands than can be true.
    """
    if bands > max(samples, _MOST_BANDS):
        raise InvalidFileError(f"{bands} bands in a file of {samples} samples: the header cannot be true")
    return Axis(bands, float(start), float(width), 1.0)


def _limits(name: str, limits: Any) -> tuple[float, float]:
    try:
        if isinstance(limits, _NO_PAIRS):
            raise TypeError
        low, high = limits
        ends = -inf if low is None else float(0.0 + low), inf if high is None else float(0.0 + high)  # no text
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgumentError(f"{name} is {limits!r}; expected two numbers, or None for no limit") from None
    if any(map(isnan, ends)) or ends[0] > ends[1]:
        raise InvalidArgumentError(f"{name} is {limits!r}; expected the smaller number first")
    return ends
