"""Hypothesis strategies: documents as a store may hold them, and predicates, orders and templates to ask with.

What they draw for a field depends on its kind. Values are few and close to each other, so that comparisons hold for
some documents and not for others; edges, values that the field cannot hold and None are among them.
"""

import math
import operator
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bufcache.buffer_metadata_cache import BufferMetadata, and_, not_, or_, select
from bufcache.buffer_metadata_cache.index import Index
from bufcache.buffer_metadata_cache.kinds import Boolean, Float, Integer, Member, PathText
from bufcache.buffer_metadata_cache.parts import Change, Place
from bufcache.buffer_metadata_cache.query import OPERATORS, Field, JoinedPath, Order, Predicate

FIELDS = BufferMetadata.__fields__
"""Every field by name; the strategies take and draw names, because fields cannot be compared."""

EDGES = [
    2**31,
    2**53 - 1,
    2**53,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64,
    -1,
    -(2**53) - 1,
    -(2**63),
    -(2**63) - 1,
]
INTEGERS = st.integers(0, 4) | st.sampled_from(EDGES)
FLOATS = st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.5, 3.0, 2.0**53, 2.0**63, 2.0**64, -(2.0**63), 1e300, -1e300, 5e-324])
NOT_FINITE = st.sampled_from([math.nan, math.inf, -math.inf])
NUMPY_NUMBERS = st.sampled_from(
    [np.int8(3), np.int64(2**53 + 1), np.uint64(2**64 - 1), np.float32(2.5), np.float64(0.5), np.bool_(True)]
)
TEXTS = st.sampled_from(["", "a", "A", "ab", "aB", "a_b", "a%b", "a\nb", "é", "É", "ß", "Größe №7 🔩", "it's \"\\"])
FREE_TEXTS = st.text("aAbB_%!é\n/\\", max_size=4)
FOLDERS = ["/", "/a", "/a/b", "/ab", "/a/b/é", "/a\udc80", "C:\\", "C:\\a", "C:\\a\\b", "\\\\server\\a", "a", ""]
NAMES = ["a", "A", "b", "a_b", "é", "b\\a", "a\udc80b", ""]
PATHS = (
    st.sampled_from([*FOLDERS, *NAMES, "/a/a", "/a/b/a", "/a/b\\a", "/a\udc80/a", "C:\\a\\b\\a", "C:\\a"]) | FREE_TEXTS
)
PATTERNS = st.text("aAbB_%!é\n/\\", max_size=5)
REGULAR_EXPRESSIONS = st.sampled_from(["", "a", "^a", "b$", "[A-Z]", "(?i)A", "a.b", "(?s)a.b", r"\\", "é|ß", r"\W"])
UNFIT = st.sampled_from([None, True, False, "", "3", "DATAMODE_FFT", b"a", [], [3], {"a": 1}]) | NOT_FINITE


def known_names(enumeration: Any) -> list[str]:
    """Return the names of an enumeration, aliases among them."""
    return list(enumeration.__members__)


# -- what stands in a document ------------------------------------------------------------------------------------


def escaped(path: str) -> str:
    """Return a path as documents hold it: lone surrogates as NUL and four digits."""
    return "".join(f"\0{ord(letter):04x}" if "\ud800" <= letter <= "\udfff" else letter for letter in path)


@cache
def stored(name: str) -> st.SearchStrategy[Any]:
    """Values that may stand in a document under the name of a field; most fit it."""
    kind = FIELDS[name].kind
    if isinstance(kind, Member):
        return st.sampled_from([*map(int, kind.enumeration), 77, 105]) | INTEGERS | UNFIT
    if isinstance(kind, Boolean):
        return st.booleans() | INTEGERS | UNFIT
    if isinstance(kind, Integer):
        return INTEGERS | INTEGERS | FLOATS | UNFIT
    if isinstance(kind, Float):
        return FLOATS | INTEGERS | st.floats() | UNFIT
    if isinstance(kind, PathText):
        values = PATHS if name != "filename" else st.sampled_from(NAMES) | FREE_TEXTS
        return values.map(escaped) | UNFIT
    return TEXTS | FREE_TEXTS | UNFIT


