"""Anomaly detection in surveillance video by multiple-instance ranking (Sultani, Chen and Shah, CVPR 2018)."""

from zoo.domains.anomaly.baseline import MeanPooling
from zoo.domains.anomaly.convert import convert
from zoo.domains.anomaly.data import UCFCrime
from zoo.domains.anomaly.loss import mil_terms, weight_penalty
from zoo.domains.anomaly.module import MILRanking
from zoo.domains.anomaly.network import Detection, Detector
from zoo.domains.anomaly.protocols import frame_scores, frame_truth
from zoo.domains.anomaly.rtfm import RTFM
from zoo.domains.anomaly.rtfm_loss import rtfm_terms
from zoo.domains.anomaly.rtfm_network import RTFMNetwork, Snippets, select_top
from zoo.domains.anomaly.segments import segment_features, segment_ranges
from zoo.domains.anomaly.surv_camera_fight import SurvCameraFight, clip_snippets
from zoo.domains.anomaly.synthesis import synthesize

__all__ = [
    "RTFM",
    "Detection",
    "Detector",
    "MILRanking",
    "MeanPooling",
    "RTFMNetwork",
    "Snippets",
    "SurvCameraFight",
    "UCFCrime",
    "clip_snippets",
    "convert",
    "frame_scores",
    "frame_truth",
    "mil_terms",
    "rtfm_terms",
    "segment_features",
    "segment_ranges",
    "select_top",
    "synthesize",
    "weight_penalty",
]
