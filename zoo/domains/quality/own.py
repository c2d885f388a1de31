"""What ``zoo init quality`` writes: a recipe for a user's own scored images. Imports no torch at the top."""

from __future__ import annotations

from typing import Any

from zoo.starts import Fit, Layout, Place, Start, batch_of, epochs_of, image_side

RECIPE = """\
{head}
seed_everything: 0            # another number: other first weights, other pairs
trainer:
  max_epochs: {epochs}
  accelerator: auto           # a GPU if there is one, else the CPU
  devices: 1
  log_every_n_steps: 5
model:
  class_path: zoo.domains.quality.DNPIQA
  init_args:
    ranking: null             # null: fidelity, as the paper; or any score loss (zoo list losses), e.g. Logistic
    backbone: test_resnet     # small; any image model of timm, e.g. tf_efficientnet_lite0 or resnet18
    pretrained: false         # true starts from ImageNet and needs fewer images (a download for most)
    branches: full            # both adds a branch that looks at the face (data.faces, model.faces)
    liqe: false               # true joins LIQE logits, made by zoo data make liqe
    resize: {resize}               # shorter side before a crop is cut
    crop: {crop}                 # side of the crop that the network sees
    crops: centre             # or five: the mean over five crops, slower and steadier
    monitor: val/srcc_mean    # picks best.ckpt: agreement of the order within scenes
    mode: max
data:
  class_path: zoo.domains.quality.{data}
  init_args:
    root: {root}
{arguments}
    batch_size: {batch}             # pairs of a step
    workers: 0                # loader processes; more where decoding is what takes the time
    pairs: epoch              # fresh partners each epoch; batch: all pairs of a scene-balanced batch
    resize: {resize}               # as the model's
    crop: {crop}
    val: 0.1                  # share of the validation split where the table has no column split
    test: 0.2
optimizer:
  class_path: torch.optim.Adam
  init_args:
    lr: 0.001                 # 1e-4 or less for a pretrained backbone
"""


def _table(place: Place) -> Fit | None:
    for table in place.tables("scores.csv"):
        head = place.head(table)
        if {"path", "score"} <= set(head):
            return Fit("ScoredImages", f"{table} has the columns {', '.join(head)}", {"table": table})
    return None


def _values(data: Any) -> dict[str, Any]:
    items = data.items("train")
    large = min(image_side(data.image_files("train"))) >= 160
    batch = batch_of(len(items), most=16)
    return {"resize": 144 if large else 64, "crop": 128 if large else 56, "batch": batch,
            "epochs": epochs_of(len(items), batch, 300, 6, 60)}  # fmt: skip


START = Start(
    layouts=(
        Layout(
            "ScoredImages: a csv of images and scores, higher is better; maybe scene (scores compare within) and split",
            "scores.csv:  path,score,scene,split\n             photos/1.jpg,3.5,kitchen,train",
            _table,
        ),
    ),
    recipe=RECIPE,
    values=_values,
)
