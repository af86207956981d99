"""Buffer: what it reads, when it reads, and what it says where it cannot."""

import hashlib
import os
import pickle
import sys
import warnings

import numpy as np
import pytest
from scenarios import SCENARIOS, ramp

from bufcache.buffer_parser import Buffer, filter_buffers
from bufcache.errors import (
    BufcacheError,
    ClosedError,
    InvalidArgumentError,
    InvalidFileError,
    MissingHeaderError,
    TruncatedFileError,
    UnsupportedFormatError,
)
from bufcache.testing import typical_header, write_buffer

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="counts by /proc")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "Test_00001p7c0b01"


# -- what stands in the file --------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_open", [True, False], ids=["with", "without"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_reads_as_it_was_written(scenario, is_open, path):
    """A file of any kind gives the values that were written, inside and outside of a with block."""
    expected = scenario.write(path)
    buffer = Buffer(path)
    if is_open:
        with buffer:
            assert_reads(buffer, expected)
    else:
        assert_reads(buffer, expected)


def assert_reads(buffer, expected):
    for name, value in expected.items():
        if isinstance(value, type):
            with pytest.raises(value, match=buffer.filepath.name):
                read(buffer, name)
        elif isinstance(value, np.ndarray):
            found = read(buffer, name)
            assert found.dtype == value.dtype
            np.testing.assert_array_equal(found, value, strict=True)
        else:
            found = read(buffer, name)
            assert found == value, name
            assert isinstance(found, (type(value), int)), name


def read(buffer, name):
    return buffer.get_data() if name == "data" else getattr(buffer, name)


def test_enumerations_are_members_where_they_know_the_value(path):
    """datamode, datakind, datatype and adc_type are members of the Buffer's enumerations."""
    write_buffer(path, {"datamode": 1, "datakind": 8, "datatype": 17, "adc_type": 0})
    buffer = Buffer(path)
    assert buffer.datamode is Buffer.DATAMODE.DATAMODE_SIGNAL
    assert buffer.datakind is Buffer.DATAKIND.DATAKIND_CNT is Buffer.DATAKIND.KIND_CAN_NOT_BE_HANDLED
    assert buffer.datatype is Buffer.DATATYPE.COMP_ENERGY
    assert buffer.adc_type is Buffer.ADCTYPE.ADC_NOT_USED is Buffer.ADCTYPE.ADC_LEGACY_14BIT


def test_metainfo_is_what_stands_in_the_header(path):
    """The metainfo has the known entries in file order: texts as bytes, the version as hexadecimal digits."""
    header = [("proc_cnt", 1), ("new_key4", b"1234"), ("framedur", 0.5), ("an4dvers", b"\4\3\x0c\2")]
    write_buffer(path, [*header, ("asc_part", "ä"), ("proc_cnt", 2)])
    values = [("proc_cnt", 2), ("framedur", 0.5), ("an4dvers", b"04030c02"), ("asc_part", b"\xc3\xa4")]
    assert list(Buffer(path).metainfo.items()) == [("qassdata", 2000), *values, ("headsend", None)]


def test_metainfo_is_a_copy(path):
    """Changing what metainfo gave does not change the buffer."""
    buffer = Buffer(write_buffer(path))
    buffer.metainfo.clear()
    assert buffer.process == 1
    assert buffer.metainfo["proc_cnt"] == 1


def test_entries_behind_headsend_are_padding(path):
    """Nothing that stands behind headsend is read."""
    write_buffer(path, [("headsend", b""), ("proc_cnt", 1)])
    assert Buffer(path).metainfo == {"qassdata": 2000, "headsend": None}


@pytest.mark.parametrize("size", [2000, 4096, 4097, 30_000])
def test_the_hash_is_that_of_the_whole_header(path, size):
    """header_hash is the SHA-256 of the header, however long it is, and of nothing behind it."""
    written = write_buffer(path, header_size=size).read_bytes()
    assert Buffer(path).header_hash == hashlib.sha256(written[:size]).hexdigest()


def test_the_path_is_given_back_as_it_was_given(path):
    """The path is the very object, a str or a Path."""
    assert Buffer(path).filepath is path
    assert Buffer(str(path)).filepath == str(path)


