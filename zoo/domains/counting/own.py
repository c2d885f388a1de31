"""What ``zoo init counting`` writes: a recipe for a user's own images and points. Imports no torch at the top."""

from __future__ import annotations

from typing import Any

from zoo.starts import Fit, Layout, Place, Start, batch_of, column, epochs_of, image_side

IMAGES = ("image", "image_path", "file", "filename", "file_name", "path", "img", "image_name")
BOX = ("xmin", "ymin", "xmax", "ymax")
FEW = 200  # images that are kept in memory

RECIPE = """\
{head}
seed_everything: 0            # another number: other first weights, other crops
trainer:
  max_epochs: {epochs}
  accelerator: auto           # a GPU if there is one, else the CPU
  devices: 1
  log_every_n_steps: 5
model:
  class_path: zoo.domains.counting.TreeFormer
  init_args:
    backbone: test_resnet     # small; any pyramid of timm (resnet18, pvt_v2_b0), or pvt_treeformer: the paper's
    pretrained: false         # true starts from ImageNet and needs fewer images (a download for most)
    token: learned
    variant: paper
    crop: {crop}                  # as the data's
    tiling: exact             # large images are counted window by window
    window: {crop}
    overlap: 0                # pixels that windows share; 32 is slower and steadier at their edges
    peak_distance: {apart}          # pixels that two points of a prediction are apart at least
    monitor: val/mae          # picks best.ckpt: mean error of the count
    mode: min
data:
  class_path: zoo.domains.counting.{data}
  init_args:
    root: {root}
{arguments}
    batch_size: {batch}             # crops of a step
    workers: 0                # loader processes; more where decoding is what takes the time
    crop: {crop}                  # side of the training crops, a multiple of 32
    steps_per_epoch: {steps}
    labelled_fraction: 1.0    # 0.3: use the points of a third only, the others teach by what must hold of any image
    unlabelled_batch: 0       # crops without points beside them; {batch} where there are images without points
    outside: stop             # drop: leave out points outside their image
    keep_images: {keep}        # decode each image once
optimizer:
  class_path: torch.optim.AdamW
  init_args:
    lr: 0.002                 # the first number to try others of; 1e-5 for pvt_treeformer
    weight_decay: 1.0e-4
"""


def _points(place: Place) -> Fit | None:
    return _tables(place, "PointTable", "points.csv", ("x", "y"))


def _boxes(place: Place) -> Fit | None:
    return _tables(place, "BoxTable", "train.csv", BOX)


def _tables(place: Place, data: str, usual: str, columns: tuple[str, ...]) -> Fit | None:
    for table in place.tables("train.csv", usual):
        head = place.head(table)
        if column(head, *IMAGES) and set(columns) <= set(head):
            pair = table == "train.csv" and set(columns) <= set(place.head("test.csv"))
            why = f"{table} has the columns {', '.join(head)}" + (", and so has test.csv" if pair else "")
            return Fit(data, why, {"table": table, "test": "test.csv" if pair else None})
    return None


def _json(place: Place) -> Fit | None:
    named = place.named or "points.json"
    if named != "points.json" or not (place.root / named).is_file():
        return None
    return Fit("PointsJSON", "there is points.json")


def _values(data: Any) -> dict[str, Any]:
    images = len(data.image_files("train"))
    side = min(image_side(data.image_files("train")))
    crop = max(32, min(128, side // 32 * 32))
    batch = batch_of(images, most=8, per_epoch=2)
    steps = max(10, min(100, images // batch))
    return {"crop": crop, "batch": batch, "steps": steps, "epochs": epochs_of(steps * batch, batch, 300, 5, 40),
            "apart": max(3, crop // 10), "keep": "true" if images <= FEW else "false"}  # fmt: skip


START = Start(
    layouts=(
        Layout(
            "PointTable: a csv with a row per point (pixels), and maybe split; an image without any has x and y empty",
            "points.csv:  image,x,y\n             images/1.jpg,31.5,80\n             images/2.jpg,,",
            _points,
        ),
        Layout(
            "BoxTable: a csv with a row per box, as DeepForest writes it; its centre counts; maybe test.csv beside it",
            "train.csv:  image_path,xmin,ymin,xmax,ymax,label\n            1.tif,10,20,30,44,Tree",
            _boxes,
        ),
        Layout(
            "PointsJSON: one json of all images",
            'points.json:  [{"file": "images/1.jpg", "split": "train", "points_xy": [[31.5, 80]]}]',
            _json,
        ),
    ),
    recipe=RECIPE,
    values=_values,
)
