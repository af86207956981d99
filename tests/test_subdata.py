"""Block headers and sub data by hand: each sentence of docs/file-format.md that tells of them."""

import pickle

import numpy as np
import pytest
from scenarios import cut, ramp, sub_data

from bufcache.buffer_parser import Buffer, data
from bufcache.errors import (
    ClosedError,
    InvalidArgumentError,
    InvalidFileError,
    MissingHeaderError,
    TruncatedFileError,
)
from bufcache.testing import write_buffer

HEADER = 2048
DEFAULT = ["preamp_gain", "mux_port", "measure_positions", "inputs", "outputs"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "Test_00001p7c0b01"


def write(path, block_headers=None, block_size=128, **header):
    """Write 10 spectra of 16 samples, 32 bytes each: four a block, so that there are blocks 0, 1 and 2."""
    sizes = {"db__size": block_size, "dbhdsize": HEADER, "framedur": 1000.0}
    write_buffer(path, {**sizes, **header}, ramp(10, 16), block_headers=block_headers)
    return Buffer(path)


def numbered(described=32, entries=8, words=10):
    """Return block headers in which the entry i of block k has the mux port 100 k + i."""

    def block_header(number):
        table = np.zeros((entries, words), "<i4")
        table[:, 1] = 100 * number + np.arange(entries)
        table[:, 10:11] = 80
        return {"sd_rsize": described, "begin_subdat": table.tobytes()}

    return block_header


def one_entry(*words):
    """Return the header of every block: one narrow entry again and again."""
    entry = np.array([*words, *[0] * (10 - len(words))], np.int64).astype("<i4").tobytes()
    return lambda number: {"sd_rsize": 32, "begin_subdat": entry * 4}


# -- one header ---------------------------------------------------------------------------------------------------


def test_a_block_header_is_a_dict_in_file_order(path):
    """Known keys in the order of the file, sub data as bytes, ends as None; unknown keys are skipped."""
    header = [("mux_port", -3), ("new_key4", b"\1\2\3\xff"), ("lastsamp", 2**40), ("begin_subdat", b"sub data")]
    buffer = write(path, lambda number: [*header, ("new_key8", b"\1\2\3\4\5\6\7\xff"), ("io_ports", 5)])
    expected = [("blochead", HEADER), ("mux_port", -3), ("lastsamp", 2**40), ("begin_subdat", b"sub data")]
    assert list(buffer.db_header(1).items()) == [
        *expected,
        ("end___subdat", None),
        ("io_ports", 5),
        ("blockend", None),
    ]


def test_the_last_of_repeated_keys_counts(path):
    """A key may repeat, the last one counts."""
    buffer = write(path, lambda number: [("mux_port", 1), ("mux_port", 2)])
    assert buffer.db_value(0, "mux_port") == 2


def test_sub_data_run_up_to_the_first_end(path):
    """The length of the sub data is that up to the first end, whatever sd_dsize says; they may be empty."""
    buffer = write(path, lambda number: {"sd_dsize": 999, "begin_subdat": b"" if number else b"x" * 7})
    assert (buffer.db_value(0, "begin_subdat"), buffer.db_value(1, "begin_subdat")) == (b"x" * 7, b"")


@pytest.mark.parametrize("header", [None, [("blochead", None)]], ids=["zeros", "blockend alone"])
def test_empty_block_headers(path, header):
    """A block header that starts with a zero is empty; one that starts with its end has nothing but that."""
    buffer = write(path, lambda number: header)
    assert buffer.db_header(0) == ({} if header is None else {"blockend": None})


def test_what_follows_the_end_is_padding(path):
    """Nothing that stands behind blockend, or behind a zero where a key must stand, is read."""
    buffer = write(path, lambda number: [("mux_port", 1), ("blockend", b""), ("mux_port", 2)])
    assert buffer.db_value(0, "mux_port") == 1
    buffer = write(path, lambda number: [("mux_port", 1), ("blockend", None)])
    assert buffer.db_header(0) == {"blochead": HEADER, "mux_port": 1}
    content = bytearray(path.read_bytes())
    content[2000 + 100 : 2000 + 108] = b"GARBAGE!"
    path.write_bytes(content)
    assert Buffer(path).db_header(0) == {"blochead": HEADER, "mux_port": 1}


def test_blocks_without_room_for_a_header(path):
    """Block headers of 0 bytes are empty."""
    assert write(path, dbhdsize=0).db_header(1) == {}


def test_a_header_that_its_entries_fill(path):
    """A block header without end and padding is read to its last byte."""
    write_buffer(path, {"db__size": 128, "dbhdsize": 24}, ramp(10, 16), block_headers=lambda number: SHORT)
    assert Buffer(path).db_header(0) == {"blochead": 24, "mux_port": 7}


SHORT = [("blochead", 24), ("mux_port", 7), ("blockend", None)]


def test_db_value(path):
    """The value of one key; one that is missing is named with block and path."""
    buffer = write(path)
    assert buffer.db_value(1, "firstsam") == 64
    with pytest.raises(MissingHeaderError, match=r"p7c0b01.*block 2.*'lastsam'.*did you mean 'lastsamp'"):
        buffer.db_value(2, "lastsam")


@pytest.mark.parametrize("key", [["mux_port"], 5, None, b"mux_port"])
def test_keys_that_are_no_texts(path, key):
    """A key that is no str is refused."""
    with pytest.raises(InvalidArgumentError, match=r"p7c0b01: key is .*; expected a str"):
        write(path).db_value(0, key)


@pytest.mark.parametrize("number", [-1, 3, 2**70, 1.0, "1", None])
def test_blocks_that_there_are_not(path, number):
    """A block outside of 0 to db_count - 1, or no integer, is refused with the path and what is possible."""
    buffer = write(path, numbered())
    for call in (buffer.db_header, buffer.io_ports, lambda block: buffer.db_value(block, "mux_port")):
        with pytest.raises(InvalidArgumentError, match=r"p7c0b01: block .*(0 to 2 are possible|expected an integer)"):
            call(number)


def test_integers_of_any_type(path):
    """Blocks and spectra are given as anything that is an integer."""
    buffer = write(path)
    assert buffer.db_header(np.uint8(1)) == buffer.db_header(True) == buffer.db_header_spec(np.int64(4))


@pytest.mark.parametrize("block_size", [128, 72, 20])
def test_the_block_of_a_spectrum(path, block_size):
    """db_header_spec and io_ports_spec are those of the block in which the spectrum starts."""
    buffer = write(path, lambda number: {"io_ports": ~number}, block_size)
    for spec in range(10):
        block = spec * 32 // block_size
        assert buffer.db_header_spec(spec) == buffer.db_header(block)
        assert buffer.io_ports_spec(spec) == block
        assert buffer.io_ports_spec(spec, 1, 1) is bool(block & 1)


@pytest.mark.parametrize("number", [-1, 10, 1.5])
def test_spectra_that_there_are_not(path, number):
    """A spectrum outside of 0 to spec_count - 1, or no integer, is refused with the path and what is possible."""
    buffer = write(path)
    for call in (buffer.db_header_spec, buffer.io_ports_spec):
        with pytest.raises(InvalidArgumentError, match=r"p7c0b01: spectrum .*(0 to 9 are|an integer)"):
            call(number)


def test_a_file_without_blocks(path):
    """A file that is only a header has no block to ask about, and a table of no rows."""
    buffer = Buffer(write_buffer(path, None, ramp(0, 16)))
    for call in (buffer.db_header, buffer.db_header_spec, buffer.io_ports, buffer.io_ports_spec):
        with pytest.raises(InvalidArgumentError, match="the file has none"):
            call(0)
    with pytest.raises(MissingHeaderError, match=r"p7c0b01: last_spec"):
        _ = buffer.last_spec
    table = buffer.block_infos(["mux_port", "times"], changes_only=True)
    assert (table.shape, table.dtype) == ((0, 2), np.int64)


def test_last_spec(path):
    """last_spec is lastsamp of the last block // frq_bands, whatever the file holds."""
    buffer = write(path, lambda number: {"lastsamp": 1000 + number})
    assert (buffer.last_spec, buffer.spec_count) == (1002 // 16, 10)
    with pytest.raises(MissingHeaderError, match=r"block 2 has no 'lastsamp'"):
        _ = write(path, lambda number: None).last_spec


# -- ports --------------------------------------------------------------------------------------------------------


def test_io_ports(path):
    """The ports are the 24 lowest bits, inverted; a byte is 8 of them, a bit one."""
    buffer = write(path, lambda number: {"io_ports": ~0x7F_81_0F_A5})
    assert buffer.io_ports(0) == 0x810FA5
    assert [buffer.io_ports(0, byte) for byte in (1, 2, 4)] == [0xA5, 0x0F, 0x81]
    assert [buffer.io_ports(0, 1, bit) for bit in range(1, 9)] == [True, False, True, False, False, True, False, True]
    assert [buffer.io_ports(0, 4, bit) for bit in range(1, 9)] == [True, *[False] * 6, True]
    assert buffer.io_ports(0, True, np.uint8(1)) is buffer.io_ports(0, 1, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        (0,),
        (3,),
        (8,),
        ("1",),
        (1.0,),
        (np.array([1, 2]),),
        ([1],),
        (1, 0),
        (1, 9),
        (1, "1"),
        (1, 2.0),
        (1, np.zeros(2)),
        (None, 1),
        (0, 1),
    ],
)
def test_ports_that_there_are_not(path, arguments):
    """A byte other than 1, 2, 4, a bit outside of 1 to 8, and a bit without a byte are refused."""
    buffer = write(path, lambda number: {"io_ports": 0})
    for call in (buffer.io_ports, buffer.io_ports_spec):
        with pytest.raises(InvalidArgumentError, match=r"p7c0b01: (byte|bit) is .*expected"):
            call(0, *arguments)


def test_blocks_without_ports(path):
    """A block header without the key is named."""
    with pytest.raises(MissingHeaderError, match="block 1 has no 'io_ports'"):
        write(path).io_ports(1)


# -- the table: which entry, which row ----------------------------------------------------------------------------


def infos(buffer, *columns, **options):
    return buffer.block_infos(list(columns), **options).tolist()


@pytest.mark.parametrize("words", [10, 20])
def test_an_entry_a_spectrum(path, words):
    """Where an entry describes a spectrum there is a row a spectrum; entries have 10 or 20 words."""
    ports = [0, 1, 2, 3, 100, 101, 102, 103, 200, 201]
    buffer = write(path, numbered(words=words))
    assert infos(buffer, "mux_port", "index", "spectrums", "times") == [
        [port, row, row, 1000 * row] for row, port in enumerate(ports)
    ]


def test_several_entries_a_spectrum(path):
    """Where a spectrum has e entries there is a row a spectrum, row i from entry trunc(i * e)."""
    ports = [0, 1, 3, 4, 100, 101, 103, 104, 200, 201]
    assert infos(write(path, numbered(described=21)), "mux_port", "spectrums", "times") == [
        [port, row, 1000 * row] for row, port in enumerate(ports)
    ]


def test_several_spectra_an_entry(path):
    """Where an entry describes several spectra there is a row an entry, as many as whole ones fit into a block."""
    assert infos(write(path, numbered(described=64)), "mux_port", "index", "spectrums", "times") == [
        [0, 0, 0, 0],
        [1, 1, 2, 2000],
        [100, 2, 4, 4000],
        [101, 3, 6, 6000],
        [200, 4, 8, 8000],
    ]
    assert infos(write(path, numbered(described=48)), "mux_port", "index", "spectrums", "times") == [
        [0, 0, 0, 0],
        [1, 1, 1, 1500],  # the second entry begins within spectrum 1
        [100, 2, 4, 4000],
        [101, 3, 5, 5500],
        [200, 4, 8, 8000],
    ]


def test_spectra_that_straddle_belong_to_the_block_in_which_they_end(path):
    """Block k has the spectra from floor(k * db__size / spectrum) on."""
    ports = [0, 1, 100, 101, 200, 201, 300, 301, 302, 400]  # 72 bytes a block: spectra from 0, 2, 4, 6, 9
    assert infos(write(path, numbered(), 72), "mux_port", "spectrums") == [
        [port, row] for row, port in enumerate(ports)
    ]


def test_blocks_smaller_than_a_spectrum(path):
    """A block in which no spectrum ends has no rows."""
    assert infos(write(path, numbered(), 20), "mux_port")[:4] == [[100], [300], [400], [600]]
    only_where_needed = lambda number: {} if number == 2 else numbered()(number)  # noqa: E731
    assert len(infos(write(path, only_where_needed, 20), "mux_port")) == 10


def test_what_an_entry_describes_is_said_by_the_first_block(path):
    """sd_rsize is that of block 0, for the whole file; neither other blocks nor the file header are asked."""
    blocks = [{**numbered()(number), "sd_rsize": 32 + 32 * number} for number in range(3)]
    buffer = write(path, blocks, sd_rsize=7)
    assert [row for (row,) in infos(buffer, "mux_port")] == [0, 1, 2, 3, 100, 101, 102, 103, 200, 201]


def test_sub_data_that_begin_elsewhere(path):
    """Each block's sub data are looked for in its own header: its keys may differ from those of block 0."""
    expected = infos(write(path, numbered()), "mux_port")
    before = [{}, {"mux_port": 7}, {"new_key8": b"\1\2\3\4\5\6\7\xff"}]
    for keys in ([0, 1, 2], [2, 1, 0], [1, 1, 0], [2, 2, 2]):
        blocks = [{**before[which], **numbered()(number)} for number, which in enumerate(keys)]
        assert infos(write(path, blocks), "mux_port") == expected


def test_sub_data_at_any_address(path):
    """Sub data need not begin at a multiple of four bytes."""
    expected = infos(write(path, numbered()), "mux_port", "times")
    assert infos(write(path, numbered(), dbhdsize=HEADER + 1), "mux_port", "times") == expected
    content = write(path, numbered()).filepath.read_bytes()
    path.write_bytes(content[:8] + (2003).to_bytes(4, "little") + content[12:2000] + b"\0\0\0" + content[2000:])
    assert infos(Buffer(path), "mux_port", "times") == expected


def test_blocks_that_need_no_entries(path):
    """Where an entry describes more than a block holds there are no rows, however the blocks are laid out."""
    for before in ({}, {"new_key8": b"\1\2\3\4\5\6\7\xff"}):
        buffer = write(path, lambda number, before=before: {**before, **numbered(described=1000)(number)})
        assert buffer.block_infos().shape == (0, 5)


# -- the table: columns -------------------------------------------------------------------------------------------


def test_columns_by_hand(path):
    """preamp_gain is word 0 >> 16, inputs the 24 and outputs the 16 lowest bits inverted; the default is all five."""
    buffer = write(path, one_entry(20 << 16 | 5, -7, 2**31 - 1, ~0x7A_BC_DE_F1, 99, ~0x12_34_56_78))
    table = buffer.block_infos()
    assert (table.shape, table.dtype) == ((10, 5), np.int64)
    assert table[3].tolist() == [20, -7, 2**31 - 1, 0xBCDEF1, 0x5678]
    assert buffer.block_infos(None).tolist() == buffer.block_infos(DEFAULT).tolist() == table.tolist()
    assert infos(write(path, one_entry(-1)), "preamp_gain", "inputs", "outputs")[0] == [-1, 0xFFFFFF, 0xFFFF]


def test_columns_come_in_the_order_asked_for(path):
    """Any choice of columns, in any order, given as any iterable."""
    buffer = write(path, numbered())
    assert infos(buffer, "times", "mux_port", "index")[5] == [5000, 101, 5]
    assert infos(buffer, "index", "mux_port", "times")[5] == [5, 101, 5000]
    assert buffer.block_infos(iter(["mux_port", "index"])).tolist()[5] == [101, 5]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["mux_prt"], "'mux_prt'.*did you mean 'mux_port'"),
        (["mux_port", 3], "no column 3"),
        (["mux_port", "times", "mux_port"], "'mux_port' is named 2 times"),
        (["times", "index"], "at least one of 'preamp_gain'"),
        ([], "at least one of"),
        ("mux_port", "expected a list"),
        (5, "expected a list"),
    ],
)
def test_columns_that_cannot_be(path, columns, message):
    """Unknown, repeated or no data columns are refused, before the file is read."""
    with pytest.raises(InvalidArgumentError, match=f"p7c0b01: .*{message}"):
        Buffer(path).block_infos(columns)


