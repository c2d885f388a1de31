"""The paper's claims in miniature, on MANGO's stylist-made outfits with frozen cached features.

    python evidence/outfit.py          all of it; finished rows in runs/evidence are kept when it is started again
    python evidence/outfit.py --plan   the runs and the estimate only
    python evidence/outfit.py --seeds 1 --versions nondisjoint      a part of it; the card is not written

Questions: (a) does the set-wise outfit ranking loss beat a pairwise triplet loss, (b) does compatibility pre-training
help retrieval, (c) does a curriculum from coarse to fine negatives help?

For each version of the split and each seed a network is trained for compatibility; from its weights (or from its own
random start) the same network is trained for retrieval in several ways, each for the same number of epochs. The epoch
with the best validation figure is tested once. Nothing is selected on the test split; learning rate and length were
fixed before the first run and are the same for all. Rows: runs/evidence/outfit.csv; a page of completed
outfits: runs/evidence/outfit_completed_*.png. The table goes into the card, zoo/domains/outfit/README.md.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from harness import FOLDER, ROOT, Table, data_root, machine, mean_std, run_all, write_card
from lightning.pytorch.callbacks import Callback
from torch.nn.functional import normalize

from zoo.domains.outfit import MANGO, ItemEncoder, OutfitTransformer
from zoo.domains.outfit.evaluation import DEPTHS, blank_credit, gallery_ranks
from zoo.domains.outfit.picture import GOOD, Line, Shown, draw
from zoo.domains.outfit.samples import BLANK, GALLERY, LABELLED
from zoo.metrics import bootstrap_interval, roc_auc
from zoo.ranking import SetWise, SimilarityLoss, Triplet
from zoo.training import OneCycle
from zoo.training.fit import build_trainer, quiet

CARD = ROOT / "zoo" / "domains" / "outfit" / "README.md"
SEEDS, VERSIONS = (0, 1, 2, 3, 4), ("nondisjoint", "disjoint")
EPOCHS, BATCH, RATE, GALLERY_SIZE, NEGATIVES = 6, 64, 1e-3, 100, 10
SECONDS = 30.0  # of one run, on one busy core
KEY = ("version", "seed", "variant")
COMPATIBILITY = "compatibility"
FINE = [{"level": "fine"}]
COARSE_TO_FINE = [{"level": "coarse"}, {"level": "fine", "from_epoch": EPOCHS // 2}]

# variant: loss, negatives, pool, curriculum, from the compatibility network?
VARIANTS: dict[str, tuple[SimilarityLoss, int, str, list[dict[str, Any]], bool]] = {
    "set-wise": (SetWise(margin=2.0), NEGATIVES, "sampled", FINE, True),
    "pairwise triplet, one negative": (Triplet(margin=2.0, mining="all"), 1, "sampled", FINE, True),
    "pairwise triplet, ten negatives": (Triplet(margin=2.0, mining="all"), NEGATIVES, "sampled", FINE, True),
    "hardest triplet in the batch": (Triplet(margin=2.0, mining="hardest"), 0, "batch", FINE, True),
    "set-wise, no pre-training": (SetWise(margin=2.0), NEGATIVES, "sampled", FINE, False),
    "set-wise, coarse to fine": (SetWise(margin=2.0), NEGATIVES, "sampled", COARSE_TO_FINE, True),
}

_READ: dict[str, Any] = {}


def encoder() -> ItemEncoder:
    """ImageNet features of the pictures and hashed attribute words, as in recipes/outfit/outfittransformer_mango."""
    return ItemEncoder("tf_efficientnet_lite0", True, 160, "words", 128)


def data_of(version: str, task: str, seed: int, negatives: int = NEGATIVES, curriculum: Any = None) -> MANGO:
    """The data of one run; split and questions do not depend on the seed."""
    data = MANGO(
        str(data_root() / "outfit" / "mango_outfits"), BATCH, task=task, encoder=encoder(), negatives=negatives,
        curriculum=curriculum, gallery=0 if task == COMPATIBILITY else GALLERY_SIZE, version=version,
    )  # fmt: skip
    data.seed = seed
    if version in _READ:  # files, split and features are read once
        data._read, data._table, data._targets = _READ[version]
    else:
        data.table(data.folder())
        _READ[version] = data._read, data._table, data._targets
    return data


class Features(torch.nn.Module):
    """Stands in for the picture network: features are cached, so no run has to carry one."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Never asked."""
        raise RuntimeError("features are cached")


