"""From a video to a score curve: rows on the fly, protocols, events, the picture, memory, refusals."""

import numpy as np
import pytest
import torch

from zoo.domains.anomaly import (
    RTFM,
    ImageFeatures,
    MILRanking,
    clip_snippets,
    frame_scores,
    open_frames,
    segment_features,
    segment_ranges,
    stream_rows,
)
from zoo.domains.anomaly.events import top_events
from zoo.domains.anomaly.streaming import Spool
from zoo.domains.anomaly.strip import Reel
from zoo.errors import InputError
from zoo.export import export
from zoo.training import DataError


def tiny(**options):
    return ImageFeatures("test_resnet", **{"pretrained": False, "size": 32, "frames": 2, "batch": 3, **options})


@pytest.fixture(scope="module")
def width():
    extractor = tiny()
    extractor.network(torch.device("cpu"))
    return extractor.width


@pytest.fixture
def model(width):
    torch.manual_seed(0)
    return MILRanking(features=width, protocol="snippet16", extractor=tiny(fps=None)).eval()


def rows_of(extractor, path):
    return torch.cat(list(stream_rows(extractor, open_frames(path, extractor.fps)))).numpy()


def per_frame(extractor, frames):
    """Features of every frame, one by one, without any of the streaming."""
    network = extractor.network(torch.device("cpu"))
    with torch.inference_mode():
        return np.stack([extractor.encode(network, extractor.frame(f)[None, None])[0, 0].numpy() for f in frames])


@pytest.mark.parametrize("batch", [1, 3, 50])
@pytest.mark.parametrize("frames", [1, 4, 16])
def test_mean_rows_against_every_frame_by_itself(film, tmp_path, batch, frames):
    shown = film.pictures(16 * 7 + 5)
    extractor = tiny(frames=frames, batch=batch)
    rows = rows_of(extractor, film.folder(tmp_path / "f", shown))
    features = per_frame(extractor, shown[:112]).reshape(7, 16, -1)
    chosen = {1: [0], 4: [0, 4, 8, 12], 16: list(range(16))}[frames]
    np.testing.assert_allclose(rows, features[:, chosen].mean(axis=1), atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_changes_are_those_the_training_was_given(film, tmp_path, batch):
    shown = film.pictures(12)
    extractor = tiny(clip=3, frames=3, reduce="change", batch=batch)
    rows = rows_of(extractor, film.folder(tmp_path / "f", shown))
    np.testing.assert_allclose(rows, clip_snippets(per_frame(extractor, shown)), rtol=1e-4, atol=1e-6)


def test_a_file_gives_the_rows_of_its_frames(film, tmp_path):
    path = film.write(tmp_path / "a.mp4", film.pictures(50), 25)
    shown = np.stack(list(open_frames(path)))
    folder = film.folder(tmp_path / "f", shown)
    np.testing.assert_allclose(rows_of(tiny(fps=None), path), rows_of(tiny(fps=None), folder), atol=1e-6)
    sampled = film.folder(tmp_path / "g", np.stack(list(open_frames(path, 30))))
    np.testing.assert_allclose(rows_of(tiny(fps=30), path), rows_of(tiny(fps=30), sampled), atol=1e-6)


def test_what_goes_wrong_in_the_thread_is_raised_where_rows_are_taken(film, tmp_path):
    folder = film.folder(tmp_path / "f", film.pictures(64))
    (folder / "40.png").write_bytes(b"no image")
    rows = stream_rows(tiny(batch=1), open_frames(folder))
    assert next(rows).shape[0] == 1
    with pytest.raises(DataError, match=r"40\.png"):
        list(rows)
    early = stream_rows(tiny(batch=1), open_frames(film.folder(tmp_path / "g", film.pictures(640))))
    next(early)
    early.close()  # ends the thread though it waits for room


def test_a_video_shorter_than_a_clip_is_told(film, tmp_path):
    path = film.write(tmp_path / "short.mp4", film.pictures(9), 25)
    with pytest.raises(DataError, match=r"short\.mp4: has 11 frames at 30 per second, a row of features takes 16"):
        rows_of(tiny(), path)
    folder = film.folder(tmp_path / "sampled", film.pictures(12))
    with pytest.raises(DataError, match=r"takes 16; were they sampled already, name fewer \(extractor\.clip, extr"):
        rows_of(tiny(), folder)


# -- frames


@pytest.mark.parametrize(("protocol", "mode"), [("official", "matlab"), ("ekosman", "numpy"), ("snippet16", None)])
@pytest.mark.parametrize(("clips", "rest"), [(100, 9), (49, 0), (32, 5), (20, 15), (1, 0)])
def test_scores_of_frames(protocol, mode, clips, rest):
    torch.manual_seed(0)
    model = MILRanking(features=16, protocol=protocol)
    features = np.random.default_rng(clips).random((clips, 16)).astype(np.float32)
    frames = 16 * clips + rest
    found = model.predict_frames(features, frames)
    assert found.shape == (frames,)
    rows = features if mode is None else segment_features(features, 32, mode)
    scores = model.predict(rows).scores[0].numpy()
    if protocol == "snippet16":
        expected = np.pad(np.repeat(scores, 16), (0, rest), mode="edge")
    else:
        expected = frame_scores(scores, frames, protocol, clips)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.allclose(model.predict_frames(torch.from_numpy(features), frames, protocol=protocol), found)


def test_scores_of_frames_of_crops_and_of_segments():
    torch.manual_seed(0)
    model = MILRanking(features=16)
    rng = np.random.default_rng(0)
    crops = rng.random((50, 3, 16)).astype(np.float32)
    pooled = segment_features(crops, 32, "matlab")
    expected = frame_scores(model.predict(pooled[None]).scores[0].numpy(), 800, "official", 50)
    np.testing.assert_allclose(model.predict_frames(crops, 800), expected, atol=1e-6)
    short = crops[:1]  # one clip of three crops, no batch of three clips
    np.testing.assert_allclose(
        model.predict_frames(short, 20, protocol="snippet16"), np.repeat(model.predict(short[None]).scores[0], 20)
    )
    released = rng.random((32, 16)).astype(np.float32)  # 32 rows of a longer video are its segments already
    expected = frame_scores(model.predict(released).scores[0].numpy(), 1600, "official")
    np.testing.assert_allclose(model.predict_frames(released, 1600), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "frames", "protocol", "message"),
    [
        (np.zeros((50, 16)), 2000, None, "50 rows of 16 frames cover 800 frames, the video has 2000"),
        (np.zeros((50, 15)), 800, None, r"expected shape \(B, T, 16\)"),
        (np.zeros((2, 50, 3, 16)), 800, None, r"expected those of one video, \(T, 16\), got 2"),
        (np.zeros((50, 16)), 800, "offical", "protocol must be one of official, .*did you mean 'official'"),
        (np.zeros((50, 16)), 0, None, "n_frames must be a whole number of at least 1, got 0"),
        (np.zeros((50, 16)), 800.5, None, r"n_frames must be a whole number of at least 1, got 800\.5"),
    ],
)
def test_rows_that_do_not_fit_their_video(rows, frames, protocol, message):
    with pytest.raises(InputError, match=message):
        MILRanking(features=16).predict_frames(rows, frames, protocol=protocol)


