"""Data as lazy arrays, by frequency and time, piece by piece, of files that grow and shrink, and what it costs."""

import os
import pickle
import tracemalloc
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenarios import SCENARIOS, ramp
from strategies import buffer_files

from bufcache.buffer_parser import Buffer, data, logarithm
from bufcache.errors import BufcacheError, ClosedError, InvalidArgumentError, InvalidFileError, TruncatedFileError
from bufcache.testing import write_buffer


@pytest.fixture
def path(tmp_path):
    return tmp_path / "Test_00001p7c0b01"


@pytest.fixture(scope="module")
def readable(tmp_path_factory):
    """Write a file of every scenario that has data, and return paths and data."""
    folder = tmp_path_factory.mktemp("scenarios")
    expected = [(folder / scenario.name, scenario.write(folder / scenario.name)) for scenario in SCENARIOS]
    return [(path, values["data"]) for path, values in expected if isinstance(values.get("data"), np.ndarray)]


@pytest.fixture
def reads(monkeypatch):
    """Collect the offset and size of each read of samples."""
    made = []
    read_at = data._read_at

    def recorded(file, offset, target):
        made.append((offset, target.nbytes))
        return read_at(file, offset, target)

    monkeypatch.setattr(data, "_read_at", recorded)
    return made


# -- like an array ------------------------------------------------------------------------------------------------


def test_a_lazy_array_looks_like_the_data(readable):
    """Shape, type, sizes, length and contents are those of get_data, inside and outside of a with block."""
    assert len(readable) > 20
    for path, expected in readable:
        buffer = Buffer(path)
        for lazy in (buffer.data, buffer.__enter__().data):
            for name in ("shape", "dtype", "ndim", "size", "nbytes"):
                assert getattr(lazy, name) == getattr(expected, name), (path.name, name)
            assert len(lazy) == len(expected)
            np.testing.assert_array_equal(np.asarray(lazy), expected, strict=True)
            np.testing.assert_array_equal(lazy[...], expected, strict=True)
            assert [row.tobytes() for row in lazy] == [row.tobytes() for row in expected]
        buffer.close()


slices = st.builds(slice, *[st.none() | st.integers(-50, 50)] * 2, st.none() | st.integers(-9, 9).filter(bool))


def indices(length: int) -> st.SearchStrategy:
    """Draw an index of one axis, right or wrong."""
    near = st.integers(-length - 2, length + 1)
    if not length:
        return st.one_of(slices, near, st.just(...), st.sampled_from([[], np.zeros(0, bool), np.zeros(0), [0], "a"]))
    inside = st.integers(-length, length - 1)
    return st.one_of(
        *(slices, slices, near, near.map(np.int64), st.just(...), st.just(slice(None))),
        st.lists(inside, max_size=9),
        st.lists(inside, max_size=60).map(np.array).filter(lambda array: array.size),
        st.lists(inside, min_size=6, max_size=6).map(lambda numbers: np.array(numbers, np.int16).reshape(2, 3)),
        st.integers(0, 99).map(lambda seed: np.random.default_rng(seed).random(length) < seed / 99),
        st.sampled_from([None, 1.0, "a", [0.5], np.zeros(length + 1, bool), [length], [-length - 1], 10**30, [[]]]),
    )


@st.composite
def keys(draw, shape: tuple[int, ...]):
    """Draw an index of all axes, of some, or of too many."""
    key = tuple(draw(indices(length)) for length in shape)
    key = key[: draw(st.integers(0, len(key)))] + draw(st.sampled_from([(), (), (), (...,), (0, 0)]))
    return key[0] if len(key) == 1 and draw(st.booleans()) else key


def is_beyond_us(key) -> bool:
    """Tell an index that numpy takes and a lazy array does not: new axes, and arrays for both axes."""
    items = key if isinstance(key, tuple) else (key,)
    return any(item is None for item in items) or sum(isinstance(item, (list, np.ndarray)) for item in items) > 1


