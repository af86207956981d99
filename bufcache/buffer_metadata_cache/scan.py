"""Walking folders: which files are there, with their fingerprints."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from fnmatch import translate
from typing import NamedTuple

from bufcache.buffer_metadata_cache import paths
from bufcache.buffer_metadata_cache.paths import AnyPath
from bufcache.buffer_metadata_cache.signature import is_log
from bufcache.errors import InvalidArgumentError

Fingerprint = tuple[int, int]
"""Size and modification time in ns of a file: compared for equality, never for order. A plain tuple is cheapest."""

_HALF = 2**63


class Listing(NamedTuple):
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
    try:
        is_matched = re.compile(regex_pattern).match
    except re.error as error:
        raise InvalidArgumentError(f"regex_pattern {regex_pattern!r} is no regular expression: {error}") from None
    globbed = f"(?{'i' if os.path.normcase('A') == 'a' else ''}:{translate(glob_pattern)})"
    try:
        return re.compile(f"(?={regex_pattern}){globbed}").match  # one call a name is quicker than two
    except re.error:  # it begins with flags for all of it, or has names that the other pattern has, too
        is_globbed = re.compile(globbed).match
        return lambda name: is_matched(name) and is_globbed(name)


def roots(given: Iterable[AnyPath], *, recursive: bool) -> list[str]:
    """Return the absolute paths of the folders to walk, none of them twice.

    Raises
    ------
    TypeError
        Something is no path.
    FileNotFoundError
        Something is no folder.
    InvalidArgumentError
        There is none.
    """
    given = list(given)
    if not given:
        raise InvalidArgumentError("no folder was given; nothing was synchronised")
    for root in given:
        _require_folder(root)
    found = list(dict.fromkeys(map(paths.absolute, given)))
    if not recursive:
        return found
    return [root for root in found if not any(root != other and paths.is_below(root, other) for other in found)]


def _require_folder(root: object) -> None:
    if not isinstance(root, (str, bytes, os.PathLike)):
        raise TypeError(f"expected the path of a folder, got {root!r}; give several as several arguments")
    if not os.path.isdir(root):
        raise FileNotFoundError(f"{os.fsdecode(root)!r} does not exist or is no folder; nothing was synchronised")


def fingerprints(files: Iterable[str], failures: list[Failure]) -> Iterator[tuple[str, Fingerprint | None]]:
    """Give files with their fingerprints; what has none that can be learned goes to `failures`."""
    for path in files:
        try:
            found = fingerprint(path)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            failures.append(Failure(path, describe(error)))
        else:
            yield path, found


def fingerprint(path: str) -> Fingerprint | None:
    """Return the fingerprint of a regular file, following links; None for anything else."""
    return fingerprint_in(os.stat(path))


def fingerprint_in(found: os.stat_result) -> Fingerprint | None:
    """Return the fingerprint of a regular file; None for anything else.

    Of a time beyond the year 2262, which 64 bits cannot hold in ns, these 64 bits are taken.
    """
    if not stat.S_ISREG(found.st_mode):
        return None
    mtime_ns = found.st_mtime_ns
    if not -_HALF <= mtime_ns < _HALF:
        mtime_ns = (mtime_ns + _HALF) % (2 * _HALF) - _HALF
    return found.st_size, mtime_ns


def walk(
    root: str, is_wanted: Callable[[str], object], *, recursive: bool, failures: list[Failure]
) -> Iterator[Listing]:
    """List a folder and those below it; what cannot be listed goes to `failures`.

    Links to files are followed, links to folders are not. Anything but a regular file is passed over, and so is
    a folder below that is itself a cache.

    Raises
    ------
    InvalidArgumentError
        The folder is itself a cache.
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
        files: dict[str, Fingerprint] = {}
        below: list[str] = []
        for entry in entries:
            if _is_folder(entry, failures):
                below.append(entry.path)
            elif entry.name.startswith("documents-") and is_log(entry.path, entry.name):
                if path == root:
                    raise InvalidArgumentError(f"{path} is a cache; give the folder of the measured files")
                break
            elif is_wanted(entry.name) and (found := _fingerprint_of(entry, failures)):
                files[entry.name] = found
        else:
            yield Listing(path, files, is_empty=not entries)
            if recursive:
                pending += sorted(below, reverse=True)


def _is_folder(entry: os.DirEntry[str], failures: list[Failure]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError as error:  # where the listing does not tell, and the entry itself cannot be asked
        _tell(entry, error, failures)
        return False


def _fingerprint_of(entry: os.DirEntry[str], failures: list[Failure]) -> Fingerprint | None:
    try:
        found = entry.stat()
    except (FileNotFoundError, NotADirectoryError):  # a dangling link, or gone since it was listed
        return None
    except OSError as error:
        if error.errno != errno.ELOOP:  # a link to itself leads nowhere, too
            _tell(entry, error, failures)
        return None
    return fingerprint_in(found)


def _tell(entry: os.DirEntry[str], error: OSError, failures: list[Failure]) -> None:
    """Note why an entry cannot be read, once: who cannot tell what it is often cannot tell its size either."""
    if not failures or failures[-1].path != entry.path:
        failures.append(Failure(entry.path, describe(error)))
