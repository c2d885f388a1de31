"""UCF-Crime: the official lists and annotations over a feature file per video."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from zoo.domains.anomaly.annotations import Video, read_test_list, read_train_list
from zoo.domains.anomaly.extractors import Extractor
from zoo.domains.anomaly.listed import ListedVideos
from zoo.domains.anomaly.segments import Segmenting
from zoo.domains.anomaly.synthesis import synthesize


class UCFCrime(ListedVideos):
    """UCF-Crime from features: 1610 training videos with a label, 290 test videos with annotated events.

    There is no official validation split. ``val_fraction`` of the training videos, the same share of both classes,
    drawn by ``split_seed``, is held out: it has labels only, so it is measured by the AUC over videos
    (``val/video_auc``). The test split is never used to choose anything.

    Args:
        root: Folder with the lists and a folder per class.
        batch_size: Bags per process and step, half of them anomalous.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many videos of each split.
        on_error: ``stop`` at the first unusable video, or ``skip`` and report.
        segmenting: How videos with other than 32 rows become 32 segments for training.
        steps_per_epoch: Iterations that make an epoch.
        replacement: Whether a bag may come twice in a batch (the PyTorch port draws so).
        val_fraction: Share of the training videos held out for validation, in (0, 1); at least one of each class.
        split_seed: Which videos are held out.
        train_list: ``Anomaly_Train.txt``, ``Train_Annotation.txt``, or RTFM's list of feature files.
        test_list: ``Temporal_Anomaly_Annotation.txt`` or ``Test_Annotation.txt``.
        frame_counts: Where the lengths of the test videos stand, if the test list has none.
        memory: Keep features in memory once read (1.0 GB for all C3D segments, in each loader process).
        extractor: What ``zoo data make --from`` makes features of videos with.
    """

    dataset = "ucf_crime"
    makes = "C3DFeatures --data.extractor.weights c3d.pickle"
    source = "https://www.crcv.ucf.edu/projects/real-world/ (videos, lists); C3D segment features: see the card"
    terms = "none stated by the authors; research use, the videos are from YouTube and LiveLeak"
    sample = "**/Normal_Videos*.txt"
    length_hint = "add Test_Annotation.txt, which does (data.frame_counts)"
    layout = """
    Anomaly_Train.txt                  Class/Video_x264.mp4 per line (or Train_Annotation.txt: and its frame count)
    Temporal_Anomaly_Annotation.txt    video, class, first and last frame of two events, -1 where absent
    Test_Annotation.txt                path, frame count, class, the same events: gives the lengths of the test videos
    <Class>/<Video>_x264.txt           32 lines of features; or .npy, .npz (T, D) or (T, crops, D), a row per 16 frames;
                                       or <Video>_x264_i3d.npy (T, 10, 2048); or a folder <Video>_x264 of C3D blobs,
                                       000001.fc6-1, 000017.fc6-1, ...
    Training_Normal_Videos_Anomaly/    the same for normal training videos
    Testing_Normal_Videos_Anomaly/     and for normal test videos
    (feature files may also lie in the root or in any folder of it, as UCF_Train_ten_crop_i3d/)
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 60,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        segmenting: Segmenting = "matlab",
        steps_per_epoch: int = 1000,
        replacement: bool = False,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        train_list: str = "Anomaly_Train.txt",
        test_list: str = "Temporal_Anomaly_Annotation.txt",
        frame_counts: str = "Test_Annotation.txt",
        memory: bool = True,
        extractor: Extractor | None = None,
    ) -> None:
        super().__init__(
            root, batch_size, workers, synthesize, limit, on_error, segmenting, steps_per_epoch, replacement,
            val_fraction, split_seed, memory,
        )  # fmt: skip
        self.extractor = extractor
        self.train_list, self.test_list, self.frame_counts = train_list, test_list, frame_counts

    def make(self, root: Path) -> None:
        """Writes tiny data in the official format."""
        synthesize(root, seed=self.seed)

    def training_videos(self, root: Path) -> list[Video]:
        """Reads the training list."""
        return read_train_list(self.list_file(root, self.train_list), self.spare)

    def test_videos(self, root: Path) -> list[Video]:
        """Reads the test list, and the lengths of the videos where they stand in another."""
        videos = read_test_list(self.list_file(root, self.test_list), self.spare)
        if all(video.frames is not None for video in videos) or not (root / self.frame_counts).is_file():
            return videos
        counts = {video.name: video.frames for video in read_test_list(root / self.frame_counts, self.spare)}
        return [dataclasses.replace(video, frames=counts.get(video.name)) for video in videos]
