"""Fuzz, bounded: no file of any kind makes more than one of our own errors. ``ZOO_FUZZ`` gives the examples of each."""

import os
from pathlib import Path

import pytest
from fuzz import Target, attempt, data_sets, data_target, others
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("ZOO_FUZZ", "24"))
bounded = settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
SETS = data_sets()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data set as a target, made when it is first asked for."""
    folder, kept = tmp_path_factory.mktemp("sets"), {}

    def get(cls) -> Target | None:
        if cls not in kept:
            kept[cls] = data_target(cls, folder)
            if kept[cls] is not None:
                kept[cls].read()  # the good files
        return kept[cls]

    return get


def told(error: BaseException | None) -> None:
    if error is not None:
        raise AssertionError("an error that is not ours") from error


def test_mangled_data_sets(made):
    assert len(SETS) > 20

    @bounded
    @given(seed=st.integers(0, 2**32 - 1), number=st.integers(0, len(SETS) - 1))
    def attempts(seed, number):
        target = made(SETS[number])
        if target is not None:
            told(attempt(target, seed))

    attempts()


def test_mangled_recipes_checkpoints_and_indexes(tmp_path):
    targets = list(others(tmp_path))
    for target in targets:
        if not target.name.startswith("convert"):  # the file is of another network
            target.read()

    @bounded
    @given(seed=st.integers(0, 2**32 - 1), number=st.integers(0, len(targets) - 1))
    def attempts(seed, number):
        told(attempt(targets[number], seed))

    attempts()


def test_an_error_that_is_not_ours_is_found(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("1 2 3")
    target = Target("numbers", [file], lambda: [float(word) for word in Path(file).read_text().split()])
    assert any(attempt(target, seed) for seed in range(50))
    assert file.read_text() == "1 2 3"
