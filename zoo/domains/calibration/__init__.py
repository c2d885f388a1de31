"""Calibration of image classifiers: RankMixup (Noh et al., ICCV 2023) and what it is compared with."""

from zoo.domains.calibration.baselines import (
    FLSD53,
    MDCA,
    MMCE,
    Brier,
    CrossEntropy,
    EntropyPenalty,
    Focal,
    L1Penalty,
    LabelSmoothing,
    MbLS,
    Mixup,
    RegMixup,
)
from zoo.domains.calibration.convert import convert
from zoo.domains.calibration.data_cifar import CIFAR10, CIFAR100
from zoo.domains.calibration.data_digits import Digits
from zoo.domains.calibration.data_jpeg import CIFAR10JPEG
from zoo.domains.calibration.loss import MNDCG, MRL, Objective, Outputs, mndcg, mrl
from zoo.domains.calibration.module import RankMixup
from zoo.domains.calibration.network import ClassifierOutput, ResNet, TimmClassifier, build
from zoo.domains.calibration.prediction import Prediction

__all__ = [
    "CIFAR10",
    "CIFAR10JPEG",
    "CIFAR100",
    "FLSD53",
    "MDCA",
    "MMCE",
    "MNDCG",
    "MRL",
    "Brier",
    "ClassifierOutput",
    "CrossEntropy",
    "Digits",
    "EntropyPenalty",
    "Focal",
    "L1Penalty",
    "LabelSmoothing",
    "MbLS",
    "Mixup",
    "Objective",
    "Outputs",
    "Prediction",
    "RankMixup",
    "RegMixup",
    "ResNet",
    "TimmClassifier",
    "build",
    "convert",
    "mndcg",
    "mrl",
]
