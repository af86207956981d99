"""kill -9: a writer dies at any moment, again and again; a reader beside it sees whole commits, and never fewer."""

import os
import random
import signal
import time

import pytest
from stores import NOTES, OTHER, OWN, Note, OnDisk, commit_batch, contents, insert, limit, note, open_database

from bufcache.buffer_metadata_cache.store.database import Edit

KILLS = 60

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork, which makes writers fast enough")


def write_for_ever(place, pipe, seed):
    """Commit, and tell the number of each commit once it has returned."""
    generator = random.Random(seed)
    database = open_database(place.files())
    number = contents(database).get(OTHER, {1: {"number": 0}})[1]["number"]
    while True:
        number += 1
        database.commit(
            [
                *(note(id, number=number, text="x" * generator.choice([1, 100, 5000])) for id in (1, 2)),
                note(10 + number, number=number),
                Edit(OWN, 1, {"weight": number}),
                Edit(OTHER, 1, {"number": number}),
            ]
        )
        os.write(pipe, b"%d\n" % number)
        if generator.random() < 0.3:  # these notes say nothing of the number
            commit_batch(database, {1000 + generator.randrange(50): {} for _ in range(6)})
            database.commit([Edit(NOTES, 1000 + generator.randrange(50), None)])
        if generator.random() < 0.1:
            database.compact()
        if generator.random() < 0.1:
            database.close()
            database = open_database(place.files())


def start(place, seed):
    """Return the number of a process that writes for ever, and where it tells its commits."""
    told, pipe = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(told)
            write_for_ever(place, pipe, seed)
        finally:
            os._exit(1)
    os.close(pipe)
    return process, told


def number_in(database):
    """Return the number of the last commit, which all that it wrote has."""
    with database.reading():
        if not database.table_names():
            return 0
        number = database.document(OTHER, 1)["number"]
        assert database.document(OWN, 1) == {"weight": number, "id": 1}
        assert [database.document(NOTES, id)["number"] for id in (1, 2, 10 + number)] == [number] * 3
        index = database.table(NOTES)
        ids, numbers = index.take(index.match(Note.number >= 1), [Note.id, Note.number])
        assert ids == [1, 2, *range(11, 11 + number)]
        assert numbers == [number, number, *range(1, number + 1)]
    return number


def test_killed_at_any_moment(tmp_path, monkeypatch):
    """What a writer had committed before it was killed is there, whole, for the reader and for the next writer."""
    limit(monkeypatch, flushed=20, merged=3, worth_compacting=100_000)
    place, generator = OnDisk(tmp_path / "store"), random.Random(1)
    insert(open_database(OnDisk(tmp_path / "other").files()), {})  # imports what each writer needs
    reader = open_database(place.files(), is_read_only=True)
    last = acknowledged = 0
    for seed in range(KILLS):
        before = last
        process, told = start(place, seed)
        wanted, end = before + generator.randrange(5), time.monotonic() + 10
        while last < wanted and time.monotonic() < end:
            number = number_in(reader)
            assert number >= last
            last = number
        time.sleep(generator.uniform(0, 0.01))
        os.kill(process, signal.SIGKILL)
        assert os.waitpid(process, 0)[1] == signal.SIGKILL
        with os.fdopen(told) as lines:
            acknowledged = max([acknowledged, *map(int, (line for line in lines if line.endswith("\n")))])
        assert max(last, acknowledged) <= number_in(reader) <= max(before, acknowledged) + 1
        last = number_in(reader)
        database = open_database(place.files())
        assert number_in(database) == last
        assert contents(database) == contents(reader)
        told = database.problems()
        assert [each for each in told if "not finished" not in each and "not used" not in each] == []
        database.close()
    assert last > KILLS
    reader.close()
