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
from zoo.domains.calibration.data_cub import CUB200
from zoo.domains.calibration.data_digits import Digits
from zoo.domains.calibration.data_folder import ImageFolder, ImageTable
from zoo.domains.calibration.data_jpeg import CIFAR10JPEG
from zoo.domains.calibration.data_longtail import CIFAR10LT, CIFAR100LT
from zoo.domains.calibration.data_svhn import SVHN
from zoo.domains.calibration.data_tiny import TinyImageNet
from zoo.domains.calibration.loss import MNDCG, MRL, Objective, Outputs, mndcg, mrl
from zoo.domains.calibration.module import RankMixup
from zoo.domains.calibration.network import ClassifierOutput, ResNet, TimmClassifier, build
from zoo.domains.calibration.prediction import Prediction
from zoo.metrics import fit_temperature

__all__ = [
    "CIFAR10",
    "CIFAR10JPEG",
    "CIFAR10LT",
    "CIFAR100",
    "CIFAR100LT",
    "CUB200",
    "FLSD53",
    "MDCA",
    "MMCE",
    "MNDCG",
    "MRL",
    "SVHN",
    "Brier",
    "ClassifierOutput",
    "CrossEntropy",
    "Digits",
    "EntropyPenalty",
    "Focal",
    "ImageFolder",
    "ImageTable",
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
    "TinyImageNet",
    "build",
    "convert",
    "fit_temperature",
    "mndcg",
    "mrl",
]
