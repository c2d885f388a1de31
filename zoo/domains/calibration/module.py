"""RankMixup: a classifier whose confidences are ordered against those of mixed copies while it is trained."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from zoo.domains.calibration.evaluation import CalibratedClassifier
from zoo.domains.calibration.inputs import Channels, given
from zoo.domains.calibration.loss import MNDCG, Objective, Outputs
from zoo.domains.calibration.mixing import Draw, Draws, by_image, mix, one_hot
from zoo.domains.calibration.network import Layout, ResNet, TimmClassifier, build
from zoo.errors import InputError
from zoo.metrics.calibration_temperature import Method
from zoo.ranking import gather
from zoo.training import Batch, ParameterGroup
from zoo.training.choices import check_choice

Mix = Literal["input", "features"]

MIXING = "zoo_mixing"
"""Key of a checkpoint: the state of the random numbers of mixing."""


class RankMixup(CalibratedClassifier):
    """RankMixup of Noh et al. (ICCV 2023), and the objectives it is compared with.

    The objective alone says how many mixed copies it takes and how strongly they are mixed, so that any of
    ``zoo.domains.calibration`` can be named in its place.

    Args:
        objective: ``MNDCG``, ``MRL``, or a baseline such as ``CrossEntropy`` or ``MbLS``; M-NDCG where null.
        network: ``resnet8``, ``resnet34``, ``resnet50``, ``resnet101``, ``wrn26_10``, or a timm model (``timm/NAME``).
        layout: ``cifar``, ``tiny`` or ``imagenet``: stem and pooling for 32, 64 or 224 pixels.
        classes: C, the number of classes of the data.
        width: Of the first stage of ``resnet8``; 16 where null.
        dropout: Before the last layer; null for the layout's own (0.5 for ``imagenet``, else 0).
        pretrained: For a timm model: false, true, or a local weights file.
        mix: What is mixed: the ``input``, or the ``features`` of the last stage.
        one_forward: Raw and mixed images share one pass and the statistics of its batch normalisation; the released
            code runs two passes, which is the default.
        mix_seed: Seed of the draws of mixing, which have a stream of their own; null for the recipe's seed.
        temperature_by: What the stored temperature makes least on half of the validation data: ``ece`` by the
            published grid, ``nll`` by L-BFGS, ``nll_grid`` by the grid.
        size: Height and width of what the network sees. With ``mean`` and ``std`` null the data says all of it.
        resize: Shorter side before the crop from the centre.
        stretch: Whether both sides are resized to that length.
        mean: Of the channels, pixels in [0, 1].
        std: Of the channels.
        bins: Of the calibration errors.
        refit: ``zoo eval`` fits the temperature anew, on half of the validation images of the data at hand: for a
            converted file, which has none, and for other data.
        monitor: Metric that picks ``best.ckpt``; the paper takes the accuracy.
        mode: Whether more or less of it is better.
        groups: Parameter groups of the optimizer.

    Raises:
        InputError: An argument is out of range.
    """

    def __init__(
        self,
        objective: Objective | None = None,
        network: str = "resnet50",
        layout: Layout = "cifar",
        classes: int = 10,
        width: int | None = None,
        dropout: float | None = None,
        pretrained: bool | str = False,
        mix: Mix = "input",
        one_forward: bool = False,
        mix_seed: int | None = None,
        temperature_by: Method = "ece",
        size: int | None = None,
        resize: int | None = None,
        stretch: bool = False,
        mean: Channels | None = None,
        std: Channels | None = None,
        bins: int = 15,
        refit: bool = False,
        monitor: str = "val/acc",
        mode: Literal["min", "max"] = "max",
        groups: list[ParameterGroup] | None = None,
    ) -> None:
        inputs = given(size, resize, stretch, mean, std)
        super().__init__(classes, temperature_by, inputs, bins, refit, monitor, mode, groups)
        check_choice("model.mix", mix, get_args(Mix))
        self.network = build(network, classes, layout, width, dropout, pretrained)
        self.objective = MNDCG() if objective is None else objective
        self.mix, self.one_forward = mix, one_forward
        # the recipe's seed, without taking a number from any stream
        self.draws = Draws(torch.initial_seed() % 2**32 if mix_seed is None else mix_seed)

    # -- training

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The objective's terms, over the images of all processes."""
        labels = batch["label"]
        wrong = ((labels < 0) | (labels >= self.classes)).nonzero().flatten().tolist()
        if wrong:
            name, label = batch["id"][wrong[0]], int(labels[wrong[0]])
            raise InputError(f"{name}: label {label}, expected 0 to {self.classes - 1} (model.classes)")
        found: dict[str, Tensor] = self.objective(self.outputs(batch["image"], labels))
        return found

    def outputs(self, images: Tensor, labels: Tensor) -> Outputs:
        """Runs the network on a batch and its mixed copies.

        Args:
            images: ``(B, 3, H, W)``, normalised.
            labels: ``(B,)``.

        Returns:
            What the objective sees; under several processes the images of all of them, so that value and gradient
            are those of the whole batch.
        """
        copies = self.objective.copies
        draws = self.draws.draw(copies, self.objective.mixup_alpha, *_shares(len(labels), labels.device))
        logits, mixed = run(self.network, images, draws, self.objective.raw, self.mix, self.one_forward)
        if copies:
            targets = by_image(mix(one_hot(labels, self.classes), draws), copies)
            mixed, targets = gather(by_image(mixed, copies)), gather(targets)
        else:
            mixed = targets = logits.new_zeros(len(labels), 0, self.classes)
        return Outputs(gather(logits) if self.objective.raw else logits, gather(labels), mixed, targets)

    # -- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the state of the draws."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[MIXING] = self.draws.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the state of the draws back, so that a resumed training mixes as the whole one would have."""
        super().on_load_checkpoint(checkpoint)
        if MIXING in checkpoint:
            self.draws.restore(checkpoint[MIXING])