def test_changes_only(path):
    """The first row and those in which a chosen data column differs from the row before, through block boundaries."""

    def block_header(number):
        table = np.zeros((4, 10), "<i4")
        table[:, 0] = np.arange(4)  # beneath the bits of the gain
        table[:, 1] = [5, 5, 6, 6] if number == 0 else [6, 6, 6, 5]
        table[:, 2] = number
        return {"sd_rsize": 32, "begin_subdat": table.tobytes()}

    buffer = write(path, block_header)
    assert infos(buffer, "index", "mux_port", changes_only=True) == [[0, 5], [2, 6], [7, 5], [8, 6]]
    assert infos(buffer, "index", "preamp_gain", changes_only=True) == [[0, 0]]
    assert infos(buffer, "mux_port", "times", "measure_positions", changes_only=True) == [
        [5, 0, 0],
        [6, 2000, 0],
        [6, 4000, 1],
        [5, 7000, 1],
        [6, 8000, 2],
    ]
    with pytest.raises(InvalidArgumentError, match=r"changes_only.*'times', 'index', 'spectrums'"):
        buffer.block_infos(["mux_port"], changes_only=True)


def test_fast_jump_changes_nothing(path):
    """fast_jump is accepted."""
    buffer = write(path, numbered())
    assert infos(buffer, "mux_port", fast_jump=False) == infos(buffer, "mux_port", fast_jump=True)


