"""The claim in miniature: does ranking mixed images below raw ones calibrate a network, against its baselines?

    python evidence/calibration.py            # 66 runs; finished ones are kept when it is started again
    python evidence/calibration.py --plan     # what it would do
    python evidence/calibration.py --card     # the tables from what is finished, no training

CIFAR-10 subset (JPEG): 5,000 training images, 1,000 for validation, 5,000 for the test; ResNet-8 of width 16. Half of
the validation images select the epoch by accuracy, the other half fit the temperature; the test images are used once.
The zoo's own module gives the loss; convolutions run in bfloat16, every evaluation in float32.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
import torch
from harness import FOLDER, ROOT, Table, data_root, machine, mean_std, write_card

from zoo.domains.calibration.baselines import CrossEntropy, Focal, LabelSmoothing, MbLS, Mixup
from zoo.domains.calibration.data_jpeg import CIFAR10JPEG
from zoo.domains.calibration.evaluation import fits_temperature
from zoo.domains.calibration.loss import MNDCG, MRL, Objective
from zoo.domains.calibration.module import RankMixup
from zoo.domains.calibration.network import build
from zoo.metrics.calibration import summary
from zoo.metrics.calibration_temperature import fit_temperature
from zoo.training.near_duplicates import near_duplicates, perceptual_hash

CARD = ROOT / "zoo/domains/calibration/README.md"
ROWS, LOGITS = FOLDER / "calibration.csv", FOLDER / "calibration"
KEY = ("plan", "method", "seed", "epochs")
SEEDS, EPOCHS, BATCH, WIDTH = range(5), 25, 128, 16
TRAIN, VAL = 5000, 1000
LR, MOMENTUM, DECAY, CLIP = 0.1, 0.9, 5e-4, 2.0  # the paper's; its milestones 80 and 120 of 200 epochs, as shares
MILESTONES = (0.4, 0.6)
METHODS: dict[str, Objective] = {
    "cross-entropy": CrossEntropy(),
    "label smoothing 0.1": LabelSmoothing(0.1),
    "focal, gamma 3": Focal(3.0),
    "mixup, Beta(1, 1)": Mixup(1.0),
    "MbLS, margin 6": MbLS(0.1, 6.0),
    "RankMixup MRL": MRL(0.1, 2.0),
    "RankMixup M-NDCG": MNDCG(0.1, 3),
}
# as many epochs as take the time of 25 epochs of cross-entropy: two forwards, and four of which three at once
EQUAL_TIME = {"RankMixup MRL": 12, "RankMixup M-NDCG": 6}
SECONDS = 95  # of a run, one core
PER_CENT = ("train_acc", "acc", "ece", "ece_ts", "aece", "aece_ts")

Run = dict[str, Any]


def runs() -> list[Run]:
    """Every run; seeds go round first. The last plan takes the augmentation away, so that the network over-fits."""
    plan: list[Run] = []
    for seed in SEEDS:
        plan += [{"plan": "epochs", "method": name, "seed": seed, "epochs": EPOCHS} for name in METHODS]
        plan += [
            {"plan": "time", "method": name, "seed": seed, "epochs": epochs} for name, epochs in EQUAL_TIME.items()
        ]
    for seed in list(SEEDS)[:3]:
        plan += [{"plan": "overfit", "method": name, "seed": seed, "epochs": EPOCHS} for name in METHODS]
    return plan


# -- one run


@cache
def data(augmented: bool) -> CIFAR10JPEG:
    """The subset, decoded once per process."""
    found = CIFAR10JPEG(
        str(data_root() / "calibration" / "cifar10_jpeg"), batch_size=BATCH, train_size=TRAIN, val_size=VAL,
        padding=4 if augmented else 0, flip=augmented,
    )  # fmt: skip
    return found


@cache
def network() -> torch.nn.Module:
    """One network per process, so that it is compiled once; each run starts it from its own weights."""
    shared = build("resnet8", 10, "cifar", WIDTH, None, False).to(memory_format=torch.channels_last)
    shared.compile(dynamic=False)
    return shared


@cache
def images(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """All images of a split as the network sees them in a test, and their labels."""
    found = data(True)
    items: Any = found.items(split).items  # type: ignore[arg-type]
    plain = items.seen(found.test_view, found.statistics)
    batch = found.collate([plain.item(index, np.random.default_rng(0)) for index in range(len(plain))])
    return batch["image"].contiguous(memory_format=torch.channels_last), batch["label"]


@torch.no_grad()
def logits(module: RankMixup, split: str) -> torch.Tensor:
    """``(N, 10)`` in float32, without the compiled path."""
    module.network.eval()
    found = [module.network.forward(part).logits for part in images(split)[0].split(250)]
    module.network.train()
    return torch.cat(found)


def accuracy(found: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of right answers."""
    return float((found.argmax(1) == labels).double().mean())


