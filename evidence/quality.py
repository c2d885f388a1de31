"""The claims of quality in miniature, on photographs with graded distortions: the tables of the card.

    python evidence/quality.py            # what is not finished yet
    python evidence/quality.py --plan     # the runs and an estimate
    python evidence/quality.py --card     # the tables from what is finished, no training

1. Scales. Every photograph's scores have a hidden factor and a hidden offset of their own. Fidelity and other losses
   over the pairs of a photograph, beside regression; every loss once more without the hidden scales.
2. Regions. Versions are distorted inside a window of a quarter of the photograph only, or outside of it only. The
   whole photograph, the window, or both branches of the network.
3. Photographs. The recipe quality/graded_flickr8k, trained whole; how often a distorted version of each of the 200
   held-out photographs scores below its original.

In 1 and 2 the backbones are EfficientNet-Lite0 with ImageNet weights and stay as they are: their features are
computed once, and the head of the network is trained on them, 5 seeds for each variant. Both questions are about
objectives and inputs, which the head sees just the same. Each variant's learning rate is the one of three with the
best SRCC on validation photographs, found with a seed of its own; the test photographs are used once, after the last
step. Intervals are bootstrapped over photographs (scenes), never over images.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from harness import FOLDER, ROOT, Table, data_root, machine, mean_std, run_all, write_card
from scipy.stats import spearmanr
from torch import Tensor

import zoo
from zoo.domains.quality import L1, L2, PLCC, GradedDistortions, objective, quarter_windows
from zoo.domains.quality.faces import COLUMNS
from zoo.domains.quality.loss import paper_loss
from zoo.domains.quality.network import Branches, DualBranch
from zoo.domains.quality.pairs import SceneOrder
from zoo.domains.quality.tables import write_table
from zoo.domains.quality.views import CENTRE
from zoo.metrics import bootstrap_interval
from zoo.ranking import Hinge, ListMLE, Logistic, ScoreLoss
from zoo.training import IMAGE_SUFFIXES, Split, read_image

CARD = ROOT / "zoo/domains/quality/README.md"
PHOTOGRAPHS = data_root() / "imagetext" / "flickr8k_1000"
KEPT = FOLDER / "quality"
ROWS, TUNING = FOLDER / "quality.csv", FOLDER / "quality_tuning.csv"
KEY = ("part", "variant", "seed", "lr")

BACKBONE = "tf_efficientnet_lite0"
SEEDS, TUNING_SEED = (0, 1, 2, 3, 4), 100
RATES = (1e-3, 3e-3, 1e-2)
STEPS, BATCH, PER_BATCH, DECAY = 400, 64, 8, 1e-4
SPREAD = (0.5, 3.0)  # of the logarithm of a photograph's factor, and of its offset, in levels
SPLITS: tuple[Split, ...] = ("train", "val", "test")
CHUNK = 10  # photographs whose features are one file
RECIPE, RUN = "quality/graded_flickr8k", FOLDER / "quality_graded"
SECONDS = 3.0  # of a run of the head, one core


@dataclass(frozen=True)
class Part:
    """Which photographs, versions and crops a part uses.

    Attributes:
        size: Side of the crops.
        count: Photographs of the training and of the test; a tenth of the former validates.
        options: Further arguments of the data.
    """

    size: int
    count: tuple[int, int]
    options: Mapping[str, Any]

    def data(self, split: Split) -> GradedDistortions:
        """The data of a split."""
        train, test = self.count
        count = {"train": train, "val": max(20, train // 10), "test": test}[split]
        return GradedDistortions(
            root=str(PHOTOGRAPHS), photographs=count, resize=self.size, crop=self.size, side=self.size, **self.options
        )


@dataclass(frozen=True)
class Variant:
    """One row of a table.

    Attributes:
        part: ``scales`` or ``regions``.
        loss: What the head is trained by.
        hidden: Whether the scores of a photograph are on a hidden scale.
        branches: Which features the head sees.
    """

    part: str
    loss: ScoreLoss
    hidden: bool = False
    branches: Branches = "full"


WINDOWS = KEPT / "windows.csv"
PARTS = {
    "scales": Part(96, (120, 100), {}),
    "regions": Part(
        160,
        (60, 60),
        {"kinds": ["blur", "noise", "jpeg"], "where": "window", "faces": "csv", "boxes": str(WINDOWS.absolute())},
    ),
}
VARIANTS = {
    "L1": Variant("scales", L1(), True),
    "L2": Variant("scales", L2(), True),
    "PLCC of the batch": Variant("scales", PLCC(), True),
    "fidelity": Variant("scales", paper_loss(), True),
    "hinge": Variant("scales", Hinge(), True),
    "logistic (RankNet)": Variant("scales", Logistic(), True),
    "ListMLE": Variant("scales", ListMLE(), True),
    "L1, no hidden scales": Variant("scales", L1()),
    "fidelity, no hidden scales": Variant("scales", paper_loss()),
    "full": Variant("regions", paper_loss(), branches="full"),
    "region": Variant("regions", paper_loss(), branches="face"),
    "full + region": Variant("regions", paper_loss(), branches="both"),
}


@dataclass(frozen=True)
class Features:
    """Features of all versions of the photographs of a split.

    Attributes:
        full: ``(N, D)`` of the whole photograph.
        face: ``(N, D)`` of its window, ``(N, 0)`` where there are none.
        level: ``(N,)``.
        scene: ``(N,)`` number of the photograph.
        names: ``(N,)`` ids.
    """

    full: Tensor
    face: Tensor
    level: Tensor
    scene: Tensor
    names: list[str]


def write_windows() -> None:
    """A seeded window of a quarter of every photograph."""
    files = sorted(file for file in PHOTOGRAPHS.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    boxes = quarter_windows([tuple(read_image(file).shape[1:]) for file in files], seed=0)
    names = (file.relative_to(PHOTOGRAPHS).as_posix() for file in files)
    write_table(WINDOWS, COLUMNS, ([name, *box] for name, box in zip(names, boxes, strict=True)))


@cache
def backbone() -> torch.nn.Module:
    """EfficientNet-Lite0 with ImageNet weights, pooled."""
    found = DualBranch(BACKBONE, True, "full", liqe=False).full
    assert found is not None
    return found.eval()


@torch.no_grad()
def _chunk(items: Any, indices: range, windows: bool) -> dict[str, np.ndarray]:
    """Features of some items: the square that training sees first, the centre in an evaluation."""
    rows = [items[0, index] for index in indices]
    views = {
        name: torch.stack([row[name] if row[name].ndim == 3 else row[name][CENTRE] for row in rows])
        for name in ("image", "face")
    }
    full = torch.cat([backbone()(part) for part in views["image"].split(32)])
    face = torch.cat([backbone()(part) for part in views["face"].split(32)]) if windows else full[:, :0]
    names = [row["id"] for row in rows]
    return {"full": full.numpy(), "face": face.numpy(), "names": np.array(names)}


@cache
def features(part: str, split: Split) -> Features:
    """Computes the features that are not on the disk yet, ten photographs a file."""
    if part == "regions" and not WINDOWS.is_file():
        write_windows()
    items = PARTS[part].data(split).items(split)
    graded: Any = items.items
    versions = len(graded.made)
    chunks = []
    for first in range(0, len(items), CHUNK * versions):
        file = KEPT / f"{part}_{split}_{first // versions:04d}.npz"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            working = file.with_suffix(".part.npz")
            rows = range(first, min(len(items), first + CHUNK * versions))
            np.savez(working, **_chunk(items, rows, part == "regions"))
            working.replace(file)
        with np.load(file) as stored:
            chunks.append({name: stored[name] for name in stored.files})
    names = [str(name) for chunk in chunks for name in chunk["names"]]
    level = [0 if name.endswith("#clean") else int(name.partition("#")[2].split("-")[1]) for name in names]
    return Features(
        *(torch.from_numpy(np.concatenate([chunk[name] for chunk in chunks])) for name in ("full", "face")),
        torch.tensor(level, dtype=torch.float32),
        torch.arange(len(names)) // versions,
        names,
    )


def hidden_scores(level: Tensor, scene: Tensor) -> Tensor:
    """Minus the level, times a factor and plus an offset of the photograph."""
    rng = np.random.default_rng(0)
    draws = torch.from_numpy(rng.normal(size=(int(scene.max()) + 1, 2))).float()
    factor, offset = torch.exp(SPREAD[0] * draws[:, 0]), SPREAD[1] * draws[:, 1]
    return offset[scene] - factor[scene] * level


def _inputs(found: Features, branches: Branches) -> Tensor:
    chosen = {"full": [found.full], "face": [found.face], "both": [found.full, found.face]}[branches]
    return torch.cat(chosen, dim=1)


def train(run: Mapping[str, Any]) -> torch.nn.Module:
    """Trains the head of the network on the features of the training photographs."""
    variant, seed = VARIANTS[run["variant"]], int(run["seed"])
    found = features(variant.part, "train")
    inputs = _inputs(found, variant.branches)
    target = hidden_scores(found.level, found.scene) if variant.hidden else -found.level
    torch.manual_seed(seed)
    head = DualBranch(BACKBONE, False, variant.branches, liqe=False).head
    mean, spread = inputs.mean(0), inputs.std(0) + 1e-6
    optimizer = torch.optim.AdamW(head.parameters(), lr=float(run["lr"]), weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    order = SceneOrder([str(int(scene)) for scene in found.scene], BATCH, seed, per_batch=PER_BATCH, steps=STEPS)
    for batch in order.global_batches(0):
        rows = torch.from_numpy(batch % len(inputs))
        scores = head((inputs[rows] - mean) / spread).squeeze(-1)
        loss = objective(variant.loss, scores, target[rows], found.scene[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return torch.nn.Sequential(_Standardise(mean, spread), head).eval()


class _Standardise(torch.nn.Module):
    """``(x - mean) / spread`` by the training features."""

    def __init__(self, mean: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.mean, self.spread = mean, spread

    def forward(self, inputs: Tensor) -> Tensor:
        """``(N, D)``."""
        return (inputs - self.mean) / self.spread


@torch.no_grad()
def per_scene(head: torch.nn.Module, part: str, split: Split, branches: Branches) -> np.ndarray:
    """SRCC of each photograph; hidden scales do not change it."""
    found = features(part, split)
    scores = head(_inputs(found, branches)).squeeze(-1).numpy()
    level, scene = found.level.numpy(), found.scene.numpy()
    return np.array([spearmanr(scores[scene == one], -level[scene == one]).statistic for one in np.unique(scene)])


def tune(run: Mapping[str, Any]) -> dict[str, Any]:
    """Validation SRCC of a learning rate."""
    variant = VARIANTS[run["variant"]]
    return {"val_srcc": float(per_scene(train(run), variant.part, "val", variant.branches).mean())}


def measure(run: Mapping[str, Any]) -> dict[str, Any]:
    """Test SRCC, and that of every photograph."""
    variant = VARIANTS[run["variant"]]
    found = per_scene(train(run), variant.part, "test", variant.branches)
    return {"test_srcc": float(found.mean()), "per_scene": " ".join(f"{value:.5f}" for value in found)}


def tuning_runs() -> list[dict[str, Any]]:
    """Three learning rates for each variant."""
    return [
        {"part": variant.part, "variant": name, "seed": TUNING_SEED, "lr": rate}
        for name, variant in VARIANTS.items()
        for rate in RATES
    ]


def measured_runs(tuning: Table) -> list[dict[str, Any]]:
    """Five seeds of each variant at its best learning rate."""
    table = tuning.frame(tuning_runs())
    best = table.loc[table.groupby("variant")["val_srcc"].idxmax()].set_index("variant")["lr"]
    return [
        {"part": variant.part, "variant": name, "seed": seed, "lr": float(best[name])}
        for name, variant in VARIANTS.items()
        for seed in SEEDS
    ]


def scenes_of(table: pd.DataFrame, variant: str) -> np.ndarray:
    """Mean over seeds of each photograph's SRCC, ``(scenes,)``."""
    rows = table.loc[table["variant"] == variant, "per_scene"]
    return np.array([[float(value) for value in str(row).split()] for row in rows]).mean(0)


