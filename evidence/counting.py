"""The claim of counting in miniature, on the shared part of KCL-London: the table of the card.

    python evidence/counting.py            # what is not finished yet
    python evidence/counting.py --plan     # the runs and an estimate
    python evidence/counting.py --card     # the table from what is finished, no training

Do unlabelled images help? The recipe counting/treeformer_kcl_lite0 with EfficientNet-Lite0, a fixed number of steps,
and its terms switched on one after another: labels alone; consistency; ranking; both; both and the token terms. With
the paper's objective at 10 % labels (5 seeds) and at 30 % (2 seeds), with the released one at 10 % (2 seeds). A seed
draws the labelled images, the order and the crops anew; the 12 validation images and the 29 test images are the same
for all. Validation images pick the epoch; the test images are counted once, by that epoch's weights. Differences are
bootstrapped over the test images. Beside: the mean count of the labelled images, and a line through their greenness.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from harness import FOLDER, ROOT, Table, data_root, machine, mean_std, run_all, write_card

import zoo
from zoo.domains.counting import PointsJSON
from zoo.metrics import bootstrap_interval
from zoo.training import contact_sheet, read_image

CARD = ROOT / "zoo/domains/counting/README.md"
RECIPE = "counting/treeformer_kcl_lite0"
DATA = data_root() / "counting" / "kcl_london"
ROWS, PAGES = FOLDER / "counting.csv", FOLDER / "counting_pages"
KEY = ("objective", "labels", "terms", "seed")

SUPERVISED = "labels alone"
WEIGHTS: dict[str, dict[str, float]] = {
    SUPERVISED: {"ranking": 0, "consistency": 0, "token": 0, "token_consistency": 0},
    "+ consistency": {"ranking": 0, "token": 0, "token_consistency": 0},
    "+ ranking": {"consistency": 0, "token": 0, "token_consistency": 0},
    "+ consistency, ranking": {"token": 0, "token_consistency": 0},
    "+ consistency, ranking, tokens": {},
}
FULL = "+ consistency, ranking, tokens"
PLANS = (("paper", 0.1, 5), ("official", 0.1, 2), ("paper", 0.3, 2))  # objective, share of labels, seeds
EPOCHS, STEPS = 3, 20
SECONDS = 110.0  # of one run on one quiet core; an estimate, see the table for what it was
VALIDATION = 12


def runs() -> list[dict[str, Any]]:
    """All runs, seed by seed, so that a table of few seeds is whole."""
    most = max(seeds for _, _, seeds in PLANS)
    return [
        {"objective": objective, "labels": share, "terms": terms, "seed": seed}
        for seed in range(most)
        for objective, share, seeds in PLANS
        if seed < seeds
        for terms in WEIGHTS
    ]


def overrides(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a run changes in the recipe."""
    official = run["objective"] == "official"
    return {
        "seed_everything": run["seed"],
        "trainer.max_epochs": EPOCHS,
        "model.variant": run["objective"],
        "model.token": "first_patch" if official else "learned",
        **{f"model.weights.{name}": value for name, value in WEIGHTS[run["terms"]].items()},
        "data.root": str(DATA),
        "data.val": VALIDATION,
        "data.labelled_fraction": run["labels"],
        "data.label_seed": run["seed"],
        "data.steps_per_epoch": STEPS,
        **({"data.unlabelled_batch": 0} if run["terms"] == SUPERVISED else {}),
    }


def work(run: Mapping[str, Any]) -> dict[str, Any]:
    """Trains, and counts the test images with the best epoch's weights."""
    name = f"evidence/counting/{run['objective']}_{run['labels']}_{list(WEIGHTS).index(run['terms'])}_{run['seed']}"
    folder = zoo.train(RECIPE, overrides(run), name=name, overwrite=True)
    outputs = folder / "test.csv"
    metrics = zoo.evaluate(folder, predictions=outputs)
    rows = pd.read_csv(outputs)
    if run["terms"] == FULL and run["seed"] == 0:
        page(folder, PAGES / f"{run['objective']}_{round(100 * run['labels'])}.png")
    shutil.rmtree(folder)
    kept = ("mae", "rmse", "r2", "mape", "bias", "token_mae", "game1", "game2", "game3")
    return {**{key: float(metrics[key]) for key in kept}, "errors": json.dumps(rows["error"].round(3).tolist())}


def page(folder: Path, file: Path) -> None:
    """Six test images with their density and points, to be looked at."""
    images = sorted(data_of(1.0, 0).image_files("test"))
    chosen = [images[place] for place in np.linspace(0, len(images) - 1, 6).round().astype(int)]
    out = folder / "pictures_of_test"
    found = zoo.predict(folder, chosen, out=out)
    pictures = [next(out.glob(f"*{image.stem}*.png")) for image in chosen]
    titles = [f"{image.stem}: {count:.0f}" for image, count in zip(chosen, found["count"], strict=True)]
    file.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(pictures, titles, columns=2).savefig(file, dpi=150)


def data_of(share: float, seed: int) -> PointsJSON:
    """The data of a run."""
    return PointsJSON(root=str(DATA), val=VALIDATION, labelled_fraction=share, label_seed=seed)


