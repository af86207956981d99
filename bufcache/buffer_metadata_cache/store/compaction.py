"""Compaction: a log written anew without what no longer holds, and a store that is damaged with all that is sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np

from bufcache.buffer_metadata_cache.columns import Rows
from bufcache.buffer_metadata_cache.parts import Content, Part, Places, placed
from bufcache.buffer_metadata_cache.store import segments
from bufcache.buffer_metadata_cache.store.files import Files
from bufcache.buffer_metadata_cache.store.log import Log, encode, tell
from bufcache.buffer_metadata_cache.store.segments import Range
from bufcache.buffer_metadata_cache.store.state import Schemas, State
from bufcache.errors import BufcacheError

_COMMITTED = 1000
_COMPACTED = 8
"""Documents a commit, and commits a write, of a log that is rewritten."""


def compacted(files: Files, schemas: Schemas, state: State) -> State:
    """Write what holds into a new log, in which that of a state goes on; return the new state."""
    state.log.prepare()
    # Of the same name as one that was not finished: two of them could not be told apart once this log is removed.
    new = Log(files, state.log.generation + 1)
    try:
        _Rewriting(files, state, new).do()
    except BaseException:
        files.remove(new.name)
        raise
    state.log.append_continuation(new)
    following = State(files, schemas)
    following.flush()
    return following


def compacted_or_as_it_is(files: Files, schemas: Schemas, state: State) -> State:
    """Rewrite the log if there is room for it; else keep what there is."""
    try:
        return compacted(files, schemas, state)
    except (OSError, BufcacheError) as error:
        tell("%s: the log could not be rewritten without what is dead: %s", files, error)
        return state


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
        return compacted(files, schemas, state), state.log.damage
    from_log.log.prepare()  # cuts off what is of no whole commit
    from_log.flush()
    return from_log, []


class _Rewriting:
    """Writes what a state holds into a new log, and the columns of it, which are known but for the places of lines.

    Parameters
    ----------
    files
        Where the logs are.
    state
        What is to be written.
    log
        The new log.
    """

    def __init__(self, files: Files, state: State, log: Log) -> None:
        self._files = files
        self._state = state
        self._log = log
        tables = state.tables.items()
        self._largest = {table: max(index.largest_id, state.log.lost_up_to) for table, index in tables}
        self._last_commit = 0

    def do(self) -> None:
        """Write the log, then the columns; where that fails they are made of the log, as any that are missing."""
        parts = self._state.whole().parts
        written = {table: self._written(table, parts[table]) for table in self._largest if table in parts}
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
            with suppress(OSError):
                segments.publish(self._files, self._log, limits, contents, largest)

    def _written(self, table: str, part: Part) -> Content:
        """Write the documents of a table, and return their columns with the places that the lines have now."""
        kept: list[Rows] = [np.zeros(0, np.intp)]
        places: list[Places] = [placed(0, [])]
        for start in range(0, part.size, _COMMITTED * _COMPACTED):
            rows = np.arange(start, min(start + _COMMITTED * _COMPACTED, part.size))
            lines = dict(zip(rows.tolist(), self._lines(table, part, rows), strict=True))
            places += self._append([line for line in lines.values() if line is not None])
            kept.append(np.array([row for row, line in lines.items() if line is not None], np.intp))
        content = part.content()
        # Only documents without columns can be lost: those with columns were all kept.
        ids = content.ids[np.concatenate(kept)]
        return Content(ids, None, Places(*map(np.concatenate, zip(*places, strict=True))), content.values)

    def _lines(self, table: str, part: Part, rows: Rows) -> Iterator[bytes | None]:
        for row, line in zip(rows, self._state.log.sound_lines(*part.places_at(rows)), strict=True):
            yield line if line is not None else self._rebuilt(table, part, row)

    def _rebuilt(self, table: str, part: Part, row: np.intp) -> bytes | None:
        """Return the line that a damaged document had, from its columns; None where its table has none."""
        place = np.array([row])
        [id] = part.ids_at(place).tolist()
        if not part.fields:
            self._state.log.damage.append(f"{self._state.log.name}: document {id} of {table} is damaged and lost")
            return None
        document = {
            field.name: field.kind.restore(value)
            for field in part.fields.values()
            if field.is_stored and (value := part.column(field).take(place)[0]) is not None
        }
        return encode(table, id, document)

    def _append(self, lines: Sequence[bytes]) -> list[Places]:
        """Write lines into the new log, and return where those of each commit stand."""
        blocks = [lines[start : start + _COMMITTED] for start in range(0, len(lines), _COMMITTED)]
        commits = self._log.append_all(blocks, max(self._largest.values(), default=0))
        if commits:
            self._last_commit = commits[-1].at
        return [placed(commit.start, block) for commit, block in zip(commits, blocks, strict=True)]
