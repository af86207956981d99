"""SyncReport: what a synchronisation did."""

from __future__ import annotations

from dataclasses import dataclass, field

from bufcache.buffer_metadata_cache.scan import Failure


@dataclass(slots=True)
class SyncReport:
    """What a synchronisation did; each file counts once.

    Attributes
    ----------
    added, changed, moved, unchanged
        Files that were new, read again, found under a new path, or as they were; a file that could not be read
        before and has not changed is unchanged. The entry of a moved file keeps its id; see
        `BufferMetadataCache.synchronize_directory`.
    removed, kept
        Entries whose files are gone: removed, or kept because the files may only be out of reach.
    skipped
        Files with a fitting name that are no buffer files.
    failed
        A `Failure` (path, error) for each file or folder that could not be read in this run.
    seconds
        How long it took.
    """

    added: int = 0
    changed: int = 0
    moved: int = 0
    unchanged: int = 0
    removed: int = 0
    kept: int = 0
    skipped: int = 0
    failed: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        counts = {
            "added": self.added,
            "changed": self.changed,
            "moved": self.moved,
            "unchanged": self.unchanged,
            "removed": self.removed,
            "kept": self.kept,
            "skipped": self.skipped,
            "failed": len(self.failed),
        }
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        return f"{told or 'nothing found'} in {self.seconds:.2f} s"
