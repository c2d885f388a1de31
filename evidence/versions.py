"""Tests with the lowest versions that pyproject.toml allows, and with the newest, each in a fresh environment.

    python evidence/versions.py            # both; a quarter of an hour each, most of it downloads of PyTorch

Lowest: every dependency of ours at its lower bound, and of theirs what fits. The rows go to runs/evidence/versions.csv.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from harness import FOLDER, ROOT, Run, Table, run_all

TESTS = (
    "tests/ranking", "tests/metrics", "tests/recipe", "tests/checkpoint", "tests/training", "tests/faults",
    "tests/cli/test_cli_run.py",
)  # fmt: skip
_PIN = re.compile(r"([A-Za-z0-9_.-]+)(\[[^\]]*\])?>=([^,;\s]+)")


def lowest() -> list[str]:
    """``name==version`` of every lower bound, of all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    pins = {}
    for text in wanted:
        if found := _PIN.match(text):
            pins[found[1]] = f"{found[1]}=={found[3]}.*"  # with its corrections
    return sorted(pins.values())


def tried(run: Run) -> Mapping[str, object]:
    """Makes an environment, installs, tests."""
    with tempfile.TemporaryDirectory() as place:
        python = Path(place) / "venv/bin/python"
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        constraints = Path(place) / "lowest.txt"
        constraints.write_text("\n".join(lowest()) + "\n")
        pinned = ["--constraint", str(constraints)] if run["versions"] == "lowest" else ["--upgrade"]
        install = [str(python), "-m", "pip", "install", "--quiet", *pinned, "--editable", f"{ROOT}[dev]"]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode:
            return {"installed": False, "passed": 0, "failed": 0, "what": done.stderr.strip()[-300:].replace("\n", " ")}
        tests = [str(python), "-m", "pytest", "-q", "-x", "--maxfail=20", *TESTS]
        done = subprocess.run(tests, cwd=ROOT, capture_output=True, text=True)
        last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:]
        counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed)", last)}
        return {"installed": True, "passed": counts.get("passed", 0), "failed": counts.get("failed", 0), "what": last}


def main() -> int:
    """Runs both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=("lowest", "newest"))
    parser.add_argument("--plan", action="store_true", help="print the lowest versions and stop")
    args = parser.parse_args()
    if args.plan:
        print("\n".join(lowest()))
        return 0
    table = Table(FOLDER / "versions.csv", ("versions",))
    runs = [{"versions": name} for name in ("lowest", "newest") if args.only in (None, name)]
    run_all(table, runs, tried, seconds=1800)
    return int(any(row["failed"] or not row["installed"] for row in table.rows))


if __name__ == "__main__":
    sys.exit(main())
