"""Buffer files for tests: `write_buffer` writes real ones, `MockBuffer` stands in for `Buffer`.

Examples
--------
>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     path = write_buffer(folder + "/Demo_00001p7c0b01", {"proc_cnt": 7, "frqratio": 4})
...     path.stat().st_size
5072
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

from bufcache.buffer_parser import layout
from bufcache.errors import InvalidArgumentError, InvalidFileError
from bufcache.names import nearest

__all__ = ["MockBuffer", "typical_header", "write_buffer"]

Header: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""The values of a header by key (docs/file-format.md).

A mapping changes a typical header. Pairs are the whole header, in this order, in which keys may repeat; only its first
and last key are added where they are not named. In both, None leaves a key out. Numbers are given as int or float,
texts as str or bytes, ``an4dvers`` as 4 bytes or 8 hexadecimal digits, keys without a value (``headsend``) as ``b""``,
and a key that is not in the format as 4 or 8 bytes.
"""

BlockHeaders: TypeAlias = Callable[[int], Header | None] | Iterable[Header | None]
"""The header of each block by its number; None is one of zeros.

Blocks beyond an iterable have the typical one. ``begin_subdat`` is given as bytes; ``end___subdat`` follows where it is
not named.
"""

_SAMPLE_TYPES = ("<u2", "<u4", "<f4")
_FFT_SIZE = 1024
_MOST_BANDS = 65536
_VERSION_SIZE = 4

_TYPICAL: dict[str, Any] = {
    "filevers": 1,
    "datavers": 1,
    "datamode": layout.DATAMODE.DATAMODE_FFT,
    "datatype": layout.DATATYPE.COMP_RAW,
    "datakind": layout.DATAKIND.KIND_NONE,
    "framsize": 64,
    "smplsize": 16,
    "frqbands": 64,
    "b_p_samp": 2,
    "s_p_fram": 64,
    "db__size": 8192,
    "max_ampl": 65535,
    "nul_ampl": 0,
    "samplert": 100_000_000,
    "samplefr": 100_000_000,
    "fftovers": 0,
    "fftlogsh": 0,
    "dbhdsize": 512,
    "comratio": 8,
    "frqratio": 8,
    "proj__id": 1001,
    "file__id": 1,
    "parentid": 0,
    "proc_cnt": 1,
    "dumpchan": 0,
    "proctime": 1_600_000_000,
    "lmodtime": 1_600_000_060,
    "epoctime": 1_600_000_000_123,
    "pampgain": 20,
    "auxpara1": 1,
    "auxpara2": 1,
    "startfrq": 0,
    "end__frq": 50_000_000,
    "frqpband": 781_250.0,
    "framedur": 81_920.0,
    "p__flags": 0,
    "adc_type": layout.ADCTYPE.ADC_16BIT,
    "adbitres": 16,
    "asc_part": "Part 1",
    "asc_desc": "Description",
    "streamno": 0,
    "an4dvers": b"04030c02",
}
"""The entries of a typical header: 512 bands of an FFT, compressed by 8 in frequency and in time."""


def write_buffer(
    path: str | PathLike[str],
    header: Header | None = None,
    data: npt.NDArray[Any] | None = None,
    *,
    header_size: int = 2000,
    block_headers: BlockHeaders | None = None,
) -> Path:
    """Write a buffer file; what its header says is not checked against the data, so it may lie.

    Parameters
    ----------
    path : str or path-like
        The file to write; one that exists is replaced.
    header : Header, optional
        A mapping changes what `typical_header` gives for the data, pairs are the whole header. ``qassdata`` comes
        first with the size of the header, and ``headsend`` last, where they are not named.
    data : array of uint16, uint32 or float32, optional
        A spectrogram (spectra, bands) or a signal (samples,). Without it, 20 spectra (or their samples as a signal)
        that suit the header are written under a typical header, and no data under a header of pairs.
    header_size : int
        The size in bytes up to which the header is padded; a longer header is as long as it must be.
    block_headers : BlockHeaders, optional
        What differs from the typical ``blochead``, ``firstsam``, ``lastsamp`` and ``blockend``.

    Returns
    -------
    Path
        The path of the file.

    Raises
    ------
    InvalidArgumentError
        A value that its key cannot hold, an impossible key, other data, or a block header beyond ``dbhdsize``.

    Notes
    -----
    Data go into blocks of ``db__size`` bytes, one block where it is missing or below 1, each after a block header of
    ``dbhdsize`` bytes, none where it is missing. A typical block header that does not fit is zeros.
    """
    entries = _with_ends(header or {}, ("qassdata", "headsend"))
    if header is None or isinstance(header, Mapping):
        entries, data = _completed(entries, data)
    packed, stream = _file_header(entries, header_size), _as_bytes(data)
    blocks = list(_blocks(stream, dict(entries), block_headers))
    with Path(path).open("wb") as file:
        file.write(packed)
        for block_header, start, stop in blocks:
            file.writelines((block_header, stream.bytes[start:stop].data))
    return Path(path)


