"""The objective against the numbers of the sheet and explicit loops over bags."""

import pytest
import torch

from zoo.domains.anomaly import Detector, mil_terms, weight_penalty
from zoo.errors import InputError
from zoo.ranking import Fidelity, Hinge, ListNet, Logistic, ScoreLoss

ANOMALOUS = [[0.2, 0.9, 0.4, 0.1], [0.3, 0.3, 0.8, 0.6]]
NORMAL = [[0.1, 0.2, 0.05, 0.4], [0.5, 0.7, 0.6, 0.2]]


def sheet():
    return torch.tensor(ANOMALOUS + NORMAL, dtype=torch.float64), torch.tensor([1.0, 1, 0, 0])


def total(terms):
    return sum(terms.values())


def test_official_numbers_of_the_sheet():
    terms = mil_terms(*sheet(), variant="official")
    assert terms["ranking"].item() == pytest.approx(1.4, abs=1e-12)
    assert terms["sparsity"].item() == pytest.approx(8e-5 * 3.6, abs=1e-15)
    assert terms["smoothness"].item() == pytest.approx(8e-5 * 1.12, abs=1e-15)
    assert total(terms).item() == pytest.approx(1.4003776, abs=1e-12)


def test_diagonal_number_of_the_sheet():
    assert total(mil_terms(*sheet(), variant="diagonal")).item() == pytest.approx(0.7001888, abs=1e-12)


@pytest.mark.facts
@pytest.mark.parametrize(("variant", "name"), [("official", "official"), ("diagonal", "ekosman_diagonal")])
def test_values_and_gradients_of_sixty_bags(check, variant, name):
    doc = check.load("anomaly.json")
    expected, tolerance = doc["objective"][name], doc["objective"]["tolerance"]
    scores = torch.tensor(doc["objective"]["scores_60x32"], dtype=torch.float64, requires_grad=True)
    label = torch.cat([torch.ones(30), torch.zeros(30)])
    terms = mil_terms(scores, label, variant)
    total(terms).backward()
    gradient = scores.grad.flatten()
    got = {
        "total": total(terms),
        "grad_sum": gradient.sum(),
        "grad_abs_sum": gradient.abs().sum(),
        "grad_weighted": (gradient * torch.arange(1, len(gradient) + 1)).sum(),
    }
    if variant == "official":
        got |= {"hinge": terms["ranking"], "sparsity_sum": terms["sparsity"] / 8e-5}
        got |= {"smoothness_sum": terms["smoothness"] / 8e-5}
    network = Detector(4096).double()
    network.load_state_dict(check.fill.make_checkpoint(doc))
    got["with_regulariser_of_the_filled_network"] = got["total"] + 0.001 * weight_penalty(network, variant)
    assert set(got) == set(expected)
    assert not check.fill.compare(expected, {key: value.item() for key, value in got.items()}, rtol=tolerance["rtol"])
    single = mil_terms(scores.detach().float(), label, variant)
    assert total(single).item() == pytest.approx(expected["total"], rel=tolerance["float32_rtol"])


def by_loops(scores, label, variant, margin, sparsity, smoothness):
    bags = scores.tolist()
    anomalous = [bag for bag, kind in zip(bags, label.tolist(), strict=True) if kind == 1]
    normal = [bag for bag, kind in zip(bags, label.tolist(), strict=True) if kind == 0]
    hinges = [[max(0.0, margin - max(a) + max(n)) for n in normal] for a in anomalous]
    sparse = [sparsity * sum(a) for a in anomalous]
    smooth = [smoothness * sum((a[t] - a[t + 1]) ** 2 for t in range(len(a) - 1)) for a in anomalous]
    if variant == "official":
        return sum(map(sum, hinges)) / len(normal) + sum(sparse) + sum(smooth)
    if variant == "paper":
        pairs = [cost for row in hinges for cost in row]
        return sum(pairs) / len(pairs) + (sum(sparse) + sum(smooth)) / len(anomalous)
    return sum(hinges[i][i] + sparse[i] + smooth[i] for i in range(len(anomalous))) / len(anomalous)


