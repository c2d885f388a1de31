"""The objective and the matching against the sheet's figures, the check files, and explicit loops."""

import importlib.util
import math

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from zoo.domains.detection.boxes import centred, corners, giou, iou
from zoo.domains.detection.loss import Objective, focal, giou_aware, varifocal
from zoo.domains.detection.matching import costs, gather_targets, match
from zoo.domains.detection.outputs import LayerOutputs
from zoo.errors import InputError

# section 11 of the sheet: outputs of the released code
LOGITS = torch.tensor(
    [
        [[2, -1, 0], [-0.5, 1.5, -2], [0.3, 0.1, -0.7], [-3, -3, 2.5]],
        [[0, 0, 0], [1, -1, 1], [-2, 2, -2], [0.5, -0.5, 0.25]],
    ]
)
BOXES = torch.tensor(
    [
        [[0.5, 0.5, 0.4, 0.4], [0.3, 0.3, 0.2, 0.3], [0.7, 0.6, 0.3, 0.2], [0.2, 0.8, 0.1, 0.1]],
        [[0.4, 0.6, 0.5, 0.3], [0.55, 0.45, 0.25, 0.35], [0.1, 0.1, 0.15, 0.15], [0.8, 0.3, 0.2, 0.4]],
    ]
)
TARGETS = [
    {"labels": torch.tensor([0, 2]), "boxes": torch.tensor([[0.52, 0.48, 0.38, 0.42], [0.25, 0.75, 0.15, 0.20]])},
    {"labels": torch.tensor([1]), "boxes": torch.tensor([[0.12, 0.11, 0.20, 0.14]])},
]
STANDARD = (
    [[-3.7091818, 5.2561064], [3.9623365, 4.9294715], [2.6136506, 5.1677761], [8.5386381, -2.3721495]],
    [7.1808238, 6.8640852, -3.3146281, 7.2037449],
)
HIGH = (
    [[-0.40439305, -9.617e-10], [-5.1827e-6, 0], [-3.8287e-4, 0], [0, -2.6205778e-3]],
    [0, 0, -0.17685495, 0],
)


def targets(classes=3):
    return gather_targets(TARGETS, classes, torch.device("cpu"))


def outputs(layers=1, many=None, encoder=5, classes=3, images=2, seed=0):
    """Random outputs; the last layer is the sheet's where the sizes are."""
    generator = torch.Generator().manual_seed(seed)

    def boxes(*shape):
        return torch.cat(
            [torch.rand(*shape, 2, generator=generator), 0.05 + 0.4 * torch.rand(*shape, 2, generator=generator)], -1
        )

    def logits(*shape):
        return torch.randn(*shape, classes, generator=generator)

    return LayerOutputs(
        logits(layers, images, 4),
        boxes(layers, images, 4),
        logits(layers, images, many) if many else None,
        boxes(layers, images, many) if many else None,
        logits(images, encoder),
        boxes(images, encoder),
    )


@pytest.mark.parametrize(("high_order", "wanted"), [(False, STANDARD), (True, HIGH)])
def test_costs_and_matches_of_the_sheet(high_order, wanted):
    found = costs(LOGITS[None], BOXES[None], targets(), high_order)
    assert found.shape == (1, 2, 4, 2)
    torch.testing.assert_close(found[0, 0], torch.tensor(wanted[0]), rtol=2e-5, atol=1e-9)
    torch.testing.assert_close(found[0, 1, :, 0], torch.tensor(wanted[1]), rtol=2e-5, atol=1e-9)
    matches = match(LOGITS[None], BOXES[None], targets(), high_order=high_order)
    assert matches.layer.tolist() == [0, 0, 0]
    assert list(zip(matches.image.tolist(), matches.query.tolist(), matches.target.tolist(), strict=True)) == [
        (0, 0, 0),
        (0, 3, 1),
        (1, 2, 2),
    ]


