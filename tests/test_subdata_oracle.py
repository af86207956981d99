"""Block headers and sub data against qass-tools-analyzer, the oracle: where it answers, we give the same value.

The oracle is run as a black box. Where it raises we may answer: of `io_ports_spec`, of blocks whose rows do not add up
to those of the file, of blocks smaller than a spectrum, of a single narrow entry, of unknown keys of 8 bytes. Where we
differ on purpose, as docs/file-format.md has it:

- A header inside which the file ends before its end is a TruncatedFileError; the oracle gives what is there.
- What follows blockend, or a zero where a key must stand, is padding; the oracle reads on.
- What is no key is an InvalidFileError; the oracle gives the entries before it.
- Negative spectra, the one behind the last, and blocks given as floats are InvalidArgumentErrors.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from qass.tools.analyzer.buffer_parser import Buffer as OracleBuffer
from scenarios import SCENARIOS
from strategies import buffer_files, sub_data_files

from bufcache.buffer_parser import Buffer, TruncatedFileError
from bufcache.buffer_parser.subdata import DATA_COLUMNS, INDEX_COLUMNS

pytestmark = pytest.mark.filterwarnings("ignore")  # the oracle warns of keys and divisions

ALL = [*INDEX_COLUMNS, *DATA_COLUMNS]
COLUMNS = ([*DATA_COLUMNS], ALL, ALL[::-1], ["mux_port"], ["times", "preamp_gain"], ["inputs", "index", "outputs"])
MOST = 12
"""Blocks and spectra of a file that are asked about."""

Question = tuple[str, tuple[Any, ...]]


def questions(blocks: int, spectra: int) -> Iterator[Question]:
    """Yield what a file of so many blocks and spectra is asked."""
    yield "last_spec", ()
    for block in sorted({*range(min(blocks, MOST)), *range(max(0, blocks - 3), blocks)}):
        yield "db_header", (block,)
        yield "io_ports", (block,)
        yield from (("io_ports", (block, byte)) for byte in (1, 2, 4))
        yield from (("io_ports", (block, byte, bit)) for byte in (1, 2, 4) for bit in (1, 5, 8))
        yield from (("db_value", (block, key)) for key in ("sd_rsize", "lastsamp", "begin_subdat", "blockend"))
    for spec in sorted({*range(min(spectra, MOST)), *range(max(0, spectra - 3), spectra)}):
        yield "db_header_spec", (spec,)
    yield from (("block_infos", (columns,)) for columns in COLUMNS)
    for columns, fast_jump in itertools.product(COLUMNS, (True, False)):
        yield "block_infos", (columns, bool(set(columns) & set(INDEX_COLUMNS)), fast_jump)


def answer(buffer: Any, question: Question) -> Any:
    """Ask one question."""
    name, arguments = question
    return getattr(buffer, name) if name == "last_spec" else getattr(buffer, name)(*arguments)


def described(value: Any) -> Any:
    """Return a value in a form that is equal only for equal values of the same type."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tolist()
    return type(value).__name__, list(value.items()) if isinstance(value, dict) else value


def assert_agreement(path: Path) -> int:
    """Compare every answer of the oracle with ours, and return their number."""
    try:
        oracle = OracleBuffer(path).__enter__()
    except Exception:  # whatever it raises is no answer
        return 0
    count = 0
    with oracle, Buffer(path) as buffer:
        try:
            asked = list(questions(buffer.db_count, buffer.spec_count))
        except Exception:
            return 0
        for question in asked:
            try:
                expected = answer(oracle, question)
            except Exception:
                continue
            try:
                found = answer(buffer, question)
            except TruncatedFileError:
                assert is_cut_in_a_header(buffer)
                continue
            assert described(found) == described(expected), question
            count += 1
    return count


def is_cut_in_a_header(buffer: Buffer) -> bool:
    """Tell whether the file ends inside of a block header."""
    period = buffer.db_size + buffer.db_header_size
    return 0 < (buffer.file_size - buffer.header_size) % period < buffer.db_header_size


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_reads_as_the_oracle_reads_it(scenario, tmp_path):
    """Every block header, port and table of a scenario is what the oracle answers."""
    path = tmp_path / "Scenario_00001p1c0b01"
    scenario.write(path)
    assert_agreement(path)


@given(file=buffer_files() | sub_data_files())
def test_random_files_read_as_the_oracle_reads_them(file):
    """Every block header, port and table of a random file is what the oracle answers."""
    with TemporaryDirectory() as folder:
        assert_agreement(file.write(Path(folder, "Random_00001p1c0b01")))


@given(file=sub_data_files())
def test_random_sub_data_read_as_the_oracle_reads_them(file):
    """Every table of a random file whose blocks all have sub data is what the oracle answers."""
    with TemporaryDirectory() as folder:
        assert_agreement(file.write(Path(folder, "Random_00001p1c0b01")))


def test_the_oracle_answers_many_questions(tmp_path):
    """The comparison is no sham: the oracle answers tables of scenarios with entries of several sizes."""
    for name in ("an_entry_a_spectrum", "two_entries_a_spectrum", "sub_data_of_spectra_that_straddle", "wide_sub_data"):
        (scenario,) = (scenario for scenario in SCENARIOS if scenario.name == name)
        scenario.write(tmp_path / name)
        with OracleBuffer(tmp_path / name) as oracle:
            assert len(oracle.block_infos())
        assert assert_agreement(tmp_path / name) > 60
