"""What ``zoo init outfit`` writes: a recipe for a user's own outfits. Imports no torch at the top."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from zoo.starts import Fit, Layout, Place, Start, batch_of, epochs_of

ITEMS, OUTFITS = "items.csv", "outfits.csv"
SIZE, WORDS = 32, 64

RECIPE = """\
{head}
seed_everything: 0              # another number: other first weights, other negatives
trainer:
  max_epochs: {epochs}
  accelerator: auto             # a GPU if there is one, else the CPU
  devices: 1
  log_every_n_steps: 1
model:
  class_path: zoo.domains.outfit.OutfitTransformer
  init_args:
    variant: paper
    encoder: &encoder           # how an item becomes numbers; data below uses the same one
      class_path: zoo.domains.outfit.ItemEncoder
      init_args:
        image: {image}          # mean colours; try tf_efficientnet_lite0 with pretrained: true; null: no pictures
        pretrained: false
        size: 32                # side that pictures are brought to; 224 for a picture network
        text: {text}             # hashed words; minilm is a sentence encoder in a package; null: no texts
        words: 64
    half: 32                    # half of the transformer's width; null for the paper's 64
    layers: 2                   # the paper has 6
    heads: 4
    ffn: 128
    norm_first: true
    ranking: null               # null: the set-wise loss of the paper; or InfoNCE, Triplet, ... (zoo list losses)
    monitor: val/fitb           # picks best.ckpt: blanks filled right; or val/auc of compatibility
    mode: max
data:
  class_path: zoo.domains.outfit.{data}
  init_args:
    root: {root}
{arguments}
    task: joint                 # compatibility, retrieval, or both at once
    encoder: *encoder
    batch_size: {batch}              # questions of a step
    negatives: 10               # sampled wrong items of a retrieval query
    replace: {replace}               # what a wrong item shares with the right one: fine, coarse or any
optimizer:
  class_path: torch.optim.AdamW
  init_args:
    lr: 0.003                   # the first number to try others of: 0.001, 0.0003
"""


def _tables(place: Place) -> Fit | None:
    if place.named not in ("", ITEMS, OUTFITS):
        return None
    items, outfits = place.head(ITEMS), place.head(OUTFITS)
    if "item" not in items or not {"outfit", "item"} <= set(outfits) or not {"image", "text"} & set(items):
        return None
    return Fit("OutfitCSV", f"{ITEMS} has the columns {', '.join(items)}, {OUTFITS} {', '.join(outfits)}")


def _filled(root: Path) -> dict[str, bool]:
    """Which columns of the items hold something."""
    with (root / ITEMS).open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        rows = list(csv.DictReader(stream))
    return {name: any((row.get(name) or "").strip() for row in rows) for name in ("image", "text", "category")}


def _read(data_class: Any, root: str, fit: Fit) -> Any:
    """Without features: they are computed when the training starts."""
    from zoo.domains.outfit import ItemEncoder

    return data_class(root=root, task="joint", encoder=ItemEncoder(None, text="words", words=WORDS), **fit.arguments)


def _values(data: Any) -> dict[str, Any]:
    count = len(data.items("train"))
    filled = _filled(data.folder())
    batch = batch_of(count, most=32)
    epochs = epochs_of(count, batch, 240, 6, 40)
    return {
        "image": "colours" if filled["image"] else "null", "text": "words" if filled["text"] else "null",
        "replace": "fine" if filled["category"] else "any", "batch": batch, "epochs": epochs,
    }  # fmt: skip


START = Start(
    layouts=(
        Layout(
            "OutfitCSV: a table of items (image, text or both; maybe category, group) and one of outfits (maybe split)",
            "items.csv:    item,image,text,category\n"
            "              17,photos/17.jpg,white linen shirt,shirt\n"
            "outfits.csv:  outfit,item\n"
            "              summer,17\n"
            "              summer,23",
            _tables,
        ),
    ),
    recipe=RECIPE,
    values=_values,
    read=_read,
)