def run(
    network: ResNet | TimmClassifier,
    images: Tensor,
    draws: list[Draw],
    raw: bool = True,
    where: Mix = "input",
    one_forward: bool = False,
) -> tuple[Tensor, Tensor]:
    """Logits of raw images and of their mixed copies.

    Args:
        network: In train mode; each pass updates the statistics of its batch normalisation.
        images: ``(B, 3, H, W)``.
        draws: K of them; none where nothing is mixed.
        raw: Whether the raw images are wanted.
        where: What is mixed.
        one_forward: One pass for all, or one for the raw images and one for the mixed.

    Returns:
        ``(B, C)`` or, without raw images, ``(0, C)``; ``(K * B, C)``, copy after copy.
    """
    if images.device.type == "cpu":
        images = images.contiguous(memory_format=torch.channels_last)  # convolutions are half as fast again
    if not draws:
        logits: Tensor = network(images).logits
        return logits, logits[:0]
    if where == "features":
        return _run_features(network, images, draws, raw, one_forward)
    if not raw:
        mixed: Tensor = network(mix(images, draws)).logits
        return mixed[:0], mixed
    if one_forward:
        together: Tensor = network(torch.cat([images, mix(images, draws)])).logits
        return together[: len(images)], together[len(images) :]
    logits = network(images).logits
    return logits, network(mix(images, draws)).logits


def _run_features(
    network: ResNet | TimmClassifier, images: Tensor, draws: list[Draw], raw: bool, one_forward: bool
) -> tuple[Tensor, Tensor]:
    """As :func:`run`, mixing what the last stage gives."""
    features = network.features(images)
    if not raw:
        mixed = network.head(mix(features, draws))
        return mixed[:0], mixed
    logits = network.head(features)
    if not one_forward:
        features = network.features(images)
    return logits, network.head(mix(features, draws))


def _shares(count: int, device: torch.device) -> tuple[list[int], int]:
    """How many images each process has, and which process this is."""
    if not (dist.is_available() and dist.is_initialized()):
        return [count], 0
    return gather(torch.tensor([count], device=device)).tolist(), dist.get_rank()
