"""The objectives that RankMixup is compared with, each a drop-in for ``model.init_args.objective``.

All are means over the batch. Where the released code computes something else than the paper it cites, ``variant``
chooses: ``paper``, or ``official`` for the code.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, nll_loss, relu

from zoo.domains.calibration.loss import Objective, Outputs, check_weight
from zoo.domains.calibration.mixing import one_hot
from zoo.errors import InputError
from zoo.ranking.checks import wide
from zoo.training.choices import check_choice

Variant = Literal["paper", "official"]
MMCE_WIDTH = 0.4
PAIR_SHIFT, ROOT_SHIFT = 1e-5, 1e-10  # keep the released weighted MMCE and its gradient finite
CLAMP = 1e-10


class CrossEntropy(Objective):
    """Cross-entropy: ``-log p_y``."""

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """``ce``."""
        return {"ce": cross_entropy(wide(outputs.logits), outputs.labels)}


class LabelSmoothing(Objective):
    """Cross-entropy with smoothed labels: ``(1 - a) (-log p_y) + a mean_c (-log p_c)`` (Szegedy et al., CVPR 2016).

    Args:
        smoothing: a in [0, 1]; the released configuration has 0.2, its class defaults to 0.1.
    """

    def __init__(self, smoothing: float = 0.1) -> None:
        super().__init__()
        _check_share("smoothing", smoothing)
        self.smoothing = smoothing

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """``ce``."""
        return {"ce": cross_entropy(wide(outputs.logits), outputs.labels, label_smoothing=self.smoothing)}


class Focal(Objective):
    """Focal loss: ``-(1 - p_y)^gamma log p_y`` (Lin et al., ICCV 2017; Mukhoti et al., NeurIPS 2020 for calibration).

    Args:
        gamma: >= 0.
    """

    def __init__(self, gamma: float = 3.0) -> None:
        super().__init__()
        check_weight("gamma", gamma)
        self.gamma = gamma

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """``focal``."""
        costs = log_probability(outputs)
        gamma = torch.full_like(costs, self.gamma)
        return {"focal": focal(costs, gamma).mean()}


class FLSD53(Objective):
    """Focal loss whose gamma depends on the sample: 5 where p_y < 0.2, 3 where p_y < 0.5, else ``gamma``.

    Source: Mukhoti et al., Calibrating Deep Neural Networks using Focal Loss, NeurIPS 2020, FLSD-53.

    Args:
        gamma: Where p_y >= 0.5.
    """

    def __init__(self, gamma: float = 3.0) -> None:
        super().__init__()
        check_weight("gamma", gamma)
        self.gamma = gamma

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """``focal``."""
        log_p = log_probability(outputs)
        p = log_p.detach().exp()
        gamma = torch.where(p < 0.2, 5.0, torch.where(p < 0.5, 3.0, self.gamma)).to(log_p.dtype)
        return {"focal": focal(log_p, gamma).mean()}


class EntropyPenalty(Objective):
    """Confidence penalty: cross-entropy minus the entropy of the prediction (Pereyra et al., ICLR workshop 2017).

    Args:
        alpha: Weight of the entropy, >= 0.
        variant: ``official`` takes the mean of ``-p log p`` over images and classes, ``paper`` the entropy itself, the
            sum over classes.
    """

    def __init__(self, alpha: float = 0.1, variant: Variant = "official") -> None:
        super().__init__()
        check_weight("alpha", alpha)
        check_choice("objective.variant", variant, get_args(Variant))
        self.alpha, self.variant = alpha, variant

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """``ce`` and ``entropy`` (negative)."""
        logits = wide(outputs.logits)
        p = logits.softmax(-1).clamp(CLAMP, 1 - CLAMP)
        entropy = -(p * p.log())
        value = entropy.mean() if self.variant == "official" else entropy.sum(-1).mean()
        return {"ce": cross_entropy(logits, outputs.labels), "entropy": -self.alpha * value}


class L1Penalty(Objective):
    """Cross-entropy plus the L1 distance of the prediction from the uniform one, ``sum_c |p_c - 1/C|``.

    Args:
        alpha: Weight of the distance, >= 0.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        check_weight("alpha", alpha)
        self.alpha = alpha

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """``ce`` and ``distance``."""
        logits = wide(outputs.logits)
        distance = (logits.softmax(-1) - 1 / logits.shape[-1]).abs().sum(-1).mean()
        return {"ce": cross_entropy(logits, outputs.labels), "distance": self.alpha * distance}


