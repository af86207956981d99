"""Finding buffer files by opening each: for a handful of files, without a cache."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Container, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from bufcache.buffer_parser.buffer import Buffer
from bufcache.buffer_parser.header import is_buffer_file
from bufcache.errors import BufcacheError, InvalidArgumentError, InvalidFileError, MissingHeaderError
from bufcache.names import nearest

_PROPERTIES = (
    "process",
    "channel",
    "datamode",
    "datakind",
    "datatype",
    "compression_time",
    "compression_frq",
    "avg_time",
    "avg_frq",
)
_KEYS = (*_PROPERTIES, "wanted_process", "unwanted_process")


def filter_buffers(directory: str | os.PathLike[str], filters: Mapping[str, Any]) -> list[Buffer]:
    """Open each buffer file below a directory and return those that match.

    Parameters
    ----------
    directory
        Searched with its subfolders, for regular files named ``*p*c*b*``.
    filters
        What must hold: `process`, `channel`, `datamode`, `datakind`, `datatype`, `compression_time`,
        `compression_frq`, `avg_time`, `avg_frq` give the value or a container of values; `wanted_process` and
        `unwanted_process` are containers of process numbers.

    Returns
    -------
    list of Buffer, in order of their paths. A file that lacks what is asked for does not match; buffer files that
    cannot be read are left out with a warning.

    Raises
    ------
    InvalidArgumentError
        An unknown key.
    """
    for key in filters:
        if key not in _KEYS:
            raise InvalidArgumentError(f"unknown filter {key!r}{nearest(key, _KEYS)}")
    return [buffer for path in _buffer_paths(directory) if _matches(buffer := Buffer(path), filters)]


def _buffer_paths(directory: str | os.PathLike[str]) -> Iterator[str]:
    for folder, folders, names in os.walk(directory, onerror=_raise):
        folders.sort()
        paths = (os.path.join(folder, name) for name in sorted(names) if fnmatchcase(name, "*p*c*b*"))
        yield from (path for path in paths if os.path.isfile(path))


def _raise(error: OSError) -> None:
    raise error


def _matches(buffer: Buffer, filters: Mapping[str, Any]) -> bool:
    try:
        with buffer:
            return all(_test(key, wanted)(buffer) for key, wanted in filters.items())
    except MissingHeaderError:
        return False
    except (BufcacheError, OSError) as error:
        if not isinstance(error, InvalidFileError) or is_buffer_file(buffer.filepath):
            warnings.warn(f"left out: {error}", stacklevel=4)
        return False


def _test(key: str, wanted: Any) -> Callable[[Buffer], bool]:
    if key == "unwanted_process":
        return lambda buffer: buffer.process not in wanted
    name = "process" if key == "wanted_process" else key
    if isinstance(wanted, Container):
        return lambda buffer: getattr(buffer, name) in wanted
    return lambda buffer: bool(getattr(buffer, name) == wanted)
