"""One buffer file: opening it, its properties, its data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, TypeVar

from bufcache.arguments import integer
from bufcache.buffer_parser import axes, layout, logarithm
from bufcache.buffer_parser.axes import Axis
from bufcache.buffer_parser.block_headers import BlockHeaders
from bufcache.buffer_parser.data import Samples, read_exactly, read_steps, sample_dtype
from bufcache.buffer_parser.header import Header, header_size, parse_header
from bufcache.buffer_parser.lazy import LazyArray
from bufcache.buffer_parser.logarithm import Conversion
from bufcache.errors import ClosedError, InvalidArgumentError, InvalidFileError, TruncatedFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

Limits = tuple[float | None, float | None]
"""From the first number up to, without, the second; None is no limit."""

_FIRST_READ = 4096


class Buffer(BlockHeaders):
    """A buffer file: one channel of one measured process.

    Nothing is opened before the first property is asked for or the ``with`` block is entered. Inside ``with`` the
    file stays open; without it each call opens and closes the file. After ``with`` or `close` the properties of a
    header that was read still answer, and data access raises ClosedError.

    A property whose key is missing in the header and that has no default raises MissingHeaderError; one that
    cannot be computed from what the header says raises InvalidFileError.

    Parameters
    ----------
    filepath
        Path of the file, as str or os.PathLike; the property `filepath` gives it back as it is.

    Raises
    ------
    InvalidFileError
        When the header is read: not a buffer file, or a damaged header.
    TruncatedFileError
        The file ends inside its header.
    """

    log = staticmethod(logarithm.log)
    delog = staticmethod(logarithm.delog)

    def __init__(self, filepath: str | os.PathLike[str]) -> None:
        self._filepath = filepath
        self._file: FileIO | None = None
        self._loaded: Header | None = None
        self._known_samples: Samples | None = None
        self._is_closed = False

    # -- opening and closing ----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.close()
        self._file = self._open()
        self._is_closed = False
        try:
            self._load(self._file)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the properties of a header that was read still answer."""
        self._is_closed = True
        if self._file is not None:
            self._file.close()
            self._file = None

    def __reduce__(self) -> tuple[type[Self], tuple[str | os.PathLike[str]]]:
        return type(self), (self._filepath,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({os.fspath(self._filepath)!r})"

    def _open(self) -> FileIO:
        return open(self._filepath, "rb", buffering=0)

    @contextmanager
    def _opened(self) -> Iterator[FileIO]:
        if self._is_closed:
            raise ClosedError(f"{self._filepath}: the buffer is closed; use it inside its 'with' block")
        if self._file is not None:
            yield self._file
            return
        with self._open() as file:
            yield file

    def _load(self, file: FileIO) -> Header:
        file_size = os.fstat(file.fileno()).st_size
        self._loaded = self._named(lambda: parse_header(_read_header(file, file_size), file_size))
        self._known_samples = None
        return self._loaded

    @property
    def _header(self) -> Header:
        if self._loaded is not None:
            return self._loaded
        with self._opened() as file:
            return self._load(file)

    @property
    def filepath(self) -> str | os.PathLike[str]:
        """Path of the file, as it was given."""
        return self._filepath

    # -- data -------------------------------------------------------------------------------------------------

    def get_data(
        self,
        specFrom: SupportsIndex | None = None,
        specTo: SupportsIndex | None = None,
        conversion: str | None = None,
        *,
        frequency: Limits | None = None,
        time: Limits | None = None,
    ) -> NDArray[Any]:
        """Read spectra, or the frames of a signal.

        Parameters
        ----------
        specFrom, specTo
            First spectrum, and the one behind the last; all where they are None.
        conversion
            ``"delog"`` undoes the logarithm of data that have one, ``"log"`` takes it of data that have none; other
            data stay as they are.
        frequency
            (low, high) in Hz: only the bands with low <= `frequencies` < high. None is no limit.
        time
            (start, stop) in s, in the place of specFrom and specTo: only the spectra, or the samples of a signal,
            with start <= `times` < stop. None is no limit.

        Returns
        -------
        Array of shape (spectra, bands), or flat for a signal; uint16, uint32 or float32 as in the file, float64
        after a conversion. The caller owns it.

        Raises
        ------
        InvalidArgumentError
            Indices that are not integers or not 0 <= specFrom <= specTo <= `spec_count`; limits that are not two
            numbers or in the wrong order; specFrom or specTo beside `time`; `frequency` of a signal; an unknown
            conversion.
        UnsupportedFormatError
            Samples or a resolution that cannot be converted.
        TruncatedFileError
            The file has become shorter since its size was taken.
        """
        asked: Any = conversion  # an array cannot be compared
        if asked is not None and not (isinstance(asked, str) and asked in ("log", "delog")):
            raise InvalidArgumentError(f"conversion is {conversion!r}; expected None, 'log' or 'delog'")
        if time is not None and not (specFrom is None and specTo is None):
            raise InvalidArgumentError("the spectra are chosen by time or by specFrom and specTo, not by both")

        def read(file: FileIO) -> NDArray[Any]:
            samples = self._samples
            rows = _rows(samples, specFrom, specTo) if time is None else self._times.between("time", time)
            bands = samples.all_bands if frequency is None else self._bands_between(frequency)
            found = read_steps(file, samples, rows, bands, self._conversion(conversion))
            return found if len(samples.shape) > 1 else found.reshape(-1)

        return self._reading(read)

    def getArray(
        self,
        specFrom: SupportsIndex | None = None,
        specTo: SupportsIndex | None = None,
        delog: bool | None = None,
    ) -> NDArray[Any]:
        """Read spectra as `get_data` does, with the logarithm undone where `delog` is true."""
        return self.get_data(specFrom, specTo, "delog" if delog else None)

    @property
    def data(self) -> LazyArray:
        """All data like a numpy array that is still on disk: an index reads what it needs (`LazyArray`)."""
        return LazyArray(self, self._samples)

    @property
    def times(self) -> NDArray[np.float64]:
        """When each spectrum starts, or each sample of a signal, in s after the first: the first axis of `data`.

        Spectra are `spec_duration` apart, the samples of a signal `spec_duration` / `frq_bands`.
        """
        return self._times.values()

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """Where each band starts, in Hz: `frq_start` + i * `frq_per_band`, the second axis of `data`."""
        return self._frequencies.values()

    def refresh(self) -> Self:
        """Take the size of the file anew, for one that is being recorded.

        The counts and `get_data` follow; what `data` gave before keeps its shape. The header is read again, and must
        be the one that is known: with another one the file is another file, and the buffer stays as it was.

        Returns
        -------
        The buffer itself.

        Raises
        ------
        ClosedError
            The buffer is closed.
        TruncatedFileError
            The file is now shorter than its header.
        InvalidFileError
            Another header stands there now.
        """
        self._reading(self._take_size)
        return self

    def _take_size(self, file: FileIO) -> None:
        header, size = self._header, os.fstat(file.fileno()).st_size
        raw = bytearray(len(header.raw))
        if size < len(raw):
            raise TruncatedFileError(f"the header has {len(raw)} bytes, but {size} are left of the file")
        read_exactly(file, 0, memoryview(raw))
        if raw != header.raw:
            raise InvalidFileError("another file stands at this path; open a new Buffer")
        self._loaded, self._known_samples = header._replace(file_size=size), None

    def _reading(self, read: Callable[[FileIO], T]) -> T:
        """Call a function with the open file, the header known; put the path into its errors."""
        if self._file is not None:  # and its header was read
            return self._named(read, self._file)
        with self._opened() as file:
            if self._loaded is None:
                self._load(file)
            return self._named(read, file)

    @property
    def _samples(self) -> Samples:
        """Where the samples lie and what they are; computed once a size of the file."""
        if self._known_samples is None:
            self._known_samples = self._find_samples()
        return self._known_samples

    def _find_samples(self) -> Samples:
        width, bands, spectra, blocks = self.bytes_per_sample, self.frq_bands, self.spec_count, self._blocks
        flags = self._need("the sample type", "p__flags") if width == 4 else 0
        dtype = self._named(sample_dtype, width, flags)
        if self.datamode == layout.DATAMODE.DATAMODE_SIGNAL:
            return Samples(blocks, dtype, spectra * bands, 1, bands, (spectra * bands,), range(1))
        return Samples(blocks, dtype, spectra, bands, 1, (spectra, bands), range(bands))

    def _bands_between(self, limits: Limits) -> range:
        if len(self._samples.shape) == 1:
            raise InvalidArgumentError("a signal has no bands to choose by frequency")
        return self._frequencies.between("frequency", limits)

    @property
    def _times(self) -> Axis:
        return axes.times(self._samples.rows, self._samples.rows_per_spectrum, self.spec_duration)

    @property
    def _frequencies(self) -> Axis:
        return self._named(axes.frequencies, self.frq_bands, self.sample_count, self.frq_start, self.frq_per_band)

    def _conversion(self, name: str | None) -> Conversion | None:
        """Return the conversion of that name where the data are not what it gives already."""
        if name is None or (name == "delog") != ((shift := self.fft_log_shift) != 0):
            return None
        return logarithm.conversion(name, shift, self.bit_resolution)


def _rows(samples: Samples, first: SupportsIndex | None, last: SupportsIndex | None) -> range:
    """Return the rows of the spectra from `first` up to, without, `last`."""
    each = samples.rows_per_spectrum
    count = samples.rows // each
    start = 0 if first is None else integer("specFrom", first)
    stop = count if last is None else integer("specTo", last)
    if not 0 <= start <= stop <= count:
        raise InvalidArgumentError(f"spectra {start} to {stop}; the file holds 0 to {count}")
    return range(start * each, stop * each)


def _read_header(file: FileIO, file_size: int) -> bytes:
    """Read the bytes of the header, and hardly more."""
    raw = file.read(_FIRST_READ)
    size = header_size(raw, file_size)
    while len(raw) < size:
        more = file.read(size - len(raw))
        if not more:
            raise TruncatedFileError(f"the header should have {size} bytes, the file ends after {len(raw)}")
        raw += more
    return raw[:size]