class Brier(Objective):
    """Brier score: the squared distance between the prediction and the one-hot label, ``sum_c (t_c - p_c)^2``."""

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """``brier``."""
        p = wide(outputs.logits).softmax(-1)
        return {"brier": (one_hot(outputs.labels, p.shape[-1]).to(p.dtype) - p).square().sum(-1).mean()}


class MMCE(Objective):
    """Cross-entropy plus the maximum mean calibration error, with the kernel ``exp(-|c_i - c_j| / 0.4)``.

    ``sum_ij (r_i - c_i) (r_j - c_j) k(c_i, c_j) / B^2`` with confidence c and correctness r (Kumar, Sarawagi and Jain,
    ICML 2018, the squared MMCE as in the released code). ``weighted`` is their MMCE_w: correct images weigh
    ``(1 - c) / m``, wrong ones ``-c / (B - m)`` for m correct images of B, so that the few wrong ones are not drowned;
    0 in a batch where all or none are correct.

    Args:
        alpha: Weight of the error, >= 0.
        weighted: Whether correct and wrong images are averaged apart.
        variant: Matters for ``weighted`` alone: ``paper``, or ``official`` for the released code's figure, the root of
            sums whose pairs are averaged twice, see :func:`mmce_weighted_official`.
    """

    def __init__(self, alpha: float = 1.0, weighted: bool = False, variant: Variant = "paper") -> None:
        super().__init__()
        check_weight("alpha", alpha)
        check_choice("objective.variant", variant, get_args(Variant))
        self.alpha, self.weighted, self.variant = alpha, weighted, variant

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """``ce`` and ``mmce``."""
        logits = wide(outputs.logits)
        if self.weighted and self.variant == "official":
            value = mmce_weighted_official(logits, outputs.labels)
        else:
            value = mmce(logits, outputs.labels, self.weighted)
        return {"ce": cross_entropy(logits, outputs.labels), "mmce": self.alpha * value}


class MDCA(Objective):
    """A classification loss plus the difference of mean confidence and frequency, averaged over classes.

    ``mean_c |mean_i p_ic - frequency_c|`` (Hebbalaguppe et al., A Stitch in Time Saves Nine, CVPR 2022, eq. 4).

    Args:
        alpha: Weight of the difference, >= 0.
        variant: ``paper`` adds it to ``classification``; ``official`` to label smoothing (0.1) of the probabilities in
            place of the logits, a second softmax, as the released code does.
        classification: Any objective without mixed copies, e.g. ``Focal``; cross-entropy where null. Used by ``paper``.
    """

    def __init__(self, alpha: float = 1.0, variant: Variant = "paper", classification: Objective | None = None) -> None:
        super().__init__()
        check_weight("alpha", alpha)
        check_choice("objective.variant", variant, get_args(Variant))
        if variant == "official" and classification is not None:
            raise InputError("objective: MDCA takes classification with variant paper alone")
        if classification is not None and classification.copies:
            raise InputError(f"objective: MDCA takes no mixed copies, {type(classification).__name__} needs them")
        self.alpha, self.variant, self.classification = alpha, variant, classification or CrossEntropy()

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """The terms of the classification loss, and ``mdca``."""
        p = wide(outputs.logits).softmax(-1)
        frequency = one_hot(outputs.labels, p.shape[-1]).to(p.dtype).mean(0)
        gap = self.alpha * (p.mean(0) - frequency).abs().mean()
        if self.variant == "official":
            return {"ce": cross_entropy(p, outputs.labels, label_smoothing=0.1), "mdca": gap}
        return {**self.classification(outputs), "mdca": gap}


class MbLS(Objective):
    """Margin-based label smoothing: cross-entropy plus logit distances beyond a margin.

    ``mean_ic relu(max_j z_ij - z_ic - margin)`` over images and classes (Liu et al., The Devil is in the Margin, CVPR
    2022).

    Args:
        alpha: Weight of the distances, >= 0.
        margin: 6 for CIFAR-10, 10 for Tiny-ImageNet.
    """

    def __init__(self, alpha: float = 0.1, margin: float = 6.0) -> None:
        super().__init__()
        check_weight("alpha", alpha)
        self.alpha, self.margin = alpha, margin

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """``ce`` and ``margin``."""
        logits = wide(outputs.logits)
        distance = logits.max(-1, keepdim=True).values - logits
        return {
            "ce": cross_entropy(logits, outputs.labels),
            "margin": self.alpha * relu(distance - self.margin).mean(),
        }


class Mixup(Objective):
    """Plain mixup: cross-entropy on mixed labels, raw images are not used (Zhang et al., ICLR 2018).

    Args:
        mixup_alpha: a of lambda ~ Beta(a, a).
    """

    raw = False
    copies = 1

    def __init__(self, mixup_alpha: float = 1.0) -> None:
        super().__init__()
        self.mixup_alpha = mixup_alpha

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """``mixed_ce``."""
        return {"mixed_ce": soft_cross_entropy(outputs.mixed, outputs.targets)}


