"""A cache between threads, forks and users that may not write: who may do what, and who waits for whom."""

import os
import signal
import sys
import threading

import pytest
from forks import for_all_users, forking, in_a_fork
from samples import buffer_class, set_time, write_samples

from bufcache import BufferMetadata as BM
from bufcache import BufferMetadataCache
from bufcache.errors import CacheLockedError

# -- threads ------------------------------------------------------------------------------------------------------


def test_threads_ask_while_another_synchronises(project, tmp_path):
    """A question waits for no synchronisation: it is answered with what was committed."""
    files = write_samples(project, 4)
    answers = []

    def ask(path):
        thread = threading.Thread(target=lambda: answers.append(cache.get_matching_files()))
        thread.start()
        thread.join(timeout=60)
        assert not thread.is_alive()

    with BufferMetadataCache(tmp_path / "c", buffer_class(ask)) as cache:
        cache.add_files_to_cache(files, batch_size=2)
        assert answers == [[], [], files[:2], files[:2]]


def test_threads_that_synchronise_wait_for_each_other(project, tmp_path):
    """Two synchronisations at once through one cache read each file once."""
    files = write_samples(project, 4)
    for path in files:
        set_time(path, 10**9)
    opened = []
    began = threading.Event()

    def on_open(path):
        opened.append(path)
        began.set()

    with BufferMetadataCache(tmp_path / "c", buffer_class(on_open)) as cache:
        other = threading.Thread(target=lambda: began.wait(60) and cache.add_files_to_cache(files))
        other.start()
        cache.add_files_to_cache(files)
        other.join()
        assert list(map(str, opened)) == files
        assert cache.get_matching_files() == files


# -- forks --------------------------------------------------------------------------------------------------------


@forking
def test_a_fork_reads_and_writes(project, tmp_path):
    """A cache that is open when a process forks is usable in both."""
    files = write_samples(project, 3)
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.add_files_to_cache(files[:1])
        assert in_a_fork(cache.get_matching_files) == str(files[:1])
        assert in_a_fork(lambda: cache.add_files_to_cache(files[:2]).added) == "1"
        assert cache.add_files_to_cache(files).added == 1
        assert cache.get_matching_files() == files
        assert cache.check() == []


@forking
def test_a_fork_does_not_inherit_the_right_to_write(project, tmp_path):
    """What forks while it is writing stays the only one who may, whatever becomes of the fork."""
    files = write_samples(project, 2)
    told = []

    def on_open(path):
        told.append(in_a_fork(try_to_write))
        told.append(in_a_fork(cache.get_matching_files))
        told.append(in_a_fork(cache.close))
        with BufferMetadataCache(tmp_path / "c", lock_timeout=0) as other, pytest.raises(CacheLockedError):
            other.remove_files_from_cache(files)

    def try_to_write():
        with pytest.raises(CacheLockedError) as refused:
            cache.remove_files_from_cache(files)
        return f"process {os.getppid()} on host" in str(refused.value)

    with BufferMetadataCache(tmp_path / "c", buffer_class(on_open), lock_timeout=0) as cache:
        cache.add_files_to_cache(files, batch_size=1)
        assert told == ["True", "[]", "None", "True", str(files[:1]), "None"]
        assert cache.get_matching_files() == files


@forking
def test_a_fork_while_another_thread_holds_the_cache(project, tmp_path):
    """A fork is not stuck with what a thread of its parent held."""
    files = write_samples(project, 1)
    inside, done = threading.Event(), threading.Event()

    def hold():
        with cache._database.reading():
            inside.set()
            done.wait(60)

    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.add_files_to_cache(files)
        thread = threading.Thread(target=hold)
        thread.start()
        inside.wait(60)
        assert in_a_fork(cache.get_matching_files) == str(files)
        done.set()
        thread.join()


@forking
def test_a_killed_writer_whose_fork_lives(project, tmp_path):
    """The right to write ends with the process that has it, even where a fork of it lives on."""
    files = write_samples(project, 1)
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        with BufferMetadataCache(tmp_path / "c")._database.writing():
            fork = os.fork()
            if fork:
                os.write(writing, b"%d" % fork)
            signal.pause()
    fork = int(os.read(reading, 20))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    try:
        with BufferMetadataCache(tmp_path / "c", lock_timeout=5) as cache:
            assert cache.add_files_to_cache(files).added == 1
    finally:
        os.kill(fork, signal.SIGKILL)
        os.close(reading)
        os.close(writing)


# -- users that may not write -------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_a_folder_that_may_not_be_written_to(project):
    """Whoever may only read has all answers, and is told where and why a change is not possible."""
    files = write_samples(project, 3)

    def use():
        if os.geteuid() == 0:
            os.setuid(65534)
        with BufferMetadataCache(path) as cache:
            assert cache.get_matching_files(BM.process > 1) == files[1:]
            assert cache.check() == []
            with pytest.raises(PermissionError, match=rf"can only be read: '{path}'"):
                cache.remove_files_from_cache(files)
        with BufferMetadataCache(path, read_only=True) as reader:
            return reader.count()

    with for_all_users() as folder:
        path = folder / "c"
        with BufferMetadataCache(path) as cache:
            cache.add_files_to_cache(files)
        (path / "lock").unlink(missing_ok=True)
        before = sorted(path.rglob("*"))
        os.chmod(path, 0o555)
        try:
            assert in_a_fork(use) == "3"
            assert sorted(path.rglob("*")) == before
        finally:
            os.chmod(path, 0o755)
