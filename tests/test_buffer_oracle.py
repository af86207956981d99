"""Buffer against qass-tools-analyzer, the oracle: where it answers, we give the same value of the same type.

The oracle is run as a black box. Where it raises we may answer. Where we differ on purpose, as docs/file-format.md has
it: a negative count is 0, metainfo has only what stands in the file (not the frame duration that the oracle computed),
the hash is that of the whole header, and a file of negative bands is refused. Of a header the oracle reads and hashes
the first 4096 bytes only.
"""

import contextlib
import os
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qass.tools.analyzer.buffer_parser import Buffer as OracleBuffer
from qass.tools.analyzer.buffer_parser import filter_buffers as oracle_filter_buffers
from scenarios import SCENARIOS
from strategies import buffer_files

from bufcache.buffer_parser import Buffer, filter_buffers
from bufcache.testing import write_buffer

pytestmark = pytest.mark.filterwarnings("ignore")  # the oracle warns of keys and divisions

COUNTS = ("sample_count", "spec_count", "getRealSpecCount")
ORACLE_READS = 4096
PROPERTIES = (
    *("header_size", "header_hash", "file_size", "filepath", "metainfo"),
    *("project_id", "process", "channel", "streamno", "datamode", "datakind", "adc_type", "datatype"),
    *("process_time", "last_modification_time", "process_date_time", "last_modification_date_time"),
    *("process_measure_timestamp", "process_measure_time_string"),
    *("db_header_size", "db_size", "bytes_per_sample", "db_count", "full_blocks", "db_sample_count", "frq_bands"),
    *("db_spec_count", "sample_count", "spec_count", "compression_frq", "compression_time", "avg_time", "avg_frq"),
    *("spec_duration", "frq_start", "frq_end", "frq_per_band", "bit_resolution", "fft_log_shift"),
    *("max_amplitude_level", "preamp_gain", "analyzer_version", "partnumber", "ref_energy", "refEnergy"),
)

Question = tuple[str, tuple[Any, ...]]
"""The name of a property or method, and the arguments of the method."""


def questions(spec_count: int) -> Iterator[Question]:
    """Yield everything that a file of so many spectra is asked."""
    yield from ((name, ()) for name in (*PROPERTIES, "getSpecDuration", "getRealSpecCount"))
    yield from (("spec_to_time_ns", (spec,)) for spec in (0, 1, 2.5, spec_count, np.int64(3)))
    yield from (("time_to_spec", (time,)) for time in (0, 1.0, 1e6, -123_456, np.float64(1e9)))
    third = spec_count // 3
    ranges = {(), (0,), (0, spec_count), (third, spec_count), (0, third), (third, 2 * third), (None, third), (third,)}
    for limits in sorted(ranges, key=repr):
        yield "get_data", limits
    yield "get_data", (spec_count, spec_count)
    for limits in ((None, None), (third, 2 * third)):
        yield from (("get_data", (*limits, conversion)) for conversion in ("log", "delog"))
        yield from (("getArray", (*limits, delog)) for delog in (True, None))


def answer(buffer: Any, question: Question) -> Any:
    """Ask one question."""
    name, arguments = question
    found = getattr(buffer, name)
    return found(*arguments) if callable(found) else found


def answers(path: Path) -> list[tuple[Question, Any]]:
    """Return what the oracle says about a file; nothing where it cannot open it or reads half the header."""
    if any(header_of(path)[ORACLE_READS:]):
        return []
    try:
        with OracleBuffer(path) as buffer:
            return [] if buffer.frq_bands < 1 else list(answers_of(buffer))
    except Exception:  # whatever it raises is no answer
        return []


def header_of(path: Path) -> bytes:
    """Return the bytes of the header of a file."""
    content = path.read_bytes()
    return content[: int.from_bytes(content[8:12], "little", signed=True)]


def answers_of(buffer: Any) -> Iterator[tuple[Question, Any]]:
    """Yield the oracle's answers about a file that it has opened."""
    for question in questions(max(0, buffer.spec_count)):
        if question[0] == "header_hash" and buffer.header_size > ORACLE_READS:
            continue
        with contextlib.suppress(Exception):
            yield question, answer(buffer, question)