def assert_same_index(lazy, expected, key):
    """Compare what an index gives with what it gives of the array in memory: the data or the error."""
    try:
        part = expected[key]
    except (IndexError, TypeError, ValueError) as error:
        with pytest.raises(type(error)):
            _ = lazy[key]
        return
    if is_beyond_us(key):
        with pytest.raises(IndexError):
            _ = lazy[key]
        return
    found = lazy[key]
    assert found.dtype == part.dtype
    assert np.shape(found) == np.shape(part)
    np.testing.assert_array_equal(found, part)


@given(choice=st.data())
def test_indices_of_every_scenario_give_what_numpy_gives(readable, choice):
    """Any index gives the data, or the error, that numpy gives for it."""
    path, expected = choice.draw(st.sampled_from(readable))
    assert_same_index(Buffer(path).data, expected, choice.draw(keys(expected.shape)))


@given(file=buffer_files(), choice=st.data())
def test_indices_of_random_files_give_what_numpy_gives(file, choice):
    """Any index of any file gives the data, or the error, that numpy gives for it."""
    with TemporaryDirectory() as folder, Buffer(file.write(Path(folder, "Random"))) as buffer:
        try:
            expected = buffer.get_data()
        except BufcacheError as error:
            with pytest.raises(type(error)):
                _ = buffer.data
            return
        for _ in range(5):
            assert_same_index(buffer.data, expected, choice.draw(keys(expected.shape)))


@pytest.mark.parametrize("blocks", [{}, {"db__size": 10_000}, {"db__size": 6, "dbhdsize": 5}, {"dbhdsize": 20_000}])
@pytest.mark.parametrize("shape", [(40, 30_000), (3000, 300), (700_000,), (2, 300_000)])
def test_indices_of_large_data(path, shape, blocks):
    """What takes many pieces, or is read row by row, is put together right."""
    expected = ramp(*shape)
    generator = np.random.default_rng(1)
    rows = generator.integers(0, shape[0], min(300, 3 * shape[0]))
    keys = [slice(None, None, 7), slice(None, None, -5000), slice(5, -5), rows, rows > rows[0], [shape[0] - 1, 0]]
    keys[4] = generator.random(shape[0]) > 0.7
    if len(shape) > 1:
        bands = (3, slice(10, 90, 3), slice(None, None, -1))
        keys = [*keys, *((key, band) for key in keys for band in bands)]
        lists = ([0, -1], [[7, 3], [3, 8]], generator.random(shape[1]) > 0.5, generator.integers(0, shape[1], 999))
        keys += [(key, band) for key in (0, *keys[:3]) for band in lists]
    with Buffer(write_buffer(path, blocks, expected)) as buffer:
        for key in keys:
            np.testing.assert_array_equal(buffer.data[key], expected[key], strict=True)


def test_scalars_are_numpy_scalars(path):
    """One sample is a numpy scalar, as of an array."""
    data = ramp(20, 64, dtype="<f4")
    buffer = Buffer(write_buffer(path, None, data))
    for key in ((3, 5), (-1, -1), (np.uint8(3), np.array(5))):
        assert type(buffer.data[key]) is np.float32
        assert buffer.data[key] == data[key]


def test_numpy_takes_a_lazy_array(path):
    """Functions of numpy and numpy.array with its arguments work; a view cannot be had."""
    data = ramp(20, 64)
    lazy = Buffer(write_buffer(path, None, data)).data
    assert np.mean(lazy) == np.mean(data)
    assert np.array(lazy, np.float32).dtype == np.float32
    assert np.asarray(lazy, copy=True).flags.writeable
    with pytest.raises(ValueError, match="on disk"):
        np.asarray(lazy, copy=False)


def test_a_lazy_array_says_what_it_is(path):
    """The repr has shape, type and path."""
    lazy = Buffer(write_buffer(path)).data
    assert repr(lazy) == f"<LazyArray (20, 64) uint16 of {str(path)!r}>"


