"""First floor: what every domain's Lightning code inherits."""

from zoo.training.data import DataError, Split, ZooData, refuse, usable
from zoo.training.features import FeatureStore
from zoo.training.groups import ParameterGroup, parameter_groups
from zoo.training.images import (
    IMAGE_SUFFIXES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    as_images,
    centre_crop,
    contact_sheet,
    normalise,
    read_image,
    resize_shorter,
)
from zoo.training.lengths import Length, Span
from zoo.training.module import Batch, NonFiniteLoss, Row, ZooModule
from zoo.training.order import EpochOrder, EvaluationOrder, Items
from zoo.training.schedules import MultiStep, OneCycle, Polynomial, Schedule, WarmupCosine, WarmupSteps

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "IMAGE_SUFFIXES",
    "Batch",
    "DataError",
    "EpochOrder",
    "EvaluationOrder",
    "FeatureStore",
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
    "as_images",
    "centre_crop",
    "contact_sheet",
    "normalise",
    "parameter_groups",
    "read_image",
    "refuse",
    "resize_shorter",
    "usable",
]
