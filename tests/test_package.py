"""The package as others import it."""

import importlib
import importlib.metadata
import importlib.resources
import inspect
import pkgutil
import subprocess
import sys

import pytest

import bufcache

PUBLIC_MODULES = [
    "bufcache",
    "bufcache.buffer_metadata_cache",
    "bufcache.buffer_parser",
    "bufcache.errors",
    "bufcache.testing",
]


def public_members(owner):
    """Give what a class offers by names of its own, and not by those of its bases."""
    return {name: value for name, value in vars(owner).items() if not name.startswith("_")}


def test_names_are_sorted_and_there():
    """Every public module lists its names in order, none twice, and all of them can be imported."""
    for name in PUBLIC_MODULES:
        module = importlib.import_module(name)
        assert list(module.__all__) == sorted(set(module.__all__))
        for public in module.__all__:
            assert getattr(module, public) is not None


def test_every_public_name_is_in_the_package():
    """What the modules of the package offer is to be had from bufcache itself, the tools for tests apart."""
    for name in PUBLIC_MODULES[1:4]:
        module = importlib.import_module(name)
        for public in module.__all__:
            assert getattr(bufcache, public) is getattr(module, public)
    assert set(bufcache.__all__) <= set(dir(bufcache))
    assert set(bufcache.__all__) == {
        public for name in PUBLIC_MODULES[1:4] for public in importlib.import_module(name).__all__
    }


def test_an_unknown_name_is_an_attribute_error():
    """A name that the package does not have raises AttributeError with both names."""
    with pytest.raises(AttributeError, match=r"bufcache.*Bufer"):
        bufcache.Bufer  # noqa: B018


def test_everything_public_is_documented():
    """Every public function, and every class with its methods and properties, has a docstring."""
    for module in map(importlib.import_module, PUBLIC_MODULES):
        assert module.__doc__
        for name in module.__all__:
            value = getattr(module, name)
            assert inspect.getdoc(value), name
            for member, content in public_members(value).items() if inspect.isclass(value) else ():
                if callable(content) or isinstance(content, (property, staticmethod, classmethod)):
                    assert inspect.getdoc(getattr(value, member)), f"{name}.{member}"


def test_every_module_says_what_it_is():
    """Every module of the package has a docstring, in one line or with one first."""
    for module in pkgutil.walk_packages(bufcache.__path__, "bufcache."):
        if not module.name.endswith("__main__"):
            documentation = importlib.import_module(module.name).__doc__
            assert documentation, module.name
            assert documentation.splitlines()[0].endswith("."), module.name


def test_the_imports_of_the_original():
    """Whoever comes from qass.tools.analyzer changes the name of the package and nothing else."""
    from bufcache.buffer_metadata_cache import Buffer, BufferMetadata, BufferMetadataCache, select
    from bufcache.buffer_parser import Buffer as ParserBuffer
    from bufcache.buffer_parser import InvalidArgumentError, InvalidFileError, filter_buffers

    assert Buffer is ParserBuffer is bufcache.Buffer
    assert (BufferMetadata, BufferMetadataCache) == (bufcache.BufferMetadata, bufcache.BufferMetadataCache)
    assert (select, filter_buffers) == (bufcache.select, bufcache.filter_buffers)
    assert (InvalidArgumentError, InvalidFileError) == (bufcache.InvalidArgumentError, bufcache.InvalidFileError)


def test_importing_the_package_does_not_import_numpy():
    """`import bufcache` is free: what it offers is imported when it is first used."""
    code = "import sys, bufcache; assert 'numpy' not in sys.modules; bufcache.Buffer; assert 'numpy' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_is_that_of_the_distribution():
    """__version__ is what was installed."""
    assert bufcache.__version__ == importlib.metadata.version("bufcache")


def test_types_are_for_others_too():
    """py.typed tells type checkers that the annotations can be relied on."""
    assert importlib.resources.files("bufcache").joinpath("py.typed").is_file()


def test_errors_are_builtin_errors_too():
    """Every error is a BufcacheError, and also the builtin error that a caller would expect."""
    for name in importlib.import_module("bufcache.errors").__all__:
        assert issubclass(getattr(bufcache, name), bufcache.BufcacheError)
    for name in ("InvalidArgumentError", "ExpressionError", "ClosedError"):
        assert issubclass(getattr(bufcache, name), ValueError)
    assert issubclass(bufcache.MissingHeaderError, KeyError)
    assert issubclass(bufcache.TruncatedFileError, bufcache.InvalidFileError)
    assert str(bufcache.MissingHeaderError("the message")) == "the message"
