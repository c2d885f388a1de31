"""LETOR lines, files and batches."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from zoo.domains.ltr import MQ2008, MLPRanker, synthesize
from zoo.training import Batch


def letor_line(label: object = 0, qid: object = 1, features: int = 46, comment: str = "#docid = D1 inc = 1") -> str:
    values = " ".join(f"{index}:{index / 100:.6f}" for index in range(1, features + 1))
    return f"{label} qid:{qid} {values} {comment}\n"


@pytest.fixture
def line() -> Callable[..., str]:
    """Writes one line of the format."""
    return letor_line


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthesized set."""
    folder = tmp_path_factory.mktemp("mq2008")
    synthesize(folder)
    return folder


@pytest.fixture
def batch(made: Path) -> Batch:
    """The first validation batch, 8 queries."""
    data = MQ2008(root=str(made), batch_size=8)
    found: Batch = next(iter(data.val_dataloader()))
    return found


@pytest.fixture
def fixed() -> Callable[..., MLPRanker]:
    """A ranker without dropout whose weights no random generator touches."""

    def build(ranking: object = None, **arguments: object) -> MLPRanker:
        module = MLPRanker(ranking, **{"hidden": (16,), "dropout": 0.0, **arguments})
        with torch.no_grad():
            for number, parameter in enumerate(module.parameters()):
                wave = torch.arange(parameter.numel(), dtype=torch.float64).mul(1.7 + number).sin()
                parameter.copy_(0.5 * wave.reshape(parameter.shape))
        return module

    return build
