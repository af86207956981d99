"""Patterns of text: what a text is asked to be like, as a test."""

from __future__ import annotations

import re
from collections.abc import Callable

from bufcache.buffer_metadata_cache import paths
from bufcache.errors import InvalidArgumentError

Test = Callable[[str], bool]


def tester(name: str, pattern: str, escape: str | None) -> Test:
    """Return the test that a predicate of that name makes of one text.

    Raises
    ------
    InvalidArgumentError
        The pattern is no regular expression, or `escape` no character.
    """
    try:
        return _TESTERS[name](pattern, escape)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidArgumentError(f"{pattern!r} is no regular expression: {error}") from None


def _like(pattern: str, escape: str | None, flags: int = re.DOTALL) -> Test:
    if escape is not None and (type(escape) is not str or len(escape) != 1):
        raise InvalidArgumentError(f"escape is {escape!r}; expected one character")
    literal = re.escape(escape) + "(.)|" if escape else ""
    segments, position = [""], 0  # between the % of the pattern, as regular expressions
    for match in re.finditer(literal + "[%_]", pattern, re.DOTALL):
        segments[-1] += re.escape(pattern[position : match.start()])
        if escape and match[1] is not None:
            segments[-1] += re.escape(match[1])
        elif match[0] == "_":
            segments[-1] += "."
        else:
            segments.append("")
        position = match.end()
    segments[-1] += re.escape(pattern[position:])
    first, *inner, last = segments if len(segments) > 1 else (*segments, "")
    # The first place where a segment fits is as good as any later one: atomic groups never try those.
    text = first + "".join(f"(?>.*?{segment})" for segment in inner) + (".*" if len(segments) > 1 else "") + last
    expression = re.compile(text, flags)
    return lambda text: expression.fullmatch(text) is not None


def _search(pattern: str) -> Test:
    search = re.compile(pattern).search
    return lambda text: search(text) is not None


_TESTERS: dict[str, Callable[[str, str | None], Test]] = {
    "like": _like,
    "ilike": lambda pattern, escape: _like(pattern, escape, re.DOTALL | re.IGNORECASE),
    "startswith": lambda pattern, _: lambda text: text.startswith(pattern),
    "endswith": lambda pattern, _: lambda text: text.endswith(pattern),
    "contains": lambda pattern, _: lambda text: pattern in text,
    "regexp_match": lambda pattern, _: _search(pattern),
    "below": lambda folder, _: lambda path: paths.is_below(path, folder),
}