def work(run: Run) -> dict[str, Any]:
    """Trains once; the row of the table."""
    start, cpu = time.monotonic(), time.process_time()
    torch.manual_seed(run["seed"])
    objective = METHODS[run["method"]]
    module = RankMixup(objective, "resnet8", classes=10, width=WIDTH, mix_seed=run["seed"])
    shared = network()
    shared.load_state_dict(module.network.state_dict())
    module.network = shared  # type: ignore[assignment]
    module.network.train()
    training = data(run["plan"] != "overfit")
    training.seed = run["seed"]
    training.items("train").seed = run["seed"]
    optimizer = torch.optim.SGD(module.parameters(), LR, MOMENTUM, weight_decay=DECAY)
    milestones = [round(share * run["epochs"]) for share in MILESTONES]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones)
    loader = training.train_dataloader()
    labels = images("val")[1]
    held = fits_temperature(torch.arange(len(labels)))
    best, spent = {"val_acc": -1.0}, 0.0
    for epoch in range(run["epochs"]):
        begun = time.process_time()
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for batch in loader:
            with torch.autocast("cpu", torch.bfloat16):
                loss = torch.stack(list(module.terms(batch).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), CLIP)
            optimizer.step()
        schedule.step()
        spent += time.process_time() - begun
        found = logits(module, "val")
        value = accuracy(found[~held], labels[~held])
        if value > best["val_acc"]:
            weights = {name: tensor.clone() for name, tensor in module.network.state_dict().items()}
            best = {"val_acc": value, "best_epoch": epoch + 1}
    shared.load_state_dict(weights)
    found, tested, truth = logits(module, "val"), logits(module, "test"), images("test")[1]
    temperature = fit_temperature(found[held], labels[held])
    keep(run, found, tested)
    after = summary(tested, truth, temperature=temperature)
    return {
        **best,
        "train_acc": accuracy(logits(module, "train"), images("train")[1]),
        "acc": accuracy(tested, truth),
        **summary(tested, truth),
        **{f"{name}_ts": value for name, value in after.items()},
        "temperature": temperature,
        "training_cpu_seconds": round(spent, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "seconds": round(time.monotonic() - start, 2),
    }


def keep(run: Run, val: torch.Tensor, test: torch.Tensor) -> None:
    """Writes the logits, so that other figures need no new training."""
    LOGITS.mkdir(parents=True, exist_ok=True)
    name = "_".join(str(run[column]) for column in KEY).replace(" ", "-").replace(",", "")
    np.savez(LOGITS / f"{name}.npz", val=val.numpy(), test=test.numpy())


def prepare() -> None:
    """Settings of a worker process."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


# -- the tables


def tables(table: Table) -> str:
    """What stands in the card."""
    frame = table.frame(runs())
    main = frame[frame.plan == "epochs"]
    timed = pd.concat([main[~main.method.isin(EQUAL_TIME)], frame[frame.plan == "time"]])
    parts = []
    for title, part in (
        (f"Equal epochs ({EPOCHS})", main),
        ("Equal time: MRL and M-NDCG get as many epochs as take the time of the others", timed),
        (f"Without augmentation, so that it over-fits; equal epochs ({EPOCHS})", frame[frame.plan == "overfit"]),
    ):
        found = complete(part)
        if len(found):
            parts += [f"**{title}**, {_seeds(found)}:", _table(found), against(found)]
    parts += [foot(frame), duplicates()]
    return "\n\n".join(parts)


def complete(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of seeds for which every method is finished."""
    counts = frame.groupby("seed").method.nunique()
    return frame[frame.seed.isin(counts.index[counts == len(METHODS)])]


def _seeds(frame: pd.DataFrame) -> str:
    count = frame.seed.nunique()
    return "1 seed" if count == 1 else f"{count} seeds"


def against(frame: pd.DataFrame) -> str:
    """The calibration error of RankMixup minus that of cross-entropy, seed by seed."""
    base = frame[frame.method == "cross-entropy"].set_index("seed")
    told = []
    for name in EQUAL_TIME:
        own = frame[frame.method == name].set_index("seed")
        pairs = {ending: 100 * (own[f"ece{ending}"] - base[f"ece{ending}"]) for ending in ("", "_ts")}
        lower = {ending: f"lower in {int((values < 0).sum())} of {len(values)}" for ending, values in pairs.items()}
        told.append(
            f"{name} {mean_std(pairs[''])} ({lower['']}), after scaling {mean_std(pairs['_ts'])} ({lower['_ts']})"
        )
    return f"ECE minus that of cross-entropy with the same seed, points: {'; '.join(told)}."


def foot(frame: pd.DataFrame) -> str:
    """How it was measured."""
    minutes = frame.cpu_seconds.sum() / 60
    return (
        "Test accuracy, ECE and AECE (released edges) in per cent, NLL in nats; in parentheses after temperature "
        "scaling by the ECE of half of the validation images; the other half picks the epoch by accuracy; training "
        "accuracy of that epoch without augmentation. Mean ± standard deviation over seeds (weights, order, mixing; "
        f"the images stay). CIFAR-10 subset (JPEG): {TRAIN:,} training, {VAL:,} validation and 5,000 test images; "
        f"ResNet-8 of width {WIDTH}, SGD {LR}, batch {BATCH}, rate x 0.1 after 40 % and 60 % of the epochs; the "
        f"settings of each method are those named, none tuned. {len(frame)} of {len(runs())} planned runs are done, "
        f"{minutes:.0f} minutes of CPU time. {machine()} per run, training in bfloat16. Command: "
        "`make evidence-calibration`."
    )


def _table(frame: pd.DataFrame) -> str:
    lines = [
        "| method | epochs | training accuracy | accuracy | ECE | AECE | NLL | temperature | CPU seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in METHODS:
        own = frame[frame.method == name]
        per_cent = {column: mean_std(100 * own[column]) for column in PER_CENT}
        lines.append(
            f"| {name} | {own.epochs.iloc[0]} | {per_cent['train_acc']} | {per_cent['acc']} "
            f"| {per_cent['ece']} ({per_cent['ece_ts']}) | {per_cent['aece']} ({per_cent['aece_ts']}) "
            f"| {mean_std(own.nll, 3)} ({mean_std(own.nll_ts, 3)}) | {mean_std(own.temperature)} "
            f"| {own.training_cpu_seconds.mean():.0f} |"
        )
    return "\n".join(lines)


def duplicates() -> str:
    """Near-duplicates between the images that training may draw from and the test images."""
    found = CIFAR10JPEG(str(data_root() / "calibration" / "cifar10_jpeg"), val_size=10)
    images: dict[str, np.ndarray] = {}
    for split in ("train", "val", "test"):
        items: Any = found.items(split).items  # type: ignore[arg-type]
        images["test" if split == "test" else "train"] = np.concatenate(
            [*([images["train"]] if split == "val" else []), items.source.images]
        )
    hashes = [[perceptual_hash(torch.from_numpy(image)) for image in part] for part in images.values()]
    pairs = near_duplicates(*hashes)
    touched = len({test for _, test, _ in pairs})
    return (
        f"{touched} of {len(images['test']):,} test images have a near-duplicate among the {len(images['train']):,} "
        f"other images of the subset ({len(pairs)} pairs; perceptual hash, distance <= 4); none was removed."
    )


# -- the plan


def do(table: Table, left: Sequence[Run], workers: int) -> None:
    """Runs what is left in processes of one thread each; every finished row is on the disk at once."""
    begun = time.monotonic()
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=prepare) as pool:
        futures = {pool.submit(work, run): run for run in left}
        for number, future in enumerate(as_completed(futures), start=1):
            run, row = futures[future], future.result()
            table.add({**run, **row})
            name = " ".join(str(run[column]) for column in KEY)
            print(
                f"{number}/{len(left)} {name}: acc {row['acc']:.4f}, train {row['train_acc']:.4f}, "
                f"ECE {row['ece']:.4f} ({row['ece_ts']:.4f}), {row['seconds']:.0f} s, "
                f"{(time.monotonic() - begun) / 60:.1f} min since the start",
                flush=True,
            )


def main() -> None:
    """Runs the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", action="store_true", help="print the runs and the estimate, and stop")
    parser.add_argument("--card", action="store_true", help="write the tables from the finished runs, and stop")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; default one per core")
    args = parser.parse_args()
    prepare()
    table = Table(ROWS, KEY)
    left = [run for run in runs() if not table.has(run)]
    minutes = len(left) * SECONDS / 60 / args.workers
    print(
        f"{ROWS}: {len(runs())} runs, {len(left)} left; about {minutes:.0f} minutes on {args.workers} cores", flush=True
    )
    if args.plan:
        return
    if left and not args.card:
        do(table, left, args.workers)
    text = tables(table)
    print(text)
    write_card(CARD, text)


if __name__ == "__main__":
    main()
