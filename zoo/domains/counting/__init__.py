"""Semi-supervised tree counting by density maps: TreeFormer and its data."""

from zoo.domains.counting.convert import PARTS, convert
from zoo.domains.counting.data_folders import NWPU, Jiangsu, KCLLondon, ShanghaiTechA, ShanghaiTechB
from zoo.domains.counting.data_listed import BoxTable, PointsJSON, PointTable
from zoo.domains.counting.data_yosemite import Yosemite
from zoo.domains.counting.loss import Weights
from zoo.domains.counting.module import TreeFormer
from zoo.domains.counting.network import TreeCounter, TreeFormerOutput
from zoo.domains.counting.prediction import Counted

__all__ = [
    "NWPU",
    "PARTS",
    "BoxTable",
    "Counted",
    "Jiangsu",
    "KCLLondon",
    "PointTable",
    "PointsJSON",
    "ShanghaiTechA",
    "ShanghaiTechB",
    "TreeCounter",
    "TreeFormer",
    "TreeFormerOutput",
    "Weights",
    "Yosemite",
    "convert",
]
