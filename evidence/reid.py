"""RDE's claim in miniature on real images and captions: objectives under shuffled captions, 5 seeds.

Frozen EfficientNet-Lite0 feature maps and MiniLM token features are computed once and cached; projections, one
attention layer and the token selections are trained. Writes the table of zoo/domains/reid/README.md.

    .venv/bin/python evidence/reid.py --plan         # what would run, and about how long
    .venv/bin/python evidence/reid.py --clean-only   # one seed of the clean runs: is it far above chance?
    .venv/bin/python evidence/reid.py
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from harness import FOLDER, ROOT, Table, data_root, machine, mean_std, run_all, write_card

from zoo.domains.reid import TRL, CUHK01Pedes, Flickr8k, TextImageData
from zoo.domains.reid.augment import resize
from zoo.domains.reid.division import divide
from zoo.domains.reid.loss import batch_losses, objective, released_positives
from zoo.domains.reid.network import Embeddings, embed
from zoo.domains.reid.noise import shuffled
from zoo.domains.reid.pretrained import AttentionHead, BackboneTower, MiniLMTower
from zoo.domains.reid.records import Record
from zoo.domains.reid.selection import TokenSelection
from zoo.metrics import TextImageRetrieval, roc_auc
from zoo.ranking import SDM, InfoNCE, SimilarityLoss, TripletAlignment
from zoo.training.features import FeatureStore
from zoo.training.images import normalise, read_image

CARD = ROOT / "zoo" / "domains" / "reid" / "README.md"
DATA: dict[str, tuple[type[TextImageData], str, dict[str, Any], tuple[int, int]]] = {
    "cuhk01": (CUHK01Pedes, "reid/cuhk01_pedes", {}, (256, 128)),
    "flickr8k": (Flickr8k, "imagetext/flickr8k_1000", {"val_fraction": 0.1}, (224, 224)),
}
LOSSES: dict[str, tuple[SimilarityLoss, bool]] = {
    "triplet": (TRL(variant="paper"), False),
    "InfoNCE": (InfoNCE(), False),
    "SDM": (SDM(), False),
    "TAL": (TripletAlignment(), False),
    "TAL + CCD": (TripletAlignment(), True),
}
NOISE = (0.0, 0.2, 0.5)
SEEDS = range(5)
EPOCHS, BATCH, RATE, WARMUP = 8, 64, 1e-3, 20
WIDTH, EMBED, TSE, WORDS = 128, 128, 256, 40
COLUMNS = ("data", "loss", "noise", "seed")


@dataclass
class Frozen:
    """Features of a data set: of images, and of captions with their words marked.

    Attributes:
        records: By split.
        maps: ``(P, C)`` of each image.
        tokens: ``(M, L, 384)`` of each image's M captions.
        words: ``(M, L)`` bool of the same.
    """

    records: dict[str, list[Record]]
    maps: dict[Path, Tensor]
    tokens: dict[Path, Tensor]
    words: dict[Path, Tensor]


@cache
def frozen(name: str) -> Frozen:
    """Computes what is missing in the cache, and reads it."""
    kind, folder, options, size = DATA[name]
    data = kind(root=str(data_root() / folder), image_size=size, **options)
    whole = data.records(data.folder())
    records = {split: data.split_records(whole, split) for split in ("train", "val", "test")}
    images = [record.file for record in whole]
    tower = BackboneTower("tf_efficientnet_lite0", True, image_size=size).eval()
    text = MiniLMTower(True, context=WORDS).eval()

    @torch.no_grad()
    def of_images(files: list[Path]) -> list[np.ndarray]:
        pixels = torch.stack([resize(read_image(file), size) for file in files])
        return list(tower.features(normalise(pixels, tower.mean, tower.std)).half().numpy())

    @torch.no_grad()
    def of_captions(files: list[Path]) -> list[np.ndarray]:
        captions = [caption for record in whole for caption in record.captions]
        found = [text.features(text.tokenizer(captions[start : start + 64])) for start in range(0, len(captions), 64)]
        joined = [torch.cat([tokens, words.unsqueeze(-1)], dim=-1).half() for tokens, words in found]
        return [torch.cat(joined).numpy()]

    made_by = {"network": "tf_efficientnet_lite0", "size": list(size), "level": -1}
    maps = FeatureStore(f"reid-{name}-images", made_by).get(images, of_images, label=f"{name} feature maps")
    list_file = data.folder() / "captions.json"
    made_by = {"network": "all-MiniLM-L6-v2", "words": WORDS}
    (rows,) = FeatureStore(f"reid-{name}-captions", made_by).get([list_file], of_captions, label=f"{name} captions")
    parts = torch.from_numpy(rows).float().split([len(record.captions) for record in whole])
    return Frozen(
        records,
        {file: torch.from_numpy(array).float() for file, array in zip(images, maps, strict=True)},
        {file: part[..., :-1] for file, part in zip(images, parts, strict=True)},
        {file: part[..., -1] > 0.5 for file, part in zip(images, parts, strict=True)},
    )


class Heads(nn.Module):
    """What is trained: an attention head and a token selection on each side."""

    def __init__(self, channels: int, places: int) -> None:
        super().__init__()
        self.image = AttentionHead(channels, places, WIDTH, 4, EMBED)
        self.text = AttentionHead(384, 0, WIDTH, 4, EMBED)
        self.image_selection = TokenSelection(EMBED, TSE, specials=1)
        self.text_selection = TokenSelection(EMBED, TSE, specials=2)

    def train(self, mode: bool = True) -> Heads:
        """As released: BatchNorm stays in eval mode."""
        super().train(mode)
        self.image_selection.norm.eval()
        self.text_selection.norm.eval()
        return self

    def images(self, maps: Tensor) -> Embeddings:
        """``maps (B, P, C)``."""
        return embed(self.image(maps), self.image_selection)

    def texts(self, tokens: Tensor, words: Tensor) -> Embeddings:
        """``tokens (B, L, 384)``, ``words (B, L)``."""
        return embed(self.text(tokens, words), self.text_selection)


@dataclass
class Pairs:
    """Training pairs as tensors: N maps by image number, N captions, and whose they are."""

    maps: Tensor
    image: Tensor
    tokens: Tensor
    words: Tensor
    identity: Tensor
    noisy: np.ndarray

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Maps, tokens, words and identities of some pairs."""
        return self.maps[self.image[chosen]], self.tokens[chosen], self.words[chosen], self.identity[chosen]