def test_times_are_truncated(path):
    """Times are whole nanoseconds, towards zero."""
    assert [row for _, row in infos(write(path, numbered(), framedur=0.7), "mux_port", "times")][:4] == [0, 0, 1, 2]
    assert [row for _, row in infos(write(path, numbered(), framedur=-0.7), "mux_port", "times")][:4] == [0, 0, -1, -2]


@pytest.mark.parametrize("duration", [float("inf"), float("nan"), 1e300, 2.0**62])
def test_times_that_no_integer_can_hold(path, duration):
    """Times that are no numbers or beyond 64 bits are an InvalidFileError; other columns do not need them."""
    buffer = write(path, numbered(), framedur=duration)
    with pytest.raises(InvalidFileError, match=r"p7c0b01: .*64 bits"):
        buffer.block_infos(["mux_port", "times"])
    assert len(buffer.block_infos()) == 10


def test_the_duration_is_needed_for_times_only(path):
    """Without spec_duration there are no times, but all other columns."""
    buffer = write(path, numbered(), framedur=None, samplefr=None)
    assert len(buffer.block_infos(["mux_port", "index", "spectrums"])) == 10
    with pytest.raises(MissingHeaderError, match="samplefr"):
        buffer.block_infos(["mux_port", "times"])


def test_a_table_of_many_runs(path, monkeypatch):
    """Blocks are read in runs, and rows kept in room that grows: the table is the same however long and large."""
    expected = write(path, numbered(described=21), 72).block_infos(["mux_port", "times", "index", "spectrums"])
    changes = Buffer(path).block_infos(["mux_port", "index"], changes_only=True)
    for blocks, believed in ((1, 1), (2, 16), (4, 1 << 23)):
        monkeypatch.setattr("bufcache.buffer_parser.subdata._MOST_BLOCKS", blocks)
        monkeypatch.setattr("bufcache.buffer_parser.subdata._BELIEVED", believed)
        np.testing.assert_array_equal(
            Buffer(path).block_infos(["mux_port", "times", "index", "spectrums"]), expected, strict=True
        )
        np.testing.assert_array_equal(Buffer(path).block_infos(["mux_port", "index"], changes_only=True), changes)


