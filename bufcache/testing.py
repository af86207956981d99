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
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

from bufcache.buffer_parser import layout
from bufcache.errors import InvalidArgumentError, InvalidFileError, nearest

__all__ = ["MockBuffer", "typical_header", "write_buffer"]

Header: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""The values of a header by key: a mapping changes a typical header, pairs are the whole header."""

BlockHeaders: TypeAlias = Callable[[int], Header | None] | Iterable[Header | None]
"""The header of each block, by its number."""

_SAMPLE_TYPES = ("<u2", "<u4", "<f4")
_SAMPLING_FREQUENCY = 100_000_000
_FFT_SIZE = 1024


def write_buffer(
    path: str | PathLike[str],
    header: Header | None = None,
    data: npt.NDArray[Any] | None = None,
    *,
    header_size: int = 2000,
    block_headers: BlockHeaders | None = None,
) -> Path:
    """Write a buffer file.

    Nothing is checked against the data, so that files can be written whose header lies.

    Parameters
    ----------
    path : str or path-like
        The file to write; one that exists is replaced.
    header : mapping or iterable of pairs, optional
        The values of the file header by key (docs/file-format.md).
        A mapping changes the header that `typical_header` gives for the data.
        Pairs are the whole header: these entries in this order, in which keys may repeat; only ``qassdata`` is
        put first and ``headsend`` last where they are not named.
        In both, None leaves the key out. Numbers are given as int or float, texts as str or bytes,
        ``an4dvers`` as 4 bytes or 8 hexadecimal digits, ``headsend`` as ``b""``, and the value of a key
        that is not in the format as 4 or 8 bytes.
    data : array of uint16, uint32 or float32, optional
        A spectrogram (spectra, bands) or a signal (samples,). Without it, 20 spectra (or their samples as a signal)
        that suit the header are written under a typical header, and no data under a header of pairs.
    header_size : int
        The size in bytes up to which the header is padded; a longer header is as long as it is. This is also what
        ``qassdata`` says where it is not given.
    block_headers : callable or iterable, optional
        The header of each block by its number: a mapping changes the typical one (``blochead``, ``firstsam``,
        ``lastsamp``, ``blockend``), pairs are the whole header, None is one of zeros. Blocks beyond the iterable
        have the typical one. ``begin_subdat`` is given as bytes; ``end___subdat`` follows where it is not named.

    Returns
    -------
    Path
        The path of the file.

    Raises
    ------
    InvalidArgumentError
        A value that its key cannot hold, a key that cannot be written, data of another type or shape, or a block
        header that is longer than ``dbhdsize``.

    Notes
    -----
    Data go into blocks of ``db__size`` bytes, each after a block header of ``dbhdsize`` bytes, as the header says.
    Where ``db__size`` is missing or below 1 all data are one block; where ``dbhdsize`` is, block headers have no
    bytes. A block header too small for the typical one is zeros.
    """
    if isinstance(header, Mapping) or header is None:
        if data is None:
            data = _typical_data(header or {})
        header = {**typical_header(data), **(header or {})}
    entries = _with_ends(header, ("qassdata", "headsend"))
    stream = _as_bytes(data)
    values = {key: value for key, value in entries if value is not None}
    with Path(path).open("wb") as file:
        file.write(_file_header(entries, header_size))
        for number, (start, stop) in enumerate(_block_ranges(len(stream), values.get("db__size"))):
            typical = _typical_block_header(start, stop, data, values)
            file.write(_block_header(number, typical, block_headers, values))
            file.write(stream[start:stop].data)
    return Path(path)


def typical_header(data: npt.NDArray[Any] | None = None, **overrides: Any) -> dict[str, Any]:
    """Return the header of a plausible file that holds `data`, every property of a Buffer in it.

    Parameters
    ----------
    data : array of uint16, uint32 or float32, optional
        A spectrogram (spectra, bands) or a signal (samples,); a spectrogram of 64 bands where it is missing.
    **overrides
        Values by key that replace or follow the typical ones.

    Returns
    -------
    dict
        Values by key, in the order in which they are written; without ``qassdata`` and ``headsend``.
    """
    data = _typical_data({}) if data is None else np.asarray(data)
    bands, ratio = (data.shape[1], 8) if data.ndim == 2 else (1, 1)
    frame = 1e9 / _SAMPLING_FREQUENCY * ratio * (_FFT_SIZE if data.ndim == 2 else 1)
    width = _SAMPLING_FREQUENCY / 2 / max(bands, 1)
    mode = layout.DATAMODE.DATAMODE_FFT if data.ndim == 2 else layout.DATAMODE.DATAMODE_SIGNAL
    return {
        **{"filevers": 1, "datavers": 1, "datamode": mode, "datatype": layout.DATATYPE.COMP_RAW},
        **{"datakind": layout.DATAKIND.KIND_NONE, "framsize": bands, "smplsize": data.dtype.itemsize * 8},
        **{"frqbands": bands, "b_p_samp": data.dtype.itemsize, "s_p_fram": bands, "db__size": 8192},
        **{
            "max_ampl": 65535,
            "nul_ampl": 0,
            "samplert": _SAMPLING_FREQUENCY,
            "datarate": 1e9 / frame * bands,
        },
        **{"samplefr": _SAMPLING_FREQUENCY, "fftovers": 0, "fftlogsh": 0, "dbhdsize": 512, "comratio": ratio},
        **{
            "frqratio": max(1, _FFT_SIZE // 2 // max(bands, 1)),
            "proj__id": 1001,
            "file__id": 1,
            "parentid": 0,
        },
        **{"proc_cnt": 1, "dumpchan": 0, "proctime": 1_600_000_000, "lmodtime": 1_600_000_060},
        **{"epoctime": 1_600_000_000_123, "pampgain": 20, "auxpara1": 1, "auxpara2": 1, "startfrq": 0},
        **{"end__frq": _SAMPLING_FREQUENCY // 2, "frqpband": width, "framedur": frame},
        **{"p__flags": layout.FLOAT_SAMPLES if data.dtype.kind == "f" else 0},
        **{
            "adc_type": layout.ADCTYPE.ADC_16BIT,
            "adbitres": 16,
            "asc_part": "Part 1",
            "asc_desc": "Description",
        },
        **{"streamno": 0, "an4dvers": b"04030c02"},
        **overrides,
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
        attributes = {} if name.startswith("_") else self._attributes  # unpickling asks before there are any
        if name not in attributes:
            raise AttributeError(f"the mock of {self._filepath} has no {name!r}{nearest(name, attributes)}")
        return attributes[name]


def _read_attributes(path: Path) -> dict[str, Any]:
    """Return the JSON object that stands in a file."""
    try:
        attributes = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise InvalidFileError(
            f"{path}: expected a JSON object as MockBuffer.write leaves it: {error}"
        ) from error
    if not isinstance(attributes, dict):
        raise InvalidFileError(f"{path}: expected a JSON object, found {type(attributes).__name__}")
    return attributes


def _typical_data(header: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Return 20 spectra, or their samples as a signal, of the width and type that the header names."""
    bands = header.get("framsize") or 64
    bands = bands if 1 <= bands <= 65536 else 64
    wide = "<f4" if (header.get("p__flags") or 0) & layout.FLOAT_SAMPLES else "<u4"
    spectrum = 20000 / (1 + np.arange(bands))
    data = np.outer(np.linspace(1, 3, 20), spectrum).astype(wide if header.get("b_p_samp") == 4 else "<u2")
    return data.ravel() if header.get("datamode") == layout.DATAMODE.DATAMODE_SIGNAL else data


