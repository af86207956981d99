"""What is seldom done to a cache and is slow: opening it without its columns, making them anew, check and compact."""

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from documents import TABLE
from filling import SUFFIXES
from fresh import FLOOR, OPEN, SELECTIVE, ask
from goals import Row, size
from measure import timed

from bufcache import BufferMetadataCache


def size_row(base: Path) -> Iterator[Row]:
    """Tell what the stores take on the disk."""
    paths = {side: base.with_suffix(suffix) for side, suffix in SUFFIXES.items()}
    yield Row("on the disk", {side: disk_size(path) for side, path in paths.items()}, show=size)
    yield Row("of it the columns", {"ours": disk_size(paths["ours"] / "columns")}, show=size)


def disk_size(path: Path) -> int:
    return sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())


def upkeep_rows(work: Path, base: Path) -> Iterator[Row]:
    """Measure upkeep, each once; the floor of a compaction is to copy the log and to sync it."""
    path = base.with_suffix(".bufcache")
    expected = ask(work, OPEN["ours"] + SELECTIVE, path)
    with BufferMetadataCache(path) as cache:
        count = len(cache)
        yield Row("check()", {"ours": timed(lambda: _assert_empty(cache.check()))})
        floor = timed(partial(_copy, next(path.glob("documents-*.jsonl")), base.with_suffix(".floor")))
        yield Row("compact()", {"ours": timed(cache.compact), "floor": floor})
        assert len(cache) == count
    shutil.rmtree(path / "columns")
    without, floor_of = ask(work, OPEN["ours"] + SELECTIVE, path), ask(work, FLOOR, work)
    assert expected
    assert floor_of
    assert without
    assert without.found == expected.found
    yield Row("fresh process without columns: open, ask", {"ours": without.seconds, "floor": floor_of.seconds})
    yield Row("memory of it", {"ours": without.peak, "floor": floor_of.peak}, show=size)
    yield Row("making the columns anew", {"ours": timed(partial(_make_columns, path))})
    again = ask(work, OPEN["ours"] + SELECTIVE, path)
    assert again
    assert again.found == expected.found


def _make_columns(path: Path) -> None:
    """Open a cache without columns and commit to it: they are written when it is closed."""
    with BufferMetadataCache(path) as cache:
        cache.db.table(TABLE).remove(doc_ids=[cache.db.table(TABLE).insert({})])
    assert any((path / "columns").iterdir())


def _assert_empty(problems: list[str]) -> None:
    assert not problems, problems


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