# -- damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, 1, 2])
@pytest.mark.parametrize(
    ("header", "error", "message"),
    [
        (numbered(entries=1), TruncatedFileError, "needs?.* bytes of sub data, it has 40"),
        (lambda number: {"sd_rsize": 32, "begin_subdat": b""}, TruncatedFileError, "it has 0"),
        (lambda number: {"sd_rsize": 32}, MissingHeaderError, "'begin_subdat'"),
        (lambda number: None, MissingHeaderError, "'begin_subdat'"),
        (lambda number: [("begin_subdat", bytes(1)), ("end___subdat", None)], InvalidFileError, "lacks its end"),
    ],
)
def test_a_block_without_enough_sub_data_is_named(path, bad, header, error, message):
    """A block with fewer entries than rows is a TruncatedFileError, one without sub data a MissingHeaderError."""
    buffer = write(path, lambda number: (header if number == bad else numbered())(number))
    with pytest.raises(error, match=f"p7c0b01: header of block {bad}: .*{message}"):
        buffer.block_infos()


AS_FIRST = {"sd_rsize": 32}
ENTRIES = numbered(entries=4)(0)["begin_subdat"]


@pytest.mark.parametrize(
    ("header", "error", "message"),
    [
        ({**AS_FIRST, "begin_subdat": ENTRIES[:40], "end___subdat": None}, InvalidFileError, "lacks its end"),
        ({**AS_FIRST, "begin_subdat": ENTRIES, "end___subdat": None}, InvalidFileError, "lacks its end"),
        ({**AS_FIRST, "begin_subdat": ENTRIES[:40]}, TruncatedFileError, "it has 40"),
        ({**AS_FIRST, "begin_subdat": b""}, TruncatedFileError, "it has 0"),
        ([*AS_FIRST.items(), ("begin_subdat", ENTRIES), ("begin_subdat", b"")], TruncatedFileError, "it has 0"),
        ([*AS_FIRST.items(), ("begin_subdat", ENTRIES), ("blockend", None), ("x" * 8, b"!" * 8)], None, ""),
    ],
    ids=["no end", "no end, all entries", "one entry", "none", "repeated", "no blockend"],
)
def test_a_block_with_the_keys_of_the_first_is_checked_as_any_other(path, header, error, message):
    """A header that begins as that of block 0 does need not go on so."""
    blocks = [{**AS_FIRST, "begin_subdat": ENTRIES}, header, {**AS_FIRST, "begin_subdat": ENTRIES}]
    buffer = write(path, blocks)
    if error is None:
        assert infos(buffer, "mux_port")[4:8] == [[0], [1], [2], [3]]
        return
    with pytest.raises(error, match=f"p7c0b01: header of block 1: .*{message}"):
        buffer.block_infos()