def test_a_lazy_array_can_be_pickled(path):
    """A copy in another process reads for itself."""
    copy = pickle.loads(pickle.dumps(Buffer(write_buffer(path)).data))
    np.testing.assert_array_equal(copy[3:5], Buffer(path).get_data(3, 5))


def test_after_closing_nothing_is_read(path):
    """After its with block a lazy array knows its shape and gives no data."""
    with Buffer(write_buffer(path)) as buffer:
        lazy = buffer.data
    assert lazy.shape == (20, 64)
    for read in (lambda: lazy[0], lambda: np.asarray(lazy), lambda: list(lazy), lambda: next(lazy.iter_blocks(3))):
        with pytest.raises(ClosedError, match=path.name):
            read()


def test_comparisons_and_arithmetic_are_those_of_the_array(path):
    """Operators and numpy's functions give what they give of the array in memory, on either side."""
    data = ramp(20, 64)
    lazy = Buffer(write_buffer(path, None, data)).data
    for found, expected in (
        *(
            (lazy == data[3, 5], data == data[3, 5]),
            (lazy != 3, data != 3),
            (lazy > 3, data > 3),
            (lazy <= 9, data <= 9),
        ),
        *((lazy + 1, data + 1), (1.5 * lazy, 1.5 * data), (data - lazy, data - data), (lazy * lazy, data * data)),
        *((-lazy, -data), (np.sqrt(lazy), np.sqrt(data)), (np.add.reduce(lazy, axis=1), np.add.reduce(data, axis=1))),
        (np.sum(data, where=(lazy > 3) & (lazy < 999)), np.sum(data, where=(data > 3) & (data < 999))),
    ):
        np.testing.assert_array_equal(found, expected, strict=True)
    assert data[7, 9] in lazy
    assert 0.5 not in lazy


def test_a_lazy_array_cannot_be_changed(path):
    """What would change it in place is a TypeError; it has no hash, as an array has none."""
    lazy = Buffer(write_buffer(path)).data
    with pytest.raises(TypeError):
        lazy += 1
    with pytest.raises(TypeError):
        np.add.at(lazy, 0, 1)
    with pytest.raises(TypeError):
        np.add(1, 2, out=lazy)
    with pytest.raises(TypeError, match="unhashable"):
        hash(lazy)


@pytest.mark.parametrize(
    "key", [None, True, False, np.True_, (None, 0, 0), np.ones((20, 64), bool), ([1], [2])], ids=str
)
def test_refused_indices_name_the_way_out(path, key):
    """What numpy takes and a lazy array does not is an IndexError that says what to do."""
    with pytest.raises(IndexError, match=r"index numpy.asarray\(data\) with it"):
        _ = Buffer(write_buffer(path)).data[key]


def test_both_axes_take_no_arrays(path):
    """What numpy would pair up is refused with a way out."""
    with pytest.raises(IndexError, match="one axis"):
        _ = Buffer(write_buffer(path)).data[[1, 2], [3, 4]]


@pytest.mark.parametrize("spectra", [1, 3, 7, 100, np.int64(3)])
def test_blocks_are_the_data_in_order(readable, spectra):
    """iter_blocks gives what get_data gives for so many spectra after the others."""
    for path, expected in readable:
        with Buffer(path) as buffer:
            blocks = list(buffer.data.iter_blocks(spectra))
            starts = range(0, buffer.spec_count, int(spectra))
            assert len(blocks) == len(starts)
            for start, block in zip(starts, blocks, strict=True):
                stop = min(start + spectra, buffer.spec_count)
                np.testing.assert_array_equal(block, buffer.get_data(start, stop), strict=True)
            np.testing.assert_array_equal(np.concatenate([expected[:0], *blocks]), expected, strict=True)


