"""Object detection whose queries are ranked by how well their boxes fit (Rank-DETR)."""

from zoo.domains.detection.coco import COCO, COCOFormat
from zoo.domains.detection.convert import PARTS, convert
from zoo.domains.detection.evaluation import COCOFigures, Detected
from zoo.domains.detection.loss import Objective
from zoo.domains.detection.matching import match
from zoo.domains.detection.module import RankDETR
from zoo.domains.detection.network import RankDETRNetwork
from zoo.domains.detection.outputs import Detections, LayerOutputs
from zoo.domains.detection.shapes import Shapes
from zoo.domains.detection.table import BoxesCSV
from zoo.domains.detection.voc import BCCD, VOC, VOCFormat
from zoo.domains.detection.yolo import YOLOFormat

__all__ = [
    "BCCD",
    "COCO",
    "PARTS",
    "VOC",
    "BoxesCSV",
    "COCOFigures",
    "COCOFormat",
    "Detected",
    "Detections",
    "LayerOutputs",
    "Objective",
    "RankDETR",
    "RankDETRNetwork",
    "Shapes",
    "VOCFormat",
    "YOLOFormat",
    "convert",
    "match",
]
