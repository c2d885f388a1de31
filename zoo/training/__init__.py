"""First floor: what every domain's Lightning code inherits."""

from zoo.training.data import DataError, Split, ZooData
from zoo.training.groups import ParameterGroup, parameter_groups
from zoo.training.lengths import Length, Span
from zoo.training.module import Batch, NonFiniteLoss, Row, ZooModule
from zoo.training.order import EpochOrder, EvaluationOrder, Items
from zoo.training.schedules import MultiStep, OneCycle, Polynomial, Schedule, WarmupCosine, WarmupSteps

__all__ = [
    "Batch",
    "DataError",
    "EpochOrder",
    "EvaluationOrder",
    "Items",
    "Length",
    "MultiStep",
    "NonFiniteLoss",
    "OneCycle",
    "ParameterGroup",
    "Polynomial",
    "Row",
    "Schedule",
    "Span",
    "Split",
    "WarmupCosine",
    "WarmupSteps",
    "ZooData",
    "ZooModule",
    "parameter_groups",
]
