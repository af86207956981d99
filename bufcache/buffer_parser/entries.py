"""The entries of many headers as columns: a key, its value in each header, and which headers have it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bufcache.buffer_parser.layout import FILE_HEADER
from bufcache.buffer_parser.runs import LONGEST_RUN, WORD, Run, Runs, Windows, is_end
from bufcache.errors import InvalidFileError

Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]

_MOST_RUNS_OF_A_HEADER = 12
"""Runs of a header that is decoded here: one for each text of the format, and some that repeat."""

_MOST_RUNS_AT_A_STEP = 256
"""Different runs with which the headers of a batch may go on, so that time stays bounded."""

_STORED_AS = {"<i4": ("i4",), "<u4": ("u4", "hex4"), "<i8": ("i8", "u8", "f8")}
"""The codes of the numbers that stand in a header as such integers; those of 8 bytes keep their bits."""

_DTYPES = {"f8": np.float64, "u8": np.uint64}


class Column(NamedTuple):
    """A number for each header, and which headers have it."""

    values: NDArray[Any]
    known: Mask


class Entries:
    """The values of some keys in many headers.

    Parameters
    ----------
    headers
        Their bytes, each from ``qassdata`` to the end of the header; empty ones are not read.
    numbers, texts
        The keys whose values are wanted.
    runs
        The runs that are known already.
    """

    def __init__(self, headers: Sequence[bytes], numbers: Sequence[str], texts: Iterable[str], runs: Runs) -> None:
        self._headers, self._runs = headers, runs
        self._bytes = b"".join([*headers, bytes(LONGEST_RUN)])
        lengths = np.fromiter(map(len, headers), np.int64, len(headers))
        self._ends = lengths.cumsum()
        self._positions = self._ends - lengths
        self._index = {key: number for number, key in enumerate(numbers)}
        self._bits = np.zeros((len(numbers), len(headers)), np.int64)
        self._known = np.zeros((len(numbers), len(headers)), np.bool_)
        self._texts = {key: np.zeros((2, len(headers)), np.int64) for key in texts}
        self.is_read = np.zeros(len(headers), np.bool_)
        """The headers that were read to their end. What others gave is not to be used."""
        rows = np.flatnonzero(lengths)
        for _ in range(_MOST_RUNS_OF_A_HEADER):
            rows = self._read_on(rows)

    def number(self, key: str) -> Column:
        """Return the values of a key of a number: int64 (its bits for ``hex4``), float64 or uint64."""
        index = self._index[key]
        dtype = _DTYPES.get(FILE_HEADER[key].code, np.int64)
        return Column(self._bits[index].view(dtype), self._known[index])

    def text(self, key: str) -> list[bytes]:
        """Return the values of a key of a text, empty where it is missing."""
        starts, stops = self._texts[key].tolist()
        return [self._bytes[start:stop] for start, stop in zip(starts, stops, strict=True)]

    def _read_on(self, rows: Rows) -> Rows:
        """Read the next run of headers, and return those that go on."""
        further = [rows[:0]]
        for _ in range(_MOST_RUNS_AT_A_STEP):
            run, rows = self._next_run(rows)
            if run is None:
                break
            windows = self._windows(rows, run)
            fits = self._fits(rows, run, windows)
            here, windows = rows[fits], windows[fits]
            self._keep(here, run, windows)
            further.append(self._step_over(here, run, windows))
            rows = rows[~fits]
        return np.concatenate(further)

    def _next_run(self, rows: Rows) -> tuple[Run | None, Rows]:
        """Return the run with which the first header goes on, None where none is left, without the headers before.

        Those are damaged, or have a run that is not plain.
        """
        for number, row in enumerate(rows):
            header = self._headers[row]
            try:
                run = self._runs.at(header, int(self._positions[row] - self._ends[row]) + len(header))
            except InvalidFileError:
                continue
            if run.is_plain:
                return run, rows[number:]
        return None, rows[:0]

    def _windows(self, rows: Rows, run: Run) -> Windows:
        """Return what stands where the headers go on, as many bytes as the run needs."""
        size = run.window
        everywhere = np.ndarray(len(self._bytes) - size + 1, f"V{size}", self._bytes, strides=(1,))
        return everywhere[self._positions[rows]].view("<i4").reshape(len(rows), size // WORD)

    def _fits(self, rows: Rows, run: Run, windows: Windows) -> Mask:
        """Tell which headers go on with the run."""
        stops, ends = self._positions[rows] + run.size, self._ends[rows]
        fits: Mask = run.has_keys(windows) & (stops <= ends)
        if run.is_open:
            for number in np.flatnonzero(fits).tolist():
                fits[number] = is_end(self._bytes, int(stops[number]), int(ends[number]))
        return fits

    def _keep(self, rows: Rows, run: Run, windows: Windows) -> None:
        """Keep the numbers of a run that are wanted."""
        wanted = run.words.keys() & self._index.keys()
        for dtype, codes in _STORED_AS.items():
            places = [(self._index[key], run.words[key]) for key in wanted if FILE_HEADER[key].code in codes]
            if not places:
                continue
            keys, words = np.array(places).T
            columns = np.add.outer(words, range(np.dtype(dtype).itemsize // WORD)).ravel()
            cells = np.ix_(keys, rows)
            self._bits[cells] = windows.take(columns, axis=1).view(dtype).T
            self._known[cells] = True

    def _step_over(self, rows: Rows, run: Run, windows: Windows) -> Rows:
        """Take in the text that ends a run, and return the headers that go on behind it."""
        if run.text is None:
            self.is_read[rows] = True
            return rows[:0]
        starts = self._positions[rows] + run.size
        stops = starts + windows[:, -1].view(np.uint32)
        is_inside = stops <= self._ends[rows]
        rows, starts, stops = rows[is_inside], starts[is_inside], stops[is_inside]
        self._positions[rows] = stops
        if run.text in self._texts:
            self._texts[run.text][:, rows] = starts, stops
        return rows
