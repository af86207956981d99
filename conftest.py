"""The examples in README.md and docs/ run as tests; ``--no-skips`` makes a skipped test a failure."""

import contextlib
import doctest
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from bufcache.testing import write_buffer

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS), SkipParser()],
    patterns=["*.md"],
    fixtures=["in_sample_project"],
).pytest()


def make_sample_project(folder: Path) -> None:
    """Write the buffer files that the examples find: processes 1 to 8, every second one of compression 8."""
    folder.mkdir(parents=True)
    for process in range(1, 9):
        header = {"proc_cnt": process, "frqratio": 4 if process % 2 else 8}
        write_buffer(folder / f"Sample_00001p{process}c0b01", header)


@pytest.fixture(scope="module")
def in_sample_project(tmp_path_factory):
    """Work in a new folder whose ``my/directory`` holds buffer files, one folder a document."""
    folder = tmp_path_factory.mktemp("project")
    make_sample_project(folder / "my" / "directory")
    with contextlib.chdir(folder):
        yield folder


def pytest_addoption(parser):
    parser.addoption("--no-skips", action="store_true", help="a skipped test is a failure")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    return failed_if_skipped((yield), item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return failed_if_skipped((yield), collector.config)


def failed_if_skipped(report, config):
    is_skip = report.skipped and not hasattr(report, "wasxfail")
    if is_skip and config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"a skip, which --no-skips forbids: {report.longrepr[2]}"
    return report