@pytest.mark.parametrize("spectra", [0, -1, 1.5, None, "3"])
def test_wrong_sizes_of_blocks(path, spectra):
    """Blocks of no spectra are an InvalidArgumentError, at once."""
    with pytest.raises(InvalidArgumentError, match=str(spectra)):
        Buffer(write_buffer(path)).data.iter_blocks(spectra)


# -- frequencies and times ----------------------------------------------------------------------------------------


def test_the_axes_by_hand(path):
    """Bands start at the lowest frequency, one width apart; spectra start one duration apart."""
    buffer = Buffer(write_buffer(path, {"startfrq": 100, "frqpband": 2.5, "framedur": 4e8}, ramp(3, 4)))
    np.testing.assert_array_equal(buffer.frequencies, [100.0, 102.5, 105.0, 107.5], strict=True)
    np.testing.assert_array_equal(buffer.times, [0.0, 0.4, 0.8], strict=True)


def test_the_times_of_a_signal_are_those_of_its_samples(path):
    """Each sample of a signal has its time: a frame takes the duration, its samples share it."""
    buffer = Buffer(write_buffer(path, {"framsize": 2, "framedur": 1e9}, ramp(6)))
    np.testing.assert_array_equal(buffer.times, [0, 0.5, 1, 1.5, 2, 2.5])
    np.testing.assert_array_equal(buffer.get_data(time=(0.5, 2)), ramp(6)[1:4], strict=True)


limits = st.tuples(*[st.none() | st.floats(-10, 100) | st.integers(-10, 100)] * 2)


@given(frequency=st.none() | limits, time=st.none() | limits, is_signal=st.booleans(), is_logarithmic=st.booleans())
def test_chosen_data_are_those_whose_values_lie_within(frequency, time, is_signal, is_logarithmic):
    """The data chosen by frequency and time are those that masks over `frequencies` and `times` choose."""
    whole = ramp(900) if is_signal else ramp(30, 30)
    header = {"startfrq": 7, "frqpband": 2.25, "framedur": 0.3e9, "db__size": 250, "fftlogsh": 8 * is_logarithmic}
    with TemporaryDirectory() as folder:
        buffer = Buffer(write_buffer(Path(folder, "Random"), header | {"framsize": 30}, whole))
        chosen = {"frequency": None if is_signal else frequency, "time": time}
        if any(limits and None not in limits and limits[0] > limits[1] for limits in chosen.values()):
            with pytest.raises(InvalidArgumentError, match="smaller number first"):
                buffer.get_data(**chosen)
            return
        for conversion in (None, "delog"):
            rows, bands = within(buffer.times, time), within(buffer.frequencies, chosen["frequency"])
            converted = buffer.get_data(conversion=conversion)
            expected = converted[rows] if is_signal else converted[rows][:, bands]
            found = buffer.get_data(conversion=conversion, **chosen)
            np.testing.assert_array_equal(found, expected, strict=True)


def within(values, limits):
    low, high = limits or (None, None)
    return (values >= (-np.inf if low is None else low)) & (values < (np.inf if high is None else high))


def test_frequency_goes_with_indices(path):
    """The bands of some spectra alone can be read."""
    buffer = Buffer(write_buffer(path, {"frqpband": 1.0}, ramp(20, 64)))
    np.testing.assert_array_equal(buffer.get_data(3, 9, frequency=(10, 20)), ramp(20, 64)[3:9, 10:20], strict=True)


@pytest.mark.parametrize("name", ["frequency", "time"])
@pytest.mark.parametrize(
    "limits",
    [
        *(5, (1,), (1, 2, 3), (2, 1), ("a", 2), (float("nan"), 2), (1j, 2), "12a", "12", b"12", bytearray(b"12")),
        *({1: 0, 2: 0}, {1, 2}, ("1", "5"), (np.str_("1"), None), (np.array("1"), 2), (None, b"5")),
    ],
    ids=str,
)
def test_wrong_limits(path, name, limits):
    """Limits that are not two numbers in order are an InvalidArgumentError that names them."""
    with pytest.raises(InvalidArgumentError, match=name):
        Buffer(write_buffer(path)).get_data(**{name: limits})


