"""Arguments of callers, checked."""

from __future__ import annotations

from operator import index
from typing import SupportsIndex

from bufcache.errors import InvalidArgumentError


def integer(name: str, value: SupportsIndex) -> int:
    """Return an argument that must be an integer of any type.

    Raises
    ------
    InvalidArgumentError
        It is none.
    """
    try:
        return index(value)
    except TypeError:
        raise InvalidArgumentError(f"{name} is {value!r}; expected an integer") from None
