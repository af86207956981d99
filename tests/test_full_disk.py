"""A disk that is really full: a small one that is mounted, or where that is not allowed the limit for a process."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stores import NOTES, contents, limit, note, open_database

from bufcache.buffer_metadata_cache.store.files import DiskFiles

MOUNT = 'mount -t tmpfs -o size=400k tmpfs "$1" && echo mounted && shift && exec "$@"'


def test_full_disk(tmp_path):
    """A commit for which there is no room raises OSError; reading works, nothing is lost, and with room it goes on."""
    pytest.importorskip("resource", reason="Windows mounts no disk like this, and limits no process")
    folder = tmp_path / "store"
    folder.mkdir()
    work = [sys.executable, __file__, str(folder)]
    told = ""
    if shutil.which("unshare"):
        mounted = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", str(folder)]
        told = subprocess.run([*mounted, *work], capture_output=True, text=True, check=False).stdout
    if not told.startswith("mounted"):
        told = subprocess.run([*work, "limited"], capture_output=True, text=True, check=True).stdout
    assert told.endswith("whole\n")


def fill(folder, is_limited):
    """Commit until the disk is full, several times; then make room, and go on."""
    room = Limit() if is_limited else Ballast(folder / "ballast")
    database = open_database(DiskFiles(str(folder)))
    room.take()
    number, expected, failed = 0, {}, 0
    while failed < 20:
        number += 1
        document = {"id": number, "number": number, "text": "x" * 3000}
        try:
            database.commit([note(number, number=number, text=document["text"])])
        except OSError:
            failed += 1
        else:
            expected[number] = document
        assert contents(database) == contents(open_database(DiskFiles(str(folder)))) == {NOTES: expected}
    assert len(expected) > 5
    for compact in (database.compact, database.close):
        try:
            compact()
        except OSError:
            failed += 1
    assert failed > 20
    database = open_database(DiskFiles(str(folder)))
    assert contents(database) == {NOTES: expected}
    room.make()
    database.commit([note(1, number=-1), note(number + 1, text="there is room")])
    expected |= {1: {"id": 1, "number": -1}, number + 1: {"id": number + 1, "text": "there is room"}}
    database.compact()
    database.close()
    database = open_database(DiskFiles(str(folder)))
    assert contents(database) == {NOTES: expected}
    assert database.problems() == []
    print("whole")


class Ballast:
    """Room on a disk that is taken by a file."""

    def __init__(self, path):
        self._path = path

    def take(self):
        self._path.write_bytes(bytes(200_000))

    def make(self):
        self._path.unlink()


class Limit:
    """Room for a process in each file."""

    def take(self):
        self._limit(100_000)

    def make(self):
        self._limit(10**7)

    def _limit(self, size):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        limit(patch, flushed=3, merged=3)
        fill(Path(sys.argv[1]), "limited" in sys.argv)