class RegMixup(Objective):
    """Cross-entropy on raw images plus cross-entropy on a mixed copy (Pinto et al., NeurIPS 2022).

    Args:
        mixup_alpha: a of lambda ~ Beta(a, a); large, so that lambda stays near 1/2.
        alpha: Weight of the mixed copy, >= 0.
    """

    copies = 1

    def __init__(self, mixup_alpha: float = 10.0, alpha: float = 1.0) -> None:
        super().__init__()
        check_weight("alpha", alpha)
        self.mixup_alpha, self.alpha = mixup_alpha, alpha

    def forward(self, outputs: Outputs) -> dict[str, Tensor]:
        """``ce`` and ``mixed_ce``."""
        return {
            "ce": cross_entropy(wide(outputs.logits), outputs.labels),
            "mixed_ce": self.alpha * soft_cross_entropy(outputs.mixed, outputs.targets),
        }


def log_probability(outputs: Outputs) -> Tensor:
    """``log p_y`` of every raw image, ``(B,)``."""
    return -nll_loss(wide(outputs.logits).log_softmax(-1), outputs.labels, reduction="none")


def focal(log_p: Tensor, gamma: Tensor) -> Tensor:
    """``-(1 - p)^gamma log p``, elementwise."""
    rest = (1 - log_p.exp()).clamp(min=torch.finfo(log_p.dtype).tiny)  # a root has no gradient at 0
    return -(rest**gamma) * log_p


def soft_cross_entropy(mixed: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy with soft labels.

    Args:
        mixed: ``(B, K, C)``.
        targets: ``(B, K, C)``.
    """
    logits = wide(mixed).flatten(0, 1)
    return cross_entropy(logits, targets.flatten(0, 1).to(logits.dtype))


def mmce(logits: Tensor, labels: Tensor, weighted: bool = False) -> Tensor:
    """The squared maximum mean calibration error of a batch; see :class:`MMCE`.

    Args:
        logits: ``(B, C)``.
        labels: ``(B,)``.
        weighted: Whether correct and wrong images are averaged apart.
    """
    confidence, predicted = logits.softmax(-1).max(-1)
    correct = (predicted == labels).to(confidence.dtype)
    if weighted:
        right, wrong = correct.sum(), (1 - correct).sum()
        both = ((right > 0) & (wrong > 0)).to(confidence.dtype)
        share = both * torch.where(correct > 0, (1 - confidence) / right.clamp(min=1), -confidence / wrong.clamp(min=1))
    else:
        share = (correct - confidence) / len(labels)
    return (share.unsqueeze(1) * share.unsqueeze(0) * kernel(confidence, confidence)).sum()


def mmce_weighted_official(logits: Tensor, labels: Tensor) -> Tensor:
    """The weighted calibration error as the released code gives it.

    The mean over pairs is divided by the number of pairs once more, so that the error shrinks with the batch, and its
    root is taken: with m correct images, n wrong ones and kernel k, the root of ``mean (1 - c_i) (1 - c_j) k / m^2 +
    mean c_i c_j k / n^2 - 2 mean (1 - c_i) c_j k / (m n)`` over pairs of correct, of wrong, and of unlike images.

    Args:
        logits: ``(B, C)``.
        labels: ``(B,)``.

    Returns:
        A scalar; 0 where all or none are correct.
    """
    confidence, predicted = logits.softmax(-1).max(-1)
    correct = predicted == labels
    right, wrong = confidence[correct], confidence[~correct]
    if not len(right) or not len(wrong):
        return 0 * confidence.sum()

    def part(first: Tensor, first_share: Tensor, second: Tensor, second_share: Tensor) -> Tensor:
        pairs = first_share.unsqueeze(1) * second_share.unsqueeze(0) * kernel(first, second)
        return pairs.mean() / (pairs.numel() + PAIR_SHIFT)

    square = part(right, 1 - right, right, 1 - right) + part(wrong, wrong, wrong, wrong)
    square = square - 2 * part(right, 1 - right, wrong, wrong)
    return (square.clamp(min=0) + ROOT_SHIFT).sqrt()


def kernel(first: Tensor, second: Tensor) -> Tensor:
    """``exp(-|a - b| / 0.4)`` of all pairs of confidences ``(M,)`` and ``(N,)``: ``(M, N)``."""
    return torch.exp(-(first.unsqueeze(1) - second.unsqueeze(0)).abs() / MMCE_WIDTH)


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"objective.{name} must lie in [0, 1], got {value}")
