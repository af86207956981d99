"""Paths of this machine and of others."""

import os

import pytest

from bufcache.buffer_metadata_cache import paths

posix_only = pytest.mark.skipif(os.name == "nt", reason="what is foreign there is at home here")


def test_a_path_of_this_machine_is_made_absolute(tmp_path, monkeypatch):
    """A relative path counts from the working folder, and . and .. are resolved in text."""
    monkeypatch.chdir(tmp_path)
    assert paths.absolute("a") == paths.absolute(os.path.join("b", "..", "a", ".")) == str(tmp_path / "a")
    assert paths.absolute(tmp_path / "a") == str(tmp_path / "a")


@posix_only
@pytest.mark.parametrize("slashes", ["//", "///"])
def test_slashes_at_the_beginning_are_one(slashes):
    """A path is the same file with any number of slashes before it, and has one entry."""
    assert paths.absolute(slashes + "tmp/x") == "/tmp/x"


@posix_only
@pytest.mark.parametrize("path", ["C:\\data\\x", "\\\\server\\share\\x", "C:/data/x"])
def test_a_path_of_another_system_stays_there(path):
    """A path that is absolute on Windows is no relative path here; only its separators are made those of Windows."""
    assert paths.absolute(path) == path.replace("/", "\\")
    assert paths.absolute(path + "\\.\\y\\..") == path.replace("/", "\\")


@pytest.mark.parametrize(
    ("folder", "name", "path"),
    [
        ("/data", "x", "/data/x"),
        ("/", "x", "/x"),
        ("/data", "a\\b", "/data/a\\b"),
        ("C:\\data", "x", "C:\\data\\x"),
        ("C:\\", "x", "C:\\x"),
        ("\\\\server\\share", "x", "\\\\server\\share\\x"),
    ],
)
def test_folder_and_name_make_a_path(folder, name, path):
    """A folder and a name are joined as their own system does, and split again into the same."""
    assert paths.join(folder, name) == path
    if folder != "\\\\server\\share":  # as Windows has it: the root of a share ends in a separator
        assert paths.split(path) == (folder, name)


@pytest.mark.parametrize(
    ("path", "folder", "is_below"),
    [
        ("/data", "/data", True),
        ("/data/a/b", "/data", True),
        ("/data2", "/data", False),
        ("/data", "/data/a", False),
        ("/data", "/", True),
        ("C:\\data\\a", "C:\\data", True),
        ("C:\\data2", "C:\\data", False),
        ("C:\\data", "C:\\", True),
        ("/data", "C:\\", False),
    ],
)
def test_what_is_below_a_folder(path, folder, is_below):
    """A folder is below itself; a name that only begins alike is not below."""
    assert paths.is_below(path, folder) == is_below