def _as_bytes(data: npt.NDArray[Any] | None) -> npt.NDArray[np.uint8]:
    """Return the data as the bytes of the continuous stream, copied only where they must be."""
    if data is None:
        return np.empty(0, np.uint8)
    data = np.asarray(data)
    little = data.dtype.newbyteorder("<")
    if little.str not in _SAMPLE_TYPES or data.ndim not in (1, 2):
        raise InvalidArgumentError(
            f"data: expected an array of uint16, uint32 or float32 with 1 or 2 axes, got {data.dtype} with {data.ndim}"
        )
    return np.ascontiguousarray(data, little).reshape(-1).view(np.uint8)


def _with_ends(header: Header, ends: tuple[str, str]) -> list[tuple[str, Any]]:
    """Return the entries of a header, its first and last key added where they are not named."""
    entries = list(header.items() if isinstance(header, Mapping) else header)
    named = {key for key, _ in entries}
    first, last = ([] if key in named else [(key, b"")] for key in ends)
    return [*first, *entries, *last]


def _file_header(entries: list[tuple[str, Any]], header_size: int) -> bytes:
    """Return the bytes of the file header, padded, ``qassdata`` filled in where it is empty."""
    used = sum(
        len(_entry(key, 0 if key == "qassdata" else value, layout.FILE_HEADER)) for key, value in entries
    )
    size = max(used, header_size)
    filled = [(key, size if key == "qassdata" and value == b"" else value) for key, value in entries]
    return b"".join(_entry(key, value, layout.FILE_HEADER) for key, value in filled).ljust(size, b"\0")


