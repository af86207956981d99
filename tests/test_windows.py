"""Systems without pread and preadv, such as Windows: they read the same."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from questions import outcomes
from scenarios import SCENARIOS
from strategies import buffer_files, combined_scenarios, sub_data_files


def assert_same_without_pread(path):
    """Compare every answer, and the message of every error."""
    expected = outcomes(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(os, "preadv", raising=False)
        patch.delattr(os, "pread", raising=False)
        assert outcomes(path) == expected
    assert len(expected) > 50


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_reads_the_same(scenario, tmp_path):
    """Everything that a scenario answers with pread it answers without."""
    scenario.write(tmp_path / "Scenario_00001p1c0b01")
    assert_same_without_pread(tmp_path / "Scenario_00001p1c0b01")


@given(file=buffer_files() | sub_data_files(may_lack_ends=True) | combined_scenarios())
def test_random_files_read_the_same(file):
    """So do random files, and those that are several scenarios at once."""
    with TemporaryDirectory() as folder:
        assert_same_without_pread(file.write(Path(folder, "Random_00001p1c0b01")))
