"""The two objectives against the sheet's figures, the check files, and explicit loops; values and gradients."""

import json

import pytest
import torch
from torch.nn.functional import cross_entropy

from zoo.domains.calibration.loss import MNDCG, MRL, Outputs, mndcg, mrl
from zoo.domains.calibration.mixing import Draw, by_image, mix, one_hot
from zoo.errors import InputError
from zoo.ranking import Fidelity, Hinge, ListNet, Logistic

LABELS = torch.tensor([0, 1, 2, 1])
STRENGTHS = (0.7, 0.35, 0.9)
PARTNERS = ([1, 3, 0, 2], [2, 0, 3, 1], [3, 2, 1, 0])


def raw():
    return torch.tensor(
        [[2, 0.5, -1], [0.2, 1.2, 0.1], [-0.3, 0.4, 3], [1, 0.9, 0.8]], dtype=torch.float64, requires_grad=True
    )


def first():
    return torch.tensor([[1.5, 0.7, -0.2], [0.3, 2.5, 0], [0.1, 0.2, 0.9], [4, 0, 0]], dtype=torch.float64)


def mixes(copies):
    """Mixed logits (K*B, C) of the sheet, a leaf."""
    one = first()
    return torch.cat([one, one * 0.5 + 0.1, one.flip(0) * 0.8][:copies]).requires_grad_()


def targets(copies):
    draws = [Draw(s, torch.tensor(p)) for s, p in zip(STRENGTHS[:copies], PARTNERS[:copies], strict=True)]
    return by_image(mix(one_hot(LABELS, 3), draws), copies)


def terms(objective, copies):
    z, mixed = raw(), mixes(copies)
    found = objective(Outputs(z, LABELS, by_image(mixed, copies), targets(copies)))
    (found["rank"] / objective.alpha).backward()
    return found, z.grad, mixed.grad


@pytest.mark.parametrize(
    ("margin", "variant", "rank", "total"),
    [
        (1.0, "official", 1.2750001, 0.62243134),
        (2.0, "official", 1.8375001, 0.67868137),
        (2.0, "elementwise", 1.625, None),
    ],
)
def test_mrl_gives_the_figures_of_the_sheet(margin, variant, rank, total):
    found, _, _ = terms(MRL(margin=margin, variant=variant), 1)
    assert found["ce"].item() == pytest.approx(0.49493134, abs=2e-7)
    assert found["rank"].item() / 0.1 == pytest.approx(rank, abs=3e-7)
    if total is not None:
        assert sum(found.values()).item() == pytest.approx(total, abs=2e-7)


