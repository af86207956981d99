"""Questions to caches that are open: of few files and of many, for paths and for objects, for counts and for texts."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy
from documents import FIRST_PROJECT, TABLE
from goals import NO_GOAL, Goal, Row, by_turns, medians
from measure import open_rival, timed
from qass.tools.analyzer.buffer_metadata_cache import BufferMetadata as RivalMetadata
from stock import open_stock
from tinydb import where

from bufcache import BufferMetadata, BufferMetadataCache, select

FIELDS = ("process", "channel", "datamode", "partnumber", "preamp_gain", "spec_count", "header_hash")
WIDE = 57
"""The first projects, which have 100,000 files: what is asked of half of their files is of 50,000 at any size."""

LANGUAGES = {"ours": (select, BufferMetadata), "rival": (sqlalchemy.select, RivalMetadata)}


def wide(select: Callable[..., Any], fields: Any) -> Any:
    """Return the query for half of the files of the first projects, sorted."""
    wanted = fields.channel <= 2, fields.project_id <= FIRST_PROJECT + WIDE
    return select(fields).filter(*wanted).order_by(fields.process.desc(), fields.filename)


def some(select: Callable[..., Any], fields: Any) -> Any:
    """Return the query for a few files of each large project: 6 in 1000."""
    wanted = fields.compression_frq == 8, fields.process >= 50, fields.process < 55
    return select(fields).filter(*wanted).order_by(fields.filename)


def one(select: Callable[..., Any], fields: Any) -> Any:
    """Return the query for one file."""
    wanted = fields.project_id == FIRST_PROJECT + 2, fields.process == 50, fields.channel == 1
    return select(fields).filter(*wanted, fields.compression_frq == 8)


def by_hash(select: Callable[..., Any], fields: Any) -> Any:
    """Return the query for one file by the hash of its header."""
    name = "Project2_00001p50c0b03"
    return select(fields).filter(fields.header_hash == sha256(name.encode()).hexdigest())


def half(fields: Any) -> Any:
    return fields.channel <= 2


def left(fields: Any) -> Any:
    return fields.partnumber.like("%left left%")


STOCK_SOME = (where("compression_frq") == 8) & (where("process") >= 50) & (where("process") < 55)
STOCK_ONE = (
    (where("project_id") == FIRST_PROJECT + 2)
    & (where("process") == 50)
    & (where("channel") == 1)
    & (where("compression_frq") == 8)
)


class Question(NamedTuple):
    """What is asked of each side, and the goal."""

    what: str
    calls: dict[str, Callable[[], Any]]
    goal: Goal = NO_GOAL


def questions(caches: Mapping[str, Any], stock: Any, count: int) -> Iterator[Question]:
    """Give what is asked of open caches; stock TinyDB, which reads its whole file each time, is asked a part of it."""

    def asked(method: str, query: Callable[..., Any]) -> dict[str, Callable[[], Any]]:
        return {side: partial(getattr(cache, method), query(*LANGUAGES[side])) for side, cache in caches.items()}

    def counted(predicate: Callable[[Any], Any]) -> dict[str, Callable[[], Any]]:
        counting = (
            sqlalchemy.select(sqlalchemy.func.count()).select_from(RivalMetadata).filter(predicate(RivalMetadata))
        )
        return {
            "ours": partial(caches["ours"].count, predicate(BufferMetadata)),
            "rival": partial(_of_rival, caches["rival"], counting, lambda result: result.scalar()),
        }

    def different(name: str) -> dict[str, Callable[[], Any]]:
        asking = sqlalchemy.select(getattr(RivalMetadata, name)).distinct()
        collect = lambda result: sorted(result.scalars(), key=lambda value: (value is not None, value))  # noqa: E731
        return {
            "ours": partial(caches["ours"].distinct, name),
            "rival": partial(_of_rival, caches["rival"], asking, collect),
        }

    def found_by_stock(condition: Any) -> dict[str, Callable[[], Any]]:
        finding = lambda: sorted(search(condition), key=lambda document: document["filename"])  # noqa: E731
        return {"TinyDB": finding} if stock is not None else {}

    def counted_by_stock(condition: Any) -> dict[str, Callable[[], Any]]:
        return {"TinyDB": lambda: len(search(condition))} if stock is not None else {}

    def search(condition: Any) -> Any:
        stock.clear_cache()  # else it repeats the answer that it gave before, whatever the file says by now
        return stock.search(condition)

    is_large = count >= 100_000
    yield Question("paths, sorted", asked("get_matching_files", wide), Goal(times=50) if is_large else NO_GOAL)
    yield Question("objects, sorted", asked("get_matching_metadata", wide), Goal(times=3) if is_large else NO_GOAL)
    yield Question("paths, selective", asked("get_matching_files", some))
    yield Question("objects, selective", asked("get_matching_metadata", some) | found_by_stock(STOCK_SOME))
    yield Question("path", asked("get_matching_files", one), Goal(times=1, at_most=0.001))
    yield Question("object", asked("get_matching_metadata", one) | found_by_stock(STOCK_ONE))
    yield Question("path by hash", asked("get_matching_files", by_hash))
    yield Question("counted, number", counted(half) | counted_by_stock(where("channel") <= 2))
    yield Question("counted, text", counted(left))
    yield Question("part numbers, distinct", different("partnumber"))
    yield Question("versions, distinct", different("analyzer_version"))


def _of_rival(cache: Any, statement: Any, collect: Callable[[Any], Any]) -> Any:
    with cache.Session() as session:
        return collect(session.execute(statement))


def question_rows(base: Path, count: int, rounds: int, with_stock: bool) -> Iterator[Row]:
    """Measure questions, and assert that all sides give the same answers."""
    rival = open_rival(base)
    stock = open_stock(str(base.with_suffix(".json"))).table(TABLE) if with_stock else None
    with BufferMetadataCache(base.with_suffix(".bufcache")) as ours:
        for question in questions({"ours": ours, "rival": rival}, stock, count):
            answers = {side: comparable(call()) for side, call in question.calls.items()}
            first = answers["ours"]
            assert first, question.what
            assert all(answer == first for answer in answers.values()), question.what
            number = first if isinstance(first, int) else len(first)
            times = by_turns({side: partial(timed, call) for side, call in question.calls.items()}, rounds)
            yield Row(f"{number:,} {question.what}", medians(times), question.goal)
    rival.engine.dispose()


def comparable(answer: Any) -> Any:
    """Return an answer in the form that those of all sides have."""
    if not isinstance(answer, list) or not isinstance(answer[0], (dict, BufferMetadata, RivalMetadata)):
        return answer
    return [_chosen(each) if isinstance(each, dict) else [getattr(each, name) for name in FIELDS] for each in answer]


def _chosen(values: Mapping[str, Any]) -> list[Any]:
    return [values.get(name) for name in FIELDS]