def training_pairs(data: Frozen, noise: float, seed: int) -> Pairs:
    """The pairs of the training split, a share of their captions shuffled."""
    records = data.records["train"]
    image = torch.tensor([row for row, record in enumerate(records) for _ in record.captions])
    identity = torch.tensor([record.identity for record in records])[image]
    order = torch.from_numpy(shuffled(len(image), noise, seed))
    tokens = torch.cat([data.tokens[record.file] for record in records])[order]
    words = torch.cat([data.words[record.file] for record in records])[order]
    maps = torch.stack([data.maps[record.file] for record in records])
    return Pairs(maps, image, tokens, words, identity, (identity[order] != identity).numpy())


@torch.no_grad()
def evaluate(heads: Heads, data: Frozen, split: str) -> dict[str, float]:
    """Rank-1 and mAP of a split, fused."""
    heads.eval()
    metric, records = TextImageRetrieval(), data.records[split]
    for start in range(0, len(records), BATCH):
        some = records[start : start + BATCH]
        images = heads.images(torch.stack([data.maps[record.file] for record in some]))
        texts = heads.texts(*(torch.cat([part[record.file] for record in some]) for part in (data.tokens, data.words)))
        marks = torch.tensor([[start + row, record.identity, -1] for row, record in enumerate(some)])
        text_marks = torch.tensor(
            [[*marks[row].tolist(), k] for row, record in enumerate(some) for k in range(len(record.captions))]
        )
        metric.update(*images, marks, *texts, text_marks)
    return {name: float(value) for name, value in metric.compute().items()}


def losses_of(heads: Heads, pairs: Pairs, chosen: Tensor, ranking: SimilarityLoss) -> tuple[Tensor, Tensor]:
    """The loss of each pair of a batch on both embeddings."""
    maps, tokens, words, identity = pairs.batch(chosen)
    return batch_losses(heads.images(maps), heads.texts(tokens, words), identity, ranking, released_positives(ranking))


@torch.no_grad()
def labels_of(
    heads: Heads, pairs: Pairs, ranking: SimilarityLoss, noise: float, generator: torch.Generator
) -> tuple[Tensor, float]:
    """Which pairs are taken for clean, and the AUROC of clean against noisy (NaN where nothing is noisy)."""
    heads.eval()
    found = np.empty((2, len(pairs.image)), dtype=np.float32)
    for chosen in torch.randperm(len(pairs.image), generator=generator).split(BATCH):
        found[:, chosen.numpy()] = torch.stack(losses_of(heads, pairs, chosen, ranking)).numpy()
    division = divide(found[0], found[1], "tight" if noise > 0.4 else "loose", generator)
    auroc = float("nan")
    if pairs.noisy.any():
        scores = torch.from_numpy(division.bge.probability + division.tse.probability)
        auroc = float(roc_auc(scores, torch.from_numpy(~pairs.noisy)))
    return torch.from_numpy(division.labels).float(), auroc


