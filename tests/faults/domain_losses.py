"""Every loss of every domain as a function of one tensor; what a domain's loss files hold that is none is named too."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.domains.anomaly import loss as anomaly
from zoo.domains.anomaly import rtfm_loss as rtfm
from zoo.domains.calibration import loss as calibration
from zoo.domains.calibration.loss import MRL, Objective, Outputs
from zoo.domains.counting import loss as counting
from zoo.domains.counting.regions import nested_regions
from zoo.domains.detection import loss as detection
from zoo.domains.detection.outputs import LayerOutputs
from zoo.domains.ltr import loss as ltr
from zoo.domains.outfit import loss as outfit
from zoo.domains.quality import loss as quality
from zoo.domains.reid import loss as reid
from zoo.domains.reid.network import Embeddings
from zoo.ranking import Hinge, ListNet, SetWise, TripletAlignment


class Case(NamedTuple):
    """A loss.

    Attributes:
        shape: Of the tensor, the batch first.
        loss: Of the tensor and of the rows of the batch, in the order in which they stand.
        kind: ``any`` numbers, ``share`` in [0, 1], or ``density`` >= 0.
    """

    shape: tuple[int, ...]
    loss: Callable[[Tensor, Tensor], Tensor]
    kind: str = "any"


def total(terms):
    return torch.stack([term.reshape(()) for term in terms.values()]).sum()


ROWS = 4
LABEL, KLASS = torch.arange(ROWS) % 2, torch.arange(ROWS) % 5
SCENE, SCORE = torch.arange(ROWS) // 2, torch.randn(ROWS, generator=torch.Generator().manual_seed(7)).double()
POINTS = [32 * torch.rand(count, 2, generator=torch.Generator().manual_seed(count)) for count in (3, 1, 0, 2)]

REGIONS = nested_regions(8, 8)


def bags(scores, rows, **options):
    return total(anomaly.mil_terms(scores, LABEL[rows], **options))


def snippets(x, rows, **options):
    scores, features = x[:, 0, :, 0].sigmoid(), x
    return total(rtfm.rtfm_terms(scores, features, torch.tensor([[0, 2]]).expand(len(x), 2), LABEL[rows], **options))


def outputs(x, rows, copies):
    targets = torch.nn.functional.one_hot(KLASS[rows], 5).double()[:, None].expand(-1, copies, -1)
    mixed = 0.6 * targets + 0.4 * targets.roll(1, -1)
    return Outputs(x[:, 0], KLASS[rows], x[:, 1 : 1 + copies], mixed)


def objectives():
    """All objectives of calibration, those of later files too."""
    import zoo.domains.calibration  # noqa: F401

    found, seen = list(Objective.__subclasses__()), {}
    while found:
        one = found.pop()
        found += one.__subclasses__()
        if one.__module__.startswith("zoo.") and "objective" not in one.__init__.__annotations__:
            seen[one.__name__] = one
    return seen


def objective(make):
    made = make()
    return Case((ROWS, 4, 5), lambda x, rows: total(made(outputs(x, rows, made.copies))))


def cells(rows):
    found = torch.zeros(len(rows), 1, 8, 8)
    for image, row in enumerate(rows.tolist()):
        for x, y in (POINTS[row] // 4).long().tolist():
            found[image, 0, y, x] += 1
    return found


def labelled(x, rows, variant):
    batch = {"points": [POINTS[row] for row in rows.tolist()], "cells": cells(rows)}
    batch["count"] = batch["cells"].sum((1, 2, 3))
    tokens = x[:, 0, 0, :3]
    return total(counting.labelled_terms(maps(x), tokens, batch, 4, counting.Weights(), counting.switches(variant)))


def unlabelled(x, rows, variant):
    torch.manual_seed(0)
    switches, ranking = counting.switches(variant), counting.default_ranking()
    return total(counting.unlabelled_terms(maps(x), x[:, 0, 0, :3], counting.Weights(), switches, ranking))


def maps(x):
    return [x[:, :1], x[:, 1:2], x[:, 2:3]]


def crops(x):
    return [[y, y.flip(-1)] for y in maps(x)]


def entry(name):
    positive = torch.nn.functional.one_hot(KLASS, 5).bool()
    return Case(
        (ROWS, 5),
        lambda x, rows: getattr(detection, name)(
            x.float() if x.dtype != torch.float64 else x, positive[rows], 0.7 * positive[rows].to(x.dtype).float()
        ).sum(),
    )


def boxes(x, rows):
    logits, places = x[..., :4], x[..., 4:].sigmoid()
    given = LayerOutputs(logits[None], places[None], None, None, logits, places)
    targets = [
        {"labels": KLASS[row : row + 1] % 4, "boxes": torch.tensor([[0.2 + row / 20, 0.4, 0.2, 0.3]])}
        for row in rows.tolist()
    ]
    return total(detection.Objective()(given, targets))


def halves(x):
    """Queries, answers and negatives."""
    return x[:, 0], x[:, 1], x[:, 2:]


def pairs(x, rows, ranking):
    images, texts = Embeddings(x[:, 0], x[:, 1]), Embeddings(x[:, 2], x[:, 3])
    found = reid.batch_losses(images, texts, SCENE[rows], ranking, "identity")
    return sum(reid.objective(one, LABEL[rows], "mean") for one in found)


def square(x, rows, ranking):
    return reid.pair_losses(x[:, rows], SCENE[rows][:, None] == SCENE[rows], ranking).sum()


CASES = {
    "anomaly": {
        "mil_terms": Case((ROWS, 5), bags, "share"),
        "mil_terms paper": Case((ROWS, 5), lambda x, rows: bags(x, rows, variant="paper"), "share"),
        "rtfm_terms": Case((ROWS, 2, 4, 6), snippets),
        "rtfm_terms corrected": Case((ROWS, 2, 4, 6), lambda x, rows: snippets(x, rows, variant="corrected")),
    },
    "calibration": {
        **{name: objective(make) for name, make in objectives().items()},
        "mrl": Case(
            (ROWS, 4, 5), lambda x, rows: total(MRL(variant="elementwise", scores="probabilities")(outputs(x, rows, 1)))
        ),
        "mndcg": Case(
            (ROWS, 4, 5), lambda x, rows: calibration.mndcg(*outputs(x, rows, 3)[::2], outputs(x, rows, 3)[3])
        ),
    },
    "counting": {
        "count_errors": Case((ROWS, 1, 8, 8), lambda x, rows: counting.count_errors(x, LABEL[rows]).sum(), "density"),
        "variations": Case((ROWS, 1, 8, 8), lambda x, rows: counting.variations(x, cells(rows).to(x)).sum(), "density"),
        "labelled_terms": Case((ROWS, 3, 8, 8), lambda x, rows: labelled(x, rows, "paper"), "density"),
        "labelled_terms official": Case((ROWS, 3, 8, 8), lambda x, rows: labelled(x, rows, "official"), "density"),
        "unlabelled_terms": Case((ROWS, 3, 8, 8), lambda x, rows: unlabelled(x, rows, "paper"), "density"),
        "count_ranking": Case((ROWS, 5), lambda x, rows: counting.count_ranking([x, x], Hinge(), True), "density"),
        "official_consistency": Case(
            (ROWS, 3, 8, 8), lambda x, rows: counting.official_consistency(crops(x)), "density"
        ),
        "aligned_consistency": Case(
            (ROWS, 3, 8, 8), lambda x, rows: counting.aligned_consistency(maps(x), REGIONS), "density"
        ),
        "divergence": Case((ROWS, 1, 8, 8), lambda x, rows: counting.divergence(x, x.detach() + 1).sum(), "density"),
    },
    "detection": {
        **{name: entry(name) for name in ("giou_aware", "varifocal", "focal")},
        "Objective": Case((ROWS, 6, 8), boxes),
    },
    "ltr": {
        "objective": Case(
            (ROWS, 6), lambda x, rows: ltr.objective(x, torch.arange(6).expand(len(x), 6) % 3, x < torch.inf)
        ),
        "objective listnet": Case(
            (ROWS, 6), lambda x, rows: ltr.objective(x, torch.arange(6).expand(len(x), 6), x < torch.inf, ListNet())
        ),
    },
    "outfit": {
        "focal_loss": Case((ROWS,), lambda x, rows: outfit.focal_loss(x, LABEL[rows]), "share"),
        "focal_loss_with_logits": Case((ROWS,), lambda x, rows: outfit.focal_loss_with_logits(x, LABEL[rows])),
        "focal_loss_with_logits legacy": Case(
            (ROWS,), lambda x, rows: outfit.focal_loss_with_logits(x, LABEL[rows], variant="legacy")
        ),
        "compatibility_term": Case(
            (ROWS,), lambda x, rows: outfit.compatibility_term(x, LABEL[rows], 0.5, 2.0, "corrected")
        ),
        "set_wise_loss": Case((ROWS, 6, 4), lambda x, rows: outfit.set_wise_loss(*halves(x))),
        "in_batch_triplet": Case((ROWS, 2, 4), lambda x, rows: outfit.in_batch_triplet(x[:, 0], x[:, 1])),
        "sampled_term": Case(
            (ROWS, 6, 4), lambda x, rows: outfit.sampled_term(*halves(x), x[:, 2:, 0] < torch.inf, SetWise(margin=2.0))
        ),
        "batch_term": Case((ROWS, 2, 4), lambda x, rows: outfit.batch_term(x[:, 0], x[:, 1], KLASS[rows], SetWise())),
    },
    "quality": {
        "L1": Case((ROWS,), lambda x, rows: quality.L1()(x, SCORE[rows])),
        "L2": Case((ROWS,), lambda x, rows: quality.L2()(x, SCORE[rows])),
        "PLCC": Case((ROWS,), lambda x, rows: quality.PLCC()(x, SCORE[rows])),
        "objective": Case(
            (ROWS,), lambda x, rows: quality.objective(quality.paper_loss(), x, SCORE[rows], SCENE[rows])
        ),
    },
    "reid": {
        "TRL": Case((ROWS, ROWS), lambda x, rows: square(x, rows, reid.TRL())),
        "pair_losses": Case((ROWS, ROWS), lambda x, rows: square(x, rows, TripletAlignment())),
        "batch_losses": Case((ROWS, 4, 6), lambda x, rows: pairs(x, rows, TripletAlignment())),
    },
}
# of these the square of 1e30 leaves float32, before anything is compared
SQUARED = {"rtfm_terms", "rtfm_terms corrected", "official_consistency"}
SQUARED |= {"set_wise_loss", "in_batch_triplet", "sampled_term", "batch_term"}
ORDERED = {"rtfm_terms"}  # released: across the borders of neighbouring videos
PARTS = {
    "anomaly": {"weight_penalty"},
    "calibration": {"Outputs", "Objective", "top", "wide"},
    "counting": {"Weights", "Switches", "switches", "default_ranking", "uncertainty", "uncertain_distance"},
    "ltr": {"gather_queries"},
    "outfit": {"distances", "sampled_rows"},
    "quality": {"Regression", "plcc_loss", "paper_loss"},
    "reid": {"released_reduction", "released_positives", "positive_pairs", "objective", "gather_pairs"},
}
