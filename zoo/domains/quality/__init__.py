"""Blind image quality by learning to rank within scenes: DN-PIQA and its data."""

from zoo.domains.quality.agiqa import AGIQA3K
from zoo.domains.quality.convert import PARTS, convert
from zoo.domains.quality.distortions import KINDS, LEVELS, distort, quarter_windows
from zoo.domains.quality.faces import Box, BoxTable, crop_face, face_finder, find_boxes
from zoo.domains.quality.graded import GradedDistortions
from zoo.domains.quality.koniq import KonIQ10k
from zoo.domains.quality.liqe import LIQE, load_clip, prompts, read_aux, windows
from zoo.domains.quality.liqe_data import LIQEFeatures
from zoo.domains.quality.loss import L1, L2, PLCC, objective
from zoo.domains.quality.module import DNPIQA
from zoo.domains.quality.network import DualBranch, QualityOutput
from zoo.domains.quality.piq23 import PIQ23
from zoo.domains.quality.scored import ScoredImages

__all__ = [
    "AGIQA3K",
    "DNPIQA",
    "KINDS",
    "L1",
    "L2",
    "LEVELS",
    "LIQE",
    "PARTS",
    "PIQ23",
    "PLCC",
    "Box",
    "BoxTable",
    "DualBranch",
    "GradedDistortions",
    "KonIQ10k",
    "LIQEFeatures",
    "QualityOutput",
    "ScoredImages",
    "convert",
    "crop_face",
    "distort",
    "face_finder",
    "find_boxes",
    "load_clip",
    "objective",
    "prompts",
    "quarter_windows",
    "read_aux",
    "windows",
]
