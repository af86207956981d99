"""The properties of many buffer files at once, as columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bufcache.buffer_parser import derived
from bufcache.buffer_parser.entries import Column, Entries, Mask
from bufcache.buffer_parser.header import FIRST_ENTRY_SIZE
from bufcache.buffer_parser.layout import DATAMODE, KEY_SIZE, MAGIC
from bufcache.buffer_parser.runs import Runs
from bufcache.buffer_parser.sources import SOURCES

_LONGEST_HEADER = 1 << 16
"""Bytes of the longest header that is decoded here; real headers have about 2000."""

_DIRECT = tuple(name for name in SOURCES if name not in ("channel", "process_date_time"))
"""The properties that are a value of the header itself."""

_NUMBERS = tuple(
    dict.fromkeys(key for source in SOURCES.values() for key in source.keys)
    | dict.fromkeys(("framedur", "samplefr", "fftovers", "end__frq", "an4dvers"))
)
_TEXTS = ("asc_part",)


class Batch(NamedTuple):
    """What the headers of many files say: the properties of `Buffer`, a column each.

    A property is not known where Buffer raises MissingHeaderError or gives None, or a float that is not finite. Nothing
    is known of the files that are `left_over`.
    """

    numbers: dict[str, Column]
    """int64, uint64 (`project_id`) or float64 (`spec_duration`, `frq_per_band`, `frq_end`); enumerations as numbers."""

    texts: dict[str, list[str | None]]
    """Each known text; None where there is none."""

    left_over: NDArray[np.intp]
    """The files that were not decoded, for Buffer to open: damaged, impossible, or only unusual."""


class Decoder:
    """Decodes headers by the thousand; one that is kept knows again what it has met.

    To be used by one thread at a time.
    """

    def __init__(self) -> None:
        self._runs = Runs()

    def decode(self, starts: Sequence[bytes], file_sizes: Sequence[int]) -> Batch:
        """Decode the headers of files.

        Parameters
        ----------
        starts
            The first bytes of each file; a file that has less than its whole header here is left over.
        file_sizes
            The size of each file in bytes.

        Returns
        -------
        Batch whose columns have a row for each file, in this order.
        """
        sizes = np.array(file_sizes, np.int64)
        headers = _headers(starts, sizes)
        entries = Entries(headers, _NUMBERS, _TEXTS, self._runs)
        with np.errstate(all="ignore"):
            properties = _Properties(entries, np.fromiter(map(len, headers), np.int64, len(headers)), sizes)
        return properties.batch(headers)


def _headers(starts: Sequence[bytes], file_sizes: NDArray[np.int64]) -> list[bytes]:
    """Return the bytes of each header, none of one that is not whole or is no header."""
    joined = b"".join([start[:FIRST_ENTRY_SIZE].ljust(FIRST_ENTRY_SIZE, b"\0") for start in starts])
    first = np.frombuffer(joined, [("key", f"S{KEY_SIZE}"), ("size", "<i4")])
    sizes = first["size"]
    given = np.fromiter(map(len, starts), np.int64, len(starts))
    is_whole = (sizes >= FIRST_ENTRY_SIZE) & (sizes <= np.minimum(given, np.minimum(file_sizes, _LONGEST_HEADER)))
    stops = np.where(is_whole & (first["key"] == MAGIC), sizes, 0).tolist()
    return [start[:stop] for start, stop in zip(starts, stops, strict=True)]


class _Properties:
    """The properties of many headers, from the columns of their entries."""

    def __init__(self, entries: Entries, header_sizes: NDArray[np.int64], file_sizes: NDArray[np.int64]) -> None:
        self._entries = entries
        self._numbers = {name: self._from_source(name) for name in _DIRECT}
        self._is_decoded = entries.is_read.copy()
        self._numbers["header_size"] = Column(header_sizes, entries.is_read)
        self._numbers["channel"] = _computed(derived.channel, self._from_source("channel"))
        self._add_counts(Column(file_sizes, entries.is_read))
        self._add_frequencies()
        self._add_duration()

    def batch(self, headers: Sequence[bytes]) -> Batch:
        """Return the columns, in which nothing is known of what was not decoded."""
        numbers = {
            name: Column(values, known & self._is_decoded & np.isfinite(values))
            for name, (values, known) in self._numbers.items()
        }
        return Batch(numbers, self._texts(headers), np.flatnonzero(~self._is_decoded))

    def _from_source(self, name: str) -> Column:
        source = SOURCES[name]
        column = _first_known(*map(self._entries.number, source.keys))
        return column if source.default is None else _with_default(column, source.default)

    def _leave_over(self, rows: Mask) -> None:
        self._is_decoded &= ~rows

    def _add_counts(self, file_size: Column) -> None:
        numbers = self._numbers
        db_header_size, db_size = numbers["db_header_size"], numbers["db_size"]
        sizes = file_size, numbers["header_size"], db_header_size, db_size
        width, bands = numbers["bytes_per_sample"], numbers["frq_bands"]
        numbers["db_count"] = _computed(derived.db_count, *sizes)
        numbers["full_blocks"] = _computed(derived.full_blocks, *sizes)
        numbers["sample_count"] = _computed(derived.samples, _computed(derived.data_size, *sizes), width)
        numbers["spec_count"] = _computed(derived.spectra, numbers["sample_count"], bands)
        numbers["db_sample_count"] = _computed(
            derived.samples, Column(db_size.values, numbers["db_count"].known), width
        )
        numbers["db_spec_count"] = _computed(derived.spectra, numbers["db_sample_count"], bands)
        self._leave_over(numbers["db_count"].known & derived.are_impossible(db_header_size.values, db_size.values))
        self._leave_over(width.values < 1)
        self._leave_over(bands.known & (bands.values < 1))

    def _add_frequencies(self) -> None:
        computed = _computed(derived.frq_end, self._numbers["frq_bands"], self._numbers["frq_per_band"])
        self._numbers["frq_end"] = _first_known(self._entries.number("end__frq"), computed)

    def _add_duration(self) -> None:
        number, mode = self._entries.number, self._numbers["datamode"]
        given, rate, ratio = number("framedur"), number("samplefr"), number("comratio")
        shift = number("fftovers")
        power = Column(np.ldexp(1.0, shift.values.astype(np.int32)), shift.known)
        fft = _where(mode, DATAMODE.DATAMODE_FFT, _computed(derived.fft_duration, rate, power, ratio))
        signal = _where(mode, DATAMODE.DATAMODE_SIGNAL, _computed(derived.signal_duration, rate, ratio))
        whole = Column(np.trunc(signal.values) + 0.0, signal.known)  # not -0.0: an int has no sign of zero
        self._numbers["spec_duration"] = duration = _first_known(given, fft, whole)
        is_too_large = ~np.isfinite(duration.values) | (fft.known & np.isinf(power.values))
        self._leave_over(duration.known & ~given.known & is_too_large)

    def _texts(self, headers: Sequence[bytes]) -> dict[str, list[str | None]]:
        is_decoded = self._is_decoded.tolist()
        parts = self._entries.text("asc_part")
        return {
            "process_date_time": self._of_each(self._from_source("process_date_time"), derived.date_time),
            "analyzer_version": self._of_each(
                self._entries.number("an4dvers"), lambda word: derived.analyzer_version(word.to_bytes(4, "little"))
            ),
            "partnumber": _chosen(is_decoded, parts, derived.partnumber),
            "header_hash": _chosen(is_decoded, headers, lambda header: sha256(header).hexdigest()),
        }

    def _of_each(self, column: Column, text_of: Callable[[int], str]) -> list[str | None]:
        """Return the text of each number that is known; files have many of them in common."""
        numbers, known = column.values.tolist(), (column.known & self._is_decoded).tolist()
        texts = {number: text_of(number) for number in set(numbers)}
        return [texts[number] if is_known else None for number, is_known in zip(numbers, known, strict=True)]


def _chosen(rows: Sequence[bool], found: Sequence[bytes], text_of: Callable[[bytes], str]) -> list[str | None]:
    return [text_of(value) if is_chosen else None for value, is_chosen in zip(found, rows, strict=True)]


def _computed(function: Callable[..., Any], *columns: Column) -> Column:
    """Return what a function gives for the values of columns, known where all of them are."""
    values, known = zip(*columns, strict=True)
    return Column(function(*values), np.logical_and.reduce(known))


def _first_known(*columns: Column) -> Column:
    """Return the values of the first column that knows one."""
    values, known = columns[-1]
    for column in columns[-2::-1]:
        values, known = np.where(column.known, column.values, values), column.known | known
    return Column(values, known)


def _with_default(column: Column, default: int) -> Column:
    return Column(np.where(column.known, column.values, default), np.ones_like(column.known))


def _where(mode: Column, wanted: int, column: Column) -> Column:
    """Return a column that is known only in files of one data mode."""
    return Column(column.values, column.known & mode.known & (mode.values == wanted))
