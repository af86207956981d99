"""Reading files for the cache by the batch: what they say, as documents and as the columns of these at once.

Headers are decoded by the thousand. What is unusual, and files that a class other than Buffer opens, are read one at a
time; both ways give the same.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from bufcache.buffer_metadata_cache import paths
from bufcache.buffer_metadata_cache.kinds import Boolean, Float, Integer, Number, PathText
from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.parts import Values, encoded
from bufcache.buffer_metadata_cache.query import Field
from bufcache.buffer_metadata_cache.reading import Task, read
from bufcache.buffer_metadata_cache.scan import Fingerprint, fingerprint_in
from bufcache.buffer_parser import Buffer
from bufcache.buffer_parser.batch import Decoder

_FIELDS = {field.name: field for field in BufferMetadata.stored_fields() if field.name not in ("id", "machine_id")}
"""What a file says; the others are what the cache says."""

_OWN = (
    *("filename", "process", "process_time", "process_date_time", "header_hash", "file_size", "mtime_ns"),
    *("partnumber", "channel", "sample_count", "spec_count", "db_count", "full_blocks"),
)
"""The fields in which nearly each file is different; in the others many of a batch are alike, and are written once."""

_READ = 4096
"""Bytes that are read of a file; one whose header is longer, and hardly any is, is read by itself."""

_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
"""Nothing that took the place of a file is to be waited for."""

_FRESH = 2 * 10**9
_DELIBERATE = 24 * 3600 * 10**9
"""A file that was modified less than 2 s ago may be modified again without another modification time, for file systems
count as coarsely as that; a time that lies a day ahead was set on purpose."""


class Batch(NamedTuple):
    """What files said, by their numbers in the batch."""

    files: NDArray[np.intp]
    """Those that have a document, in order."""
    documents: list[bytes]
    """The document of each, JSON without its id."""
    values: dict[str, Values]
    """The columns of the documents."""
    errors: dict[int, str]
    """Why files could not be read; their document, where they have one, says so, too."""
    skipped: set[int]
    """Those that are no buffer files."""

    def undecided(self) -> set[int]:
        """Return the files that could not be read this time, and may be another time.

        The others have a modification time: what they said is their last word until that is another.
        """
        is_known = self.values["mtime_ns"].is_known
        return set(self.errors) - set((self.files if is_known is None else self.files[is_known]).tolist())


def read_batch(
    files: Sequence[Task], buffer_class: type[Any], began: int, on_read: Callable[[], object] | None = None
) -> Batch:
    """Read files and return what they say.

    Parameters
    ----------
    files
        The files.
    buffer_class
        What opens them.
    began
        The time, in ns, of the clock of the file system: now, or some moments ago. That of a worker may be wrong.
    on_read
        Called after each file.
    """
    columns = _Columns()
    is_ours = buffer_class is Buffer
    errors: dict[int, str] = {}
    skipped: set[int] = set()
    for number in _read_starts(files, columns, on_read) if is_ours else range(len(files)):
        reading = read(files[number].path, buffer_class, is_check=files[number].is_check)
        if reading.error is not None:
            errors[number] = reading.error
        if reading.is_skipped:
            skipped.add(number)
        if reading.document is not None:
            columns.add_document(number, reading.document)
        if on_read and not is_ours:
            on_read()
    return columns.batch(began, errors, skipped)


def _read_starts(files: Sequence[Task], columns: _Columns, on_read: Callable[[], object] | None) -> Iterable[int]:
    """Read and decode headers; return the numbers of the files that are to be read one at a time."""
    numbers, starts, others = [], [], []
    start_of = cache(paths.start)
    for number, (folder, name, fingerprint, _, _) in enumerate(files):
        start = _read_start(start_of(folder) + name, fingerprint)
        if start is None:
            others.append(number)
        else:
            numbers.append(number)
            starts.append(start)
        if on_read:
            on_read()
    return others + columns.add_headers(files, numbers, starts) if numbers else others


def _read_start(path: str, fingerprint: Fingerprint) -> bytes | None:
    """Read the first bytes of a file; None where that is not possible, or it is not what was listed."""
    try:
        descriptor = os.open(path, _FLAGS)
    except (OSError, ValueError):
        return None
    try:
        start = os.read(descriptor, _READ)
        found = os.fstat(descriptor)  # only now: so it has not changed since it was listed
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return start if fingerprint_in(found) == fingerprint else None


class _Columns:
    """The columns of a batch in the making: those that were decoded, and documents one by one."""

    _decoders = threading.local()

    def __init__(self) -> None:
        self._numbers: dict[str, tuple[NDArray[Any], NDArray[np.bool_]]] = {}
        self._texts: dict[str, list[str | None]] = {}
        self._decoded: NDArray[np.intp] = np.zeros(0, np.intp)
        self._documents: dict[int, dict[str, Any]] = {}

    def add_document(self, number: int, document: dict[str, Any]) -> None:
        """Add the document of a file that was read by itself."""
        self._documents[number] = document

    def add_headers(self, files: Sequence[Task], numbers: list[int], starts: Sequence[bytes]) -> list[int]:
        """Decode headers, and return the numbers of the files whose header is left over."""
        if not hasattr(self._decoders, "decoder"):
            self._decoders.decoder = Decoder()
        decoded = self._decoders.decoder.decode(starts, [files[number].fingerprint[0] for number in numbers])
        is_decoded = np.ones(len(starts), np.bool_)
        is_decoded[decoded.left_over] = False
        kept = np.flatnonzero(is_decoded)
        self._decoded = np.array(numbers, np.intp)[kept]
        own = [files[number] for number in self._decoded.tolist()]
        everywhere = np.ones(len(kept), np.bool_)
        self._numbers = {name: (column.values[kept], column.known[kept]) for name, column in decoded.numbers.items()}
        for place, name in enumerate(("file_size", "mtime_ns")):
            fingerprints = np.fromiter((file.fingerprint[place] for file in own), np.int64, len(own))
            self._numbers[name] = (fingerprints, everywhere)
        for name, texts in decoded.texts.items():
            self._texts[name] = texts if len(kept) == len(texts) else [texts[row] for row in kept.tolist()]
        self._texts["directory_path"] = [file.folder for file in own]
        self._texts["filename"] = [file.name for file in own]
        return [numbers[row] for row in decoded.left_over.tolist()]

    def batch(self, began: int, errors: dict[int, str], skipped: set[int]) -> Batch:
        """Return the batch, whose reading began at a time of the clock of the files."""
        self._add_racy(began)
        others = np.array(list(self._documents), np.intp)
        files = np.concatenate([self._decoded, others])
        order = np.argsort(files)
        documents = [*self._decoded_documents(), *map(orjson.dumps, self._documents.values())]
        values = {name: self._joined(field, order) for name, field in _FIELDS.items()}
        if len(others):
            documents = [documents[row] for row in order.tolist()]
        return Batch(files[order], documents, values, errors, skipped)

    def _add_racy(self, began: int) -> None:
        if len(self._decoded):
            moments, _ = self._numbers["mtime_ns"]
            is_racy = (moments > began - _FRESH) & (moments < began + _DELIBERATE)
            self._numbers["is_racy"] = (is_racy.astype(np.int64), is_racy)
        for document in self._documents.values():
            if began - _FRESH < document.get("mtime_ns", 0) < began + _DELIBERATE:
                document["is_racy"] = True

    def _decoded_documents(self) -> list[bytes]:
        """Return the documents of the headers that were decoded."""
        lists = {name: values for name, field in _FIELDS.items() if (values := self._stored(field)) is not None}
        own = {name: lists.pop(name) for name in _OWN if name in lists}
        shared = {row: _members(lists, row) for row in set(zip(*lists.values(), strict=True))}
        rows = zip(zip(*lists.values(), strict=True), zip(*own.values(), strict=True), strict=True)
        return [b"{%b,%b}" % (shared[alike], _members(own, other)) for alike, other in rows]

    def _stored(self, field: Field[Any]) -> list[Any] | None:
        """Return the values of a field as they stand in documents, None where it has none; None where it never has."""
        if field.name in self._texts:
            texts = self._texts[field.name]
            if not isinstance(field.kind, PathText):
                return texts  # as they were decoded UTF-8 can hold them
            return [text if text is None or text.isascii() else field.kind.dump(text) for text in texts]
        if field.name not in self._numbers:
            return None
        values, known = self._numbers[field.name]
        if not known.any():
            return None
        stored: list[Any] = values.tolist()
        if isinstance(field.kind, (Boolean, Number)):  # which do not stand in documents as they do in columns
            shown = {value: field.kind.present(value) for value in set(stored)}
            stored = list(map(shown.__getitem__, stored))
        if known.all():
            return stored
        return [value if is_known else None for value, is_known in zip(stored, known.tolist(), strict=True)]

    def _joined(self, field: Field[Any], order: NDArray[np.intp]) -> Values:
        """Return the column of a field, in order of the files."""
        loaded = [field.of(document) for document in self._documents.values()]
        count = len(self._decoded)
        if not isinstance(field.kind, (Integer, Float)):
            return _in_order(encoded(field.kind, self._texts.get(field.name, [None] * count) + loaded), order)
        values, known = self._numbers.get(field.name, (np.zeros(count, field.kind.dtype), np.zeros(count, np.bool_)))
        values = np.where(known, values, 0).astype(field.kind.dtype, copy=False)
        if loaded:
            numbers = np.array([0 if value is None else value for value in loaded], field.kind.dtype)
            values, known = np.concatenate([values, numbers]), np.concatenate([known, [v is not None for v in loaded]])
        return _in_order(Values(values, None if known.all() else known), order)


def _members(names: Iterable[str], row: tuple[Any, ...]) -> bytes:
    """Return the members of a JSON object, without what is not known."""
    members = dict(zip(names, row, strict=True))
    if None in row:
        members = {name: value for name, value in members.items() if value is not None}
    return orjson.dumps(members)[1:-1]


def _in_order(values: Values, order: NDArray[np.intp]) -> Values:
    return Values(values.array[order], None if values.is_known is None else values.is_known[order], values.texts)
