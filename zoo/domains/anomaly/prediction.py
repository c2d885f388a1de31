"""What the methods of this domain predict: scores of rows in memory, of feature files and of videos, and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from zoo.domains.anomaly.evaluation import SEGMENTING, VideoEvaluation
from zoo.domains.anomaly.extractors import Extractor
from zoo.domains.anomaly.features import SUFFIXES, read_arrays
from zoo.domains.anomaly.network import Detection
from zoo.domains.anomaly.picture import MOST, Curve, draw
from zoo.domains.anomaly.protocols import CLIP, PROTOCOLS, Protocol, frame_scores
from zoo.domains.anomaly.scoring import VideoScores, film, score_video, video_rows
from zoo.domains.anomaly.segments import SEGMENTS, segment_features
from zoo.domains.anomaly.strip import draw_film
from zoo.errors import InputError
from zoo.training import Batch, Row
from zoo.training.choices import check_choice
from zoo.training.video import VIDEO_SUFFIXES, is_frame_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = 4  # of a picture of a batch
# which extractor makes rows of a width; more than one may
_FITTING = {
    4096: "; C3DFeatures makes such rows",
    2048: "; R3DFeatures makes such rows",
    1280: "; ImageFeatures with tf_efficientnet_lite0 makes such rows",
    1024: "; VideoFeatures with s3d makes such rows",
    768: "; VideoFeatures with mvit_v2_s makes such rows",
    512: " (it makes such rows)",
}


class VideoModule(VideoEvaluation):
    """A method that is evaluated and predicts: what :class:`MILRanking` and its relatives share.

    Attributes:
        extractor: What makes the features of a video of which only frames are given; None refuses videos. It is no part
            of the network: its weights are in no checkpoint.
        row_by_row: Whether the network scores each row by itself.
    """

    suffixes = (*SUFFIXES, *VIDEO_SUFFIXES)
    extractor: Extractor | None = None
    row_by_row: ClassVar[bool] = False
    export_dynamic: ClassVar[dict[str, tuple[int, ...]]] = {"features": (1,)}

    def export_inputs(self) -> dict[str, Tensor]:
        """Two videos of 32 rows; both numbers stay open in what is exported."""
        return {"features": torch.zeros(2, SEGMENTS, self.network.features)}

    # -- prediction

    @torch.no_grad()
    def predict(self, features: Tensor | np.ndarray, preprocess: bool = True) -> Detection:
        """Scores rows of features, one score for each.

        Args:
            features: ``(B, T, D)``, ``(T, D)`` as a batch of one, or ``(B, T, crops, D)`` averaged over crops; numbers
                as stored, nothing is normalised or pooled.
            preprocess: Without effect: features need none. False hands them to the network just the same.

        Returns:
            ``scores (B, T)`` in [0, 1].

        Raises:
            InputError: The shape does not fit, there is no row, or a value is not finite.
        """
        rows = self._checked(self._rows(features), np.shape(features))
        training = self.network.training
        self.network.eval()
        try:
            return Detection(self._scores(rows, ["features"]))
        finally:
            self.network.train(training)

    def predict_frames(self, features: Tensor | np.ndarray, n_frames: int, protocol: Protocol | None = None) -> Tensor:
        """Scores every frame of a video by its clip features, as an evaluation protocol does it.

        With ``official`` and ``ekosman`` the clips are pooled to 32 segments as that evaluation pools them (Matlab's
        rounding or numpy's, the means L2-normalised), and the segments' scores are spread over the frames; the frames
        that no segment covers keep score 0, as released. With ``snippet16`` every clip has a score of its own, held
        over its 16 frames; a tail shorter than a clip keeps the last one.

        Args:
            features: ``(T, D)`` or ``(T, crops, D)``, a row per 16 frames: T is ``n_frames // 16``, give or take a few
                where features and video were not cut alike. Exactly 32 rows of a video of another length are taken as
                its segments, pooled already.
            n_frames: Length of the video in frames, >= 1.
            protocol: Which evaluation; that of the recipe if None.

        Returns:
            ``(n_frames,)`` in [0, 1].

        Raises:
            InputError: The rows do not fit the model or the length, or the protocol is unknown.
        """
        name = self._protocol if protocol is None else protocol
        check_choice("protocol", name, PROTOCOLS)
        given = self._rows(features)
        if not isinstance(n_frames, int | np.integer) or n_frames < 1:
            raise InputError(f"n_frames must be a whole number of at least 1, got {n_frames!r}")
        if np.ndim(features) == 3 and (len(features) > 1 or n_frames < 2 * CLIP):
            given = given[None]  # crops, not a batch: this takes one video
        rows = self._checked(given, np.shape(features))
        if len(rows) != 1:
            raise InputError(f"features: expected those of one video, (T, {self.network.features}), got {len(rows)}")
        clips = rows.shape[1]
        pooled = name != "snippet16" and clips == SEGMENTS != n_frames // CLIP
        if not pooled and abs(n_frames - clips * CLIP) > CLIP + n_frames // 20:
            raise InputError(
                f"features: {clips} rows of {CLIP} frames cover {clips * CLIP} frames, the video has {n_frames}"
            )
        if name != "snippet16" and not pooled:
            segments = segment_features(rows[0].cpu().numpy(), SEGMENTS, SEGMENTING[name])
            rows = torch.from_numpy(segments).to(rows.device)[None]
        scores = self.predict(rows).scores[0].cpu().numpy()
        spread = frame_scores(scores, n_frames, name, None if pooled else clips)
        spread = np.pad(spread[:n_frames], (0, max(0, n_frames - len(spread))), mode="edge")
        return torch.from_numpy(spread).to(rows.device)

    def _checked(self, rows: Tensor, given: tuple[int, ...]) -> Tensor:
        """Rows ``(B, T, D)`` or ``(B, T, crops, D)`` that the network can take."""
        width = self.network.features
        if rows.ndim not in (3, 4) or rows.shape[-1] != width or 0 in rows.shape:
            raise InputError(
                f"features: expected shape (B, T, {width}) or (T, {width}) with at least one row, got {tuple(given)}"
            )
        if not torch.isfinite(rows).all():
            place = (~torch.isfinite(rows)).nonzero()[0].tolist()
            raise InputError(f"features: batch {place[0]}, row {place[1]} (from 0) holds a value that is not finite")
        return rows

    def _rows(self, features: Tensor | np.ndarray) -> Tensor:
        """A user's numbers as a float32 batch on the model's device."""
        given = features
        if isinstance(features, np.ndarray) and features.dtype.kind in "fiub":
            given = torch.from_numpy(np.array(features, dtype=np.float32))
        if not isinstance(given, Tensor) or given.is_complex():
            kind = f"an array of {features.dtype}" if isinstance(features, np.ndarray) else type(features).__name__
            raise InputError(f"features: expected a tensor or a numpy array of numbers, got {kind}")
        rows = given.detach().to(self.device, torch.float32)
        return rows[None] if rows.ndim == 2 else rows

    def predict_video(self, video: Path | str) -> VideoScores:
        """Scores a video of which only frames are given; the checkpoint's extractor makes the features on the fly.

        Args:
            video: A video file, or a folder of frames.

        Returns:
            A score per clip; see :func:`zoo.domains.anomaly.scoring.score_video`.

        Raises:
            InputError: It is no video or damaged, the checkpoint names no extractor, or the extractor does not fit.
        """
        path, width = Path(video), self.network.features
        if self.extractor is None:
            raise InputError(
                f"{path}: is a video, and this model names no extractor for its rows of {width} numbers; name the one "
                "that made the training's features, e.g. --model.extractor VideoFeatures --model.extractor.name "
                f"r2plus1d_18{_FITTING.get(width, '')}"
            )
        return score_video(path, self.extractor, width, self._protocol, self._score_one, self.row_by_row, self.device)

    def _score_one(self, rows: np.ndarray) -> np.ndarray:
        scores: np.ndarray = self.predict(rows[None]).scores[0].float().cpu().numpy()
        return scores

    def is_item(self, folder: Path) -> bool:
        """A folder that directly holds images is a video."""
        return is_frame_folder(folder)

    def predict_file(self, file: Path) -> tuple[list[Row], Figure]:
        """Scores every row of a feature file, or every clip of a video, and draws them over time.

        Args:
            file: Features: ``.npy``, ``.npz`` (several videos are fine) or ``.txt``; 32 rows are taken as the segments
                of a video, any other number as snippets of 16 frames. Or a video, or a folder of frames.

        Returns:
            A row per row of the file and a panel per video; for a video a row per clip, its times in seconds, and the
            curve under a strip of frames.

        Raises:
            InputError: The file cannot be read, or its rows are not as wide as the model's; names it.
        """
        if file.is_dir() or file.suffix.lower() in VIDEO_SUFFIXES:
            video = self.predict_video(file)
            return video_rows(file.stem, video, self.threshold), draw_film(film(file.name, video), self.threshold)
        rows: list[Row] = []
        curves: list[Curve] = []
        videos = read_arrays(file)
        for name, array in videos.items():
            if array.shape[-1] != self.network.features:
                raise InputError(
                    f"{file}: has {array.shape[-1]} features per row, the model takes {self.network.features}"
                )
            scores = self.predict(array[None]).scores[0].cpu().numpy()
            rows.extend(
                {"video": name, "row": index, "score": float(score), "alarm": bool(score >= self.threshold)}
                for index, score in enumerate(scores)
            )
            if len(curves) < MOST:
                segments = len(scores) == SEGMENTS
                step, unit = (1, f"segment of {SEGMENTS}") if segments else (CLIP, f"frame ({CLIP} per row)")
                curves.append(Curve(f"{name}: highest score {scores.max():.2f}", scores, step, unit))
        return rows, draw(curves, self.threshold, len(videos) - len(curves))

    @torch.no_grad()
    def picture(self, batch: Batch) -> Figure:
        """Draws the first videos of a batch with their annotated events."""
        training = self.network.training
        self.network.eval()
        try:
            curves = [self._curve(batch, index) for index in range(min(PANELS, len(batch["id"])))]
        finally:
            self.network.train(training)
        return draw(curves, self.threshold, len(batch["id"]) - len(curves))

    def _curve(self, batch: Batch, index: int) -> Curve:
        name, events = batch["id"][index], batch["events"][index]
        scores, spread = self._evaluate(batch, index)
        label = "anomalous" if batch["label"][index] > 0.5 else "normal"
        title = f"{Path(name).name} ({label}): highest score {float(scores.max()):.2f}"
        if not len(spread):
            return Curve(title, scores.cpu().numpy(), 1, f"segment of {len(scores)}")
        return Curve(title, spread, 1, "frame", events or ())
