"""What ``zoo init ltr`` writes: a recipe for a user's own queries. Imports no torch at the top."""

from __future__ import annotations

import re
from typing import Any

from zoo.starts import Fit, Layout, Place, Start, batch_of, epochs_of

LINE = re.compile(r"[+-]?\d+ +qid:\S+ +1:\S+")
NAMES = {"val": ("vali.txt", "val.txt", "valid.txt", "validation.txt", "dev.txt"), "test": ("test.txt",)}

RECIPE = """\
{head}
seed_everything: 0           # another number: other first weights, another order of the batches
trainer:
  max_epochs: {epochs}             # passes over the training queries
  accelerator: auto          # a GPU if there is one, else the CPU
  devices: 1
  log_every_n_steps: 1       # how often a line is added to metrics.csv and TensorBoard
model:
  class_path: zoo.domains.ltr.MLPRanker
  init_args:
    ranking:                 # the loss; try ListNet, ListMLE, Hinge, ApproxNDCG (zoo list losses), or null: regression
      class_path: zoo.ranking.LambdaNDCG
    features: {features}             # of a document, as the data has them
    hidden: [64, 32]         # widths of the hidden layers
    dropout: 0.1             # more where validation is much worse than training
    monitor: val/ndcg10      # picks best.ckpt; or val/map
    mode: max
data:
  class_path: zoo.domains.ltr.{data}
  init_args:
    root: {root}
{arguments}
    batch_size: {batch}            # queries of a step
optimizer:
  class_path: torch.optim.Adam
  init_args:
    lr: 0.003                # the first number to try others of: 0.001, 0.01
"""


def _mq2008(place: Place) -> Fit | None:
    parts = all((place.root / f"S{part}.txt").is_file() for part in range(1, 6))
    if place.named or not (parts or (place.root / "Fold1" / "train.txt").is_file()):
        return None
    first = place.root / ("S1.txt" if parts else "Fold1/train.txt")
    shape = _shape([first])
    why = "S1.txt to S5.txt" if parts else "Fold1/train.txt"
    return Fit("MQ2008", f"{why} with the 46 features and three grades of MQ2008") if shape == (46, 3) else None


def _files(place: Place) -> Fit | None:
    tables = place.tables("train.txt", ending=".txt") or place.tables("train.letor", ending=".letor")
    train = next((name for name in tables if _is_letor(place, name)), "")
    if not train or (not place.named and train != tables[0]):
        return None
    found = {split: next((name for name in names if _is_letor(place, name)), None) for split, names in NAMES.items()}
    if place.named and train != "train.txt":
        found = dict.fromkeys(found)
    features, grades = _shape([place.root / name for name in (train, *found.values()) if name])
    arguments = {"features": features, "grades": grades, "train": train, **found}
    held = " and ".join(split for split, name in found.items() if name is None)
    return Fit("LetorFiles", f"{train} is in the LETOR format" + (f"; {held} queries are held out" if held else ""),
               arguments)  # fmt: skip


def _is_letor(place: Place, name: str) -> bool:
    try:
        with (place.root / name).open(encoding="utf-8") as stream:
            return LINE.match(next((line for line in stream if line.strip()), "")) is not None
    except (OSError, UnicodeDecodeError):
        return False


def _shape(files: list[Any]) -> tuple[int, int]:
    """Features of the first line and number of grades of all."""
    features, largest = 0, 1
    for file in files:
        with file.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                words = line.partition("#")[0].split()
                features = features or len(words) - 2
                if words and re.fullmatch(r"\d+", words[0]):
                    largest = max(largest, int(words[0]))
    return features, largest + 1


def _values(data: Any) -> dict[str, Any]:
    items = data.items("train")
    batch = batch_of(len(items), most=16)
    features = int(items.items.item(0, None)["features"].shape[-1])
    return {"features": features, "batch": batch, "epochs": epochs_of(len(items), batch, 300, 8, 60)}


START = Start(
    layouts=(
        Layout("MQ2008: the five parts or the folds of LETOR's MQ2008", "S1.txt S2.txt S3.txt S4.txt S5.txt", _mq2008),
        Layout(
            "LetorFiles: train.txt, and vali.txt and test.txt if there are any; a document per line",
            "2 qid:10 1:0.31 2:0.00 3:1.00 #docid = A1\n0 qid:10 1:0.00 2:0.52 3:0.11 #docid = A2",
            _files,
        ),
    ),
    recipe=RECIPE,
    values=_values,
)