def module_of(ranking: SimilarityLoss, pool: str, monitor: str) -> OutfitTransformer:
    """A fresh network; the picture network is left out, since features are cached."""
    items = encoder()
    items.build = Features  # type: ignore[method-assign,assignment]
    module = OutfitTransformer(
        "paper", items, half=64, layers=2, heads=8, ffn=256, dropout=0.2, norm_first=True, ranking=ranking, pool=pool,
        monitor=monitor,
    )  # fmt: skip
    module.optimizer = partial(torch.optim.AdamW, lr=RATE)
    module.lr_scheduler = partial(OneCycle)
    return module


class KeepBest(Callback):
    """Keeps the weights of the best validation in memory."""

    def __init__(self, monitor: str) -> None:
        self.monitor, self.value, self.epoch, self.weights = monitor, -1.0, -1, dict[str, torch.Tensor]()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the weights if they are the best so far."""
        value = float(trainer.callback_metrics[self.monitor])
        if value > self.value:
            self.value, self.epoch = value, trainer.current_epoch
            self.weights = {name: tensor.clone() for name, tensor in pl_module.state_dict().items()}


def weights_file(version: str, seed: int) -> Path:
    """Where the compatibility network of a seed lies."""
    return FOLDER / "outfit_compatibility" / f"{version}_{seed}.pt"


def train(run: Mapping[str, Any]) -> dict[str, Any]:
    """Trains and tests one variant; gives its row."""
    version, seed, variant = run["version"], run["seed"], run["variant"]
    pl.seed_everything(seed, verbose=False)
    if variant == COMPATIBILITY:
        data, monitor = data_of(version, COMPATIBILITY, seed), "val/auc"
        module = module_of(SetWise(), "sampled", monitor)
    else:
        loss, negatives, pool, curriculum, pretrained = VARIANTS[variant]
        data, monitor = data_of(version, "retrieval", seed, negatives, curriculum), "val/fitb"
        module = module_of(loss, pool, monitor)
        if pretrained:
            module.load_state_dict(torch.load(weights_file(version, seed), weights_only=True))
    best = KeepBest(monitor)
    settings = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
                "num_sanity_val_steps": 0, "max_epochs": EPOCHS, "callbacks": [best]}  # fmt: skip
    trainer = build_trainer(settings)
    trainer.fit(module, datamodule=data)
    module.load_state_dict(best.weights)
    module.rows = []
    trainer.test(module, datamodule=data, verbose=False)
    if variant == COMPATIBILITY:
        weights_file(version, seed).parent.mkdir(parents=True, exist_ok=True)
        torch.save(best.weights, weights_file(version, seed))
    elif variant == "set-wise" and seed == SEEDS[0]:
        page(module, data, FOLDER / f"outfit_completed_{version}.png")
    found = module.results
    names = ("auc", "auc_same_length", "length_correlation_compatible", "fitb", *(f"recall{k}" for k in DEPTHS))
    credit = " ".join(f"{row['credit']:g}" for row in module.rows if "credit" in row)
    figures = {name: found.get(name, float("nan")) for name in names}
    return {"best_epoch": best.epoch, "val": best.value, **figures, "credit": credit}


def baselines(version: str) -> dict[str, dict[str, float]]:
    """Figures that need no training: guessing, how often an item is worn in training, similarity of the features."""
    data = data_of(version, "joint", 0)
    samples, table = data.items("test").items.samples, data.items("test").items.table
    worn = Counter(number for outfit in data.whole(data.folder()).outfits["train"] for number in outfit.items)
    popularity = torch.tensor([float(worn[number]) for number in range(len(table.catalogue.items))])
    image, text = (normalize(torch.from_numpy(part), dim=1) for part in (table.image, table.text))
    units = torch.cat([image, text], 1) / 2**0.5

    def alike(items: tuple[int, ...]) -> float:
        rows = units[list(items)]
        count = len(items)
        return float((rows @ rows.T).sum() - count) / max(1, count * (count - 1))

    def nearest(items: tuple[int, ...], candidates: list[int]) -> torch.Tensor:
        return -(units[candidates] @ units[list(items)].mean(0))

    scorers = {
        "item popularity": (lambda items: float(popularity[list(items)].mean()), lambda _, c: -popularity[c]),
        "mean pairwise similarity": (alike, nearest),
    }
    galleries: dict[int, list[int]] = {}
    for sample in samples:
        if sample.kind == GALLERY:
            galleries.setdefault(sample.gallery, []).append(sample.items[0])
    chance = {"auc": 0.5, "fitb": 0.25, **{f"recall{k}": k / GALLERY_SIZE for k in DEPTHS}}
    result = {"guessing": chance}
    for name, (score, distance) in scorers.items():
        labelled = [sample for sample in samples if sample.kind == LABELLED]
        blanks = [sample for sample in samples if sample.kind == BLANK]
        scores = torch.tensor([score(sample.items) for sample in labelled])
        found = {"auc": float(roc_auc(scores, torch.tensor([sample.label for sample in labelled])))}
        credit = [
            blank_credit(distance(s.items, list(s.candidates))[None], torch.ones(1, len(s.candidates)).bool(),
                         torch.tensor([s.correct]))
            for s in blanks
        ]  # fmt: skip
        found["fitb"] = float(torch.cat(credit).mean())
        ranks = []
        for sample in blanks:
            if sample.gallery >= 0:
                items = galleries[sample.gallery]
                away = distance(sample.items, items).unsqueeze(1)
                wanted = torch.tensor([sample.candidates[sample.correct]])
                away = away - away.min()  # as one-dimensional places, the query at 0
                ranks.append(gallery_ranks(torch.zeros(1, 1), away, wanted, torch.tensor(items)))
        above, level = (torch.cat(part) for part in zip(*ranks, strict=True))
        found |= {f"recall{k}": float(((k - above) / level).clamp(0, 1).mean()) for k in DEPTHS}
        result[name] = found
    return result


@torch.no_grad()
def page(module: OutfitTransformer, data: MANGO, file: Path) -> None:
    """Outfits of the test part with a piece taken out, and the five nearest pieces of its category's gallery."""
    samples, table = data.items("test").items.samples, data.items("test").items.table
    asked = [sample for sample in samples if sample.kind == BLANK and sample.gallery >= 0]
    chosen = [asked[place] for place in np.linspace(0, len(asked) - 1, 8).round().astype(int)]
    both = torch.from_numpy(np.concatenate([table.image, table.text], 1))
    shown = lambda number: Shown(table.catalogue.items[number].image, table.catalogue.items[number].text)  # noqa: E731
    lines = []
    for sample in chosen:
        items = [s.items[0] for s in samples if s.kind == GALLERY and s.gallery == sample.gallery]
        right = sample.candidates[sample.correct]
        target = table.catalogue.items[right].category
        gallery = module.index(both[items])
        found = module.retrieve(both[list(sample.items)], target, gallery, GALLERY_SIZE)
        order = [items[place] for place in found.places.tolist()]
        more = [shown(number)._replace(mark=GOOD if number == right else "") for number in order[:5]]
        more.append(shown(right)._replace(note=f"worn: place {order.index(right) + 1}", mark=GOOD))
        lines.append(Line(f"{target} for", [shown(number) for number in sample.items], more))
    file.parent.mkdir(parents=True, exist_ok=True)
    draw(lines, f"the five nearest of {GALLERY_SIZE} items; last: what the stylist chose").savefig(file, dpi=110)


