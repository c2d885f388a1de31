"""The baseline objectives against the sheet's figures and explicit loops."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from zoo.domains.calibration.baselines import (
    FLSD53,
    MDCA,
    MMCE,
    Brier,
    CrossEntropy,
    EntropyPenalty,
    Focal,
    L1Penalty,
    LabelSmoothing,
    MbLS,
    Mixup,
    RegMixup,
    mmce,
    mmce_weighted_official,
)
from zoo.domains.calibration.loss import MNDCG, Outputs
from zoo.errors import InputError

LOGITS = torch.tensor([[2, 0.5, -1], [0.2, 1.2, 0.1], [-0.3, 0.4, 3], [1, 0.9, 0.8]], dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 1])


def outputs(logits=LOGITS, labels=LABELS, mixed=None, targets=None):
    nothing = logits.new_zeros(len(labels), 0, logits.shape[-1])
    return Outputs(logits, labels, nothing if mixed is None else mixed, nothing if targets is None else targets)


def loss(objective, given=None):
    return sum(objective(given or outputs()).values()).item()


@pytest.mark.parametrize(
    ("objective", "wanted"),
    [
        (CrossEntropy(), 0.49493134),
        (MbLS(margin=1.0), 0.54909801),
        (MbLS(margin=0.5), 0.57409799),
        (Focal(), 0.09194082),
        (FLSD53(), 0.09194082),
        (LabelSmoothing(0.1), 0.59909797),
        (LabelSmoothing(0.05), 0.54701465),
        (EntropyPenalty(), 0.46936241),
        (L1Penalty(), 1.14861536),
        (MMCE(), 0.51302248),
        (MMCE(variant="official"), 0.51302248),
        (MMCE(weighted=True, variant="official"), 0.82979631),
        (MDCA(variant="official"), 0.9915508),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, float) else "",
)
def test_figures_of_the_sheet(objective, wanted):
    assert loss(objective) == pytest.approx(wanted, abs=2e-7)


def test_terms_of_the_sheet():
    assert MbLS(alpha=1.0, margin=1.0)(outputs())["margin"].item() == pytest.approx(0.54166663, abs=1e-7)
    assert -EntropyPenalty(alpha=1.0)(outputs())["entropy"].item() == pytest.approx(0.25568926, abs=1e-7)
    official = MDCA(variant="official")(outputs())
    assert official["ce"].item() == pytest.approx(0.85193992, abs=1e-7)
    assert official["mdca"].item() == pytest.approx(0.1396109, abs=1e-7)


def test_mdca_as_published_adds_its_term_to_any_classification_loss():
    gap = MDCA()(outputs())["mdca"].item()
    assert gap == pytest.approx(0.1396109, abs=1e-7)
    assert loss(MDCA()) == pytest.approx(0.49493134 + gap, abs=1e-7)
    assert loss(MDCA(classification=Focal())) == pytest.approx(0.09194082 + gap, abs=1e-7)


def test_entropy_penalty_as_published_sums_over_classes():
    official = EntropyPenalty()(outputs())["entropy"].item()
    paper = EntropyPenalty(variant="paper")(outputs())["entropy"].item()
    assert paper == pytest.approx(3 * official, rel=1e-9)


def test_flsd_chooses_gamma_by_the_probability_of_the_label():
    """p below 0.2, between, and above 0.5, at the edges too."""
    p = torch.tensor([0.05, 0.2, 0.35, 0.5, 0.8], dtype=torch.float64)
    logits = torch.stack([p.log(), (1 - p).log()], dim=1)
    labels = torch.zeros(5, dtype=torch.int64)
    wanted = sum(-((1 - q) ** gamma) * math.log(q) for q, gamma in zip(p.tolist(), (5, 3, 3, 2, 2), strict=True))
    assert loss(FLSD53(gamma=2.0), outputs(logits, labels)) == pytest.approx(wanted / 5, rel=1e-6)


def test_brier_is_the_mean_squared_distance():
    p = LOGITS.softmax(-1)
    wanted = sum(sum((float(c == y) - p[i, c].item()) ** 2 for c in range(3)) for i, y in enumerate(LABELS.tolist()))
    assert loss(Brier()) == pytest.approx(wanted / 4, rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_mmce_is_the_double_sum(weighted):
    torch.manual_seed(0)
    logits, labels = torch.randn(12, 4, dtype=torch.float64), torch.randint(4, (12,))
    c, predicted = logits.softmax(-1).max(-1)
    right = predicted == labels
    assert 0 < right.sum() < 12
    total = 0.0
    for i in range(12):
        for j in range(12):
            shares = []
            for k in (i, j):
                if weighted:
                    shares.append((1 - c[k]) / right.sum() if right[k] else -c[k] / (~right).sum())
                else:
                    shares.append((right[k].double() - c[k]) / 12)
            total += float(shares[0] * shares[1] * math.exp(-abs(float(c[i] - c[j])) / 0.4))
    assert mmce(logits, labels, weighted).item() == pytest.approx(total, rel=1e-9)


def test_weighted_mmce_is_zero_where_all_are_right_or_all_wrong():
    for labels in (LOGITS.argmax(-1), LOGITS.argmin(-1)):
        logits = LOGITS.clone().requires_grad_()
        value = mmce(logits, labels, weighted=True)
        value = value + mmce_weighted_official(logits, labels)
        value.backward()
        assert value.item() == 0.0
        assert not logits.grad.any()


def test_focal_with_a_small_gamma_has_a_gradient_where_the_label_is_certain():
    logits = torch.tensor([[200.0, -200, 0], [0, 1, 2]], requires_grad=True)
    labels = torch.tensor([0, 1])
    for objective in (Focal(0.5), FLSD53(0.5)):
        (gradient,) = torch.autograd.grad(sum(objective(outputs(logits, labels)).values()), logits)
        assert torch.isfinite(gradient).all()
        assert not gradient[0].any()
        assert gradient[1].any()


def test_mixup_is_the_mixture_of_two_cross_entropies():
    other = LABELS[[1, 3, 0, 2]]
    one, two = torch.nn.functional.one_hot(LABELS, 3), torch.nn.functional.one_hot(other, 3)
    targets = (0.3 * one + 0.7 * two).unsqueeze(1)
    mixed = LOGITS.flip(1).unsqueeze(1)
    wanted = 0.3 * cross_entropy(mixed[:, 0], LABELS) + 0.7 * cross_entropy(mixed[:, 0], other)
    given = outputs(mixed=mixed, targets=targets)
    assert loss(Mixup(), given) == pytest.approx(wanted.item(), rel=1e-6)
    both = cross_entropy(LOGITS, LABELS) + 0.5 * wanted
    assert loss(RegMixup(alpha=0.5), given) == pytest.approx(both.item(), rel=1e-6)


def test_what_each_objective_asks_the_module_for():
    wanted = {
        CrossEntropy: (0, True), MbLS: (0, True), Mixup: (1, False), RegMixup: (1, True), MNDCG: (3, True),
    }  # fmt: skip
    for kind, (copies, raw) in wanted.items():
        assert (kind().copies, kind().raw) == (copies, raw)
    assert RegMixup().mixup_alpha == 10.0


@pytest.mark.parametrize(
    "objective",
    [
        CrossEntropy(),
        LabelSmoothing(),
        Focal(),
        FLSD53(),
        EntropyPenalty(),
        L1Penalty(),
        Brier(),
        MMCE(),
        MDCA(),
        MbLS(),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_extreme_logits_stay_finite(objective):
    logits = torch.tensor([[200.0, -200, 0], [0, 0, 0], [-300, 300, 299]], requires_grad=True)
    value = sum(objective(outputs(logits, torch.tensor([1, 0, 1]))).values())
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LabelSmoothing(1.5), r"objective.smoothing must lie in \[0, 1\], got 1.5"),
        (lambda: Focal(-1), "objective.gamma must not be negative, got -1"),
        (lambda: MMCE(variant="exact"), "objective.variant must be one of paper, official, got 'exact'"),
        (lambda: MDCA(variant="exact"), "objective.variant must be one of paper, official, got 'exact'"),
        (
            lambda: MDCA(variant="official", classification=Focal()),
            "objective: MDCA takes classification with variant paper alone",
        ),
        (lambda: MDCA(classification=MNDCG()), "objective: MDCA takes no mixed copies, MNDCG needs them"),
    ],
)
def test_bad_arguments_are_told(build, message):
    with pytest.raises(InputError, match=message):
        build()
