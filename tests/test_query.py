"""Predicates and select: what each operator and method matches, what is unknown, what is refused."""

import copy
import math
import operator
import os
import pickle
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from query_strategies import FIELDS, columns_of, evaluated, few_names, orders, predicates
from tinydb import TinyDB, where
from tinydb.storages import MemoryStorage

from bufcache import Buffer
from bufcache.buffer_metadata_cache import BufferMetadata as BM
from bufcache.buffer_metadata_cache import Select, and_, asc, desc, not_, or_, select
from bufcache.buffer_metadata_cache.query import Predicate
from bufcache.errors import BufcacheError

DATAMODE, DATAKIND, DATATYPE, ADCTYPE = Buffer.DATAMODE, Buffer.DATAKIND, Buffer.DATATYPE, Buffer.ADCTYPE
TRUE, FALSE, UNKNOWN = BM.channel == 1, BM.channel == 2, BM.process == 1
NAN = math.nan
ONE = {"channel": 1}
"""A document of which the three predicates are true, false and unknown."""


def truth(predicate: Predicate, document: dict[str, Any]) -> bool | None:
    """Return what a predicate is of a document, evaluated and in columns alike."""
    columns, found = columns_of(document), predicate.evaluate(document)
    is_true, is_false = (len(columns.match(asked)) == 1 for asked in (predicate, ~predicate))
    assert (is_true, is_false) == (found is True, found is False)
    return found


def matching(predicate: Predicate, **candidates: list[Any]) -> list[Any]:
    """Return those candidates for the value of one field that a predicate is true of; None is no value."""
    [(name, values)] = candidates.items()
    return [value for value in values if truth(predicate, {} if value is None else {name: value}) is True]


# -- operators ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (BM.process == 2, [2]),
        (BM.process != 2, [1, 3]),
        (BM.process < 2, [1]),
        (BM.process <= 2, [1, 2]),
        (BM.process > 2, [3]),
        (BM.process >= 2, [2, 3]),
        (2 < BM.process, [3]),  # noqa: SIM300 - as people write it
        (BM.process.in_([1, 3, 7]), [1, 3]),
        (BM.process.in_({1, 3}), [1, 3]),
        (BM.process.in_(range(2, 9)), [2, 3]),
        (BM.process.in_(number for number in (1, 2)), [1, 2]),
        (BM.process.in_(np.array([1, 2])), [1, 2]),
        (BM.process.not_in([1, 3, 7]), [2]),
        (BM.process.between(2, 3), [2, 3]),
        (BM.process.between(3, 2), []),
        (BM.process.is_(None), [None]),
        (BM.process.is_not(None), [1, 2, 3]),
        (BM.process == None, [None]),  # noqa: E711 - as people write it
        (BM.process != None, [1, 2, 3]),  # noqa: E711
    ],
    ids=repr,
)
def test_numbers_are_compared(predicate, expected):
    """Every operator and method matches the numbers that it says, and None where it asks for None."""
    assert matching(predicate, process=[1, 2, 3, None]) == expected


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (BM.partnumber == "ab", ["ab"]),
        (BM.partnumber != "ab", ["", "AB", "b", "é"]),
        (BM.partnumber < "ab", ["", "AB"]),
        (BM.partnumber <= "ab", ["", "AB", "ab"]),
        (BM.partnumber > "b", ["é"]),
        (BM.partnumber >= "b", ["b", "é"]),
        (BM.partnumber.in_(("ab", "b")), ["ab", "b"]),
        (BM.partnumber.not_in(["ab", "b"]), ["", "AB", "é"]),
        (BM.partnumber.between("a", "b"), ["ab", "b"]),
        (BM.partnumber == "", [""]),
    ],
    ids=repr,
)
def test_texts_are_compared_by_code_point(predicate, expected):
    """Texts are equal and ordered by their code points: case counts, and an empty text is a value."""
    assert matching(predicate, partnumber=["", "AB", "ab", "b", "é", None]) == expected


@given(st.text(), st.text(), st.sampled_from([operator.eq, operator.lt, operator.le, operator.gt]))
def test_any_two_texts_compare_as_in_python(left, right, compare):
    """The order of texts is Python's."""
    assert truth(compare(BM.partnumber, right), {"partnumber": left}) is compare(left, right)


# -- None ---------------------------------------------------------------------------------------------------------

TRUTHS = {True: TRUE, False: FALSE, None: UNKNOWN}


