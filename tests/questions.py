"""Everything that a buffer file can be asked, and its answers in a form that can be compared."""

import itertools
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from bufcache.buffer_parser import Buffer
from bufcache.buffer_parser.subdata import DATA_COLUMNS, INDEX_COLUMNS
from bufcache.errors import BufcacheError

PROPERTIES = (
    *("header_size", "header_hash", "file_size", "filepath", "metainfo"),
    *("project_id", "process", "channel", "streamno", "datamode", "datakind", "adc_type", "datatype"),
    *("process_time", "last_modification_time", "process_date_time", "last_modification_date_time"),
    *("process_measure_timestamp", "process_measure_time_string"),
    *("db_header_size", "db_size", "bytes_per_sample", "db_count", "full_blocks", "db_sample_count", "frq_bands"),
    *("db_spec_count", "sample_count", "spec_count", "compression_frq", "compression_time", "avg_time", "avg_frq"),
    *("spec_duration", "frq_start", "frq_end", "frq_per_band", "bit_resolution", "fft_log_shift"),
    *("max_amplitude_level", "preamp_gain", "analyzer_version", "partnumber", "ref_energy", "refEnergy"),
)

_ALL = [*INDEX_COLUMNS, *DATA_COLUMNS]
_COLUMNS = ([*DATA_COLUMNS], _ALL, _ALL[::-1], ["mux_port"], ["times", "preamp_gain"], ["inputs", "index", "outputs"])
_MOST = 12
"""Blocks and spectra of a file that are asked about."""

Question = tuple[str, tuple[Any, ...]]
"""The name of a property or method, and the arguments of the method."""


def of_header_and_data(spectra: int) -> Iterator[Question]:
    """Yield the questions about the header and the data of a file of so many spectra."""
    yield from ((name, ()) for name in (*PROPERTIES, "getSpecDuration", "getRealSpecCount"))
    yield from (("spec_to_time_ns", (spec,)) for spec in (0, 1, 2.5, spectra, np.int64(3)))
    yield from (("time_to_spec", (time,)) for time in (0, 1.0, 1e6, -123_456, np.float64(1e9)))
    third = spectra // 3
    ranges = {(), (0,), (0, spectra), (third, spectra), (0, third), (third, 2 * third), (None, third), (third,)}
    for limits in sorted(ranges, key=repr):
        yield "get_data", limits
    yield "get_data", (spectra, spectra)
    for limits in ((None, None), (third, 2 * third)):
        yield from (("get_data", (*limits, conversion)) for conversion in ("log", "delog"))
        yield from (("getArray", (*limits, delog)) for delog in (True, None))


def of_blocks(blocks: int, spectra: int) -> Iterator[Question]:
    """Yield the questions about the block headers and sub data of a file of so many blocks and spectra."""
    yield "last_spec", ()
    for block in _ends(blocks):
        yield "db_header", (block,)
        yield "io_ports", (block,)
        yield from (("io_ports", (block, byte)) for byte in (1, 2, 4))
        yield from (("io_ports", (block, byte, bit)) for byte in (1, 2, 4) for bit in (1, 5, 8))
        yield from (("db_value", (block, key)) for key in ("sd_rsize", "lastsamp", "begin_subdat", "blockend"))
    yield from (("db_header_spec", (spec,)) for spec in _ends(spectra))
    yield from (("block_infos", (columns,)) for columns in _COLUMNS)
    for columns, fast_jump in itertools.product(_COLUMNS, (True, False)):
        yield "block_infos", (columns, bool(set(columns) & set(INDEX_COLUMNS)), fast_jump)


def _ends(count: int) -> list[int]:
    return sorted({*range(min(count, _MOST)), *range(max(0, count - 3), count)})


def answer(buffer: Any, question: Question) -> Any:
    """Ask one question."""
    name, arguments = question
    found = getattr(buffer, name)
    return found(*arguments) if callable(found) else found


def described(value: Any) -> Any:
    """Return a value in a form that is equal only for equal values of the same type."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, IntEnum):
        return type(value).__name__, value.name, value.value
    if isinstance(value, dict):
        return [(key, described(item)) for key, item in value.items()]
    return type(value).__name__, repr(value)


def outcomes(path: Path) -> list[tuple[Question, Any]]:
    """Return what a file answers to everything: values, or errors with their messages."""
    with Buffer(path) as buffer:
        blocks, spectra = (_number(buffer, name) for name in ("db_count", "spec_count"))
        return [
            (question, _outcome(buffer, question))
            for question in (*of_header_and_data(spectra), *of_blocks(blocks, spectra))
        ]


def _number(buffer: Buffer, name: str) -> int:
    try:
        return getattr(buffer, name)
    except BufcacheError:
        return 3


def _outcome(buffer: Buffer, question: Question) -> Any:
    try:
        return described(answer(buffer, question))
    except BufcacheError as error:
        return type(error).__name__, str(error)
