"""Queries against qass-tools-analyzer, the oracle: where its SQLite answers, we find the same files in the same order.

The same text of Python is run with the names of both packages. Where the oracle raises we may answer. Where we differ
on purpose, docs/migrating.md has it, and tests at the end show it.
"""

import re
from collections.abc import Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from qass.tools.analyzer import buffer_metadata_cache as oracle

from bufcache import buffer_metadata_cache as ours
from bufcache.testing import write_buffer

pytestmark = pytest.mark.filterwarnings("ignore")  # the oracle warns of keys

PROPERTIES = [name for name in oracle.BufferMetadata.properties if name != "id"]
TEXTS = ("directory_path", "filename", "process_date_time", "analyzer_version", "partnumber", "header_hash")
ENUMERATIONS = ("datamode", "datakind", "datatype", "adc_type")
NUMBERS = [name for name in PROPERTIES if name not in TEXTS + ENUMERATIONS]
SORTABLE = [name for name in PROPERTIES if name not in ENUMERATIONS]  # these the oracle sorts by name

VALUES: dict[str, list[Any]] = {
    "proc_cnt": [0, 1, 2, 3, 5, 8, -1, 2**31 - 1],
    "dumpchan": [-1, 0, 1, 2],
    "datatype": [-2, -1, 0, 1, 12, 34],
    "datakind": [-1, 0, 1, 8, 100],
    "adc_type": [0, 1, 2],
    "proj__id": [0, 1001, 2**53, 2**53 + 1, 2**63 - 1],
    "proctime": [0, 1_600_000_000, 1_600_000_001, 2**32 - 1],
    "comratio": [1, 2, 8],
    "frqratio": [1, 4, 8],
    "auxpara1": [0, 1, 5],
    "auxpara2": [1, 2],
    "framedur": [81_920.0, 0.5, 10.0, 1e300],
    "frqpband": [781_250.0, 0.1, 1e-300],
    "startfrq": [0, 1000],
    "end__frq": [50_000_000, 1000],
    "adbitres": [14, 16, 24],
    "fftlogsh": [0, 8],
    "streamno": [0, 1, 2**32 - 1],
    "pampgain": [-20, 0, 20],
    "an4dvers": ["04030c02", "01000000", "ff030c02"],
    "asc_part": ["", "a", "ab", "part 7", "a_1", "a%1", "größe", "\u20ac 3"],
}
"""What the files differ in. Text is lower case, because the oracle's LIKE does not mind case."""


class Caches(NamedTuple):
    """One tree of files in the caches of both packages."""

    oracle: Any
    ours: ours.BufferMetadataCache
    values: dict[str, list[Any]]

    def __repr__(self) -> str:
        return "caches"  # a failure shows the query, not thousands of values


@pytest.fixture(scope="module")
def caches(tmp_path_factory) -> Iterator[Caches]:
    """Synchronise a tree of files in which any key may be missing that the oracle does not need to open a file."""
    folder = tmp_path_factory.mktemp("tree")
    write_tree(folder)
    theirs = oracle.BufferMetadataCache()
    theirs.synchronize_directory(str(folder), verbose=0)
    with ours.BufferMetadataCache() as cache:
        cache.synchronize_directory(folder, verbose=0)
        everything = theirs.get_matching_metadata(oracle.select(oracle.BufferMetadata))
        values = {name: [getattr(found, name) for found in everything] for name in PROPERTIES}
        yield Caches(theirs, cache, values)


def write_tree(folder: Path) -> None:
    """Write 120 files of many kinds into three folders; all names are different."""
    (folder / "sub" / "deeper").mkdir(parents=True)
    generator = np.random.default_rng(2)
    for number in range(120):
        header = {key: values[generator.integers(len(values))] for key, values in VALUES.items()}
        missing = generator.choice([*VALUES, "datamode", "lmodtime", "p__flags"], number % 4)
        header |= {key: None for key in missing if key not in ("framedur", "frqpband")}
        dtype, bands, count = ("<u2", "<u4", "<f4")[number % 3], 2 ** (number % 5), number % 7
        data = np.ones((count, bands) if number % 6 else (count * bands,), dtype)
        place = folder / ("", "sub", "sub/deeper")[number % 3] / f"tree_00001p{number}c{number % 4}b01"
        write_buffer(place, {**header, "db__size": 8 * (number % 8 + 1)}, data, header_size=2000 + number % 3 * 1000)


# -- asking both --------------------------------------------------------------------------------------------------

