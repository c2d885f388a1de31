"""Detection of events in videos, frame by frame and video by video, exact over batches and processes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from zoo.metrics.binary import OneClassError, average_precision, roc_auc
from zoo.metrics.gathered import Metric
from zoo.metrics.resampling import video_intervals


class VideoDetection(Metric):
    """AUC, average precision and false alarms over the frames of all videos put together, and the AUC over videos.

    The curves need every frame, which is kept once for all of them; equal scores are grouped.

    Source: Sultani, Chen and Shah, CVPR 2018, section 5: the ROC over all frames of the test videos, and the share of
    frames of normal videos that score at least 0.5.

    Args:
        threshold: A frame that scores at least this is an alarm, in [0, 1].
        resamples: Of the videos, for 95 % bootstrap intervals of ``auc`` and ``ap``; 0 for none.
    """

    is_differentiable = False
    full_state_update = False
    scores: list[Tensor]
    truth: list[Tensor]
    video_scores: list[Tensor]
    video_labels: list[Tensor]
    lengths: list[Tensor]
    alarms: Tensor
    normal_frames: Tensor

    def __init__(self, threshold: float = 0.5, resamples: int = 0) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold: {threshold} given, expected a number in [0, 1]")
        if resamples < 0:
            raise ValueError(f"resamples: {resamples} given, expected at least 0")
        self.threshold, self.resamples = threshold, resamples
        for name in ("scores", "truth", "video_scores", "video_labels", "lengths"):
            self.add_state(name, default=[], dist_reduce_fx="cat")
        for name in ("alarms", "normal_frames"):
            self.add_state(name, default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, video_score: float, label: int, scores: Tensor, truth: Tensor) -> None:
        """Adds one video.

        Args:
            video_score: Score of the video as a whole, e.g. its highest.
            label: 1 for a video with an event, 0 for a normal one.
            scores: ``(F,)``, one score per frame; ``(0,)`` where no events are annotated.
            truth: ``(F,)``, 1 where the frame is part of an event.

        Raises:
            ValueError: The shapes differ.
        """
        if scores.ndim != 1 or scores.shape != truth.shape:
            shapes = f"{tuple(scores.shape)} and {tuple(truth.shape)}"
            raise ValueError(f"scores and truth: shapes {shapes}, expected both (F,)")
        scores = scores.detach().float()
        self.scores.append(scores)
        self.truth.append(truth.float())
        # float, as the empty state of a process without videos is; exact up to 2^24 frames
        self.lengths.append(torch.tensor([float(len(scores))], device=self.device))
        self.video_scores.append(torch.tensor([float(video_score)], device=self.device))
        self.video_labels.append(torch.tensor([float(label)], device=self.device))
        if label == 0:
            self.alarms += (scores >= self.threshold).sum()
            self.normal_frames += len(scores)

    def compute(self) -> dict[str, Tensor]:
        """What can be measured on the videos seen.

        Returns:
            ``auc``, ``ap`` and ``false_alarms`` (a share) over frames where events are annotated, the last where there
            are normal videos; ``auc_low``, ``auc_high``, ``ap_low``, ``ap_high`` where resamples are asked for;
            ``video_auc`` where there are both kinds of videos. All in [0, 1].

        Raises:
            OneClassError: All frames are of one kind; or no events are annotated and all videos are of one kind.
        """
        scores, truth = _joined(self.scores), _joined(self.truth)
        result: dict[str, Tensor] = {}
        if len(scores):
            try:
                result = {"auc": roc_auc(scores, truth), "ap": average_precision(scores, truth)}
            except OneClassError as error:
                kind = "anomalous" if truth.any() else "normal"
                raise OneClassError(
                    f"a frame-level AUC needs anomalous and normal frames, all {len(truth)} frames are {kind}"
                ) from error
            if self.normal_frames > 0:
                result["false_alarms"] = self.alarms.cpu().double() / self.normal_frames.cpu()
            if self.resamples:
                lengths = _joined(self.lengths).long()
                intervals = video_intervals(scores, truth, lengths[lengths > 0], self.resamples)
                result |= {name: torch.tensor(value, dtype=torch.float64) for name, value in intervals.items()}
        labels = _joined(self.video_labels)
        if 0 < labels.sum() < len(labels):
            result["video_auc"] = roc_auc(_joined(self.video_scores), labels)
        elif not result:
            counts = f"{int(labels.sum())} anomalous and {int((labels == 0).sum())} normal"
            raise OneClassError(f"an AUC over videos needs anomalous and normal videos, there are {counts}")
        return result


def _joined(state: list[Tensor]) -> Tensor:
    """The values of a list state as one tensor on the CPU, which alone always has float64."""
    values: Tensor = dim_zero_cat(state) if len(state) else torch.empty(0)
    return values.cpu()
