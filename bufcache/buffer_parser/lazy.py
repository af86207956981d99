"""LazyArray: the data of a file, read as they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import FileIO
from itertools import chain
from operator import index
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

from bufcache.arguments import integer
from bufcache.buffer_parser.data import Numbers, Samples, read_listed, read_steps
from bufcache.buffer_parser.logarithm import PIECE
from bufcache.errors import InvalidArgumentError

T = TypeVar("T")

_Chosen = Numbers | int
"""What is wanted of an axis: its numbers, or one of them."""

_WAY_OUT = "index numpy.asarray(data) with it"


class Source(Protocol):
    """What data are read from: a `Buffer`."""

    @property
    def filepath(self) -> str | os.PathLike[str]:
        """Path of the file."""

    def _reading(self, read: Callable[[FileIO], T]) -> T:
        """Call a function with the open file."""


class LazyArray(NDArrayOperatorsMixin):
    """The data of a buffer file like a numpy array that is still on disk; `Buffer.data` gives one.

    An index reads what it needs and gives a new numpy array, or a numpy scalar. Either axis takes integers, slices
    with any step, and arrays or lists of integers or booleans, but only one axis at a time such an array. These mean
    what they mean in numpy, and wrong ones raise the same IndexError. What numpy takes besides is an IndexError here:
    None for a new axis, True and False, masks of both axes at once, arrays on both axes; index ``numpy.asarray(data)``
    with these. Inside of the buffer's ``with`` block the open file is read; without one each access opens and closes
    it; after it each access raises ClosedError.

    ``numpy.asarray``, numpy's functions, arithmetic, comparisons and ``in`` read everything, and give what they give
    of an array; what would change the data in place is a TypeError. The shape is that of the moment in which
    `Buffer.data` was asked for: a file that has grown since is seen after `Buffer.refresh` in a new `Buffer.data`.

    Notes
    -----
    The file is read, not mapped into memory: where a file that is mapped becomes shorter, the system kills the process
    that touches what is gone. Here that is a TruncatedFileError.
    """

    def __init__(self, source: Source, samples: Samples) -> None:
        self._source = source
        self._samples = samples

    # -- like an array ----------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """(spectra, frequency bands), or (samples,) of a signal."""
        return self._samples.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples: uint16, uint32 or float32."""
        return self._samples.dtype

    @property
    def ndim(self) -> int:
        """Number of axes: 2, or 1 of a signal."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of samples."""
        return self._samples.rows * self._samples.bands

    @property
    def nbytes(self) -> int:
        """Bytes that all samples take in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self._samples.rows

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.shape} {self.dtype} of {os.fspath(self._source.filepath)!r}>"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(f"{self!r} is on disk: an array of it is always a copy")
        found: NDArray[Any] = self[...]
        return found if dtype is None else found.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        is_written = method == "at" and inputs[0] is self
        if is_written or any(isinstance(target, LazyArray) for target in keywords.get("out", ())):
            return NotImplemented
        arrays = {name: _in_memory(value) for name, value in keywords.items()}
        return getattr(ufunc, method)(*map(_in_memory, inputs), **arrays)

    def __contains__(self, value: object) -> bool:
        return value in np.asarray(self)

    # -- reading ----------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        axes = [*map(_chosen, _for_each_axis(key, self.ndim), self.shape, range(self.ndim))]
        if len(axes) > 1 and all(isinstance(axis, np.ndarray) for axis in axes):
            raise IndexError(f"only one axis takes an array at a time; {_WAY_OUT}, or the result with the other one")
        rows, bands = axes if len(axes) > 1 else (axes[0], 0)
        found = self._read(_numbers(rows), _numbers(bands))
        found = found[tuple(0 if isinstance(axis, int) else slice(None) for axis in (rows, bands))]
        if isinstance(rows, np.ndarray):
            return found.reshape(rows.shape + found.shape[1:])
        return found.reshape(found.shape[:-1] + bands.shape) if isinstance(bands, np.ndarray) else found

    def _read(self, rows: Numbers, bands: Numbers) -> NDArray[Any]:
        def read(file: FileIO) -> NDArray[Any]:
            if isinstance(rows, range):
                return read_steps(file, self._samples, rows, bands)
            return read_listed(file, self._samples, rows, bands)

        return self._source._reading(read)

    def __iter__(self) -> Iterator[Any]:
        per_block = max(1, PIECE // max(1, self._samples.bands))
        return chain.from_iterable(self._blocks(per_block))

    def iter_blocks(self, spectra: int) -> Iterator[NDArray[Any]]:
        """Give all data in order, in arrays of so many spectra, the last one of fewer: for files larger than memory.

        Of a signal, `spectra` counts frames of `Buffer.frq_bands` samples, as everywhere.

        Raises
        ------
        InvalidArgumentError
            Not an integer, or below 1.
        """
        count = integer("spectra", spectra)
        if count < 1:
            raise InvalidArgumentError(f"spectra is {count}; expected at least 1")
        return self._blocks(count * self._samples.rows_per_spectrum)

    def _blocks(self, rows: int) -> Iterator[NDArray[Any]]:
        return (self[first : first + rows] for first in range(0, len(self), rows))


def _for_each_axis(key: Any, ndim: int) -> tuple[Any, ...]:
    """Return the index of each axis: all of an axis where the key says nothing of it."""
    keys = key if isinstance(key, tuple) else (key,)
    if any(item is None or isinstance(item, (bool, np.bool_)) for item in keys):
        raise IndexError(f"no new axes, True or False here; {_WAY_OUT}")
    dots = [place for place, item in enumerate(keys) if item is ...]
    if len(dots) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    given = len(keys) - len(dots)
    if given > ndim:
        raise IndexError(f"too many indices: the data have {ndim} axes, but {given} were indexed")
    place = dots[0] if dots else len(keys)
    return *keys[:place], *[slice(None)] * (ndim - given), *keys[place + 1 :]


def _chosen(item: Any, length: int, axis: int) -> _Chosen:
    """Return what an index names of an axis, all numbers counted from its start."""
    if isinstance(item, slice):
        return range(length)[item]
    with suppress(TypeError):
        number = index(item)
        if not -length <= number < length:
            raise _out_of_bounds(number, length, axis)
        return number % length
    array = np.asarray(item)
    is_empty_list = not array.size and not isinstance(item, np.ndarray)  # an array of floats to numpy
    return _chosen_by_array(array.astype(np.intp) if is_empty_list else array, length, axis)


def _chosen_by_array(array: NDArray[Any], length: int, axis: int) -> NDArray[np.intp]:
    if array.dtype == np.bool_:
        if array.shape != (length,):
            hint = f"; {_WAY_OUT}" if array.ndim != 1 else ""
            raise IndexError(f"boolean index of shape {array.shape} for axis {axis} with size {length}{hint}")
        return np.flatnonzero(array)
    if array.dtype.kind not in "iu":
        raise IndexError(
            f"{array!r} for axis {axis}: only integers, slices, ellipsis and arrays of integers or booleans"
        )
    outside = array[(array < -length) | (array >= length)]
    if outside.size:
        raise _out_of_bounds(outside[0], length, axis)
    array = array.astype(np.intp)
    return np.where(array < 0, array + length, array)


def _out_of_bounds(number: int, length: int, axis: int) -> IndexError:
    return IndexError(f"index {number} is out of bounds for axis {axis} with size {length}")


def _numbers(chosen: _Chosen) -> Numbers:
    """Return all numbers of what is wanted of an axis, one after the other."""
    if isinstance(chosen, int):
        return range(chosen, chosen + 1)
    return chosen.reshape(-1) if isinstance(chosen, np.ndarray) else chosen


def _in_memory(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, LazyArray) else value
