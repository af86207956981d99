"""Who reads the files: executors of all kinds, and threads where opening a file takes long."""

import multiprocessing
import os
import threading
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from odd_buffers import DeadlyBuffer, WaitingBuffer, stop_clock
from samples import buffer_class, set_time, write_broken, write_other, write_sample, write_samples
from scenarios import SCENARIOS
from syncing import counts, paths_of, sync, told

from bufcache import BufferMetadata as BM
from bufcache import BufferMetadataCache
from bufcache.buffer_metadata_cache import batches, workers
from bufcache.buffer_metadata_cache.store.database import Database
from bufcache.buffer_parser import Buffer


def of_processes():
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def processes():
    with of_processes() as executor:
        yield executor


@pytest.fixture(scope="module")
def dask_client(tmp_path_factory):
    """Start a scheduler and two worker processes."""
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    import dask

    config = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.comm.timeouts.connect": "3s",  # to a worker that has just died
        "temporary-directory": str(tmp_path_factory.mktemp("dask")),
    }
    with (
        dask.config.set(config),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def dask_executor(dask_client):
    return dask_client.get_executor()


@pytest.fixture(params=["threads", "processes", "dask_executor"])
def executor(request):
    """Give an executor of each kind."""
    return request.getfixturevalue(request.param)


def write_tree(folder):
    """Write good files and bad ones, several layouts, and a name that is not UTF-8 where there can be one."""
    for number, scenario in enumerate(SCENARIOS):
        scenario.write(folder / f"{scenario.name}_p{number}c0b01")
    write_samples(folder, 20)
    write_broken(folder, 21)
    write_other(folder, 22)
    if os.name != "nt":
        os.rename(write_sample(folder, 23), os.fsencode(folder) + b"/T\xe4st_00001p23c0b01")


def content(cache):
    """Return all entries without their ids, by their paths."""
    found = {entry.filepath: entry for entry in cache.get_matching_metadata()}
    for entry in found.values():
        entry.id = None
    return found


# -- executors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Buffer, WaitingBuffer])
def test_an_executor_gives_what_one_thread_gives(open_cache, project, executor, kind):
    """Entries and report are those of a run without it, for folders and for single files, however often."""
    write_tree(project)
    (project / "gate").touch()
    alone, cache, files = (open_cache(kind) for _ in range(3))
    expected = sync(alone, project)
    given = sorted(project.glob("*p*c?b*"))
    assert told(sync(cache, project, executor=executor)) == told(expected)
    assert told(files.add_files_to_cache(given, batch_size=7, executor=executor)) == told(expected)
    assert content(cache) == content(files) == content(alone)
    assert len(cache) > 100
    assert sorted(cache.distinct(BM.id)) == list(range(1, len(cache) + 1))
    expected = sync(alone, project, verify=True)
    assert told(sync(cache, project, executor=executor, verify=True)) == told(expected)
    assert told(files.add_files_to_cache(given, executor=executor)) == told(expected)


class Keeping(Executor):
    """Keeps the results of an executor, with which Dask keeps them, too, for whoever calls with the same arguments."""

    def __init__(self, executor):
        self._executor = executor
        self._results = []

    def submit(self, *call):
        self._results.append(self._executor.submit(*call))
        return self._results[-1]


def test_an_executor_is_asked_anew_each_time(cache, project, executor):
    """What a worker said of a file that was the same by its fingerprint is never taken for what it says now."""
    executor = Keeping(executor)
    paths = write_samples(project, 3)
    for path in paths:
        set_time(path, 10**9)
    sync(cache, project, executor=executor)
    assert counts(sync(cache, project, executor=executor, verify=True)) == {"unchanged": 3}
    for project_id in (5, 6):
        write_sample(project, 2, proj__id=project_id)
        set_time(paths[1], 10**9)
        assert counts(sync(cache, project, executor=executor, verify=True)) == {"changed": 1, "unchanged": 2}
        assert cache.get_matching_files(BM.project_id == project_id) == [paths[1]]


def test_an_executor_finds_moved_files(cache, project, executor):
    """Moved, changed and new files are what they are whoever reads them, and a dry run says so before."""
    paths = write_samples(project, 4)
    for path in paths:
        set_time(path, 10**9)
    sync(cache, project)
    os.rename(paths[0], project / "Other_00001p1c0b01")
    set_time(paths[1], 5)
    write_sample(project, 9)
    dry = sync(cache, project, executor=executor, dry_run=True, delete_stale_entries=True)
    assert counts(dry) == {"moved": 1, "changed": 1, "added": 1, "unchanged": 2}
    assert paths_of(cache) == paths
    assert told(sync(cache, project, executor=executor, delete_stale_entries=True)) == told(dry)
    assert sorted(cache.distinct(BM.id)) == [1, 2, 3, 4, 5]


def test_results_are_committed_as_they_come(project, tmp_path, executor):
    """Others see what was read while some of it is still being read."""
    paths = [write_sample(project, process) for process in range(11, 23)]
    seen = []

    def look():
        with BufferMetadataCache(tmp_path / "c", read_only=True) as reader:
            end = time.monotonic() + 60
            while len(reader) < 10 and time.monotonic() < end:
                time.sleep(0.01)
            seen.append(len(reader))
        (project / "gate").touch()  # for which the last two files wait

    with BufferMetadataCache(tmp_path / "c", WaitingBuffer) as cache:
        looking = threading.Thread(target=look)
        looking.start()
        report = cache.add_files_to_cache(paths, batch_size=1, executor=executor)
        looking.join()
        assert (counts(report), report.failed, seen) == ({"added": 12}, [], [10])
        assert cache.check() == []


def test_the_bar_moves_with_what_comes(cache, project, threads, capsys):
    """The progress bar reaches its end, with an executor too, whether or not it can be used."""
    paths = write_samples(project, 5)
    cache.add_files_to_cache(paths, verbose=1, batch_size=2, executor=threads)
    assert "5/5" in capsys.readouterr().err
    cache.add_files_to_cache(paths, verbose=1, batch_size=2, check_synced=False, executor=shut_down(threads=1))
    assert "5/5" in capsys.readouterr().err


# -- executors that fail ------------------------------------------------------------------------------------------


def within(seconds, function):
    """Call a function in a thread, and fail where it does not return in time."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert results, "it hangs, or raised"
    return results[0]


@pytest.fixture
def mortal_processes():
    with of_processes() as executor:
        yield executor


@pytest.mark.parametrize("kind", ["mortal_processes", "dask_executor"])
def test_a_worker_that_dies(project, request, kind):
    """The files that it had are told with the reason, and nothing waits for them."""
    executor = request.getfixturevalue(kind)
    paths = write_samples(project, 20)
    with BufferMetadataCache(":memory:", DeadlyBuffer) as cache:
        report = within(120, lambda: cache.add_files_to_cache(paths, batch_size=1, executor=executor))
        errors = dict(report.failed)
        assert paths[12] in errors
        assert report.added == len(cache) == 20 - len(errors)
        assert set(paths_of(cache)) | errors.keys() == set(paths)
        assert all(error.startswith(("BrokenProcessPool: ", "KilledWorker: ")) for error in errors.values())


def test_files_of_a_dead_worker_are_read_by_the_next_run(project, tmp_path):
    """No entry says that a file could not be read where it was the worker that failed."""
    paths = write_samples(project, 20)
    for path in paths:
        set_time(path, 1)
    with of_processes() as executor, BufferMetadataCache(tmp_path / "c", DeadlyBuffer) as cache:
        cache.add_files_to_cache(paths[:5])
        report = within(60, lambda: sync(cache, project, executor=executor))
        failed = len(report.failed)
        assert (report.unchanged, paths[12] in dict(report.failed)) == (5, True)
        assert cache.count("opening_error is not None") == 0
        assert len(cache) == 20 - failed
    with BufferMetadataCache(tmp_path / "c") as cache:
        assert counts(sync(cache, project)) == {"added": failed, "unchanged": 20 - failed}
        assert cache.check() == []


def shut_down(**kind):
    executor = ThreadPoolExecutor(1) if "threads" in kind else of_processes()
    executor.shutdown()
    return executor


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_executor_that_was_shut_down(cache, project, kind):
    """Every file is told with the reason; entries stay as they were."""
    paths = write_samples(project, 3)
    cache.add_files_to_cache(paths[:1])
    before = cache.get_matching_metadata()
    set_time(paths[0], 5)
    report = sync(cache, project, executor=shut_down(**{kind: 1}))
    assert (counts(report), [failure.path for failure in report.failed]) == ({}, paths)
    assert {failure.error for failure in report.failed} == {
        "RuntimeError: cannot schedule new futures after shutdown",
    }
    assert cache.get_matching_metadata() == before
    assert counts(sync(cache, project)) == {"added": 2, "changed": 1}


def test_an_executor_that_is_shut_down_meanwhile(open_cache, project):
    """What was taken from it is told as any failure, and not waited for."""
    executor = ThreadPoolExecutor(1)
    cache = open_cache(buffer_class(lambda path: executor.shutdown(wait=False, cancel_futures=True)))
    paths = write_samples(project, 10)
    report = within(60, lambda: cache.add_files_to_cache(paths, batch_size=1, executor=executor))
    assert (counts(report), sorted(failure.path for failure in report.failed)) == ({"added": 1}, sorted(paths)[1:])
    assert {failure.error.split(":")[0] for failure in report.failed} <= {"CancelledError", "RuntimeError"}
    assert counts(sync(open_cache(), project)) == {"added": 10}


def test_a_class_that_cannot_be_pickled(open_cache, project, processes):
    """It cannot get to another process: every file is told with that reason, and none is marked as unreadable."""
    cache = open_cache(buffer_class(str))
    paths = write_samples(project, 3)
    report = within(60, lambda: sync(cache, project, executor=processes))
    assert (counts(report), [failure.path for failure in report.failed]) == ({}, paths)
    assert all("pickle" in failure.error and "HookedBuffer" in failure.error for failure in report.failed)
    assert len(cache) == 0
    assert counts(sync(cache, project, executor=None)) == {"added": 3}


@pytest.mark.parametrize("kind", [Buffer, WaitingBuffer])
def test_the_clock_of_a_worker_is_of_no_account(open_cache, project, kind):
    """Which files are too new is told by the clock of the files, whatever time a worker thinks it is."""
    cache = open_cache(kind)
    old, _ = write_samples(project, 2)
    set_time(old, 10**9)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=stop_clock) as executor:
        assert counts(sync(cache, project, executor=executor)) == {"added": 2}
    assert [entry.is_racy for entry in cache.get_matching_metadata()] == [None, True]


# -- threads where opening takes long -----------------------------------------------------------------------------


class Opened:
    """Opening in the place of os.open: slow, and noting how many files of a folder are being opened at once."""

    def __init__(self, folder):
        self._start = f"{folder}{os.sep}"
        self._open = os.open
        self._lock = threading.Lock()
        self._met = threading.Event()
        self._now = 0
        self.most_at_once = 0
        self.count = 0

    def __call__(self, path, *arguments, **options):
        if not str(path).startswith(self._start):
            return self._open(path, *arguments, **options)
        with self._lock:
            self.count += 1
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            is_of_the_first = self.count <= 50
        if is_of_the_first:
            time.sleep(0.002)
        elif self.most_at_once < 4 and not self._met.wait(5):
            self._met.set()  # who is alone goes on without waiting again
        if self.most_at_once >= 4:
            self._met.set()
        with self._lock:
            self._now -= 1
        return self._open(path, *arguments, **options)


def test_slow_files_are_opened_several_at_a_time(open_cache, project, monkeypatch):
    """Where the first files take longer than a fast disk does, the rest is opened by threads, with the same result."""
    monkeypatch.setattr(workers, "_A_TASK", 10)
    paths = write_samples(project, 130)
    os.truncate(paths[99], 1000)
    alone, cache = open_cache(), open_cache()
    expected = sync(alone, project)
    opened = Opened(project)
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", opened)
        report = sync(cache, project)
    assert opened.count >= 130
    assert opened.most_at_once >= 4
    assert told(report) == told(expected)
    assert content(cache) == content(alone)


@pytest.fixture
def pools(monkeypatch):
    """Give the list of the pools of threads that are made, and a clock that only goes when it is told to."""
    made, now = [], [0.0]

    def pool(count):
        made.append(count)
        return ThreadPoolExecutor(count)

    def go(seconds):
        now[0] += seconds

    monkeypatch.setattr(workers, "ThreadPoolExecutor", pool)
    monkeypatch.setattr(workers, "time", SimpleNamespace(perf_counter=lambda: now[0], time_ns=time.time_ns))
    return made, go


@pytest.mark.parametrize(("seconds", "is_slow"), [(20e-6, False), (0.9e-3, False), (1.1e-3, True), (0.1, True)])
@pytest.mark.parametrize("files", [40, 60])
def test_threads_are_for_slow_files_only(cache, project, monkeypatch, pools, *, seconds, is_slow, files):
    """There are threads from 1 ms a file on, where there are more than the first 50; on a fast disk there are none."""
    made, go = pools
    read_start = batches._read_start
    monkeypatch.setattr(batches, "_read_start", lambda *arguments: [go(seconds), read_start(*arguments)][1])
    write_samples(project, files)
    assert counts(sync(cache, project)) == {"added": files}
    assert len(made) == (is_slow and files > 50)


def test_a_slow_commit_is_no_slow_file(cache, project, monkeypatch, pools):
    """What the cache's own disk takes to write does not count."""
    made, go = pools
    commit = Database.commit_batch
    monkeypatch.setattr(Database, "commit_batch", lambda *arguments: [go(100), commit(*arguments)][1])
    write_samples(project, 60)
    assert counts(sync(cache, project)) == {"added": 60}
    assert made == []


def test_another_class_is_used_in_one_thread(open_cache, project, pools):
    """A class of one's own need not be made for several threads: it is used in them only where an executor says so."""
    made, go = pools
    used = set()

    def on_open(path):
        go(1)
        used.add(threading.current_thread())

    write_samples(project, 60)
    assert counts(sync(open_cache(buffer_class(on_open)), project)) == {"added": 60}
    assert (made, used) == ([], {threading.current_thread()})


def test_workers_are_given_several_files_a_task_and_few_tasks_ahead(cache, project, monkeypatch):
    """A task has many files, and no more tasks wait than workers soon come to."""
    monkeypatch.setattr(workers, "_A_TASK", 5)
    monkeypatch.setattr(workers, "_AHEAD", 3)
    sizes, open_tasks = [], []
    commit = Database.commit_batch

    class Counting(ThreadPoolExecutor):
        def submit(self, function, run, files, *arguments):
            sizes.append(len(files))
            open_tasks.append(open_tasks[-1] + 1 if open_tasks else 1)
            return super().submit(function, run, files, *arguments)

    def commit_batch(*arguments):
        open_tasks.append(open_tasks[-1] - 1)
        commit(*arguments)

    monkeypatch.setattr(Database, "commit_batch", commit_batch)
    write_samples(project, 52)
    with Counting(2) as executor:
        assert counts(sync(cache, project, executor=executor)) == {"added": 52}
    assert sizes == [5] * 10 + [2]
    assert max(open_tasks) == 3
