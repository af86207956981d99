"""How long it takes to synchronise a folder tree: all files new, and nothing to do.

Against the rival, qass-tools-analyzer on SQLite, which reads in a pool of one process a core, and against the floor,
what any program must do: walk and stat, and for new files open, read the header, close, and hash it with SHA-256. The
page cache is warm. All new: a cache is made, filled durably and left open. Nothing to do: that cache again. The rows
behind are of the smallest tree with headers padded with zeros, of which the rival warns at length (see trees.py). The
second table says whether a file costs more where there are more: up to 100,000 files are made, larger trees are hard
links to these.

    python benchmarks/sync.py                                    # a quarter of an hour
    python benchmarks/sync.py --files 1000 --scaling 1000        # half a minute
"""

import os
import shutil
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from measure import COLUMNS, Row, aligned, alternate, arguments, keep, machine, open_rival, timed
from qass.tools.analyzer.buffer_metadata_cache import BufferMetadata as RivalMetadata
from sqlalchemy import select
from trees import link_copies, tree

from bufcache import BufferMetadataCache

FIELDS = ("directory_path", "filename", "header_hash", "project_id", "process", "channel", "compression_frq")
FIELDS += ("spec_count", "partnumber", "preamp_gain", "analyzer_version")  # some have None
LARGEST = 100_000
"""Files of the largest tree that is made."""

QUERIES = {"ours": None, "rival": select(RivalMetadata)}


def walk(folder: Path) -> Iterator[str]:
    """Stat every file and yield its path."""
    pending = [str(folder)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    entry.stat()
                    yield entry.path


def header_hash(path: str) -> str:
    file = os.open(path, os.O_RDONLY)
    raw = os.read(file, 4096)
    os.close(file)
    return sha256(raw[: int.from_bytes(raw[8:12], "little")]).hexdigest()


def measured(files: int, with_rival: bool, rounds: int, is_padded: bool = False) -> Iterator[Row]:
    """Measure one tree, and assert that all its files are in the caches, from both sides with the same values."""
    makers = {"ours": BufferMetadataCache, "rival": open_rival} if with_rival else {"ours": BufferMetadataCache}
    what = f"{files:,} files" + ", padded with zeros" * is_padded
    with tree(files, is_padded) as work:
        root, caches = work / "tree", {}

        def cold(side: str) -> float:
            caches.pop(side, None)
            path = work / f"{side}-{len(os.listdir(work))}"
            return timed(lambda: caches.setdefault(side, makers[side](path)).synchronize_directory(root, verbose=0))

        def again(side: str) -> float:
            return timed(lambda: caches[side].synchronize_directory(root, verbose=0))

        def row(case: str, run: Any, floor: Any, must: str) -> Row:
            sides = {side: partial(run, side) for side in makers} | {"floor": partial(timed, floor)}
            return Row(f"{what}, {case}", alternate(sides, rounds), must)

        hashes = lambda: list(map(header_hash, walk(root)))  # noqa: E731
        yield row("all new", cold, hashes, "40 or 50 x, 4 x the floor")
        yield row("nothing to do", again, lambda: list(walk(root)), "6 x, 2.5 x the floor")
        found = {side: values(cache.get_matching_metadata(QUERIES[side])) for side, cache in caches.items()}
        assert sorted(value[2] for value in found["ours"]) == sorted(hashes())
        assert all(value == found["ours"] for value in found.values())
        assert caches["ours"].synchronize_directory(root, verbose=0).unchanged == files


def scaled(files: int, rounds: int) -> tuple[str, ...]:
    """Measure what a file costs in a tree of that size."""
    with tree(min(files, LARGEST)) as work:
        root, cache, found = work / "tree", work / "cache", []
        link_copies(root, -(-files // LARGEST))

        def cold() -> float:
            shutil.rmtree(cache, ignore_errors=True)
            return timed(synchronise)

        def synchronise() -> None:
            with BufferMetadataCache(cache) as opened:
                found.append(opened.synchronize_directory(root, verbose=0))

        sides = {
            "cold": cold,
            "again": partial(timed, synchronise),
            "hashes": lambda: timed(lambda: sum(1 for _ in map(header_hash, walk(root)))),
            "walk": lambda: timed(lambda: sum(1 for _ in walk(root))),
        }
        seconds = alternate(sides, rounds)
        assert (found[-2].added, found[-1].unchanged) == (files, files)
    each = {side: f"{1e6 * taken / files:.1f}" for side, taken in seconds.items()}
    ratios = (f"{seconds[side] / seconds[floor]:.2f}" for side, floor in (("cold", "hashes"), ("again", "walk")))
    links = "hard links" if files > LARGEST else ""
    return f"{files:,} files", *(each[side] for side in sides), *ratios, links


def values(metadata: list[Any]) -> list[tuple[Any, ...]]:
    """Return some fields of all files."""
    return sorted((tuple(getattr(item, name) for name in FIELDS) for item in metadata), key=lambda value: value[:2])


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--files", type=int, nargs="+", default=[4000, 100_000], help="sizes of the trees")
    parser.add_argument("--rival-up-to", type=int, default=LARGEST, help="largest tree that the rival gets")
    parser.add_argument("--scaling", type=int, nargs="*", default=[1000, 10_000, LARGEST, 10 * LARGEST], help="sizes")
    options = parser.parse_args()
    rows = []
    for files in options.files:
        rows += measured(files, files <= options.rival_up_to, _rounds(files, options.rounds))
    rows += measured(min(options.files), True, options.rounds, is_padded=True)
    table = [scaled(files, _rounds(files, options.rounds)) for files in options.scaling]
    heads = ("us a file", "all new", "nothing to do", "floor", "floor", "all new/floor", "nothing/floor", "")
    notes = f"sync.py: medians of {options.rounds} rounds by turns, one from {LARGEST:,} files on, after one to warm up"
    lines = [*machine(), "", *aligned([COLUMNS, *(row.cells() for row in rows)]), "", *aligned([heads, *table]), ""]
    keep("sync", "\n".join([notes, f"load before: {os.getloadavg()[0]:.1f}", *lines]))


def _rounds(files: int, rounds: int) -> int:
    return rounds if files < LARGEST else 1


if __name__ == "__main__":
    main()
