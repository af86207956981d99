"""Texts by number: the different texts of a column, each of which rows name by its number, the code."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.integer]


class Texts(Sequence[str]):
    """Different texts; a text's code is its place among them."""

    is_sorted = True
    """Whether the codes sort as the texts do, by code point."""

    @overload
    def __getitem__(self, code: int) -> str: ...
    @overload
    def __getitem__(self, code: slice) -> Sequence[str]: ...
    @abstractmethod
    def __getitem__(self, code: int | slice) -> str | Sequence[str]:
        """Return a text."""

    def code(self, text: str) -> int:
        """Return the code of a text, -1 where it is none of these."""
        place = bisect_left(self, text)
        return place if place < len(self) and self[place] == text else -1

    def take(self, codes: Codes) -> list[str]:
        """Return the texts of codes."""
        texts = self.all()
        return [texts[code] for code in codes.tolist()]

    def all(self) -> Sequence[str]:
        """Return all the texts, ready to be looked at."""
        return self


class HeldTexts(Texts):
    """Texts in memory, sorted."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, code):  # type: ignore[no-untyped-def]  # declared above
        return self._texts[code]

    def all(self) -> Sequence[str]:
        return self._texts


class GrowingTexts(HeldTexts):
    """Texts in memory in order of their coming, to which others can be added."""

    is_sorted = False

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._codes: dict[str, int] = {}

    def code(self, text: str) -> int:
        return self._codes.get(text, -1)

    def add(self, texts: Sequence[str]) -> list[int]:
        """Return the codes of texts, which are among these from now on."""
        new = [text for text in dict.fromkeys(texts) if text not in self._codes]
        self._codes.update(zip(new, range(len(self._texts), len(self._texts) + len(new)), strict=True))
        self._texts += new
        return list(map(self._codes.__getitem__, texts))


def coded(texts: Sequence[str | None]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the different texts, sorted, and for each one given its code; 0 for None."""
    different = sorted(dict.fromkeys(text for text in texts if text is not None))  # runs stay runs: less to sort
    codes: dict[str | None, int] = {text: code for code, text in enumerate(different)}
    codes[None] = 0
    return different, np.fromiter(map(codes.__getitem__, texts), np.int64, len(texts))
