"""Ground floor: torchmetrics.Metric subclasses that torchmetrics itself lacks."""

from zoo.metrics.agreement import QualityAgreement
from zoo.metrics.binary import average_precision, roc_auc
from zoo.metrics.bootstrap import bootstrap_interval
from zoo.metrics.calibration_metrics import (
    AdaptiveCalibrationError,
    AverageCalibrationError,
    BrierScore,
    CalibrationReport,
    ClasswiseCalibrationError,
    ExpectedCalibrationError,
    MaximumCalibrationError,
    NegativeLogLikelihood,
    OutOfDistribution,
    OverconfidenceError,
    ReliabilityBins,
    SelectiveRisk,
    UnderconfidenceError,
)
from zoo.metrics.ndcg import NDCG
from zoo.metrics.videos import VideoDetection

__all__ = [
    "NDCG",
    "AdaptiveCalibrationError",
    "AverageCalibrationError",
    "BrierScore",
    "CalibrationReport",
    "ClasswiseCalibrationError",
    "ExpectedCalibrationError",
    "MaximumCalibrationError",
    "NegativeLogLikelihood",
    "OutOfDistribution",
    "OverconfidenceError",
    "QualityAgreement",
    "ReliabilityBins",
    "SelectiveRisk",
    "UnderconfidenceError",
    "VideoDetection",
    "average_precision",
    "bootstrap_interval",
    "roc_auc",
]
