"""Ground floor: torchmetrics.Metric subclasses that torchmetrics itself lacks."""

from zoo.metrics.binary import average_precision, roc_auc
from zoo.metrics.ndcg import NDCG
from zoo.metrics.videos import VideoDetection

__all__ = ["NDCG", "VideoDetection", "average_precision", "roc_auc"]
