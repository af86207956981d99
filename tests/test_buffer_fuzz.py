"""Whatever bytes a file holds: a value or a BufcacheError, in bounded memory and time."""

import contextlib
import operator
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenarios import ramp, sub_data
from strategies import buffer_files, combined_scenarios, sub_data_files

from bufcache.buffer_parser import Buffer
from bufcache.buffer_parser.header import SubDataPlace
from bufcache.buffer_parser.layout import FILE_HEADER, SUB_DATA_BEGIN, SUB_DATA_END
from bufcache.errors import BufcacheError, InvalidFileError, TruncatedFileError
from bufcache.testing import typical_header, write_buffer

PROPERTIES = [name for name in dir(Buffer) if isinstance(getattr(Buffer, name), property) and name[0] != "_"]
CALLS = {
    "get_data": [(), (0, 1), (1, 2, "delog"), (None, None, "log")],
    "refresh": [()],
    "getArray": [(0, 1, True)],
    "getSpecDuration": [()],
    "getRealSpecCount": [()],
    "spec_to_time_ns": [(3,)],
    "time_to_spec": [(1e6,)],
    "db_header": [(0,), (1,)],
    "db_header_spec": [(3,)],
    "db_value": [(0, "sd_rsize")],
    "io_ports": [(0,), (1, 4, 8)],
    "io_ports_spec": [(3, 1)],
    "block_infos": [(), (["times", "spectrums", "mux_port", "index"], True)],
}
BLOCK_CALLS = ("db_header", "db_header_spec", "io_ports", "block_infos")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "Fuzz_00001p1c0b01"


@pytest.fixture(scope="module")
def valid(path):
    """Return a small valid file that has an entry of every type, and the length of what stands in its header."""
    header = {**typical_header(fftlogsh=8), "comments": "text", "m_u_mask": 5, "new_key4": b"\1\2\3\4"}
    write_buffer(path, header, ramp(6, 8), header_size=700)
    content = path.read_bytes()
    return content, content.index(b"headsend") + 8


def ask_everything(path, by=operator.call) -> None:
    """Ask for every property and call every method, each by itself by a function; let only a BufcacheError pass."""
    buffer = Buffer(path)
    with contextlib.suppress(BufcacheError), contextlib.closing(buffer):
        by(buffer.__enter__)
        for ask in everything(buffer):
            with contextlib.suppress(BufcacheError, IndexError):
                by(ask)


def everything(buffer) -> Iterator[Callable[[], object]]:
    """Yield what asks a buffer for everything that it has."""
    yield from (partial(getattr, buffer, name) for name in PROPERTIES)
    yield from calls(buffer, CALLS)
    for limits in ({"frequency": (1e6, 4e7)}, {"time": (1e-5, 1e-3)}, {"frequency": (None, 0), "time": (0, None)}):
        yield partial(buffer.get_data, conversion="delog", **limits)
    for key in (0, (-1, -1), slice(None, None, -3), (..., slice(1, None, 2)), [0, -1, 0], slice(2, 4)):
        yield lambda key=key: buffer.data[key]
    yield partial(count_in_blocks, buffer)


def count_in_blocks(buffer) -> None:
    assert sum(map(len, buffer.data.iter_blocks(2))) == len(buffer.data)


def calls(buffer, names) -> Iterator[Callable[[], object]]:
    """Yield what calls methods of a buffer, with all the arguments that are tried."""
    for name in names:
        yield from (partial(getattr(buffer, name), *arguments) for arguments in CALLS[name])


def ask_about_blocks(path, by=operator.call) -> None:
    """Ask for what stands in block headers, each by itself by a function; let only a BufcacheError pass."""
    with contextlib.suppress(BufcacheError), Buffer(path) as buffer:
        for ask in (*calls(buffer, BLOCK_CALLS), lambda: buffer.last_spec):
            with contextlib.suppress(BufcacheError):
                by(ask)


def ask_about(path, content: bytes) -> None:
    path.write_bytes(content)
    ask_everything(path)


