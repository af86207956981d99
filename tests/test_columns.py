"""The column index against the reference: `Predicate.evaluate` and Python's own sorting, document by document."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from query_strategies import (
    EDGES,
    FIELDS,
    FLOATS,
    changed,
    columns_of,
    few_names,
    histories,
    metadata,
    orders,
    predicates,
)

from bufcache.buffer_metadata_cache import BufferMetadata as BM
from bufcache.buffer_metadata_cache import and_, or_
from bufcache.buffer_metadata_cache.columns import fit
from bufcache.buffer_metadata_cache.documents import Document
from bufcache.buffer_metadata_cache.index import Index
from bufcache.buffer_metadata_cache.kinds import Integer
from bufcache.buffer_metadata_cache.parts import Change, Content, Part, Place, part_of
from bufcache.buffer_metadata_cache.query import OPERATORS, Field, Order, Predicate
from bufcache.buffer_metadata_cache.store import segments
from bufcache.buffer_metadata_cache.store.files import MemoryFiles
from bufcache.buffer_metadata_cache.store.log import Log, Position
from bufcache.buffer_metadata_cache.store.segments import Range

Documents = dict[int, dict[str, Any]]


KEEPINGS = st.lists(st.sampled_from(["as they came", "in memory", "in a segment"]), min_size=4, max_size=4)
"""What is done with the newest documents after each commit."""


def playing(history: list[list[Change]], keepings: Sequence[str]) -> Iterator[tuple[Index, Documents]]:
    """Apply commits to columns, and to a plain dict; give both, in order of ids, after each of them."""
    columns, documents = Index(FIELDS), {}
    for commit, keeping in zip(history, keepings, strict=False):
        columns.apply(commit)
        if columns.tail.size and keeping != "as they came":
            content = columns.tail.content()
            columns.settle(part_of(FIELDS, content) if keeping == "in memory" else reopened(content))
        documents.update((change.id, change.document) for change in commit)
        yield columns, {id: document for id, document in sorted(documents.items()) if document is not None}


def play(history: list[list[Change]], keepings: Sequence[str]) -> tuple[Index, Documents]:
    """Return what there is after the last commit."""
    return [(Index(FIELDS), {}), *playing(history, keepings)][-1]


def reopened(content: Content) -> Part:
    """Return what a segment has of what was written into it."""
    files, nowhere = MemoryFiles(), Position(0, 0, 0, 0)
    log = Log(files)
    name = segments.publish(files, log, Range(nowhere, nowhere, 0), {"t": content}, {})
    return segments.open_segment(files, name, log.salt, {"t": FIELDS}).parts["t"]


def sorted_ids(documents: Documents, ids: Sequence[int], order: Sequence[Order]) -> list[int]:
    """Sort ids by keys of their documents in plain Python."""
    ids = list(ids)
    for key in reversed(order):
        values = {id: key.field.of(documents[id]) for id in ids}
        known = sorted((id for id in ids if values[id] is not None), key=values.get, reverse=key.is_descending)
        unknown = [id for id in ids if values[id] is None]
        ids = unknown + known if key.puts_none_first else known + unknown
    return ids


@given(st.data())
def test_columns_answer_as_the_documents_one_by_one(data):
    """A predicate and its negation are true of the same documents in columns as evaluated on each of them."""
    names = data.draw(few_names())
    columns, documents = play(data.draw(histories(names)), data.draw(KEEPINGS))
    predicate = data.draw(predicates(names))
    truths = {id: predicate.evaluate(document) for id, document in documents.items()}
    assert columns.ids_of(columns.match(predicate)) == [id for id, truth in truths.items() if truth is True]
    assert columns.ids_of(columns.match(~predicate)) == [id for id, truth in truths.items() if truth is False]


@given(st.data())
def test_columns_sort_as_python_does(data):
    """After each commit any keys sort what is found as Python's stable sort does, None first ascending; twice."""
    names = data.draw(few_names())
    history, predicate = data.draw(histories(names)), data.draw(predicates(names) | st.just(and_()))
    order = data.draw(orders(names))
    for columns, documents in playing(history, data.draw(KEEPINGS)):
        found = [id for id, document in documents.items() if predicate(document)]
        for _ in range(2):  # orders of texts are kept
            assert columns.ids_of(columns.sort(columns.match(predicate), order)) == sorted_ids(documents, found, order)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("process", [-(2**63), -1, 0, 1, 2**63 - 1]),
        ("project_id", [0, 1, 2**63 - 1, 2**63, 2**64 - 1]),
        ("spec_duration", [-1e308, -5e-324, 0.0, 2.0**53, 1e308]),
        ("partnumber", ["", "A", "a", "\uffff", "\U0001f600"]),
    ],
)
def test_extremes_sort_both_ways(name, values):
    """The smallest and the largest values sort where they belong, ascending and descending."""
    columns, field = columns_of(*({name: values[place]} for place in (3, 0, 4, 2, 1)), {}), FIELDS[name]
    for key, expected in ((field.asc(), [None, *values]), (field.desc(), [*values[::-1], None])):
        assert columns.take(columns.sort(columns.rows, [key]), [field]) == [expected]