def card_text(table: Table, runs: list[dict[str, Any]]) -> str:
    """The tables of the card."""
    rows = table.frame(runs)
    parts = []
    for version in VERSIONS:
        parts += [f"**{version}**: {counts(version)}", ""]
        parts += ["| | FITB | recall@10 | recall@30 | recall@50 | compatibility AUC |", "|---|---|---|---|---|---|"]
        for name, found in baselines(version).items():
            cells = [f"{100 * found[key]:.2f}" for key in ("fitb", "recall10", "recall30", "recall50", "auc")]
            parts.append(f"| {name} | {' | '.join(cells)} |")
        of = rows[rows["version"] == version]
        for variant in (COMPATIBILITY, *VARIANTS):
            mine = of[of["variant"] == variant].sort_values("seed")
            keys = ("auc",) if variant == COMPATIBILITY else ("fitb", "recall10", "recall30", "recall50")
            found = {key: mean_std(100 * mine[key].astype(float)) for key in keys}
            cells = [found.get(key, "") for key in ("fitb", "recall10", "recall30", "recall50", "auc")]
            parts.append(f"| {variant} | {' | '.join(cells)} |")
        parts += ["", *comparisons(of), *lengths(of), ""]
    total = rows["seconds"].astype(float).sum() / 60
    parts.append(
        f"In per cent, mean ± standard deviation over {len(SEEDS)} seeds of training; {EPOCHS} epochs each, batch "
        f"{BATCH}, AdamW {RATE:g}; galleries of {GALLERY_SIZE} items of one fine category. Differences: mean of the "
        "seeds, and 95 % interval by bootstrap over the test questions.\n"
        f"{machine()}, {total:.0f} minutes. Command: `make evidence-outfit`."
    )
    return "\n".join(parts)