# -- when it is read ----------------------------------------------------------------------------------------------


def test_no_file_is_touched_before_the_first_property(path):
    """A Buffer of a path at which nothing stands yet can be made, and reads the file that appears there."""
    buffer = Buffer(path)
    assert (buffer.filepath, repr(buffer)) == (path, f"Buffer({str(path)!r})")
    write_buffer(path, {"proc_cnt": 3})
    assert buffer.process == 3


def test_a_file_that_does_not_exist(path):
    """A missing file is a FileNotFoundError, at the first property and on entering."""
    with pytest.raises(FileNotFoundError):
        _ = Buffer(path).process
    with pytest.raises(FileNotFoundError), Buffer(path):
        pass


def test_the_header_is_read_once(path):
    """After the first property the header is known: the file may go."""
    buffer = Buffer(write_buffer(path))
    assert buffer.process == 1
    path.unlink()
    assert (buffer.spec_count, buffer.partnumber) == (20, "Part 1")


def bytes_read() -> int:
    with open("/proc/self/io") as counters:
        return int(counters.readline().split()[1])


@on_linux
@pytest.mark.parametrize("size", [2000, 50_000])
def test_opening_reads_the_header_and_hardly_more(path, size):
    """Every property of a file of 1 TiB costs one read of its header."""
    write_buffer(path, header_size=size)
    os.truncate(path, 2**40)
    own = -bytes_read() + bytes_read()
    before = bytes_read()
    with Buffer(path) as buffer:
        assert buffer.spec_count > 2**32
        assert buffer.header_hash
        assert buffer.metainfo
    assert bytes_read() - before - own <= max(size, 4096)


@on_linux
def test_a_range_reads_its_own_bytes(path):
    """10 spectra of a file of 1 TiB are read alone."""
    write_buffer(path)
    os.truncate(path, 2**40)
    own = -bytes_read() + bytes_read()
    with Buffer(path) as buffer:
        before = bytes_read()
        assert not buffer.get_data(2**32, 2**32 + 10).any()
        assert bytes_read() - before - own == 10 * 64 * 2


@on_linux
def test_without_with_no_file_stays_open(path):
    """Outside of a with block each call closes the file, also one that fails."""
    before = len(os.listdir("/proc/self/fd"))
    buffer = Buffer(write_buffer(path, {"p__flags": None}, ramp(9, 30, dtype="<u4")))
    assert buffer.process == 1
    with pytest.raises(MissingHeaderError):
        buffer.get_data()
    assert len(os.listdir("/proc/self/fd")) == before


@on_linux
def test_a_failed_entry_leaves_no_file_open(path):
    """A with block that cannot be entered closes the file."""
    path.write_bytes(b"no buffer file")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(InvalidFileError), Buffer(path):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("leave", [lambda buffer: buffer.__exit__(None, None, None), Buffer.close])
def test_after_closing_the_header_answers_and_data_do_not(path, leave):
    """After a with block or close() header properties still answer, get_data raises ClosedError."""
    buffer = Buffer(write_buffer(path)).__enter__()
    leave(buffer)
    assert (buffer.process, buffer.spec_count) == (1, 20)
    for read_data in (buffer.get_data, buffer.getArray):
        with pytest.raises(ClosedError, match=path.name):
            read_data()
    leave(buffer)


def test_closing_before_anything_was_read(path):
    """A buffer that was closed unread has nothing to answer from."""
    buffer = Buffer(write_buffer(path))
    buffer.close()
    with pytest.raises(ClosedError, match=path.name):
        _ = buffer.process


def test_a_buffer_can_be_entered_again(path):
    """Entering again reads the header anew."""
    buffer = Buffer(path)
    for process in (1, 2):
        write_buffer(path, {"proc_cnt": process})
        with buffer:
            assert buffer.process == process
            assert buffer.get_data().shape == (20, 64)


def test_a_buffer_pickles_as_its_path(path):
    """A pickled buffer is its path: open or not, the copy is closed and reads for itself."""
    buffer = Buffer(write_buffer(path))
    for _ in range(2):
        pickled = pickle.dumps(buffer)
        assert len(pickled) < 300
        copy = pickle.loads(pickled)
        assert copy.filepath == path
        assert copy.get_data().shape == (20, 64)
        buffer.__enter__()
    buffer.close()
    assert pickle.loads(pickle.dumps(buffer)).process == 1


