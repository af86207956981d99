"""Kinds of values on their own."""

from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufcache.buffer_metadata_cache.kinds import Boolean, Float, Integer, Member, Number, PathText, Text


class Colour(IntEnum):
    RED = 1
    BLUE = 2


KINDS = [Integer(), Integer(signed=False), Boolean(), Float(), Number(), Text(), PathText(), Member(Colour)]
INTEGERS = st.integers() | st.integers(-3, 3) | st.sampled_from([2**53, 2**53 - 1, -(2**53), 2**63, 2**64 - 1, 2**64])
TEXTS = st.text(max_size=4) | st.just("/a\0dcff") | st.just("\0")
OTHERS = st.just([]) | st.just({"a": 1})
STORED = [INTEGERS, st.floats(), st.booleans(), TEXTS, st.none(), OTHERS]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
@given(st.one_of(*(st.lists(st.none() | each) for each in STORED), st.lists(st.one_of(*STORED))))
def test_many_are_loaded_as_one_by_one(kind, stored):
    """Whatever stands in documents, of one type or of any, is taken as each would be by itself, type included."""
    assert list(map(repr, kind.load_all(stored))) == list(map(repr, map(kind.load, stored)))
