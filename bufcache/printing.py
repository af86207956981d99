"""Values on the terminal: as a table, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
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


def print_json(objects: Sequence[dict[str, Any]]) -> None:
    """Print a JSON array of objects, members of enumerations by name."""
    plain = [
        {name: value.name if isinstance(value, Enum) else value for name, value in item.items()} for item in objects
    ]
    print(json.dumps(plain, indent=1))
