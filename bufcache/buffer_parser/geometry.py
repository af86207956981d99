"""Blocks, samples and spectra of a file: arithmetic only.

A file is its header, then data blocks of a block header and data each; only the last block may be shorter.
Samples run on from one block's data into the next, so that the data of all blocks form one stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bufcache.buffer_parser import derived
from bufcache.errors import InvalidFileError


@dataclass(frozen=True, slots=True)
class Blocks:
    """Where the data blocks of a file lie; all sizes in bytes."""

    file_size: int
    header_size: int
    db_header_size: int
    db_size: int

    @property
    def count(self) -> int:
        """Number of blocks; the last may be incomplete."""
        return derived.db_count(self.file_size, self.header_size, self.db_header_size, self.db_size)

    @property
    def full(self) -> int:
        """Number of complete blocks."""
        return derived.full_blocks(self.file_size, self.header_size, self.db_header_size, self.db_size)

    @property
    def data_size(self) -> int:
        """Bytes of data in all blocks."""
        return derived.data_size(self.file_size, self.header_size, self.db_header_size, self.db_size)

    def extents(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Give (offset in the file, length) of each run of the data bytes `first` to `last`, `last` excluded."""
        while first < last:
            block, inside = divmod(first, self.db_size)
            length = min(self.db_size - inside, last - first)
            yield self.data_offset(block) + inside, length
            first += length

    def data_offset(self, block: int) -> int:
        """Offset in the file of a block's data."""
        return self.header_size + block * (self.db_size + self.db_header_size) + self.db_header_size

    def header_extent(self, block: int) -> tuple[int, int]:
        """Give (offset in the file, length) of what the file has of a block's header."""
        offset = self.data_offset(block) - self.db_header_size
        return offset, min(self.db_header_size, self.file_size - offset)


def blocks(file_size: int, header_size: int, db_header_size: int, db_size: int) -> Blocks:
    """Return the blocks of a file whose header gives these sizes.

    Raises
    ------
    InvalidFileError
        No block can have such sizes.
    """
    if derived.are_impossible(db_header_size, db_size):
        raise InvalidFileError(
            f"data blocks of {db_size} bytes (db__size) behind headers of {db_header_size} bytes (dbhdsize); "
            "expected at least 1 and 0"
        )
    return Blocks(file_size, header_size, db_header_size, db_size)