# -- videos


@pytest.mark.parametrize("protocol", ["official", "ekosman", "snippet16"])
def test_a_video_is_scored_as_its_features_are(film, tmp_path, width, protocol):
    torch.manual_seed(0)
    model = MILRanking(features=width, protocol=protocol, extractor=tiny(fps=None)).eval()
    path = film.write(tmp_path / "cam.mp4", film.pictures(16 * 45 + 7), 25)
    rows = rows_of(tiny(fps=None), path)
    video = model.predict_video(path)
    assert (video.frames, video.fps, video.clip, len(video.scores)) == (727, 25, 16, 45)
    if protocol == "snippet16":
        expected = model.predict(rows).scores[0].numpy()
    else:
        mode = {"official": "matlab", "ekosman": "numpy"}[protocol]
        segments = model.predict(segment_features(rows, 32, mode)).scores[0].numpy()
        expected = np.full(45, segments[-1])
        for score, (start, stop) in zip(segments, segment_ranges(45, 32, mode), strict=True):
            expected[start:stop] = score
    np.testing.assert_allclose(video.scores, expected, atol=1e-6)


def test_rows_of_the_table_and_the_picture(film, tmp_path, model, capsys):
    path = film.write(tmp_path / "cam.mp4", film.pictures(16 * 20 + 6), 20)
    rows, figure = model.predict_file(path)
    assert [row["row"] for row in rows] == list(range(20))
    assert set(rows[0]) == {"video", "row", "start", "end", "score", "alarm", "event"}
    assert {row["video"] for row in rows} == {"cam"}
    assert [row["start"] for row in rows] == pytest.approx([0.8 * index for index in range(20)])
    assert rows[0]["end"] == pytest.approx(0.8)
    assert rows[-1]["end"] == pytest.approx(326 / 20)  # the rest of the frames shares the last score
    scores = np.array([row["score"] for row in rows])
    assert [row["alarm"] for row in rows] == (scores >= 0.5).tolist()
    for number, event in enumerate(top_events(scores), 1):
        assert [row["row"] for row in rows if row["event"] == number] == list(range(event.first, event.stop))
    assert "cam.mp4: making features of about 326 frames" in capsys.readouterr().err
    events = top_events(scores)
    assert len(figure.axes) == 2 + len(events)
    strip, curve = figure.axes[:2]
    assert len(strip.images) >= 4
    assert curve.get_xlim() == (0, 326 / 20)
    low, high = curve.get_ylim()
    unseen = "" if low <= 0.5 <= high else ", out of view"
    assert f"threshold 0.5{unseen}" in curve.get_legend_handles_labels()[1]
    texts = [text.get_text() for text in curve.texts]
    assert [text.split(":")[0] for text in texts] == [str(number) for number in range(1, len(events) + 1)]
    figure.savefig(tmp_path / "cam.png")
    assert (tmp_path / "cam.png").stat().st_size > 20_000


