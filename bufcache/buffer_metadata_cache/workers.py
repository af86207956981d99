"""Who reads the files: this thread, several where opening one takes its time, or an executor that was given."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple

from bufcache.buffer_metadata_cache.batches import Batch, read_batch
from bufcache.buffer_metadata_cache.reading import Task
from bufcache.buffer_metadata_cache.scan import describe
from bufcache.buffer_parser import Buffer

_FIRST = 50
"""Files of the first batch of many, by which it is seen how long one takes."""

_SLOW = 1e-3
"""Seconds a file from which on several are opened at a time: a local disk takes hundredths of that."""

_THREADS = 16
_A_TASK = 250
"""Files that a worker is given at a time."""

_AHEAD = 64
"""Tasks that wait for workers."""

Given = tuple[range, Batch | str]
"""The numbers of the files of a batch, and what these say; or why no worker could tell."""


_Submit = Callable[[Sequence[Task]], Future[Batch]]


class Reader(NamedTuple):
    """How files are read.

    Attributes
    ----------
    buffer_class
        What opens them.
    clock
        How many ns the clock of the file system is ahead of that of this machine.
    batch_size
        Files that are given at a time, at most.
    executor
        Who reads them; None to decide by how long it takes.
    """

    buffer_class: type[Any]
    clock: int
    batch_size: int
    executor: Executor | None

    def read(self, files: Sequence[Task], advance: Callable[[int], object]) -> Iterator[Given]:
        """Read files and give what they say; call `advance` with how many more were read."""
        rest = range(len(files))
        if self.executor is not None:
            yield from self._distributed(files, rest, partial(self._submitted, self.executor, os.urandom(8)), advance)
            return
        if len(files) > _FIRST and self.buffer_class is Buffer:
            first, rest = rest[: min(_FIRST, self.batch_size)], rest[min(_FIRST, self.batch_size) :]
            began = time.perf_counter()
            batch = self._read(files, first, advance)
            is_slow = time.perf_counter() - began > _SLOW * len(first)
            yield first, batch
            if is_slow:
                yield from self._in_threads(files, rest, advance)
                return
        for chunk in _chunks(rest, self.batch_size):
            yield chunk, self._read(files, chunk, advance)

    @property
    def _now(self) -> int:
        return time.time_ns() + self.clock

    def _read(self, files: Sequence[Task], chunk: range, advance: Callable[[int], object]) -> Batch:
        return read_batch(files[chunk.start : chunk.stop], self.buffer_class, self._now, partial(advance, 1))

    def _in_threads(self, files: Sequence[Task], numbers: range, advance: Callable[[int], object]) -> Iterator[Given]:
        is_given_up = threading.Event()

        def go_on() -> None:
            if is_given_up.is_set():
                raise CancelledError

        def submit(some: Sequence[Task]) -> Future[Batch]:
            return threads.submit(read_batch, some, self.buffer_class, self._now, go_on)

        with ThreadPoolExecutor(_THREADS) as threads:
            try:
                yield from self._distributed(files, numbers, submit, advance)
            finally:
                is_given_up.set()  # before the threads are waited for

    def _distributed(
        self, files: Sequence[Task], numbers: range, submit: _Submit, advance: Callable[[int], object]
    ) -> Iterator[Given]:
        """Give batches as they come."""
        chunks = _chunks(numbers, min(self.batch_size, _A_TASK))
        waiting: dict[Future[Batch], range] = {}
        done: SimpleQueue[Future[Batch]] = SimpleQueue()  # concurrent.futures.wait misses those that others cancel
        try:
            while True:
                while len(waiting) < _AHEAD and (chunk := next(chunks, None)) is not None:
                    future = submit(files[chunk.start : chunk.stop])
                    waiting[future] = chunk
                    future.add_done_callback(done.put)
                if not waiting:
                    return
                future = done.get()
                chunk = waiting.pop(future)
                yield chunk, _result(future)
                advance(len(chunk))
        finally:
            for future in waiting:
                future.cancel()

    def _submitted(self, executor: Executor, run: bytes, files: Sequence[Task]) -> Future[Batch]:
        try:
            return executor.submit(_read_in_run, run, files, self.buffer_class, self._now)
        except Exception as error:  # its workers died, or it was shut down
            failed: Future[Batch] = Future()
            failed.set_exception(error)
            return failed


def _read_in_run(run: bytes, files: Sequence[Task], buffer_class: type[Any], began: int) -> Batch:
    """Read files in a run of its own: Dask gives what it still has for a call with the same arguments."""
    return read_batch(files, buffer_class, began)


def _result(future: Future[Batch]) -> Batch | str:
    try:
        return future.result()
    except Exception as error:  # of the worker, or of the way to it
        return describe(error)


def _chunks(numbers: range, size: int) -> Iterator[range]:
    return (numbers[start : start + size] for start in range(0, len(numbers), size))