def typical_header(data: npt.NDArray[Any] | None = None, **overrides: Any) -> dict[str, Any]:
    """Return the header of a plausible file that holds `data`, every property of a Buffer in it.

    Parameters
    ----------
    data : array of uint16, uint32 or float32, optional
        A spectrogram (spectra, bands) or a signal (samples,); 64 bands where it is missing.
    **overrides
        Values by key that replace or follow the typical ones.

    Returns
    -------
    dict
        Values by key, in the order in which they are written; without ``qassdata`` and ``headsend``.
    """
    data = _typical_data({}) if data is None else np.asarray(data)
    computed = _of_signal() if data.ndim == 1 else _of_spectrogram(data.shape[-1])
    is_float = data.dtype.kind == "f"
    return {
        **_TYPICAL,
        **computed,
        "smplsize": data.dtype.itemsize * 8,
        "b_p_samp": data.dtype.itemsize,
        "p__flags": layout.FLOAT_SAMPLES if is_float else 0,
        **overrides,
    }


def _of_signal() -> dict[str, Any]:
    """Return the entries of a raw signal that differ from those of a spectrogram."""
    return {
        "datamode": layout.DATAMODE.DATAMODE_SIGNAL,
        **dict.fromkeys(("framsize", "frqbands", "s_p_fram", "comratio", "frqratio"), 1),
        "framedur": _TYPICAL["framedur"] / _FFT_SIZE / _TYPICAL["comratio"],
        "frqpband": float(_TYPICAL["end__frq"]),
    }


