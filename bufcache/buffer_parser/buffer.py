"""One buffer file: opening it, its properties, its data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from operator import index
from typing import TYPE_CHECKING, Any, Self, SupportsIndex

from bufcache.buffer_parser import data, layout
from bufcache.buffer_parser.header import Header, header_size, parse_header
from bufcache.buffer_parser.properties import Properties
from bufcache.errors import BufcacheError, ClosedError, InvalidArgumentError, TruncatedFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FIRST_READ = 4096


class Buffer(Properties):
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

    log = staticmethod(data.log)
    delog = staticmethod(data.delog)

    def __init__(self, filepath: str | os.PathLike[str]) -> None:
        self._filepath = filepath
        self._file: FileIO | None = None
        self._loaded: Header | None = None
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
        try:
            self._loaded = parse_header(_read_header(file, file_size), file_size)
        except BufcacheError as error:
            raise self._with_path(error) from None
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
    ) -> NDArray[Any]:
        """Read spectra, or the frames of a signal.

        Parameters
        ----------
        specFrom, specTo
            First spectrum, and the one behind the last; all where they are None.
        conversion
            ``"delog"`` undoes the logarithm of data that have one, ``"log"`` takes it of data that have none; other
            data stay as they are.

        Returns
        -------
        Array of shape (spectra, `frq_bands`), or flat for a signal; uint16, uint32 or float32 as in the file,
        float64 after a conversion. The caller owns it.

        Raises
        ------
        InvalidArgumentError
            Indices that are not integers or not 0 <= specFrom <= specTo <= `spec_count`; an unknown conversion.
        UnsupportedFormatError
            Samples or a resolution that cannot be converted.
        TruncatedFileError
            The file has become shorter since it was opened.
        """
        if conversion not in (None, "log", "delog"):
            raise InvalidArgumentError(f"conversion is {conversion!r}; expected None, 'log' or 'delog'")
        with self._opened() as file:
            if self._loaded is None:
                self._load(file)
            first, last = self._spec_range(specFrom, specTo)
            samples = self._read(file, first, last)
        if self.datamode != layout.DATAMODE.DATAMODE_SIGNAL:
            samples = samples.reshape(last - first, self.frq_bands)
        return samples if conversion is None else self._convert(samples, conversion)

    def getArray(
        self,
        specFrom: SupportsIndex | None = None,
        specTo: SupportsIndex | None = None,
        delog: bool | None = None,
    ) -> NDArray[Any]:
        """Read spectra as `get_data` does, with the logarithm undone where `delog` is true."""
        return self.get_data(specFrom, specTo, "delog" if delog else None)

    def _spec_range(self, first: SupportsIndex | None, last: SupportsIndex | None) -> tuple[int, int]:
        count = self.spec_count
        try:
            start = 0 if first is None else index(first)
            stop = count if last is None else index(last)
        except TypeError:
            raise InvalidArgumentError(f"spectra {first!r} to {last!r}: expected integers or None") from None
        if not 0 <= start <= stop <= count:
            raise InvalidArgumentError(
                f"{os.fspath(self._filepath)}: spectra {start} to {stop}; the file holds 0 to {count}"
            )
        return start, stop

    def _read(self, file: FileIO, first: int, last: int) -> NDArray[Any]:
        width = self.bytes_per_sample
        flags = self._need("the sample type", "p__flags") if width == 4 else 0
        bands, blocks = self.frq_bands, self._blocks
        try:
            dtype = data.sample_dtype(width, flags)
            return data.read_samples(file, blocks, dtype, first * bands, (last - first) * bands)
        except BufcacheError as error:
            raise self._with_path(error) from None

    def _convert(self, samples: NDArray[Any], conversion: str) -> NDArray[Any]:
        shift = self.fft_log_shift
        if (conversion == "delog") != (shift != 0):
            return samples
        resolution = self.bit_resolution
        try:
            return (data.delog if conversion == "delog" else data.log)(samples, shift, resolution)
        except BufcacheError as error:
            raise self._with_path(error) from None


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