def against(table: pd.DataFrame, variant: str, other: str) -> str:
    """Difference of two variants with its 95 % interval over photographs, in points."""
    difference = 100 * (scenes_of(table, variant) - scenes_of(table, other))
    low, high = bootstrap_interval(lambda drawn: float(difference[drawn].mean()), len(difference), 10_000)
    return f"{difference.mean():+.2f} [{low:+.2f}, {high:+.2f}]"


def claim_table(table: pd.DataFrame, part: str, reference: str, title: str) -> list[str]:
    """Rows of a table: SRCC of each variant, and its difference from a reference."""
    lines = [
        f"| {title} | learning rate | mean per-scene SRCC, % | against {reference}, 95 % interval |",
        "|---|---|---|---|",
    ]
    for name, variant in VARIANTS.items():
        if variant.part != part:
            continue
        rows = table.loc[table["variant"] == name]
        compared = "" if name == reference or "no hidden" in name else against(table, name, reference)
        reached = mean_std(list(100 * rows["test_srcc"].astype(float)))
        lines.append(f"| {name} | {rows['lr'].iloc[0]:g} | {reached} | {compared} |")
    return lines


def photographs(plan_only: bool) -> pd.DataFrame | None:
    """Trains the recipe once and scores every version of the held-out photographs; None where that is not done yet."""
    outputs = RUN / "rows.csv"
    if not outputs.is_file() and not plan_only:
        if not (RUN / "best.ckpt").is_file() or not (RUN / ".trained").is_file():
            zoo.train(RECIPE, {"data.root": str(PHOTOGRAPHS)}, name="evidence/quality_graded", resume=RUN.is_dir())
            (RUN / ".trained").touch()
        working = RUN / "rows.part.csv"
        zoo.evaluate(RUN, {"data.root": str(PHOTOGRAPHS), "data.photographs": 200}, predictions=working)
        working.rename(outputs)
    return pd.read_csv(outputs) if outputs.is_file() else None


