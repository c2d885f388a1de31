"""The lists of UCF-Crime: the official files whole, and the exact message for each malformed line."""

from collections import Counter

import numpy as np
import pytest

from zoo.domains.anomaly import frame_scores, frame_truth
from zoo.domains.anomaly.annotations import check_events, read_test_list, read_train_list
from zoo.training import DataError

PER_CLASS = {
    "Abuse": 48, "Arrest": 45, "Arson": 41, "Assault": 47, "Burglary": 87, "Explosion": 29, "Fighting": 45,
    "RoadAccidents": 127, "Robbery": 145, "Shooting": 27, "Shoplifting": 29, "Stealing": 95, "Vandalism": 45,
    "Training_Normal_Videos_Anomaly": 800,
}  # fmt: skip


@pytest.fixture
def lists(real_data):
    return real_data / "anomaly/ucf_crime_c3d_samples/lists"


@pytest.mark.realdata
def test_official_training_list(lists):
    videos = read_train_list(lists / "Anomaly_Train.txt")
    assert Counter(video.folder for video in videos) == PER_CLASS
    assert sum(video.anomalous for video in videos) == 810
    assert videos[0].id == "Abuse/Abuse001_x264"
    assert videos[0].frames is None
    assert videos[0].events is None


@pytest.mark.realdata
def test_both_official_test_lists_agree(lists):
    six, seven = (read_test_list(lists / name) for name in ("Temporal_Anomaly_Annotation.txt", "UCF_Annotation.txt"))
    assert len(six) == len(seven) == 290
    assert {video.id: (video.anomalous, video.events) for video in six} == {
        video.id: (video.anomalous, video.events) for video in seven
    }
    assert sum(video.anomalous for video in six) == 140
    assert sum(len(video.events) == 2 for video in six) == 16
    assert sum(video.frames for video in seven) == 1_111_808
    assert sum(last > video.frames for video in seven for _, last in video.events) == 5
    lengths = [video.frames for video in seven]
    assert (min(lengths), max(lengths), sum(length < 512 for length in lengths)) == (155, 107_997, 24)
    # frames of events as the two evaluations count them (seven lie beyond their videos), and those the port leaves at 0
    assert sum(last - first for video in seven for first, last in video.events) == 84_189
    marked = {
        protocol: sum(int(frame_truth(video.events, video.frames, protocol, video.frames).sum()) for video in seven)
        for protocol in ("official", "ekosman")
    }
    assert marked == {"official": 84_338, "ekosman": 84_189 - 7}
    ones = np.ones(32)
    assert sum(int((frame_scores(ones, length, "ekosman") == 0).sum()) for length in lengths) == 4_192