def test_a_file_that_grows_keeps_its_size(path):
    """The size is taken once: what is recorded meanwhile does not appear halfway."""
    data = ramp(40, 64)
    write_buffer(path, None, data)
    whole = path.read_bytes()
    path.write_bytes(whole[: -20 * 128])
    with Buffer(path) as buffer:
        assert buffer.spec_count == 20
        path.write_bytes(whole)
        assert (buffer.spec_count, buffer.file_size) == (20, len(whole) - 20 * 128)
        np.testing.assert_array_equal(buffer.get_data(), data[:20])


def test_a_file_that_shrinks_is_a_truncated_file(path):
    """Data that have gone since the file was opened are a TruncatedFileError with the path."""
    with Buffer(write_buffer(path)) as buffer:
        os.truncate(path, 3000)
        with pytest.raises(TruncatedFileError, match=path.name):
            buffer.get_data()


# -- data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last"),
    [(None, None), (0, 20), (3, 3), (0, 0), (20, 20), (7, None), (None, 7), (np.int64(2), np.uint8(5)), (True, 4)],
)
def test_ranges(path, first, last):
    """get_data and getArray give spectra specFrom up to, without, specTo, in any block, as a new array."""
    data = ramp(20, 64)
    with Buffer(write_buffer(path, {"db__size": 200}, data)) as buffer:
        for found in (buffer.get_data(first, last), buffer.getArray(first, last), buffer.get_data(first, last)):
            np.testing.assert_array_equal(found, data[first:last], strict=True)
            found.fill(0)


@pytest.mark.parametrize(
    ("first", "last"),
    [(-1, 5), (0, 21), (21, 21), (5, 4), (0, -1), (1.0, 5), (0, 5.5), ("1", 5), (0, [5]), (2**70, None)],
)
def test_wrong_ranges(path, first, last):
    """Indices outside of the file, in the wrong order or not integers are an InvalidArgumentError."""
    buffer = Buffer(write_buffer(path))
    for read_data in (buffer.get_data, buffer.getArray):
        with pytest.raises(InvalidArgumentError):
            read_data(first, last)


def test_frames_of_a_signal(path):
    """Indices into a signal count frames, and the result is flat."""
    data = ramp(777)
    buffer = Buffer(write_buffer(path, {"framsize": 100}, data))
    np.testing.assert_array_equal(buffer.get_data(2, 4), data[200:400], strict=True)
    assert buffer.get_data(3, 3).shape == (0,)


LOGARITHMS = [  # resolution, shift, logarithmic, linear: 2**(x * (o - s) / 2**b + s) - 2**s by hand
    (16, 8, [0, 4096, 8192], [0, 128, 384]),
    (0, 8, [4096], [128]),
    (-1, 8, [-4096], [-128]),
    (14, 8, [1024, 2048, -2048], [128, 384, -384]),
    (24, 1, [0, 2**24, -(2**24)], [0, 2**31 - 1, 1 - 2**31]),
    (16, 0, [65_536 * 2 / 24], [1.5]),
]


@pytest.mark.parametrize(("bits", "shift", "logarithmic", "linear"), LOGARITHMS)
def test_the_logarithm_by_hand(bits, shift, logarithmic, linear):
    """Log and delog are inverse, give float64 and keep the sign."""
    for found, expected in (
        (Buffer.delog(np.array(logarithmic), shift, bits), linear),
        (Buffer.log(np.array(linear), shift, bits), logarithmic),
    ):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("convert", [Buffer.log, Buffer.delog])
