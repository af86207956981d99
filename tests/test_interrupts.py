"""Ctrl-C, as a real signal to a real process, in a long synchronisation."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from samples import set_time, write_sample
from syncing import counts, paths_of, sync

from bufcache import BufferMetadataCache

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")

PROGRAM = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from bufcache import BufferMetadataCache
from bufcache.buffer_metadata_cache import batches, cache as caches, workers
from odd_buffers import WaitingBuffer

def read_start(path, fingerprint):  # as on a slow share
    with WaitingBuffer(path):
        return before(path, fingerprint)

if __name__ == "__main__":
    folder, path, kind = sys.argv[1:]
    caches.BATCH_SIZE = 5
    buffer_class, executor = WaitingBuffer, None
    if kind == "slow files":
        buffer_class, workers._FIRST, workers._SLOW, workers._A_TASK, workers._THREADS = caches.Buffer, 5, -1, 5, 2
        before, batches._read_start = batches._read_start, read_start
    if kind == "threads":
        executor = ThreadPoolExecutor(2)
    if kind == "processes":
        executor = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))
    if executor:
        caches.BATCH_SIZE = 1
    with executor or nullcontext(), BufferMetadataCache(path, buffer_class) as cache:
        try:
            cache.synchronize_directory(folder, verbose=0, executor=executor)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            raise
"""


@pytest.fixture
def files(project):
    """Write 60 files, of which the first ten can be read and the others wait for a gate."""
    paths = [write_sample(project, process) for process in range(11, 71)]
    for path in paths:
        set_time(path, 10**9)
    return paths


def wait_until_committed(path, count, process):
    """Wait until a cache that is being made has entries."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if list(Path(path).glob("documents-*")):
            with BufferMetadataCache(path, read_only=True) as reader:
                if len(reader) >= count:
                    return
        time.sleep(0.02)
    raise AssertionError(f"no {count} entries; exit code {process.poll()}")


def start(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path)])}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


@pytest.mark.parametrize(
    ("kind", "send"),
    [
        ("one thread", os.kill),
        ("slow files", os.kill),
        ("threads", os.kill),
        ("processes", os.kill),
        ("processes", os.killpg),  # as Ctrl-C in a terminal does
    ],
)
def test_an_interrupt_keeps_what_was_committed(project, tmp_path, files, kind, send):
    """What was committed stays, waiting work is given up, the process ends, and the next run goes on."""
    path, program = tmp_path / "c", tmp_path / "program.py"
    program.write_text(PROGRAM)
    with start(program, project, path, kind) as process:
        try:
            wait_until_committed(path, 10, process)
            send(process.pid, signal.SIGINT)
            if kind != "slow files":
                assert process.stdout.readline() == "interrupted\n"
            (project / "gate").touch()  # what has begun may end
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT, errors
    assert len((project / "opened").read_text()) <= 10 + 2 + 3  # workers, and tasks that were on their way to them
    with BufferMetadataCache(path, lock_timeout=0) as cache:
        assert paths_of(cache) == files[:10]
        assert cache.check() == []
        assert counts(sync(cache, project)) == {"added": 50, "unchanged": 10}
