"""By what the log of a cache is known: its name, and how it begins."""

from __future__ import annotations

import os
import re

NAME = re.compile(r"documents-([1-9]\d{0,8})\.jsonl")
BEGINNING = b'{"bufcache":"documents"'


def is_log(path: str, name: str) -> bool:
    """Tell whether a file of that name is the log of a cache; one that cannot be read, or is none, counts as none."""
    if not (NAME.fullmatch(name) and os.path.isfile(path)):  # nothing else is opened: a pipe may wait forever
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING
    except OSError:
        return False
