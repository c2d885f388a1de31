"""Frames of videos and folders: order, rate, rotation, and everything that can be wrong with a file."""

import importlib

import numpy as np
import pytest
from PIL import Image

from zoo.domains.anomaly import open_frames
from zoo.errors import InputError
from zoo.training import DataError
from zoo.training.video import clock, is_frame_folder


def frames_of(path, fps=None):
    return list(open_frames(path, fps))


def test_a_video_gives_its_frames_in_order(film, tmp_path):
    given = film.pictures(40)
    video = open_frames(film.write(tmp_path / "a.mp4", given, 25))
    found = list(video)
    assert (video.fps, video.expected, len(found)) == (25, 40, 40)
    assert all(frame.dtype == np.uint8 and frame.shape == (48, 64, 3) for frame in found)
    for index in (0, 17, 39):
        nearest = np.abs(given.astype(int) - found[index]).mean(axis=(1, 2, 3)).argmin()
        assert nearest == index  # lossy, but each is nearest to itself
    assert np.array_equal(list(video)[5], found[5])  # read anew


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mpeg4"), ("a.mkv", "libx264"), ("a.webm", "libvpx"),
                                             ("a.ts", "mpeg2video"), ("a.mpg", "mpeg1video")])  # fmt: skip
def test_other_containers(film, tmp_path, name, codec):
    assert len(frames_of(film.write(tmp_path / name, film.pictures(30), 25, codec))) == 30


@pytest.mark.parametrize(("own", "wanted", "count"), [(25, 30, 48), (30, 30, 40), (30, 10, 13), (10, 30, 120)])
def test_sampling_to_a_rate_shows_the_frame_of_the_time(film, tmp_path, own, wanted, count):
    path = film.write(tmp_path / "a.mp4", film.pictures(40), own)
    plain, sampled = frames_of(path), frames_of(path, wanted)
    assert len(sampled) == count == round(40 / own * wanted)
    for number, frame in enumerate(sampled):
        # the last frame whose time, in steps of the wanted rate, is not after this one
        shown = max(index for index in range(40) if np.floor(index / own * wanted + 0.5) <= number)
        assert np.array_equal(frame, plain[shown])


def test_a_folder_is_read_in_the_order_of_its_numbers(film, tmp_path):
    given = film.pictures(12)
    folder = film.folder(tmp_path / "frames", given)
    (folder / "notes.md").write_text("no image")
    found = open_frames(folder, 10)
    assert (found.fps, found.expected) == (10, 12)
    assert np.array_equal(list(found), given)
    assert np.array_equal(found.at(1.05), given[10])
    assert open_frames(folder).fps == 30
    assert is_frame_folder(folder)
    assert not is_frame_folder(tmp_path)


def test_a_frame_at_a_time(film, tmp_path):
    path = film.write(tmp_path / "a.mp4", film.pictures(100), 25)
    plain = frames_of(path)
    for seconds, index in ((0.0, 0), (1.02, 25), (3.9, 97), (99.0, 99)):
        assert np.array_equal(open_frames(path).at(seconds), plain[index])


def test_sideways_videos_are_turned(film, tmp_path):
    import av

    plain, turned = film.write(tmp_path / "a.mp4", film.pictures(20)), tmp_path / "b.mp4"
    with av.open(str(plain)) as source, av.open(str(turned), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(90)
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    first, second = frames_of(plain)[3], frames_of(turned)[3]
    assert second.shape == (64, 48, 3)
    assert np.array_equal(second, np.rot90(first))


def test_times():
    assert [clock(seconds) for seconds in (0, 9.96, 75.25, 3599.99, 7325.5)] == [
        "0:00.0", "0:10.0", "1:15.2", "1:00:00.0", "2:02:05.5",
    ]  # fmt: skip


def damaged(film, path, kind):
    """A file that is wrong in one way."""
    frames = film.pictures(100)
    if kind == "text":
        path.write_text("no video " * 500)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "index":  # the index of an mp4 stands at its end
        content = film.write(path, frames).read_bytes()
        path.write_bytes(content[: len(content) // 2])
    elif kind == "half":  # here at its start
        content = film.write(path, frames, 30, "libx264", movflags="faststart").read_bytes()
        path.write_bytes(content[: int(len(content) * 0.6)])
    elif kind == "tail":
        content = film.write(path, frames, 30, "libx264", movflags="frag_keyframe+empty_moov").read_bytes()
        path.write_bytes(content[: int(len(content) * 0.97)])
    elif kind == "noise":
        content = bytearray(film.write(path, frames).read_bytes())
        middle = len(content) // 2
        content[middle : middle + 600] = np.random.default_rng(0).bytes(600)
        path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "is no video, or is damaged: Invalid data found"),
        ("empty", r"the file is empty \(0 bytes\)"),
        ("index", "is no video, or is damaged: Invalid data found"),
        ("half", r"the video is cut off: it holds \d+ of 100 frames"),
        ("tail", r"the video is cut off in frame \d+"),
        ("noise", r"the video is damaged after frame \d+ \(0:0\d\.\d\): Invalid data found"),
    ],
)
def test_damaged_files_are_told(film, tmp_path, kind, message):
    path = damaged(film, tmp_path / "camera.mp4", kind)
    with pytest.raises(DataError, match=rf"^{path}: {message}"):
        frames_of(path)


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.webm"])
def test_cut_off_files_of_other_containers_are_told(film, tmp_path, name):
    codec = {"a.avi": "mpeg4", "a.mkv": "libx264", "a.webm": "libvpx"}[name]
    path = film.write(tmp_path / name, film.pictures(200), 25, codec)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    with pytest.raises(DataError, match=rf"{name}: the video is cut off: it holds 1\d\d of 200 frames"):
        frames_of(path)


def test_sound_alone_and_a_stream_without_frames(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        sound.rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(DataError, match=r"sound\.mp4: holds no video stream, only audio"):
        open_frames(tmp_path / "sound.mp4")
    with av.open(str(tmp_path / "none.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(DataError, match=r"none\.avi: (the video has no frames|is no video)"):
        frames_of(tmp_path / "none.avi")


def test_folders_that_are_no_video(film, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: this folder holds no frames \(\.jpg"):
        open_frames(tmp_path / "empty")
    folder = film.folder(tmp_path / "frames", film.pictures(3))
    Image.new("RGB", (20, 10)).save(folder / "2.png")
    with pytest.raises(DataError, match=r"frames/2\.png: is 20 x 10 pixels, 0\.png 64 x 48"):
        frames_of(folder)
    (folder / "2.png").write_bytes((folder / "1.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"frames/2\.png: "):
        frames_of(folder)
    with pytest.raises(DataError, match=r"gone\.mp4: there is no such video or folder of frames"):
        open_frames(tmp_path / "gone.mp4")
    with pytest.raises(InputError, match="the frame rate must be above 0, got 0"):
        open_frames(folder, 0)


def test_without_pyav_it_is_said_how_to_get_it(film, tmp_path, monkeypatch):
    path = film.write(tmp_path / "a.mp4", film.pictures(5))

    def missing(name, *rest):
        if name == "av":
            raise ImportError(name)
        return importlib.import_module(name, *rest)

    monkeypatch.setattr("zoo.training.video.import_module", missing)
    with pytest.raises(InputError, match=r"a\.mp4: videos are read with PyAV.*pip install rankzoo\[video\]"):
        open_frames(path)
    assert len(frames_of(film.folder(tmp_path / "frames", film.pictures(2)))) == 2
