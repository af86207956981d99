"""The log: commits as bytes. Writes them, reads on from where it was, and tells a torn tail from damage.

A log is JSON Lines. Its first line names the format; then each commit is a header line and its document lines:

.. code-block:: text

    {"bufcache":"documents","format":1,"generation":1,"salt":"9f86d081884c7d65","checksum":"d1d12d73"}
    {"commit":1,"bytes":31,"largest":1,"previous":"d1d12d73","checksum":"80306120"}
    ["buffer_metadata",1,{"id":1}]

``bytes`` is the size of the document lines, ``largest`` the largest id that any commit up to this one has.
``checksum`` is the CRC-32, begun with that of the first line, of the header line up to there and of the document lines:
commits of another log do not verify. ``previous`` is that of the commit before, so that commits cannot be dropped or
swapped unnoticed. The last commit of a log that was rewritten says in which log it goes on:

.. code-block:: text

    {"continued":2,"checksum":"5f2c0e11"}
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from zlib import crc32

import numpy as np
import orjson
from numpy.typing import NDArray

from bufcache.buffer_metadata_cache.signature import BEGINNING, NAME
from bufcache.buffer_metadata_cache.store.files import Files, UnsyncedError
from bufcache.errors import BufcacheError, CacheFormatError

Numbers = NDArray[np.int64]

FORMAT = 1

_FIRST_LINE = re.compile(rb'(\{"bufcache":"documents","format":(\d+),[^\n]*),"checksum":"([0-9a-f]{8})"\}\n')
_HEADER = re.compile(
    rb'(\{"commit":(\d{1,15}),"bytes":(\d{1,15}),"largest":(\d{1,19}),"previous":"([0-9a-f]{8})"),'
    rb'"checksum":"([0-9a-f]{8})"\}\n'
)
_CONTINUED = re.compile(rb'\{"continued":([1-9]\d{0,8}),"checksum":"([0-9a-f]{8})"\}\n')
_LONGEST_LINE = 512
_WINDOW = 1 << 20


class Position(NamedTuple):
    """Where a commit starts: the place; number and checksum of the last, the largest id so far."""

    end: int
    number: int
    checksum: int
    largest: int


class Commit(NamedTuple):
    """One commit: its header line's place in the log, its document lines, whether the one before fits."""

    at: int
    start: int
    lines: bytes
    position: Position
    is_chained: bool

    @property
    def continued_in(self) -> int | None:
        """The generation in which the log goes on, where this is what the commit says."""
        found = _CONTINUED.fullmatch(self.lines)
        return int(found[1]) if found else None


def name_of(generation: int) -> str:
    """Return the name of the log of a generation."""
    return f"documents-{generation}.jsonl"


def generations(names: Iterable[str]) -> list[int]:
    """Return the generations of the logs among names, in order."""
    return sorted(int(found[1]) for found in map(NAME.fullmatch, names) if found)


def current_generation(files: Files) -> int | None:
    """Return the generation that counts: the one that the others lead to; None where there is no log.

    Raises
    ------
    CacheFormatError
        A log says that it goes on in one that is not there.
    """
    there = generations(files.names())
    if not there:
        return None
    generation, following = there[0], Log(files, there[0]).continued_in()
    while following is not None:
        _require_following(files, generation, following)
        generation, following = following, Log(files, following).continued_in()
    return generation


def _require_following(files: Files, generation: int, following: int) -> None:
    there = generations(files.names())
    if generation in there and following not in there:
        raise CacheFormatError(
            f"{files}: {name_of(generation)} goes on in {name_of(following)}, which is missing; bring it back, or "
            "make a new cache and synchronise it"
        )


def remove_older(files: Files, generation: int) -> None:
    """Remove the logs that lead to a generation, as far as nobody has them open.

    None must outlast the one in which it goes on: the oldest goes first, for good before the next one.
    """
    older = [each for each in generations(files.names()) if each < generation]
    for each in older:
        if each != older[0]:
            files.sync_names()
        files.remove(name_of(each))
        if each in generations(files.names()):
            return


def remove_unfinished(files: Files, generation: int) -> None:
    """Remove what was left of a log in the making; the next one of its name is written over it otherwise."""
    for each in generations(files.names()):
        if each > generation:
            files.remove(name_of(each))


