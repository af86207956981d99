"""The documentation says what the code does: its tables, its names, its examples of bytes."""

import contextlib
import io
import json
import os
import re
from inspect import getdoc
from pathlib import Path
from pkgutil import resolve_name
from textwrap import dedent
from types import ModuleType

import pytest
from stores import InMemory

import bufcache
from bufcache import Buffer, BufferMetadata, MissingHeaderError
from bufcache.buffer_metadata_cache.store import log
from bufcache.buffer_parser.layout import BLOCK_HEADER, FILE_HEADER
from bufcache.cli import main
from bufcache.testing import write_buffer

DOCS = Path(__file__).parents[1] / "docs"


def page(name):
    """Return the text of a page."""
    return (DOCS / name).read_text("utf-8")


def table(name, heading):
    """Return the rows of the first table below a heading, without its head: a list of cells each."""
    text = page(name).split(f"\n{heading}\n", 1)[1]
    found = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[0].splitlines()]
    return rows[2:]


def quoted(cell):
    """Return what stands in backticks."""
    return [text.strip() for text in re.findall(r"(`+)(.+?)\1", cell) for text in text[1:]]


# -- the file format ------------------------------------------------------------------------------------------------

SURE = {"confirmed", "inferred", "unknown"}
PROPERTIES = {quoted(name)[0]: rest for name, *rest in table("file-format.md", "## Properties of a Buffer")}
SIMPLE = {
    name: (quoted(source)[0], missing)
    for name, (source, missing, *_) in PROPERTIES.items()
    if source.startswith("`") and len(quoted(source)) == 1 and quoted(source)[0] in FILE_HEADER
}
"""Properties that are read from one key: that key, and what they are where it is missing."""
AS_CODE = {"var": str, "hex4": "{:08x}".format}


@pytest.mark.parametrize(
    ("heading", "layout"), [("### Keys of the file header", FILE_HEADER), ("## Block headers", BLOCK_HEADER)]
)
def test_the_tables_of_keys(heading, layout):
    """The page on the format has every key of the layout, with its type, unit and meaning, and how sure these are."""
    rows = table("file-format.md", heading)
    documented = {key.strip("` "): (code, meaning, unit) for key, code, unit, meaning, _ in rows}
    assert list(documented.items()) == [(key, tuple(entry)) for key, entry in layout.items()]
    assert {sure for *_, sure in rows} == SURE


def test_every_property_of_a_buffer_is_documented():
    """The page on the format has every public property of Buffer, with the header keys that its docstring names."""
    public = {name for name in dir(Buffer) if not name.startswith("_") and isinstance(getattr(Buffer, name), property)}
    assert set(PROPERTIES) == public
    for name, (source, _, _, sure) in PROPERTIES.items():
        named = set(re.findall(r"``(\w+)``", getdoc(getattr(Buffer, name))))
        assert set(quoted(source)) & FILE_HEADER.keys() == named & FILE_HEADER.keys(), name
        assert sure in SURE | {""}, name


@pytest.mark.parametrize("name", SIMPLE)
def test_properties_follow_their_keys(name, tmp_path):
    """A property with one key has a value for each value of it, and where the key is missing what the page says."""
    key, missing = SIMPLE[name]

    def value(given):
        return getattr(Buffer(write_buffer(tmp_path / "Test_00001p1c0b01", {key: given})), name)

    values = [value(AS_CODE.get(FILE_HEADER[key].code, int)(number)) for number in (3, 4)]
    if missing == "error":
        with pytest.raises(MissingHeaderError, match=key):
            value(None)
    else:
        values.append(value(None))
        assert (getattr(values[-1], "name", None) or str(values[-1]) or "empty text") == missing
    assert len(set(values)) == len(values)


# -- the cache ------------------------------------------------------------------------------------------------------


def test_the_table_of_fields():
    """The page on queries has every field of BufferMetadata, in order, with its meaning."""
    documented = [(quoted(name)[0], meaning) for name, _, meaning in table("queries.md", "## Fields")]
    assert documented == [(name, field.meaning) for name, field in BufferMetadata.__fields__.items()]


@pytest.mark.parametrize("text", [page("store.md"), log.__doc__], ids=["store.md", "log.py"])
def test_the_example_of_a_log(text, monkeypatch):
    """The log that the documentation shows is, byte for byte, what is written for its documents and its salt."""
    shown = dedent(re.search(r'(?:^    [{\[]".*\n)+', text, re.MULTILINE)[0])
    salt = re.search(r'"salt":"(\w+)"', shown)[1]
    monkeypatch.setattr(os, "urandom", lambda size: bytes.fromhex(salt))
    place = InMemory()
    written = log.Log(place.files())
    assert list(written.read_on()) == []
    lines = shown.splitlines()[2:]
    written.append([line.encode() for line in lines], largest=max(json.loads(line)[1] for line in lines))
    assert place.read_log().decode() == shown


# -- the interface --------------------------------------------------------------------------------------------------


def test_every_public_name_is_in_the_reference():
    """The reference names everything that the package offers, and means the object and not a module of its name."""
    shown = []
    for name in re.findall(r"^::: (\S+)$", page("reference.md"), re.MULTILINE):
        target = resolve_name(name)
        is_module = isinstance(target, ModuleType)
        shown += [getattr(target, public) for public in target.__all__] if is_module else [target]
    for name in bufcache.__all__:
        assert any(getattr(bufcache, name) is target for target in shown), name


def helped(*arguments):
    """Return what a command prints as its help."""
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        main([*arguments, "--help"])
    return printed.getvalue()


def test_every_command_and_option_is_documented():
    """The page on the command line names every command, and every option in each of its spellings."""
    documented = page("command-line.md")
    commands = re.findall(r"^    (\w+) ", helped(), re.MULTILINE)
    assert {"sync", "find", "info", "demo"} <= set(commands)
    for command in commands:
        assert f"`bufcache {command}" in documented
    for option in re.findall(r"(?<![\w-])-[\w-]+", "".join(map(helped, commands)) + helped()):
        assert option == "-h" or re.search(rf"(?<![\w-]){option}(?![\w-])", documented), option


# -- guarantees -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("promise", "tests"), table("guarantees.md", "## What is promised"), ids=lambda cell: cell.replace("*", "")[:40]
)
def test_each_promise_names_tests_that_there_are(promise, tests):
    """Each promise names at least one test, and each test that is named exists."""
    named = re.findall(r"`(test_\w+\.py)::(\w+)`", tests)
    assert named
    for file, name in named:
        text = (Path(__file__).parent / file).read_text("utf-8")
        assert re.search(rf"^(def {name}\(|{name} = )", text, re.MULTILINE), f"{promise}: {file} has no {name}"