def test_wrong_choices(path):
    """Time beside indices, and the frequency of a signal, are an InvalidArgumentError."""
    buffer = Buffer(write_buffer(path))
    for given_range in ((0,), (None, 3), (np.arange(2), None), (None, np.arange(2))):
        with pytest.raises(InvalidArgumentError, match="not by both"):
            buffer.get_data(*given_range, time=(0, 1))
    with pytest.raises(InvalidArgumentError, match="signal"):
        Buffer(write_buffer(path, None, ramp(20))).get_data(frequency=(0, 1))


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan"), float("inf"), 1e308])
def test_axes_that_do_not_rise(path, step):
    """Nothing can be chosen where the header gives steps that lead nowhere: InvalidFileError with the path."""
    buffer = Buffer(write_buffer(path, {"framedur": step, "frqpband": step}))
    for name in ("frequency", "time"):
        if step != 1e308 or name == "frequency":
            with pytest.raises(InvalidFileError, match=f"{path.name}.*{name}"):
                buffer.get_data(**{name: (0, 1)})
    assert len(buffer.times) == 20


def test_more_bands_than_the_file_could_hold(path):
    """A header that lies about its bands costs no memory."""
    buffer = Buffer(write_buffer(path, {"framsize": 2**31 - 1}))
    assert buffer.data.shape == (0, 2**31 - 1)
    with pytest.raises(InvalidFileError, match=f"{path.name}.*2147483647 bands"):
        _ = buffer.frequencies


# -- files that are being recorded --------------------------------------------------------------------------------


@pytest.mark.parametrize("is_open", [True, False], ids=["with", "without"])
def test_refresh_sees_what_was_recorded(path, is_open):
    """After refresh the counts and the data are those of the grown file; older lazy arrays keep their shape."""
    data = ramp(40, 64)
    whole = write_buffer(path, {"db__size": 500}, data).read_bytes()
    buffer = Buffer(path)
    path.write_bytes(whole[:2500])
    if is_open:
        buffer.__enter__()
    before = buffer.data
    for size in (2500, 5000, len(whole)):
        with open(path, "ab") as file:
            file.write(whole[os.path.getsize(path) : size])
        assert buffer.refresh() is buffer
        expected = Buffer(path).get_data()
        assert (buffer.file_size, buffer.spec_count) == (size, len(expected))
        np.testing.assert_array_equal(buffer.get_data(), expected, strict=True)
        np.testing.assert_array_equal(buffer.data, expected)
    np.testing.assert_array_equal(before, data[: len(before)])
    np.testing.assert_array_equal(buffer.get_data(), data)
    buffer.close()
    with pytest.raises(ClosedError, match=path.name):
        buffer.refresh()


def test_refresh_reads_the_header_where_it_was_not_read(path):
    """A buffer that knows nothing yet reads its header."""
    buffer = Buffer(write_buffer(path)).refresh()
    path.unlink()
    assert buffer.spec_count == 20


@pytest.mark.parametrize("is_open", [True, False], ids=["with", "without"])
def test_refresh_of_another_file(path, is_open):
    """Another header is an InvalidFileError with the path, and what was known stays."""
    buffer = Buffer(write_buffer(path))
    assert buffer.spec_count == 20
    if is_open:
        buffer.__enter__()
    write_buffer(path, {"proc_cnt": 9}, ramp(40, 32))  # written to the same file, which may be open
    with pytest.raises(InvalidFileError, match=f"{path.name}: another file stands at this path; open a new Buffer"):
        buffer.refresh()
    assert (buffer.spec_count, buffer.frq_bands) == (20, 64)
    buffer.close()
    assert Buffer(path).refresh().spec_count == 40


