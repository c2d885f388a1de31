"""The Rank-DETR network."""

from zoo.domains.detection.outputs import Detections, LayerOutputs

__all__ = ["Detections", "LayerOutputs"]