def test_repeated_sub_data_of_all_blocks(path):
    """Of repeated sub data the last count in the table too, in block 0 as in any other."""
    buffer = write(path, lambda number: [("sd_rsize", 32), ("begin_subdat", bytes(160)), *numbered()(number).items()])
    assert [row for (row,) in infos(buffer, "mux_port")] == [0, 1, 2, 3, 100, 101, 102, 103, 200, 201]


@pytest.mark.parametrize("behind", [[], [("io_ports", 3)], [("blockend", None)], [("new_key4", b"\1\2\3\xff")]])
def test_what_stands_behind_sub_data(path, behind):
    """Keys behind the sub data, or no blockend, change nothing in the table."""
    buffer = write(path, lambda number: [*numbered()(number).items(), ("end___subdat", b""), *behind])
    assert [row for (row,) in infos(buffer, "mux_port")] == [0, 1, 2, 3, 100, 101, 102, 103, 200, 201]


def test_nothing_behind_the_end_is_read_as_data(path):
    """An end within the entries that rows need ends them, wherever it stands."""
    whole = numbered(entries=4)(0)["begin_subdat"]
    for place in (0, 1, 41, 43, 78, 80, 119, 149, 150, 159):
        broken = whole[:place] + b"end___subdat" + whole[place + 12 :]
        blocks = [{"sd_rsize": 32, "begin_subdat": entries} for entries in (whole, broken, whole)]
        buffer = write(path, blocks)
        with pytest.raises(TruncatedFileError, match=f"block 1: .*it has {place}$"):
            buffer.block_infos()


