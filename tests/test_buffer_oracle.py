"""Buffer against qass-tools-analyzer, the oracle: where it answers, we give the same value of the same type.

The oracle is run as a black box. Where it raises we may answer: of `io_ports_spec`, of blocks whose rows do not add up
to those of the file, of blocks smaller than a spectrum, of a single narrow entry, of unknown keys of 8 bytes. Of a
header it reads and hashes the first 4096 bytes only. Where we differ on purpose, as docs/file-format.md has it:

- A negative count is 0, and a file of negative bands is refused.
- metainfo has only what stands in the file, not the frame duration that the oracle computed.
- The hash is that of the whole header.
- A block header inside which the file ends before its end is a TruncatedFileError; the oracle gives what is there.
- What follows blockend, or a zero where a key must stand, is padding; the oracle reads on.
- What is no key is an InvalidFileError; the oracle gives the entries before it.
- Negative spectra, the one behind the last, and blocks given as floats are InvalidArgumentErrors.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qass.tools.analyzer.buffer_parser import Buffer as OracleBuffer
from qass.tools.analyzer.buffer_parser import filter_buffers as oracle_filter_buffers
from questions import Question, answer, described, of_blocks, of_header_and_data
from scenarios import SCENARIOS
from strategies import BufferFile, buffer_files, combined_scenarios, sub_data_files

from bufcache.buffer_parser import Buffer, filter_buffers
from bufcache.errors import BufcacheError, MissingHeaderError, TruncatedFileError
from bufcache.testing import typical_header, write_buffer

pytestmark = pytest.mark.filterwarnings("ignore")  # the oracle warns of keys and divisions

COUNTS = ("sample_count", "spec_count", "getRealSpecCount")
ORACLE_READS = 4096
MANY = settings(max_examples=max(1000, settings.default.max_examples))


def agreement(path: Path) -> list[Question]:
    """Compare every answer of the oracle about a file with ours, and return the questions that it answered."""
    if any(header_of(path)[ORACLE_READS:]):
        return []
    try:
        oracle = OracleBuffer(path).__enter__()
    except Exception:  # whatever it raises is no answer
        return []
    with oracle, Buffer(path) as buffer:
        answered = [question for question in asked(buffer) if is_answered(path, oracle, buffer, question)]
        for question in answered[::7]:
            assert described(answer(Buffer(path), question)) == described(answer(buffer, question)), question
    return answered


def asked(buffer: Buffer) -> list[Question]:
    """Return what is asked of both; nothing about a file that we refuse."""
    try:
        spectra, blocks = buffer.spec_count, buffer.db_count
    except MissingHeaderError:
        spectra, blocks = 3, 0
    except BufcacheError:
        return []
    return [*of_header_and_data(spectra), *of_blocks(blocks, spectra)]


def is_answered(path: Path, oracle: Any, buffer: Buffer, question: Question) -> bool:
    """Tell whether the oracle answers; then our answer must be the same."""
    try:
        expected = as_in_file(path, question[0], answer(oracle, question))
    except Exception:  # whatever it raises is no answer
        return False
    try:
        found = answer(buffer, question)
    except TruncatedFileError:
        assert question in of_blocks(buffer.db_count, buffer.spec_count)
        assert is_cut_in_a_header(buffer)
        return False
    assert described(found) == described(expected), question
    return True


def as_in_file(path: Path, name: str, value: Any) -> Any:
    """Return an answer of the oracle as it is where we do not differ on purpose."""
    header = header_of(path)
    if name == "header_hash" and len(header) > ORACLE_READS:
        raise ValueError("the hash of a part")
    if name in COUNTS:
        return max(0, value)
    if name == "metainfo" and b"framedur" not in header:
        return {key: item for key, item in value.items() if key != "framedur"}
    return value


def header_of(path: Path) -> bytes:
    """Return the bytes of the header of a file."""
    content = path.read_bytes()
    return content[: int.from_bytes(content[8:12], "little", signed=True)]


def is_cut_in_a_header(buffer: Buffer) -> bool:
    """Tell whether the file ends inside of a block header."""
    period = buffer.db_size + buffer.db_header_size
    return 0 < (buffer.file_size - buffer.header_size) % period < buffer.db_header_size


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_reads_as_the_oracle_reads_it(scenario, tmp_path):
    """Everything that a scenario is asked is what the oracle answers."""
    path = tmp_path / "Scenario_00001p1c0b01"
    scenario.write(path)
    agreement(path)


def test_the_oracle_answers_most_scenarios(tmp_path):
    """The comparison is no sham: the oracle opens nearly all scenarios and answers nearly all questions."""
    counts = []
    for scenario in SCENARIOS:
        scenario.write(tmp_path / scenario.name)
        counts.append(len(agreement(tmp_path / scenario.name)))
    assert np.median(counts) > 80
    assert np.mean(np.array(counts) > 0) > 0.8


ANSWERED = {
    **{"spec_count": 0.7, "metainfo": 0.7, "get_data": 0.4, "get_data delog": 0.4, "get_data log": 0.03},
    **{"db_header": 0.3, "db_header_spec": 0.3, "io_ports": 0.1, "last_spec": 0.25, "block_infos": 0.1},
    **{"get_data of <u2": 0.15, "get_data of <u4": 0.05, "get_data of <f4": 0.05, "get_data of a cut file": 0.05},
    **{"entries wider than a spectrum": 0.04, "entries of a spectrum": 0.005, "entries narrower than a spectrum": 0.02},
    **{"block_infos of a cut file": 0.01},
}
"""Of all random files, the part of which the oracle answers at least so."""


def kinds(file: BufferFile, path: Path, answered: list[Question]) -> Iterator[str]:
    """Yield the names of the questions that the oracle answered, and those of what it answered about."""
    names = {" ".join((name, *arguments[2:3])) if name == "get_data" else name for name, arguments in answered}
    yield from names
    if "get_data" in names:
        yield f"get_data of {file.data.dtype.str}"
    yield from (f"{name} of a cut file" for name in names if file.missing_bytes)
    if "block_infos" in names:
        with Buffer(path) as buffer:
            spectrum, described_size = buffer.frq_bands * buffer.bytes_per_sample, buffer.db_value(0, "sd_rsize")
        relation = {-1: "narrower than", 0: "of", 1: "wider than"}[np.sign(described_size - spectrum)]
        yield f"entries {relation} a spectrum"


def test_a_thousand_random_files_read_as_the_oracle_reads_them():
    """Everything that random files of all kinds are asked is what the oracle answers, and it answers much of it."""
    answered: Counter[str] = Counter()

    @MANY
    @given(file=st.one_of(buffer_files(), sub_data_files(), sub_data_files(), combined_scenarios()))
    def compare(file):
        with TemporaryDirectory() as folder:
            path = file.write(Path(folder, "Random_00001p1c0b01"))
            answered.update(["files", *kinds(file, path, agreement(path))])

    compare()
    assert answered["files"] >= MANY.max_examples >= 1000
    shares = {kind: answered[kind] / answered["files"] for kind in ANSWERED}
    assert {kind: share for kind, share in shares.items() if share < ANSWERED[kind]} == {}


@pytest.mark.parametrize("bands", [1, 3, 5, 7, 9, 11, 13, 19, 27, 28, 47])
def test_entries_of_any_size_lie_as_the_oracle_has_them(bands, tmp_path):
    """Which entry is that of a spectrum, and when it begins, is rounded alike for entries of 1 to 130 bytes."""
    data, path = np.zeros((37, bands), np.uint16), tmp_path / "Ratio_p1c0b01"
    for size in range(1, 131):
        table = np.zeros((37 * max(1, -(-2 * bands // size)) + 1, 10), "<i4")
        table[:, 2] = np.arange(len(table))
        header = typical_header(data, db__size=data.nbytes, dbhdsize=300 + table.nbytes, framedur=1234.5)
        block = {"sd_rsize": size, "begin_subdat": table.tobytes()}
        BufferFile(list(header.items()), data, 0, [block], 0).write(path)
        with Buffer(path) as ours, OracleBuffer(path) as oracle:
            columns = ["measure_positions", "spectrums", "times", "index"]
            np.testing.assert_array_equal(ours.block_infos(columns), oracle.block_infos(columns), str(size))


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
@MANY
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
            assert described(found) == described(expected)
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
