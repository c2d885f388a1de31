"""The tests with the lowest versions that pyproject.toml allows, and with the newest, each in a fresh environment.

    python evidence/versions.py            # both; half an hour each

Lowest: every dependency of ours at the lowest version that goes with the others' wishes, as uv resolves it. The rows go
to runs/evidence/versions.csv, and from there to docs/faults.md.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness import FOLDER, ROOT, Run, Table, run_all

RESOLUTION = {"lowest": "lowest-direct", "newest": "highest"}
SHOWN = ("torch", "lightning", "torchvision", "numpy", "pandas")


def tried(run: Run) -> Mapping[str, object]:
    """Makes an environment, installs, runs all tests."""
    with tempfile.TemporaryDirectory() as place:
        python = Path(place) / "venv/bin/python"
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"], check=True)
        uv = [str(python.with_name("uv")), "pip"]
        wanted = ["--resolution", RESOLUTION[run["versions"]], "--editable", f"{ROOT}[dev]"]
        done = subprocess.run([*uv, "install", "--python", python, *wanted], capture_output=True, text=True)
        if done.returncode:
            told = " ".join(done.stderr.split())[-300:]
            return {"installed": "", "passed": 0, "failed": 0, "told": told}
        frozen = subprocess.run([*uv, "freeze", "--python", python], check=True, capture_output=True, text=True).stdout
        tests = [str(python), "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "--tb=line"]
        done = subprocess.run(tests, cwd=ROOT, capture_output=True, text=True)
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", last)}
    return {
        "installed": ", ".join(f"{name} {version}" for name, version in installed(frozen).items()),
        "passed": counts.get("passed", 0),
        "failed": counts.get("failed", 0) + counts.get("error", 0) + (not counts),
        "told": "; ".join(re.findall(r"^(?:FAILED|ERROR) \S+", done.stdout, re.MULTILINE))[:300] or last,
    }


def installed(frozen: str) -> dict[str, str]:
    """Versions of the libraries that matter most, from the lines ``name==version``."""
    versions = dict(line.split("==", 1) for line in frozen.splitlines() if "==" in line)
    return {name: versions[name] for name in SHOWN}


def main() -> int:
    """Runs both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=tuple(RESOLUTION))
    parser.add_argument("--plan", action="store_true", help="say what would run, and stop")
    args = parser.parse_args()
    table = Table(FOLDER / "versions.csv", ("versions",))
    runs = [{"versions": name} for name in RESOLUTION if args.only in (None, name)]
    run_all(table, runs, tried, seconds=1800, plan_only=args.plan)
    return int(any(row["failed"] or not row["installed"] for row in table.rows))


if __name__ == "__main__":
    sys.exit(main())