NAMES_OF_THE_ORACLE = {
    **{"select": oracle.select, "BM": oracle.BufferMetadata, "Buffer": oracle.Buffer},
    **{name: getattr(sqlalchemy, name) for name in ("and_", "or_", "not_", "asc", "desc")},
}
OUR_NAMES = {
    **{"BM": ours.BufferMetadata, "Buffer": ours.Buffer},
    **{name: getattr(ours, name) for name in ("select", "and_", "or_", "not_", "asc", "desc")},
}


def answer(cache: Any, names: dict[str, Any], text: str) -> list[str]:
    """Return the files that a query finds; those of a query without an order in order of their names."""
    query = eval(text, {**names, "cache": cache})  # noqa: S307 - the same text must run with both packages
    files = cache.get_matching_files(query)
    return files if "order_by" in text else sorted(files)


def assert_agreement(caches: Caches, text: str) -> list[str]:
    """Ask both the same, and return what they found."""
    expected = answer(caches.oracle, NAMES_OF_THE_ORACLE, text)
    found = answer(caches.ours, OUR_NAMES, text)
    assert found == expected
    return found


# -- by hand ------------------------------------------------------------------------------------------------------


def test_all_metadata_are_those_of_the_oracle(caches):
    """Every property of every file but its id is what the oracle says, of the same type."""
    found = caches.ours.get_matching_metadata(ours.select(ours.BufferMetadata).order_by("filename"))
    query = oracle.select(oracle.BufferMetadata).order_by(oracle.BufferMetadata.filename)
    expected = caches.oracle.get_matching_metadata(query)
    assert len(expected) == 120
    for theirs, mine in zip(expected, found, strict=True):
        assert theirs.opening_error is None
        assert [repr(getattr(mine, name)) for name in PROPERTIES] == [
            repr(getattr(theirs, name)) for name in PROPERTIES
        ]


@pytest.mark.parametrize(
    "text",
    [
        "select(BM).filter(BM.compression_frq == 8).order_by(BM.process, BM.filename)",
        "select(BM).filter(BM.process > 2, BM.channel != 1)",
        "select(BM).where(BM.process >= 2).where(BM.process < 2**31 - 1)",
        "select(BM).filter_by(compression_time=8, channel=2)",
        "select(BM).filter_by(streamno=None)",
        "select(BM).filter_by(datamode=Buffer.DATAMODE.DATAMODE_FFT)",
        "select(BM).filter(BM.streamno == None)",
        "select(BM).filter(BM.streamno != None)",
        "select(BM).filter(BM.streamno.is_(None) | (BM.streamno > 0))",
        "select(BM).filter(BM.process.is_(5))",
        "select(BM).filter(BM.process.is_not(5))",
        "select(BM).filter(~(BM.streamno == 0))",
        "select(BM).filter(not_(BM.streamno.in_([0, 1])))",
        "select(BM).filter(BM.streamno.not_in([0, 7]))",
        "select(BM).filter(BM.streamno.in_([0, None]))",
        "select(BM).filter(~BM.process.in_([]), BM.process.not_in([1]))",
        "select(BM).filter(~BM.streamno.between(None, 0))",
        "select(BM).filter(BM.project_id == 2**53 + 1)",
        "select(BM).filter(BM.project_id > 2.0**53)",
        "select(BM).filter(BM.project_id < 2.0**63, BM.project_id >= 1e3)",
        "select(BM).filter(BM.process < 2.5)",
        "select(BM).filter(BM.frq_per_band < 781250)",
        "select(BM).filter(BM.spec_duration.between(0.5, 81920))",
        "select(BM).filter(BM.partnumber > 'a', BM.partnumber <= 'part 7')",
        "select(BM).filter(BM.partnumber == 'größe')",
        "select(BM).filter(BM.partnumber.like('a!_%', escape='!'))",
        "select(BM).filter(BM.partnumber.like('a_'))",
        "select(BM).filter(BM.partnumber.ilike('A%'))",
        "select(BM).filter(BM.partnumber.contains('r'), BM.filename.startswith('tree'), BM.filename.endswith('b01'))",
        "select(BM).filter(BM.filename.regexp_match('p[0-9]{2}c'))",
        "select(BM).filter(BM.datatype.in_([Buffer.DATATYPE.COMP_RAW, Buffer.DATATYPE.COMP_INVALID]))",
        "select(BM).filter(BM.adc_type != Buffer.ADCTYPE.ADC_24BIT)",
        "select(BM).filter(or_(and_(BM.channel == 1, BM.process == 1), not_(or_(BM.channel < 3, BM.process < 5))))",
        "select(BM).order_by(BM.streamno.desc(), asc(BM.process), desc(BM.filename)).limit(50).offset(20)",
        "select(BM).order_by(BM.streamno.nulls_last(), BM.process.desc().nulls_first(), 'filename').offset(5)",
        "select(BM).order_by(BM.partnumber, BM.analyzer_version.desc()).order_by(BM.filename).limit(60)",
        "select(BM).filter(BM.channel == 1).order_by(BM.directory_path.desc(), BM.filename.desc())",
        "cache.get_buffer_metadata_query(BM(compression_frq=8, channel=1))",
        "cache.get_buffer_metadata_query(BM(datamode=Buffer.DATAMODE.DATAMODE_FFT, partnumber='a'))",
        "cache.get_buffer_metadata_query(BM(frq_per_band=781250.0, partnumber='größe'))",
    ],
)
def test_a_query_finds_what_the_oracle_finds(caches, text):
    """Every form of a query finds the files that the oracle finds: some, not all, in its order."""
    assert 0 < len(assert_agreement(caches, text)) < 120


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("select(BM)", 120),
        ("select(BM).order_by(BM.filename)", 120),
        ("cache.get_buffer_metadata_query(BM())", 120),
        ("select(BM).filter(BM.process.in_([]))", 0),
        ("select(BM).filter(BM.process.not_in([]))", 120),
        ("select(BM).filter(BM.streamno.not_in([0, None]))", 0),
        ("select(BM).filter(BM.process.between(3, 2))", 0),
        ("select(BM).filter(BM.process < float('inf'), BM.process > float('-inf'))", 120),
        ("select(BM).order_by(BM.filename).limit(0)", 0),
        ("select(BM).order_by(BM.filename).limit(200).offset(119)", 1),
        ("select(BM).order_by(BM.filename).offset(200)", 0),
    ],
)
def test_all_or_nothing_is_what_the_oracle_finds(caches, text, count):
    """Queries of everything and of nothing agree as well; files without a process are neither."""
    without = len(answer(caches.ours, OUR_NAMES, "select(BM).filter(BM.process.is_(None))"))
    expected = count - without if "float" in text else count
    assert len(assert_agreement(caches, text)) == expected