def test_overlaps_of_the_sheet():
    first, second = corners(BOXES), [corners(target["boxes"]) for target in TARGETS]
    pairs = [(first[0, 0], second[0][0]), (first[0, 3], second[0][1]), (first[1, 2], second[1][0])]
    for (one, two), wanted_giou, wanted_iou in zip(
        pairs, (0.817483, 0.159336, 0.645207), (0.823156, 0.230762, 0.669399), strict=True
    ):
        assert float(giou(one, two)) == pytest.approx(wanted_giou, abs=1e-6)
        assert float(iou(one, two)) == pytest.approx(wanted_iou, abs=1e-6)
    torch.testing.assert_close(centred(corners(BOXES)), BOXES)


@pytest.mark.parametrize(("classification", "loss_class"), [("giou", 1.1588684), ("focal", 1.1478795)])
def test_terms_of_the_sheet(classification, loss_class):
    given = outputs()._replace(logits=LOGITS[None], boxes=BOXES[None])
    terms = Objective(classification)(given, TARGETS)
    # the sheet gives them without the weights 2, 5 and 2
    assert float(terms["loss_class"]) == pytest.approx(2 * loss_class, rel=1e-6)
    assert float(terms["loss_bbox"]) == pytest.approx(5 * 0.14, rel=1e-6)
    assert float(terms["loss_giou"]) == pytest.approx(2 * 0.4593247, rel=1e-6)


@pytest.mark.parametrize("layers", [1, 3])
def test_names_of_the_terms(layers):
    terms = Objective(k_one2many=2)(outputs(layers, many=6), TARGETS)
    suffixes = ["", *(f"_{layer}" for layer in range(layers - 1))]
    wanted = {f"loss_{kind}{suffix}{branch}" for kind in ("class", "bbox", "giou") for suffix in suffixes
              for branch in ("", "_one2many")}  # fmt: skip
    assert set(terms) == wanted | {"loss_class_enc", "loss_bbox_enc", "loss_giou_enc"}
    without = Objective()(outputs(layers), TARGETS)
    assert set(without) == {name for name in terms if "one2many" not in name}
    for value in without.values():
        assert value.ndim == 0


def by_hand(logits, boxes, wanted, repeats, high_order, kind):
    """One layer: the paper's formulas, image by image and entry by entry."""
    count = max(1.0, repeats * sum(len(target["labels"]) for target in wanted))
    total = {"class": 0.0, "bbox": 0.0, "giou": 0.0}
    for image, target in enumerate(wanted):
        labels, places = target["labels"].repeat(repeats), target["boxes"].repeat(repeats, 1)
        pairs = {}
        if len(labels):
            matrix = torch.empty(len(logits[image]), len(labels))
            for q, box in enumerate(boxes[image]):
                for t, place in enumerate(places):
                    p = float(logits[image, q, labels[t]].sigmoid())
                    shared = float(iou(corners(box), corners(place)))
                    if high_order:
                        matrix[q, t] = -p * shared**4
                        continue
                    negative = 0.75 * p**2 * -math.log(1 - p + 1e-8)
                    positive = 0.25 * (1 - p) ** 2 * -math.log(p + 1e-8)
                    fit = float(giou(corners(box), corners(place)))
                    matrix[q, t] = 5 * float((box - place).abs().sum()) + 2 * (positive - negative) - 2 * fit
            pairs = dict(zip(*linear_sum_assignment(matrix.numpy()), strict=True))
        for q in range(len(logits[image])):
            for c in range(logits.shape[-1]):
                z = logits[image, q, c]
                p = z.sigmoid()
                hit = q in pairs and int(labels[pairs[q]]) == c
                if hit:
                    one, two = corners(boxes[image, q]), corners(places[pairs[q]])
                    t = {"giou": (giou(one, two) + 1) / 2, "varifocal": iou(one, two), "focal": torch.tensor(1.0)}[kind]
                    weight = {"giou": 0.25 * (t - p) ** 2, "varifocal": t, "focal": 0.25 * (1 - p) ** 2}[kind]
                else:
                    t, weight = torch.tensor(0.0), 0.75 * p**2
                total["class"] += 2 * weight * F.binary_cross_entropy_with_logits(z, t) / count
        for q, t in pairs.items():
            total["bbox"] += 5 * (boxes[image, q] - places[t]).abs().sum() / count
            total["giou"] += 2 * (1 - giou(corners(boxes[image, q]), corners(places[t]))) / count
    return total