class Log:
    """The log of one generation, read up to `position` so far."""

    def __init__(self, files: Files, generation: int = 1) -> None:
        self._files = files
        self.generation = generation
        self.name = name_of(generation)
        self.is_poisoned = False
        """Whether the disk did not confirm a write: nobody knows what it has."""
        self.is_synced = False
        """Whether what leads to this log is known to be on the disk."""
        self.damage: list[str] = []
        self.position = self.beginning = Position(0, 0, 0, 0)
        """Up to where it was read, and where its first commit starts."""
        self.salt = 0
        self.lost_up_to = 0
        """The largest id that may have stood in what is lost to damage."""

    # -- reading ----------------------------------------------------------------------------------------------------

    def begin(self) -> bool:
        """Read the line that names the format; false where there is no log yet."""
        if self.position.end == 0:
            self._read_first_line(self._files.size(self.name))
        return self.position.end > 0

    def resume(self, position: Position) -> None:
        """Go on from a place up to which something else has what the log says."""
        self.position = position

    def again(self, position: Position) -> Log:
        """Return the same log, to be read from a place on."""
        other = Log(self._files, self.generation)
        other.begin()
        other.resume(position)
        return other

    def read_on(self, limit: int | None = None) -> Iterator[Commit]:
        """Give the commits that came since the last call, also of other processes; up to a place, if there is one.

        What does not verify at the end is a commit that was not finished: it is left alone. What does not verify
        before a commit that does is damage: it is skipped and told in `damage`.
        """
        size = self._files.size(self.name)
        if size < self.position.end:
            raise CacheFormatError(
                f"{self._files}: {self.name} has {size} bytes, {self.position.end} were read before: it was replaced "
                "or cut; reopen"
            )
        size = size if limit is None else min(size, limit)
        if not self.begin():
            return
        while self.position.end < size:
            commit = self.commit_at(self.position.end, size)
            if commit is None or not commit.is_chained:
                commit = self._commit_behind_damage(size)
                if commit is None:
                    return
            yield commit
            self.position = commit.position  # only now: whoever could not use it gets it again

    def _read_first_line(self, size: int) -> None:
        start = self._files.read(self.name, 0, min(size, _LONGEST_LINE)) if size else b""
        if self._is_torn_beginning(start, size):
            return
        found = _FIRST_LINE.match(start)
        if found is not None and crc32(found[1]) == int(found[3], 16):
            if int(found[2]) > FORMAT:
                raise CacheFormatError(
                    f"{self._files}: the cache has format {int(found[2])}, this version of bufcache reads up to "
                    f"{FORMAT}; update bufcache"
                )
            self._start(found.end(), int(found[3], 16))
        elif not self._begin_at_first_commit(start, size):
            raise CacheFormatError(
                f"{self._files}: {self.name} is not the log of a bufcache cache, or its beginning is damaged; it was "
                "left untouched"
            )

    def _begin_at_first_commit(self, start: bytes, size: int) -> bool:
        """Begin behind a first line that is damaged: the first commit says its checksum, too, and verifies with it."""
        for found in _HEADER.finditer(start):
            self.salt = int(found[5], 16)
            if int(found[2]) == 1 and self.commit_at(found.start(), size):
                self._start(found.start(), self.salt)
                self.damage.append(f"{self.name}: the first line is damaged, no commit is lost")
                return True
        return False

    def _is_torn_beginning(self, start: bytes, size: int) -> bool:
        """Tell whether a crash left this of a log that was being made: a part of its first line, or zeros."""
        if not any(start):
            return size <= _LONGEST_LINE
        is_part = b"\n" not in start and len(start) < _LONGEST_LINE
        return is_part and BEGINNING.startswith(start[: len(BEGINNING)])

    def _start(self, end: int, checksum: int) -> None:
        self.position = self.beginning = Position(end, 0, checksum, 0)
        self.salt = checksum

    def commit_at(self, at: int, size: int) -> Commit | None:
        """Return the commit that starts there if all of it is there and verifies."""
        found = _HEADER.match(self._files.read(self.name, at, _LONGEST_LINE))
        if found is None:
            return None
        start, length = at + found.end(), int(found[3])
        if start + length > size:
            return None
        lines = self._files.read(self.name, start, length)
        checksum = crc32(lines, crc32(found[1], self.salt))
        if len(lines) != length or checksum != int(found[6], 16):
            return None
        number = int(found[2])
        is_chained = number == self.position.number + 1 and int(found[5], 16) == self.position.checksum
        return Commit(at, start, lines, Position(start + length, number, checksum, int(found[4])), is_chained)

    def says(self, at: int, position: Position) -> bool:
        """Tell whether the header of a commit stands there that ends at this position; its lines are not read."""
        found = _HEADER.match(self._files.read(self.name, at, _LONGEST_LINE))
        return found is not None and position == Position(
            at + found.end() + int(found[3]), int(found[2]), int(found[6], 16), int(found[4])
        )

    def continued_in(self) -> int | None:
        """Return the generation in which the log goes on, from its last bytes alone."""
        size = self._files.size(self.name)
        try:
            if not self.begin():
                return None
        except CacheFormatError:
            return None
        start = max(self.position.end, size - _LONGEST_LINE)
        for found in _HEADER.finditer(self._files.read(self.name, start, size - start)):
            commit = self.commit_at(start + found.start(), size)
            if commit is not None and commit.continued_in is not None:
                return commit.continued_in
        return None

    def read_lines(self, offsets: Sequence[int], lengths: Sequence[int]) -> Iterator[bytes]:
        """Give the bytes at places in the log; places that lie close together in one read."""
        if not offsets:
            return
        first, last = min(offsets), max(offset + length for offset, length in zip(offsets, lengths, strict=True))
        if last - first > _WINDOW + 2 * sum(lengths):
            yield from (self._files.read(self.name, *place) for place in zip(offsets, lengths, strict=True))
            return
        whole = self._files.read(self.name, first, last - first)
        for offset, length in zip(offsets, lengths, strict=True):
            yield whole[offset - first : offset - first + length]

    def sound_lines(self, offsets: Numbers, lengths: Numbers, checksums: Numbers) -> Iterator[bytes | None]:
        """Give the lines of documents at places in the log, None for one that is damaged."""
        lines = self.read_lines(offsets.tolist(), lengths.tolist())
        for line, checksum in zip(lines, checksums.tolist(), strict=True):
            yield line if crc32(line) == checksum else None

    def _commit_behind_damage(self, size: int) -> Commit | None:
        """Return the next commit that verifies, and note what lies before it as damage."""
        self._require_same_log()
        end, number = self.position.end, self.position.number
        for at in self._header_positions(end, size):
            commit = self.commit_at(at, size)
            if commit is None or commit.position.number <= number:
                continue
            # What did not verify a moment ago may have been replaced by a writer while this was looked for.
            at_the_end = self.commit_at(end, self._files.size(self.name))
            if at_the_end is not None and at_the_end.is_chained:
                return at_the_end
            self.damage.append(self._told(at, commit.position.number))
            self.lost_up_to = max(self.lost_up_to, commit.position.largest)
            return commit
        return None

    def _require_same_log(self) -> None:
        """Raise where another log was written over the one that was read: it must not be taken for a torn tail."""
        found = _FIRST_LINE.match(self._files.read(self.name, 0, _LONGEST_LINE))
        if found is not None and crc32(found[1]) == int(found[3], 16) != self.salt:
            raise CacheFormatError(f"{self._files}: {self.name} was replaced by another; open the cache again")

    def _told(self, at: int, number: int) -> str:
        end, before = self.position.end, self.position.number
        if at == end:
            return f"{self.name}: commit {number} at byte {at} does not follow commit {before}"
        return f"{self.name}: bytes {end} to {at} are damaged, {number - before - 1} commits are lost"

    def _header_positions(self, position: int, size: int) -> Iterator[int]:
        """Give the places from a position on where a header line stands."""
        while position < size:
            window = self._files.read(self.name, position, _WINDOW)
            yield from (position + found.start() for found in _HEADER.finditer(window))
            if len(window) < _WINDOW:
                return
            position += _WINDOW - _LONGEST_LINE

    # -- writing ----------------------------------------------------------------------------------------------------

    def append(self, lines: Sequence[bytes], largest: int = 0) -> Commit:
        """Write one commit and wait until it is on the disk; as `append_all`."""
        return self.append_all([lines], largest)[0]

    def append_all(self, commits: Iterable[Sequence[bytes]], largest: int = 0) -> list[Commit]:
        """Write commits with one write, and wait until they are on the disk.

        To be called under the lock, after reading on.

        Parameters
        ----------
        commits
            The document lines of each.
        largest
            The largest id in them.
        """
        self.prepare()
        position = self.position._replace(largest=max(self.position.largest, largest))
        written: list[Commit] = []
        pieces: list[bytes] = []
        for lines in commits:
            header, commit = self._formed(lines, position)
            pieces += header, commit.lines
            written.append(commit)
            position = commit.position
        with self._poisoning():
            self._files.append(self.name, b"".join(pieces))
        self.position = position
        return written

    def _sync(self) -> None:
        """Wait until it is on the disk what leads to this log: who wrote that may have been killed before it was."""
        if self.is_synced:
            return
        for generation in generations(self._files.names()):
            if generation < self.generation:
                self._files.sync(name_of(generation))
        self._files.sync_names()
        self.is_synced = True

    def _formed(self, lines: Sequence[bytes], before: Position) -> tuple[bytes, Commit]:
        """Return the header line of a commit, and the commit."""
        payload, number = b"\n".join(lines) + b"\n", before.number + 1
        start = b'{"commit":%d,"bytes":%d,"largest":%d,"previous":"%08x"' % (
            number,
            len(payload),
            before.largest,
            before.checksum,
        )
        checksum = crc32(payload, crc32(start, self.salt))
        header = start + b',"checksum":"%08x"}\n' % checksum
        first = before.end + len(header)
        position = Position(first + len(payload), number, checksum, before.largest)
        return header, Commit(before.end, first, payload, position, is_chained=True)

    def append_continuation(self, following: Log) -> None:
        """Write that the log goes on in another one: the last commit of this one, which is still to be read."""
        line = b'{"continued":%d,"checksum":"%08x"}' % (following.generation, following.salt)
        before = self.position
        self.append([line])
        self.position = before

    def prepare(self) -> None:
        """Cut off what was left unfinished, here or by a writer before, and begin the log where there is none.

        From then on it is found after every crash: another one, in which it goes on, may be begun.
        """
        if self.is_poisoned:
            raise BufcacheError(
                f"{self._files}: the disk did not confirm a write; close the cache and open it again to see what "
                "it kept"
            )
        with self._poisoning():
            if (size := self._files.size(self.name)) > self.position.end:
                self._require_torn(size)
                # Under the lock this is no commit in the making; readers do not take over what does not verify.
                tell(
                    "%s: %s is cut at byte %d: what follows is no whole commit",
                    self._files,
                    self.name,
                    self.position.end,
                )
                self._files.cut(self.name, self.position.end)
            if self.position.end == 0:
                line, checksum = _first_line(self.generation, os.urandom(8))
                self._files.append(self.name, line)
                self._files.read(self.name, 0, 1)  # what is open can be read when another process has rewritten it
                self._start(len(line), checksum)
            self._sync()

    def _require_torn(self, size: int) -> None:
        """Raise where what follows is a commit after all: its writer was told of an error, and readers may have it."""
        following = self.commit_at(self.position.end, size) if self.position.end else None
        if following is not None and following.is_chained:
            raise BufcacheError(
                f"{self._files}: a commit that failed stands in {self.name} all the same, and has not been read yet; "
                "end this change and begin it anew"
            )

    @contextmanager
    def _poisoning(self) -> Iterator[None]:
        """Refuse further writes after a failed fsync: a second one would succeed without what the first one lost."""
        try:
            yield
        except UnsyncedError:
            self.is_poisoned = True
            raise


def _first_line(generation: int, salt: bytes) -> tuple[bytes, int]:
    """Return the line that begins a log, and its checksum; the salt tells one log's commits from another's."""
    start = b'{"bufcache":"documents","format":%d,"generation":%d,"salt":"%s"' % (
        FORMAT,
        generation,
        salt.hex().encode(),
    )
    checksum = crc32(start)
    return start + b',"checksum":"%08x"}\n' % checksum, checksum


def encode(table: str, id: int, document: object) -> bytes:
    """Return the line of a document, or of its removal where it is None.

    Raises
    ------
    TypeError
        JSON cannot hold it.
    """
    return orjson.dumps([table, id] if document is None else [table, id, document], option=orjson.OPT_SERIALIZE_NUMPY)


def tell(message: str, *arguments: object) -> None:
    """Log a warning of this store."""
    import logging  # seldom needed, and not quickly loaded

    logging.getLogger("bufcache").warning(message, *arguments)