@given(content=st.binary(max_size=3000) | st.binary(max_size=3000).map(b"qassdata\x64\0\0\0".__add__))
def test_random_bytes(path, content):
    """Random bytes, with and without the magic number, raise only our errors."""
    ask_about(path, content)


keys = st.sampled_from([*map(str.encode, FILE_HEADER), b"new_key4", b"NEW_KEY4"])


@given(entries=st.lists(st.tuples(keys, st.binary(max_size=12)), max_size=60), size=st.integers(0, 800))
def test_random_values_of_known_keys(path, entries, size):
    """Known keys with values of any length and content raise only our errors."""
    header = b"qassdata" + size.to_bytes(4, "little") + b"".join(key + value for key, value in entries)
    ask_about(path, header.ljust(size, b"\0") + bytes(range(256)) * 4)


@given(file=buffer_files() | combined_scenarios(), data=st.data())
def test_damaged_random_files(path, file, data):
    """A random valid file of which any bytes were overwritten raises only our errors."""
    content = bytearray(file.write(path).read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + 8] = data.draw(st.binary(min_size=1, max_size=8))
    ask_about(path, bytes(content))


def test_every_truncation(path, valid):
    """A valid file that is cut at any byte raises only our errors; inside the header, TruncatedFileError."""
    content, _ = valid
    for size in range(len(content)):
        ask_about(path, content[:size])
        if size < 700:
            with pytest.raises(TruncatedFileError if size >= 8 else InvalidFileError):
                _ = Buffer(path).process


@pytest.mark.parametrize("part", range(4))
def test_every_flipped_byte(path, valid, part):
    """A valid file of which one byte was changed, any in its header to many values, raises only our errors."""
    content, end = valid
    for position in range(part, end, 4):
        bits = [content[position] ^ 1 << bit for bit in range(8)]
        spread = [(content[position] + position * 31 + step * 15) % 256 for step in range(1, 17)]
        for value in {*bits, *spread}:
            ask_about(path, content[:position] + bytes([value]) + content[position + 1 :])


EXTREMES = (-(2**31), -(2**31) + 1, -65_536, -2, -1, 0, 1, 2, 3, 7, 2**15, 2**20, 2**31 - 2, 2**31 - 1)
INTEGER_KEYS = [key for key, entry in FILE_HEADER.items() if entry.code == "i4" and key in typical_header()]


def patched(content: bytes, key: str, value: int) -> bytes:
    """Return the content of a file with another value of 4 bytes behind a key."""
    start = content.index(key.encode()) + 8
    return content[:start] + (value % 2**32).to_bytes(4, "little") + content[start + 4 :]


@pytest.mark.parametrize("key", ["qassdata", *INTEGER_KEYS])
def test_extreme_values(path, key):
    """A key that says the least, the most, or nothing plausible raises only our errors, in 64 MB and in no time."""
    for changes in ({}, {"framedur": None}, {"framedur": None, "datamode": 1}):
        content = write_buffer(path, changes, ramp(6, 8)).read_bytes()
        for value in EXTREMES:
            path.write_bytes(patched(content, key, value))
            ask_everything(path, by=cheaply)


