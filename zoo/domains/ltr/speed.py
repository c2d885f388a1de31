"""What ``zoo bench ltr`` times."""

from __future__ import annotations

import torch

from zoo.domains.ltr.module import MLPRanker
from zoo.ranking import LambdaNDCG
from zoo.training.speed import Case, Work


def _batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(120) < torch.randint(8, 121, (32, 1), generator=generator)
    return {
        "features": torch.rand(32, 120, 46, generator=generator),
        "target": torch.randint(0, 3, (32, 120), generator=generator),
        "mask": mask,
    }


def training_step() -> Work:
    """One step of the paper-sized network with the LambdaNDCG loss."""
    module, batch = MLPRanker(LambdaNDCG()), _batch()
    optimizer = torch.optim.Adam(module.parameters())

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.stack(list(module.terms(batch).values())).sum()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def inference() -> Work:
    """Scores of 32 queries."""
    module, batch = MLPRanker(LambdaNDCG()).eval(), _batch()

    def work() -> torch.Tensor:
        with torch.no_grad():
            scores: torch.Tensor = module.network(batch["features"]).scores
        return scores

    return work


def cases() -> list[Case]:
    """A training step and inference on a batch of MQ2008's size."""
    return [
        Case("training step, 32 queries of 8 to 120 documents, LambdaNDCG", training_step),
        Case("inference, 32 queries of 120 documents", inference),
    ]
