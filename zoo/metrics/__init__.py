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
from zoo.metrics.calibration_streaming import StreamingCalibrationError
from zoo.metrics.calibration_temperature import fit_temperature
from zoo.metrics.counting import CountErrors, GridErrors, grid_errors
from zoo.metrics.ndcg import NDCG
from zoo.metrics.rank_quality import RankQuality
from zoo.metrics.retrieval import TextImageRetrieval, blocked_ranks, rank_values
from zoo.metrics.videos import VideoDetection

__all__ = [
    "NDCG",
    "AdaptiveCalibrationError",
    "AverageCalibrationError",
    "BrierScore",
    "CalibrationReport",
    "ClasswiseCalibrationError",
    "CountErrors",
    "ExpectedCalibrationError",
    "GridErrors",
    "MaximumCalibrationError",
    "NegativeLogLikelihood",
    "OutOfDistribution",
    "OverconfidenceError",
    "QualityAgreement",
    "RankQuality",
    "ReliabilityBins",
    "SelectiveRisk",
    "StreamingCalibrationError",
    "TextImageRetrieval",
    "UnderconfidenceError",
    "VideoDetection",
    "average_precision",
    "blocked_ranks",
    "bootstrap_interval",
    "fit_temperature",
    "grid_errors",
    "rank_values",
    "roc_auc",
]