def test_mrl_official_gradients_stand_where_the_sheet_says():
    _, raw_gradient, mixed_gradient = terms(MRL(margin=2.0), 1)
    wanted = torch.zeros(4, 3, dtype=torch.float64)
    for row, column in ((0, 0), (1, 1), (3, 0)):
        wanted[row, column] = 0.1875
    torch.testing.assert_close(raw_gradient, -wanted, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(mixed_gradient, wanted, rtol=1e-6, atol=1e-8)


def test_mrl_without_a_same_class_pair():
    soft = targets(1)
    soft[1, 0] = torch.tensor([0, 0.7, 0.3])
    for variant in ("official", "elementwise"):
        rank = mrl(raw(), first().unsqueeze(1), soft, margin=2.0, variant=variant)
        assert rank.item() == pytest.approx(2.45, abs=3e-7)


def test_mrl_of_a_batch_of_one_class_costs_nothing():
    z, mixed = raw(), mixes(1)
    soft = by_image(mix(one_hot(torch.ones(4, dtype=torch.int64), 3), [Draw(0.3, torch.arange(4).flip(0))]), 1)
    for variant in ("official", "elementwise"):
        value = mrl(z, by_image(mixed, 1), soft, variant=variant)
        assert value.item() == 0.0
        value.backward()
        assert not mixed.grad.any()


def test_mrl_by_probabilities():
    """d is the sheet's difference of softmax maxima."""
    d = torch.tensor([-0.17285657, 0.2503258, -0.38606584, 0.5974977], dtype=torch.float64)
    wanted = (torch.tensor([1, 0, 1, 1]) * (d + 0.2).relu()).mean()
    rank = mrl(raw(), first(), targets(1)[:, 0], margin=0.2, variant="elementwise", scores="probabilities")
    torch.testing.assert_close(rank, wanted, rtol=0, atol=1e-7)


def test_mrl_refuses_several_copies():
    for attempt in (
        lambda: MRL(copies=3),
        lambda: mrl(raw(), by_image(mixes(3), 3), targets(3)),
        lambda: MRL()(Outputs(raw(), LABELS, by_image(mixes(3), 3), targets(3))),
    ):
        with pytest.raises(
            InputError, match="MRL compares an image with one mixed copy, got copies = 3; use copies: 1"
        ):
            attempt()


def test_mndcg_with_three_copies_gives_the_figures_of_the_sheet():
    found, raw_gradient, mixed_gradient = terms(MNDCG(), 3)
    assert found["rank"].item() / 0.1 == pytest.approx(0.24364698, abs=2e-7)
    assert sum(found.values()).item() == pytest.approx(0.51929605, abs=2e-7)
    for row, wanted in ((0, [-0.0191596, 0.0156644, 0.0034952]), (3, [-0.0243824, 0.0128003, 0.0115822])):
        torch.testing.assert_close(raw_gradient[row], torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-7)
    assert mixed_gradient.abs().sum().item() == pytest.approx(0.25675038, abs=2e-7)


@pytest.mark.parametrize(
    ("copies", "ratios"),
    [
        (3, [0.85570282, 0.68665493, 0.82849157, 0.65456277]),
        (1, [0.81309098, 0.68481505, 0.84916276, 0.67686296]),
    ],
)
def test_mndcg_ratio_of_every_image(copies, ratios):
    z, mixed, soft = raw(), by_image(mixes(copies), copies), targets(copies)
    for row, ratio in enumerate(ratios):
        part = slice(row, row + 1)
        assert 1 - mndcg(z[part], mixed[part], soft[part]).item() == pytest.approx(ratio, abs=2e-7)
    assert mndcg(z, mixed, soft).item() == pytest.approx(1 - sum(ratios) / 4, abs=2e-7)


def test_mndcg_counts_lists_of_one_class_alone():
    """All mixes of the image's own class: every label strength is 1, and the list still pulls."""
    z = raw()
    soft = torch.zeros(4, 2, 3)
    soft[:, :, 1] = 1
    value = mndcg(z, torch.stack([first(), first()], dim=1), soft)
    value.backward()
    assert value.item() > 0.1
    assert z.grad.abs().sum() > 0.01


def test_label_strengths_of_the_sheet():
    maxima = targets(3).amax(-1).T
    wanted = torch.tensor([[0.7, 1, 0.7, 0.7], [0.65, 0.65, 0.65, 1], [0.9] * 4])
    torch.testing.assert_close(maxima, wanted)
    assert maxima[0, 1] == 1.0
    assert maxima[1, 3] == 1.0


@pytest.mark.parametrize("ranking", [Logistic(), Fidelity(), ListNet(), Hinge(margin=0.1)])
def test_any_score_loss_takes_the_place_of_the_ranking_term(ranking):
    z, mixed, soft = raw(), by_image(mixes(3), 3), targets(3)
    confidence = torch.cat([z.softmax(-1).amax(-1, keepdim=True), mixed.softmax(-1).amax(-1)], 1)
    strength = torch.cat([torch.ones(4, 1), soft.amax(-1)], 1)
    torch.testing.assert_close(mndcg(z, mixed, soft, ranking), ranking(confidence, strength))
    found = MNDCG(ranking=ranking)(Outputs(z, LABELS, mixed, soft))
    torch.testing.assert_close(found["rank"], 0.1 * ranking(confidence, strength))


def test_another_score_loss_in_mrl():
    pair = torch.stack([first().amax(-1), raw().amax(-1)], -1)
    costs = torch.nn.functional.softplus(pair[:, 0] - pair[:, 1])
    across = torch.tensor([1.0, 0, 1, 1], dtype=torch.float64)
    found = {
        v: mrl(raw(), first(), targets(1)[:, 0], variant=v, ranking=Logistic()) for v in ("official", "elementwise")
    }
    torch.testing.assert_close(found["official"], across.mean() * costs.mean())
    torch.testing.assert_close(found["elementwise"], (across * costs).mean())


def test_half_precision_logits_are_computed_in_float32():
    found = MNDCG()(Outputs(raw().bfloat16(), LABELS, by_image(mixes(3), 3).bfloat16(), targets(3)))
    assert {term.dtype for term in found.values()} == {torch.float32}
    assert sum(found.values()).item() == pytest.approx(0.51929605, abs=5e-3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MRL(variant="exact"), "objective.variant must be one of official, elementwise, got 'exact'"),
        (lambda: MRL(scores="margin"), "objective.scores must be one of logits, probabilities, got 'margin'"),
        (lambda: MNDCG(alpha=-0.1), "objective.alpha must not be negative, got -0.1"),
        (lambda: MNDCG(copies=0), "objective.copies must be at least 1, got 0"),
        (lambda: MNDCG(ranking=Hinge(reduction="none")), "objective.ranking: reduction 'none' gives a value per list"),
        (
            lambda: mndcg(torch.zeros(4, 3), torch.zeros(4, 3), torch.zeros(4, 3)),
            r"mixed: shape \(4, 3\) and targets \(4, 3\), expected both \(B, K, C\), K >= 1",
        ),
        (
            lambda: mrl(torch.zeros(4, 3), torch.zeros(3, 3), torch.zeros(3, 3)),
            r"logits \(4, 3\), mixed \(3, 3\) and targets \(3, 3\) must all be \(B, C\)",
        ),
    ],
)
def test_bad_arguments_are_told(build, message):
    with pytest.raises(InputError, match=message):
        build()


