"""Paths as texts: of this machine, and of others whose entries a cache may hold."""

from __future__ import annotations

import ntpath
import os
import posixpath

AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def absolute(path: AnyPath) -> str:
    """Return the absolute form of a path, also of one that is absolute on another system than this."""
    text = os.fsdecode(path)
    if os.sep == "/" and text.startswith("//"):
        text = "/" + text.lstrip("/")  # two of them mean nothing else, but would be kept
    if os.path.isabs(text) or not (ntpath.isabs(text) or posixpath.isabs(text)):
        return os.path.abspath(text)
    return ntpath.normpath(text) if ntpath.isabs(text) else posixpath.normpath(text)


def separator(folder: str) -> str:
    r"""Return what separates names below a folder: ``\`` where its path is one of Windows, else ``/``."""
    return "\\" if ntpath.isabs(folder) and not posixpath.isabs(folder) else "/"


def start(folder: str) -> str:
    """Return what the paths of files in a folder begin with."""
    mark = separator(folder)
    return folder if folder.endswith(mark) else folder + mark


def join(folder: str, name: str) -> str:
    """Return the path of a file in a folder."""
    return start(folder) + name


def split(path: str) -> tuple[str, str]:
    """Return folder and name of an absolute path."""
    return ntpath.split(path) if separator(path) == "\\" else posixpath.split(path)


def is_below(path: str, folder: str) -> bool:
    """Tell whether an absolute path is a folder or lies below it."""
    return path == folder or path.startswith(start(folder))