def train(run: Mapping[str, Any], epochs: int = EPOCHS) -> dict[str, float]:
    """One run; the epoch that is best on validation, and the last."""
    data = frozen(run["data"])
    ranking, ccd = LOSSES[run["loss"]]
    pairs = training_pairs(data, run["noise"], run["seed"])
    torch.manual_seed(run["seed"])
    heads = Heads(pairs.maps.shape[2], pairs.maps.shape[1])
    generator = torch.Generator().manual_seed(run["seed"])
    optimizer = torch.optim.Adam(heads.parameters(), RATE)
    steps = epochs * -(-len(pairs.image) // BATCH)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / WARMUP) * 0.5 * (1 + np.cos(np.pi * step / steps))
    )
    best, result, auroc = -1.0, {}, float("nan")
    for _ in range(epochs):
        kept = torch.ones(len(pairs.image))
        if ccd:
            kept, auroc = labels_of(heads, pairs, ranking, run["noise"], generator)
        heads.train()
        for chosen in torch.randperm(len(pairs.image), generator=generator).split(BATCH):
            bge, tse = losses_of(heads, pairs, chosen, ranking)
            optimizer.zero_grad()
            objective(bge + tse, kept[chosen], "mean").backward()
            optimizer.step()
            rate.step()
        chosen_by = evaluate(heads, data, "val")["rank1"]
        if chosen_by > best:
            best, found = chosen_by, evaluate(heads, data, "test")
            result = {"rank1_best": found["rank1"], "map_best": found["map"]}
    found = evaluate(heads, data, "test")
    return {**result, "rank1_last": found["rank1"], "map_last": found["map"], "auroc": auroc}


def chance(name: str) -> float:
    """Rank-1 of a random order, in per cent: the mean share of right images in the gallery."""
    records = frozen(name).records["test"]
    identities = [record.identity for record in records]
    shares = [identities.count(record.identity) / len(records) for record in records for _ in record.captions]
    return 100 * sum(shares) / len(shares)


def card_text(table: Table, runs: list[dict[str, Any]]) -> str:
    """The table of the card."""
    frame = table.frame(runs)
    lines: list[str] = []
    for name in DATA:
        random = chance(name)
        clean = frame[(frame.data == name) & (frame.loss == "TAL") & (frame.noise == 0.0)].rank1_last.mean()
        verdict = "far above" if clean >= 5 * random else "NOT five times"
        lines += [
            "",
            f"{name}: guessing gives rank-1 {random:.2f}; the clean run (TAL) reaches {clean:.2f}, {verdict} chance"
            + ("" if clean >= 5 * random else ", so nothing is claimed on it"),
            "",
            "| objective | shuffled | rank-1 best | rank-1 last | mAP best | mAP last | AUROC of the division |",
            "|---|---|---|---|---|---|---|",
        ]
        for noise in NOISE:
            for loss in LOSSES:
                rows = frame[(frame.data == name) & (frame.loss == loss) & (frame.noise == noise)]
                cells = [mean_std(rows[column]) for column in ("rank1_best", "rank1_last", "map_best", "map_last")]
                division = "" if rows.auroc.isna().any() else mean_std(rows.auroc, 3)
                lines.append(f"| {loss} | {100 * noise:.0f} % | {' | '.join(cells)} | {division} |")
    lines += ["", f"{len(SEEDS)} seeds, {EPOCHS} epochs of batches of {BATCH}; mean ± standard deviation; {machine()}."]
    return "\n".join(lines)


def main() -> None:
    """Runs what is missing and writes the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", action="store_true", help="print the plan and stop")
    parser.add_argument("--clean-only", action="store_true", help="one seed of TAL without noise, against chance")
    parser.add_argument("--seconds", type=float, default=15.0, help="of one run, for the estimate")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.clean_only:
        for name in DATA:
            found = train({"data": name, "loss": "TAL", "noise": 0.0, "seed": 0})
            print(f"{name}: rank-1 {found['rank1_last']:.2f} (chance {chance(name):.2f}), mAP {found['map_last']:.2f}")
        return
    runs: list[dict[str, Any]] = [
        {"data": name, "loss": loss, "noise": noise, "seed": seed}
        for seed in SEEDS
        for name in DATA
        for noise in NOISE
        for loss in LOSSES
    ]
    table = Table(FOLDER / "reid.csv", COLUMNS)
    if run_all(table, runs, partial(train, epochs=EPOCHS), arguments.seconds, arguments.plan):
        write_card(CARD, card_text(table, runs))


if __name__ == "__main__":
    main()