def test_refresh_of_a_file_that_lost_its_header(path):
    """A file shorter than its header is a TruncatedFileError, and what was known stays."""
    with Buffer(write_buffer(path)) as buffer:
        os.truncate(path, 1999)
        with pytest.raises(TruncatedFileError, match=rf"{path.name}.*2000.*1999"):
            buffer.refresh()
        assert buffer.spec_count == 20


@pytest.mark.parametrize("blocks", [{}, {"db__size": 500}, {"db__size": 2, "dbhdsize": 0}, {"dbhdsize": 20_000}])
def test_every_way_of_reading_finds_that_a_file_has_shrunk(path, blocks):
    """What has gone from a file is a TruncatedFileError with the path, and what is left can still be read."""
    data = ramp(400, 64)
    with Buffer(write_buffer(path, {**blocks, "fftlogsh": 8}, data)) as buffer:
        lazy = buffer.data
        os.truncate(path, os.path.getsize(path) - 3)
        np.testing.assert_array_equal(lazy[:399], data[:399])
        for read in (
            *(buffer.get_data, lambda: buffer.get_data(398, conversion="delog"), lambda: buffer.get_data(time=(0, 9))),
            *(lambda: lazy[399], lambda: lazy[::-3, 60:], lambda: lazy[[5, 399]], lambda: lazy[399, 63]),
            *(lambda: np.asarray(lazy), lambda: list(lazy), lambda: list(lazy.iter_blocks(100))),
        ):
            with pytest.raises(TruncatedFileError, match=path.name):
                read()
        assert buffer.refresh().spec_count == 399
        np.testing.assert_array_equal(buffer.get_data(), data[:399])


@pytest.mark.parametrize("blocks", [{}, {"db__size": 500}, {"db__size": 20_000, "dbhdsize": 20_000}])
def test_reading_without_preadv(path, blocks, monkeypatch):
    """Where the system has no preadv, as Windows, the same is read and the same is found missing."""
    monkeypatch.delattr(os, "preadv", raising=False)
    monkeypatch.delattr(os, "pread", raising=False)
    data = ramp(400, 64)
    with Buffer(write_buffer(path, blocks, data)) as buffer:
        np.testing.assert_array_equal(buffer.get_data(), data)
        np.testing.assert_array_equal(buffer.data[::-3, 5:9], data[::-3, 5:9])
        os.truncate(path, os.path.getsize(path) - 3)
        with pytest.raises(TruncatedFileError, match=path.name):
            buffer.get_data()


@pytest.mark.parametrize("without", [[], ["preadv"]], ids=["preadv", "seek"])
def test_reads_that_give_less_are_continued(path, without, monkeypatch):
    """A system that gives fewer bytes than it was asked for is asked again."""
    data_written = ramp(40, 64)
    for name in without:
        monkeypatch.delattr(os, name, raising=False)
    read_at = data._read_at
    monkeypatch.setattr(data, "_read_at", lambda file, offset, target: read_at(file, offset, target.cast("B")[:7]))
    with Buffer(write_buffer(path, {"db__size": 500}, data_written)) as buffer:
        np.testing.assert_array_equal(buffer.get_data(), data_written)


# -- what it costs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "size"),
    [
        (3, 2000),
        ((3, 5), 2),
        (slice(3, 13), 20_000),
        (slice(0, 100, 10), 10 * 2000),
        ((slice(None), 7), 200_000),
        ((slice(3, 4), slice(100, 200)), 200),
        ([1, 90], 4000),
        ([5, 5, 5, 4], 4000),
        (slice(5, 5), 0),
        ((slice(0, 50), slice(3, 3)), 0),
    ],
    ids=str,
)
def test_an_index_reads_hardly_more_than_it_gives(path, reads, key, size):
    """An index reads the bytes of its samples; small gaps are read with them, larger ones are stepped over."""
    with Buffer(write_buffer(path, {"db__size": 30_001}, ramp(100, 1000))) as buffer:
        _ = buffer.data[key]
        assert size <= sum(length for _, length in reads) <= 5 * size


