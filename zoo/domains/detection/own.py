"""What ``zoo init detection`` writes: a recipe for a user's own images and boxes. Imports no torch at the top."""

from __future__ import annotations

from typing import Any

from zoo.starts import Fit, Layout, Place, Start, batch_of, column, epochs_of, image_side

FILES = ("file", "filename", "file_name", "image", "image_path", "path", "img", "image_id", "imageid")
LABELS = ("label", "class", "class_name", "category", "name", "labelname", "class_id")
LEFTS, WIDTHS = ("left", "xmin", "x_min", "x1", "bbox_x1"), ("w", "width", "bbox_width", "bbox_w")
ANNOTATIONS = (
    "annotations/{split}.json", "annotations/instances_{split}.json", "annotations/instances_{split}2017.json",
    "{split}.json", "{split}/_annotations.coco.json", "{split}/annotations.json",
)  # fmt: skip
FOLDERS = ("{split}", "images/{split}", "{split}2017", "images", ".")

RECIPE = """\
{head}
seed_everything: 0            # another number: other first weights, other views of the images
trainer:
  max_epochs: {epochs}
  accelerator: auto           # a GPU if there is one, else the CPU
  devices: 1
  log_every_n_steps: 10
  gradient_clip_val: 0.1
model:
  class_path: zoo.domains.detection.RankDETR
  init_args:
    backbone: test_resnet     # small; any of timm (tf_efficientnet_lite0, resnet18), or the paper's resnet50, swin_tiny
    pretrained: false         # true starts from ImageNet: best by far where it can be had (a download for most)
    backbone_norm: batch      # frozen with pretrained weights
    num_classes: {classes}            # as many as the data has
    encoder_layers: 1         # the paper has 6, width 256, heads 8, ffn_dim 2048
    decoder_layers: 2
    ffn_dim: 128
    queries_one2one: {queries}       # most objects that can be found in an image
    queries_one2many: {many}      # more while training
    k_one2many: 3             # how many of them each object has
    width: 64
    heads: 4
    high_order_from: 0.75     # share of the training from which on matching is by score * IoU^4
    test_size: {size}             # shorter side that images are brought to; larger finds smaller things and is slower
    test_longest: {longest}
    threshold: 0.2            # score from which on zoo predict shows an object
    monitor: val/ap           # picks best.ckpt; or val/ap50
    mode: max
data:
  class_path: zoo.domains.detection.{data}
  init_args:
    root: {root}
{arguments}
    batch_size: {batch}             # images of a step
    workers: 0                # loader processes; more where decoding is what takes the time
    sizes: [{size}]             # shorter sides that training draws from, e.g. [{size}, {larger}]
    longest: {longest}
    crop_sizes: []            # shorter sides before a random crop; empty: no crops
    flip: 0.5                 # share of the training images that are mirrored
    test_size: {size}             # as the model's
    test_longest: {longest}
    evaluation_batch: 1
optimizer:
  class_path: torch.optim.AdamW
  init_args:
    lr: 0.001                 # 1e-4 with pretrained weights
    weight_decay: 0.0001
lr_scheduler:
  class_path: zoo.training.MultiStep
  init_args:
    milestones: ["{late} epochs"]
    gamma: 0.1
    warmup: 20 steps
    warmup_factor: 0.05
"""


def _coco(place: Place) -> Fit | None:
    if place.named:
        return None
    for pattern in ANNOTATIONS:
        there = [
            split for split in ("train", "val", "test") if (place.root / pattern.replace("{split}", split)).is_file()
        ]
        if there[:2] != ["train", "val"]:
            continue
        folders = [folder for folder in FOLDERS if (place.root / folder.replace("{split}", "train")).is_dir()]
        arguments = {"annotations": pattern, "images": folders[0]}
        if "test" not in there:
            arguments["test_split"] = "val"
        return Fit("COCOFormat", f"there is {pattern.replace('{split}', 'train')}", arguments)
    return None


def _voc(place: Place) -> Fit | None:
    lists = place.root / "ImageSets" / "Main"
    if place.named or not (place.has("Annotations/*.xml") and (lists / "train.txt").is_file()):
        return None
    return Fit("VOCFormat", "there are Annotations/*.xml and ImageSets/Main/train.txt")


def _yolo(place: Place) -> Fit | None:
    for ending in (".yaml", ".yml"):
        for file in place.tables("data.yaml", "dataset.yaml", ending=ending):
            lines = (place.root / file).read_text(encoding="utf-8", errors="replace").splitlines()
            keys = {line.partition(":")[0].strip() for line in lines if line[:1].isalpha()}
            if {"train", "names"} <= keys:
                return Fit("YOLOFormat", f"{file} has the keys train and names", {"description": file})
    return None


def _csv(place: Place) -> Fit | None:
    for table in place.tables("boxes.csv", "annotations.csv", "labels.csv"):
        shown = place.head(table)
        head = [name.lower() for name in shown]
        if column(head, *FILES) and column(head, *LABELS) and (column(head, *LEFTS) or column(head, *WIDTHS)):
            return Fit("BoxesCSV", f"{table} has the columns {', '.join(shown)}", _columns(place, table, head))
    return None


def _columns(place: Place, table: str, head: list[str]) -> dict[str, Any]:
    """The table, and the folder that its paths are relative to."""
    import csv

    with (place.root / table).open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        rows = list(csv.reader(stream))[1:2]
    name = rows[0][head.index(column(head, *FILES))].strip() if rows and len(rows[0]) == len(head) else ""
    folder = next((folder for folder in (".", "images", "JPEGImages") if (place.root / folder / name).is_file()), ".")
    return {"table": table, **({} if folder == "." else {"images": folder})}


def _values(data: Any) -> dict[str, Any]:
    items = data.items("train")
    records = items.items.records
    side = min(image_side(data.image_files("train")))
    size = max(64, min(160, side // 32 * 32))
    most = max(int(record.objects.sum()) for record in records)
    queries = max(15, min(30 if size < 96 else 60, 2 * most))
    used = sum(bool(record.objects.any()) for record in records)
    batch = batch_of(used, most=8)
    epochs = epochs_of(used, batch, 600, 6, 60)
    return {
        "classes": len(data.class_names), "size": size, "longest": 2 * size, "larger": size + 32, "queries": queries,
        "many": queries, "batch": batch, "epochs": epochs, "late": max(1, 4 * epochs // 5),
    }  # fmt: skip


START = Start(
    layouts=(
        Layout(
            "COCOFormat: COCO's json and a folder of images per split",
            "annotations/train.json  annotations/val.json  train/1.jpg  val/2.jpg",
            _coco,
        ),
        Layout(
            "VOCFormat: an xml per image, and lists of the splits",
            "Annotations/1.xml  JPEGImages/1.jpg  ImageSets/Main/train.txt  .../val.txt  .../test.txt",
            _voc,
        ),
        Layout(
            "YOLOFormat: a text file per image, and a yaml of splits and classes",
            "data.yaml:           train: images/train\n"
            "                     val: images/val\n"
            "                     names: [cat, dog]\n"
            "labels/train/1.txt:  0 0.5 0.5 0.2 0.3",
            _yolo,
        ),
        Layout(
            "BoxesCSV: one csv with a row per box (pixels), and maybe split",
            "boxes.csv:  file,left,top,right,bottom,label\n            images/1.jpg,10,20,30,44,cat",
            _csv,
        ),
    ),
    recipe=RECIPE,
    values=_values,
)