@pytest.mark.parametrize("left", TRUTHS)
@pytest.mark.parametrize("right", TRUTHS)
def test_and_and_or_have_three_values(left, right):
    """The truth tables of & and | are those of SQL, and and_ and or_ say the same."""
    conjunction = False if False in (left, right) else None if None in (left, right) else True
    disjunction = True if True in (left, right) else None if None in (left, right) else False
    first, second = TRUTHS[left], TRUTHS[right]
    assert truth(first & second, ONE) is truth(and_(first, second), ONE) is conjunction
    assert truth(first | second, ONE) is truth(or_(first, second), ONE) is disjunction


@pytest.mark.parametrize(("value", "expected"), [(True, False), (False, True), (None, None)])
def test_not_leaves_unknown_unknown(value, expected):
    """~ and not_ swap true and false; unknown stays unknown, however often."""
    assert truth(~TRUTHS[value], ONE) is truth(not_(TRUTHS[value]), ONE) is expected
    assert truth(~~TRUTHS[value], ONE) is value


def test_of_nothing_all_are_true_and_none_is():
    """and_() is true of everything, or_() of nothing."""
    assert truth(and_(), {}) is True
    assert truth(or_(), {}) is False


@pytest.mark.parametrize(
    "predicate",
    [
        *(compare(BM.process, 3) for compare in (operator.eq, operator.ne, operator.lt, operator.ge)),
        *(compare(BM.channel, None) for compare in (operator.lt, operator.le, operator.gt, operator.ge)),
        *(
            BM.process.in_([3]),
            BM.process.not_in([3]),
            BM.process.in_([None]),
            BM.channel.in_([None]),
            BM.channel.in_([7, None]),
        ),
        *(
            BM.process.between(1, 2),
            BM.channel.between(None, 2),
            BM.channel.between(0, None),
            BM.channel.between(None, None),
        ),
        *(BM.filename.like("%"), BM.filename.ilike("%"), BM.filename.startswith(""), BM.filename.endswith("")),
        *(BM.filename.contains(""), BM.filename.regexp_match(""), BM.directory_path.below("/"), BM.filepath.below("/")),
        *(BM.filepath == "/a", BM.datamode == "DATAMODE_FFT", BM.frq_end > 3),
    ],
    ids=repr,
)
def test_what_compares_with_none_is_unknown(predicate):
    """A comparison in which a value is None is neither true nor false, and nor is its negation."""
    assert truth(predicate, ONE) is None


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (BM.process.in_([]), False),
        (BM.process.not_in([]), True),
        (BM.channel.in_([]), False),
        (BM.channel.in_([1, None]), True),
        (BM.channel.not_in([1, None]), False),
        (BM.channel.between(2, None), False),
        (BM.channel.between(None, 0), False),
        (BM.process.is_(None), True),
        (BM.process.is_not(None), False),
        (BM.process.is_(3), False),
        (BM.process.is_not(3), True),
        (BM.channel == None, False),  # noqa: E711
        (BM.channel != None, True),  # noqa: E711
    ],
    ids=repr,
)
def test_what_is_decided_in_spite_of_none(predicate, expected):
    """Nothing is in an empty list, not even None; what is found, or decided by the other bound, is not unknown."""
    assert truth(predicate, ONE) is expected
    assert truth(~predicate, ONE) is (not expected)


def test_none_asked_with_equal_is_none_asked_with_is():
    """``== None`` and ``!= None`` are is_(None) and is_not(None)."""
    assert (BM.process == None) == BM.process.is_(None)  # noqa: E711
    assert (BM.process != None) == BM.process.is_not(None)  # noqa: E711


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("process", value) for value in ("3", 3.0, True, 2**63, -(2**63) - 1, [3], None)),
        *(("project_id", value) for value in (-1, 2**64)),
        *(("spec_duration", value) for value in ("1", NAN, math.inf, 2**53 + 1, 10**400)),
        *(("partnumber", value) for value in (3, b"A", ["A"])),
        *(("datamode", value) for value in ("DATAMODE_FFT", 2.0)),
    ],
)
def test_what_a_field_cannot_hold_counts_as_none(name, value):
    """A document with a value of another type, or out of range, is as one without the field."""
    assert truth(FIELDS[name].is_(None), {name: value}) is True


