"""Blind image quality by learning to rank within scenes: DN-PIQA and its data."""

from zoo.domains.quality.convert import PARTS, convert
from zoo.domains.quality.faces import Box, BoxTable, crop_face, face_finder, find_boxes
from zoo.domains.quality.liqe import LIQE, load_clip, prompts, read_aux, windows
from zoo.domains.quality.liqe_data import LIQEFeatures
from zoo.domains.quality.loss import L1, L2, PLCC, objective
from zoo.domains.quality.module import DNPIQA
from zoo.domains.quality.network import DualBranch, QualityOutput

__all__ = [
    "DNPIQA",
    "L1",
    "L2",
    "LIQE",
    "PARTS",
    "PLCC",
    "Box",
    "BoxTable",
    "DualBranch",
    "LIQEFeatures",
    "QualityOutput",
    "convert",
    "crop_face",
    "face_finder",
    "find_boxes",
    "load_clip",
    "objective",
    "prompts",
    "read_aux",
    "windows",
]
