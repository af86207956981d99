"""What callers give, checked."""

import numpy as np
import pytest

from bufcache.arguments import integer
from bufcache.errors import InvalidArgumentError


@pytest.mark.parametrize("value", [3, np.uint8(3), np.array(3)])
def test_integers_of_any_type(value):
    """Whatever is an integer is one."""
    assert integer("block", value) == 3


@pytest.mark.parametrize("value", [3.0, "3", None, [3], np.array([3, 4])], ids=str)
def test_what_is_no_integer(value):
    """What is none is an InvalidArgumentError that names the argument and says what was given."""
    with pytest.raises(InvalidArgumentError, match=r"^block is .*; expected an integer$"):
        integer("block", value)
