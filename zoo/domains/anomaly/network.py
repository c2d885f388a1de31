"""The detector of anomalous segments: three linear layers on the features of one segment. No Lightning."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

HIDDEN = (512, 32)


class Detection(NamedTuple):
    """What the detector gives.

    Attributes:
        scores: ``(B, T)`` in [0, 1]; higher is more anomalous.
    """

    scores: Tensor


class SegmentNetwork(nn.Module):
    """A network that scores rows of features.

    Attributes:
        features: Width D of a row.
    """

    features: int


class Detector(SegmentNetwork):
    """Scores each row of features by itself; no row sees another.

    Source: Sultani, Chen and Shah, Real-world Anomaly Detection in Surveillance Videos, CVPR 2018, section 4.1:
    D - 512 (ReLU) - 32 (linear) - 1 (sigmoid), dropout of 60 % between the layers. Weights start Glorot-normal, biases
    at 0, as in the authors' Keras code. 2,114,113 parameters for D = 4096.

    Args:
        features: Width D of a row of features, >= 1.
        dropout: Probability of dropping a unit, in [0, 1).

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(self, features: int = 4096, dropout: float = 0.6) -> None:
        super().__init__()
        if features < 1:
            raise ValueError(f"features must be at least 1, got {features}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.features = features
        self.fc1 = nn.Linear(features, HIDDEN[0])
        self.fc2 = nn.Linear(HIDDEN[0], HIDDEN[1])
        self.fc3 = nn.Linear(HIDDEN[1], 1)
        self.dropout = nn.Dropout(dropout)
        for layer in self.layers:
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def layers(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        """The linear layers in forward order."""
        return self.fc1, self.fc2, self.fc3

    def forward(self, features: Tensor) -> Detection:
        """Scores rows of features.

        Args:
            features: ``(B, T, D)`` floating point, as stored: nothing is normalised here.

        Returns:
            Scores ``(B, T)``.

        Raises:
            ValueError: The shape does not fit.
        """
        if features.ndim != 3 or features.shape[-1] != self.features:
            raise ValueError(
                f"features: expected shape (B, T, {self.features}), got {tuple(features.shape)}; "
                f"this network takes {self.features} features per row"
            )
        hidden = self.dropout(torch.relu(self.fc1(features)))
        hidden = self.dropout(self.fc2(hidden))
        return Detection(torch.sigmoid(self.fc3(hidden)).squeeze(-1))
