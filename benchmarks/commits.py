"""Commits to caches of several sizes, by turns, beside their floor: as many bytes appended to a file and synced.

The caches grow meanwhile: the smallest is no longer what it was, which favours none.
"""

import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy
from documents import TABLE, Document, documents
from filling import ENUMERATIONS, columns_of
from goals import Goal, Row, by_turns, medians
from measure import duration, open_rival, timed
from qass.tools.analyzer.buffer_metadata_cache import BufferMetadata as RivalMetadata
from stock import open_stock

from bufcache import BufferMetadataCache
from bufcache.buffer_metadata_cache.store.database import Database, Edit

COLUMNS = ("mean", "p50", "p99", "floor p50", "floor p99", "p50/floor", "p99/floor", "rival p50", "rival/ours")
SPREAD = 1.5
FAR = 2000
"""A lap of documents that no cache is filled with."""

Caches = Mapping[int, BufferMetadataCache]


class Kind(NamedTuple):
    """A kind of commit: of how many documents, and what prepares one; the call that it returns is timed."""

    what: str
    documents: int
    prepare: Callable[[Database, list[Document]], Callable[[], object]]


def edited(database: Database, batch: list[Document]) -> Callable[[], object]:
    """Prepare a commit as TinyDB's interface makes it: from documents."""
    return partial(database.commit, [Edit(TABLE, each["id"], each) for each in _numbered(database, batch)])


def batched(database: Database, batch: list[Document]) -> Callable[[], object]:
    """Prepare a commit as a synchronisation makes it: from lines and columns."""
    return partial(database.commit_batch, *columns_of(_numbered(database, batch)))


def _numbered(database: Database, batch: list[Document]) -> list[Document]:
    return [{**document, "id": id} for id, document in enumerate(batch, database.next_id(TABLE))]


KINDS = (
    Kind("1 document", 1, edited),
    Kind("1000 documents with their columns", 1000, batched),
    Kind("1000 documents without", 1000, edited),
)


@dataclass(frozen=True)
class Commits:
    """The seconds of commits of one kind at one size, of the floor beside them, and of the rival."""

    what: str
    ours: Sequence[float]
    floor: Sequence[float]
    rival: Sequence[float]

    def cells(self) -> tuple[str, ...]:
        middle, worst = statistics.median(self.ours), p99(self.ours)
        low, high, rival = statistics.median(self.floor), p99(self.floor), statistics.median(self.rival)
        times = map(duration, (statistics.fmean(self.ours), middle, worst, low, high))
        return self.what, *times, f"{middle / low:.2f}", f"{worst / high:.2f}", duration(rival), f"{rival / middle:.2f}"


def p99(values: Sequence[float]) -> float:
    return sorted(values)[-1 - len(values) // 100]


def spread(kind: str, of: Sequence[Commits]) -> list[str]:
    """Tell by how much the sizes differ: the slowest median over the fastest one, and the same of the 99th ones."""
    middles, worst = [statistics.median(each.ours) for each in of], [p99(each.ours) for each in of]
    spreads = {"p50": max(middles) / min(middles), "p99": max(worst) / min(worst)}
    told = [f"{name} {ratio:.2f}" + " MISSED" * (ratio > SPREAD) for name, ratio in spreads.items()]
    return [f"{kind}: slowest size / fastest size: {', '.join(told)} (goal: <= {SPREAD})"]


def commit_rows(bases: Mapping[int, Path], of: Sequence[Document], rounds: int) -> tuple[list[Commits], list[str]]:
    """Measure commits of each kind by turns at all sizes, and what is to be said of how the sizes differ."""
    rows, notes, source = [], [], documents(of, FAR)
    with ExitStack() as stack:
        caches = {size: stack.enter_context(BufferMetadataCache(_ours(base))) for size, base in bases.items()}
        rivals = {size: open_rival(base) for size, base in bases.items()}
        for kind in KINDS:
            measured = list(_commits(kind, bases=bases, caches=caches, rivals=rivals, source=source, rounds=rounds))
            rows += measured
            notes += spread(kind.what, measured) if len(measured) > 1 else []
    return rows, notes


def _commits(
    kind: Kind,
    *,
    bases: Mapping[int, Path],
    caches: Caches,
    rivals: Mapping[int, Any],
    source: Iterator[Document],
    rounds: int,
) -> Iterator[Commits]:
    seconds: dict[tuple[str, int], list[float]] = {
        (side, size): [] for side in ("ours", "floor", "rival") for size in bases
    }
    for _ in range(1 + rounds):
        batch = list(islice(source, kind.documents))
        for size, cache in caches.items():
            before, written = len(cache), _log_size(bases[size])
            seconds["ours", size].append(timed(kind.prepare(cache.db.storage.database, batch)))
            written = _log_size(bases[size]) - written
            assert len(cache) == before + len(batch)
            seconds["floor", size].append(timed(partial(_append, bases[size].with_suffix(".floor"), bytes(written))))
            seconds["rival", size].append(timed(partial(rival_commit, rivals[size], batch)))
    for size in bases:
        yield Commits(f"{kind.what} to {size:,}", *(seconds[side, size][1:] for side in ("ours", "floor", "rival")))


def rival_commit(cache: Any, batch: list[Document]) -> None:
    """Insert rows into the rival's table as SQLAlchemy does, in a transaction."""
    rows = [{name: _member(name, document.get(name)) for name in _RIVAL_NAMES} for document in batch]
    with cache.Session() as session:
        session.execute(sqlalchemy.insert(RivalMetadata), rows)
        session.commit()


def _member(name: str, value: Any) -> Any:
    return value if value is None or name not in ENUMERATIONS else ENUMERATIONS[name](value)


_RIVAL_NAMES = [column.name for column in RivalMetadata.__table__.columns if column.name != "id"]


def _ours(base: Path) -> Path:
    return base.with_suffix(".bufcache")


def _log_size(base: Path) -> int:
    return sum(log.stat().st_size for log in _ours(base).glob("documents-*.jsonl"))


def _append(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, content)
        os.fsync(file)
    finally:
        os.close(file)


def adding_row(base: Path, files: Iterator[Path], of: Document, rounds: int, with_stock: bool) -> Row:
    """Measure how long it takes to add one file, durably, to caches that are open; of TinyDB to insert a document."""
    rival, stock = open_rival(base), open_stock(str(base.with_suffix(".json")))

    def floor() -> float:
        path = next(files)

        def read_and_append() -> None:
            content = path.read_bytes()
            sha256(content).hexdigest()
            _append(base.with_suffix(".floor"), content[:1000])

        return timed(read_and_append)

    with BufferMetadataCache(_ours(base)) as ours:
        before = len(ours)
        sides = {
            "ours": lambda: timed(partial(ours.add_files_to_cache, [next(files)])),
            "rival": lambda: timed(partial(rival.add_files_to_cache, [next(files)])),
            "TinyDB": lambda: timed(partial(stock.table(TABLE).insert, of)),
            "floor": floor,
        }
        if not with_stock:
            del sides["TinyDB"]
        row = Row("adding one file", medians(by_turns(sides, rounds)), Goal(at_most=0.02))
        assert len(ours) == before + 1 + rounds
    rival.engine.dispose()
    return row
