"""The claim of Rank-DETR in miniature, and blood cells: the tables of the card.

    python evidence/detection.py            # what is not finished yet
    python evidence/detection.py --plan     # the runs and an estimate
    python evidence/detection.py --card     # the tables from what is finished, no training

1. Shapes. Synthesized images of 96 pixels: the baseline (H-Deformable-DETR with its tricks), the baseline with each of
   the four parts of the method alone, and all four; 3 seeds.
2. BCCD. Blood cells at 256 pixels, 60 + 120 queries, baseline and all four parts; 3 seeds, official splits. The
   detections of seed 0 on test images are drawn into runs/evidence/detection_bccd.png.

Every run of a part has the same number of steps, so the same budget. The backbone is EfficientNet-Lite0 with ImageNet
weights and stays as it is: its maps of every image and of its mirrored versions are computed once, and neck,
transformer and heads are trained on them. Nothing is chosen by the test images: the figures are those after the last
step.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from harness import FOLDER, ROOT, Table, data_root, machine, mean_std, run_all, write_card
from torch import Tensor, nn
from torchmetrics import MetricCollection

from zoo.domains.detection import BCCD, Detected, RankDETR, RankDETRNetwork, Shapes
from zoo.domains.detection.data import DetectionData
from zoo.domains.detection.evaluation import COCOFigures, detect, found_objects
from zoo.domains.detection.picture import draw_batch
from zoo.metrics import RankQuality

CARD = ROOT / "zoo/domains/detection/README.md"
ROWS, PICTURE = FOLDER / "detection.csv", FOLDER / "detection_bccd.png"
KEY = ("part", "variant", "seed")
SEEDS = (0, 1, 2)
BACKBONE = "tf_efficientnet_lite0"
FIGURES = ("ap", "ap50", "ap75", "ap90", "score_iou_correlation", "misranked_pairs")
TITLES = ("AP", "AP50", "AP75", "AP90", "score-IoU rank correlation", "misranked pairs, %")

BASELINE: dict[str, Any] = {
    "rank_adaptive_head": False,
    "query_rank_layer": False,
    "classification": "focal",
    "high_order_cost": False,
}
ADDED: dict[str, dict[str, Any]] = {
    "baseline": {},
    "+ rank-adaptive head": {"rank_adaptive_head": True},
    "+ query rank layer": {"query_rank_layer": True},
    "+ GIoU-aware loss": {"classification": "giou"},
    "+ high-order cost": {"high_order_cost": True},
    "all": {"rank_adaptive_head": True, "query_rank_layer": True, "classification": "giou", "high_order_cost": True},
}


@dataclass(frozen=True)
class Part:
    """One half of the evidence.

    Attributes:
        variants: Rows of its table.
        steps: Of every run.
        batch: Images per step.
        lr: Learning rate; a tenth of it for the last fifth of the steps.
        seconds: Of a run, about.
        model: Arguments of the network.
    """

    variants: tuple[str, ...]
    steps: int
    batch: int
    lr: float
    seconds: float
    model: Mapping[str, Any]


PARTS = {
    "shapes": Part(
        tuple(ADDED), 1200, 8, 1e-3, 240.0,
        {"num_classes": 4, "encoder_layers": 1, "decoder_layers": 3, "ffn_dim": 256, "queries_one2one": 30,
         "queries_one2many": 60, "k_one2many": 3, "width": 128, "heads": 8},
    ),
    "bccd": Part(
        ("baseline", "all"), 700, 4, 1e-3, 300.0,
        {"num_classes": 3, "encoder_layers": 1, "decoder_layers": 3, "ffn_dim": 256, "queries_one2one": 60,
         "queries_one2many": 120, "k_one2many": 3, "width": 128, "heads": 8},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """Images of a split whose maps are known, in every mirrored version.

    Attributes:
        maps: Three of ``(N, V, C, h, w)`` in half precision.
        targets: ``labels`` and ``boxes`` of each image, unmirrored.
        truth: What is annotated, in pixels.
        batch: Size ``(H, W)`` of what the maps were computed from.
        original: ``(N, 2)``.
    """

    maps: tuple[Tensor, ...]
    targets: list[dict[str, Tensor]]
    truth: list[dict[str, Tensor]]
    batch: tuple[int, int]
    original: Tensor


class Maps(nn.Module):
    """A backbone that gives what it was handed before; see the head of this file."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = channels
        self.now: tuple[Tensor, ...] = ()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The maps of the batch."""
        return self.now


def data(part: str) -> DetectionData:
    """The images; all of a part are of one size."""
    if part == "shapes":
        return Shapes(synthesize=True, side=96, images=800)
    return BCCD(root=str(data_root() / "detection" / "bccd"), test_size=256, test_longest=384)


@cache
def backbone() -> RankDETRNetwork:
    """A network of which the backbone alone is used."""
    return RankDETRNetwork(BACKBONE, 4, 0, 1, 8, 1, 0, width=8, heads=1, pretrained=True, freeze_backbone=True).eval()


@cache
def stored(part: str, split: str) -> Stored:
    """Computes the maps of a split; training images of blood cells are mirrored both ways, shapes left and right."""
    found = data(part)
    known = found.read(found.folder(), "test" if split == "test" else "val" if split == "val" else "train")
    known.training = False  # type: ignore[attr-defined]
    items = [known.item(index, np.random.default_rng(0)) for index in range(len(known))]
    images = torch.stack([item["image"] for item in items])
    flips = versions(part) if split == "train" else versions("none")
    parts: list[list[Tensor]] = [[], [], []]
    with torch.no_grad():
        for chunk in images.split(16):
            pixels = (chunk.float() - backbone().mean) / backbone().std
            given = [backbone().backbone(pixels.flip(flip) if flip else pixels) for flip in flips]
            for level in range(3):
                parts[level].append(torch.stack([maps[level] for maps in given], 1).half())
    height, width = images.shape[-2:]
    return Stored(
        tuple(torch.cat(level) for level in parts),
        [item["targets"] for item in items],
        [item["truth"] for item in items],
        (int(height), int(width)),
        torch.stack([item["original"] for item in items]),
    )


def versions(part: str) -> list[tuple[int, ...]]:
    """Dimensions of ``(B, 3, H, W)`` along which a version is mirrored."""
    return {"shapes": [(), (3,)], "bccd": [(), (2,), (3,), (2, 3)], "none": [()]}[part]


def mirrored(boxes: Tensor, flip: tuple[int, ...]) -> Tensor:
    """``(N, 4)`` cx, cy, w, h of a mirrored image."""
    places = boxes.clone()
    if 3 in flip:
        places[:, 0] = 1 - places[:, 0]
    if 2 in flip:
        places[:, 1] = 1 - places[:, 1]
    return places


def build(part: str, variant: str, seed: int) -> RankDETR:
    """The network over stored maps."""
    torch.manual_seed(seed)
    channels = tuple(level.shape[2] for level in stored(part, "train").maps)
    return RankDETR(Maps(channels), **PARTS[part].model, **{**BASELINE, **ADDED[variant]})


def train(part: str, variant: str, seed: int) -> RankDETR:
    """Trains a variant."""
    setting, known, module = PARTS[part], stored(part, "train"), build(part, variant, seed)
    flips = versions(part)
    rng = np.random.default_rng(seed)
    parameters = list(module.parameters())
    slow = [value for name, value in module.named_parameters() if "sampling_offsets" in name]
    rest = [value for name, value in module.named_parameters() if "sampling_offsets" not in name]
    groups = [{"params": rest, "scale": 1.0}, {"params": slow, "scale": 0.1}]
    optimizer = torch.optim.AdamW(groups, lr=setting.lr, weight_decay=1e-4)
    images = torch.zeros(setting.batch, 3, *known.batch)
    order = np.empty(0, dtype=int)
    module.train()
    for step in range(setting.steps):
        if len(order) < setting.batch:
            order = np.concatenate([order, rng.permutation(len(known.targets))])
        rows, order = order[: setting.batch], order[setting.batch :]
        kinds = rng.integers(len(flips), size=setting.batch)
        module.network.backbone.now = tuple(level[rows, kinds].float() for level in known.maps)
        targets = [
            {"labels": known.targets[row]["labels"], "boxes": mirrored(known.targets[row]["boxes"], flips[kind])}
            for row, kind in zip(rows.tolist(), kinds.tolist(), strict=True)
        ]
        rate = setting.lr * min(1.0, (step + 1) / 50) * (1.0 if step < 0.8 * setting.steps else 0.1)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        high = module.high_order_cost and step >= 0.75 * setting.steps
        loss = torch.stack(list(module.objective(module.network.layers(images), targets, high).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 0.1)
        optimizer.step()
    return module.eval()


@torch.no_grad()
def detections(module: RankDETR, known: Stored, inside: bool = False) -> list[Detected]:
    """Detections of every image, in pixels of the files, or (``inside``) of what the network saw."""
    found = []
    for rows in torch.arange(len(known.targets)).split(16):
        module.network.backbone.now = tuple(level[rows, 0].float() for level in known.maps)
        output = module.network(torch.zeros(len(rows), 3, *known.batch))
        for row, logits, boxes in zip(rows.tolist(), output.logits, output.boxes, strict=True):
            size = known.batch if inside else known.original[row].tolist()
            found.append(detect(logits, boxes, size, names=list(data_names(module))))
    return found


def data_names(module: RankDETR) -> list[str]:
    """Names of the classes."""
    return module.class_names or [str(number) for number in range(module.network.num_classes)]


def measure(run: Mapping[str, Any]) -> dict[str, Any]:
    """Figures on the test images after the last step."""
    part, variant, seed = str(run["part"]), str(run["variant"]), int(run["seed"])
    stored(part, "train")
    module, known = train(part, variant, seed), stored(part, "test")
    metrics = MetricCollection({"coco": COCOFigures(), "rank": RankQuality()}, compute_groups=False)
    for found, truth in zip(detections(module, known), known.truth, strict=True):
        metrics["coco"].update([{"boxes": found.boxes, "scores": found.scores, "labels": found.labels}], [truth])
        metrics["rank"].update(*found_objects(found, truth))
    if (part, variant, seed) == ("bccd", "all", 0):
        draw(module, known)
    values = metrics.compute()
    return {name: float(values[name]) for name in FIGURES}


def draw(module: RankDETR, known: Stored, threshold: float = 0.3) -> None:
    """Twelve test images with what is annotated and what is found."""
    from matplotlib import pyplot

    found = data("bccd")
    module.set_classes(found.class_names)
    items = found.items("test")
    rows = np.linspace(0, len(items) - 1, 12).round().astype(int).tolist()
    batch = found.collate([items[(0, row)] for row in rows])
    seen = [detections(module, known, inside=True)[row] for row in rows]
    kept = [one.scores >= threshold for one in seen]
    drawn = [
        Detected(one.boxes[keep], one.scores[keep], one.labels[keep], one.class_names[: int(keep.sum())])
        for one, keep in zip(seen, kept, strict=True)
    ]
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure = draw_batch(batch, drawn, threshold)
    figure.savefig(PICTURE, dpi=110)
    pyplot.close(figure)


def runs(part: str) -> list[dict[str, Any]]:
    """Every variant of a part, seed by seed, so that an early stop leaves whole rounds."""
    return [{"part": part, "variant": name, "seed": seed} for seed in SEEDS for name in PARTS[part].variants]


def table(part: str, rows: Table) -> list[str]:
    """The table of a part, of what is finished."""
    frame = rows.frame(runs(part))
    if not len(frame):
        return []
    lines = [f"| {'BCCD, test' if part == 'bccd' else 'shapes, test'} | seeds | " + " | ".join(TITLES) + " |"]
    lines.append("|---" * (2 + len(TITLES)) + "|")
    for name in PARTS[part].variants:
        own = frame.loc[frame["variant"] == name]
        if len(own):
            scales = [1 if "correlation" in figure else 100 for figure in FIGURES]
            digits = [3 if scale == 1 else 1 for scale in scales]
            cells = [
                mean_std(list(scale * own[figure].astype(float)), places)
                for figure, scale, places in zip(FIGURES, scales, digits, strict=True)
            ]
            lines.append(f"| {name} | {len(own)} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def card(rows: Table) -> str:
    """The text between the card's marks."""
    lines = [line for part in PARTS for line in table(part, rows)]
    steps = ", ".join(f"{part} {setting.steps} steps of {setting.batch} images" for part, setting in PARTS.items())
    return "\n".join([*lines, f"{machine()}; {len(rows.rows)} runs: {steps}. Command: `make evidence-detection`."])


def main() -> None:
    """Does what is asked for on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plan", action="store_true", help="print the runs and an estimate only")
    parser.add_argument("--card", action="store_true", help="write the card from what is finished")
    parser.add_argument("--threads", type=int, default=2, help="of the processor; 2 by default")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    rows = Table(ROWS, KEY)
    for part, setting in PARTS.items():
        run_all(rows, runs(part), measure, setting.seconds, args.plan or args.card)
    if not args.plan:
        text = card(rows)
        print(text)
        write_card(CARD, text)


if __name__ == "__main__":
    main()