@pytest.mark.parametrize("framedur", [0.0, -0.0, 5e-324, -1.5, 1e308, float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("key", ["framedur", "frqpband"])
def test_extreme_floats(path, key, framedur):
    """Numbers that are none, infinite or zero raise only our errors."""
    write_buffer(path, {key: framedur, "end__frq": None}, ramp(6, 8))
    ask_everything(path)


LIES = (
    {"framsize": 2**31 - 1},
    {"framsize": 1, "b_p_samp": 2**31 - 1},
    {"db__size": 1, "dbhdsize": 0},
    {"db__size": 2**31 - 1, "dbhdsize": 2**31 - 1},
    {"db__size": 2**31 - 1, "dbhdsize": 0},
    {"qassdata": 2**31 - 1},
    {"qassdata": 2**22},
)


@pytest.mark.parametrize("header", LIES, ids=str)
def test_lying_sizes_cost_nothing(path, header):
    """A header that announces more than the file holds costs neither memory nor time."""
    content = write_buffer(path, None, ramp(100, 64)).read_bytes()
    for key, value in header.items():
        content = patched(content, key, value)
    path.write_bytes(content)
    ask_everything(path, by=cheaply)


@pytest.mark.parametrize("size", [1, 2, 3, 511])
def test_small_blocks_of_a_large_file_cost_little(path, size):
    """Blocks of a few bytes, a million of them, are read within the limits."""
    content = write_buffer(path, None, ramp(10_000, 64)).read_bytes()
    path.write_bytes(patched(patched(content, "db__size", size), "dbhdsize", size // 2))
    buffer = Buffer(path)
    assert len(cheaply(buffer.get_data)) == buffer.spec_count > 5000
    assert len(cheaply(lambda: buffer.data[5:9])) == 4


# -- block headers ------------------------------------------------------------------------------------------------

BLOCK_HEADER_SIZE = 340


@pytest.fixture(scope="module", params=[(10, 16), (10, 24), (20, 16)], ids=str)
def with_sub_data(request, path):
    """Return a small valid file of three blocks with sub data, and where its blocks begin."""
    header = {"db__size": 32, "dbhdsize": BLOCK_HEADER_SIZE, "framedur": 5.5}
    write_buffer(path, header, ramp(6, 8), header_size=700, block_headers=sub_data(*request.param, 2))
    content = path.read_bytes()
    return content, len(content) - 3 * (BLOCK_HEADER_SIZE + 32)


def test_every_truncation_of_blocks(path, with_sub_data):
    """A valid file that is cut at any byte behind its header raises only our errors."""
    content, start = with_sub_data
    for size in range(start, len(content)):
        path.write_bytes(content[:size])
        ask_about_blocks(path)


@pytest.mark.parametrize("block", range(3))
def test_every_flipped_byte_of_block_headers(path, with_sub_data, block):
    """A valid file of which one byte of a block header or its sub data was changed raises only our errors."""
    content, start = with_sub_data
    first = start + block * (BLOCK_HEADER_SIZE + 32)
    for position in range(first, first + BLOCK_HEADER_SIZE):
        for value in {*(content[position] ^ 1 << bit for bit in range(8)), 0, 80, 255} - {content[position]}:
            path.write_bytes(content[:position] + bytes([value]) + content[position + 1 :])
            ask_about_blocks(path)


@pytest.mark.parametrize("key", ["db__size", "dbhdsize", "framsize", "b_p_samp", "sd_rsize", "blochead", "sd_dsize"])
def test_extreme_sizes_around_sub_data(path, with_sub_data, key):
    """Sizes that are the least, the most, or nothing plausible raise only our errors, in 64 MB and in no time."""
    content, _ = with_sub_data
    for value in EXTREMES:
        path.write_bytes(patched(content, key, value))
        ask_about_blocks(path, by=cheaply)


@given(file=sub_data_files() | sub_data_files(may_lack_ends=True), data=st.data())
def test_damaged_random_sub_data(path, file, data):
    """A random file with sub data of which any bytes behind its header were overwritten raises only our errors."""
    content = bytearray(file.write(path).read_bytes())
    header_end = int.from_bytes(content[8:12], "little")
    pieces = st.binary(min_size=1, max_size=8) | st.sampled_from([SUB_DATA_END, SUB_DATA_BEGIN, b"blockend"])
    for _ in range(data.draw(st.integers(1, 5)) if len(content) > header_end else 0):
        start, piece = data.draw(st.integers(header_end, len(content) - 1)), data.draw(pieces)
        content[start : start + len(piece)] = piece
    path.write_bytes(content)
    ask_about_blocks(path)


def table_of(path) -> object:
    """Return a table of all rows, or what was raised instead."""
    try:
        return Buffer(path).block_infos(["mux_port", "times", "index", "spectrums"]).tolist()
    except BufcacheError as error:
        return type(error), str(error)


@given(file=sub_data_files() | sub_data_files(may_lack_ends=True))
def test_blocks_as_the_first_are_read_as_any_other(path, file):
    """What is read of a header that is laid out as that of block 0 gives the same as the whole header does."""
    file.write(path)
    found = table_of(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SubDataPlace, "is_in", lambda *arguments: False)
        assert table_of(path) == found


def test_a_huge_block_header_of_a_huge_file(path):
    """A block header of gigabytes, which a sparse file could hold, is not read to its end."""
    header = {"db__size": 2**20, "dbhdsize": 2**31 - 1}
    entries = {"sd_rsize": 1, "begin_subdat": bytes(80), "end___subdat": None}
    small = {**header, "dbhdsize": 200}
    content = write_buffer(path, small, ramp(6, 8), block_headers=lambda number: entries).read_bytes()
    path.write_bytes(patched(content[:2140], "dbhdsize", 2**31 - 1))
    os.truncate(path, 2**33)
    ask_about_blocks(path, by=cheaply)
    with pytest.raises(InvalidFileError, match=r"block 0: .*2147483647 bytes \(dbhdsize\); expected at most"):
        Buffer(path).db_header(0)


@pytest.mark.parametrize(
    ("sizes", "described", "file_size"),
    [
        ({"db__size": 2**28, "dbhdsize": 2**29, "framsize": 1}, 1, 2**31),
        ({"db__size": 2**28, "dbhdsize": 2**24, "framsize": 1}, 1, 2**31),
        ({"db__size": 2**31 - 1, "dbhdsize": 300, "framsize": 1}, 2, 2**34),
        ({"db__size": 16, "dbhdsize": 2**24, "framsize": 2**14}, 1, 2**14 * (2**24 + 16)),
        ({"db__size": 16, "dbhdsize": 300, "framsize": 1}, 2, 2**34),
    ],
    ids=str,
)
def test_sub_data_of_a_huge_file_that_lack(path, sizes, described, file_size):
    """There is no room for sub data, nor for a table, that a sparse file only seems to hold."""
    entries = {"sd_rsize": described, "begin_subdat": bytes(80)}
    header = {"framsize": 8, "s_p_fram": None, "frqbands": None, "db__size": 2**20, "dbhdsize": 300}
    content = write_buffer(path, header, ramp(6, 8), block_headers=lambda number: entries).read_bytes()
    for key, size in sizes.items():
        content = patched(content, key, size)
    path.write_bytes(content[:2300])
    os.truncate(path, file_size)
    with pytest.raises(BufcacheError, match="block"):
        cheaply(Buffer(path).block_infos)


# -- limits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 100, 2**16, 2**31, 2**32 - 1])
def test_texts_that_are_longer_than_the_header(path, length):
    """A text that reaches beyond the header is an InvalidFileError, however much the file holds behind it."""
    header = {"asc_part": "Part", "headsend": None}
    content = write_buffer(path, header, np.zeros((3000, 64), "<u2"), header_size=0).read_bytes()
    path.write_bytes(patched(content, "asc_part", length))
    ask_everything(path, by=cheaply)
    if length > 1000:
        with pytest.raises(InvalidFileError, match="asc_part"):
            _ = Buffer(path).partnumber


def test_a_huge_header_of_a_huge_file(path):
    """A header size that a sparse file could hold, but no header has, is refused before it is read."""
    write_buffer(path, {"qassdata": 2**31 - 1})
    os.truncate(path, 2**40)
    with pytest.raises(InvalidFileError, match="2147483647"):
        cheaply(lambda: Buffer(path).process)


def cheaply(ask):
    """Ask; fail where that takes 64 MB of memory, or each of three times 100 ms of the processor."""
    taken = processor_time(ask)
    if taken >= 0.1:  # the processor is not ours alone
        taken = min(processor_time(ask), processor_time(ask))
    assert taken < 0.1
    return ask()


def processor_time(ask) -> float:
    """Return the seconds until there is an answer or an error; fail where that takes 64 MB of memory."""
    tracemalloc.start()
    try:
        before = time.process_time()
        with contextlib.suppress(BufcacheError, IndexError):
            ask()
        taken, (_, peak) = time.process_time() - before, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20
    return taken