# -- numbers, exactly ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (BM.process == 2**53 + 1, [2**53 + 1]),
        (BM.process == 2.0**53, [2**53]),
        (BM.process < 2.0**53 + 2, [2**53, 2**53 + 1, 0, -(2**63)]),
        (BM.process >= 2**63, []),
        (BM.process < 2.0**63, [2**53, 2**53 + 1, 2**63 - 1, 0, -(2**63)]),
        (BM.process == -(2.0**63), [-(2**63)]),
        (BM.process > -(2**63) - 1, [2**53, 2**53 + 1, 2**63 - 1, 0, -(2**63)]),
        (BM.process < 1e300, [2**53, 2**53 + 1, 2**63 - 1, 0, -(2**63)]),
        (BM.process < -math.inf, []),
        (BM.process <= math.inf, [2**53, 2**53 + 1, 2**63 - 1, 0, -(2**63)]),
        (BM.process == NAN, []),
        (BM.process != NAN, [2**53, 2**53 + 1, 2**63 - 1, 0, -(2**63)]),
        (BM.process < NAN, []),
        (BM.process > 0.5, [2**53, 2**53 + 1, 2**63 - 1]),
        (BM.process < -0.5, [-(2**63)]),
        (BM.process <= -0.0, [0, -(2**63)]),
        (BM.process == 0.5, []),
        (BM.process.in_([0.0, 2**63 - 1, 2.0**63, 0.5, NAN]), [2**63 - 1, 0]),
        (BM.process == False, [0]),  # noqa: E712 - a bool is a number
    ],
    ids=repr,
)
def test_integers_compare_exactly(predicate, expected):
    """Signed integers compare with any number as Python compares them, whatever its size."""
    assert matching(predicate, process=[2**53, 2**53 + 1, 2**63 - 1, 0, -(2**63)]) == expected


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (BM.project_id == 2**64 - 1, [2**64 - 1]),
        (BM.project_id == 2.0**64, []),
        (BM.project_id < 2.0**64, [0, 2**63 - 1, 2**63, 2**64 - 1]),
        (BM.project_id >= 2.0**63, [2**63, 2**64 - 1]),
        (BM.project_id > -1, [0, 2**63 - 1, 2**63, 2**64 - 1]),
        (BM.project_id == -1, []),
        (BM.project_id > -math.inf, [0, 2**63 - 1, 2**63, 2**64 - 1]),
        (BM.project_id != NAN, [0, 2**63 - 1, 2**63, 2**64 - 1]),
        (BM.project_id.in_([-1, 2**63, 2**64]), [2**63]),
        (BM.project_id.in_(np.array([2**63, 0], np.uint64)), [0, 2**63]),
    ],
    ids=repr,
)
def test_unsigned_ids_compare_exactly(predicate, expected):
    """Unsigned 64-bit ids compare exactly beyond the signed range too."""
    assert matching(predicate, project_id=[0, 2**63 - 1, 2**63, 2**64 - 1]) == expected


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (BM.spec_duration == 2**53 + 1, []),
        (BM.spec_duration < 2**53 + 1, [-1e300, 0.5, 2.0**53]),
        (BM.spec_duration > 2**53 + 1, [2.0**53 + 2, 2.0**63, 1e300]),
        (BM.spec_duration != 2**53 + 1, [-1e300, 0.5, 2.0**53, 2.0**53 + 2, 2.0**63, 1e300]),
        (BM.spec_duration >= 2**53 + 3, [2.0**63, 1e300]),
        (BM.spec_duration <= 2**53 + 3, [-1e300, 0.5, 2.0**53, 2.0**53 + 2]),
        (BM.spec_duration == 2**63, [2.0**63]),
        (BM.spec_duration < 10**400, [-1e300, 0.5, 2.0**53, 2.0**53 + 2, 2.0**63, 1e300]),
        (BM.spec_duration < -(10**400), []),
        (BM.spec_duration < math.inf, [-1e300, 0.5, 2.0**53, 2.0**53 + 2, 2.0**63, 1e300]),
        (BM.spec_duration == 1e300, [1e300]),
        (BM.spec_duration != NAN, [-1e300, 0.5, 2.0**53, 2.0**53 + 2, 2.0**63, 1e300]),
        (BM.spec_duration.in_([2**53 + 1, 2**53, 10**400, 0.5, NAN]), [0.5, 2.0**53]),
    ],
    ids=repr,
)
def test_floats_compare_exactly(predicate, expected):
    """Floats compare with integers that no float can hold, without rounding them."""
    assert matching(predicate, spec_duration=[-1e300, 0.5, 2.0**53, 2.0**53 + 2, 2.0**63, 1e300]) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        *((np.dtype(code).type(3), 3) for code in ("i1", "u1", "i4", "u8")),
        *((np.dtype(code).type(2.5), 2.5) for code in ("f2", "f4", "f8")),
        (np.bool_(True), 1),
        (np.uint64(2**64 - 1), 2**64 - 1),
    ],
    ids=repr,
)
def test_numpy_scalars_are_numbers(number, expected):
    """A scalar of numpy asks what the same number of Python asks."""
    assert (BM.process > number) == (BM.process > expected)
    assert BM.frq_end.in_([number]) == BM.frq_end.in_([expected])
    assert (BM.datamode == number) == (BM.datamode == expected)


