"""What all tests share: where data and facts lie, a cache of their own, the command line in a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

sys.path.append(str(Path(__file__).parent))
from sharing import demo as trained
from sharing import scheduler
from warm import Server

ROOT = Path(__file__).resolve().parents[1]
EVIDENCE = ROOT / "evidence"

# small tensors: a second thread only costs, and figures repeat on machines with more cores
os.environ.setdefault("OMP_NUM_THREADS", "1")


Demo = Callable[[str], tuple[Path, subprocess.CompletedProcess[str]]]


def _shared(name: str) -> Path:
    return ROOT.parent / "shared" / name


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Under ``--dist loadgroup`` tests of a file, or of a demo, run in one process."""
    return scheduler(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs data or facts that are not there."""
    data = Path(os.environ.get("ZOO_DATA", _shared("data")))
    for item in items:
        if item.get_closest_marker("realdata") and not data.is_dir():
            item.add_marker(pytest.mark.skip(reason="no real data: set ZOO_DATA"))
        if item.get_closest_marker("facts") and not _shared("facts/check").is_dir():
            item.add_marker(pytest.mark.skip(reason="no check files"))


@pytest.fixture
def real_data() -> Path:
    """Root of the real data; for tests marked ``realdata``."""
    return Path(os.environ.get("ZOO_DATA", _shared("data")))


@pytest.fixture
def check_files() -> Path:
    """Folder of the check files; for tests marked ``facts``."""
    return _shared("facts/check")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesized data goes to a folder of this test run; one thread, so that figures repeat."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["ZOO_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def warm() -> Iterator[Server]:
    """Runs programs without the time of their imports: ``warm.run(["-m", "zoo", "list"], folder, os.environ, 60)``."""
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def zoo(warm: Server) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``zoo ARGS`` in a process of its own, as a user does: ``zoo("train", "anomaly/demo", cwd=folder)``."""

    def call(*args: object, cwd: Path, timeout: float = 300, **env: str) -> subprocess.CompletedProcess[str]:
        return warm.run(["-m", "zoo", *map(str, args)], cwd, {**os.environ, **env}, timeout)

    return call


@pytest.fixture(scope="session")
def faulty(warm: Server) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``zoo ARGS`` with a fault of ``evidence/faulty.py``: ``faulty("half:2", "train", R, cwd=folder)``."""

    def call(fault: str, *args: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
        return warm.run([str(EVIDENCE / "faulty.py"), fault, *map(str, args)], cwd, {**os.environ, **env}, 300)

    return call


@pytest.fixture(scope="session")
def evidence() -> Callable[[str], ModuleType]:
    """A module of the folder ``evidence`` by its name."""

    def get(name: str) -> ModuleType:
        if name not in sys.modules:
            spec = spec_from_file_location(name, EVIDENCE / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return sys.modules[name]

    return get


@pytest.fixture(scope="session")
def demo(zoo: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A domain's demo, trained once per test run by the command line: ``folder, result = demo("anomaly")``.

    The run lies in ``folder/runs/DOMAIN/demo``. All processes share it: a test changes nothing in it, but a copy.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def get(domain: str) -> tuple[Path, subprocess.CompletedProcess[str]]:
        folder, result = trained(base / "demos", domain, zoo)
        assert result.returncode == 0, f"zoo train {domain}/demo failed:\n{result.stdout}{result.stderr}"
        return folder, result

    return get


@pytest.fixture
def ranks(warm: Server, tmp_path: Path) -> Callable[..., list[Any]]:
    """What each process saved: ``ranks(WORKER, *arguments)`` runs ``WORKER rank world init ARGUMENTS out``."""

    def call(worker: Path, *arguments: object, world: int = 2, timeout: float = 300) -> list[Any]:
        place = Path(tempfile.mkdtemp(dir=tmp_path))
        outs = [place / f"{rank}.pt" for rank in range(world)]

        def run(rank: int) -> subprocess.CompletedProcess[str]:
            given = [worker, rank, world, place / "init", *arguments, outs[rank]]
            return warm.run([str(argument) for argument in given], tmp_path, os.environ, timeout)

        with ThreadPoolExecutor(world) as pool:
            for done in pool.map(run, range(world)):
                assert done.returncode == 0, done.stderr
        return [torch.load(out, weights_only=True) for out in outs]

    return call
