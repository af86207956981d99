"""write_buffer and MockBuffer on their own: the bytes on disk, without a reader."""

import enum
import pickle
import subprocess
import sys

import numpy as np
import pytest

from bufcache.buffer_parser.layout import DATAMODE, FILE_HEADER
from bufcache.errors import InvalidArgumentError, InvalidFileError
from bufcache.testing import MockBuffer, typical_header, write_buffer


@pytest.fixture
def path(tmp_path):
    return tmp_path / "Test_00001p7c0b01"


def test_every_byte_of_a_file(path):
    """Pairs are written as they are, between the header's size and its end, and data go into blocks."""
    header = [("proc_cnt", -2), ("db__size", 4), ("dbhdsize", 60), ("asc_part", "ä"), ("new_key4", b"\1\2\3\4")]
    data = np.array([[1, 2, 3]], "<u2")
    assert write_buffer(path, header, data, header_size=100) == path
    assert path.read_bytes() == b"".join(
        [
            b"qassdata" + b"\x64\0\0\0",  # 100 bytes of header
            b"proc_cnt" + b"\xfe\xff\xff\xff",
            b"db__size" + b"\x04\0\0\0",
            b"dbhdsize" + b"\x3c\0\0\0",
            b"asc_part" + b"\x02\0\0\0" + b"\xc3\xa4",  # length, UTF-8
            b"new_key4" + b"\1\2\3\4",
            b"headsend" + bytes(18),  # padding
            b"blochead" + b"\x3c\0\0\0",  # 60 bytes of block header
            b"firstsam" + bytes(8),
            b"lastsamp" + b"\x02" + bytes(7),  # the sample behind the block
            b"blockend" + bytes(8),  # padding
            b"\1\0\2\0",  # 4 bytes of data
            b"blochead" + b"\x3c\0\0\0",
            b"firstsam" + b"\x02" + bytes(7),
            b"lastsamp" + b"\x03" + bytes(7),
            b"blockend" + bytes(8),
            b"\3\0",  # the last block is short
        ]
    )


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("proc_cnt", 2**31 - 1, b"\xff\xff\xff\x7f"),
        ("proctime", 2**32 - 1, b"\xff\xff\xff\xff"),
        ("parentid", -(2**63), b"\0\0\0\0\0\0\0\x80"),
        ("proj__id", 2**64 - 1, b"\xff" * 8),
        ("framedur", 1, b"\0\0\0\0\0\0\xf0\x3f"),
        ("framedur", np.float32(1), b"\0\0\0\0\0\0\xf0\x3f"),
        ("proc_cnt", np.int64(3), b"\3\0\0\0"),
        ("proc_cnt", True, b"\1\0\0\0"),
        ("datamode", DATAMODE.DATAMODE_FFT, b"\2\0\0\0"),
        ("datamode", enum.IntEnum("Mode", {"UNDEF": -1}).UNDEF, b"\xff\xff\xff\xff"),
        ("an4dvers", b"\4\3\x0c\2", b"\4\3\x0c\2"),
        ("an4dvers", b"04030c02", b"\4\3\x0c\2"),
        ("an4dvers", "04030c02", b"\4\3\x0c\2"),
        ("comments", b"\0\xff", b"\2\0\0\0\0\xff"),
        ("comments", "", b"\0\0\0\0"),
        ("new_key4", b"1234", b"1234"),
        ("new`key8", b"12345678", b"12345678"),
    ],
)
def test_a_value_is_written_in_the_type_of_its_key(path, key, value, expected):
    """A number, text or member is written little-endian, in the type that the format gives its key."""
    write_buffer(path, [(key, value)], header_size=0)
    assert path.read_bytes()[12:] == key.encode() + expected + b"headsend"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("proc_cnt", 2**31),
        ("proc_cnt", 1.5),
        ("proc_cnt", "1"),
        ("proctime", -1),
        ("proj__id", 2**64),
        ("proj__id", b"12345678"),
        ("framedur", "long"),
        ("framesize", 1),
        ("Framsize", 1),
        ("new_key4", 1),
        ("new_key4", b"12345"),
        ("an4dvers", b"040"),
        ("an4dvers", "0403xx02"),
        ("an4dvers", 4),
        ("comments", 5),
        ("headsend", 5),
        ("framsize", "wide"),
        ("p__flags", "float"),
        ("db__size", 1.0),
    ],
)
@pytest.mark.parametrize("make", [dict, list])
def test_a_wrong_value_is_refused_before_the_file_is_touched(path, key, value, make):
    """A value that its key cannot hold raises InvalidArgumentError with the key, and no file appears."""
    with pytest.raises(InvalidArgumentError, match=key):
        write_buffer(path, make([(key, value)]))
    assert not path.exists()


@pytest.mark.parametrize(
    "data",
    [np.zeros((2, 2)), np.zeros((2, 2), "i2"), [[1, 2]], np.zeros((1, 1, 1), "u2"), np.array(1, "u2"), np.array(["a"])],
)
def test_data_of_another_type_or_shape_are_refused(path, data):
    """Data that are not uint16, uint32 or float32 in one or two axes raise InvalidArgumentError."""
    with pytest.raises(InvalidArgumentError, match="data: expected"):
        write_buffer(path, None, data)
    assert not path.exists()