# -- enumerations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [DATAMODE.DATAMODE_FFT, "DATAMODE_FFT", 2, 2.0, np.int32(2)], ids=repr)
def test_an_enumeration_is_asked_for_by_member_name_or_number(value):
    """A field of an enumeration takes its member, the member's name, and a number."""
    assert matching(BM.datamode == value, datamode=[1, 2, 3, None]) == [2]
    assert matching(BM.datamode != value, datamode=[1, 2, 3, None]) == [1, 3]
    assert matching(BM.datamode.in_([value, 7]), datamode=[1, 2, 3, None]) == [2]


def test_members_are_ordered_by_number():
    """Members are compared by their numbers, negative ones and aliases too."""
    assert matching(BM.datatype < DATATYPE.COMP_RAW, datatype=[-2, -1, 0, 7]) == [-2, -1]
    assert matching(BM.datatype.between("COMP_UNDEF", "COMP_DOWNSAMPLE"), datatype=[-2, -1, 0, 7]) == [-1, 0]
    assert (BM.adc_type == "ADC_LEGACY_14BIT") == (BM.adc_type == ADCTYPE.ADC_NOT_USED)


def test_a_number_that_the_enumeration_does_not_know_is_found():
    """User kinds and numbers of newer software are data: they are found, by their numbers."""
    assert matching(BM.datakind == 105, datakind=[100, 105, 0]) == [105]
    assert matching(BM.datakind > DATAKIND.KIND_USER, datakind=[100, 105, 0]) == [105]
    assert matching(BM.datakind.not_in(DATAKIND), datakind=[100, 105, 0]) == [105]


def test_a_member_is_a_number_for_a_field_of_numbers():
    """A field of integers takes a member of an IntEnum for the number that it is."""
    assert (BM.process == DATAMODE.DATAMODE_FFT) == (BM.process == 2)


# -- texts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (BM.filename.like("ab"), ["ab"]),
        (BM.filename.like("a%"), ["ab", "a%b", "a_b", "a\nb"]),
        (BM.filename.like("%b"), ["ab", "a%b", "a_b", "a\nb", "xab"]),
        (BM.filename.like("a_b"), ["a%b", "a_b", "a\nb"]),
        (BM.filename.like("__"), ["ab", "AB"]),
        (BM.filename.like("%"), ["ab", "AB", "a%b", "a_b", "a\nb", "xab", ""]),
        (BM.filename.like(""), [""]),
        (BM.filename.like("a!%b", escape="!"), ["a%b"]),
        (BM.filename.like("a!_%", escape="!"), ["a_b"]),
        (BM.filename.like(r"a\_b", escape="\\"), ["a_b"]),
        (BM.filename.like("a.b"), []),
        (BM.filename.ilike("ab"), ["ab", "AB"]),
        (BM.filename.ilike("%AB"), ["ab", "AB", "xab"]),
        (BM.filename.ilike("A%B"), ["ab", "AB", "a%b", "a_b", "a\nb"]),
        (BM.filename.ilike("A!%B", escape="!"), ["a%b"]),
        (BM.filename.startswith("a"), ["ab", "a%b", "a_b", "a\nb"]),
        (BM.filename.startswith("a_"), ["a_b"]),
        (BM.filename.endswith("b"), ["ab", "a%b", "a_b", "a\nb", "xab"]),
        (BM.filename.endswith("%b"), ["a%b"]),
        (BM.filename.contains("ab"), ["ab", "xab"]),
        (BM.filename.contains("%"), ["a%b"]),
        (BM.filename.contains(""), ["ab", "AB", "a%b", "a_b", "a\nb", "xab", ""]),
        (BM.filename.regexp_match("a.b"), ["a%b", "a_b"]),
        (BM.filename.regexp_match("^[A-Z]+$"), ["AB"]),
        (BM.filename.regexp_match("b"), ["ab", "a%b", "a_b", "a\nb", "xab"]),
        (~BM.filename.regexp_match("(?i)a"), [""]),
    ],
    ids=repr,
)
def test_patterns_match_texts(predicate, expected):
    """A pattern of like knows % and _, escapes and line breaks, and minds case; startswith and its kin are literal."""
    assert matching(predicate, filename=["ab", "AB", "a%b", "a_b", "a\nb", "xab", "", None]) == expected


def is_like(text: str, pattern: str) -> bool:
    """Return whether a whole text is like a pattern, character by character."""
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(is_like(text[place:], pattern[1:]) for place in range(len(text) + 1))
    return text != "" and pattern[0] in ("_", text[0]) and is_like(text[1:], pattern[1:])


