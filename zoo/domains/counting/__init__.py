"""Semi-supervised tree counting by density maps: TreeFormer and its data."""

from zoo.domains.counting.convert import PARTS, convert
from zoo.domains.counting.loss import Weights
from zoo.domains.counting.network import TreeCounter, TreeFormerOutput

__all__ = ["PARTS", "TreeCounter", "TreeFormerOutput", "Weights", "convert"]