def _of_spectrogram(bands: int) -> dict[str, Any]:
    """Return the entries of a spectrogram that depend on its width."""
    return {
        **dict.fromkeys(("framsize", "frqbands", "s_p_fram"), bands),
        "frqratio": max(1, _FFT_SIZE // 2 // max(bands, 1)),
        "frqpband": _TYPICAL["end__frq"] / max(bands, 1),
    }


class MockBuffer:
    """A stand-in for `Buffer` whose file is JSON, for tests of what works with buffers.

    Parameters
    ----------
    filepath : str or path-like
        The file, as the cache gives it.
    **attributes
        What the mock knows. A mock without attributes reads them from its file on entering.

    Raises
    ------
    InvalidFileError
        On entering, where the file is not a JSON object.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = MockBuffer(folder + "/Demo_00001p7c0b01", process=7).write().filepath
    ...     with MockBuffer(path) as buffer:
    ...         buffer.process
    7
    """

    def __init__(self, filepath: str | PathLike[str], **attributes: Any) -> None:
        self._filepath = filepath
        self._attributes = attributes

    @property
    def filepath(self) -> str | PathLike[str]:
        """The path as it was given."""
        return self._filepath

    def write(self) -> Self:
        """Write the attributes to the file and return the mock.

        Raises
        ------
        InvalidArgumentError
            An attribute that JSON cannot hold.
        """
        try:
            text = orjson.dumps(self._attributes, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2)
        except TypeError as error:
            raise InvalidArgumentError(
                f"attributes of {self._filepath}: expected what JSON can hold: {error}"
            ) from error
        Path(self._filepath).write_bytes(text)
        return self

    def __enter__(self) -> Self:
        """Read the attributes from the file where none were given."""
        if not self._attributes:
            self._attributes = _read_attributes(Path(self._filepath))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: the file was closed when it had been read."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pickle and copy ask before there are any attributes
            raise AttributeError(name)
        if name not in self._attributes:
            raise AttributeError(f"the mock of {self._filepath} has no {name!r}{nearest(name, self._attributes)}")
        return self._attributes[name]


def _read_attributes(path: Path) -> dict[str, Any]:
    """Return the JSON object that stands in a file."""
    try:
        attributes = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise InvalidFileError(f"{path}: expected a JSON object as MockBuffer.write leaves it: {error}") from error
    if not isinstance(attributes, dict):
        raise InvalidFileError(f"{path}: expected a JSON object, found {type(attributes).__name__}")
    return attributes


def _completed(
    entries: list[tuple[str, Any]], data: npt.NDArray[Any] | None
) -> tuple[list[tuple[str, Any]], npt.NDArray[Any]]:
    """Return the typical header changed by the entries, and the data or what suits the entries in their place."""
    _file_header(entries, 0)  # refuses wrong values before anything is made from them
    given = dict(entries)
    data = _typical_data(given) if data is None else np.asarray(data)
    _as_bytes(data)
    return list({"qassdata": b"", **typical_header(data), **given}.items()), data


def _typical_data(header: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Return 20 spectra, or their samples as a signal, of the width and type that the header names."""
    bands = header.get("framsize") or 64
    bands = bands if 1 <= bands <= _MOST_BANDS else 64
    wide = "<f4" if (header.get("p__flags") or 0) & layout.FLOAT_SAMPLES else "<u4"
    is_wide = header.get("b_p_samp") == np.dtype(wide).itemsize
    spectrum = 20000 / (1 + np.arange(bands))
    data = np.outer(np.linspace(1, 3, 20), spectrum).astype(wide if is_wide else "<u2")
    return data.ravel() if header.get("datamode") == layout.DATAMODE.DATAMODE_SIGNAL else data


class _Stream(NamedTuple):
    """The data as one run of bytes, and the bytes of a sample."""

    bytes: npt.NDArray[np.uint8]
    width: int


def _as_bytes(data: npt.NDArray[Any] | None) -> _Stream:
    """Return the data as bytes, copied only where they must be."""
    if data is None:
        return _Stream(np.empty(0, np.uint8), 1)
    data = np.asarray(data)
    little = data.dtype.newbyteorder("<")
    if little.str not in _SAMPLE_TYPES or data.ndim not in (1, 2):
        raise InvalidArgumentError(
            f"data: expected an array of uint16, uint32 or float32 with 1 or 2 axes, got {data.dtype} with {data.ndim}"
        )
    return _Stream(np.ascontiguousarray(data, little).reshape(-1).view(np.uint8), little.itemsize)


def _with_ends(header: Header, ends: tuple[str, str]) -> list[tuple[str, Any]]:
    """Return the entries of a header, its first and last key added where they are not named."""
    entries = list(header.items() if isinstance(header, Mapping) else header)
    named = {key for key, _ in entries}
    first, last = ([] if key in named else [(key, b"")] for key in ends)
    return [*first, *entries, *last]


def _file_header(entries: list[tuple[str, Any]], header_size: int) -> bytes:
    """Return the bytes of the file header, padded, ``qassdata`` filled in where it is empty."""
    used = sum(map(len, _file_entries(entries, 0)))
    size = max(used, header_size)
    return b"".join(_file_entries(entries, size)).ljust(size, b"\0")


def _file_entries(entries: list[tuple[str, Any]], size: int) -> Iterator[bytes]:
    """Yield the entries of a file header of `size` bytes."""
    for key, value in entries:
        is_left_to_us = key == "qassdata" and value == b""
        yield _entry(key, size if is_left_to_us else value, layout.FILE_HEADER)


def _blocks(
    stream: _Stream, values: Mapping[str, Any], block_headers: BlockHeaders | None
) -> Iterator[tuple[bytes, int, int]]:
    """Yield the header of each block, and start and stop of its data in the stream."""
    block_size, size = values.get("db__size") or 0, len(stream.bytes)
    step = block_size if block_size > 0 else max(size, 1)
    given = _numbered(block_headers)
    for number, start in enumerate(range(0, size, step)):
        stop = min(start + step, size)
        first, last = start // stream.width, stop // stream.width
        typical = {"blochead": b"", "firstsam": first, "lastsamp": last}
        yield _block_header(number, typical, given(number), max(values.get("dbhdsize") or 0, 0)), start, stop


def _numbered(block_headers: BlockHeaders | None) -> Callable[[int], Header | None]:
    """Return the function that gives the header for a block; an empty mapping where the caller gave nothing."""
    if callable(block_headers):
        return block_headers
    given: dict[int, Header | None] = dict(enumerate(block_headers or ()))
    return lambda number: given.get(number, {})


def _block_header(number: int, typical: dict[str, Any], given: Header | None, size: int) -> bytes:
    """Return the bytes of the header of one block, padded to `size`."""
    if given is None:
        return bytes(size)
    header = {**typical, **given} if isinstance(given, Mapping) else given
    entries = _with_ends(header, ("blochead", "blockend"))
    packed = b"".join(_block_entries(entries, size))
    if len(packed) > size and given == {}:
        return bytes(size)
    if len(packed) > size:
        raise InvalidArgumentError(f"header of block {number}: {len(packed)} bytes, but dbhdsize is {size}")
    return packed.ljust(size, b"\0")


def _block_entries(entries: list[tuple[str, Any]], size: int) -> Iterator[bytes]:
    """Yield the entries of a block header, the sub data ended where the caller does not end them."""
    is_ended = any(key == "end___subdat" for key, _ in entries)
    for key, value in entries:
        yield _entry(key, size if key == "blochead" and value == b"" else value, layout.BLOCK_HEADER)
        if key == "begin_subdat" and value is not None and not is_ended:
            yield _entry("end___subdat", b"", layout.BLOCK_HEADER)


def _entry(key: str, value: Any, table: Mapping[str, layout.Entry]) -> bytes:
    """Return key and value as they stand in a file; nothing for None."""
    if value is None:
        return b""
    if key in table:
        return key.encode("ascii") + _value(key, value, table[key].code)
    if len(key) != layout.KEY_SIZE or not set(key.encode()) <= set(layout.KEY_ALPHABET):
        raise InvalidArgumentError(f"{key!r}: a key is 8 of 0-9 _ ` a-z{nearest(key, table)}")
    if not isinstance(value, bytes) or len(value) not in (4, 8):
        hint = nearest(key, table)
        raise InvalidArgumentError(f"{key}: expected 4 or 8 bytes for an unknown key, got {value!r}{hint}")
    return key.encode("ascii") + value


def _value(key: str, value: Any, code: str) -> bytes:
    """Return a value in the type of its key."""
    try:
        return _VALUES[code](value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgumentError(f"{key}: {value!r} is not a value of type {code}: {error}") from error


def _integer(code: str) -> Callable[[Any], bytes]:
    """Return the packer of an integer type."""
    size, is_signed = int(code[1]), code[0] == "i"
    return lambda value: operator.index(value).to_bytes(size, "little", signed=is_signed)


def _text(value: str | bytes) -> bytes:
    content = _raw(value.encode() if isinstance(value, str) else value)
    return _VALUES["u4"](len(content)) + content


def _raw(value: bytes) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("expected bytes")
    return value


def _version(value: str | bytes) -> bytes:
    digits = value if isinstance(value, str) else _raw(value).decode("latin-1")
    if len(digits) == _VERSION_SIZE:
        return digits.encode("latin-1")
    if len(digits) != _VERSION_SIZE * 2:
        raise ValueError("expected 4 bytes or 8 hexadecimal digits")
    return bytes.fromhex(digits)


def _nothing(value: bytes) -> bytes:
    if value != b"":
        raise ValueError('the key has no value, give b"" to write it')
    return b""


_VALUES: dict[str, Callable[[Any], bytes]] = {
    **{code: _integer(code) for code in ("i4", "u4", "i8", "u8")},
    "f8": lambda value: np.array(float(value), "<f8").tobytes(),
    "var": _text,
    "hex4": _version,
    "raw": _raw,
    "none": _nothing,
}
