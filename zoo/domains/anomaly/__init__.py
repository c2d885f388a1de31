"""Anomaly detection in surveillance video by multiple-instance ranking (Sultani, Chen and Shah, CVPR 2018)."""

from zoo.domains.anomaly.convert import convert
from zoo.domains.anomaly.data import UCFCrime
from zoo.domains.anomaly.loss import mil_terms, weight_penalty
from zoo.domains.anomaly.module import MILRanking
from zoo.domains.anomaly.network import Detection, Detector
from zoo.domains.anomaly.protocols import frame_scores, frame_truth
from zoo.domains.anomaly.segments import segment_features, segment_ranges
from zoo.domains.anomaly.surv_camera_fight import SurvCameraFight, clip_snippets
from zoo.domains.anomaly.synthesis import synthesize

__all__ = [
    "Detection",
    "Detector",
    "MILRanking",
    "SurvCameraFight",
    "UCFCrime",
    "clip_snippets",
    "convert",
    "frame_scores",
    "frame_truth",
    "mil_terms",
    "segment_features",
    "segment_ranges",
    "synthesize",
    "weight_penalty",
]
