"""The main job in a minute: sample files, a cache, the three kinds of question, and a second synchronisation."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from bufcache.buffer_metadata_cache import BufferMetadata, BufferMetadataCache, select
from bufcache.printing import print_table
from bufcache.testing import write_buffer

_PROCESSES = 150
_CHANNELS = 2
_COMPRESSIONS = (4, 8)
_MOST_LINES = 5
_SHOWN = ("process", "channel", "compression_frq", "spec_count", "filename")


def make_project(folder: str) -> int:
    """Write the buffer files of a small project: each process on each channel, once for each compression.

    Returns the number of files.
    """
    for process in range(1, _PROCESSES + 1):
        for channel in range(1, _CHANNELS + 1):
            for number, compression in enumerate(_COMPRESSIONS):
                _write(_path(folder, process, channel, number), process, channel, compression)
    return _PROCESSES * _CHANNELS * len(_COMPRESSIONS)


def _path(folder: str, process: int, channel: int, number: int) -> str:
    return os.path.join(folder, f"Demo_00001p{process}c{channel - 1}b{number:02}")


def _write(path: str, process: int, channel: int, compression: int, spectra: int = 20) -> None:
    bands = 512 // compression
    samples = np.random.default_rng(process).integers(0, 65535, (spectra, bands), np.uint16)
    header = {
        "proc_cnt": process,
        "dumpchan": channel - 1,
        "frqratio": compression,
        "proctime": 1_700_000_000 + 60 * process,
        "asc_part": f"Part {process % 3}",
    }
    write_buffer(path, header, samples)


def run() -> None:
    """Run the demonstration and print what it does."""
    with tempfile.TemporaryDirectory(prefix="bufcache-demo-") as folder:
        project = os.path.join(folder, "project")
        os.mkdir(project)
        with _step("make the files of a project"):
            files = make_project(project)
        print(f"{files} buffer files in {project}")
        cache_path = os.path.join(folder, "demo.bufcache")
        with BufferMetadataCache(cache_path) as cache:
            _synchronise(cache, project, "read every header once")
            _ask(cache)
            _change(project)
            _synchronise(cache, project, "read what has changed")
            with _step("verify the cache"):
                problems = cache.check()
            print(*problems or ["cache.check() finds nothing wrong"], sep="\n")
        with _step("open the cache again, as tomorrow"), BufferMetadataCache(cache_path) as cache:
            entries = len(cache)
        print(f"{entries} entries")


def _synchronise(cache: BufferMetadataCache, project: str, what: str) -> None:
    with _step(what):
        report = cache.synchronize_directory(project, delete_stale_entries=True)
    print(report)


def _ask(cache: BufferMetadataCache) -> None:
    wanted = select(BufferMetadata).filter(BufferMetadata.compression_frq == 8, BufferMetadata.process > 100)
    with _step("select: compression_frq == 8 and process > 100, sorted by process, the last first"):
        found = cache.get_matching_metadata(wanted.order_by(BufferMetadata.process.desc()))
    _print(found)
    with _step("template: all of process 71"):
        found = cache.get_matching_metadata(BufferMetadata(process=71))
    _print(found)
    parts_of_channel_1 = (BufferMetadata.channel == 1) & BufferMetadata.partnumber.in_(["Part 1", "Part 2"])
    with _step("predicate: channel 1 of two parts"):
        found = cache.get_matching_metadata(parts_of_channel_1)
    _print(found)
    with _step("open the first of them and read its data"):
        data = cache.get_matching_buffers(parts_of_channel_1)[0].get_data()
    print(f"an array of {data.shape} {data.dtype}")


def _change(project: str) -> None:
    """Make two processes new, write one anew with more spectra, and delete three."""
    with _step("add, change and delete files"):
        for process in (_PROCESSES + 1, _PROCESSES + 2):
            _write(_path(project, process, 1, 0), process, 1, 8)
        _write(_path(project, 71, 1, 0), 71, 1, 4, spectra=40)
        for process in (1, 2, 3):
            os.remove(_path(project, process, 1, 0))


def _print(found: list[BufferMetadata]) -> None:
    print_table(_SHOWN, [[getattr(metadata, name) for name in _SHOWN] for metadata in found[:_MOST_LINES]])
    if len(found) > _MOST_LINES:
        print(f"... and {len(found) - _MOST_LINES} more")


@contextmanager
def _step(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"\n# {what} ({(time.perf_counter() - began) * 1000:.1f} ms)")
