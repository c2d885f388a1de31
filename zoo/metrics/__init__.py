"""Ground floor: torchmetrics.Metric subclasses that torchmetrics itself lacks."""

from zoo.metrics.ndcg import NDCG

__all__ = ["NDCG"]
