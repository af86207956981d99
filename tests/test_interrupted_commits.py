"""Interrupts in the midst of a commit: the cache that was interrupted goes on with all that was committed.

As a user of a notebook does, who stops a cell and runs the next one. Python lets a signal through where functions
begin and where those of C return, and so do these tests, at every place of the package.
"""

import contextlib
import os
import sys
import zipfile

import pytest
from samples import set_time, write_sample
from syncing import sync

import bufcache
from bufcache import BufferMetadataCache
from bufcache.buffer_metadata_cache import cache as caches
from bufcache.buffer_metadata_cache.store import compaction, state
from bufcache.errors import ClosedError

HOME = os.path.dirname(bufcache.__file__) + os.sep
FILES = 24


class Places:
    """The places that a call passes where it can be interrupted: (file, line, event), and how often it does."""

    def __init__(self, module):
        self.seen = {}
        self._module = os.path.join(HOME, module.replace("/", os.sep))
        self._wanted, self._left = None, 0

    def run(self, function, wanted=None, time=0):
        """Call a function and note the places, or interrupt it at one of them."""
        self._wanted, self._left = wanted, time
        sys.setprofile(self._on_event)
        try:
            function()
        finally:
            sys.setprofile(None)

    def _on_event(self, frame, event, _):
        path = frame.f_code.co_filename
        if event not in ("call", "c_return") or not path.startswith(self._module):
            return
        place = path, frame.f_lineno, event
        if self._wanted is None:
            self.seen[place] = self.seen.get(place, 0) + 1
        elif place == self._wanted:
            self._left -= 1
            if self._left == 0:
                raise KeyboardInterrupt


@pytest.fixture
def small(monkeypatch, project):
    """Write some files, and make all that is of thousands of files be of few."""
    monkeypatch.setattr(caches, "BATCH_SIZE", FILES // 3)
    monkeypatch.setattr(state, "_SMALLEST_PART", 4)
    first = write_sample(project)
    set_time(first, 1)
    for process in range(2, FILES + 1):
        os.link(first, project / f"Test_00001p{process}c0b01")


@pytest.fixture(params=["in memory", "on disk"])
def make(request, tmp_path):
    """Make one empty cache after the other."""
    made = []

    def fresh():
        made.append(":memory:" if request.param == "in memory" else tmp_path / f"{len(made)}.bufcache")
        return BufferMetadataCache(made[-1])

    fresh.kind = request.param
    return fresh


def assert_goes_on(cache, project):
    """Assert that a cache has all that its log has, and that a synchronisation adds the rest."""
    assert cache.check() == []
    before = len(cache)
    report = sync(cache, project)
    assert (report.unchanged, report.added) == (before, FILES - before)
    assert len(set(cache.get_matching_files())) == len(cache) == FILES
    assert cache.check() == []


MODULES = ["buffer_metadata_cache/store/", "buffer_metadata_cache/parts", "buffer_metadata_cache/index"]
MODULES += ["buffer_metadata_cache/columns", "buffer_metadata_cache/intake", "buffer_metadata_cache/sync"]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # an interrupt of a generator's end
def test_a_cache_goes_on_after_an_interrupt_anywhere(make, project, monkeypatch, module):
    """Wherever a synchronisation is interrupted the same object knows all that was committed, and nothing else."""
    is_on_disk = "disk" in make.kind
    if is_on_disk:  # columns are written, too
        monkeypatch.setattr("bufcache.buffer_metadata_cache.store.database.FLUSH_SIZE", 1)
    places = Places(module)
    for _ in range(2):  # the second one loads no modules
        places.seen.clear()
        with make() as cache:
            places.run(lambda: sync(cache, project))
    assert places.seen
    for place, count in places.seen.items():
        for time in {count} if is_on_disk else {1, count}:
            with make() as cache:
                with contextlib.suppress(KeyboardInterrupt):
                    places.run(lambda: sync(cache, project), place, time)
                assert_goes_on(cache, project)


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # an interrupt of a generator's end
def test_a_cache_goes_on_after_an_interrupt_of_compact(make, project, monkeypatch):
    """Wherever the rewriting of a log is interrupted the same object and whoever opens it next know all, as before."""
    monkeypatch.setattr(compaction, "_COMMITTED", 5)
    monkeypatch.setattr(compaction, "_COMPACTED", 2)
    places = Places("buffer_metadata_cache/store/")
    for _ in range(2):  # the second one loads no modules
        places.seen.clear()
        with make() as cache:
            sync(cache, project)
            places.run(cache.compact)
    for place, count in places.seen.items():
        with make() as cache:
            sync(cache, project)
            with contextlib.suppress(KeyboardInterrupt):
                places.run(cache.compact, place, count)
            assert_goes_on(cache, project)
            cache.compact()
            assert_goes_on(cache, project)


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # an interrupt of a deletion
def test_an_interrupt_of_columns_comes_out_as_itself(make, project):
    """Wherever the writing of an archive is interrupted, no other error comes out in the place of the interrupt."""
    places = Places(zipfile.__file__)
    for _ in range(2):  # the second one loads no modules
        places.seen.clear()
        with make() as cache:
            sync(cache, project)
            places.run(cache.compact)
    assert places.seen
    for place, count in places.seen.items():
        for time in {1, count}:
            with make() as cache:
                sync(cache, project)
                with contextlib.suppress(KeyboardInterrupt):  # a finalizer keeps it to itself
                    places.run(cache.compact, place, time)
                assert_goes_on(cache, project)


@pytest.mark.usefixtures("small")
def test_what_is_torn_is_not_compacted(make, project, monkeypatch):
    """After an interrupt the log is not rewritten from a state that lacks the last commit."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(state.State, "is_mostly_dead", True)
    with make() as cache:
        with monkeypatch.context() as patched:
            patched.setattr("bufcache.buffer_metadata_cache.store.state.part_of", interrupted)
            with pytest.raises(KeyboardInterrupt):
                sync(cache, project)
        assert len(cache) == FILES // 3
        assert_goes_on(cache, project)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere open files cannot be listed")
def test_an_interrupt_of_close_lets_go_of_the_files(tmp_path, monkeypatch):
    """Where close is interrupted while it writes columns the files are closed all the same."""

    def interrupted(_):
        raise KeyboardInterrupt

    cache = BufferMetadataCache(tmp_path / "c")
    cache.db.table("buffer_metadata").insert({"process": 5})
    monkeypatch.setattr(state.State, "flush", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.close()
    with pytest.raises(ClosedError):
        len(cache)
    descriptors = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    assert not [each for each in descriptors if str(tmp_path) in os.path.realpath(each)]
