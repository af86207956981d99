"""Segments: the columns of a range of the log as a file, which is mapped and looked at only where it is needed.

A segment is an uncompressed .npz, as `numpy.load` opens it, and what it holds follows from its range of the log alone:
it may be deleted at any time. Its member ``contents.json``, found through the comment at the end of the file, says
where each array lies; integers are stored in the smallest type that holds them, and what is the same in all rows not as
an array at all. Every 64 KiB of an array have a CRC-32, which is verified when they are first looked at.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import numpy as np
import orjson
from numpy.lib import format as npy
from numpy.typing import NDArray

from bufcache.buffer_metadata_cache.columns import (
    DamagedPartError,
    Held,
    NumberColumn,
    Rows,
    Source,
    StoredColumn,
    TextColumn,
)
from bufcache.buffer_metadata_cache.parts import (
    Content,
    Fields,
    LazyColumns,
    Part,
    Schemas,
    Values,
    merged,
    part_of,
)
from bufcache.buffer_metadata_cache.store.files import Files
from bufcache.buffer_metadata_cache.store.log import Log, Position
from bufcache.buffer_metadata_cache.texts import Codes, Texts

if TYPE_CHECKING:
    from zipfile import ZipFile

FOLDER = "columns"
FORMAT = 1

_NAME = re.compile(r"([1-9]\d{0,8})-(\d{1,15})-(\d{1,15})\.npz")
_COMMENT = re.compile(rb"bufcache columns (\d{15}) (\d{15}) ([0-9a-f]{8})\Z")
_COMMENT_SIZE = 17 + 15 + 1 + 15 + 1 + 8
_PIECE = 1 << 16
_ALIGNMENT = 64
_LOCAL_HEADER_SIZE = 30
_PADDING_ID = 0xD935  # the extra field by which Android's zipalign aligns, too
_MANY = 16
"""One value in how many is so many that an array is verified as a whole."""
_KEPT_TEXTS = 50_000
"""Texts up to which those of a column stay in memory once all have been decoded."""


class Range(NamedTuple):
    """The commits that a segment covers: from one place in the log to another, and where its last commit starts."""

    start: Position
    end: Position
    last: int


@dataclass
class Segment:
    """The documents of a range of the log, by table; `name` is None where they are in memory alone."""

    range: Range
    parts: dict[str, Part]
    largest: Mapping[str, int]
    name: str | None = None

    @property
    def size(self) -> int:
        """Rows of all tables."""
        return sum(part.size for part in self.parts.values())


def parts_of(schemas: Schemas, contents: Mapping[str, Sequence[Content]], *, is_first: bool) -> dict[str, Part]:
    """Return the parts of a segment, in memory, of what parts of each table hold, oldest first."""
    joined = {table: merged(pieces, keeps_removals=not is_first) for table, pieces in contents.items()}
    return {table: part_of(schemas.get(table, {}), content) for table, content in joined.items() if len(content.ids)}


def name_of(generation: int, range: Range) -> str:
    """Return the name of a segment."""
    return f"{FOLDER}/{generation}-{range.start.end}-{range.end.end}.npz"


def limits_of(name: str, generation: int) -> tuple[int, int] | None:
    """Return from where to where in the log the segment of that name reaches; None where it is none of this log."""
    found = _NAME.fullmatch(name)
    return (int(found[2]), int(found[3])) if found and int(found[1]) == generation else None


def is_name(name: str) -> bool:
    """Tell whether a file in the folder has the name of a segment."""
    return _NAME.fullmatch(name) is not None


# -- writing ----------------------------------------------------------------------------------------------------------


def publish(files: Files, log: Log, range: Range, contents: Mapping[str, Content], largest: Mapping[str, int]) -> str:
    """Write the segment of a range of a log, and return its name."""
    name = name_of(log.generation, range)
    files.remove(name)  # of a log that was not finished, or damaged
    files.publish(name, partial(_write, salt=log.salt, range=range, contents=contents, largest=largest))
    return name


def _write(
    file: IO[bytes], salt: int, range: Range, contents: Mapping[str, Content], largest: Mapping[str, int]
) -> None:
    from zipfile import ZIP_STORED, ZipFile

    # Not by `with`: an archive that is interrupted may not let itself be closed, and would raise an error of its own.
    archive = ZipFile(file, "w", ZIP_STORED)
    try:
        archive.comment = _fill(_Members(archive, file), salt, range, contents, largest)
        archive.close()
    except BaseException:
        archive.fp = None  # given up: what deletes it does not close it either
        raise


def _fill(
    members: _Members, salt: int, range: Range, contents: Mapping[str, Content], largest: Mapping[str, int]
) -> bytes:
    """Write the members, and return the comment, which says where their contents are told."""
    tables = {table: _written(members, content) for table, content in contents.items()}
    about = {
        "bufcache": "columns",
        "format": FORMAT,
        "salt": salt,
        "range": [list(range.start), list(range.end), range.last],
        "largest": dict(largest),
        "tables": tables,
    }
    text = orjson.dumps(about)
    start = members.add("contents.json", text)
    return b"bufcache columns %015d %015d %08x" % (start, len(text), crc32(text))


class _Members:
    """The members of an archive in the making."""

    def __init__(self, archive: ZipFile, file: IO[bytes]) -> None:
        self._archive, self._file = archive, file
        self._count = 0

    def add(self, name: str, content: bytes, aligned_at: int = 0) -> int:
        """Add a member and return where in the file its bytes start."""
        from zipfile import ZipInfo

        info = ZipInfo(name)
        before = self._file.tell() + _LOCAL_HEADER_SIZE + len(name) + 4 + aligned_at
        padding = -before % _ALIGNMENT
        info.extra = _PADDING_ID.to_bytes(2, "little") + padding.to_bytes(2, "little") + bytes(padding)
        self._archive.writestr(info, content)
        return before + padding - aligned_at

    def array(self, array: NDArray[Any]) -> dict[str, Any]:
        """Add an array and return where it is; one whose values are all the same is kept there itself."""
        array = np.ascontiguousarray(_narrowed(array))
        about: dict[str, Any] = {"type": array.dtype.str, "count": len(array)}
        raw = array.tobytes()
        if raw == raw[: array.itemsize] * len(array):
            return {**about, "all": raw[: array.itemsize].hex()}
        header = _npy_header(array)
        self._count += 1
        start = self.add(f"{self._count}.npy", header + raw, len(header)) + len(header)
        return {**about, "start": start, "pieces": [crc32(raw[at : at + _PIECE]) for at in range(0, len(raw), _PIECE)]}


def _npy_header(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(array))
    return file.getvalue()


def _narrowed(array: NDArray[Any]) -> NDArray[Any]:
    """Return integers in the smallest type of their sign that holds them."""
    if array.dtype.kind not in "iu" or not len(array):
        return array
    low, high = int(array.min()), int(array.max())
    for size in (1, 2, 4):
        smaller = np.dtype(f"{array.dtype.kind}{size}")
        limits = np.iinfo(smaller)
        if limits.min <= low and high <= limits.max:
            return array.astype(smaller)
    return array


def _written(members: _Members, content: Content) -> dict[str, Any]:
    """Write the part of one table, and return what there is to say about it."""
    lengths = content.live_lengths
    return {
        "count": len(content.ids),
        "span": [int(content.ids[0]), int(content.ids[-1])],
        "removed": len(content.ids) - len(lengths),
        "bytes": int(lengths.sum()),
        "ids": members.array(content.ids),
        "is_removed": None if content.is_removed is None else members.array(content.is_removed),
        "places": [members.array(array) for array in content.places],
        "columns": {name: _written_column(members, values) for name, values in content.values.items()},
    }


def _written_column(members: _Members, values: Values) -> dict[str, Any]:
    about: dict[str, Any] = {"values": members.array(values.array)}
    if values.is_known is not None:
        about["is_known"] = members.array(values.is_known)
    if values.texts is None:
        if values.array.dtype.kind != "f" and len(values.array):
            about["limits"] = [int(values.array.min()), int(values.array.max())]
        return about
    joined = "".join(values.texts)
    sizes: Iterable[int] = map(len, values.texts)
    if not joined.isascii():
        sizes = (len(text.encode("utf-8", "surrogatepass")) for text in values.texts)
    raw = joined.encode("utf-8", "surrogatepass")
    stops = np.cumsum([0, *sizes], dtype=np.int64)
    return {
        **about,
        "texts": len(values.texts),
        "is_ascii": joined.isascii(),
        "stops": members.array(stops),
        "bytes": members.array(np.frombuffer(raw, np.uint8)),
    }


# -- reading ----------------------------------------------------------------------------------------------------------


def open_segment(files: Files, name: str, salt: int, schemas: Schemas) -> Segment:
    """Open a segment; its arrays are looked at when they are needed.

    Raises
    ------
    DamagedPartError
        It is none, or not of this log and these fields.
    FileNotFoundError
        It was merged into another.
    """
    view = files.map(name)
    about = _about(view, name)
    try:
        if (about["bufcache"], about["format"], about["salt"]) != ("columns", FORMAT, salt):
            raise DamagedPartError(name, "it belongs to another log")
        start, end, last = about["range"]
        limits = Range(Position(*start), Position(*end), last)
        tables: dict[str, dict[str, Any]] = about["tables"]
        parts = {table: _part(_Arrays(view, name), schemas.get(table, {}), said) for table, said in tables.items()}
        return Segment(limits, parts, about["largest"], name)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedPartError(name, f"it cannot be understood: {error!r}") from None


def _about(view: memoryview, name: str) -> dict[str, Any]:
    found = _COMMENT.match(view[-_COMMENT_SIZE:])
    if found is None:
        raise DamagedPartError(name, "its end is missing")
    start, size = int(found[1]), int(found[2])
    text = view[start : start + size]
    if len(text) != size or crc32(text) != int(found[3], 16):
        raise DamagedPartError(name, "its contents are damaged")
    about: dict[str, Any] = orjson.loads(text)
    return about


class _Arrays:
    """The arrays of a segment."""

    def __init__(self, view: memoryview, name: str) -> None:
        self._view, self._name = view, name

    def source(self, about: Mapping[str, Any]) -> Source:
        """Return an array by what is said about it."""
        dtype, count = np.dtype(about["type"]), about["count"]
        if "all" in about:
            value = np.frombuffer(bytes.fromhex(about["all"]), dtype)
            return Held(np.broadcast_to(value, count) if count else np.zeros(0, dtype))
        start = about["start"]
        return Checked(self._view[start : start + count * dtype.itemsize], dtype, count, about["pieces"], self._name)

    def texts(self, about: Mapping[str, Any]) -> Texts:
        """Return the texts of a column."""
        return MappedTexts(about["texts"], self.source(about["stops"]), self.source(about["bytes"]), about["is_ascii"])


class Checked(Source):
    """An array in a file that is verified piece by piece, where it is first looked at."""

    def __init__(self, view: memoryview, dtype: np.dtype[Any], count: int, checksums: Sequence[int], name: str) -> None:
        if len(view) != count * dtype.itemsize or len(checksums) != -(-len(view) // _PIECE):
            raise DamagedPartError(name, "an array reaches beyond its end")
        self._view, self._checksums, self._name = view, checksums, name
        self._array = np.frombuffer(view, dtype)
        self._unverified = set(range(len(checksums)))

    def all(self) -> NDArray[Any]:
        if self._unverified:
            self._verify(sorted(self._unverified))
        return self._array

    def at(self, rows: Rows) -> NDArray[Any]:
        if self._unverified:
            if len(rows) * _MANY > len(self._array):
                return self.all()[rows]
            size = self._array.itemsize
            self._verify(self._unverified.intersection((rows * size // _PIECE).tolist()))
        return self._array[rows]

    def between(self, start: int, stop: int) -> NDArray[Any]:
        """Return the values from a place up to another."""
        if self._unverified:
            size = self._array.itemsize
            self._verify(self._unverified.intersection(range(start * size // _PIECE, stop * size // _PIECE + 1)))
        return self._array[start:stop]

    def _verify(self, pieces: Iterable[int]) -> None:
        for piece in pieces:
            if crc32(self._view[piece * _PIECE : (piece + 1) * _PIECE]) != self._checksums[piece]:
                raise DamagedPartError(self._name, f"bytes of it are damaged, in piece {piece} of an array")
            self._unverified.discard(piece)


class MappedTexts(Texts):
    """Texts in a file, sorted, one behind the other as UTF-8."""

    def __init__(self, count: int, stops: Source, content: Source, is_ascii: bool) -> None:
        self._count, self._stops, self._content, self._is_ascii = count, stops, content, is_ascii
        self._kept: list[str] | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, code):  # type: ignore[no-untyped-def]  # declared above
        if isinstance(code, slice):
            return self.all()[code]
        if self._kept is not None:
            return self._kept[code]
        start, stop = self._stops.at(np.array([code, code + 1])).tolist()
        return self._decoded(start, stop)

    def _decoded(self, start: int, stop: int) -> str:
        content = self._content
        raw = content.between(start, stop) if isinstance(content, Checked) else content.all()[start:stop]
        return raw.tobytes().decode("utf-8", "surrogatepass")

    def take(self, codes: Codes) -> list[str]:
        if self._kept is not None or (len(codes) * _MANY >= self._count and self._count <= _KEPT_TEXTS):
            return list(map(self.all().__getitem__, codes.tolist()))
        wide = codes.astype(np.intp)
        starts, ends = self._stops.at(wide), self._stops.at(wide + 1)
        if len(codes) * _MANY < self._count:
            return list(map(self._decoded, starts.tolist(), ends.tolist()))
        return self._gathered(starts.astype(np.int64), ends.astype(np.int64))

    def _gathered(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> list[str]:
        """Return the texts between places, of which there are many, without looking at the others."""
        lengths = ends - starts
        stops = np.cumsum(lengths)
        places = np.arange(int(stops[-1])) + np.repeat(starts - stops + lengths, lengths)
        raw, edges = self._content.all()[places].tobytes(), [0, *stops.tolist()]
        return self._cut(raw, edges)

    def all(self) -> list[str]:
        if self._kept is not None:
            return self._kept
        texts = self._cut(self._content.all().tobytes(), self._stops.all().tolist())
        if self._count <= _KEPT_TEXTS:
            self._kept = texts
        return texts

    def _cut(self, raw: bytes, edges: list[int]) -> list[str]:
        """Return the texts that stand one behind the other."""
        if self._is_ascii:
            whole = raw.decode("ascii")
            return [whole[start:stop] for start, stop in pairwise(edges)]
        return [raw[start:stop].decode("utf-8", "surrogatepass") for start, stop in pairwise(edges)]


def _part(arrays: _Arrays, fields: Fields, about: Mapping[str, Any]) -> Part:
    columns: dict[str, dict[str, Any]] = about["columns"]
    if columns.keys() != {name for name, field in fields.items() if field.is_stored}:
        raise ValueError("its fields are others")
    is_removed = about["is_removed"]
    return Part(
        fields,
        size=about["count"],
        ids=arrays.source(about["ids"]),
        is_removed=None if is_removed is None else arrays.source(is_removed),
        places=[arrays.source(place) for place in about["places"]],
        columns=LazyColumns(_loader(arrays, fields, columns)),
        span=(about["span"][0], about["span"][1]),
        removed=about["removed"],
        live_bytes=about["bytes"],
    )


def _loader(arrays: _Arrays, fields: Fields, columns: Mapping[str, Any]) -> Callable[[str], StoredColumn]:
    def load(name: str) -> StoredColumn:
        about, kind = columns[name], fields[name].kind
        values = arrays.source(about["values"])
        is_known = arrays.source(about["is_known"]) if "is_known" in about else None
        if "texts" in about:
            return TextColumn(kind, values, is_known, arrays.texts(about))
        limits = about.get("limits")
        return NumberColumn(kind, values, is_known, None if limits is None else (limits[0], limits[1]))

    return load