@given(st.text("ab.[\n", max_size=5), st.text("ab.[%_\n", max_size=5))
def test_only_percent_and_underscore_are_wildcards(text, pattern):
    """Any pattern of like matches as its definition says; no other character has a meaning of its own."""
    assert truth(BM.partnumber.like(pattern), {"partnumber": text}) is is_like(text, pattern)
    assert truth(BM.partnumber.ilike(pattern.upper()), {"partnumber": text}) is is_like(text, pattern)


@given(st.text("a%_!b.\n", max_size=6), st.text("a%_!b.\n", max_size=6))
def test_an_escaped_text_is_like_itself_only(text, other):
    """A text all of whose characters are escaped is like that text and no other."""
    pattern = "".join(f"!{letter}" for letter in text)
    assert truth(BM.partnumber.like(pattern, escape="!"), {"partnumber": other}) is (text == other)


def test_case_is_that_of_unicode():
    """The method ilike does not mind the case of letters beyond ASCII either."""
    assert matching(BM.partnumber.ilike("größe"), partnumber=["GRÖSSE", "GRÖßE", "Größe"]) == ["GRÖßE", "Größe"]


# -- paths --------------------------------------------------------------------------------------------------------

POSIX = ["/", "/data", "/data/a", "/data/a/b", "/database", "data"]
WINDOWS = ["C:\\", "C:\\data", "C:\\data\\a", "C:\\database", "D:\\data", "\\\\server\\share\\a"]


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/data", ["/data", "/data/a", "/data/a/b"]),
        ("/data/", ["/data", "/data/a", "/data/a/b"]),
        ("/data/b/../a", ["/data/a", "/data/a/b"]),
        (PurePosixPath("/data/a"), ["/data/a", "/data/a/b"]),
        ("/", ["/", "/data", "/data/a", "/data/a/b", "/database"]),
        ("C:\\data", ["C:\\data", "C:\\data\\a"]),
        ("C:\\data\\", ["C:\\data", "C:\\data\\a"]),
        ("C:/data", ["C:\\data", "C:\\data\\a"]),
        ("C:\\", ["C:\\", "C:\\data", "C:\\data\\a", "C:\\database"]),
        (PureWindowsPath("C:/data/a"), ["C:\\data\\a"]),
        ("\\\\server\\share", ["\\\\server\\share\\a"]),
    ],
    ids=repr,
)
@pytest.mark.skipif(os.name != "posix", reason="on Windows / is the root of a drive")
def test_below_finds_a_folder_and_what_lies_in_it(folder, expected):
    """A folder is below itself, and so is all in it, on any system; a name that only begins alike is not."""
    assert matching(BM.directory_path.below(folder), directory_path=POSIX + WINDOWS) == expected


def test_below_a_relative_folder_counts_from_the_working_folder():
    """A relative folder is one of the working folder."""
    assert BM.directory_path.below("data") == BM.directory_path.below(Path.cwd() / "data")
    assert truth(BM.directory_path.below("."), {"directory_path": str(Path.cwd() / "a")}) is True


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"directory_path": "/data", "filename": "a"}, "/data/a"),
        ({"directory_path": "/", "filename": "a"}, "/a"),
        ({"directory_path": "C:\\data", "filename": "a"}, "C:\\data\\a"),
        ({"directory_path": "C:\\", "filename": "a"}, "C:\\a"),
        ({"directory_path": "/d\0dcffa", "filename": "\0dc80"}, "/d\udcffa/\udc80"),
    ],
)
def test_filepath_is_folder_and_name(document, path):
    """The field filepath is asked for as the whole path, in the separators of its system and with any bytes."""
    folder, name = path[: -len("/a")] or "/", path[-1]
    assert truth(BM.filepath == path, document) is True
    assert truth(BM.filepath.in_(["/else", path]), document) is True
    assert truth(BM.filepath != path, document) is False
    assert truth(BM.filepath > path, document) is False
    assert truth(BM.filepath.endswith(name), document) is True
    assert truth(BM.filepath.startswith(folder), document) is True
    assert truth(BM.filepath == folder, document) is False


def test_filepath_is_none_where_a_part_is():
    """A path of which a part is not known is not known."""
    assert truth(BM.filepath.is_(None), {"filename": "a"}) is True
    assert truth(BM.filepath.is_(None), {"directory_path": "/a"}) is True


