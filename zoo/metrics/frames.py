"""Detection of events in videos, frame by frame: AUC, average precision and false alarms from one state."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from zoo.metrics.binary import OneClassError, average_precision, joined, roc_auc


class FrameDetection(Metric):
    """Frame-level AUC, average precision and false-alarm rate over the frames of all videos put together.

    Source: Sultani, Chen and Shah, CVPR 2018, section 5: the ROC over all frames of the test videos, and the share of
    frames of normal videos that score at least 0.5. The curves need every frame, which is kept once for all three.

    Args:
        threshold: A frame that scores at least this is an alarm, in [0, 1].
    """

    is_differentiable = False
    full_state_update = False
    scores: list[Tensor]
    truth: list[Tensor]
    alarms: Tensor
    normal_frames: Tensor

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold: {threshold} given, expected a number in [0, 1]")
        self.threshold = threshold
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("truth", default=[], dist_reduce_fx="cat")
        self.add_state("alarms", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("normal_frames", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, scores: Tensor, truth: Tensor) -> None:
        """Adds one video.

        Args:
            scores: ``(F,)``, one score per frame.
            truth: ``(F,)``, 1 where the frame is anomalous; a video without any is a normal one.

        Raises:
            ValueError: The shapes differ.
        """
        if scores.ndim != 1 or scores.shape != truth.shape:
            shapes = f"{tuple(scores.shape)} and {tuple(truth.shape)}"
            raise ValueError(f"scores and truth: shapes {shapes}, expected both (F,)")
        scores, truth = scores.detach().float(), truth.float()
        self.scores.append(scores)
        self.truth.append(truth)
        if not truth.any():
            self.alarms += (scores >= self.threshold).sum()
            self.normal_frames += len(scores)

    def compute(self) -> dict[str, Tensor]:
        """The three numbers.

        Returns:
            ``auc`` and ``ap`` in [0, 1], ties grouped; ``false_alarms``, a share in [0, 1], where there was a normal
            video. Empty where no video was seen, as in a validation on videos without annotated events.

        Raises:
            OneClassError: All frames are normal, or all are anomalous.
        """
        scores, truth = joined(self.scores), joined(self.truth)
        if not len(scores):
            return {}
        try:
            result = {"auc": roc_auc(scores, truth), "ap": average_precision(scores, truth)}
        except OneClassError as error:
            kind = "anomalous" if truth.any() else "normal"
            raise OneClassError(
                f"a frame-level AUC needs anomalous and normal frames, all {len(truth)} frames are {kind}"
            ) from error
        if self.normal_frames > 0:
            result["false_alarms"] = self.alarms.cpu().double() / self.normal_frames.cpu()
        return result