def baselines(share: float, seeds: int) -> dict[str, dict[str, list[float]]]:
    """Errors on the test images of two guesses made of the labelled images alone."""
    truth = {entry["file"]: float(entry["count"]) for entry in json.loads((DATA / "points.json").read_text())}
    green = {name: greenness(DATA / name) for name in truth}
    named = {(DATA / name).resolve(): name for name in truth}
    tested = [named[file.resolve()] for file in data_of(1.0, 0).image_files("test")]
    y = np.array([truth[name] for name in tested])
    found: dict[str, dict[str, list[float]]] = {}
    for seed in range(seeds):
        data = data_of(share, seed)
        marked = [p for p in data.all_pictures(data.folder()) if p.split == "train" and p.points is not None]
        names = [named[picture.file.resolve()] for picture in marked]
        counts = np.array([truth[name] for name in names])
        slope, offset = np.polyfit([green[name] for name in names], counts, 1)
        guesses = {
            "mean count of the labelled images": np.full(len(y), counts.mean()),
            "line through their greenness": slope * np.array([green[name] for name in tested]) + offset,
        }
        for name, guess in guesses.items():
            for key, value in errors(guess, y).items():
                found.setdefault(name, {}).setdefault(key, []).append(value)
    return found


def greenness(file: Path) -> float:
    """Mean excess green, ``(2 G - R - B) / (R + G + B)``, over the pixels of an image."""
    red, green, blue = read_image(file).double().unbind(0)
    return float(((2 * green - red - blue) / (red + green + blue + 1)).mean())


def errors(guess: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """MAE, RMSE and R2 of counts."""
    wrong = guess - truth
    spread = ((truth - truth.mean()) ** 2).sum()
    return {
        "mae": float(np.abs(wrong).mean()),
        "rmse": float(np.sqrt((wrong**2).mean())),
        "r2": float(1 - (wrong**2).sum() / spread),
    }


def card_text(table: Table) -> str:
    """The table of the card, of what is finished."""
    frame = table.frame(runs())
    head = (
        "| objective, labels | trained by | MAE | RMSE | R2 | GAME(3) | MAE of the tokens | MAE against labels alone |"
    )
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for objective, share, seeds in PLANS:
        place = f"{objective}, {share:.0%}"
        for name, found in baselines(share, seeds).items():
            cells = [mean_std(found[key], 2 if key == "r2" else 1) for key in ("mae", "rmse", "r2")]
            lines.append(f"| {share:.0%} | {name} | {' | '.join(cells)} |  |  |  |")
        if frame.empty:
            continue
        mine = frame[(frame["objective"] == objective) & (frame["labels"].astype(float) == share)]
        for terms in WEIGHTS:
            rows = mine[mine["terms"] == terms].sort_values("seed")
            if rows.empty:
                continue
            digits = {"mae": 1, "rmse": 1, "r2": 2, "game3": 1, "token_mae": 1}
            cells = [mean_std(rows[key].astype(float).tolist(), digit) for key, digit in digits.items()]
            if "tokens" not in terms:
                cells[-1] = ""
            lines.append(f"| {place} | {terms} | {' | '.join(cells)} | {difference(mine, terms)} |")
    minutes = frame["seconds"].astype(float).sum() / 60 if not frame.empty else 0.0
    foot = (
        f"Mean ± standard deviation over seeds ({', '.join(f'{o} {s:.0%}: {n}' for o, s, n in PLANS)}); {EPOCHS} times "
        f"{STEPS} steps, 29 test images. Last column: difference of the mean absolute error, in trees, mean of the "
        f"seeds, with a 95 % interval by bootstrap over the test images; below 0 is better.\n"
        f"{machine()}, {len(frame)} of {len(runs())} runs, {minutes:.0f} minutes. Command: `make evidence-counting`."
    )
    return "\n".join([*lines, "", foot])


def difference(rows: pd.DataFrame, terms: str) -> str:
    """Change of the absolute error against labels alone, over the seeds that both have."""
    if terms == SUPERVISED:
        return ""
    absolute = {
        name: {int(row["seed"]): np.abs(json.loads(row["errors"])) for _, row in rows[rows["terms"] == name].iterrows()}
        for name in (terms, SUPERVISED)
    }
    both = sorted(absolute[terms].keys() & absolute[SUPERVISED].keys())
    if not both:
        return ""
    change = np.mean([absolute[terms][seed] - absolute[SUPERVISED][seed] for seed in both], axis=0)
    low, high = bootstrap_interval(lambda drawn: float(change[drawn].mean()), len(change), 10_000)
    return f"{change.mean():+.1f} [{low:+.1f}, {high:+.1f}]"


def main() -> None:
    """Does what is asked for on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plan", action="store_true", help="print the runs and an estimate only")
    parser.add_argument("--card", action="store_true", help="write the card from what is finished")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    table = Table(ROWS, KEY)
    if args.plan:
        for run in runs():
            print(f"{'done' if table.has(run) else '    '} {' '.join(str(value) for value in run.values())}")
    run_all(table, runs(), work, SECONDS, args.plan or args.card)
    if not args.plan:
        text = card_text(table)
        print(text)
        write_card(CARD, text)


if __name__ == "__main__":
    main()