def test_paths_are_asked_for_as_path_objects_too():
    """A field of paths takes a Path for its text; other texts do not."""
    assert (BM.filepath == PurePosixPath("/data/a")) == (BM.filepath == "/data/a")
    assert BM.filename.in_([PurePosixPath("a")]) == BM.filename.in_(["a"])
    with pytest.raises(TypeError, match=r"BufferMetadata\.partnumber: expected text"):
        BM.partnumber == PurePosixPath("a")  # noqa: B015


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("misuse", [bool, lambda asked: asked and asked, lambda asked: not asked])
def test_a_predicate_has_no_truth_value(misuse):
    """A predicate in ``and``, ``or``, ``not`` or ``if`` is a TypeError that shows it and says what to write."""
    with pytest.raises(TypeError, match=r"BufferMetadata\.process > 3 has no truth value: use & \| ~"):
        misuse(BM.process > 3)
    with pytest.raises(TypeError, match="between"):
        1 < BM.process < 3  # noqa: B015


def test_a_field_has_no_truth_value():
    """A field by itself says nothing: a TypeError."""
    with pytest.raises(TypeError, match=r"BufferMetadata\.process is a field"):
        bool(BM.process)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: BM.process == "71", r"BufferMetadata\.process: expected a number, got '71' \(str\)"),
        (lambda: BM.process > b"7", r"BufferMetadata\.process: expected a number, got b'7' \(bytes\)"),
        (lambda: BM.frq_end < 1j, r"BufferMetadata\.frq_end: expected a number"),
        (lambda: BM.process.in_([1, "2"]), r"BufferMetadata\.process: expected a number, got '2'"),
        (lambda: BM.process.between(1, []), r"BufferMetadata\.process: expected a number"),
        (lambda: BM.partnumber == 3, r"BufferMetadata\.partnumber: expected text, got 3 \(int\)"),
        (lambda: BM.partnumber.like(3), r"BufferMetadata\.partnumber: expected text"),
        (lambda: BM.partnumber.startswith(None), r"BufferMetadata\.partnumber\.startswith: expected text, got None"),
        (lambda: BM.directory_path.below(3), r"BufferMetadata\.directory_path: expected text"),
        (lambda: BM.directory_path.below(None), r"BufferMetadata\.directory_path\.below: expected text, got None"),
        (lambda: BM.datamode == DATAKIND.KIND_USER, r"BufferMetadata\.datamode: expected a DATAMODE, got <DATAKIND"),
        (lambda: BM.process == BM.channel, r"process is compared with the field BufferMetadata\.channel"),
        (lambda: BM.process.in_([BM.channel]), r"process is compared with the field BufferMetadata\.channel"),
        (lambda: BM.process.between(BM.channel, 3), r"compared with the field BufferMetadata\.channel"),
        (lambda: BM.partnumber.in_("abc"), r"BufferMetadata\.partnumber\.in_: expected several values .* got 'abc'"),
        (lambda: BM.process.not_in(b"abc"), r"BufferMetadata\.process\.in_: expected several values"),
        (lambda: BM.process.in_(3), r"BufferMetadata\.process\.in_: expected several values"),
        (lambda: BM.process.like("7%"), r"BufferMetadata\.process holds no text: like\(\)"),
        (lambda: BM.datamode.contains("FFT"), r"BufferMetadata\.datamode holds no text: contains\(\)"),
        (lambda: BM.partnumber.below("/"), r"BufferMetadata\.partnumber holds no folders: below\(\)"),
        (lambda: BM.filename.below("/"), r"BufferMetadata\.filename holds no folders: below\(\)"),
        (lambda: (BM.process > 3) & True, "unsupported operand"),
        (lambda: (BM.process > 3) | BM.channel, "unsupported operand"),
        (lambda: and_(BM.process > 3, True), "got True: an instance was compared"),
        (lambda: or_(BM.process), r"expected a predicate .* got BufferMetadata\.process"),
        (lambda: not_(None), "expected a predicate"),
        (lambda: desc("process"), "expected a field to sort by .* got 'process'"),
        (lambda: asc(BM.process > 3), "expected a field to sort by"),
    ],
)
def test_what_cannot_be_asked_is_a_type_error(ask, message):
    """What a field could never hold, or what is no predicate, is refused where it is written, and named."""
    with pytest.raises(TypeError, match=message):
        ask()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda: BM.datamode == "DATAMODE_FTT",
            r"datamode: DATAMODE has no member 'DATAMODE_FTT'; .* 'DATAMODE_FFT'\?",
        ),
        (lambda: BM.datakind.in_(["nonsense"]), r"BufferMetadata\.datakind: DATAKIND has no member 'nonsense'$"),
        (lambda: BM.filename.regexp_match("("), r"'\(' is no regular expression: .* position 0"),
        (lambda: BM.filename.regexp_match("a{99999999999999999999}"), "no regular expression"),
        (lambda: BM.filename.like("a", escape="ab"), "escape is 'ab'; expected one character"),
        (lambda: BM.filename.like("a", escape=""), "expected one character"),
        (lambda: BM.filename.like("a", escape=3), "expected one character"),
        (lambda: select(BM).limit(-1), "limit is -1; expected 0 or more"),
        (lambda: select(BM).offset(-1), "offset is -1; expected 0 or more"),
        (lambda: select(BM).limit("3"), "limit is '3'; expected an integer"),
        (lambda: select(BM).offset(None), "offset is None; expected an integer"),
        (lambda: select(BM).limit(2.0), r"limit is 2\.0; expected an integer"),
        (lambda: select(BM).filter("proces > 3"), "unknown field 'proces'; did you mean 'process'"),
    ],
)
def test_values_that_mean_nothing_are_refused(ask, message):
    """A name that an enumeration lacks, a pattern or a number that means nothing is refused where it is written."""
    with pytest.raises(BufcacheError, match=message) as raised:
        ask()
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: select(BM).filter(True), "got True: an instance was compared"),
        (lambda: select(BM).filter(BM(process=3).process == 3), "an instance was compared"),
        (lambda: select(BM).where(None), "expected a predicate"),
        (lambda: select(BM).filter(BM.process), r"expected a predicate .* got BufferMetadata\.process"),
        (lambda: select(BM).filter_by(proces=3), "BufferMetadata has no field 'proces'; did you mean 'process'"),
        (lambda: select(BM).filter_by(process="3"), r"BufferMetadata\.process: expected a number"),
        (lambda: select(BM).order_by("proces"), "BufferMetadata has no field 'proces'; did you mean 'process'"),
        (lambda: select(BM).order_by(3), "expected a field to sort by such as .* got 3"),
        (lambda: select(BM).order_by(BM.process > 3), "expected a field to sort by"),
        (lambda: select(BM).order_by(None), "expected a field to sort by"),
        (lambda: select(BM.process), r"select: expected a class of documents .* got BufferMetadata\.process"),
        (lambda: select(int), "select: expected a class of documents"),
        (lambda: select(BM()), "select: expected a class of documents"),
    ],
)
def test_what_cannot_be_selected_is_a_type_error(ask, message):
    """A select refuses what is no predicate, no field and no key, and names the nearest field."""
    with pytest.raises(TypeError, match=message):
        ask()


