"""A disk under the store's file module: it records each system call, can fail at any, and knows what crashes leave.

A crash of the system loses what was not synced, all of it or any part: bytes until their file is synced, names (made,
renamed, removed) until their folder is. Writes may also be torn.
"""

import io
import os
import random
from collections import defaultdict
from typing import NamedTuple

from bufcache.buffer_metadata_cache.store import files as store_files
from bufcache.buffer_metadata_cache.store.files import OWNER

_SECTOR = 512
"""Bytes that a disk writes as one."""


class Stopped(BaseException):
    """The process is dead: whatever it does from now on has no effect."""


class Call(NamedTuple):
    """What a system call did; names are relative to the folder of the store, which is the empty one."""

    kind: str
    name: str
    data: bytes = b""
    at: int = 0
    other: str = ""


class Known(NamedTuple):
    """What the process knows at a point: how many commits it has begun, and how many have returned."""

    begun: int
    acknowledged: int


class Disk:
    """Stands in for `os`, `mmap` and `open` in the store's file module.

    Parameters
    ----------
    root
        The folder of the store.
    before
        Called with the kind and the name of each call before it is made; what it raises, the call raises.
    """

    def __init__(self, root, before=lambda kind, name: None):
        self.root = str(root)
        self.calls = []
        self.before = before
        self._names = {}

    def install(self, patch):
        """Put this disk under the file module."""
        patch.setattr(store_files, "os", _Os(self))
        patch.setattr(store_files, "mmap", _Mmap(self))
        patch.setattr(store_files, "open", self.open_to_write, raising=False)
        patch.setattr(store_files, "_FULL_SYNC", None)

    def name(self, path):
        name = os.path.relpath(path, self.root)
        return "" if name == "." else name

    def note(self, call):
        if call.name != OWNER:
            self.calls.append(call)

    def open_to_write(self, path, mode, buffering=-1):
        self.before("open", self.name(path))
        return _Written(self, path)


class _Written(io.BytesIO):
    """A file that is written to the disk when it is closed, and may fail before."""

    def __init__(self, disk, path):
        super().__init__()
        self._disk, self._path, self._name, self._is_begun = disk, path, disk.name(path), False
        with open(path, "wb"):
            disk.note(Call("create", self._name))

    def write(self, data):
        if not self._is_begun:
            self._is_begun = True
            self._disk.before("write", self._name)
        return super().write(data)

    def close(self):
        if self.closed:
            return
        content = self.getvalue()
        super().close()
        try:
            self._disk.before("write", self._name)
        except (OSError, Stopped) as error:
            content = content[: getattr(error, "written", 0)]
            raise
        finally:
            with open(self._path, "wb") as file:
                file.write(content)
            self._disk.note(Call("write", self._name, content))


class _Os:
    """The functions of `os` that the file module uses."""

    def __init__(self, disk):
        self._disk, self._names = disk, {}

    def __getattr__(self, name):
        return getattr(os, name)

    def open(self, path, flags, mode=0o777):
        name = self._disk.name(path)
        self._disk.before("open", name)
        is_new = not os.path.exists(path)
        descriptor = os.open(path, flags, mode)
        self._names[descriptor] = name
        if is_new:
            self._disk.note(Call("create", name))
        return descriptor

    def write(self, descriptor, data):
        name, at = self._names[descriptor], os.fstat(descriptor).st_size
        try:
            self._disk.before("write", name)
        except (OSError, Stopped) as error:  # a part may have been written
            part = bytes(data[: getattr(error, "written", 0)])
            self._disk.note(Call("write", name, part, os.write(descriptor, part) and at))
            raise
        written = os.write(descriptor, data)
        self._disk.note(Call("write", name, bytes(data[:written]), at))
        return written

    def fsync(self, descriptor):
        name = self._names[descriptor]
        try:
            self._disk.before("fsync", name)
        except OSError:
            self._disk.note(Call("failed sync", name))
            raise
        is_folder = os.path.isdir(os.path.join(self._disk.root, name))
        self._disk.note(Call("sync folder" if is_folder else "sync", name))

    def ftruncate(self, descriptor, size):
        self._disk.before("ftruncate", self._names[descriptor])
        os.ftruncate(descriptor, size)
        self._disk.note(Call("cut", self._names[descriptor], at=size))

    def pread(self, descriptor, length, offset):
        self._disk.before("read", self._names[descriptor])
        return os.pread(descriptor, length, offset)

    def rename(self, path, other):
        self._disk.before("rename", self._disk.name(path))
        os.rename(path, other)
        self._disk.note(Call("rename", self._disk.name(path), other=self._disk.name(other)))

    def remove(self, path):
        self._disk.before("remove", self._disk.name(path))
        os.remove(path)
        self._disk.note(Call("remove", self._disk.name(path)))

    def makedirs(self, path, exist_ok):
        self._disk.before("makedirs", self._disk.name(path))
        if not os.path.exists(path):
            os.makedirs(path)
            self._disk.note(Call("make folder", self._disk.name(path)))