def described(name: str, value: Any) -> Any:
    """Return a value in a form that is equal only for equal values of the same type."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, IntEnum):
        return type(value).__name__, value.name, value.value
    if name == "metainfo":
        return [described(key, item) for key, item in value.items()]
    return name, type(value).__name__, repr(max(0, value) if name in COUNTS else value)


def as_in_file(path: Path, value: Any) -> Any:
    """Return metainfo without a frame duration that does not stand in the file, and anything else as it is."""
    if isinstance(value, dict) and b"framedur" not in header_of(path):
        return {key: item for key, item in value.items() if key != "framedur"}
    return value


def assert_agreement(path: Path) -> None:
    """Compare every answer inside a with block, and some outside of one."""
    expected = answers(path)
    with Buffer(path) as buffer:
        assert_equal_answers(path, buffer, expected)
    assert_equal_answers(path, Buffer(path), expected[::7])


def assert_equal_answers(path: Path, buffer: Buffer, expected: list[tuple[Question, Any]]) -> None:
    """Compare given answers with those of one buffer."""
    for question, value in expected:
        name = question[0]
        assert described(name, answer(buffer, question)) == described(name, as_in_file(path, value)), question


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_reads_as_the_oracle_reads_it(scenario, tmp_path):
    """Every property, range and conversion of a scenario is what the oracle answers."""
    path = tmp_path / "Scenario_00001p1c0b01"
    scenario.write(path)
    assert_agreement(path)


def test_the_oracle_answers_most_scenarios(tmp_path):
    """The comparison is no sham: the oracle opens nearly all scenarios and answers nearly all questions."""
    counts = []
    for scenario in SCENARIOS:
        scenario.write(tmp_path / scenario.name)
        counts.append(len(answers(tmp_path / scenario.name)))
    assert np.median(counts) > 70
    assert np.mean(np.array(counts) > 0) > 0.8


@given(file=buffer_files())
def test_random_files_read_as_the_oracle_reads_them(file):
    """Every property, range and conversion of a random file is what the oracle answers."""
    with TemporaryDirectory() as folder:
        assert_agreement(file.write(Path(folder, "Random_00001p1c0b01")))


# -- the logarithm ------------------------------------------------------------------------------------------------


@st.composite
def numbers(draw) -> np.ndarray:
    """Draw an array of any type that measured or computed data may have."""
    dtype = np.dtype(draw(st.sampled_from(["u2", "u4", "i2", "i4", "f4", "f8"])))
    shape = draw(st.sampled_from([(0,), (1,), (7,), (3, 5), (0, 4)]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = draw(st.sampled_from([1, 100, 40_000, 8_000_000]))
    lowest = 0 if dtype.kind == "u" else -scale
    values = generator.uniform(lowest, scale, shape)
    limit = np.iinfo(dtype).max if dtype.kind in "iu" else np.inf
    return np.clip(values, -limit, limit).astype(dtype)


@pytest.mark.parametrize("function", ["log", "delog"])
@given(array=numbers(), shift=st.integers(1, 30), bits=st.sampled_from([14, 16, 24, 0, -1]))
def test_the_logarithm_is_that_of_the_oracle(function, array, shift, bits):
    """The static log and delog give the oracle's numbers, and leave the caller's array as it is."""
    before = array.copy()
    expected = getattr(OracleBuffer, function)(array.copy(), shift, bits)
    for found in (getattr(Buffer, function)(array, shift, bits), getattr(Buffer(""), function)(array, shift, bits)):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("function", ["log", "delog"])
@pytest.mark.parametrize(("shift", "bits"), [(1, 14), (8, 16), (30, 16), (8, 24), (3, 0)])
def test_the_logarithm_of_many_numbers_is_that_of_the_oracle(function, shift, bits):
    """Of every 16-bit sample, and of more numbers of any type than are converted at once, the bits are the oracle's."""
    generator = np.random.default_rng(4)
    for dtype in ("u2", "u4", "i2", "i4", "f4", "f8"):
        array = generator.integers(0 if dtype[0] == "u" else -30_000, 30_000, (3, 100_000)).astype(dtype)
        if dtype == "u2":
            array[:, :65_536] = generator.permutation(65_536)
        expected = getattr(OracleBuffer, function)(array.copy(), shift, bits)
        assert getattr(Buffer, function)(array, shift, bits).tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["<u2", "<u4", "<f4"])