@given(st.data())
def test_columns_give_back_what_the_documents_say(data):
    """Any rows in any order give the values of their documents, those that do not fit as None."""
    names = data.draw(few_names())
    columns, documents = play(data.draw(histories(names)), data.draw(KEEPINGS))
    rows = columns.rows[::-1] if data.draw(st.booleans()) else columns.match(data.draw(predicates(names)))
    taken = columns.take(rows, [FIELDS[name] for name in names])
    records = columns.records(rows, [FIELDS[name] for name in names])
    assert list(map(repr, records)) == list(map(repr, zip(*taken, strict=True)))
    for name, values in zip(names, taken, strict=True):
        field = FIELDS[name]
        found = [field.of(documents[id]) for id in columns.ids_of(rows)]
        expected = [None if value is None else field.kind.present(value) for value in found]
        assert list(map(repr, values)) == list(map(repr, expected))
        assert columns.counts(rows, field) == Counter(expected)


@given(st.lists(metadata(), max_size=4))
def test_columns_give_back_whole_objects(objects):
    """The rows of columns are the objects whose documents they were made of."""
    columns = columns_of(*(found.to_document() for found in objects))
    taken = columns.take(columns.rows, BM.stored_fields())
    assert BM.from_rows(zip(*taken, strict=True)) == objects


@given(st.data())
def test_columns_know_which_documents_there_are(data):
    """Length, ids, membership and places are those of the documents that stand; the largest id is of any that stood."""
    history = data.draw(histories(data.draw(few_names())))
    columns, documents = play(history, data.draw(KEEPINGS))
    assert len(columns) == len(documents)
    assert columns.ids == list(documents)
    assert [id for id in range(12) if id in columns] == list(documents)
    assert columns.largest_id == max((change.id for commit in history for change in commit), default=0)


def test_the_place_is_that_of_the_last_change():
    """A document's place is where it was written last, and one that was removed has none."""
    columns = Index(FIELDS)
    columns.apply(
        [Change(1, Place(0, 10, 2**32 - 1), {}), Change(2, Place(10, 20, 1), {}), Change(1, Place(30, 40, 2), {})]
    )
    columns.apply([Change(2, Place(70, 5, 3), None)])
    assert columns.place(1) == Place(30, 40, 2)
    with pytest.raises(KeyError):
        columns.place(2)


def test_many_commits_come_to_the_same_as_one():
    """Columns that grew in many commits, out of order and with rewrites, answer as those of one commit."""
    generator = np.random.default_rng(1)
    ids = generator.permutation(1000) + 1
    drafts = [changed(int(id), {"process": 0, "filename": "draft"}) for id in ids]
    final = [changed(int(id), {"process": int(id) % 7, "filename": f"file {id % 13}"}) for id in ids]
    grown, whole = Index(FIELDS), Index(FIELDS)
    for changes in (drafts, final):
        for start in range(0, 1000, 83):
            grown.apply(changes[start : start + 83])
    whole.apply(final)
    question, order = (BM.process > 2) & (BM.filename != "file 3"), [BM.filename.desc(), BM.process.asc()]
    found = [columns.ids_of(columns.sort(columns.match(question), order)) for columns in (grown, whole)]
    assert found[0] == found[1]
    assert len(found[0]) > 400