def below_table(rows: pd.DataFrame) -> list[str]:
    """Share of the photographs whose distorted version scores below the original, by distortion and level."""
    photo, label = (rows["id"].str.rpartition("#")[column] for column in (0, 2))
    table = pd.DataFrame({"photo": photo, "label": label, "score": rows["score"]})
    wide = table.pivot(index="photo", columns="label", values="score")
    kinds = list(dict.fromkeys(name.partition("-")[0] for name in wide.columns if name != "clean"))
    lines = ["| % below the original | level 1 | level 2 | level 3 | level 4 | level 5 |", "|---|---|---|---|---|---|"]
    for kind in kinds:
        shares = [100 * float((wide[f"{kind}-{level}"] < wide["clean"]).mean()) for level in range(1, 6)]
        lines.append(f"| {kind} | " + " | ".join(f"{share:.1f}" for share in shares) + " |")
    srcc = [
        spearmanr(group["score"], [0 if name == "clean" else -int(name.split("-")[1]) for name in group["label"]])
        for _, group in table.groupby("photo")
    ]
    values = np.array([float(found.statistic) for found in srcc])
    low, high = bootstrap_interval(lambda drawn: float(values[drawn].mean()), len(values), 10_000)
    lines += ["", f"Mean per-photograph SRCC of all 36 versions: {values.mean():.3f} [{low:.3f}, {high:.3f}], "
                  f"{len(wide)} photographs, centre crop, seed 0."]  # fmt: skip
    return lines