def test_bytes_of_the_end_are_data(path):
    """Sub data that hold bytes of the end, but not all of it, are read as they are."""
    text = int.from_bytes(b"_sub", "little")
    assert infos(write(path, one_entry(0, text, text)), "mux_port") == [[text]] * 10


@pytest.mark.parametrize("described", [0, -1, -(2**31)])
def test_entries_that_describe_nothing(path, described):
    """An sd_rsize below 1 is an InvalidFileError that names block 0."""
    with pytest.raises(InvalidFileError, match=f"block 0: sd_rsize is {described}"):
        write(path, numbered(described=described)).block_infos()


def test_what_entries_describe_is_missing(path):
    """Without sd_rsize in block 0 there is no table, whatever other headers say."""
    blocks = [{"begin_subdat": bytes(200)}, numbered()(1), numbered()(2)]
    with pytest.raises(MissingHeaderError, match=r"block 0: .*'sd_rsize'"):
        write(path, blocks, sd_rsize=32).block_infos()


def test_a_block_header_that_is_cut(path):
    """A file that ends inside a block header is a TruncatedFileError there, unless the end of the header stands."""
    write(path, sub_data(10, 32, 9))
    start = 2000 + 2 * (HEADER + 128)
    whole = Buffer(path).db_header(2)
    cut(path, start + 600)
    assert Buffer(path).db_header(2) == whole
    for size in (300, 100, 50, 12, 11, 8, 7, 1):
        cut(path, start + size)
        buffer = Buffer(path)
        assert buffer.db_count == 3
        with pytest.raises(TruncatedFileError, match=r"p7c0b01: header of block 2: "):
            buffer.db_header(2)
        with pytest.raises(TruncatedFileError, match="block 2"):
            _ = buffer.last_spec
        assert len(buffer.db_header(1)) > 5