def test_narrow_bands_of_wide_spectra_are_read_alone(path, reads):
    """Of spectra that are wide enough only the chosen bands are read, by index and by frequency."""
    with Buffer(write_buffer(path, {"frqpband": 1.0}, ramp(20, 50_000))) as buffer:
        _ = buffer.data[:, 100:110]
        _ = buffer.get_data(frequency=(100, 110))
        assert sum(length for _, length in reads) == 2 * 20 * 10 * 2


def test_small_blocks_are_read_many_at_once(path, reads):
    """Blocks of a few bytes do not cost a call each."""
    data = ramp(2000, 64)
    with Buffer(write_buffer(path, {"db__size": 8, "dbhdsize": 4}, data)) as buffer:
        np.testing.assert_array_equal(buffer.get_data(), data)
        np.testing.assert_array_equal(buffer.get_data(3, 5), data[3:5])
    assert len(reads) < 10


@pytest.mark.parametrize("blocks", [{}, {"db__size": 200_000}, {"db__size": 200, "dbhdsize": 4}])
def test_memory_beside_the_result_is_bounded(path, blocks):
    """Conversions, steps, chosen bands, and the blocks of an iteration take some megabytes beside what they give."""
    data = ramp(20_000, 200)  # 8 MB
    with Buffer(write_buffer(path, {**blocks, "fftlogsh": 8, "frqpband": 1.0}, data)) as buffer:
        for read, result in (
            (buffer.get_data, data.nbytes),
            (lambda: buffer.get_data(conversion="delog"), data.nbytes * 4),
            (lambda: buffer.get_data(frequency=(0, 10)), data.nbytes // 20),
            (lambda: buffer.get_data(conversion="delog", frequency=(0, 10)), data.nbytes // 5),
            (lambda: buffer.data[::4], data.nbytes // 4),
            (lambda: buffer.data[:, 3], data.nbytes // 200),
            (lambda: buffer.data[:, [0, -1]], data.nbytes // 100),
            (lambda: buffer.data[::-3, np.arange(200) % 20 == 0], data.nbytes // 60),
            (lambda: buffer.data[np.arange(0, 20_000, 9)], data.nbytes // 9),
            (lambda: sum(block.sum() for block in buffer.data.iter_blocks(100)), 0),
            (lambda: sum(int(row[0]) for row in buffer.data), 0),
        ):
            assert peak(read) < result + 6 * 2**20


def peak(call) -> int:
    """Return the most memory that a call takes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# -- conversions --------------------------------------------------------------------------------------------------


def by_formula(data, name, shift, bits):
    """Convert as format and mathematics say, all at once."""
    base, top = np.float64(shift - 1), {14: 23, 16: 23, 24: 31}[bits]
    slope = (top - base) / 2.0**bits
    x = np.abs(np.asarray(data, np.float64))
    with np.errstate(all="ignore"):
        if name == "delog":
            found = np.power(2.0, x * slope + base) - np.power(2.0, base)
        else:
            found = (np.log2(x + np.power(2.0, base)) - base) / slope
    return np.where(np.asarray(data) < 0, -found, found)


@pytest.mark.parametrize("name", ["log", "delog"])
@pytest.mark.parametrize("bits", [14, 16, 24])
def test_the_table_is_the_formula(name, bits):
    """All 16-bit samples, in any number and order, are converted to the very bits that the formula gives."""
    generator = np.random.default_rng(2)
    for shift in (0, 1, 8, 30):
        for samples in (np.arange(65_536, dtype="<u2"), generator.integers(0, 65_536, 300_001).astype("<u2")):
            expected = by_formula(samples, name, shift, bits)
            convert = getattr(Buffer, name)
            assert convert(samples, shift, bits).tobytes() == expected.tobytes()
            assert convert(samples[777:1999], shift, bits).tobytes() == expected[777:1999].tobytes()
            assert convert(samples[::-3], shift, bits).tobytes() == expected[::-3].tobytes()


def test_few_samples_are_looked_up_when_many_were_computed(path, monkeypatch):
    """Few samples are computed one by one until as many were as a table has values; the bits stay the same."""
    computed = []
    compute = logarithm.Conversion._compute
    monkeypatch.setattr(
        logarithm.Conversion, "_compute", lambda *args: (computed.append(args[2].size), compute(*args))[1]
    )
    logarithm.conversion.cache_clear()
    with Buffer(write_buffer(path, {"fftlogsh": 8}, ramp(20, 1000))) as buffer:
        expected = by_formula(ramp(20, 1000)[3:13], "delog", 8, 16)
        for _ in range(20):
            assert buffer.get_data(3, 13, "delog").tobytes() == expected.tobytes()
        assert Buffer.delog(buffer.get_data(3, 13), 8, 16).tobytes() == expected.tobytes()
    assert computed == [10_000] * 6 + [65_536]


@pytest.mark.parametrize("dtype", ["i2", "u4", "i4", "f4", "f8", ">u2", "f2", "bool", "i8"])
def test_any_numbers_are_converted_by_the_formula(dtype):
    """Numbers of any type, more than a piece of them, and what is no number, give the bits of the formula."""
    values = np.random.default_rng(3).integers(-30_000, 30_000, 2 * logarithm.PIECE + 5).astype(dtype).reshape(-1, 1)
    if values.dtype.kind == "f":
        values[:6, 0] = [np.nan, np.inf, -np.inf, -0.0, 0.0, 5e-8]
    for name in ("log", "delog"):
        assert getattr(Buffer, name)(values, 8, 16).tobytes() == by_formula(values, name, 8, 16).tobytes()


@pytest.mark.parametrize("name", ["log", "delog"])
def test_shifts_and_objects_of_any_number_type(name):
    """A shift of any integer type, and numbers that are objects, count for what they are."""
    convert = getattr(Buffer, name)
    for shift in (np.uint8(0), np.int8(0), np.uint64(0)):
        assert convert([5, -7], shift, 16).tobytes() == by_formula([5, -7], name, 0, 16).tobytes()
    assert convert([2**70, Fraction(1, 2)], 8, 16).tobytes() == by_formula([2.0**70, 0.5], name, 8, 16).tobytes()


@pytest.mark.parametrize("name", ["log", "delog"])
@pytest.mark.parametrize(
    "values", [[1j], [None], None, "5", ["5"], b"5", [1, "5"], [10**400]], ids=lambda v: str(v)[:9]
)
def test_data_that_are_no_real_numbers(name, values):
    """Complex data and what is no number are an InvalidArgumentError."""
    with pytest.raises(InvalidArgumentError, match="data"):
        getattr(Buffer, name)(values, 8, 16)


@pytest.mark.parametrize(
    "conversion", ["Log", "", 1, b"log", np.array(["log", "delog"]), np.array("log"), ["log"]], ids=str
)
def test_conversions_that_are_none(path, conversion):
    """What is not the name of a conversion is an InvalidArgumentError."""
    with pytest.raises(InvalidArgumentError, match="conversion"):
        Buffer(write_buffer(path)).get_data(conversion=conversion)


@pytest.mark.parametrize("dtype", ["<u2", "<u4", "<f4"])
@pytest.mark.parametrize(("shift", "name"), [(8, "delog"), (0, "log")])
def test_data_are_converted_in_pieces(path, dtype, shift, name):
    """Data of several pieces, with blocks that end within samples' pieces, are converted whole."""
    data = ramp(3000, 200, dtype=dtype)
    with Buffer(write_buffer(path, {"fftlogsh": shift, "db__size": 99_998}, data)) as buffer:
        expected = by_formula(data, name, shift, 16)
        assert buffer.get_data(conversion=name).tobytes() == expected.tobytes()
        assert buffer.get_data(7, 9, name).tobytes() == expected[7:9].tobytes()