def card(tuning: Table, measured: Table, rows: pd.DataFrame | None) -> str:
    """The text between the card's marks, of what is finished."""
    lines = []
    if all(tuning.has(run) for run in tuning_runs()):
        runs = measured_runs(tuning)
        table = measured.frame(runs)
        for part, reference, title in (("scales", "L1", "trained by"), ("regions", "full", "branches")):
            if all(measured.has(run) for run in runs if run["part"] == part):
                lines += [*claim_table(table, part, reference, title), ""]
    if rows is not None:
        lines += [*below_table(rows), ""]
    count = len(tuning.rows) + len(measured.rows)
    foot = f"{machine()}; {count} runs of the head, {STEPS} steps each. Command: `make evidence-quality`."
    return "\n".join([*lines, foot])


def main() -> None:
    """Does what is asked for on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plan", action="store_true", help="print the runs and an estimate only")
    parser.add_argument("--card", action="store_true", help="write the card from what is finished")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    tuning, measured = Table(TUNING, KEY), Table(ROWS, KEY)
    only = args.plan or args.card
    if args.plan:
        print("features: about 4 minutes, kept in runs/evidence/quality; photographs: one training, about 5 minutes")
    if run_all(tuning, tuning_runs(), tune, SECONDS, only) and not only:
        run_all(measured, measured_runs(tuning), measure, SECONDS)
    rows = photographs(only)
    if not args.plan:
        text = card(tuning, measured, rows)
        print(text)
        write_card(CARD, text)


if __name__ == "__main__":
    main()
