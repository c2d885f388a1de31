"""What ``zoo init calibration`` writes: a recipe for a user's own images and classes. Imports no torch at the top."""

from __future__ import annotations

from typing import Any

from zoo.starts import Fit, Layout, Place, Start, batch_of, column, epochs_of, image_side

SPLITS = {"train", "training", "val", "valid", "validation", "test"}

RECIPE = """\
{head}
seed_everything: 0            # another number: other first weights, another order of the batches
trainer:
  max_epochs: {epochs}              # passes over the training images
  accelerator: auto           # a GPU if there is one, else the CPU
  devices: 1
  log_every_n_steps: 5
  gradient_clip_val: 2.0
model:
  class_path: zoo.domains.calibration.RankMixup
  init_args:
    objective:                # what is trained; try MRL, MbLS, MDCA, CrossEntropy (a table in the domain's card)
      class_path: zoo.domains.calibration.MNDCG
      init_args:
        copies: 3             # mixed copies of each image
    network: resnet8          # small; try resnet50, wrn26_10, or any classifier of timm with pretrained: true
    layout: {layout}             # of the stem: cifar for about 32 pixels, tiny for 64, imagenet for 224
    width: 16                 # channels of the first stage; null for the network's own
    classes: {classes}                # as many as the data has
    monitor: val/acc          # picks best.ckpt; calibration is measured beside it
    mode: max
data:
  class_path: zoo.domains.calibration.{data}
  init_args:
    root: {root}
{arguments}
    batch_size: {batch}            # images of a step
    workers: 0                # loader processes; more where decoding is what takes the time
    size: {size}                  # side of what the network sees; larger sees more and takes longer
    resize: null              # shorter side before the crop; null: as size
    flip: true                # mirror every second training image; false for writing and the like
    val_fraction: 0.1         # held out from train where there are no validation images
    test_fraction: 0.2        # likewise for the test
optimizer:
  class_path: torch.optim.SGD
  init_args:
    lr: 0.05                  # the first number to try others of: 0.01, 0.1
    momentum: 0.9
    weight_decay: 0.0005
lr_scheduler:
  class_path: zoo.training.MultiStep
  init_args:
    milestones: ["{half} epochs", "{late} epochs"]   # from when on lr is a tenth, and a tenth again
"""


def _split_folders(place: Place) -> Fit | None:
    classes = place.folders_of_images("train")
    if place.named or not classes:
        return None
    return Fit("ImageFolder", f"train/ has a folder for each of {len(classes)} classes")


def _class_folders(place: Place) -> Fit | None:
    classes = [] if place.named else place.folders_of_images()
    if len(classes) < 2 or {name.lower() for name in classes} & SPLITS:
        return None
    return Fit("ImageFolder", f"there is a folder for each of {len(classes)} classes")


def _table(place: Place) -> Fit | None:
    for table in place.tables("images.csv", "labels.csv"):
        head = place.head(table)
        found = {
            "path": column(head, "path", "file", "filename", "file_name", "image", "image_path"),
            "label": column(head, "label", "class", "category", "class_name", "target"),
            "split": column(head, "split", "set", "subset"),
        }
        if found["path"] and found["label"]:
            named = {key: name for key, name in found.items() if name and name != key}
            return Fit("ImageTable", f"{table} has the columns {', '.join(head)}", {"table": table, **named})
    return None


def _values(data: Any) -> dict[str, Any]:
    items = data.items("train")
    side = min(image_side(data.image_files("train")))
    size = 32 if side <= 48 else 64
    batch = batch_of(len(items), most=64)
    epochs = epochs_of(len(items), batch, 400, 8, 60)
    return {
        "classes": len(data.class_names), "size": size, "layout": "cifar" if size == 32 else "tiny", "batch": batch,
        "epochs": epochs, "half": max(1, epochs // 2), "late": max(2, 3 * epochs // 4),
    }  # fmt: skip


START = Start(
    layouts=(
        Layout(
            "ImageFolder: a folder of images per class, below train/ (val/ and test/ alike, if there are any)",
            "train/cat/1.jpg  train/dog/2.jpg  test/cat/3.jpg",
            _split_folders,
        ),
        Layout(
            "ImageTable: a csv of paths and labels, and maybe a column split (train, val, test)",
            "images.csv:  path,label,split\n             photos/1.jpg,cat,train",
            _table,
        ),
        Layout("ImageFolder: a folder of images per class, without splits", "cat/1.jpg  dog/2.jpg", _class_folders),
    ),
    recipe=RECIPE,
    values=_values,
)
