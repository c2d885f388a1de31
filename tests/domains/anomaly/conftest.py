"""Check files by name, and a tiny UCF-Crime on the disk."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from zoo.domains.anomaly import synthesize


@pytest.fixture
def check(check_files):
    """The modules ``fill``, ``stages`` and ``anomaly_files`` of the check folder, and ``load(name)``."""
    sys.path.insert(0, str(check_files))
    try:
        import anomaly_files
        import fill
        import stages
    finally:
        sys.path.remove(str(check_files))
    load = lambda name: fill.load(check_files / name)  # noqa: E731
    return SimpleNamespace(fill=fill, stages=stages, files=anomaly_files, load=load)


@pytest.fixture(scope="session")
def crime(tmp_path_factory) -> Path:
    """A synthesized UCF-Crime: 12 + 12 training and 4 + 4 test videos of 16 features; not to be changed."""
    root = tmp_path_factory.mktemp("crime")
    synthesize(root, seed=3, width=16, train=12, test=4)
    return root


@pytest.fixture
def own_crime(tmp_path) -> Path:
    """The same, to be damaged."""
    root = tmp_path / "crime"
    root.mkdir()
    synthesize(root, seed=3, width=16, train=12, test=4)
    return root