# -- select -------------------------------------------------------------------------------------------------------


def test_a_select_never_changes():
    """Each call gives a new select and leaves the one that it was called on."""
    start = select(BM)
    calls = [
        start.filter(BM.process > 3),
        start.where("process > 3"),
        start.filter_by(process=3),
        start.order_by(BM.process),
        start.limit(3),
        start.offset(3),
    ]
    assert start == select(BM)
    assert all(call != start for call in calls)
    with pytest.raises(AttributeError):
        start.count = 3


def test_filters_add_up():
    """filter, where and filter_by take predicates and texts, and all of them must be true."""
    steps = (
        select(BM).filter(BM.process > 3).where("channel == 1", BM.avg_frq <= 2).filter_by(streamno=None, avg_time=1)
    )
    expected = and_(BM.process > 3, BM.channel == 1, BM.avg_frq <= 2, BM.streamno.is_(None), BM.avg_time == 1)
    assert steps.predicate == expected
    assert select(BM).filter().predicate == select(BM).predicate == and_()


def test_orders_add_up_and_the_last_range_counts():
    """order_by puts its keys after those before; limit and offset replace those before."""
    steps = (
        select(BM)
        .order_by(BM.process, "channel")
        .order_by(desc(BM.filename))
        .limit(3)
        .limit(np.int64(5))
        .offset(1)
        .offset(2)
    )
    assert steps.order == (BM.process.asc(), BM.channel.asc(), BM.filename.desc())
    assert (steps.count, steps.start) == (5, 2)
    assert steps.limit(None) == select(BM).order_by(*steps.order).offset(2)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (BM.process, [None, 1, 1, 2, 3]),
        (BM.process.asc(), [None, 1, 1, 2, 3]),
        (asc(BM.process), [None, 1, 1, 2, 3]),
        (BM.process.desc(), [3, 2, 1, 1, None]),
        (desc(BM.process), [3, 2, 1, 1, None]),
        (BM.process.nulls_first(), [None, 1, 1, 2, 3]),
        (BM.process.nulls_last(), [1, 1, 2, 3, None]),
        (BM.process.desc().nulls_first(), [None, 3, 2, 1, 1]),
        (desc(BM.process.nulls_first()), [None, 3, 2, 1, 1]),
        (BM.process.nulls_last().asc(), [1, 1, 2, 3, None]),
    ],
    ids=repr,
)
def test_keys_sort_none_first_ascending_and_last_descending(key, expected):
    """None counts as the smallest value, unless nulls_first or nulls_last say where it goes."""
    documents = [{"process": 1}, {"process": 3}, {}, {"process": 1}, {"process": 2}]
    columns = columns_of(*documents)
    [values] = columns.take(columns.sort(columns.rows, select(BM).order_by(key).order), [BM.process])
    assert values == expected