@pytest.mark.parametrize("block_size", [99_996, 1_000_000])
def test_large_data_read_as_the_oracle_reads_them(dtype, block_size, tmp_path):
    """Data of many pieces and blocks, as they are and converted, are what the oracle reads."""
    data = np.random.default_rng(5).integers(0, 60_000, (2000, 300)).astype(dtype)
    path = write_buffer(tmp_path / "Large_00001p1c0b01", {"fftlogsh": 8, "db__size": block_size}, data)
    with Buffer(path) as ours, OracleBuffer(path) as oracle:
        for arguments in ((), (0, 2000, "delog"), (7, 1800, "delog"), (7, 9, "delog"), (333, 1666)):
            found, expected = ours.get_data(*arguments), oracle.get_data(*arguments)
            assert described("", found) == described("", expected)
            if arguments:
                lazily = ours.data[arguments[0] : arguments[1]]
                raw = expected if len(arguments) < 3 else oracle.get_data(*arguments[:2])
                np.testing.assert_array_equal(lazily, raw, strict=True)


# -- filter_buffers -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """Write a tree of files that differ in everything that can be filtered by."""
    folder = tmp_path_factory.mktemp("tree")
    (folder / "sub" / "deeper").mkdir(parents=True)
    for number in range(36):
        place = folder / ("", "sub", "sub/deeper")[number % 3]
        channel = number % 4
        header = {
            **{"proc_cnt": number // 2, "dumpchan": channel, "datamode": number % 3, "datakind": number % 5 - 1},
            **{"datatype": number % 7 - 2, "comratio": number % 4, "frqratio": 2 ** (number % 4)},
            **{"auxpara1": number % 2, "auxpara2": number % 3},
        }
        missing = list(header)[number % len(header)] if number > 24 else "comments"
        write_buffer(place / f"Tree_00001p{number // 2}c{channel}b{number:02}", {**header, missing: None})
    (folder / "Garbage_00001p1c0b01").write_bytes(b"no buffer file")
    (folder / "Empty_00001p1c0b01").write_bytes(b"")
    (folder / "Folder_00001p1c0b01").mkdir()
    (folder / "readme.txt").write_bytes(b"no buffer file")
    return folder


FILTERS = {
    "process": st.integers(-1, 30),
    "wanted_process": st.lists(st.integers(0, 30)) | st.sets(st.integers(0, 30)) | st.just(range(5, 20)),
    "unwanted_process": st.lists(st.integers(0, 30)) | st.just(range(5, 20)),
    "channel": st.integers(0, 5),
    "datamode": st.sampled_from(Buffer.DATAMODE) | st.integers(-1, 3),
    "datakind": st.sampled_from(Buffer.DATAKIND) | st.integers(-2, 5),
    "datatype": st.sampled_from(Buffer.DATATYPE) | st.integers(-3, 6),
    "compression_time": st.integers(0, 4),
    "compression_frq": st.integers(0, 9),
    "avg_time": st.integers(0, 2),
    "avg_frq": st.integers(0, 3),
}


@given(filters=st.fixed_dictionaries({}, optional=FILTERS))
def test_filter_buffers_finds_what_the_oracle_finds(tree, filters):
    """filter_buffers finds the same files as the oracle, in subfolders too, by any combination of filters."""
    found = [os.fspath(buffer.filepath) for buffer in filter_buffers(tree, filters)]
    assert sorted(found) == sorted(os.fspath(buffer.filepath) for buffer in oracle_filter_buffers(str(tree), filters))