class _Mmap:
    """The functions of `mmap` that the file module uses."""

    def __init__(self, disk):
        import mmap

        self._disk, self._mmap = disk, mmap

    def __getattr__(self, name):
        return getattr(self._mmap, name)

    def mmap(self, descriptor, *arguments, **options):
        self._disk.before("map", "")
        return self._mmap.mmap(descriptor, *arguments, **options)


# -- what crashes leave -----------------------------------------------------------------------------------------------


class _Step(NamedTuple):
    """What a call changed, and after how many calls that was certain to outlast a crash."""

    call: Call
    file: int
    certain: int
    sectors: tuple[int, bytes] | None = None
    """Of a write, from where on which bytes came to the disk: what had stood before in its first sector, too."""


def _steps(calls):
    """Give what each call changed; files are numbered, as their names change."""
    steps, names = {}, {}
    contents = defaultdict(bytearray)
    waiting = defaultdict(list)  # what a sync makes certain: bytes by file, names by folder
    for number, call in enumerate(calls):
        key = {"sync": names.get(call.name), "sync folder": call.name, "failed sync": names.get(call.name)}.get(
            call.kind
        )
        if key is not None:
            for place in waiting.pop(key, ()):
                # What one sync has lost another does not make certain.
                steps[place] = steps[place]._replace(certain=len(calls) + 1 if "failed" in call.kind else number + 1)
            continue
        if call.kind == "create":
            names[call.name] = number
        file = names.get(call.name, -1)
        if call.kind == "rename":
            names[call.other] = names.pop(call.name)
        if call.kind == "remove":
            del names[call.name]
        sectors = None
        if call.kind in ("write", "cut"):
            del contents[file][call.at :]
            contents[file] += call.data
            start = call.at // _SECTOR * _SECTOR
            sectors = start, bytes(contents[file][start:])
        steps[number] = _Step(call, file, len(calls) + 1, sectors)
        waiting[file if call.kind in ("write", "cut") else os.path.dirname(call.name)].append(number)
    return steps


def _image(steps, kept, torn=None):
    """Return the files that the steps leave of which the numbers are given, and one of them torn."""
    names, contents, folders = {}, defaultdict(bytearray), {""}
    for number in kept:
        call, file, _, sectors = steps[number]
        match call.kind:
            case "create":
                names[call.name] = file
            case "write":
                at, data = (call.at, torn[1]) if torn and torn[0] == number else sectors
                content = contents[file]
                content.extend(bytes(max(0, at + len(data) - len(content))))
                content[at : at + len(data)] = data
            case "cut":
                del contents[file][call.at :]
            case "rename":
                names.pop(call.name, None)
                names[call.other] = file
            case "remove":
                if names.get(call.name) == file:
                    del names[call.name]
            case "make folder":
                folders.add(call.name)
    return {name: bytes(contents[file]) for name, file in names.items() if os.path.dirname(name) in folders}


def _torn(data, at):
    """Give what may have come to the disk of bytes: a part, or zeros in the place of all or of some sectors."""
    yield from (data[:length] for length in sorted({1, len(data) // 2, len(data) - 1}))
    yield bytes(len(data))
    sector = (at + len(data) // 2) // _SECTOR * _SECTOR - at
    if sector > 0:
        yield bytes(sector) + data[sector:]
        yield data[:sector] + bytes(len(data) - sector)


def crash_states(calls, known, *, first=0, most_torn=2):
    """Give all states that a crash after `first` calls or more may leave: files, and what was known at that moment.

    Of what is not certain all, nothing, all but one, one alone and a few at random are kept, and the last writes torn.

    Parameters
    ----------
    known
        What the process knew, by the number of calls that it had made.
    most_torn
        How many writes, the last ones, are torn.
    """
    steps = _steps(calls)
    generator = random.Random(1)
    for moment in range(first, len(calls) + 1):
        done = [number for number in steps if number < moment]
        certain = [number for number in done if steps[number].certain <= moment]
        others = [number for number in done if steps[number].certain > moment]
        moment_known = known[max(number for number in known if number <= moment)]
        choices = [[], others, *([number] for number in others)]
        choices += [[other for other in others if other != number] for number in others]
        choices.append([number for number in others if generator.random() < 0.5])
        for choice in choices:
            yield _image(steps, sorted(certain + choice)), moment_known
        for number in [number for number in others if steps[number].call.kind == "write"][-most_torn:]:
            for data in _torn(steps[number].call.data, steps[number].call.at):
                yield _image(steps, done, (number, data)), moment_known
