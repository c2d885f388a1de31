"""What ``zoo bench calibration`` times."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from zoo.domains.calibration.baselines import CrossEntropy
from zoo.domains.calibration.loss import MNDCG, MRL, Objective
from zoo.domains.calibration.module import RankMixup
from zoo.domains.calibration.network import build
from zoo.metrics import CalibrationReport
from zoo.training.speed import Case, Work

DEMO, PAPER = 128, 16  # images of a batch; the paper's 128 take half a minute on a core


def training_step(objective: type[Objective], network: str, images: int, one_forward: bool = False) -> Work:
    """Forward, objective, backward and optimizer step on images of 32 pixels."""
    torch.manual_seed(0)
    module = RankMixup(objective(), network=network, one_forward=one_forward, mix_seed=0)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    batch = {"image": torch.randn(images, 3, 32, 32), "label": torch.arange(images) % 10, "id": [""] * images}

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.stack(list(module.terms(batch).values())).sum()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def inference(network: str, images: int) -> Work:
    """Logits of a batch in eval mode."""
    torch.manual_seed(0)
    return _logits(build(network, 10).eval(), images)


def torchvision_inference(images: int) -> Work:
    """The same weights in torchvision's ResNet-50 with the stem for 32 pixels."""
    from torchvision.models import resnet50

    torch.manual_seed(0)
    ours = build("resnet50", 10)
    peer = resnet50(num_classes=10)
    peer.conv1, peer.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    peer.load_state_dict(ours.state_dict())
    return _logits(peer.eval(), images)


def _logits(network: nn.Module, images: int) -> Work:
    batch = torch.randn(images, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    def work() -> Tensor:
        with torch.no_grad():
            output = network(batch)
        logits: Tensor = output if isinstance(output, Tensor) else output.logits
        return logits

    return work


def agree(ours: object, peer: object) -> None:
    """The same logits."""
    torch.testing.assert_close(ours, peer, rtol=1e-5, atol=1e-5)


def _evaluated() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(10_000, 100, generator=generator), torch.randint(100, (10_000,), generator=generator)


def report() -> Work:
    """Every calibration figure of 10,000 images and 100 classes, before and after scaling."""
    logits, labels = _evaluated()

    def work() -> dict[str, Tensor]:
        metric = CalibrationReport(temperature=1.3)
        metric.update(logits, labels)
        values: dict[str, Tensor] = metric.compute()
        return values

    return work


def cases() -> list[Case]:
    """Training steps of the demo's network and the paper's, what one forward saves, inference, evaluation."""
    small, large = f"ResNet-8, {DEMO} images of 32 pixels", f"ResNet-50, {PAPER} images of 32 pixels"
    step = training_step
    return [
        Case(f"training step, cross-entropy, {small}", partial(step, CrossEntropy, "resnet8", DEMO)),
        Case(f"training step, MRL, {small}", partial(step, MRL, "resnet8", DEMO)),
        Case(f"training step, M-NDCG, {small}", partial(step, MNDCG, "resnet8", DEMO)),
        Case(f"training step, M-NDCG in one forward, {small}", partial(step, MNDCG, "resnet8", DEMO, True)),
        Case(f"inference, {small}", partial(inference, "resnet8", DEMO)),
        Case("every figure of 10,000 images, 100 classes", report),
        Case(f"training step, cross-entropy, {large}", partial(step, CrossEntropy, "resnet50", PAPER), slow=True),
        Case(f"training step, M-NDCG, {large}", partial(step, MNDCG, "resnet50", PAPER), slow=True),
        Case(
            f"training step, M-NDCG in one forward, {large}", partial(step, MNDCG, "resnet50", PAPER, True), slow=True
        ),
        Case(
            f"inference, {large}",
            partial(inference, "resnet50", PAPER),
            {"torchvision": partial(torchvision_inference, PAPER)},
            agree,
            slow=True,
        ),
    ]