@pytest.mark.parametrize("high_order", [False, True])
@pytest.mark.parametrize("kind", ["giou", "varifocal", "focal"])
def test_every_term_equals_the_formulas(kind, high_order):
    given = outputs(layers=2, many=7, seed=3)
    terms = Objective(kind, k_one2many=2)(given, TARGETS, high_order)
    anything = [{**target, "labels": torch.zeros_like(target["labels"])} for target in TARGETS]
    cases = [
        ("_0", given.logits[0], given.boxes[0], TARGETS, 1, kind),
        ("", given.logits[1], given.boxes[1], TARGETS, 1, kind),
        ("_0_one2many", given.many_logits[0], given.many_boxes[0], TARGETS, 2, kind),
        ("_one2many", given.many_logits[1], given.many_boxes[1], TARGETS, 2, kind),
        ("_enc", given.encoder_logits, given.encoder_boxes, anything, 1, "focal"),
    ]
    for suffix, logits, boxes, wanted, repeats, loss in cases:
        for name, value in by_hand(logits, boxes, wanted, repeats, high_order, loss).items():
            torch.testing.assert_close(terms[f"loss_{name}{suffix}"], value, rtol=1e-4, atol=1e-6, msg=name + suffix)


@pytest.mark.parametrize("loss", [giou_aware, varifocal, focal])
def test_gradient_of_the_scores_through_the_modulating_factor(loss):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    positive = torch.rand(6, 3, generator=generator) < 0.3
    quality = torch.where(positive, torch.rand(6, 3, generator=generator, dtype=torch.float64), 0.0)
    assert torch.autograd.gradcheck(lambda z: loss(z, positive, quality).sum(), logits)


def test_the_quality_gives_the_boxes_no_gradient():
    given = outputs()
    boxes = given.boxes.clone().requires_grad_()
    Objective()(given._replace(boxes=boxes), TARGETS)["loss_class"].requires_grad_().backward()
    assert boxes.grad is None


def test_more_objects_than_queries_keep_their_own_offsets():
    """The released code shifts the objects of later images by min(objects, queries)."""
    generator = torch.Generator().manual_seed(1)
    many = {
        "labels": torch.randint(0, 3, (9,), generator=generator),
        "boxes": 0.2 + 0.3 * torch.rand(9, 4, generator=generator),
    }
    wanted = [many, TARGETS[1]]
    objects = gather_targets(wanted, 3, torch.device("cpu"))
    given = outputs(seed=5)
    matches = match(given.logits, given.boxes, objects)
    assert matches.target[matches.image == 1].tolist() == [9]
    assert sorted(matches.query[matches.image == 0].tolist()) == [0, 1, 2, 3]
    assert len(set(matches.target.tolist())) == 5
    terms = Objective()(given, wanted)
    for name, value in by_hand(given.logits[0], given.boxes[0], wanted, 1, False, "giou").items():
        torch.testing.assert_close(terms[f"loss_{name}"], value, rtol=1e-4, atol=1e-6)


def test_batches_without_an_object():
    nothing = {"labels": torch.empty(0, dtype=torch.long), "boxes": torch.empty(0, 4)}
    given = outputs(layers=2, many=6)
    for wanted in ([nothing, nothing], [nothing, TARGETS[1]]):
        terms = Objective()(given, wanted)
        assert all(torch.isfinite(value) for value in terms.values())
        if wanted[1] is nothing:
            assert all(float(terms[name]) == 0 for name in terms if "bbox" in name or "giou" in name)
            plain = (0.75 * given.logits[1].sigmoid() ** 2 * F.softplus(given.logits[1])).sum()
            torch.testing.assert_close(terms["loss_class"], 2 * plain)


