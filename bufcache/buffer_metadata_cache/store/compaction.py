"""Compaction: a log written anew without what no longer holds, and a store that is damaged with all that is sound."""

from __future__ import annotations

from collections.abc import Iterator

from bufcache.buffer_metadata_cache.store.files import Files
from bufcache.buffer_metadata_cache.store.log import Log, encode, tell
from bufcache.buffer_metadata_cache.store.salvage import blocks
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
        _write_live(state, new)
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


def _write_live(state: State, log: Log) -> None:
    commits: list[list[bytes]] = []
    for table in list(state.tables):
        for lines in _live_lines(state, table):
            commits.append(lines)
            if len(commits) >= _COMPACTED:
                _append_all(state, log, commits)
    _append_all(state, log, commits)


def _append_all(state: State, log: Log, commits: list[list[bytes]]) -> None:
    log.append_all(commits, max((index.largest_id for index in state.tables.values()), default=0))
    commits.clear()


def _live_lines(state: State, table: str) -> Iterator[list[bytes]]:
    """Give the lines of all documents of a table, a thousand at a time; last, that the largest id was given."""
    index = state.tables[table]
    for block in blocks(state, table, _COMMITTED):
        lost = (id for id, line in block if line is None)
        state.log.damage += [f"{state.log.name}: document {id} of {table} is damaged and lost" for id in lost]
        if whole := [line for _, line in block if line is not None]:
            yield whole
    largest = max(index.largest_id, state.log.lost_up_to)
    if largest > 0 and largest not in index:
        yield [encode(table, largest, None)]
