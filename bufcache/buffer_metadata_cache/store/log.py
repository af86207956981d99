"""The log: commits as bytes. Writes them, reads on from where it was, and tells a torn tail from damage.

A log is JSON Lines. Its first line names the format; then each commit is a header line and its document lines:

.. code-block:: text

    {"bufcache":"documents","format":1,"generation":1,"salt":"9f86d081884c7d65","checksum":"d1d12d73"}
    {"commit":1,"bytes":31,"previous":"d1d12d73","checksum":"8c78e642"}
    ["buffer_metadata",1,{"id":1}]

``bytes`` is the size of the document lines. ``checksum`` is the CRC-32, begun with that of the first line, of the
header line up to there and of the document lines: commits of another log do not verify. ``previous`` is that of the
commit before, so that commits cannot be dropped or swapped unnoticed.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from zlib import crc32

import orjson

from bufcache.buffer_metadata_cache.store.files import Files, UnsyncedError
from bufcache.errors import BufcacheError, CacheFormatError

_logger = logging.getLogger(__name__)

FORMAT = 1
NAME = "documents-1.jsonl"

_FIRST_LINE = re.compile(rb'(\{"bufcache":"documents","format":(\d+),[^\n]*),"checksum":"([0-9a-f]{8})"\}\n')
_HEADER = re.compile(
    rb'(\{"commit":(\d{1,15}),"bytes":(\d{1,15}),"previous":"([0-9a-f]{8})"),"checksum":"([0-9a-f]{8})"\}\n'
)
_BEGINNING = b'{"bufcache":"documents"'
_LONGEST_LINE = 512
_WINDOW = 1 << 20


class Commit(NamedTuple):
    """One commit: its number, where its document lines start in the log, these lines, whether the one before fits."""

    number: int
    start: int
    lines: bytes
    checksum: int
    is_chained: bool


class Log:
    """The log of a cache, read up to `end` so far."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._is_poisoned = False
        self.damage: list[str] = []
        self.end = 0
        self._number = 0
        self._checksum = 0
        self._salt = 0

    # -- reading ----------------------------------------------------------------------------------------------------

    def read_on(self) -> Iterator[Commit]:
        """Give the commits that came since the last call, also of other processes.

        What does not verify at the end is a commit that was not finished: it is left alone. What does not verify
        before a commit that does is damage: it is skipped and told in `damage`.
        """
        size = self._files.size(NAME)
        if size < self.end:
            raise CacheFormatError(
                f"{self._files}: {NAME} has {size} bytes, {self.end} were read before: it was replaced or cut; reopen"
            )
        if self.end == 0 and not self._read_first_line(size):
            return
        while self.end < size:
            commit = self._commit_at(self.end, size)
            if commit is None or not commit.is_chained:
                commit = self._commit_behind_damage(size)
                if commit is None:
                    return
            yield commit
            self._take_over(commit)  # only now: whoever could not use it gets it again

    def _read_first_line(self, size: int) -> bool:
        """Read the line that names the format; false where there is no log yet."""
        start = self._files.read(NAME, 0, min(size, _LONGEST_LINE)) if size else b""
        if self._is_torn_beginning(start, size):
            return False
        found = _FIRST_LINE.match(start)
        if found is None:
            raise CacheFormatError(f"{self._files}: {NAME} is not the log of a bufcache cache; it was left untouched")
        if int(found[2]) > FORMAT:
            raise CacheFormatError(
                f"{self._files}: the cache has format {int(found[2])}, this version of bufcache reads up to {FORMAT}; "
                "update bufcache"
            )
        if crc32(found[1]) != int(found[3], 16):
            raise CacheFormatError(
                f"{self._files}: the first line of {NAME} is damaged; make a new cache and synchronise it"
            )
        self._begin(found.end(), int(found[3], 16))
        return True

    def _is_torn_beginning(self, start: bytes, size: int) -> bool:
        """Tell whether a crash left this of a log that was being made: a part of its first line, or zeros."""
        if not any(start):
            return size <= _LONGEST_LINE
        is_part = b"\n" not in start and len(start) < _LONGEST_LINE
        return is_part and _BEGINNING.startswith(start[: len(_BEGINNING)])

    def _begin(self, end: int, checksum: int) -> None:
        self.end, self._checksum, self._salt = end, checksum, checksum

    def _commit_at(self, position: int, size: int) -> Commit | None:
        """Return the commit that starts there if all of it is there and verifies."""
        found = _HEADER.match(self._files.read(NAME, position, _LONGEST_LINE))
        if found is None:
            return None
        start, length = position + found.end(), int(found[3])
        if start + length > size:
            return None
        lines = self._files.read(NAME, start, length)
        checksum = crc32(lines, crc32(found[1], self._salt))
        if len(lines) != length or checksum != int(found[5], 16):
            return None
        number = int(found[2])
        is_chained = number == self._number + 1 and int(found[4], 16) == self._checksum
        return Commit(number, start, lines, checksum, is_chained)

    def _commit_behind_damage(self, size: int) -> Commit | None:
        """Return the next commit that verifies, and note what lies before it as damage."""
        self._require_same_log()
        for position in self._header_positions(self.end, size):
            commit = self._commit_at(position, size)
            if commit is None or commit.number <= self._number:
                continue
            # What did not verify a moment ago may have been replaced by a writer while this was looked for.
            at_the_end = self._commit_at(self.end, self._files.size(NAME))
            if at_the_end is not None and at_the_end.is_chained:
                return at_the_end
            self.damage.append(self._told(position, commit.number))
            return commit
        return None

    def _require_same_log(self) -> None:
        """Raise where another log was written over the one that was read: it must not be taken for a torn tail."""
        found = _FIRST_LINE.match(self._files.read(NAME, 0, _LONGEST_LINE))
        if found is None or int(found[3], 16) != self._salt:
            raise CacheFormatError(f"{self._files}: {NAME} was replaced by another; open the cache again")

    def _told(self, position: int, number: int) -> str:
        if position == self.end:
            return f"{NAME}: commit {number} at byte {position} does not follow commit {self._number}"
        return f"{NAME}: bytes {self.end} to {position} are damaged, {number - self._number - 1} commits are lost"

    def _header_positions(self, position: int, size: int) -> Iterator[int]:
        """Give the places from a position on where a header line stands."""
        while position < size:
            window = self._files.read(NAME, position, _WINDOW)
            yield from (position + found.start() for found in _HEADER.finditer(window))
            if len(window) < _WINDOW:
                return
            position += _WINDOW - _LONGEST_LINE

    # -- writing ----------------------------------------------------------------------------------------------------

    def append(self, lines: Sequence[bytes]) -> Commit:
        """Write one commit and wait until it is on the disk. To be called under the lock, after reading on."""
        self._prepare()
        payload = b"\n".join(lines) + b"\n"
        start = b'{"commit":%d,"bytes":%d,"previous":"%08x"' % (self._number + 1, len(payload), self._checksum)
        checksum = crc32(payload, crc32(start, self._salt))
        header = start + b',"checksum":"%08x"}\n' % checksum
        with self._poisoning():
            self._files.append(NAME, header + payload)
            if self._number == 0:
                self._files.sync_names()
        commit = Commit(self._number + 1, self.end + len(header), payload, checksum, is_chained=True)
        self._take_over(commit)
        return commit

    def _take_over(self, commit: Commit) -> None:
        self.end = commit.start + len(commit.lines)
        self._number, self._checksum = commit.number, commit.checksum

    def _prepare(self) -> None:
        """Cut off what was left unfinished, here or by a writer before, and begin the log where there is none."""
        if self._is_poisoned:
            raise BufcacheError(
                f"{self._files}: the disk did not confirm a write; close the cache and open it again to see what "
                "it kept"
            )
        with self._poisoning():
            if self._files.size(NAME) > self.end:
                # Under the lock this is no commit in the making; readers do not take over what does not verify.
                _logger.warning(
                    "%s: %s is cut at byte %d: what follows is no whole commit", self._files, NAME, self.end
                )
                self._files.cut(NAME, self.end)
            if self.end == 0:
                line, checksum = _first_line(os.urandom(8))
                self._files.append(NAME, line)
                self._begin(len(line), checksum)

    @contextmanager
    def _poisoning(self) -> Iterator[None]:
        """Refuse further writes after a failed fsync: a second one would succeed without what the first one lost."""
        try:
            yield
        except UnsyncedError:
            self._is_poisoned = True
            raise


def _first_line(salt: bytes) -> tuple[bytes, int]:
    """Return the line that begins a log, and its checksum; the salt tells one log's commits from another's."""
    start = b'{"bufcache":"documents","format":%d,"generation":1,"salt":"%s"' % (FORMAT, salt.hex().encode())
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