def test_the_logarithm_of_any_bits(convert):
    """Samples that are no numbers, signalling or not, give none, and no warning."""
    samples = np.array([0x7FA00000, 0x7FC00000, 0x7F800000], np.uint32).view(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(convert(samples, 0, 16)[:2]).all()


def test_the_logarithm_of_anything_like_an_array():
    """Lists and numbers can be converted too."""
    np.testing.assert_array_equal(Buffer.delog([[4096, 0]], 8, 16), [[128.0, 0.0]])
    assert Buffer.delog(4096, 8, 16) == 128.0
    assert Buffer.log(128.0, 8, 16) == 4096.0


@pytest.mark.parametrize("bits", [1, 8, 12, 15, 32])
def test_resolutions_without_a_logarithm(path, bits):
    """Other resolutions than 14, 16 and 24 bits are an UnsupportedFormatError that names the number."""
    for convert in (Buffer.log, Buffer.delog):
        with pytest.raises(UnsupportedFormatError, match=str(bits)):
            convert(np.zeros(3), 8, bits)
    buffer = Buffer(write_buffer(path, {"fftlogsh": 8, "adbitres": bits}))
    with pytest.raises(UnsupportedFormatError, match=path.name):
        buffer.get_data(conversion="delog")


@pytest.mark.parametrize("dtype", ["<u2", "<u4", "<f4"])
@pytest.mark.parametrize(("shift", "conversion"), [(8, "delog"), (0, "log")])
def test_conversions_of_data(path, dtype, shift, conversion):
    """get_data converts data that are logarithmic with delog, data that are not with log."""
    data = (ramp(20, 64, dtype="<u2") // 2).astype(dtype)
    buffer = Buffer(write_buffer(path, {"fftlogsh": shift, "adbitres": 16}, data))
    expected = getattr(Buffer, conversion)(data, shift, 16)
    np.testing.assert_array_equal(buffer.get_data(conversion=conversion), expected, strict=True)
    np.testing.assert_array_equal(buffer.get_data(3, 5, conversion), expected[3:5], strict=True)


@pytest.mark.parametrize(("shift", "conversion"), [(0, "delog"), (8, "log"), (0, None), (8, None)])
def test_data_that_are_converted_already(path, shift, conversion):
    """get_data leaves data as they are where there is nothing to convert, whatever the resolution."""
    data = ramp(20, 64)
    buffer = Buffer(write_buffer(path, {"fftlogsh": shift, "adbitres": None}, data))
    np.testing.assert_array_equal(buffer.get_data(conversion=conversion), data, strict=True)


def test_get_array_can_undo_the_logarithm(path):
    """getArray(delog=True) is get_data with delog, without it the data stay as they are."""
    data = ramp(20, 64)
    buffer = Buffer(write_buffer(path, {"fftlogsh": 8}, data))
    np.testing.assert_array_equal(buffer.getArray(delog=True), Buffer.delog(data, 8, 16), strict=True)
    np.testing.assert_array_equal(buffer.getArray(1, 3, True), Buffer.delog(data[1:3], 8, 16), strict=True)
    np.testing.assert_array_equal(buffer.getArray(), data, strict=True)


@pytest.mark.parametrize("conversion", ["LOG", "x", 1, True])
def test_unknown_conversions(path, conversion):
    """A conversion that is not known is an InvalidArgumentError that names it."""
    with pytest.raises(InvalidArgumentError, match=str(conversion)):
        Buffer(write_buffer(path)).get_data(conversion=conversion)


@pytest.mark.parametrize("key", ["fftlogsh", "adbitres", "datamode"])
def test_data_whose_header_lacks_a_key(path, key):
    """A key that reading or converting needs is named in a MissingHeaderError."""
    buffer = Buffer(write_buffer(path, {"fftlogsh": 8, key: None}))
    with pytest.raises(MissingHeaderError, match=key):
        buffer.get_data(conversion="delog")


def test_times_and_spectra(path):
    """A spectrum's time is its number times the duration, and back, cut to a whole number."""
    buffer = Buffer(write_buffer(path, {"framedur": 100.5}))
    assert [buffer.spec_to_time_ns(spec) for spec in (0, 1, 4)] == [0.0, 100.5, 402.0]
    assert [buffer.time_to_spec(time) for time in (0, 100, 100.5, 402, -101)] == [0, 0, 1, 4, -1]
    assert buffer.getSpecDuration() == buffer.spec_duration == 100.5
    assert buffer.getRealSpecCount() == buffer.spec_count == 20


# -- what it says where it cannot ---------------------------------------------------------------------------------


def test_a_missing_key_is_named(path):
    """A MissingHeaderError is a KeyError and names file, property and key."""
    buffer = Buffer(write_buffer(path, {"frqratio": None}))
    with pytest.raises(KeyError, match=rf"{path.name}.*compression_frq.*'frqratio'") as caught:
        _ = buffer.compression_frq
    assert caught.type is MissingHeaderError


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", InvalidFileError, "qassdata"),
        (b"QASSDATA" + bytes(2000), InvalidFileError, "offset 0.*qassdata.*QASSDATA"),
        (b"qassdat", InvalidFileError, "qassdata"),
        (b"qassdata\0\0", TruncatedFileError, "10 bytes"),
        (b"qassdata\xff\xff\xff\xff", InvalidFileError, "offset 8.* -1 "),
        (b"qassdata\x0b\0\0\0", InvalidFileError, "offset 8.* 11 "),
        (b"qassdata\xff\xff\xff\x7f" + bytes(500), InvalidFileError, "2147483647"),
        (b"qassdata\x14\0\0\0" + b"headse", TruncatedFileError, "20 bytes.* 18"),
        (b"qassdata\x20\0\0\0" + b"PROC_CNT\1\0\0\0" + b"headsend", InvalidFileError, "offset 12.*PROC_CNT"),
        (b"qassdata\x16\0\0\0" + b"proc_cnt\1\0", InvalidFileError, "offset 20.*proc_cnt"),
        (b"qassdata\x1a\0\0\0" + b"framedur\1\0\0\0\0\0", InvalidFileError, "offset 20.*framedur"),
        (b"qassdata\x16\0\0\0" + b"asc_part\1\0", InvalidFileError, "offset 20.*asc_part"),
        (b"qassdata\x1a\0\0\0" + b"asc_part\3\0\0\0ab", InvalidFileError, "offset 20.*asc_part"),
        (b"qassdata\x1a\0\0\0" + b"asc_part\xff\xff\xff\xffab", InvalidFileError, "offset 20.*asc_part"),
        (b"qassdata\x16\0\0\0" + b"an4dvers\1\0", InvalidFileError, "offset 20.*an4dvers"),
    ],
)
def test_a_broken_header_is_named_with_its_place(path, content, error, message):
    """What is no buffer file, or broken, raises our error with the path, the offset or size, and what was found."""
    path.write_bytes(content)
    with pytest.raises(error, match=f"{path.name}.*{message}"):
        _ = Buffer(path).process
    with pytest.raises(error, match=f"{path.name}.*{message}"), Buffer(path):
        pass


