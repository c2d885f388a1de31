"""Bases that say what a subclass has to write cannot be made themselves."""

import pytest
import torch

from zoo.domains.anomaly.extractors import Extractor
from zoo.domains.anomaly.listed import ListedVideos
from zoo.ranking.lazy import LazySimilarity
from zoo.training.video import Frames


@pytest.mark.parametrize(
    ("base", "wanted"),
    [
        (LazySimilarity, "pull.* tile"),
        (Frames, "__iter__.* at"),
        (Extractor, "build.* encode.* frame.* settings"),
        (ListedVideos, "test_videos.* training_videos"),
    ],
)
def test_a_base_names_what_is_to_be_written(base, wanted):
    wanted = wanted.replace(" ", "'?,? '?").replace(".*", "")
    with pytest.raises(TypeError, match=rf"abstract class {base.__name__} .*{wanted}"):
        base(torch.zeros(1, 2), torch.zeros(1, 2)) if base is LazySimilarity else base()
