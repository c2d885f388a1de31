"""What one test run shares: tests of a file stay in one process, a demo is trained once, a failure is everybody's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sharing import demo, group

HERE = Path(__file__).parent
CONFTEST = f"""
import sys
sys.path.append({str(HERE)!r})
from sharing import scheduler

def pytest_xdist_make_scheduler(config, log):
    return scheduler(config, log)
"""
TEST = """
import os, pytest
from pathlib import Path

@pytest.mark.parametrize("number", range(8))
def test_process(number):
    with Path(__file__).with_suffix(".txt").open("a") as stream:
        stream.write(f"{os.getpid()}\\n")
"""


def test_two_processes_never_share_a_file(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name in "abcd":
        (tmp_path / f"test_{name}.py").write_text(TEST)
    options = ["-q", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [file.read_text().split() for file in sorted(tmp_path.glob("*.txt"))]
    assert [len(file) for file in lines] == [8, 8, 8, 8]
    assert all(len(set(file)) == 1 for file in lines)
    assert len({file[0] for file in lines}) == 2


def test_groups_are_files_and_in_one_of_them_demos():
    file = "tests/recipes/test_recipes.py"
    assert group("tests/a/test_b.py::test_c[quality]") == group("tests/a/test_b.py::test_d") == "tests/a/test_b.py"
    assert group(f"{file}::test_demo_trains[quality]") == group(f"{file}::test_killed[quality]")
    assert group(f"{file}::test_demo_trains[quality]") != group(f"{file}::test_demo_trains[reid]")
    assert group(f"{file}::test_recipe[anomaly/demo]") == group(f"{file}::test_there_are_recipes") == file


@pytest.mark.parametrize("code", [0, 2])
def test_a_demo_is_trained_once_and_its_failure_told_to_all(tmp_path, code):
    calls = []

    def zoo(*arguments, cwd):
        calls.append(arguments)
        (cwd / "runs").mkdir()
        return subprocess.CompletedProcess([*arguments], code, "epoch 1/", "error: no")

    first, second = (demo(tmp_path / "demos", "ltr", zoo) for _ in range(2))
    assert calls == [("train", "ltr/demo")]
    assert first[0] == second[0]
    assert (first[0] / "runs").is_dir()
    assert vars(first[1]) == vars(second[1])
    assert (first[1].returncode, first[1].stderr) == (code, "error: no")


def test_a_training_that_hangs_is_a_failure_of_all_too(tmp_path):
    def zoo(*arguments, cwd):
        raise subprocess.TimeoutExpired([*arguments], 300)

    for _ in range(2):
        result = demo(tmp_path / "demos", "ltr", zoo)[1]
        assert result.returncode == 124
        assert "timed out after 300 seconds" in result.stderr