@pytest.mark.parametrize(("key", "value"), [("db__size", 0), ("db__size", -5), ("dbhdsize", -1), ("b_p_samp", 0)])
def test_sizes_that_cannot_be(path, key, value):
    """Blocks and samples of no or negative size are an InvalidFileError that names the key; the rest still answers."""
    buffer = Buffer(write_buffer(path, {key: value}))
    for name in ("sample_count", "spec_count"):
        with pytest.raises(InvalidFileError, match=f"{path.name}.*{key}"):
            getattr(buffer, name)
    with pytest.raises(InvalidFileError, match=f"{path.name}.*{key}"):
        buffer.get_data()
    assert buffer.process == 1


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ({"framedur": None, "samplefr": 0}, "spec_duration"),
        ({"framedur": None, "fftovers": 2**31 - 1}, "spec_duration"),
        ({"epoctime": 2**62}, "process_measure_time_string"),
        ({"epoctime": -(2**62)}, "process_measure_time_string"),
    ],
)
def test_values_that_cannot_be_computed(path, header, name):
    """A property that its header makes impossible is an InvalidFileError with file and property."""
    with pytest.raises(InvalidFileError, match=f"{path.name}.*{name}"):
        getattr(Buffer(write_buffer(path, header)), name)


@pytest.mark.parametrize("duration", [0.0, float("nan")])
def test_no_spectrum_at_a_time_without_duration(path, duration):
    """time_to_spec of spectra that take no time is an InvalidFileError."""
    buffer = Buffer(write_buffer(path, {"framedur": duration}))
    with pytest.raises(InvalidFileError, match=path.name):
        buffer.time_to_spec(5)