def documents(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    """Documents with some of these fields; of a joined field, with its parts."""
    stored_names: set[str] = set()
    for name in names:
        field = FIELDS[name]
        stored_names |= {field.folder.name, field.filename.name} if isinstance(field, JoinedPath) else {name}
    return st.fixed_dictionaries({}, optional={name: stored(name) for name in sorted(stored_names)})


def changed(id: int, document: dict[str, Any] | None) -> Change:
    """Return the change that writes a document, or removes it."""
    return Change(id, Place(0, 0, 0), document)


def histories(names: tuple[str, ...]) -> st.SearchStrategy[list[list[Change]]]:
    """Draw commits of changes to a few documents: some are written again, removed, and come back."""
    change = st.builds(changed, st.integers(1, 9), documents(names) | documents(names) | st.none())
    return st.lists(st.lists(change, max_size=7), max_size=4)


def few_names() -> st.SearchStrategy[tuple[str, ...]]:
    """Names of one to four fields, for documents and predicates that have to do with each other."""
    return st.lists(st.sampled_from(list(FIELDS)), min_size=1, max_size=4, unique=True).map(tuple)


def columns_of(*documents: dict[str, Any]) -> Index:
    """Return the columns of documents with the ids 1, 2 and so on."""
    columns = Index(FIELDS)
    columns.apply(changed(id, document) for id, document in enumerate(documents, 1))
    return columns


# -- what is asked ------------------------------------------------------------------------------------------------


@cache
def operands(name: str) -> st.SearchStrategy[Any]:
    """Values to compare a field with."""
    kind = FIELDS[name].kind
    if isinstance(kind, Member):
        members = st.sampled_from([*kind.enumeration, *known_names(kind.enumeration)])
        return members | members | INTEGERS | FLOATS | NOT_FINITE | NUMPY_NUMBERS
    if isinstance(kind, (Integer, Float)):
        return INTEGERS | FLOATS | NOT_FINITE | NUMPY_NUMBERS | st.booleans() | st.floats() | st.integers()
    if isinstance(kind, PathText):
        return PATHS | PATHS.map(PurePosixPath)
    return TEXTS | FREE_TEXTS


@cache
def comparisons(name: str) -> st.SearchStrategy[Predicate]:
    """Every predicate that can be asked of one field."""
    field = FIELDS[name]
    values = operands(name)
    asked = [
        st.builds(lambda compare, value: compare(field, value), st.sampled_from([*OPERATORS.values()]), values),
        st.builds(lambda compare: compare(field, None), st.sampled_from([*OPERATORS.values()])),
        st.builds(field.in_, st.lists(values | st.none(), max_size=4)),
        st.builds(field.not_in, st.lists(values | st.none(), max_size=4)),
        st.builds(field.between, values | st.none(), values | st.none()),
        st.builds(field.is_, st.none()),
        st.builds(field.is_not, st.none()),
    ]
    if not isinstance(field.kind, (Integer, Float)):
        asked += text_comparisons(field)
    return st.one_of(asked)


def text_comparisons(field: Field[Any]) -> list[st.SearchStrategy[Predicate]]:
    """Predicates that can be asked of a field of text or paths."""
    asked = [
        st.builds(lambda method, pattern, escape: method(pattern, escape), like, PATTERNS, st.sampled_from([None, "!"]))
        for like in (st.just(field.like), st.just(field.ilike))
    ]
    asked += [st.builds(method, TEXTS | FREE_TEXTS) for method in (field.startswith, field.endswith, field.contains)]
    asked += [st.builds(field.regexp_match, REGULAR_EXPRESSIONS)]
    if field.name in ("directory_path", "filepath"):
        asked += [st.builds(field.below, PATHS)] * 3
    return asked


@st.composite
def predicates(draw: st.DrawFn, names: tuple[str, ...], depth: int = 4) -> Predicate:
    """Draw a predicate over these fields, of no more than so many levels."""
    return _predicate(draw, names, depth)


def _predicate(draw: st.DrawFn, names: tuple[str, ...], depth: int) -> Predicate:
    shape = draw(SHAPES) if depth else "comparison"
    if shape == "comparison":
        return draw(comparisons(draw(st.sampled_from(names))))
    parts = [_predicate(draw, names, depth - 1) for _ in range(draw(COUNTS[shape]))]
    return COMBINATIONS[shape](*parts)


COMBINATIONS = {
    **{"&": operator.and_, "|": operator.or_, "~": operator.invert},
    **{"and_": and_, "or_": or_, "not_": not_},
}
COUNTS = {
    shape: st.integers(0, 3) if shape in ("and_", "or_") else st.just(1 if shape in ("~", "not_") else 2)
    for shape in COMBINATIONS
}
SHAPES = st.sampled_from(["comparison", "comparison", *COMBINATIONS])


def orders(names: tuple[str, ...]) -> st.SearchStrategy[list[Order]]:
    """Keys to sort by."""
    fields = [FIELDS[name] for name in names]
    keys = [key for field in fields for key in (field.asc(), field.desc())]
    keys += [placed for key in keys for placed in (key.nulls_first(), key.nulls_last())]
    return st.lists(st.sampled_from(keys), max_size=3)


# -- metadata -----------------------------------------------------------------------------------------------------


def held(name: str) -> st.SearchStrategy[Any]:
    """Values that a field can hold, as users see them."""
    kind = FIELDS[name].kind
    if isinstance(kind, Member):
        return st.sampled_from(kind.enumeration) | st.sampled_from([77, 105, -9])
    if isinstance(kind, Boolean):
        return st.booleans()
    if isinstance(kind, Integer):
        return st.integers(kind.low, kind.high)
    if isinstance(kind, Float):
        return st.floats(allow_nan=False, allow_infinity=False)
    if isinstance(kind, PathText):
        return st.text(st.characters(exclude_characters="\0")) | st.sampled_from(["a\udc80", "/data/\udcff"])
    return st.text()


def metadata() -> st.SearchStrategy[BufferMetadata]:
    """Metadata with any values in any fields."""
    values = {field.name: held(field.name) for field in BufferMetadata.stored_fields()}
    return st.fixed_dictionaries({}, optional=values).map(lambda given: BufferMetadata(**given))


# -- texts --------------------------------------------------------------------------------------------------------


def evaluated(text: str) -> Any:
    """Return the predicate or select whose repr is given."""
    names = {"and_": and_, "or_": or_, "select": select, "BufferMetadata": BufferMetadata}
    return eval(text, {**names, "inf": math.inf, "nan": math.nan})  # noqa: S307 - that a repr can be evaluated is tested