# -- at random ----------------------------------------------------------------------------------------------------

ANY = [
    *("{field} == {value}", "{field} != {value}", "{field}.in_([{value}, {value}, {value}])", "{field}.is_(None)"),
    *("{field}.not_in([{value}, {value}])", "{field}.in_([{value}, None])", "{field}.not_in([{value}, None])"),
    *("{field}.in_([])", "{field}.not_in([])", "{field} == None", "{field} != None", "{field}.is_not(None)"),
]
ORDERED = [
    *("{field} < {value}", "{field} <= {value}", "{field} > {value}", "{field} >= {value}"),
    *("{field}.between({value}, {value})", "{field}.between(None, {value})", "{field}.between({value}, None)"),
]
TEXT = [
    *(
        "{field}.like('%{piece}%')",
        "{field}.like('{piece}%')",
        "{field}.like('%{piece}_')",
        "{field}.like('_{piece}%')",
    ),
    *("{field}.ilike('%{piece}')", "{field}.like('%!_{piece}%', escape='!')", "{field}.regexp_match('{piece}.?$')"),
    *("{field}.startswith('{piece}')", "{field}.endswith('{piece}')", "{field}.contains('{piece}')"),
]
COMBINATIONS = ["({}) & ({})", "({}) | ({})", "~({})", "and_({}, {}, {})", "or_({}, {}, {})", "not_({})"]
STEPS = [".filter({})", ".where({})", ".filter({}, {})"]
KEYS = [
    *("BM.{}", "BM.{}.asc()", "BM.{}.desc()", "asc(BM.{})", "desc(BM.{})", "'{}'"),
    *("BM.{}.nulls_last()", "BM.{}.desc().nulls_first()", "BM.{}.asc().nulls_first()"),
]


def predicate(draw: st.DrawFn, values: dict[str, list[Any]], depth: int = 2) -> str:
    """Draw the text of a predicate of so many levels."""
    combination = draw(st.sampled_from(["", "", *COMBINATIONS])) if depth else ""
    if not combination:
        return comparison(draw, values)
    return combination.format(*(predicate(draw, values, depth - 1) for _ in range(combination.count("{}"))))


def comparison(draw: st.DrawFn, values: dict[str, list[Any]]) -> str:
    """Draw the text of a question to one field."""
    name = draw(st.sampled_from(PROPERTIES))
    forms = ANY + (ORDERED if name not in ENUMERATIONS else []) + (TEXT if name in TEXTS else [])
    drawn = {
        "field": lambda: f"BM.{name}",
        "value": partial(value, draw, name, values),
        "piece": partial(piece, draw, name, values),
    }
    return re.sub(r"\{(\w+)\}", lambda place: drawn[place[1]](), draw(st.sampled_from(forms)))


