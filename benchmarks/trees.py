"""A tree of buffer files as measurement projects leave them, for benchmarks.

The same number gives the same tree. Folders are of different sizes and were written by three versions of the
software: an old one that lacks keys, the usual one, and a new one with more keys, an unknown one among them, in another
order. Each process has a signal and three spectrograms on each of four channels; part numbers, comments and data are of
different lengths, and in one process of twelve a key is missing. ``write_buffer`` makes one file of each shape, of
which the others are copies with values of their own, so that 100,000 files take some seconds. What the rival needs to
open a file (``db__size``, ``dbhdsize``, ``max_ampl``, ``frqpband``, known members of enumerations) is in every header.

Headers are filled up to their size with ``sparemem``. Padded with zeros behind ``headsend`` instead, which is as
valid, they cost the rival two to three times as much: it takes the zeros for keys and warns of each.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from bufcache.buffer_parser.layout import FILE_HEADER
from bufcache.testing import typical_header, write_buffer

FOLDER_SIZES = (500, 2000, 100, 5000, 1200)
VERSIONS = ("usual", "old", "new")
CHANNELS = 4
COMPRESSIONS = (0, 1, 4, 8)  # of the four buffers of a channel; the first is a signal
SHAPES = 12
FIRST_TIME = 1_600_000_000

_NUMBER = b"######"  # in the part number, to be replaced by the process


@contextmanager
def tree(files: int, is_padded: bool = False) -> Iterator[Path]:
    """Make a tree in a temporary folder, and remove it with whatever else was put beside it."""
    work = Path(tempfile.mkdtemp(prefix="bufcache-benchmark-"))
    try:
        make_tree(work / "tree", files, is_padded)
        yield work
    finally:
        shutil.rmtree(work)


def link_copies(root: Path, copies: int) -> None:
    """Make that many trees of a tree in all, below its root: hard links, which cost no room, to the same files."""
    names = os.listdir(root)
    for copy in range(1, copies):
        for name in names:
            shutil.copytree(root / name, root / f"copy_{copy}" / name, copy_function=os.link)


def make_tree(root: Path, files: int, is_padded: bool) -> None:
    """Write that many buffer files below a folder."""
    left = files
    for project, size in enumerate(cycle(FOLDER_SIZES), 1):
        folder = root / f"project_{project:03}" / "measurements"
        folder.mkdir(parents=True)
        for number in range(min(size, left)):
            _write(str(folder), project, number, is_padded)
        left -= size
        if left <= 0:
            return


def _write(folder: str, project: int, number: int, is_padded: bool) -> None:
    process, of_process = divmod(number, CHANNELS * len(COMPRESSIONS))
    channel, kind = divmod(of_process, len(COMPRESSIONS))
    began = FIRST_TIME + 10**5 * project + 30 * process
    template, places = _template(VERSIONS[project % len(VERSIONS)], kind, process % SHAPES, is_padded)
    content = bytearray(template)
    values = {"proj__id": 10**15 + project, "proc_cnt": process + 1, "dumpchan": channel, "file__id": number}
    for key, value in {**values, "proctime": began, "lmodtime": began + 5, "epoctime": 1000 * began}.items():
        if key in places:
            width = int(FILE_HEADER[key].code[1])
            content[places[key] : places[key] + width] = value.to_bytes(width, "little")
    path = f"{folder}/Project{project}_00001p{process + 1}c{channel}b{kind:02}"
    with open(path, "wb", buffering=0) as file:
        file.write(content.replace(_NUMBER, b"%06d" % (process + 1)))
    os.utime(path, (began, began))


@cache
def _template(version: str, kind: int, shape: int, is_padded: bool) -> tuple[bytes, dict[str, int]]:
    """Return a file, and where in it the values of its keys stand."""
    size, spectra = 2600 if version == "new" else 2000, 1 + shape
    data = np.arange(64 * spectra, dtype=np.uint16).reshape((spectra, 64) if kind else -1)
    pairs = _header(version, COMPRESSIONS[kind], shape, data)
    with tempfile.TemporaryDirectory() as folder:
        if not is_padded:
            used = write_buffer(f"{folder}/header", pairs, header_size=0).stat().st_size
            pairs.append(("sparemem", bytes(size - used - len("sparemem") - 4)))
        content = write_buffer(f"{folder}/whole", pairs, data, header_size=size).read_bytes()
    return content, {key: content.index(key.encode()) + len(key) for key, _ in pairs}


def _header(version: str, compression: int, shape: int, data: np.ndarray) -> list[tuple[str, Any]]:
    ratios = {"frqratio": compression, "comratio": 2 * compression} if compression else {}
    texts = {"asc_part": f"Part {_NUMBER.decode()}" + " left" * (shape % 3), "asc_desc": "a hardening " * (shape % 5)}
    header = typical_header(data, **ratios, **texts, avgtimba=1, avgfrqba=1, savefrom=3)
    if shape == 0:
        del header["pampgain"]
    if version == "old":
        return [item for item in header.items() if item[0] not in ("auxpara1", "streamno", "epoctime", "an4dvers")]
    if version == "usual":
        return list(header.items())
    more = {"datarate": 1e8, "tc__real": 8.0, "partnoid": 7, "new__key": bytes(8)}
    numbers_first = sorted(header.items(), key=lambda item: (isinstance(item[1], str), item[0]))
    return [("qassdata", b""), *more.items(), *numbers_first, ("comments", "seen by the early shift; " * (shape % 7))]
