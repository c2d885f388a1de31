"""Anomaly detection in surveillance video by multiple-instance ranking (Sultani, Chen and Shah, CVPR 2018)."""

from zoo.domains.anomaly.baseline import MeanPooling
from zoo.domains.anomaly.c3d import C3D, C3DFeatures, c3d_weights
from zoo.domains.anomaly.convert import convert
from zoo.domains.anomaly.data import UCFCrime
from zoo.domains.anomaly.extractors import Extractor, ImageFeatures, VideoFeatures
from zoo.domains.anomaly.loss import mil_terms, weight_penalty
from zoo.domains.anomaly.module import MILRanking
from zoo.domains.anomaly.network import Detection, Detector
from zoo.domains.anomaly.protocols import frame_scores, frame_truth
from zoo.domains.anomaly.r3d import R3D, R3DFeatures
from zoo.domains.anomaly.rtfm import RTFM
from zoo.domains.anomaly.rtfm_loss import rtfm_terms
from zoo.domains.anomaly.rtfm_network import RTFMNetwork, Snippets, select_top
from zoo.domains.anomaly.segments import segment_features, segment_ranges
from zoo.domains.anomaly.shanghaitech import ShanghaiTech
from zoo.domains.anomaly.streaming import stream_rows
from zoo.domains.anomaly.surv_camera_fight import SurvCameraFight, clip_snippets
from zoo.domains.anomaly.synthesis import synthesize
from zoo.domains.anomaly.ucsd_ped2 import UCSDPed2
from zoo.domains.anomaly.video_table import VideoTable
from zoo.domains.anomaly.xd_violence import XDViolence
from zoo.training.video import open_frames

__all__ = [
    "C3D",
    "R3D",
    "RTFM",
    "C3DFeatures",
    "Detection",
    "Detector",
    "Extractor",
    "ImageFeatures",
    "MILRanking",
    "MeanPooling",
    "R3DFeatures",
    "RTFMNetwork",
    "ShanghaiTech",
    "Snippets",
    "SurvCameraFight",
    "UCFCrime",
    "UCSDPed2",
    "VideoFeatures",
    "VideoTable",
    "XDViolence",
    "c3d_weights",
    "clip_snippets",
    "convert",
    "frame_scores",
    "frame_truth",
    "mil_terms",
    "open_frames",
    "rtfm_terms",
    "segment_features",
    "segment_ranges",
    "select_top",
    "stream_rows",
    "synthesize",
    "weight_penalty",
]