@pytest.mark.parametrize("dtype", ["<u2", "<u4", "<f4", ">u2", ">u4", ">f4"])
def test_data_are_written_little_endian(path, dtype):
    """Samples stand in the file in C order and little-endian, whatever order the array has."""
    data = np.asfortranarray(np.arange(12).reshape(3, 4).astype(dtype))
    write_buffer(path, {"dbhdsize": 0}, data)
    little = np.dtype(dtype).newbyteorder("<")
    assert path.read_bytes()[2000:] == np.arange(12).astype(little).tobytes()


def test_a_mapping_changes_the_typical_header(path):
    """Values of a mapping replace typical ones in their place, None removes, new keys follow."""
    write_buffer(path, {"proc_cnt": 77, "comments": "new", "asc_part": None})
    written = path.read_bytes()
    keys = [key for key in typical_header() if key != "asc_part"]
    positions = [written.index(key.encode()) for key in ["qassdata", *keys, "comments", "headsend"]]
    assert positions == sorted(positions)
    assert b"proc_cnt" + b"\x4d\0\0\0" in written
    assert b"asc_part" not in written


@pytest.mark.parametrize("header", [{"headsend": None}, [("headsend", None)]])
def test_headsend_can_be_left_out(path, header):
    """None as the value of headsend leaves it out."""
    write_buffer(path, header)
    assert b"headsend" not in path.read_bytes()


def test_headsend_can_stand_anywhere(path):
    """Pairs that name headsend put it where they name it."""
    write_buffer(path, [("headsend", b""), ("proc_cnt", 1)], header_size=0)
    assert path.read_bytes()[12:] == b"headsend" + b"proc_cnt\1\0\0\0"


@pytest.mark.parametrize(
    ("header", "start"),
    [
        ({"qassdata": -1}, b"qassdata\xff\xff\xff\xfffilevers"),
        ([("qassdata", 5), ("proc_cnt", 1)], b"qassdata\5\0\0\0proc_cnt"),
        ([("proc_cnt", 1), ("qassdata", b"")], b"proc_cnt\1\0\0\0qassdata\xd0\x07\0\0headsend"),
        ([("qassdata", None), ("proc_cnt", 1)], b"proc_cnt\1\0\0\0headsend"),
    ],
)
def test_the_size_of_the_header_can_lie(path, header, start):
    """A given qassdata is written as it is, where it is named; the header is padded all the same."""
    write_buffer(path, header, np.empty((0, 4), "<u2"))
    assert path.read_bytes().startswith(start)
    assert path.stat().st_size == 2000


def test_a_header_is_as_long_as_it_must_be(path):
    """A header that does not fit header_size is longer, and says so."""
    write_buffer(path, [("comments", bytes(3000))], header_size=100)
    assert path.stat().st_size == 12 + 12 + 3000 + 8
    assert path.read_bytes()[8:12] == (12 + 12 + 3000 + 8).to_bytes(4, "little")


def test_repeated_keys_are_written_as_often(path):
    """Pairs may repeat a key."""
    write_buffer(path, iter([("proc_cnt", 1), ("proc_cnt", 2)]), header_size=0)
    assert path.read_bytes()[12:] == b"proc_cnt\1\0\0\0" + b"proc_cnt\2\0\0\0" + b"headsend"


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ({}, 20 * 64 * 2),
        ({"framsize": 16}, 20 * 16 * 2),
        ({"framsize": -1}, 20 * 64 * 2),
        ({"b_p_samp": 4}, 20 * 64 * 4),
        ({"b_p_samp": 4, "p__flags": 8}, 20 * 64 * 4),
        ({"p__flags": 8}, 20 * 64 * 2),
        ({"datamode": DATAMODE.DATAMODE_SIGNAL, "framsize": 16}, 20 * 16 * 2),
        ({"framsize": None, "p__flags": None, "b_p_samp": None}, 20 * 64 * 2),
    ],
)
def test_data_that_are_not_given_suit_the_header(path, header, size):
    """Without data, 20 spectra of the width and sample size that the header gives are written."""
    write_buffer(path, {"dbhdsize": 0, **header})
    assert path.stat().st_size == 2000 + size
    assert any(path.read_bytes()[2000:])


def test_no_data_under_a_header_of_pairs(path):
    """Pairs without data write the header only."""
    write_buffer(path, typical_header().items())
    assert path.stat().st_size == 2000


def test_typical_headers_agree_with_their_data():
    """The typical header says what the data are."""
    floats = typical_header(np.zeros((3, 128), "<f4"), proc_cnt=5)
    keys = ("framsize", "b_p_samp", "p__flags", "proc_cnt", "frqratio")
    assert [floats[key] for key in keys] == [128, 4, 8, 5, 4]
    signal = typical_header(np.zeros(100, "<u4"))
    keys = ("framsize", "b_p_samp", "p__flags", "datamode", "framedur")
    assert [signal[key] for key in keys] == [1, 4, 0, DATAMODE.DATAMODE_SIGNAL, 10.0]
    assert set(typical_header()) < set(FILE_HEADER)