def test_predictions_that_are_no_numbers_reach_the_loss():
    """The matching must not fail before the training can name the term and the samples."""
    given = outputs()
    given.boxes[0, 0, 1, 2] = math.nan
    terms = Objective()(given._replace(logits=torch.full_like(given.logits, math.nan)), TARGETS)
    assert not torch.isfinite(terms["loss_class"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            {"labels": torch.tensor([3]), "boxes": torch.rand(1, 4)},
            r"targets\[0\]: labels 3 to 3, the network has 3 classes, 0 to 2",
        ),
        ({"labels": torch.tensor([1]), "boxes": torch.rand(2, 4)}, r"targets\[0\]: 1 labels, boxes of shape \(2, 4\)"),
        (
            {"labels": torch.tensor([1]), "boxes": torch.tensor([[10.0, 20, 30, 40]])},
            r"targets\[0\]: boxes are cx, cy, w, h in \[0, 1\], got \[10.0, 20.0, 30.0, 40.0\]",
        ),
        (
            {"labels": torch.tensor([1]), "boxes": torch.tensor([[math.nan, 0.5, 0.1, 0.1]])},
            r"targets\[0\]: boxes are cx, cy, w, h in \[0, 1\], got \[nan, 0.5, 0.1, 0.1\]",
        ),
    ],
)
def test_targets_that_do_not_fit(target, message):
    with pytest.raises(InputError, match=message):
        Objective()(outputs(images=1), [target])
    with pytest.raises(InputError, match=r"targets of 1 images given, the outputs are of 2"):
        Objective()(outputs(), TARGETS[:1])


def test_an_image_without_objects_may_have_lists_without_shape():
    nothing = {"labels": torch.tensor([]), "boxes": torch.tensor([])}
    shaped = {"labels": torch.zeros(0, dtype=torch.long), "boxes": torch.zeros(0, 4)}
    found, wanted = (Objective()(outputs(), [TARGETS[0], last]) for last in (nothing, shaped))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_an_unknown_loss_is_named():
    with pytest.raises(
        InputError, match=r"model.classification must be one of giou, varifocal, focal, got 'fokal'; did"
    ):
        Objective("fokal")


def _network(doc, fill, state):
    from zoo.domains.detection import RankDETRNetwork
    from zoo.domains.detection.convert import convert

    class Convolutions(torch.nn.Module):
        channels = (8, 16, 32)

        def __init__(self):
            super().__init__()
            self.a = torch.nn.Conv2d(3, 8, 8, 8)
            self.b = torch.nn.Conv2d(8, 16, 2, 2)
            self.c = torch.nn.Conv2d(16, 32, 2, 2)

        def forward(self, images):
            a = self.a(images)
            b = self.b(a)
            return a, b, self.c(b)

    network = RankDETRNetwork(Convolutions(), 5, 1, 3, 64, 6, 12, 2)
    found, _ = convert(state)
    network.load_state_dict({name.removeprefix("network."): value for name, value in found.items()})
    return network


@pytest.mark.facts
@pytest.mark.parametrize("stage", ["before_switch", "after_switch"])
@torch.no_grad()
def test_every_term_of_the_released_code(check_files, stage):
    spec = importlib.util.spec_from_file_location("fill", check_files / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    doc = fill.load(check_files / "rank_detr_tiny.json")
    given = fill.inputs(doc)
    network = _network(doc, fill, fill.make_checkpoint(doc)).train()
    images = torch.zeros(2, 3, 96, 128)
    images[0], images[1, :, :80, :112] = given["image_a"], given["image_b"]
    sizes = torch.tensor([[96, 128], [80, 112]])
    wanted = [
        {"labels": given[f"labels_{name}"], "boxes": centred(given[f"boxes_{name}"] / sizes[row].flip(0).repeat(2))}
        for row, name in enumerate("ab")
    ]
    terms = Objective(k_one2many=2)(network.layers(images, sizes), wanted, stage == "after_switch")
    expected = doc["expected"][stage]
    assert set(terms) == set(expected["weighted_terms"])
    for name, value in expected["weighted_terms"].items():
        assert float(terms[name]) == pytest.approx(value, rel=2e-4, abs=1e-5), name
    total = sum(terms.values())
    assert float(total) == pytest.approx(expected["total"], rel=2e-4)
