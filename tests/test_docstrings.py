"""The examples in docstrings."""

import doctest
import pkgutil

import pytest

import bufcache

MODULES = ["bufcache", *(module.name for module in pkgutil.walk_packages(bufcache.__path__, "bufcache."))]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_in_docstrings_hold(name, in_sample_project):
    """What a docstring shows is what Python prints."""
    module = pytest.importorskip(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0
