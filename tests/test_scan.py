"""Scanning on its own: names and folders."""

import fnmatch
import os
import re
from itertools import product

import pytest
from samples import set_time, write_sample

from bufcache.buffer_metadata_cache.scan import describe, fingerprint, name_filter, walk


def walked(root, recursive=True):
    failures = []
    folders = list(walk(str(root), name_filter("*", ""), recursive=recursive, failures=failures))
    assert failures == []
    return folders


def test_folders_are_listed_parents_first_in_order(tmp_path):
    """A folder comes before those below it, and these in order of their names, each once."""
    for name in ("b", "a/y", "a/x"):
        (tmp_path / name).mkdir(parents=True)
    names = ["", "a", "a/x", "a/y", "b"]
    assert [folder.path for folder in walked(tmp_path)] == [os.path.normpath(tmp_path / name) for name in names]
    assert [folder.path for folder in walked(tmp_path, recursive=False)] == [str(tmp_path)]


def test_an_empty_folder_is_known_from_one_without_fitting_files(tmp_path):
    """is_empty says that there is nothing at all in a folder; another name, or a subfolder, is something."""
    for name in ("nothing", "a file", "a folder/below"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a file" / "notes.txt").write_text("")
    is_wanted = name_filter("*p*c?b*", "")
    found = {folder.path: folder for folder in walk(str(tmp_path), is_wanted, recursive=True, failures=[])}
    assert {os.path.basename(path) for path, folder in found.items() if folder.is_empty} == {"nothing", "below"}
    assert all(folder.files == {} for folder in found.values())


def test_a_fingerprint_is_made_of_whole_numbers(tmp_path):
    """Size and modification time are exact integers, before 1970 and to the nanosecond too."""
    path = write_sample(tmp_path)
    os.utime(path, ns=(0, 1_600_000_000_123_456_789))
    assert fingerprint(path) == (5072, os.stat(path).st_mtime_ns)
    set_time(path, -5)
    assert fingerprint(path) == (5072, -5 * 10**9)
    assert walked(tmp_path)[0].files == {os.path.basename(path): fingerprint(path)}


def test_what_is_no_regular_file_has_no_fingerprint(tmp_path):
    """A folder has none, and a missing file raises FileNotFoundError."""
    assert fingerprint(str(tmp_path)) is None
    with pytest.raises(FileNotFoundError):
        fingerprint(str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("glob_pattern", "regex_pattern", "name", "is_wanted"),
    [
        ("*", "", "any", True),
        ("*.[ab]", "", "x.a", True),
        ("*.[ab]", "", "x.c", False),
        ("x?", "", "x", False),
        ("x*", "", "yx", False),
        ("*", "x", "yx", False),
        ("*", ".*x", "yx", True),
        ("*", "x$", "xx", False),
        ("*", "", "with\nline", True),
        ("*", "", "Gr\udcf6\udcdfe", True),
    ],
)
def test_names_are_matched_by_both_patterns(glob_pattern, regex_pattern, name, is_wanted):
    """The glob pattern matches the whole name, the regular expression its start; any byte is a character."""
    assert bool(name_filter(glob_pattern, regex_pattern)(name)) == is_wanted


def test_an_error_is_told_in_text_that_can_be_stored():
    """An error is told by type and message, in UTF-8 even where it names a file whose name is not."""
    assert describe(ValueError("what")) == "ValueError: what"
    assert (
        describe(OSError(2, "No such file", "/x/\udcff")) == "FileNotFoundError: [Errno 2] No such file: '/x/\\udcff'"
    )


NAMES = (
    "",
    "a",
    "aa",
    "ab",
    "ba",
    "A",
    "AB",
    "ab\n",
    "a.b",
    "a b",
    "(a)",
    "Test_00001p1c0b01",
    "Test_00001p12c3b01.bak",
)
GLOBS = ("*", "a*", "*b", "?", "[ab]*", "[!a]*", "*a*b*", "*p*c?b*", "(a)", "")
REGULAR = (
    "",
    "a",
    "a|b",
    "(?i)a",
    "(?x) a # any",
    "(a|b)\\1",
    "(?P<g0>a)(?P=g0)",
    "a$",
    ".*b\\Z",
    "(?=a)",
    "[p]?.",
    "(?s:.*)",
)


@pytest.mark.parametrize(("glob_pattern", "regex_pattern"), list(product(GLOBS, REGULAR)))
def test_one_test_of_names_is_as_good_as_two(glob_pattern, regex_pattern):
    """A name is wanted if each pattern by itself matches it, whatever groups and flags they have."""
    is_wanted, matched = name_filter(glob_pattern, regex_pattern), re.compile(regex_pattern).match
    wanted = [name for name in NAMES if is_wanted(name)]
    assert wanted == [name for name in NAMES if matched(name) and fnmatch.fnmatch(name, glob_pattern)]
