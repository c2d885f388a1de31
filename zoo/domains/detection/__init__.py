"""Object detection whose queries are ranked by how well their boxes fit (Rank-DETR)."""

from zoo.domains.detection.outputs import Detections, LayerOutputs

__all__ = ["Detections", "LayerOutputs"]
