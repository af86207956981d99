"""Runs of header entries: the numbers up to the next text, compiled once and recognised in many headers at once.

A header is one run after another, each behind the text that ended the one before. Nearly all files of a project have
the same few runs, wherever texts of different lengths put them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bufcache.buffer_parser.header import after_unknown, is_key
from bufcache.buffer_parser.layout import FILE_HEADER, KEY_ALPHABET, KEY_SIZE

Windows = NDArray[np.int32]
"""What stands in headers where a run may be, a row each, as words."""

WORD = 4
"""Bytes of a word. Keys and numbers are whole words, so that the values in a run begin at words of it."""

LONGEST_RUN = 4096
"""Bytes up to which a run is compiled; one with every key of the format has fewer than 2000."""

_MOST_RUNS = 64
"""Runs that are remembered."""

_SIZES = {"i4": 4, "u4": 4, "i8": 8, "u8": 8, "f8": 8, "hex4": 4, "var": 4, "none": 0}
"""Bytes of what follows a key within its run, by the code of its value; of a text it is the length."""

_KNOWN = {name.encode("ascii"): (name, entry.code) for name, entry in FILE_HEADER.items()}

_IS_OF_KEYS = np.isin(np.arange(256), list(KEY_ALPHABET))


class Run:
    """The keys of a run, and where their values stand.

    Parameters
    ----------
    raw
        A header.
    start
        Where in it the run begins.

    Raises
    ------
    InvalidFileError
        Something else stands where a key must stand.
    """

    def __init__(self, raw: bytes, start: int) -> None:
        self.words: dict[str, int] = {}
        """The known keys, and the word of the run at which the value begins; of a key that repeats, the last one."""
        self.text: str | None = None
        """The key of the text that ends the run, the length of which is the run's last word."""
        self.is_open = True
        """Whether neither a text nor ``headsend`` ends the run: what follows is padding or nothing."""
        self._keys: list[int] = []
        self._long_values: list[int] = []
        stop = self._read(raw, start)
        self.size = stop - start
        """Its bytes."""
        self.is_plain = self.size <= LONGEST_RUN and stop <= len(raw) and self._has_certain_size
        """Whether the run can be recognised by its keys, and is whole here."""
        self._compile(raw[start:stop])

    def _read(self, raw: bytes, start: int) -> int:
        """Take in the entries of the run, and return the position behind it."""
        position = start
        while self.is_open and position + KEY_SIZE <= len(raw) and position - start <= LONGEST_RUN:
            known = _KNOWN.get(raw[position : position + KEY_SIZE])
            if known:
                value = position + KEY_SIZE
                self._take(*known, value - start)
                following = value + _SIZES[known[1]]
            elif is_end(raw, position, len(raw)):
                break
            else:
                following = after_unknown(raw, position)
                if following - position > KEY_SIZE + WORD:
                    self._long_values.append(position + KEY_SIZE + WORD - start)
            self._keys.append(position - start)
            position = following
        return position

    def _take(self, name: str, code: str, value: int) -> None:
        self.words[name] = value // WORD
        self.is_open = code not in ("var", "none")
        self.text = name if code == "var" else None

    def _compile(self, run: bytes) -> None:
        mask, pattern = bytearray(self.window), bytearray(self.window)
        for key in self._keys:
            mask[key : key + KEY_SIZE] = b"\xff" * KEY_SIZE
            pattern[key : key + KEY_SIZE] = run[key : key + KEY_SIZE]
        self._mask, self._pattern = (np.frombuffer(form, "<i4") for form in (mask, pattern))
        self._mask_number, self._pattern_number = (int.from_bytes(form, "little") for form in (mask, pattern))

    @property
    def _has_certain_size(self) -> bool:
        """Whether the run does not end with a long value of an unknown key, whose size nothing behind it proves."""
        return not self._long_values or self._long_values[-1] + WORD < self.size

    @property
    def window(self) -> int:
        """The bytes of a header that are needed to recognise the run."""
        return max(self.size, WORD)

    def is_at(self, raw: bytes, start: int) -> bool:
        """Tell whether the run stands there in a header."""
        stop = start + self.size
        return (
            stop <= len(raw)
            and int.from_bytes(raw[start:stop], "little") & self._mask_number == self._pattern_number
            and not any(is_key(raw[start + value : start + value + KEY_SIZE]) for value in self._long_values)
            and (not self.is_open or is_end(raw, stop, len(raw)))
        )

    def has_keys(self, windows: Windows) -> NDArray[np.bool_]:
        """Tell in which rows the keys of the run stand, and no others among them."""
        found: NDArray[np.bool_] = ((windows & self._mask) == self._pattern).all(axis=1)
        for value in self._long_values:
            found &= ~_IS_OF_KEYS[windows.view(np.uint8)[:, value : value + KEY_SIZE]].all(axis=1)
        return found


def is_end(raw: bytes, position: int, end: int) -> bool:
    """Tell whether a header that ends at `end` has no entries from a position on."""
    return position + KEY_SIZE > end or raw.count(0, position, end) == end - position


class Runs:
    """The runs that were met lately."""

    def __init__(self) -> None:
        self._runs: list[Run] = []

    def at(self, raw: bytes, start: int) -> Run:
        """Return the run that begins at a position of a header.

        Raises
        ------
        InvalidFileError
            Something else stands where a key must stand.
        """
        for place, run in enumerate(self._runs):
            if run.is_at(raw, start):
                self._runs.insert(0, self._runs.pop(place))
                return run
        run = Run(raw, start)
        self._runs = [run, *self._runs[: _MOST_RUNS - 1]] if run.is_plain else self._runs
        return run