@pytest.mark.parametrize("what", [b"GARBAGE!", b"mux\0port", b"\xff" * 8])
def test_what_is_no_key(path, what):
    """Something else where a key must stand is an InvalidFileError that says where."""
    content = bytearray(write(path, lambda number: {"mux_port": 1}).filepath.read_bytes())
    place = content.index(b"mux_port")
    content[place : place + 8] = what
    path.write_bytes(content)
    with pytest.raises(InvalidFileError, match=rf"p7c0b01: header of block 0: offset {place - 2000}: expected a key"):
        Buffer(path).db_header(0)


def test_a_file_that_shrinks(path):
    """A file that has become shorter since it was opened is a TruncatedFileError."""
    with write(path, numbered()) as buffer:
        cut(path, 2000 + HEADER + 128 + 50)
        for call in (buffer.block_infos, lambda: buffer.db_header(1), lambda: buffer.last_spec):
            with pytest.raises(TruncatedFileError, match=r"p7c0b01: "):
                call()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"db__size": 2**31 - 1}, TruncatedFileError),
        ({"framsize": 1}, TruncatedFileError),
        ({"framsize": 1, "b_p_samp": 1}, TruncatedFileError),
    ],
    ids=str,
)
def test_numbers_that_lie(path, changes, error):
    """More rows than there can be entries are refused, before there is room for them."""
    content = write(path, numbered(described=1)).filepath.read_bytes()
    for key, value in changes.items():
        place = content.index(key.encode()) + 8
        content = content[:place] + value.to_bytes(4, "little") + content[place + 4 :]
    path.write_bytes(content)
    with pytest.raises(error, match=r"p7c0b01: header of block \d+: "):
        Buffer(path).block_infos()


@pytest.mark.parametrize("size", [2**31 - 1, 2**24 + 1, 2**24, 2**20])
def test_headers_beyond_the_file(path, size):
    """A file that is shorter than its first block header has no spectra, and so no rows; sizes have a limit."""
    write(path, numbered())
    content = path.read_bytes()
    place = content.index(b"dbhdsize") + 8
    path.write_bytes(content[:place] + size.to_bytes(4, "little") + content[place + 4 :])
    assert Buffer(path).block_infos().shape == (0, 5)
    if size <= 2**24:
        assert Buffer(path).db_value(0, "sd_rsize") == 32
    else:
        with pytest.raises(InvalidFileError, match=rf"p7c0b01: .*{size} bytes \(dbhdsize\); expected at most 16777216"):
            Buffer(path).db_value(0, "sd_rsize")


# -- reading ------------------------------------------------------------------------------------------------------


def test_with_and_without_with(path):
    """Block headers are read inside of a with block and without one, but not after it."""
    expected = write(path, numbered()).block_infos()
    with Buffer(path) as buffer:
        np.testing.assert_array_equal(buffer.block_infos(), expected)
        assert buffer.db_header(1) == Buffer(path).db_header(1) == pickle.loads(pickle.dumps(buffer)).db_header(1)
    for call in (buffer.block_infos, lambda: buffer.db_header(0), lambda: buffer.io_ports(0), lambda: buffer.last_spec):
        with pytest.raises(ClosedError):
            call()


def test_a_table_is_the_caller_s(path):
    """Changing a table, or a header, does not change the next one."""
    with write(path, numbered()) as buffer:
        table, header = buffer.block_infos(), buffer.db_header(0)
        table[:], _ = 7, header.clear()
        assert buffer.block_infos()[0, 1] == 0
        assert buffer.db_header(0)


def test_where_the_system_has_no_preadv(path, monkeypatch):
    """On Windows, which has no preadv, the same is read."""
    expected = write(path, numbered()).block_infos()
    monkeypatch.delattr(data.os, "preadv", raising=False)
    np.testing.assert_array_equal(Buffer(path).block_infos(), expected)
    assert Buffer(path).db_value(1, "firstsam") == 64