def literal(value: Any) -> str:
    """Return a value as it is written in a query."""
    return f"Buffer.{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def value(draw: st.DrawFn, name: str, values: dict[str, list[Any]]) -> str:
    """Draw a value that some file has in a field, or one near by."""
    found = draw(st.sampled_from([value for value in values[name] if value is not None]))
    if isinstance(found, Enum):
        return literal(found)
    if isinstance(found, str):
        return literal(draw(st.sampled_from([found, found[:-1], f"{found} "])))
    near = [found, found, found + 1, found - 1, found + 0.5, float(found), -1e300, 2**53 + 1]
    return literal(draw(st.sampled_from([number for number in near if number < 2**63 or isinstance(number, float)])))


def piece(draw: st.DrawFn, name: str, values: dict[str, list[Any]]) -> str:
    """Draw a piece of a text that some file has in a field, without wildcards."""
    text = re.sub(r"\W|_", "", draw(st.sampled_from([value for value in values[name] if value is not None])))
    start = draw(st.integers(0, len(text)))
    return text[start : start + draw(st.integers(1, 3))]


@st.composite
def queries(draw, values: dict[str, list[Any]]) -> str:
    """Draw the text of a query: some steps, and mostly an order that leaves no two files equal."""
    steps = draw(st.lists(st.sampled_from([*STEPS, ".filter_by({}={})"]), max_size=2))
    text = "select(BM)"
    for step in steps:
        if "=" in step:
            name = draw(st.sampled_from(PROPERTIES))
            text += step.format(name, value(draw, name, values))
        else:
            text += step.format(*(predicate(draw, values) for _ in range(step.count("{}"))))
    keys = [key.format(draw(st.sampled_from(SORTABLE))) for key in draw(st.lists(st.sampled_from(KEYS), max_size=3))]
    if not keys:
        return text
    ends = [f".{name}({draw(st.integers(0, 130))})" for name in ("limit", "offset") if draw(st.booleans())]
    return f"{text}.order_by({', '.join([*keys, 'BM.filename'])}){''.join(ends)}"


@given(st.data())
def test_random_queries_find_what_the_oracle_finds(caches, data):
    """Any query finds the files that the oracle finds, in the same order."""
    assert_agreement(caches, data.draw(queries(caches.values)))


@given(st.data())
def test_random_templates_find_what_the_oracle_finds(caches, data):
    """A template of values of some file, one of them perhaps of another, finds what the oracle finds."""
    numbers = data.draw(st.tuples(st.integers(0, 119), st.integers(0, 119)))
    names = data.draw(st.lists(st.sampled_from(PROPERTIES), min_size=1, max_size=4, unique=True))
    template = {name: caches.values[name][numbers[name == names[-1]]] for name in names}
    # the oracle takes a colon in a text for a parameter of SQL
    arguments = [f"{name}={literal(value)}" for name, value in template.items() if ":" not in str(value)]
    assert_agreement(caches, f"cache.get_buffer_metadata_query(BM({', '.join(arguments)}))")


# -- where we differ on purpose -----------------------------------------------------------------------------------


def both(caches: Caches, text: str) -> tuple[list[str], list[str]]:
    """Return what the oracle finds, and what we find."""
    return answer(caches.oracle, NAMES_OF_THE_ORACLE, text), answer(caches.ours, OUR_NAMES, text)


def test_like_minds_case(caches):
    """The oracle's like does not mind case; ours does, and ilike finds what the oracle's like finds."""
    theirs, mine = both(caches, "select(BM).filter(BM.partnumber.like('PART%'))")
    assert (len(theirs) > 0, mine) == (True, [])
    assert answer(caches.ours, OUR_NAMES, "select(BM).filter(BM.partnumber.ilike('PART%'))") == theirs


@pytest.mark.parametrize("ask", ["startswith('a_')", "endswith('%1')", "contains('a%1')"])
def test_startswith_and_its_kin_are_literal(caches, ask):
    """The oracle takes % and _ in startswith, endswith and contains for wildcards; we take them as they are."""
    theirs, mine = both(caches, f"select(BM).filter(BM.partnumber.{ask})")
    assert set(mine) < set(theirs)
    assert mine


def test_enumerations_sort_by_number(caches):
    """The oracle sorts by the name of a member; we sort by its number."""
    theirs, mine = both(caches, "select(BM).order_by(BM.datatype, BM.filename)")
    assert sorted(mine) == sorted(theirs)
    assert mine != theirs
    found = caches.ours.get_matching_metadata(ours.select(ours.BufferMetadata).order_by("datatype"))
    assert [-2 if one.datatype is None else one.datatype for one in found] == sorted(
        -2 if value is None else value for value in caches.values["datatype"]
    )
