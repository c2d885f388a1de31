"""A small real model as a file, and an index of one's own that names it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROW = {
    "domain": "ltr",
    "recipe": "ltr/demo",
    "source": "ours",
    "metrics": {"data": "made up", "protocol": "standard", "values": {"ndcg10": [0.8, 0.7, 0.9], "map": 0.75}},
    "licence": {"weights": "Apache-2.0", "data": "made up"},
}


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the ltr demo with the weights it starts with."""
    from zoo.checkpoint import Checkpoint, write_safetensors
    from zoo.recipe import build_model, read, text

    recipe = read("ltr/demo")
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    state = dict(build_model(recipe).state_dict())
    write_safetensors(path, Checkpoint(path, state, text(recipe), "0.1.0", [], {"val/ndcg10": 0.5}, {}))
    return path


def row_of(file: Path, name: str, urls: list[str], **changes: Any) -> dict[str, Any]:
    """An index row of a file."""
    data = file.read_bytes()
    said = {"name": name, "urls": urls, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    return {**said, **ROW, **changes}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes an index of rows, which then counts beside the zoo's own; the cache is empty."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    for name in ("ZOO_MIRROR", "ZOO_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZOO_TIMEOUT", "0.3")
    monkeypatch.setenv("ZOO_RETRIES", "3")

    def write(*rows: dict[str, Any]) -> Path:
        file = tmp_path / "index.yaml"
        file.write_text(yaml.safe_dump({"models": list(rows)}))
        monkeypatch.setenv("ZOO_INDEX", str(file))
        return file

    return write
