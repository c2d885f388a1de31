"""``pip install .`` as a user does it: the package works from any folder, with its recipes inside."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package installed, not editable, into a folder of its own (dependencies come from this environment)."""
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--target", str(place), str(ROOT)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return place


def run(place, folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_recipes_travel_with_the_wheel_and_tests_do_not(installed):
    assert (installed / "zoo/_recipes/anomaly/demo.yaml").is_file()
    assert not (installed / "tests").exists()
    assert {file.name for file in installed.iterdir()} <= {"zoo", "bin"} | {
        file.name for file in installed.glob("rankzoo-*.dist-info")
    }


def test_the_installed_package_trains_the_demo_from_any_folder(installed, tmp_path):
    where = run(installed, tmp_path, "-c", "import zoo; print(zoo.__file__)")
    assert where.stdout.startswith(str(installed))
    listed = run(installed, tmp_path, "-m", "zoo", "list", "recipes")
    assert "anomaly/demo" in listed.stdout
    trained = run(installed, tmp_path, "-m", "zoo", "train", "anomaly/demo", "--trainer.max_epochs", "1")
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "runs/anomaly/demo/best.ckpt").is_file()


def test_the_script_is_installed(installed):
    assert (installed / "bin/zoo").is_file()


WITHOUT_NETWORK = """
import socket, sys

def refuse(*args, **keywords):
    raise OSError("there is no network here")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import zoo
from zoo.cli import main
from zoo.hub import entries

packed = [name for name, entry in entries().items() if entry.source == "ours"]
for name in packed:
    assert main(["predict", name, "--sample", "--out", name]) == 0, name
    assert str(zoo.load(name).card).startswith("model"), name
print("PREDICTED", *packed)
"""


@pytest.mark.long  # make demo does so from the checkout
def test_every_packed_model_predicts_on_its_sample_without_any_network(installed, tmp_path):
    listed = run(installed, tmp_path, "-m", "zoo", "list", "models", "*-small")
    assert "packed" in listed.stdout
    done = run(installed, tmp_path, "-c", WITHOUT_NETWORK)
    assert done.returncode == 0, done.stderr
    names = done.stdout.splitlines()[-1].split()[1:]
    assert "anomaly-small" in names
    for name in names:
        assert (tmp_path / name / "table.csv").is_file(), name
        assert list((tmp_path / name).glob("*.png")), name
