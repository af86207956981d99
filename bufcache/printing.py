"""Values on the terminal: as a table, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
from math import isfinite
from typing import Any


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under the names of their columns: numbers to the right, texts to the left."""
    texts = [[shown(value) for value in row] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(columns, *texts, strict=True)]
    is_number = [any(type(value) in (int, float) for value in cells) for cells in zip(*rows, strict=True)]
    is_number = is_number or [False] * len(columns)
    for cells in (columns, *texts):
        aligned = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, is_number, strict=True)
        ]
        print("  ".join(aligned).rstrip())


def shown(value: object) -> str:
    """Return a value as text on one line: members of enumerations by name, None as a dash.

    What cannot be printed is escaped, for it comes from files; bytes of file names that are not UTF-8 are let through.
    """
    if value is None:
        return "-"
    text = value.name if isinstance(value, Enum) else str(value)
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or "\udc80" <= character <= "\udcff" else _escaped(character)
        for character in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def print_json(value: object) -> None:
    """Print as JSON: members of enumerations by name, numbers that JSON lacks as text."""
    print(json.dumps(_plain(value), indent=1))


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return value.name
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case float() if not isfinite(value):
            return str(value)
    return value