@pytest.mark.parametrize("variant", ["official", "paper", "diagonal"])
@pytest.mark.parametrize("margin", [1.0, 0.3])
def test_against_loops_in_any_order_of_the_bags(variant, margin):
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(10, 7, generator=generator, dtype=torch.float64)
    label = torch.tensor([1, 0, 0, 1, 1, 0, 1, 0, 1, 0])
    got = total(mil_terms(scores, label, variant, margin=margin, sparsity=0.3, smoothness=0.7))
    assert got.item() == pytest.approx(by_loops(scores, label, variant, margin, 0.3, 0.7), rel=1e-12)


def test_uneven_classes_and_one_pair():
    scores, label = torch.rand(5, 4, dtype=torch.float64), torch.tensor([1, 0, 0, 0, 1])
    for variant in ("official", "paper"):
        got = total(mil_terms(scores, label, variant)).item()
        assert got == pytest.approx(by_loops(scores, label, variant, 1.0, 8e-5, 8e-5), rel=1e-12)
    pair = [total(mil_terms(scores[:2], label[:2], variant)).item() for variant in ("official", "paper", "diagonal")]
    assert pair[0] == pytest.approx(pair[1], rel=1e-12)
    assert pair[0] == pytest.approx(pair[2], rel=1e-12)
    with pytest.raises(InputError, match="2 anomalous and 3 normal"):
        mil_terms(scores, label, "diagonal")


@pytest.mark.parametrize("label", [[1, 1], [0, 0]])
def test_a_batch_of_one_class_is_refused(label):
    with pytest.raises(InputError, match=f"{sum(label)} anomalous and {2 - sum(label)} normal"):
        mil_terms(torch.rand(2, 4), torch.tensor(label))


def test_gradcheck():
    scores = torch.rand(6, 5, dtype=torch.float64, requires_grad=True)
    label = torch.tensor([1, 1, 1, 0, 0, 0])
    for variant in ("official", "paper", "diagonal"):
        run = lambda x, v=variant: total(mil_terms(x, label, v, sparsity=0.1, smoothness=0.1))  # noqa: E731
        assert torch.autograd.gradcheck(run, (scores,))


@pytest.mark.parametrize("loss", [Hinge(margin=0.2), Logistic(temperature=0.5), ListNet(), Fidelity()])
def test_any_score_loss_takes_the_place_of_the_hinge(loss):
    scores, label = sheet()
    terms = mil_terms(scores, label, ranking=loss)
    torch.testing.assert_close(terms["ranking"], loss(scores.amax(1), label))
    assert terms["sparsity"].item() == pytest.approx(8e-5 * 3.6)


def test_half_precision_is_summed_in_float32():
    scores, label = sheet()
    terms = mil_terms(scores.bfloat16(), label)
    assert all(value.dtype == torch.float32 for value in terms.values())
    expected = mil_terms(scores.bfloat16().float(), label)
    torch.testing.assert_close(total(terms), total(expected))


def test_weight_penalties_against_loops():
    network = Detector(6).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    matrices = [layer.weight.flatten().tolist() for layer in network.layers]
    biases = [layer.bias.tolist() for layer in network.layers]
    squares = [sum(value**2 for value in matrix) for matrix in matrices]
    assert weight_penalty(network, "official").item() == pytest.approx(sum(squares))
    assert weight_penalty(network, "paper").item() == pytest.approx(sum(squares) ** 0.5)
    with_bias = [square + sum(value**2 for value in bias) for square, bias in zip(squares, biases, strict=True)]
    assert weight_penalty(network, "diagonal").item() == pytest.approx(sum(value**0.5 for value in with_bias))


def test_a_score_loss_of_ones_own():
    class Gap(ScoreLoss):
        def __init__(self):
            super().__init__()

        def forward(self, scores, target, *, group=None, mask=None, weight=None):
            return scores[target == 0].mean() - scores[target == 1].mean()

    assert mil_terms(*sheet(), ranking=Gap())["ranking"].item() == pytest.approx(0.55 - 0.85)
