"""What all tests share."""

import os

import pytest
from hypothesis import settings
from stores import InMemory, OnDisk

from bufcache import BufferMetadataCache
from bufcache.buffer_parser import Buffer

settings.register_profile("default", derandomize=True, deadline=None)
settings.register_profile("deep", max_examples=5000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("BUFCACHE_HYPOTHESIS_PROFILE", "default"))


@pytest.fixture
def project(tmp_path):
    """Make an empty folder for buffer files."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture(params=["in memory", "on disk"])
def open_cache(request, tmp_path):
    """Make caches, in memory or on disk; they are sound at the end."""
    opened = []

    def make(Buffer_cls=Buffer):
        path = ":memory:" if request.param == "in memory" else tmp_path / f"{len(opened)}.bufcache"
        opened.append(BufferMetadataCache(path, Buffer_cls))
        return opened[-1]

    yield make
    for cache in opened:
        assert cache.check() == []
        cache.close()


@pytest.fixture
def cache(open_cache):
    """Make an empty cache, in memory or on disk."""
    return open_cache()


@pytest.fixture(params=["in memory", "on disk"])
def place(request, tmp_path):
    """Where a store can be."""
    return InMemory() if request.param == "in memory" else OnDisk(tmp_path / "store")