def _block_ranges(size: int, block_size: int | None) -> Iterator[tuple[int, int]]:
    """Yield start and stop in the stream of the data of each block."""
    step = block_size if block_size is not None and block_size > 0 else max(size, 1)
    return ((start, min(start + step, size)) for start in range(0, size, step))


def _typical_block_header(
    start: int, stop: int, data: npt.NDArray[Any] | None, values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the header of the block that holds the bytes start to stop of the stream."""
    width = 1 if data is None else data.dtype.itemsize
    return {"blochead": values.get("dbhdsize", 0), "firstsam": start // width, "lastsamp": stop // width}


def _block_header(
    number: int, typical: dict[str, Any], block_headers: BlockHeaders | None, values: Mapping[str, Any]
) -> bytes:
    """Return the bytes of the header of one block, padded to ``dbhdsize``."""
    size = max(values.get("dbhdsize", 0), 0)
    given = _given_block_header(number, block_headers)
    if given is None:
        return bytes(size)
    entries = _with_ends(
        {**typical, **given} if isinstance(given, Mapping) else given, ("blochead", "blockend")
    )
    packed = b"".join(_block_entries(entries, size))
    if len(packed) > size and given == {}:
        return bytes(size)
    if len(packed) > size:
        raise InvalidArgumentError(f"header of block {number}: {len(packed)} bytes, but dbhdsize is {size}")
    return packed.ljust(size, b"\0")


def _given_block_header(number: int, block_headers: BlockHeaders | None) -> Header | None:
    """Return what the caller gave for one block; nothing given is an empty mapping."""
    if callable(block_headers):
        return block_headers(number)
    given = list(block_headers or ())
    return given[number] if number < len(given) else {}


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


def _integer(dtype: str) -> Callable[[Any], bytes]:
    """Return the packer of an integer type."""
    return lambda value: np.array(operator.index(value), dtype).tobytes()


def _text(value: str | bytes) -> bytes:
    content = _raw(value.encode() if isinstance(value, str) else value)
    return _VALUES["u4"](len(content)) + content


def _raw(value: bytes) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("expected bytes")
    return value


def _version(value: str | bytes) -> bytes:
    digits = value if isinstance(value, str) else _raw(value).decode("latin-1")
    content = digits.encode("latin-1") if len(digits) == 4 else bytes.fromhex(digits)
    if len(content) != 4:
        raise ValueError("expected 4 bytes or 8 hexadecimal digits")
    return content


def _nothing(value: bytes) -> bytes:
    if value != b"":
        raise ValueError('the key has no value, give b"" to write it')
    return b""


_VALUES: dict[str, Callable[[Any], bytes]] = {
    **{code: _integer(f"<{code}") for code in ("i4", "u4", "i8", "u8")},
    "f8": lambda value: np.array(float(value), "<f8").tobytes(),
    "var": _text,
    "hex4": _version,
    "raw": _raw,
    "none": _nothing,
}
