"""What ``zoo init reid`` writes: a recipe for a user's own images and captions. Imports no torch at the top."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.starts import Fit, Layout, Place, Start, batch_of, column, epochs_of, image_side

IMAGES = ("file_path", "img_path", "image", "file", "filename", "image_name", "path")
CAPTIONS = ("captions", "caption", "text", "comment", "sentence", "query")

RECIPE = """\
{head}
seed_everything: 0              # another number: other first weights, another order of the batches
trainer:
  max_epochs: {epochs}
  accelerator: auto             # a GPU if there is one, else the CPU
  devices: 1
  log_every_n_steps: 5
model:
  class_path: zoo.domains.reid.RDE
  init_args:
    image:                      # a small tower from scratch; BackboneTower takes any timm network, pretrained or not
      class_path: zoo.domains.reid.VisionTransformer
      init_args:
        image_size: [{height}, {width}]    # height and width that images are brought to
        patch: 8
        stride: 8
        width: 64
        layers: 2
        heads: 4
        embed: 64
    text:                       # words are hashed, no vocabulary is needed; MiniLMTower is a sentence encoder
      class_path: zoo.domains.reid.TextTransformer
      init_args:
        tokenizer: hashed
        vocab: 2048
        context: 32             # words of a caption that count
        width: 64
        layers: 2
        heads: 4
        embed: 64
    tse: 128                    # width of the second embedding, of selected tokens
    ranking:                    # try InfoNCE, SDM, Triplet, MultiSimilarity (zoo list losses)
      class_path: zoo.ranking.TripletAlignment
      init_args:
        margin: 0.1
        temperature: 0.05
    reduction: mean
    mixture: loose
    monitor: val/rank1          # picks best.ckpt: how often the first image found is right, in per cent
    mode: max
data:
  class_path: zoo.domains.reid.{data}
  init_args:
    root: {root}
{arguments}
    batch_size: {batch}              # pairs of a step: the others are the negatives, so more is better
    workers: 0                  # loader processes; more where decoding is what takes the time
    image_size: [{height}, {width}]        # as the image tower's
    augment_image: false        # true: flip, crop and erase; needs more epochs
    augment_text: false         # true: mask and leave out words
    memory: true                # keep resized training images in memory
optimizer:
  class_path: torch.optim.Adam
  init_args:
    lr: 0.002                   # 1e-5 where towers start from CLIP
"""


def _table(place: Place) -> Fit | None:
    for table in place.tables("captions.csv"):
        head = place.head(table)
        if column(head, *IMAGES) and column(head, *CAPTIONS) and "split" in head:
            with (place.root / table).open(newline="", encoding="utf-8-sig", errors="replace") as stream:
                return _fit(table, f"{table} has the columns {', '.join(head)}", list(csv.DictReader(stream)))
    return None


def _json(place: Place) -> Fit | None:
    for file in place.tables("captions.json", ending=".json"):
        try:
            content = json.loads((place.root / file).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        rows = content.get("images") if isinstance(content, dict) else content
        first = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
        if isinstance(rows, list) and column(list(first), *IMAGES) and column(list(first), *CAPTIONS):
            return _fit(file, f"{file} is a list of {', '.join(first)}", [row for row in rows if isinstance(row, dict)])
    return None


def _fit(file: str, why: str, rows: Sequence[Mapping[str, Any]]) -> Fit:
    validated = any(str(row.get("split", "")).strip() == "val" for row in rows)
    held = {} if validated else {"val_fraction": 0.15}
    return Fit("ImageText", why + ("" if validated else "; there is no val split, so training images are held out"),
               {"file": file, **held})  # fmt: skip


def _values(data: Any) -> dict[str, Any]:
    items = data.items("train")
    height, width = image_side(data.image_files("train"))
    sides = (64, 32) if height >= 1.5 * width else (64, 64)
    batch = batch_of(len(items), most=48, least=4, per_epoch=4)
    return {"height": sides[0], "width": sides[1], "batch": batch, "epochs": epochs_of(len(items), batch, 200, 6, 40)}


START = Start(
    layouts=(
        Layout(
            "ImageText: a csv with a row per caption: image, caption, split, and maybe id (of who is on it)",
            "captions.csv:  image,caption,id,split\n               photos/1.jpg,a man in a red jacket,7,train",
            _table,
        ),
        Layout(
            "ImageText: a json list",
            '[{"image": "photos/1.jpg", "captions": ["a man in a red jacket"], "id": 7, "split": "train"}]',
            _json,
        ),
    ),
    recipe=RECIPE,
    values=_values,
)