@pytest.mark.parametrize(
    "header",
    [{}, {"framsize": 2**31 - 1}, {"framsize": 0}, {"db__size": 0}, {"b_p_samp": 3}, {"dbhdsize": 2**30}],
    ids=str,
)
def test_the_path_stands_once_in_every_message(path, header):
    """An error names the file, and only once, however deep it comes from, with the file open and without."""
    write_buffer(path, header | {"adbitres": 12, "fftlogsh": 8}, block_headers=lambda number: None)
    calls = (
        *(lambda buffer: buffer.get_data(5, 3), lambda buffer: buffer.get_data(frequency=(2, 1))),
        *(lambda buffer: buffer.get_data(0, 1, "delog"), lambda buffer: buffer.get_data("0")),
        *(lambda buffer: buffer.db_header(99), lambda buffer: buffer.io_ports(0), lambda buffer: buffer.last_spec),
        *(
            lambda buffer: buffer.block_infos(),
            lambda buffer: buffer.block_infos(["x"]),
            lambda buffer: buffer.data[99],
        ),
        *(lambda buffer: buffer.frequencies, lambda buffer: buffer.db_count, lambda buffer: buffer.db_value(0, 3)),
    )
    with Buffer(path) as buffer:
        messages = [message_of(call, asked) for call in calls for asked in (buffer, Buffer(path))]
    named = [message.count(path.name) for message in messages if message]
    assert len(named) > 10
    assert set(named) == {1}


def message_of(call, *arguments):
    """Return what the error of a call says, nothing where it raises none of ours."""
    try:
        call(*arguments)
    except BufcacheError as error:
        return str(error)
    except IndexError:
        return ""
    return ""


# -- filter_buffers -----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for process in range(4):
        place = tmp_path / "sub" if process % 2 else tmp_path
        write_buffer(place / f"Test_00001p{process}c0b01", {"proc_cnt": process, "dumpchan": process % 2})
    write_buffer(tmp_path / "other name", {"proc_cnt": 0})
    return tmp_path


@pytest.mark.parametrize(
    ("filters", "processes"),
    [
        ({}, [0, 1, 2, 3]),
        ({"process": 2}, [2]),
        ({"wanted_process": [1, 2, 9]}, [1, 2]),
        ({"wanted_process": range(1, 3)}, [1, 2]),
        ({"unwanted_process": {1, 2}}, [0, 3]),
        ({"wanted_process": [0, 1], "unwanted_process": [0]}, [1]),
        ({"channel": 1}, [0, 2]),
        ({"datamode": Buffer.DATAMODE.DATAMODE_FFT, "compression_frq": 8, "avg_time": 1}, [0, 1, 2, 3]),
        ({"datakind": 5}, []),
    ],
)
def test_filter_buffers(folder, filters, processes):
    """filter_buffers gives the buffers below a folder whose name is a buffer's and that match every filter."""
    for directory in (folder, str(folder)):
        found = filter_buffers(directory, filters)
        assert sorted(buffer.process for buffer in found) == processes


def test_filtered_buffers_give_their_data(folder):
    """What filter_buffers found can be entered and read."""
    for buffer in filter_buffers(folder, {}):
        with buffer:
            assert buffer.get_data().shape == (20, 64)


def test_filter_buffers_refuses_an_unknown_filter(folder):
    """A filter that does not exist is an InvalidArgumentError that names the nearest."""
    with pytest.raises(InvalidArgumentError, match=r"'proces'.*'process'"):
        filter_buffers(folder, {"proces": 1})


def test_broken_files_do_not_stop_a_search(folder):
    """A file that cannot be read is left out."""
    (folder / "Broken_00001p1c0b01").write_bytes(b"qassdata\xff\xff\xff\x7f")
    with pytest.warns(UserWarning, match="Broken_00001p1c0b01"):
        assert len(filter_buffers(folder, {"process": 1})) == 1


def test_typical_headers_give_every_property(path):
    """A file of write_buffer alone has no missing key: every property answers."""
    buffer = Buffer(write_buffer(path))
    names = [name for name in dir(Buffer) if isinstance(getattr(Buffer, name), property) and name[0] != "_"]
    assert {name for name in names if getattr(buffer, name) is None} == set()
    assert len(names) > 40
    assert set(typical_header()) < set(buffer.metainfo)
