"""Crashes without a crash: files that note what is done to them, and every state in which a crash may leave them.

What is waited for is on the disk: what was appended, and how far a file was cut. A new name in the folder of the store
is there once it was waited for; until then it may be missing, or a name that was removed still be there. Columns are
never waited for: each of their files may be missing, whole, or a name without all of its content. Of the operation that
was under way everything, nothing or a part may have come to pass.
"""

import io
from collections.abc import Iterator
from typing import NamedTuple

from stores import KeptMemory

_SECTOR = 512
"""Bytes of which a disk writes all or none."""


class Operation(NamedTuple):
    """Something that was done to a file: append, cut, publish or remove; or a wait for the names of all files."""

    kind: str
    name: str = ""
    data: bytes = b""


class TracedFiles(KeptMemory):
    """Files in memory that note what is done to them, and after which commit."""

    def __init__(self):
        super().__init__()
        self.trace: list[Operation] = []

    def append(self, name, data):
        super().append(name, data)
        self.trace.append(Operation("append", name, bytes(data)))

    def publish(self, name, write):
        file = io.BytesIO()
        write(file)
        super().publish(name, lambda published: published.write(file.getvalue()))
        self.trace.append(Operation("publish", name, file.getvalue()))

    def remove(self, name):
        if name in self._files:
            self.trace.append(Operation("remove", name))
        super().remove(name)

    def sync_names(self):
        self.trace.append(Operation("sync_names"))

    def cut(self, name, size):
        super().cut(name, size)
        self.trace.append(Operation("cut", name, size.to_bytes(8, "big")))


class FilesLeft(KeptMemory):
    """What a crash left."""

    def __init__(self, files):
        super().__init__()
        self._files = {name: bytearray(content) for name, content in files.items()}


Kept = dict[int, bytes | None]
"""What became of operations by their number: None where nothing of it, else what there is of its data."""


def crash_states(trace) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Give every state that a crash may leave, with the number of operations that were done before it."""
    for done in range(len(trace) + 1):
        unsynced = [number for number in range(done) if _may_be_lost(trace, number, done)]
        under_way = [{}] if done == len(trace) else [{done: data} for data in _parts(trace[done])]
        fates = [{}, dict.fromkeys(unsynced)]  # all are kept, all are lost
        for number in unsynced:
            parts = _parts(trace[number])[:4] if trace[number].kind == "publish" else [None]
            fates += [{number: data} for data in parts]
            fates.append({each: None for each in unsynced if each != number})
        given = set()
        for fate in fates:
            for last in under_way if fate in fates[:2] else under_way[:1]:
                state = _replayed(trace[: done + len(last)], {**fate, **last})
                key = tuple(sorted(state.items()))
                if key not in given:
                    given.add(key)
                    yield done, state


def _may_be_lost(trace, number, done):
    operation = trace[number]
    if operation.kind == "publish" or operation.name.startswith("columns/"):
        return operation.kind in ("publish", "remove")
    if any(later.kind == "sync_names" for later in trace[number:done]):
        return False
    return operation.kind == "remove" or _is_creation(trace, number)


def _is_creation(trace, number):
    name = trace[number].name
    return trace[number].kind == "append" and all(earlier.name != name for earlier in trace[:number])


def _parts(operation) -> list[bytes | None]:
    """Return what there may be of an operation that may not have come to pass."""
    data = operation.data
    half = len(data) // 2 // _SECTOR * _SECTOR
    if operation.kind in ("append", "publish"):
        with_holes = [bytes(len(data)), data[:half] + bytes(len(data) - half), bytes(half) + data[half:]]
        return [None, *with_holes, *(data[: len(data) * part // 8] for part in range(8)), data[:1], data[:-1]]
    return [None]


def _replayed(trace, kept: Kept):
    files: dict[str, bytes] = {}
    lost = set()
    for number, operation in enumerate(trace):
        name, data = operation.name, kept.get(number, operation.data)
        if data is None:
            if _is_creation(trace, number):
                lost.add(name)  # what was written to it later has no name either
        elif operation.kind == "append" and name not in lost:
            files[name] = files.get(name, b"") + data
        elif operation.kind == "publish":
            files[name] = data
        elif operation.kind == "remove":
            files.pop(name, None)
            lost.discard(name)
        elif operation.kind == "cut" and name in files:
            files[name] = files[name][: int.from_bytes(data, "big")]
    return files
