"""The log: commits come back as they were written, or it is told that they do not."""

import json
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import NAME, InMemory

from bufcache.buffer_metadata_cache.store.files import UnsyncedError
from bufcache.buffer_metadata_cache.store.log import Log
from bufcache.errors import BufcacheError, CacheFormatError

COMMITS = [
    [b'["notes",1,{"id":1}]', b'["notes",2,{"id":2,"text":"two"}]'],
    [b'["notes",1]'],
    [b'["notes",2,{"id":2}]'],
    [b'["notes",3,{"id":3}]', b'["notes",4]'],
]


def written(*commits):
    """Return the bytes of a new log with these commits, in pieces: its first line, and each commit."""
    place = InMemory()
    log = writer(place)
    ends = [log.append(lines, len(lines)).position.end for lines in commits]
    content = place.read_log()
    ends.insert(0, content.index(b"\n") + 1)
    return [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def writer(place):
    """Return a log that has been read and can be written to."""
    log = Log(place.files())
    list(log.read_on())
    return log


def read(place):
    """Return the log as another process reads it, and the lines of its commits."""
    log = Log(place.files())
    return log, [commit.lines.splitlines() for commit in log.read_on()]


def is_noticed(place):
    """Tell whether the reader knows that there is more than it could read."""
    log, _ = read(place)
    return bool(log.damage) or log.position.end < len(place.read_log())


# -- writing and reading ----------------------------------------------------------------------------------------------


def test_what_is_written_is_read(place):
    """Another reader is given the commits in order, each with its number and the place of its lines."""
    log = writer(place)
    given = [log.append(lines) for lines in COMMITS]
    read_again = list(Log(place.files()).read_on())
    assert read_again == given
    assert [commit.position.number for commit in given] == [1, 2, 3, 4]
    content = place.read_log()
    assert all(content[commit.start :].startswith(commit.lines) for commit in given)
    assert log.position.end == len(content)


def test_reads_on(place):
    """A reader is given each commit once, also those that other processes write meanwhile."""
    reader = Log(place.files())
    assert list(reader.read_on()) == []
    seen = []
    for lines in COMMITS:
        writer(place).append(lines)
        seen += [commit.lines.splitlines() for commit in reader.read_on()]
        assert list(reader.read_on()) == []
    assert seen == COMMITS
    assert reader.damage == []


def test_writers_in_turn(place):
    """A writer goes on where another one stopped."""
    first, second = writer(place), Log(place.files())
    for lines in COMMITS[:2]:
        first.append(lines)
    assert len(list(second.read_on())) == 2
    second.append(COMMITS[2])
    assert len(list(first.read_on())) == 1
    first.append(COMMITS[3])
    assert read(place)[1] == COMMITS


def test_the_bytes_of_a_log():
    """A log is JSON Lines: the format, then each commit's number, size, ids and checksums, then its documents."""
    first_line, *commits = written(*COMMITS)
    format = json.loads(first_line)
    assert list(format) == ["bufcache", "format", "generation", "salt", "checksum"]
    assert (format["bufcache"], format["format"], format["generation"]) == ("documents", 1, 1)
    previous = checksum = format["checksum"]
    salt = crc32(without_checksum(first_line))
    assert f"{salt:08x}" == checksum
    for number, (commit, lines) in enumerate(zip(commits, COMMITS, strict=True), 1):
        header, payload = commit.split(b"\n", 1)
        checksum = f"{crc32(payload, crc32(without_checksum(header), salt)):08x}"
        assert payload == b"".join(line + b"\n" for line in lines)
        largest = max(len(lines) for lines in COMMITS[:number])
        expected = {"commit": number, "bytes": len(payload), "largest": largest, "previous": previous}
        assert json.loads(header) == {**expected, "checksum": checksum}
        previous = checksum


def without_checksum(line):
    return line[: line.index(b',"checksum"')]


def test_no_two_logs_begin_alike():
    """Each log has a salt of its own, so that the commits of another one do not fit."""
    assert written(COMMITS[0])[0] != written(COMMITS[0])[0]


# -- torn tails -------------------------------------------------------------------------------------------------------


def test_torn_tail(place):
    """Of a commit cut at any byte readers see nothing, and the next writer cuts it off and goes on."""
    *whole, last = written(*COMMITS)
    for tail in [last[:length] for length in range(1, len(last))]:
        torn = b"".join(whole) + tail
        place.write_log(torn)
        log, commits = read(place)
        assert (commits, log.damage) == (COMMITS[:-1], [])
        assert is_noticed(place)
        assert place.read_log() == torn
        writer(place).append(COMMITS[0])
        log, commits = read(place)
        assert (commits, log.damage) == ([*COMMITS[:-1], COMMITS[0]], [])


@pytest.mark.parametrize("filler", [b"\0", b"\xff", b"\n", b'{"commit":'])
def test_torn_tail_of_other_bytes(filler):
    """What the disk may have put in the place of a commit's bytes is no commit either."""
    *whole, last = written(*COMMITS)
    place = InMemory()
    for length in range(len(last) - 1):
        place.write_log(b"".join(whole) + last[:length] + filler * (len(last) - length))
        log, commits = read(place)
        assert (commits, log.damage) == (COMMITS[:-1], [])
        writer(place).append(COMMITS[0])
        assert read(place)[1] == [*COMMITS[:-1], COMMITS[0]]


def test_a_tail_that_becomes_whole(place):
    """A reader that has met half a commit is given it when all of it is there."""
    *whole, last = written(*COMMITS)
    place.write_log(b"".join(whole) + last[:30])
    log, commits = read(place)
    assert commits == COMMITS[:-1]
    place.write_log(b"".join(whole) + last)
    assert [commit.lines.splitlines() for commit in log.read_on()] == [COMMITS[-1]]


def test_a_tail_that_is_cut_while_it_is_read(place):
    """Where a writer puts a commit in the place of a torn tail at which a reader looks, that is no damage."""
    *whole, last = written(*COMMITS)
    place.write_log(b"".join(whole) + last[:-1] + bytes(500))
    end = len(b"".join(whole))
    writers = [writer(place)]

    class Overtaken(Wrapped):
        def read(self, name, offset, length):
            found = self._files.read(name, offset, length)
            if offset == end and writers:
                writers.pop().append(COMMITS[0])
            return found

    log = Log(Overtaken(place.files()))
    commits = [commit.lines.splitlines() for commit in log.read_on()]
    assert (commits, log.damage, writers) == ([*COMMITS[:-1], COMMITS[0]], [], [])


def test_torn_creation(place):
    """A log of which only a part of the first line, or zeros, came to the disk is empty, and is begun anew."""
    first_line = written(COMMITS[0])[0]
    parts = [first_line[:length] for length in range(len(first_line))]
    for part in [*parts, bytes(len(first_line)), first_line[:40] + bytes(60)]:
        place.write_log(part)
        log, commits = read(place)
        assert (commits, log.damage, log.position.end) == ([], [], 0)
        assert place.read_log() == part
        writer(place).append(COMMITS[0])
        assert read(place)[1] == COMMITS[:1]


# -- damage -----------------------------------------------------------------------------------------------------------


def assert_only_whole_commits(place, pieces, content):
    """Read a damaged log: given are all commits that are whole, and those missing before the last one are told."""
    place.write_log(content)
    log, commits = read(place)
    ends = [sum(map(len, pieces[: number + 1])) for number in range(len(pieces))]
    kept = [content[start:end] == piece for start, end, piece in zip([0, *ends], ends, pieces, strict=False)][1:]
    assert commits == [lines for lines, is_kept in zip(COMMITS, kept, strict=True) if is_kept]
    last = max((number for number, is_kept in enumerate(kept) if is_kept), default=-1)
    assert bool(log.damage) == (False in kept[: last + 1])
    assert (log.position.end < len(content)) == (last < len(kept) - 1)


@pytest.mark.parametrize("change", [0x01, 0x20, 0x80])
def test_every_flipped_byte(place, change):
    """With any byte changed, all other commits are read, and the damaged one is told unless it is the last."""
    pieces = written(*COMMITS)
    content = bytearray(b"".join(pieces))
    for position in range(len(pieces[0]), len(content)):
        content[position] ^= change
        assert_only_whole_commits(place, pieces, bytes(content))
        content[position] ^= change


@pytest.mark.parametrize("filler", [b"\0", b"\xff", b"\n", b'{"commit":1'])
@pytest.mark.parametrize("size", [10, 100])
def test_every_block_overwritten(filler, size):
    """With a block of other bytes anywhere, all other commits are read, and it is told."""
    pieces = written(*COMMITS)
    content = b"".join(pieces)
    block = (filler * size)[:size]
    for position in range(len(pieces[0]), len(content) - size):
        changed = content[:position] + block + content[position + size :]
        assert_only_whole_commits(InMemory(), pieces, changed)


def test_damage_is_told_once(place):
    """Damage says where it is and how many commits are lost; who reads on does not hear of it again."""
    first_line, *commits = written(*COMMITS)
    place.write_log(b"".join([first_line, commits[0], b"#" * 100, commits[3]]))
    log, found = read(place)
    start = len(first_line + commits[0])
    assert found == [COMMITS[0], COMMITS[3]]
    assert len(log.damage) == 1
    assert all(part in log.damage[0] for part in (NAME, f"{start} to {start + 100}", "2 commits"))
    writer(place).append(COMMITS[0])
    assert len(list(log.read_on())) == 1
    assert len(log.damage) == 1


def test_the_log_goes_on_behind_damage(place):
    """A writer leaves damage where it is, and what it writes is read."""
    pieces = written(*COMMITS)
    pieces[2] = b"\0" * len(pieces[2])
    place.write_log(b"".join(pieces))
    writer(place).append(COMMITS[1])
    assert place.read_log().startswith(b"".join(pieces))
    log, commits = read(place)
    assert commits == [COMMITS[0], COMMITS[2], COMMITS[3], COMMITS[1]]
    assert len(log.damage) == 1


def test_long_damage():
    """The commit behind damage is found wherever it begins in what is read at a time."""
    first_line, damaged, whole = written(COMMITS[0], COMMITS[1])
    place = InMemory()
    for length in range((1 << 20) - 14, (1 << 20) + 3):
        place.write_log(first_line + damaged[:40].ljust(length, b"x") + b"\n" + whole)
        log, commits = read(place)
        assert (commits, len(log.damage)) == ([COMMITS[1]], 1)


REARRANGED = {  # the commits of a log (1 to 4) and of another one (a to d)
    "dropped": "134",
    "first dropped": "234",
    "swapped": "1324",
    "swapped at the end": "1243",
    "all turned round": "4321",
    "doubled": "11234",
    "doubled at the end": "12344",
    "repeated": "12342",
    "spliced in": "12b34",
    "spliced in the place of one": "1b34",
    "spliced behind": "123d",
    "another log's": "abcd",
}


@pytest.fixture(scope="module")
def pieces():
    """Return the first line of a log, and by name its commits and those of another log."""
    first_line, *ours = written(*COMMITS)
    _, *others = written(*([line.replace(b"notes", b"other") for line in lines] for lines in COMMITS))
    return first_line, dict(zip("1234abcd", [*ours, *others], strict=True))


@pytest.mark.parametrize("order", REARRANGED.values(), ids=REARRANGED)
def test_rearranged_commits(place, pieces, order):
    """Commits dropped, swapped, doubled or spliced in are noticed; another log's are never given."""
    place.write_log(assembled(pieces, order))
    assert_noticed(place, order)


@given(order=st.text("1234abcd", max_size=10))
def test_commits_in_any_order(pieces, order):
    """Whatever was made of the commits of two logs: the right ones are given, forwards, and the rest is noticed."""
    place = InMemory()
    place.write_log(assembled(pieces, order))
    assert_noticed(place, order)


def assembled(pieces, order):
    first_line, by_name = pieces
    return b"".join([first_line, *map(by_name.__getitem__, order)])


def assert_noticed(place, order):
    _, commits = read(place)
    numbers = "".join(str(COMMITS.index(lines) + 1) for lines in commits)
    assert list(numbers) == sorted(set(numbers))
    assert is_noticed(place) == (not "1234".startswith(order))
    assert numbers == order or is_noticed(place)


# -- what is not ours -------------------------------------------------------------------------------------------------


FOREIGN = {
    "text": b"measurements of last year\n",
    "TinyDB's own": b'{"_default": {"1": {"name": "a"}}}',
    "JSON Lines": b'{"commit":1}\n{"commit":2}\n',
    "an empty line": b"\n",
    "SQLite": b"SQLite format 3\0" + bytes(4000),
    "a long line": b'{"bufcache":"documents"' + b"x" * 600,
    "other keys": b'{"bufcache":"documents","generation":1}\n',
    "other spaces": b'{"bufcache": "documents", "format": 1, "checksum": "00000000"}\n',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_foreign_file(place, content):
    """A file that is not a log is refused and stays as it is."""
    place.write_log(content)
    with pytest.raises(CacheFormatError, match="left untouched"):
        read(place)
    assert place.read_log() == content


def test_newer_format(place):
    """A log of a newer format is refused, stays as it is, and the message says that an update helps."""
    first_line, *commits = written(*COMMITS)
    start = without_checksum(first_line).replace(b'"format":1', b'"format":2')
    content = b"".join([start, b',"checksum":"%08x"}\n' % crc32(start), *commits])
    place.write_log(content)
    with pytest.raises(CacheFormatError, match=r"format 2.*up to 1; update bufcache"):
        read(place)
    assert place.read_log() == content


@pytest.mark.parametrize("change", [0x01, 0x20, 0x80])
def test_every_flipped_byte_of_the_first_line(place, change):
    """With any byte of its first line changed the commits are read all the same: the first one has the salt, too."""
    content = bytearray(b"".join(written(*COMMITS)))
    for position in range(content.index(b"\n") + 1):
        content[position] ^= change
        place.write_log(content)
        log, commits = read(place)
        assert commits == COMMITS
        assert log.damage == [f"{NAME}: the first line is damaged, no commit is lost"]
        writer(place).append(COMMITS[0])
        assert read(place)[1] == [*COMMITS, COMMITS[0]]
        content[position] ^= change


def test_damaged_beginning(place):
    """A log whose first line and first commit are damaged is refused and stays as it is."""
    first_line, *commits = written(*COMMITS)
    content = b"".join([b"#" * len(first_line), b"#" * len(commits[0]), *commits[1:]])
    place.write_log(content)
    with pytest.raises(CacheFormatError, match="left untouched"):
        read(place)
    assert place.read_log() == content


@given(content=st.binary(max_size=700), is_ours=st.booleans())
def test_any_bytes(pieces, content, is_ours):
    """Whatever the bytes: no commits come from them, and none but our own errors."""
    place = InMemory()
    place.write_log(pieces[0] * is_ours + content)
    try:
        assert read(place)[1] == []
    except CacheFormatError:
        assert not is_ours


@pytest.mark.parametrize(
    "payload",
    [b"", b"\n", b"[]\n", b"{}\n", b'["notes"]\n', b"\xff\n", b'["notes",1,{}', b"[" * 10000 + b"\n"],
    ids=lambda payload: repr(payload)[:20],
)
def test_commit_of_other_lines(place, payload):
    """What verifies is given as it is: what the lines mean is not the log's to know."""
    log = writer(place)
    log.append([payload[:-1]])
    [commit] = Log(place.files()).read_on()
    assert commit.lines == payload[:-1] + b"\n"


# -- what happens to open logs ----------------------------------------------------------------------------------------


def test_log_that_became_shorter(place):
    """A log that is shorter than what was read of it is an error for readers and writers."""
    log = writer(place)
    for lines in COMMITS:
        log.append(lines)
    place.write_log(place.read_log()[:-1])
    with pytest.raises(CacheFormatError, match="reopen"):
        list(log.read_on())


def test_log_that_was_made_anew(place):
    """A log whose place another one has taken is an error, and the other one stays whole."""
    log = writer(place)
    log.append(COMMITS[0])
    other = b"".join(written(*COMMITS))
    place.write_log(other)
    with pytest.raises(CacheFormatError):
        list(log.read_on())
    assert place.read_log() == other


class Wrapped:
    """Files of which a subclass changes something."""

    def __init__(self, files):
        self._files = files

    def __getattr__(self, name):
        return getattr(self._files, name)


class Unsynced(Wrapped):
    """Files whose disk never confirms a write."""

    def append(self, name, data):
        self._files.append(name, data)
        raise UnsyncedError(5, "the disk did not answer")


def test_unconfirmed_write_poisons(place):
    """After a write that the disk did not confirm a log is not written to any more; another one goes on."""
    writer(place).append(COMMITS[0])
    poisoned = Log(Unsynced(place.files()))
    list(poisoned.read_on())
    with pytest.raises(UnsyncedError):
        poisoned.append(COMMITS[1])
    before = place.read_log()
    with pytest.raises(BufcacheError, match="open it again"):
        poisoned.append(COMMITS[2])
    assert place.read_log() == before
    writer(place).append(COMMITS[2])
    assert read(place)[1][0] == COMMITS[0]
    assert read(place)[1][-1] == COMMITS[2]
