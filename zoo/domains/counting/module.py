"""TreeFormer: semi-supervised counting; a labelled and an unlabelled batch side by side (see ``data.py``)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from zoo.domains.counting.encoder import STRIDES, Token
from zoo.domains.counting.loss import (
    UNLABELLED,
    Batched,
    Consistency,
    Regions,
    Supervised,
    Variant,
    Weights,
    default_ranking,
    labelled_terms,
    switches,
    unlabelled_terms,
)
from zoo.domains.counting.network import STRIDE, TreeCounter, TreeFormerOutput
from zoo.domains.counting.perturbations import Perturbations
from zoo.domains.counting.prediction import Prediction
from zoo.domains.counting.windows import Tiling
from zoo.errors import InputError
from zoo.layers import ImageSteps
from zoo.ranking import ScoreLoss
from zoo.training import IMAGENET_MEAN, IMAGENET_STD, Batch, ParameterGroup
from zoo.training.choices import check_choice


class TreeFormer(Prediction):
    """Counts trees in aerial images with few labelled and many unlabelled ones.

    Args:
        backbone: ``pvt_treeformer``, the released encoder of 116.9 million parameters, or any pyramid of timm by name.
        pretrained: Weights that the encoder starts from: false, true or a file.
        token: What the token counts look at: ``first_patch`` (released code) or the ``learned`` token (paper).
        variant: The objective of the ``paper`` or of the ``official`` released code, see
            :mod:`zoo.domains.counting.loss`.
        weights: Factor of each term; a term of factor 0 is not computed.
        ranking: Any score loss of ``zoo.ranking`` over the counts of nested regions; null is the hinge of margin 0.
        transport_eps: Weight of the entropy in the optimal transport; null is what the variant says, here and below.
        transport_normalised: Measure its distances in images of side 2 instead of pixels.
        transport_floor: Add 1e-16 to its divisions, as both variants do; false has exact potentials.
        transport_batch: ``sum`` or ``mean`` over the images of a batch.
        supervised: Which maps learn from labels: ``fine`` (y0) or ``all``.
        regions: What the ranking compares: sums of ``resized`` crops or true counts of ``nested`` regions.
        consistency_kind: ``official`` or ``aligned``.
        noise: Half width of the noise on the features of y0 in training; 0 is none.
        feature_drop: Range of the share of the largest activation above which places of the features of y1 are
            dropped in training; null is none.
        dropout: Share of the channels of the features of y2 that are dropped in training.
        perturb_tokens: Whether the token counts are perturbed too; null: in ``official`` only.
        crop: Pixels of the side of an exported network's input, and of what the data is cut to.
        tiling: How an image is counted: ``exact`` or ``official``.
        window: Pixels of the side of a window, ``exact`` tiling.
        overlap: Pixels that neighbouring windows share, ``exact`` tiling.
        peak_distance: Pixels that two points of a prediction are apart at least.
        peak_threshold: Trees per cell that a point of a prediction has at least.
        init_from: Part files to start from: ``encoder``, ``regression``.
        monitor: Metric that picks ``best.ckpt``.
        mode: Whether more or less of it is better.
        groups: Parameter groups of the optimizer.

    Raises:
        InputError: An argument is out of range, or the encoder's weights cannot be had.
    """

    network: TreeCounter

    def __init__(
        self,
        backbone: str = "pvt_treeformer",
        pretrained: bool | str = False,
        token: Token = "learned",
        variant: Variant = "paper",
        weights: Weights | None = None,
        ranking: ScoreLoss | None = None,
        transport_eps: float | None = None,
        transport_normalised: bool | None = None,
        transport_floor: bool | None = None,
        transport_batch: Batched | None = None,
        supervised: Supervised | None = None,
        regions: Regions | None = None,
        consistency_kind: Consistency | None = None,
        noise: float = 0.3,
        feature_drop: tuple[float, float] | None = (0.7, 0.9),
        dropout: float = 0.3,
        perturb_tokens: bool | None = None,
        crop: int = 256,
        tiling: Tiling = "exact",
        window: int = 256,
        overlap: int = 64,
        peak_distance: int = 12,
        peak_threshold: float = 0.05,
        init_from: dict[str, str] | None = None,
        monitor: str = "val/mae",
        mode: Literal["min", "max"] = "min",
        groups: list[ParameterGroup] | None = None,
    ) -> None:
        super().__init__(monitor, mode, groups)
        check_choice("model.token", token, get_args(Token))
        self.switches = switches(
            variant,
            transport_eps,
            transport_normalised,
            transport_floor,
            transport_batch=transport_batch,
            supervised=supervised,
            regions=regions,
            consistency_kind=consistency_kind,
        )
        self.weights = weights or Weights()
        self.ranking = ranking if ranking is not None else default_ranking()
        tokens = variant == "official" if perturb_tokens is None else perturb_tokens
        drop = None if feature_drop is None else (feature_drop[0], feature_drop[1])
        self.network = TreeCounter(backbone, pretrained, token, Perturbations(noise, drop, dropout, tokens))
        check_choice("model.tiling", tiling, get_args(Tiling))
        _check_sizes(crop, window, overlap, peak_distance)
        self.crop, self.tiling, self.window, self.overlap = crop, tiling, window, overlap
        self.peak_distance, self.peak_threshold = peak_distance, peak_threshold
        self.start_from(init_from)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted terms of a labelled batch and of the unlabelled batch beside it.

        The two go through the network one after the other, as released: batch statistics are of one kind of images
        at a time. Without unlabelled images, or where no term is left for them, the second pass is left out.
        """
        labelled, unlabelled = batch["labelled"], batch.get("unlabelled")
        found: TreeFormerOutput = self.network(labelled["image"])
        terms = labelled_terms(found.maps, found.token_counts, labelled, STRIDE, self.weights, self.switches)
        if unlabelled is not None and any(getattr(self.weights, name) for name in UNLABELLED):
            found = self.network(unlabelled["image"])
            terms |= unlabelled_terms(found.maps, found.token_counts, self.weights, self.switches, self.ranking)
        if not terms:
            raise InputError("model.weights: every term of this batch has factor 0, so there is nothing to learn")
        return terms

    def parts(self) -> dict[str, nn.Module]:
        """The encoder and the regression head."""
        return {"encoder": self.network.encoder, "regression": self.network.regression}

    def export_inputs(self) -> dict[str, Tensor]:
        """Two images of the size of a training crop."""
        generator = torch.Generator().manual_seed(0)
        return {"images": torch.randn(2, 3, self.crop, self.crop, generator=generator)}

    def image_steps(self) -> ImageSteps:
        """Images of any size, counted whole as by ``predict(tiling=None)``: the windows are for the caller."""
        return ImageSteps(None, None, IMAGENET_MEAN, IMAGENET_STD, finish=_counted)


def _counted(output: TreeFormerOutput) -> dict[str, Tensor]:
    density = output.maps[0]
    return {"count": density.sum((1, 2, 3)), "density": density, "token_counts": output.token_counts}


def _check_sizes(crop: int, window: int, overlap: int, peak_distance: int) -> None:
    for name, value in (("crop", crop), ("window", window)):
        if value < STRIDES[-1] or value % STRIDE:
            raise InputError(f"model.{name} must be a multiple of {STRIDE} from {STRIDES[-1]} on, got {value}")
    if overlap % STRIDE or not 0 <= overlap < window:
        raise InputError(f"model.overlap must be a multiple of {STRIDE} below model.window ({window}), got {overlap}")
    if peak_distance < 1:
        raise InputError(f"model.peak_distance must be at least 1 pixel, got {peak_distance}")