def counts(version: str) -> str:
    """Sizes of the split, what was left out, and what is asked."""
    data = data_of(version, "joint", 0)
    whole = data.whole(data.folder())
    sizes = " / ".join(str(len(whole.outfits[split])) for split in ("train", "val", "test"))
    samples = data.items("test").items.samples
    asked = sum(sample.gallery >= 0 for sample in samples if sample.kind == BLANK)
    blanks = sum(sample.kind == BLANK for sample in samples)
    places = len({sample.gallery for sample in samples if sample.kind == GALLERY})
    return f"{sizes} outfits; {'; '.join(whole.notes)}. {blanks} blanks, {asked} asked in {places} galleries."


def comparisons(rows: pd.DataFrame) -> list[str]:
    """The three claims, by differences of the per-question results."""
    pairs = {
        "(a) set-wise against pairwise triplet, one negative": ("set-wise", "pairwise triplet, one negative"),
        "(a) set-wise against pairwise triplet, ten negatives": ("set-wise", "pairwise triplet, ten negatives"),
        "(b) pre-training against none": ("set-wise", "set-wise, no pre-training"),
        "(c) coarse to fine against fine alone": ("set-wise, coarse to fine", "set-wise"),
    }
    lines = ["| difference | FITB | recall@10 | seeds where better (FITB, recall@10) |", "|---|---|---|---|"]
    for name, (one, other) in pairs.items():
        first, second = (rows[rows["variant"] == variant].sort_values("seed") for variant in (one, other))
        credits = [np.array([[float(x) for x in text.split()] for text in part["credit"]]) for part in (first, second)]
        change = (credits[0] - credits[1]).mean(0)
        low, high = bootstrap_interval(lambda index, change=change: float(change[index].mean()), len(change))
        recall = first["recall10"].astype(float).to_numpy() - second["recall10"].astype(float).to_numpy()
        fitb = first["fitb"].astype(float).to_numpy() - second["fitb"].astype(float).to_numpy()
        lines.append(
            f"| {name} | {100 * change.mean():+.2f} [{100 * low:+.2f}, {100 * high:+.2f}] | "
            f"{100 * recall.mean():+.2f} ± {100 * recall.std(ddof=1) if len(recall) > 1 else 0:.2f} | "
            f"{(fitb > 0).sum()} and {(recall > 0).sum()} of {len(fitb)} |"
        )
    return [*lines, ""]


def lengths(rows: pd.DataFrame) -> list[str]:
    """Whether the compatibility score merely grows with the length."""
    mine = rows[rows["variant"] == COMPATIBILITY]
    same = mean_std(100 * mine["auc_same_length"].astype(float))
    grows = mean_std(mine["length_correlation_compatible"].astype(float))
    return [f"Compatibility AUC over pairs of equal length: {same}; rank correlation of score and length among "
            f"compatible outfits: {grows}."]  # fmt: skip


def main() -> None:
    """Runs what is missing and writes the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", action="store_true", help="print the runs and the estimate only")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="only so many seeds")
    parser.add_argument("--versions", nargs="+", default=list(VERSIONS), choices=VERSIONS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    quiet()
    runs = [
        {"version": version, "seed": seed, "variant": variant}
        for seed in SEEDS[: args.seeds]
        for version in args.versions
        for variant in (COMPATIBILITY, *VARIANTS)
    ]
    table = Table(FOLDER / "outfit.csv", KEY)
    finished = run_all(table, runs, train, SECONDS, args.plan)
    if finished and args.seeds == len(SEEDS) and args.versions == list(VERSIONS):
        write_card(CARD, card_text(table, runs))


if __name__ == "__main__":
    main()