# -- block headers ------------------------------------------------------------------------------------------------

BLOCKS = {"db__size": 4, "dbhdsize": 120}


def block_headers(path):
    """Return the bytes of the headers of a file with 3 blocks."""
    written = path.read_bytes()[2000:]
    return [written[start : start + 120] for start in range(0, len(written), 124)]


def test_block_headers_by_number(path):
    """Block headers are given as a list or a function; None is zeros, an end of the list means typical ones."""
    data = np.zeros((3, 2), "<u2")
    given = [{"firstsam": 99, "lastsamp": None, "mux_port": 3}, None]
    for form in (given, iter(given), lambda number: given[number] if number < 2 else {}):
        write_buffer(path, BLOCKS, data, block_headers=form)
        first, second, third = block_headers(path)
        start = b"blochead\x78\0\0\0" + b"firstsam"
        assert first == (start + b"\x63" + bytes(7) + b"mux_port\3\0\0\0blockend").ljust(120, b"\0")
        assert second == bytes(120)
        assert third.startswith(start + b"\4" + bytes(7) + b"lastsamp\6" + bytes(7) + b"blockend")


def test_sub_data_stand_between_their_marks(path):
    """begin_subdat is followed by its bytes and end___subdat, unless the caller ends it."""
    data = np.zeros((3, 2), "<u2")
    given = [
        {"begin_subdat": b"12"},
        [("begin_subdat", b"34"), ("sine_amp", 1), ("end___subdat", b""), ("blockend", None)],
        {"begin_subdat": b"56", "end___subdat": None},
    ]
    write_buffer(path, BLOCKS, data, block_headers=given)
    first, second, third = block_headers(path)
    assert b"begin_subdat12end___subdatblockend" in first
    assert second == b"blochead\x78\0\0\0begin_subdat34sine_amp\1\0\0\0end___subdat".ljust(120, b"\0")
    assert b"begin_subdat56blockend" in third


def test_a_block_header_that_does_not_fit(path):
    """A given block header longer than dbhdsize is refused; the typical one gives way to zeros."""
    data = np.zeros((3, 2), "<u2")
    with pytest.raises(InvalidArgumentError, match=r"block 1: .* dbhdsize is 120"):
        write_buffer(path, BLOCKS, data, block_headers=[{}, {"begin_subdat": bytes(120)}])
    write_buffer(path, {"db__size": 4, "dbhdsize": 10}, data)
    assert path.read_bytes()[2000:] == bytes(3 * 14)


@pytest.mark.parametrize("size", [None, 0, -4])
def test_without_a_block_size_all_data_are_one_block(path, size):
    """A missing, zero or negative db__size gives one block; a missing or negative dbhdsize no block header."""
    write_buffer(path, {"db__size": size, "dbhdsize": size}, np.ones((300, 64), "<u2"))
    assert path.read_bytes()[2000:] == b"\1\0" * 300 * 64


# -- MockBuffer ---------------------------------------------------------------------------------------------------


def test_a_mock_reads_what_a_mock_wrote(path):
    """A written mock is read by another one on entering; what it lacks is an AttributeError."""
    MockBuffer(path, process=7, spec_duration=0.5, partnumber=None, datamode=DATAMODE.DATAMODE_FFT).write()
    with MockBuffer(str(path)) as buffer:
        assert (buffer.process, buffer.spec_duration, buffer.partnumber, buffer.datamode) == (7, 0.5, None, 2)
        assert buffer.filepath == str(path)
        with pytest.raises(AttributeError, match="has no 'proces'; did you mean 'process'"):
            _ = buffer.proces


def test_a_mock_with_attributes_needs_no_file(path):
    """A mock that was given attributes does not read."""
    with MockBuffer(path, process=7) as buffer:
        assert buffer.process == 7
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"qassdata", b"[1]", b"7", b"\xff", b'{"process": }'])
def test_a_file_that_is_no_mock_is_refused(path, content):
    """A file that is not a JSON object raises InvalidFileError with its path."""
    path.write_bytes(content)
    with pytest.raises(InvalidFileError, match=path.name), MockBuffer(path):
        pass


def test_a_mock_without_a_file(path):
    """A missing file is a FileNotFoundError."""
    with pytest.raises(FileNotFoundError), MockBuffer(path):
        pass


def test_a_mock_refuses_what_json_cannot_hold(path):
    """Attributes beyond JSON raise InvalidArgumentError and write nothing."""
    with pytest.raises(InvalidArgumentError, match=path.name):
        MockBuffer(path, data={1, 2}).write()
    assert not path.exists()


def test_a_mock_can_be_pickled(path):
    """A mock survives pickling, as executors need it."""
    mock = pickle.loads(pickle.dumps(MockBuffer(path, process=7)))
    assert (mock.filepath, mock.process) == (path, 7)


def test_importing_testing_is_light():
    """Importing bufcache.testing imports no pytest, pandas, tqdm or TinyDB."""
    heavy = ["pytest", "hypothesis", "pandas", "tinydb", "tqdm", "matplotlib"]
    code = f"import sys, bufcache.testing; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