@pytest.mark.facts
@pytest.mark.parametrize(
    ("name", "objective", "copies"),
    [
        ("mrl_official_margin1", MRL(margin=1.0), 1),
        ("mrl_elementwise_margin1", MRL(margin=1.0, variant="elementwise"), 1),
        ("mrl_official_margin2", MRL(margin=2.0), 1),
        ("mrl_elementwise_margin2", MRL(margin=2.0, variant="elementwise"), 1),
        ("mndcg_k3", MNDCG(copies=3), 3),
        ("mndcg_k1", MNDCG(copies=1), 1),
    ],
)
def test_check_file(check_files, name, objective, copies):
    doc = json.loads((check_files / "rankmixup_losses_metrics.json").read_text())
    given, wanted = doc["loss_inputs"], doc["expected_losses"][name]
    labels = torch.tensor(given["labels"])
    draws = [
        Draw(strength, torch.tensor(partner))
        for strength, partner in zip(given["lambdas"][:copies], given["permutations"][:copies], strict=True)
    ]
    soft = mix(one_hot(labels, 5).double(), draws)
    torch.testing.assert_close(soft, torch.tensor(given["mixed_targets"], dtype=torch.float64)[: len(soft)])
    z = torch.tensor(given["raw_logits"], dtype=torch.float64, requires_grad=True)
    mixed = torch.tensor(given["mixed_logits_copy_major"], dtype=torch.float64)[: len(soft)].requires_grad_()
    found = objective(Outputs(z, labels, by_image(mixed, copies), by_image(soft, copies)))
    total = sum(found.values())
    total.backward()
    got = {"total": total.item(), "ce": found["ce"].item(), "rank": found["rank"].item() / objective.alpha}
    for key, value in got.items():
        assert value == pytest.approx(wanted[key], rel=1e-6, abs=1e-8), key
    for side, gradient in (("grad_raw", z.grad), ("grad_mix", mixed.grad)):
        place = torch.arange(1, gradient.numel() + 1)
        sums = {"sum": gradient.sum(), "abs_sum": gradient.abs().sum(), "weighted": (gradient.flatten() * place).sum()}
        for key, value in sums.items():
            assert value.item() == pytest.approx(wanted[side][key], rel=1e-6, abs=1e-8), (side, key)
        assert gradient.sum(-1).tolist() == pytest.approx(wanted[side]["rows"], rel=1e-6, abs=1e-8)


def test_total_gradient_reaches_raw_images_through_both_terms():
    z = raw()
    found = MNDCG()(Outputs(z, LABELS, by_image(mixes(3), 3), targets(3)))
    (both,) = torch.autograd.grad(sum(found.values()), z)
    again = raw()
    (alone,) = torch.autograd.grad(cross_entropy(again, LABELS), again)
    assert (both - alone).abs().sum() > 1e-3