# -- predicates and selects as values -----------------------------------------------------------------------------


@st.composite
def selects(draw) -> Select:
    """Draw a select over a few fields."""
    names = draw(few_names())
    steps = select(BM).filter(*draw(st.lists(predicates(names), max_size=2))).order_by(*draw(orders(names)))
    steps = steps.limit(draw(st.none() | st.integers(0, 9)))
    return steps.offset(draw(st.integers(0, 9)))


@given(few_names().flatmap(predicates) | selects())
def test_a_repr_evaluates_to_an_equal_object(asked):
    """The repr of a predicate or select is the expression that makes an equal one, with the same hash."""
    made = evaluated(repr(asked))
    assert made == asked
    assert hash(made) == hash(asked)


@given(few_names().flatmap(predicates) | selects())
def test_copies_and_pickles_are_equal(asked):
    """Copies of a predicate or select, and those that come back from another process, are equal to it."""
    assert pickle.loads(pickle.dumps(asked)) == copy.deepcopy(asked) == copy.copy(asked) == asked


def test_copies_ask_the_same_fields():
    """A copy of a predicate finds what the predicate finds."""
    columns = columns_of({"process": 3})
    for asked in (copy.deepcopy(BM.process == 3), pickle.loads(pickle.dumps(BM.process == 3))):
        assert columns.ids_of(columns.match(asked)) == [1]


def test_different_questions_are_not_equal():
    """Predicates that differ in field, operator, value or part are different, and unlike anything else."""
    asked = [BM.process > 3, BM.process >= 3, BM.process > 4, BM.channel > 3, ~(BM.process > 3), BM.process.in_([3])]
    assert len(set(asked)) == len(asked)
    assert (BM.process > 3) != "BufferMetadata.process > 3"
    assert and_(BM.process > 3, and_(), BM.channel > 3) == (BM.process > 3) & (BM.channel > 3)
    assert BM.process.asc() != BM.process.desc() != BM.process.desc().nulls_first()


# -- TinyDB -------------------------------------------------------------------------------------------------------


@pytest.fixture
def table():
    """Make a table of stock TinyDB in memory."""
    with TinyDB(storage=MemoryStorage) as database:
        table = database.table("buffer_metadata")
        table.insert_multiple([{"process": 1, "channel": 1}, {"process": 2, "channel": 2}, {"channel": 3}])
        yield table


def test_a_predicate_is_a_query_of_tinydb(table):
    """Stock TinyDB searches, counts, gets, updates and removes by a predicate."""
    assert table.search(BM.process > 1) == [{"process": 2, "channel": 2}]
    assert table.count(~(BM.process > 1)) == 1
    assert table.get(BM.process.is_(None)) == {"channel": 3}
    assert table.contains(BM.channel == 3)
    table.update({"process": 7}, BM.channel == 3)
    assert table.search(BM.process > 1) == [{"process": 2, "channel": 2}, {"process": 7, "channel": 3}]
    table.remove(BM.process <= 2)
    assert table.all() == [{"process": 7, "channel": 3}]


def test_results_of_a_predicate_are_not_kept_by_tinydb(table):
    """TinyDB does not keep the results of a predicate: another process may change the documents."""
    first, second = table.search(BM.process > 1), table.search(BM.process > 1)
    assert first == second
    assert first is not second


@pytest.mark.parametrize(
    "both",
    [
        where("channel").test(lambda channel: channel != 3) & (BM.process > 1),
        where("process").exists() & (BM.process > 1),
        (where("channel") == 2) | (BM.process > 1),
    ],
)
def test_a_predicate_joins_queries_of_tinydb(table, both):
    """TinyDB's where(...) is combined with a predicate by & and |."""
    assert table.search(both) == [{"process": 2, "channel": 2}]


def test_like_does_not_try_every_way():
    """Many wildcards over a long text are answered at once: without atomic groups this does not end."""
    assert not BM.filename.like("%a" * 20 + "%X")({"filename": "a" * 250})
    assert BM.filename.like("%a_%" * 10 + "b")({"filename": "a" * 250 + "b"})
