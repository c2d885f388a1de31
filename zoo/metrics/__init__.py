"""Ground floor: torchmetrics.Metric subclasses that torchmetrics itself lacks."""

from zoo.metrics.binary import ROCAUC, OneClassError, average_precision, roc_auc
from zoo.metrics.frames import FrameDetection
from zoo.metrics.ndcg import NDCG

__all__ = ["NDCG", "ROCAUC", "FrameDetection", "OneClassError", "average_precision", "roc_auc"]
