"""The state: the tables of a log as its segments and what came behind them say. Grows, is written and rewritten.

Nothing here takes a lock: who changes something holds it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

from bufcache.buffer_metadata_cache.columns import DamagedPartError, Rows
from bufcache.buffer_metadata_cache.index import Index
from bufcache.buffer_metadata_cache.parts import Content, Ids, Schemas, Values, part_of, placed
from bufcache.buffer_metadata_cache.store import segments
from bufcache.buffer_metadata_cache.store.changes import by_table
from bufcache.buffer_metadata_cache.store.files import UNFINISHED, Files
from bufcache.buffer_metadata_cache.store.log import (
    Commit,
    Log,
    Position,
    current_generation,
    generations,
    remove_older,
    remove_unfinished,
    tell,
)
from bufcache.buffer_metadata_cache.store.mending import mended_parts
from bufcache.buffer_metadata_cache.store.segments import FOLDER, Range, Segment
from bufcache.errors import CacheFormatError

FLUSH_SIZE = 2000
"""Documents behind the last segment at which a new one is written."""

UNKNOWN = "\0"
"""The table in which a log that was rewritten says up to where ids were given in tables of which nothing is left."""

_MERGED = 10
"""Segments of a size that are merged into one of the next."""

_LARGEST_TAIL = 20_000
"""Documents read from the log that are put into a part of their own."""

_SMALLEST_PART = 200
"""Documents of a batch that become a part of their own; fewer are read as any commit is, lest there be many parts."""

_WORTH_COMPACTING = 16 << 20
"""Bytes that must be won before a log is rewritten unasked."""

_FAR = 1 << 20
"""Bytes of the log that may be read on before segments are looked for."""

_TRIES = 20

R = TypeVar("R")


class State:
    """The tables of a log.

    Parameters
    ----------
    files
        Where the log is.
    schemas
        The fields of the documents of each table that has any.
    uses_segments
        Whether to believe the segments; else all is read from the log.
    limit
        Up to where to read the log; None for all of it.
    """

    def __init__(self, files: Files, schemas: Schemas, *, uses_segments: bool = True, limit: int | None = None) -> None:
        self._files = files
        self._schemas = schemas
        damaged: dict[str, str] = {}
        tries = 0
        while True:
            try:
                self._clear(damaged)
                self._load(uses_segments, limit)
                return
            except DamagedPartError as damage:
                damaged[damage.name] = str(damage)
            except FileNotFoundError:  # merged, or rewritten, while it was being opened
                tries += 1
                if tries == _TRIES:
                    raise

    def _clear(self, damaged: dict[str, str]) -> None:
        self.log = Log(self._files, current_generation(self._files) or 1)
        self.tables: dict[str, Index] = {}
        self.segments: list[Segment] = []
        self.unusable = damaged
        """What is wrong with segments that could not be used, by their names."""
        self.origin = object()
        """Another one where documents may have become others though no commit says so: here, and by mending."""
        self._last_commit = 0
        self._is_loaded = False

    # -- opening ----------------------------------------------------------------------------------------------------

    def _load(self, uses_segments: bool, limit: int | None) -> None:
        if uses_segments and self.log.begin():
            self._take_segments(limit)
        is_elsewhere = self._read(limit) is not None
        # One that is there and has no beginning is what a crash left: there is nothing in it.
        if is_elsewhere and (self.log.begin() or self.log.name not in self._files.names()):
            raise FileNotFoundError(f"{self.log.name} was rewritten while it was being opened")
        self._is_loaded = True

    def _take_segments(self, limit: int | None) -> None:
        """Take over the segments, the longest first where several begin at a place; read what lies between them."""
        limits = {name: segments.limits_of(name, self.log.generation) for name in self._files.names(FOLDER)}
        found = sorted((start, -end, name) for name, (start, end) in _present(limits))
        for start, end, name in found:
            if start < self.log.position.end or (limit is not None and -end > limit):
                continue
            segment = self._opened(f"{FOLDER}/{name}", -end)
            if segment is None:
                continue  # a shorter one may begin here, too
            if start > self.log.position.end:
                self._read(start)
                self._settle()
            if self.log.position == segment.range.start:
                self._append_segment(segment)

    def _opened(self, name: str, end: int) -> Segment | None:
        """Open a segment if it belongs to this log, and the log says what it says."""
        if name in self.unusable:
            return None
        try:
            segment = segments.open_segment(self._files, name, self.log.salt, self._schemas)
        except FileNotFoundError:
            raise
        except (DamagedPartError, OSError) as error:
            self.unusable[name] = str(error)
            return None
        if self._files.size(self.log.name) < end:
            self.log.damage.append(f"{self.log.name} ends before byte {end}, up to which {name} knows it")
            for table, largest in segment.largest.items():
                index = self._index(table)
                index.largest_id = max(index.largest_id, largest)
            return None
        if not self.log.says(segment.range.last, segment.range.end):
            self.unusable[name] = f"{name}: the log says something else"
            return None
        return segment

    def _append_segment(self, segment: Segment) -> None:
        for table, part in segment.parts.items():
            self._index(table).add(part)
        self.segments.append(segment)
        self.log.resume(segment.range.end)
        self._last_commit = segment.range.last
        for table, largest in segment.largest.items():
            index = self._index(table)
            index.largest_id = max(index.largest_id, largest)

    def _index(self, table: str) -> Index:
        if table not in self.tables:
            self.tables[table] = self.table(table)
        return self.tables[table]

    def table(self, name: str) -> Index:
        """Return the documents of a table; empty where it never had any."""
        if name in self.tables:
            return self.tables[name]
        return Index(self._schemas.get(name, {}), mend=_mend_in(weakref.proxy(self)))

    @property
    def lost_up_to(self) -> int:
        """The largest id that may have been given in any table, as far as that is lost to damage."""
        return max(self.log.lost_up_to, self.table(UNKNOWN).largest_id)

    @property
    def is_far_behind(self) -> bool:
        """Whether others have committed and written so much that it is quicker to open anew."""
        if self._files.size(self.log.name) - self.log.position.end < _FAR:
            return False
        limits = (segments.limits_of(name, self.log.generation) for name in self._files.names(FOLDER))
        return any(pair is not None and pair[1] > self.log.position.end for pair in limits)

    # -- reading on -------------------------------------------------------------------------------------------------

    def read_on(self) -> int | None:
        """Take over what was committed since; return the generation in which the log goes on, if it does."""
        return self._read(None)

    def _read(self, limit: int | None) -> int | None:
        if not self.log.begin():  # others may have begun it, and rewritten and removed it, too
            there = generations(self._files.names())
            return max((each for each in there if each != self.log.generation), default=None)
        for commit in self.log.read_on(limit):
            if (generation := commit.continued_in) is not None:
                return generation
            self._apply(commit)
            if sum(index.tail.size for index in self.tables.values()) >= _LARGEST_TAIL:
                self.log.position = commit.position
                self._settle()
        return None

    def _apply(self, commit: Commit) -> None:
        for table, changes in by_table(commit).items():
            self._index(table).apply(changes)
        self._last_commit = commit.at

    @property
    def _settled(self) -> Position:
        """Up to where segments have what the log says."""
        return self.segments[-1].range.end if self.segments else self.log.beginning

    def _settle(self) -> None:
        """Make a segment, in memory, of what came behind the last one."""
        if self.log.position == self._settled:
            return
        contents = {table: [index.tail.content()] for table, index in self.tables.items() if index.tail.size}
        segment = self._made(Range(self._settled, self.log.position, self._last_commit), contents)
        self.segments.append(segment)
        for table, index in self.tables.items():
            index.settle(segment.parts.get(table))

    def _made(self, limits: Range, contents: Mapping[str, Sequence[Content]]) -> Segment:
        """Return a segment, in memory, of what parts of each table hold, oldest first."""
        parts = segments.parts_of(self._schemas, contents, is_first=limits.start == self.log.beginning)
        return Segment(limits, parts, {table: index.largest_id for table, index in self.tables.items()})

    def _exchange(self, start: int, stop: int, segment: Segment) -> None:
        """Put one segment in the place of some; where a newer one is damaged nothing is changed."""
        places = {}
        for table, index in self.tables.items():
            before = sum(table in each.parts for each in self.segments[:start])
            replaced = sum(table in each.parts for each in self.segments[start:stop])
            places[table] = before, before + replaced
            if table in segment.parts:
                index.bury(segment.parts[table], before + replaced)
        for table, index in self.tables.items():
            index.replace(*places[table], segment.parts.get(table))
        self.segments[start:stop] = [segment]

    def mend(self, damage: DamagedPartError) -> None:
        """Put what the log says in the place of a segment that is damaged.

        Raises
        ------
        CacheFormatError
            The log is damaged there, too; what is left of it is taken over.
        """
        names = [segment.name for segment in self.segments]
        if not self._is_loaded or damage.name not in names:
            raise damage
        place = names.index(damage.name)
        tell("%s: %s; the log is read instead", self._files, damage)
        damaged = self.segments[place]
        mended = mended_parts(self.log, self._schemas, damaged)
        self.unusable[damage.name] = str(damage)
        self.origin = object()
        self._exchange(place, place + 1, Segment(damaged.range, mended.parts, damaged.largest))
        if mended.lost:
            raise CacheFormatError(
                f"{self._files}: {damage}, and so is the log there, at {mended.lost} of its documents; what is left "
                "answers from now on, and the next synchronisation reads the files of the rest anew"
            )

    def _mending(self, do: Callable[[], R]) -> R:
        """Do something, and begin anew where a segment turned out to be damaged and was mended."""
        for _ in range(len(self.segments)):
            try:
                return do()
            except DamagedPartError as damage:
                self.mend(damage)
        return do()

    # -- documents --------------------------------------------------------------------------------------------------

    def lines(self, table: str, rows: Rows) -> Iterator[bytes | None]:
        """Give the lines of documents in the log; None for one that is damaged."""
        return self.log.sound_lines(*self.table(table).places(rows))

    # -- writing ----------------------------------------------------------------------------------------------------

    def commit(self, lines: Sequence[bytes], largest: int) -> None:
        """Append a commit, and take it over as any other process will read it."""
        before = self.log.position
        commit = self._append(lines, largest)
        with self._read_again(before):
            self._apply(commit)

    def _append(self, lines: Sequence[bytes], largest: int) -> Commit:
        if not self.log.is_synced:
            remove_older(self._files, self.log.generation)  # else a crash may lose that they go on in this one
        return self.log.append(lines, largest)

    @contextmanager
    def _read_again(self, before: Position) -> Iterator[None]:
        """Go back to before a commit that could not be taken over: it stands in the log, and is read like another's."""
        try:
            yield
        except BaseException:
            self.log.position = before
            raise

    def commit_batch(self, table: str, ids: Ids, lines: Sequence[bytes], values: Mapping[str, Values]) -> None:
        """Append a commit of whole documents whose columns are known.

        Parameters
        ----------
        table
            Their table.
        ids
            Their ids, in order, each once.
        lines
            Their lines.
        values
            Their columns, which hold what another process will read from the lines.
        """
        if len(ids) < _SMALLEST_PART:
            self.commit(lines, int(ids[-1]))
            return
        self._settle()
        before = self.log.position
        commit = self._append(lines, int(ids[-1]))
        index = self._index(table)
        part = part_of(index.fields, Content(ids, None, placed(commit.start, lines), values))
        with self._read_again(before):
            index.add(part)
        self._last_commit = commit.at
        largest = {name: each.largest_id for name, each in self.tables.items()}
        # What is settled, not what was before: the append may have begun the log.
        self.segments.append(Segment(Range(self._settled, commit.position, commit.at), {table: part}, largest))

    # -- segments ---------------------------------------------------------------------------------------------------

    @property
    def unwritten(self) -> int:
        """Documents, removals included, that stand in no segment on the disk."""
        tails = sum(index.tail.size for index in self.tables.values())
        return tails + sum(segment.size for segment in self.segments if segment.name is None)

    def flush(self) -> None:
        """Write the segments that are missing, and merge; where that fails it is only told: the log has everything."""
        try:
            self._mending(self._flush)
        except (OSError, CacheFormatError, DamagedPartError) as error:
            tell("%s: columns could not be written, so that opening takes longer: %s", self._files, error)

    def _flush(self) -> None:
        remove_older(self._files, self.log.generation)
        self._settle()
        self._join_unwritten()
        for place, segment in enumerate(self.segments):
            if segment.name is None:
                self._write(place, place + 1, segment)
        self._merge()
        self._sweep()
        remove_unfinished(self._files, self.log.generation)

    def _join_unwritten(self) -> None:
        """Make one segment of those behind the last one that is written."""
        first = len(self.segments)
        while first and self.segments[first - 1].name is None:
            first -= 1
        if len(self.segments) - first > 1:
            self._exchange(first, len(self.segments), self._joined(first, len(self.segments)))

    def _joined(self, start: int, stop: int) -> Segment:
        """Return some segments as one."""
        joined = self.segments[start:stop]
        limits = Range(joined[0].range.start, joined[-1].range.end, joined[-1].range.last)
        return self._made(limits, _contents(joined))

    def _write(self, start: int, stop: int, segment: Segment) -> None:
        """Write a segment, and put it as it can be read in the place of some."""
        contents = {table: part.content() for table, part in segment.parts.items()}
        name = segments.publish(self._files, self.log, segment.range, contents, segment.largest)
        self._exchange(start, stop, segments.open_segment(self._files, name, self.log.salt, self._schemas))

    def _merge(self) -> None:
        """Make one segment of ten of a size at the end, and of the smaller ones between and behind them."""
        sizes = [_magnitude(segment) for segment in self.segments]
        for size in sorted(set(sizes)):
            start = len(sizes)
            while start and sizes[start - 1] <= size:
                start -= 1
            if sizes[start:].count(size) >= _MERGED:
                self._write(start, len(sizes), self._joined(start, len(sizes)))
                return self._merge()
        return None

    def _sweep(self) -> None:
        """Remove the segments that were merged, and what was left of segments in the making."""
        used = {segment.name for segment in self.segments}
        for name in self._files.names(FOLDER):
            is_ours = name.endswith(UNFINISHED) or segments.is_name(name)
            if is_ours and f"{FOLDER}/{name}" not in used:
                self._files.remove(f"{FOLDER}/{name}")

    # -- upkeep -----------------------------------------------------------------------------------------------------

    @property
    def is_mostly_dead(self) -> bool:
        """Whether more of the log says what no longer holds than what does, and that is worth rewriting it."""
        size = self.log.position.end - self.log.beginning.end
        live = sum(index.live_bytes for index in self.tables.values())
        return size - live > max(live, _WORTH_COMPACTING)

    def contents(self) -> dict[str, list[Content]]:
        """Return all that the log says of each table, oldest first. It stays so, whatever becomes of the state."""
        self._settle()
        return self._mending(lambda: _contents(self.segments))

    def verify(self) -> None:
        """Look at all of every segment; one that is damaged is read from the log."""
        for place in range(len(self.segments)):  # mended ones keep their places
            with suppress(CacheFormatError):  # what is lost of both is known
                self._mending(partial(self._look_at, place))

    def _look_at(self, place: int) -> None:
        for part in self.segments[place].parts.values():
            part.content()


def _mend_in(state: State) -> Callable[[DamagedPartError], None]:
    """Return what mends in a state, without holding on to it: maps are not to wait for the garbage collector."""

    def mend(damage: DamagedPartError) -> None:
        state.mend(damage)

    return mend


def _contents(joined: Iterable[Segment]) -> dict[str, list[Content]]:
    contents: dict[str, list[Content]] = {}
    for segment in joined:
        for table, part in segment.parts.items():
            contents.setdefault(table, []).append(part.content())
    return contents


def _magnitude(segment: Segment) -> int:
    """Return how large a segment is: 2000 documents and more are one larger than 200 and more, and so on."""
    return len(str(segment.size * 10 * _MERGED // FLUSH_SIZE))


def _present(limits: Mapping[str, tuple[int, int] | None]) -> Iterator[tuple[str, tuple[int, int]]]:
    return ((name, pair) for name, pair in limits.items() if pair is not None)
