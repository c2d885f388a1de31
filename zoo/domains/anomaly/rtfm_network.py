"""The network of RTFM: dilated convolutions and attention over time, then a score per snippet. No Lightning."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.domains.anomaly.network import SegmentNetwork

DILATIONS = (1, 2, 4)
CHUNK = 4096  # snippets; longer videos give the same through the other order of the products


class Snippets(NamedTuple):
    """What the network gives.

    Attributes:
        scores: ``(B, T)`` in [0, 1], averaged over crops; higher is more anomalous.
        features: ``(B, crops, T, D)``, what the scores are computed from.
        magnitudes: ``(B, T)``, the L2 norms of the features, averaged over crops.
    """

    scores: Tensor
    features: Tensor
    magnitudes: Tensor


class NonLocal(nn.Module):
    """Attention over time without softmax: products of snippets, divided by their number.

    Source: Wang et al., Non-local Neural Networks, CVPR 2018, the dot-product form; the last batch norm starts at 0,
    so that the block starts as the identity.

    Args:
        channels: Of input and output.
        inner: Of the embeddings.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.g = nn.Conv1d(channels, inner, 1)
        self.theta = nn.Conv1d(channels, inner, 1)
        self.phi = nn.Conv1d(channels, inner, 1)
        norm = nn.BatchNorm1d(channels)
        self.W = nn.Sequential(nn.Conv1d(inner, channels, 1), norm)
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)

    def forward(self, rows: Tensor) -> Tensor:
        """``(N, channels, T)`` to the same shape."""
        theta, phi, g = self.theta(rows), self.phi(rows), self.g(rows)
        length = rows.shape[-1]
        if length <= CHUNK:
            weights = theta.transpose(1, 2) @ phi / length
            mixed = (weights @ g.transpose(1, 2)).transpose(1, 2)
        else:  # T x T weights of a long video would not fit into memory
            mixed = (phi @ g.transpose(1, 2) / length).transpose(1, 2) @ theta
        out: Tensor = self.W(mixed) + rows
        return out


class Aggregate(nn.Module):
    """The multi-scale temporal network: three dilated convolutions and attention beside each other, and a residual.

    Args:
        features: D, divisible by 4.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        part = features // 4
        for number, dilation in enumerate(DILATIONS, 1):
            convolution = nn.Conv1d(features, part, 3, padding=dilation, dilation=dilation)
            self.add_module(f"conv_{number}", nn.Sequential(convolution, nn.ReLU(), nn.BatchNorm1d(part)))
        self.conv_4 = nn.Sequential(nn.Conv1d(features, part, 1, bias=False), nn.ReLU())
        self.conv_5 = nn.Sequential(
            nn.Conv1d(features, features, 3, padding=1, bias=False), nn.ReLU(), nn.BatchNorm1d(features)
        )
        self.non_local = NonLocal(part, max(1, part // 2))

    def forward(self, rows: Tensor) -> Tensor:
        """``(N, D, T)`` to the same shape."""
        scales = [self.get_submodule(f"conv_{number}")(rows) for number in range(1, len(DILATIONS) + 1)]
        context = self.non_local(self.conv_4(rows))
        out: Tensor = self.conv_5(torch.cat([*scales, context], dim=1)) + rows
        return out


class RTFMNetwork(SegmentNetwork):
    """Scores snippets in the context of their video.

    Source: Tian et al., Weakly-supervised Video Anomaly Detection with Robust Temporal Feature Magnitude Learning,
    ICCV 2021. :class:`Aggregate`, dropout, then D - 512 - 128 - 1 (ReLU, ReLU, sigmoid) with dropout between the
    layers; each crop goes through by itself. Weights start Xavier-uniform, biases at 0. 24,718,849 parameters for
    D = 2048.

    Args:
        features: Width D of a row of features, divisible by 4.
        dropout: Probability of dropping a unit, in [0, 1).

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(self, features: int = 2048, dropout: float = 0.7) -> None:
        super().__init__()
        if features < 4 or features % 4:
            raise ValueError(f"features must be a multiple of 4, got {features}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.features = features
        self.Aggregate = Aggregate(features)  # the released names
        self.fc1 = nn.Linear(features, 512)
        self.fc2 = nn.Linear(512, 128)
        self.fc3 = nn.Linear(128, 1)
        self.dropout = nn.Dropout(dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, features: Tensor) -> Snippets:
        """Scores the snippets of videos.

        Args:
            features: ``(B, T, D)`` or ``(B, T, crops, D)`` floating point, as stored: nothing is normalised here. All
                T rows are real: a padded video would be seen differently.

        Returns:
            Scores, features and magnitudes.

        Raises:
            ValueError: The shape does not fit.
        """
        if features.ndim not in (3, 4) or features.shape[-1] != self.features:
            raise ValueError(
                f"features: expected shape (B, T, {self.features}) or (B, T, crops, {self.features}), got "
                f"{tuple(features.shape)}; this network takes {self.features} features per row"
            )
        crops = features.unsqueeze(2) if features.ndim == 3 else features
        batch, _, count, _ = crops.shape
        rows = crops.permute(0, 2, 3, 1).flatten(0, 1)
        hidden = self.dropout(self.Aggregate(rows).transpose(1, 2))
        inside = self.dropout(torch.relu(self.fc1(hidden)))
        inside = self.dropout(torch.relu(self.fc2(inside)))
        scores = torch.sigmoid(self.fc3(inside)).squeeze(-1)
        seen = hidden.unflatten(0, (batch, count))
        return Snippets(scores.unflatten(0, (batch, count)).mean(1), seen, seen.norm(dim=-1).mean(1))


def select_top(magnitudes: Tensor, k: int, dropout: float = 0.0) -> Tensor:
    """The snippets of largest magnitude; while training, some are dropped from the choice at random.

    Args:
        magnitudes: ``(B, T)``, >= 0.
        k: How many are chosen, 1 <= k <= T.
        dropout: Probability of dropping a snippet, in [0, 1). A dropped one counts 0.

    Returns:
        ``(B, k)`` int64, the largest first.
    """
    kept = functional.dropout(torch.ones_like(magnitudes), dropout, training=dropout > 0)
    return (magnitudes * kept).topk(k, dim=1).indices