def test_a_folder_of_frames_is_one_input(film, tmp_path, model):
    folder = film.folder(tmp_path / "frames", film.pictures(48))
    assert model.is_item(folder)
    assert not model.is_item(tmp_path)
    rows, _ = model.predict_file(folder)
    assert [row["video"] for row in rows] == ["frames"] * 3
    np.testing.assert_allclose(
        [row["score"] for row in rows], model.predict(rows_of(tiny(fps=None), folder)).scores[0], atol=1e-6
    )


def test_a_method_that_looks_at_whole_videos(film, tmp_path, width):
    torch.manual_seed(0)
    model = RTFM(features=width, extractor=tiny(fps=None)).eval()
    path = film.folder(tmp_path / "frames", film.pictures(16 * 6))
    expected = model.predict(rows_of(tiny(fps=None), path)).scores[0]
    np.testing.assert_allclose(model.predict_video(path).scores, expected, atol=1e-6)


def test_refusals_name_the_file_and_what_to_do(film, tmp_path, width):
    path = film.write(tmp_path / "cam.mp4", film.pictures(32))
    with pytest.raises(InputError, match=r"cam\.mp4: is a video, and this model names no extractor .* 4096 .*C3DFeat"):
        MILRanking().predict_file(path)
    with pytest.raises(InputError, match=rf"cam\.mp4: ImageFeatures gives rows of {width} numbers, the model takes 7"):
        MILRanking(features=7, extractor=tiny()).predict_file(path)
    (tmp_path / "bad.mp4").write_text("text")
    with pytest.raises(DataError, match=r"bad\.mp4: is no video"):
        MILRanking(features=width, extractor=tiny()).predict_file(tmp_path / "bad.mp4")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="none: this folder holds no frames"):
        MILRanking(features=width, extractor=tiny()).predict_file(tmp_path / "none")


def test_the_extractor_is_no_part_of_a_checkpoint(model, film, tmp_path):
    before = set(model.state_dict())
    model.predict_video(film.folder(tmp_path / "frames", film.pictures(16)))
    assert set(model.state_dict()) == before == {f"network.fc{n}.{k}" for n in (1, 2, 3) for k in ("weight", "bias")}


# -- pieces


def test_top_events_by_hand():
    scores = np.full(40, 0.2)
    scores[5:8] = (0.7, 0.9, 0.6)
    scores[20] = 0.8
    scores[30:33] = 0.58
    scores[36] = 0.3  # below the middle of 0.2 and 0.9
    assert [tuple(event) for event in top_events(scores)] == [(5, 8, 6, 0.9), (20, 21, 20, 0.8), (30, 33, 30, 0.58)]
    assert [event.first for event in top_events(scores, 2)] == [5, 20]
    assert [event[:3] for event in top_events(0.001 * scores)] == [event[:3] for event in top_events(scores)]
    assert top_events(np.full(9, 0.7)) == []
    assert [event[:3] for event in top_events(np.array([0.1, 0.1, 0.9]))] == [(2, 3, 2)]


@pytest.mark.parametrize("length", [1, 5, 63, 64, 1000])
def test_a_reel_keeps_frames_all_over_a_video(length):
    reel = Reel(keep=8)
    for index in range(length):
        reel(index, np.full((4, 4, 3), index % 256, np.uint8))
    kept = sorted(reel.frames)
    assert reel.count == length
    assert min(8, length) <= len(kept) < 16
    assert np.ptp(np.diff(kept)) == 0 if len(kept) > 1 else True
    assert length - 1 - kept[-1] < reel.stride
    assert int(reel.nearest(length / 2)[0, 0, 0]) == min(kept, key=lambda place: abs(place - length / 2)) % 256


def test_a_spool_behaves_as_the_array_that_went_in():
    rows = torch.rand(50, 6)
    with Spool() as spool:
        for part in rows.split(7):
            spool.append(part)
        assert len(spool) == 50
        np.testing.assert_array_equal(spool[3:40], rows[3:40])
        np.testing.assert_array_equal(spool[45:99], rows[45:])
        np.testing.assert_array_equal(
            segment_features(spool, 32, "matlab"), segment_features(rows.numpy(), 32, "matlab")
        )


@pytest.mark.parametrize(("method", "form", "suffix"), [(MILRanking, "torch", ".pt2"), (RTFM, "onnx", ".onnx")])
def test_detectors_are_exported_for_any_number_of_videos_and_rows(tmp_path, method, form, suffix):
    if form == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = method(features=16).eval()
    done = export(model, tmp_path / f"net{suffix}", form)  # holds it to the eager network
    assert done.inputs == {"features": (None, None, 16)}
    rows = torch.rand(3, 45, 16)
    if form == "torch":
        found = torch.export.load(done.path).module()(rows)[0]
    else:
        found = torch.from_numpy(onnxruntime.InferenceSession(done.path).run(["scores"], {"features": rows.numpy()})[0])
    torch.testing.assert_close(found, model.predict(rows).scores, atol=1e-5, rtol=1e-4)
