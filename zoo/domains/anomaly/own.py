"""What ``zoo init anomaly`` writes: a recipe for a user's own videos. Imports no torch at the top."""

from __future__ import annotations

from typing import Any

from zoo.starts import Fit, Layout, Place, Start

RECIPE = """\
{head}
seed_everything: 0              # another number: other first weights, other bags
trainer:
  max_epochs: {epochs}
  accelerator: auto             # a GPU if there is one, else the CPU
  devices: 1
  log_every_n_steps: 5
model:
  class_path: zoo.domains.anomaly.MILRanking   # or RTFM, which sees the whole video, for {features} features
  init_args:
    features: {features}              # numbers in a row, as the files have them
    variant: official           # or paper: how a batch is summed up
    protocol: {protocol}         # how scores become scores of frames; official: rows are 32 segments
    ranking: null               # null: the hinge of the paper; or any score loss (zoo list losses)
    monitor: val/video_auc      # picks best.ckpt: the label of each validation video is enough for it
    mode: max
data:
  class_path: zoo.domains.anomaly.{data}
  init_args:
    root: {root}
{arguments}
    batch_size: {batch}              # videos of a step, half of them anomalous
    steps_per_epoch: {steps}
    val_fraction: 0.2           # of the training videos, where the table names no val videos
optimizer:
  class_path: torch.optim.Adagrad
  init_args:
    lr: 0.01                    # the first number to try others of: 0.001, 0.03
"""


def _table(place: Place) -> Fit | None:
    for table in place.tables("videos.csv"):
        head = place.head(table)
        if {"video", "label"} <= set(head):
            return Fit("VideoTable", f"{table} has the columns {', '.join(head)}", {"table": table})
    return None


def _values(data: Any) -> dict[str, Any]:
    items = data.items("train")
    video, test = items.items.item(0, None), data.items("test").items.item(0, None)
    batch = max(4, min(32, len(items) // 4 * 2))
    steps = max(5, min(20, 2 * len(items) // batch))
    return {
        "features": int(video["features"].shape[-1]),
        "protocol": "official" if test["segmented"] else "snippet16",
        "batch": batch,
        "steps": steps,
        "epochs": max(5, min(20, 160 // steps)),
    }


START = Start(
    layouts=(
        Layout(
            "VideoTable: a csv of videos, and a feature file (.npy, .npz, .txt) for each beside it "
            "(of raw videos: zoo data make video_table --from VIDEOS --out FOLDER)",
            "videos.csv:   video,label,intervals,split\n"
            "              hall/cam7,fight,165-240; 780-840,test\n"
            "              hall/cam8,normal,,train\n"
            "hall/cam7.npy numbers (T, D): a row per 16 frames",
            _table,
        ),
    ),
    recipe=RECIPE,
    values=_values,
)