def test_the_lists_of_the_pytorch_port(tmp_path):
    train, test = tmp_path / "Train_Annotation.txt", tmp_path / "Test_Annotation.txt"
    train.write_text("Abuse/Abuse001_x264.mp4 2729\n\nTraining_Normal_Videos_Anomaly/Normal_Videos001_x264.mp4 620\n")
    test.write_text("Arson/Arson022_x264.mp4 8640 Arson 3500 4000 5000 8642 \r\n"
                    "Testing_Normal_Videos_Anomaly/Normal_Videos_872_x264.mp4 530 Normal -1 -1 -1 -1 \r\n")  # fmt: skip
    videos = read_train_list(train)
    assert [(video.id, video.anomalous, video.frames) for video in videos] == [
        ("Abuse/Abuse001_x264", True, 2729),
        ("Training_Normal_Videos_Anomaly/Normal_Videos001_x264", False, 620),
    ]
    assert videos[1].place == f"{train}:3"
    videos = read_test_list(test)
    assert videos[0].events == ((3500, 4000), (5000, 8642))
    assert [(video.frames, video.anomalous) for video in videos] == [(8640, True), (530, False)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Abuse001_x264.mp4", "'Abuse001_x264.mp4' is no `Class/Video.mp4`"),
        ("a/b/c.mp4", "'a/b/c.mp4' is no `Class/Video.mp4`"),
        ("../c.mp4", "'../c.mp4' is no `Class/Video.mp4`"),
        ("Abuse/", "'' is no file name of a video"),
        ("Abuse/a.mp4 12 13", "expected `Class/Video.mp4` or `Class/Video.mp4 frames`, got 3 words"),
        ("Abuse/a.mp4 many", "'many' is not a number of frames"),
        ("Abuse/a.mp4 0", "a video has at least one frame, not 0"),
    ],
)
def test_malformed_training_lines(tmp_path, line, message):
    path = tmp_path / "Anomaly_Train.txt"
    path.write_text(f"Abuse/ok.mp4\n{line}\n")
    with pytest.raises(DataError) as caught:
        read_train_list(path)
    assert str(caught.value) == f"{path}:2: {message}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.mp4 Abuse 5", "has 3 columns, expected 6 (video, class, first, last, first, last) or 7 "
                          "(path, frames, class, first, last, first, last)"),
        ("a.mp4 Abuse x 9 -1 -1", "'x' is not a frame number or -1"),
        ("a.mp4 Abuse 5.5 9 -1 -1", "'5.5' is not a frame number or -1"),
        ("a.mp4 Abuse 9 5 -1 -1", "9 to 5 is no event (first <= last, or -1 -1 where there is none)"),
        ("a.mp4 Abuse -1 5 -1 -1", "-1 to 5 is no event (first <= last, or -1 -1 where there is none)"),
        ("a.mp4 Abuse 5 -1 -1 -1", "5 to -1 is no event (first <= last, or -1 -1 where there is none)"),
        ("a.mp4 Abuse -1 -1 -1 -1", "the video is of class Abuse but has no event"),
        ("a.mp4 Normal 5 9 -1 -1", "the video is Normal but has an event"),
        ("Abuse/a.mp4 100 Abuse 110 120 -1 -1", "the event 110 to 120 lies beyond the video, which has 100 frames"),
        ("Abuse/a.mp4 100 Abuse 5 131 -1 -1", "the event 5 to 131 lies beyond the video, which has 100 frames"),
        ("Abuse/a.mp4 -3 Abuse 5 9 -1 -1", "a video has at least one frame, not -3"),
    ],
)  # fmt: skip
def test_malformed_test_lines(tmp_path, line, message):
    path = tmp_path / "Temporal_Anomaly_Annotation.txt"
    path.write_text(f"{line}\n")
    with pytest.raises(DataError) as caught:
        read_test_list(path)
    assert str(caught.value) == f"{path}:1: {message}"


def test_an_event_may_end_a_little_after_its_video(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("Abuse/a.mp4 100 Abuse 5 102 -1 -1\n")
    video = read_test_list(path)[0]
    check_events(video, 95)
    with pytest.raises(DataError, match=r"list\.txt:1: the event 5 to 102 lies beyond the video, which has 60 frames"):
        check_events(video, 60)


def test_empty_missing_repeated_and_binary_lists(tmp_path):
    path = tmp_path / "list.txt"
    with pytest.raises(DataError, match=r"list\.txt: there is no such list of videos"):
        read_train_list(path)
    path.write_text("\n  \n")
    with pytest.raises(DataError, match=r"list\.txt: the list is empty"):
        read_train_list(path)
    path.write_text("Abuse/a.mp4\nArson/a.mp4\nAbuse/a.mp4\n")
    with pytest.raises(DataError, match=r"list\.txt:3: Abuse/a stands already at .*list\.txt:1"):
        read_train_list(path)
    path.write_bytes(b"Abuse/\xff\xfe.mp4")
    with pytest.raises(DataError, match=r"list\.txt:1: is no text in UTF-8 \(byte 0xff\)"):
        read_train_list(path)