def test_a_document_that_comes_back_is_found_in_order_of_its_id():
    """Without an order results come by id, also where a document was removed and written again."""
    columns = columns_of(*({"process": id} for id in range(5)))
    columns.apply([changed(2, None)])
    columns.apply([changed(2, {"process": 9})])
    assert columns.ids_of(columns.match(BM.process >= 0)) == [1, 2, 3, 4, 5]


def test_empty_columns_answer():
    """Columns without documents match, sort and give nothing."""
    columns = Index(FIELDS)
    for question in (and_(), BM.filename.like("%"), BM.filepath == "/a", BM.process.in_([]), ~(BM.process > 1)):
        rows = columns.sort(columns.match(question), [field.asc() for field in FIELDS.values()])
        assert columns.take(rows, FIELDS.values()) == [[] for _ in FIELDS]


# -- exact comparisons --------------------------------------------------------------------------------------------

numbers = st.sampled_from(EDGES) | FLOATS | st.integers() | st.floats() | st.sampled_from([10**400, -(10**400)])


@given(number=numbers, near=st.integers(-2, 2), symbol=st.sampled_from(list(OPERATORS)))
@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64])
def test_a_comparison_is_exact_for_any_number(dtype, number, near, symbol):
    """What a number is fitted to compares with an array as Python compares each of its values with the number."""
    limits = np.iinfo(dtype) if dtype is not np.float64 else None
    values = [0, 1, *EDGES, *([int(number) + near] if np.isfinite(float_of(number)) else [])]
    if limits:
        array = np.array([value for value in values if limits.min <= value <= limits.max], dtype)
    else:
        array = np.array([*map(float_of, values), 0.5, float_of(number), np.inf, -np.inf], dtype)
    fitted = fit(symbol, number, array.dtype)
    found = [fitted] * len(array) if isinstance(fitted, bool) else OPERATORS[fitted[0]](array, fitted[1]).tolist()
    assert found == [OPERATORS[symbol](value, number) for value in array.tolist()]


def float_of(number: float) -> float:
    """Return the nearest float, infinite where there is none."""
    try:
        return float(number)
    except OverflowError:
        return np.inf if number > 0 else -np.inf


# -- what columns refuse ------------------------------------------------------------------------------------------


class Other(Document):
    """Documents with a field of the same name."""

    __tablename__ = "other"

    process: Field[int] = Field(Integer(), "Not that of a buffer")


@pytest.mark.parametrize(
    "question",
    [Other.process > 1, Other.process.is_(None), Other.process.in_([1]), ~(Other.process > 1) | (BM.channel == 1)],
)
def test_a_field_of_other_documents_is_refused(question):
    """Asking columns for a field of other documents is a TypeError that names it, even where names are the same."""
    with pytest.raises(TypeError, match=r"Other\.process"):
        columns_of({"process": 3}).match(question)
    with pytest.raises(TypeError, match=r"Other\.process"):
        columns_of({"process": 3}).sort(np.arange(1), [Other.process.desc()])


@pytest.mark.parametrize("symbol", OPERATORS)
def test_paths_of_names_with_separators_are_compared_as_a_whole(symbol):
    """A joined path is compared as text, wherever its folder ends."""
    document = {"directory_path": "/x", "filename": "a/b"}
    columns, question = columns_of(document), OPERATORS[symbol](BM.filepath, "/x/a/b")
    assert columns.ids_of(columns.match(question)) == ([1] if question(document) else [])


def test_long_chains_are_answered():
    """Thousands of predicates joined one by one are one predicate, not thousands of levels."""
    question = BM.process == 0
    for number in range(1, 3000):
        question = question | (BM.process == number)
    columns = columns_of({"process": 2999}, {"process": 3000}, {})
    assert columns.ids_of(columns.match(question)) == [1]
    assert question({"process": 2999})
    assert question == or_(*(BM.process == number for number in range(3000)))


class Foreign(Predicate):
    """A predicate that columns do not know."""

    def evaluate(self, document):
        return True


def test_a_predicate_of_another_kind_is_refused():
    """Columns answer no predicate that is not built from fields."""
    with pytest.raises(TypeError, match="expected a predicate over fields"):
        columns_of({}).match(Foreign())
