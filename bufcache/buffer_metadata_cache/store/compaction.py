"""Compaction: a log written anew without what no longer holds, and a store that is damaged with all that is sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bufcache.buffer_metadata_cache.columns import Rows
from bufcache.buffer_metadata_cache.parts import Content, Part, Places, Schemas, merged, part_of, placed
from bufcache.buffer_metadata_cache.store import segments
from bufcache.buffer_metadata_cache.store.files import Files
from bufcache.buffer_metadata_cache.store.log import Log, encode
from bufcache.buffer_metadata_cache.store.salvage import rebuilt
from bufcache.buffer_metadata_cache.store.segments import Range
from bufcache.buffer_metadata_cache.store.state import UNKNOWN, State

_COMMITTED = 1000
_COMPACTED = 8
"""Documents a commit, and commits a write, of a log that is rewritten."""

_AT_ONCE = 8 << 20
"""Bytes of documents in memory at a time, unless one alone is larger."""


def mended(files: Files, schemas: Schemas) -> tuple[State, list[str]]:
    """Write the segments anew and, where the log itself is damaged, that too, with what can be trusted.

    Returns
    -------
    The new state, and what was lost.
    """
    from_log = State(files, schemas, uses_segments=False)
    state = State(files, schemas)
    if from_log.log.damage or from_log.log.position != state.log.position:
        state.verify()
        rewriting = Rewriting(files, schemas, state)
        rewriting.write()
        return rewriting.finish(), state.log.damage
    from_log.log.prepare()  # cuts off what is of no whole commit
    from_log.flush()
    return from_log, []


class Rewriting:
    """Writes what a state holds into a new log, and the columns of it, which are known but for the places of lines.

    The state is looked at when this is made, and when it is finished; others may read it while this is written. It must
    not be committed to meanwhile.

    Parameters
    ----------
    files
        Where the logs are.
    schemas
        The fields of the documents of each table that has any.
    state
        What is to be written.
    """

    def __init__(self, files: Files, schemas: Schemas, state: State) -> None:
        state.log.prepare()
        self._files = files
        self._schemas = schemas
        self._old = state.log
        self._held = state.contents()
        self._largest = {table: max(index.largest_id, state.lost_up_to) for table, index in state.tables.items()}
        self._largest[UNKNOWN] = state.lost_up_to
        # Of the same name as one that was not finished: two of them could not be told apart once this log is removed.
        self._log = Log(files, state.log.generation + 1)
        self._last_commit = 0
        self._lost: list[str] = []

    def write(self) -> None:
        """Write the log, which nothing leads to yet, and its columns."""
        try:
            self._write()
        except BaseException:
            self._files.remove(self._log.name)
            raise

    def finish(self) -> State:
        """Let the old log go on in the new one, and return the new state."""
        try:
            self._old.append_continuation(self._log)
        except BaseException:
            self._give_up()
            raise
        self._old.damage += self._lost
        following = State(self._files, self._schemas)
        following.flush()
        return following

    def _give_up(self) -> None:
        """Remove the new log where nothing of what leads to it can stand in the old one."""
        with suppress(OSError):
            if self._files.size(self._old.name) == self._old.position.end:
                self._files.remove(self._log.name)

    def _write(self) -> None:
        tables = [table for table in self._largest if table in self._held]
        live = {table: merged(self._held.pop(table), keeps_removals=False) for table in tables}
        written = {table: self._written(table, content) for table, content in live.items() if len(content.ids)}
        contents = {table: content for table, content in written.items() if len(content.ids)}
        hidden = {
            table: encode(table, id, None)
            for table, id in self._largest.items()
            if id > 0 and not (table in contents and contents[table].ids[-1] == id)
        }
        self._append([*hidden.values()])
        largest = {table: self._largest[table] for table in (*contents, *hidden)}
        if largest:
            limits = Range(self._log.beginning, self._log.position, self._last_commit)
            with suppress(OSError):  # columns that are missing are made of the log
                segments.publish(self._files, self._log, limits, contents, largest)

    def _written(self, table: str, content: Content) -> Content:
        """Write the documents of a table, and return their columns with the places that the lines have now."""
        part = part_of(self._schemas.get(table, {}), content)
        kept: list[Rows] = []
        places = [placed(0, [])]
        for start, stop in pairwise(_edges(content.places.lengths)):
            rows = np.arange(start, stop)
            lines = list(self._lines(table, part, rows))
            kept.append(rows[[line is not None for line in lines]])
            places += self._append([line for line in lines if line is not None])
        # Only documents without columns can be lost: those with columns were all kept.
        ids = content.ids[np.concatenate(kept)]
        return Content(ids, None, Places(*map(np.concatenate, zip(*places, strict=True))), content.values)

    def _lines(self, table: str, part: Part, rows: Rows) -> Iterator[bytes | None]:
        for row, line in zip(rows, self._old.sound_lines(*part.places_at(rows)), strict=True):
            yield line if line is not None else self._rebuilt(table, part, row)

    def _rebuilt(self, table: str, part: Part, row: np.intp) -> bytes | None:
        """Return the line that a damaged document had, from its columns; None where its table has none."""
        place = np.array([row])
        [id] = part.ids_at(place).tolist()
        line = rebuilt(table, id, part.fields, lambda field: part.column(field).take(place)[0])
        if line is None:
            self._lost.append(f"{self._old.name}: document {id} of {table} is damaged and lost")
        return line

    def _append(self, lines: Sequence[bytes]) -> list[Places]:
        """Write lines into the new log, and return where those of each commit stand."""
        blocks = [lines[start : start + _COMMITTED] for start in range(0, len(lines), _COMMITTED)]
        commits = self._log.append_all(blocks, max(self._largest.values(), default=0))
        if commits:
            self._last_commit = commits[-1].at
        return [placed(commit.start, block) for commit, block in zip(commits, blocks, strict=True)]


def _edges(lengths: NDArray[np.int64]) -> list[int]:
    """Return where the blocks of documents begin that are written at once, and where the last one ends."""
    edges, sums = [0], np.cumsum(lengths)
    while edges[-1] < len(lengths):
        start = edges[-1]
        before = int(sums[start - 1]) if start else 0
        fitting = int(np.searchsorted(sums, before + _AT_ONCE, side="right"))
        edges.append(min(max(fitting, start + 1), start + _COMMITTED * _COMPACTED))
    return edges
