"""Walking folders: which files are there, with their fingerprints."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from fnmatch import translate
from typing import NamedTuple

from bufcache.errors import InvalidArgumentError

_LOG_NAME = re.compile(r"documents-\d+\.jsonl")


class Fingerprint(NamedTuple):
    """What tells that a file was changed: compared for equality, never for order."""

    size: int
    mtime_ns: int


class Folder(NamedTuple):
    """A folder that was listed: its path, and the fingerprints of the files whose names match."""

    path: str
    files: dict[str, Fingerprint]
    is_empty: bool


class Failure(NamedTuple):
    """What could not be read, and why."""

    path: str
    error: str


def describe(error: Exception) -> str:
    """Return an error as text that UTF-8 can hold: a message may name a file whose name is none."""
    try:
        message = str(error)
    except Exception:  # an error of a Buffer_cls may fail even to say itself
        message = "its message cannot be shown"
    return f"{type(error).__name__}: {message}".encode("utf-8", "backslashreplace").decode("utf-8")


def name_filter(glob_pattern: str, regex_pattern: str) -> Callable[[str], object]:
    """Return the test of file names: both patterns must match, the regular expression at the start.

    Raises
    ------
    InvalidArgumentError
        A pattern cannot be compiled, or names folders.
    """
    glob_pattern = glob_pattern.removeprefix("**/")
    if "/" in glob_pattern:
        raise InvalidArgumentError(f"glob_pattern {glob_pattern!r} names folders; it is matched with file names")
    is_globbed = re.compile(translate(os.path.normcase(glob_pattern))).match
    try:
        is_matched = re.compile(regex_pattern).match
    except re.error as error:
        raise InvalidArgumentError(f"regex_pattern {regex_pattern!r} is no regular expression: {error}") from None
    return lambda name: is_globbed(os.path.normcase(name)) and is_matched(name)


def fingerprint(path: str) -> Fingerprint | None:
    """Return the fingerprint of a regular file, following links; None for anything else."""
    found = os.stat(path)
    return Fingerprint(found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def walk(
    root: str, is_wanted: Callable[[str], object], *, recursive: bool, failures: list[Failure]
) -> Iterator[Folder]:
    """List a folder and those below it; what cannot be listed goes to `failures`.

    Links to files are followed, links to folders are not. Anything but a regular file is passed over, and so is
    a folder that is itself a cache.
    """
    pending = [root]
    while pending:
        path = pending.pop()
        try:
            with os.scandir(path) as listing:
                entries = list(listing)
        except OSError as error:
            failures.append(Failure(path, describe(error)))
            continue
        if any(_LOG_NAME.fullmatch(entry.name) for entry in entries):
            continue
        if recursive:
            pending += sorted((entry.path for entry in entries if entry.is_dir(follow_symlinks=False)), reverse=True)
        yield Folder(path, _files(entries, is_wanted, failures), is_empty=not entries)


def _files(
    entries: list[os.DirEntry[str]], is_wanted: Callable[[str], object], failures: list[Failure]
) -> dict[str, Fingerprint]:
    files = {}
    for entry in entries:
        if not is_wanted(entry.name):
            continue
        try:
            found = entry.stat()
        except FileNotFoundError:
            continue  # a dangling link, or gone since it was listed
        except OSError as error:
            if error.errno != errno.ELOOP:  # a link to itself leads nowhere, too
                failures.append(Failure(entry.path, describe(error)))
            continue
        if stat.S_ISREG(found.st_mode):
            files[entry.name] = Fingerprint(found.st_size, found.st_mtime_ns)
    return files
