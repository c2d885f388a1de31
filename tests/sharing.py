"""What the processes of one test run share: which of them runs a test, and the demos, each trained once."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

DEMO_TESTS = "tests/recipes/test_recipes.py"


def group(nodeid: str) -> str:
    """Tests of one group run in one process, so that what they share is made once: those of a file, or of a demo."""
    file, _, test = nodeid.partition("::")
    domain = re.search(r"\[(\w+)\]$", test)
    return f"{file}[{domain[1]}]" if file.endswith(DEMO_TESTS) and domain else file


def scheduler(config: Any, log: Any) -> Any:
    """Hands out whole groups.

    pytest-xdist's own ``loadgroup`` writes the groups into the tests' ids, which has no effect since pytest 9.2 (its
    issue 1386): every process then makes what a file's tests share.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return Groups(config, log)


def demo(
    folder: Path, domain: str, zoo: Callable[..., subprocess.CompletedProcess[str]]
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The demo of a domain, trained by the first process of the test run that asks for it.

    It is moved when it is finished: what still looked for it where it was trained would not find it.

    Args:
        folder: Of the whole test run.
        domain: Its recipe is ``DOMAIN/demo``.
        zoo: Runs the command line.

    Returns:
        The folder, in which the run is ``runs/DOMAIN/demo``, and how the training ended.
    """
    folder.mkdir(exist_ok=True)
    place, said = folder / domain, folder / f"{domain}.json"
    with FileLock(folder / f"{domain}.lock"):
        if not said.is_file():
            working = folder / f"{domain}.training"
            working.mkdir()
            try:
                result = zoo("train", f"{domain}/demo", cwd=working)
            except subprocess.TimeoutExpired as error:
                result = subprocess.CompletedProcess(error.cmd, 124, "", str(error))
            working.rename(place)
            said.write_text(json.dumps(vars(result)))
    return place, subprocess.CompletedProcess(**json.loads(said.read_text()))
