"""``run.json``: where a run comes from (recipe, options, machine), and what it took."""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from zoo._version import __version__
from zoo.errors import InputError
from zoo.training.whole import write_whole

NAME = "run.json"
PACKAGES = ("torch", "lightning", "torchvision", "timm", "torchmetrics")


def environment() -> dict[str, str]:
    """Versions and machine, as texts."""
    import torch

    cuda = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "zoo": __version__,
        "python": platform.python_version(),
        **{name: found for name in PACKAGES if (found := installed(name))},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor(),
        "threads": str(torch.get_num_threads()),
        "devices": ", ".join(cuda) or "none but the processor",
    }


def installed(package: str) -> str:
    """Version of a package; empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def processor() -> str:
    """Name and number of cores."""
    file = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", file.read_text()) if file.exists() else None
    return f"{found.group(1) if found else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def begin(folder: Path, recipe: str, options: Sequence[tuple[str, str]]) -> None:
    """Writes the file of a new run.

    Args:
        folder: The run folder.
        recipe: Name of the recipe.
        options: Keys that were overridden, and their values as written.
    """
    started = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    _write(folder, {"recipe": recipe, "options": [list(pair) for pair in options], "started": started,
                    "environment": environment()})  # fmt: skip


def end(folder: Path, seconds: float) -> None:
    """Adds what the run took since it was started or last resumed.

    Args:
        folder: The run folder.
        seconds: Wall time of the training.
    """
    import torch

    took: dict[str, Any] = {"seconds": round(seconds, 1), "peak_memory_mib": round(peak_memory())}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        took["peak_device_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
    _write(folder, {**read(folder), "took": took})


def peak_memory() -> float:
    """Most memory that this process has had, MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def read(folder: Path) -> dict[str, Any]:
    """What the file says; empty for a run folder without one.

    Raises:
        InputError: It is damaged.
    """
    file = folder / NAME
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())[:160]
        raise InputError(f"{file}: cannot be read as json ({reason}); delete it to go on without it") from error
    if not isinstance(found, dict):
        raise InputError(f"{file}: must be an object, got a {type(found).__name__}; delete it to go on without it")
    return found


def _write(folder: Path, content: dict[str, Any]) -> None:
    write_whole(folder / NAME, json.dumps(content, indent=1) + "\n")
