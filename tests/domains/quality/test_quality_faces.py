"""Face boxes: a csv, OpenCV's cascade, YuNet; cutting out with a margin; images without a face."""

import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.domains.quality import Box, BoxTable, crop_face, face_finder, find_boxes
from zoo.errors import InputError
from zoo.training import DataError, read_image


def table(folder, *rows, columns="file,left,top,right,bottom"):
    file = folder / "boxes.csv"
    file.write_text("\n".join([columns, *rows]) + "\n")
    return file


def test_rows_are_found_by_the_end_of_a_path(tmp_path):
    file = table(tmp_path, "a.jpg,1,2,30,40", "Overall/b.jpg,5,6,7.6,8.4", "Details\\b.jpg,0,0,9,9", "c.jpg,,,,")
    boxes = BoxTable(file)
    assert boxes.find(tmp_path / "Overall" / "a.jpg", "Overall/a.jpg") == Box(1, 2, 30, 40)
    assert boxes.find(tmp_path / "Overall" / "b.jpg", "Overall/b.jpg") == Box(5, 6, 8, 8)
    assert boxes.find(tmp_path / "Details" / "b.jpg", "b.jpg") == Box(0, 0, 9, 9)
    assert boxes.find(tmp_path / "c.jpg", "c.jpg") is None
    assert boxes.find(tmp_path / "d.jpg", "d.jpg") is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_most_confident_of_several_faces(tmp_path, order):
    rows = ["a.jpg,1,2,30,40,0.6", "a.jpg,5,6,70,80,0.9"]
    file = table(tmp_path, *(rows[place] for place in order), columns="file,left,top,right,bottom,confidence")
    assert BoxTable(file).find(tmp_path / "a.jpg", "a.jpg") == Box(5, 6, 70, 80)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a.jpg,1,2,3"], ":2: has 4 values, the head 5"),
        (["a.jpg,1,2,x,4"], ":2: 'x' is no number"),
        (["a.jpg,1,2,inf,4"], ":2: the box 1, 2, inf, 4 is not complete"),
        (["b.jpg,1,2,3,4", "a.jpg,5,2,5,4"], ":3: the box 5, 2, 5, 4 is empty: right must exceed left, bottom top"),
        ([",1,2,3,4"], ":2: names no file"),
        (["a.jpg,1,2,3,4", "a.jpg,1,2,3,5"],
         ":3: 'a.jpg' has a row already, line 2, and no confidence says which of them counts"),
    ],
)  # fmt: skip
def test_wrong_rows_are_named(tmp_path, rows, message):
    file = table(tmp_path, *rows)
    with pytest.raises(DataError, match=re.escape(f"{file}{message}")):
        BoxTable(file)


def test_wrong_tables_are_named(tmp_path):
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'no.csv'}: there is no such csv of face boxes")):
        BoxTable(tmp_path / "no.csv")
    file = table(tmp_path, columns="file,x,y,right,bottom")
    expected = ":1: no column left, top; boxes need file, left, top, right, bottom, found file, x, y, right, bottom"
    with pytest.raises(DataError, match=re.escape(f"{file}{expected}")):
        BoxTable(file)


def test_rows_that_point_nowhere(tmp_path):
    file = table(tmp_path, "a.jpg,1,2,3,4", "bb.jpg,1,2,3,4")
    boxes = BoxTable(file)
    boxes.check([tmp_path / "a.jpg", tmp_path / "bb.jpg"], ["a.jpg", "bb.jpg"])
    with pytest.raises(DataError) as caught:
        boxes.check([tmp_path / "a.jpg", tmp_path / "b.jpg"], ["a.jpg", "b.jpg"])
    assert str(caught.value) == f"{file}:3: 'bb.jpg' is no image of the data; did you mean 'b.jpg'?"
    with pytest.raises(DataError, match=re.escape(f"{file}:2: there is no image {tmp_path / 'a.jpg'}")):
        boxes.files()


def ramp(height: int, width: int) -> torch.Tensor:
    return (torch.arange(height * width).reshape(1, height, width) % 251 + 1).to(torch.uint8).repeat(3, 1, 1)


def test_a_crop_is_the_box_and_20_pixels_more():
    image = ramp(100, 120)
    assert torch.equal(crop_face(image, Box(40, 30, 70, 60)), image[:, 10:80, 20:90])
    assert torch.equal(crop_face(image, Box(40, 30, 70, 60), 0), image[:, 30:60, 40:70])
    assert crop_face(image, None) is image


def test_outside_of_the_image_is_black():
    image = ramp(50, 60)
    face = crop_face(image, Box(-5, 10, 20, 45))
    assert face.shape == (3, 35 + 40, 25 + 40)
    # column 0 of the image is column 25 of the crop, row 0 is row 10
    assert torch.equal(face[:, 10:60, 25:65], image[:, 0:50, 0:40])
    assert face[:, :10].max() == face[:, 60:].max() == face[:, :, :25].max() == 0
    expected = np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).crop((-25, -10, 40, 65)))
    assert np.array_equal(face.permute(1, 2, 0).numpy(), expected)  # what Pillow's crop gives


@pytest.mark.parametrize("box", [Box(60, 0, 70, 10), Box(0, 50, 10, 60), Box(-9, 0, 0, 10), Box(0, -9, 10, 0)])
def test_a_box_elsewhere_is_refused(box):
    with pytest.raises(
        ValueError, match=re.escape(f"the face box {tuple(box)} lies outside the image of 60 x 50 px"[:-2])
    ):
        crop_face(ramp(50, 60), box)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("opencv",), "faces: 'opencv' given, expected one of none, csv, cascade, yunet"),
        (("csv",), "faces: csv needs a file: boxes: FILE"),
        (("yunet",), "faces: yunet needs a file: yunet: FILE"),
        (
            ("yunet", None, "none.onnx"),
            "none.onnx: there is no such file; faces: yunet needs face_detection",
        ),
    ],
)
def test_wrong_choices_are_named(arguments, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        face_finder(*arguments)


def test_opencv_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError) as caught:
        face_finder("cascade")
    assert str(caught.value) == (
        "faces: cascade needs OpenCV: pip install 'rankzoo[faces]', that is 'opencv-python-headless<5'"
    )


def yunet_file(file, width, height, faces):
    """An onnx with YuNet's twelve outputs that sees the given faces (left, top, width, height, confidence)."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("cv2")
    make, number = onnx.helper, onnx.numpy_helper.from_array
    nodes = [make.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
             make.make_node("Mul", ["mean", "zero"], ["nothing"])]  # fmt: skip
    constants, outputs = [number(np.zeros(1, np.float32), "zero")], []
    wide, high = -(-width // 32) * 32, -(-height // 32) * 32
    for stride in (8, 16, 32):
        columns, cells = wide // stride, wide // stride * high // stride
        arrays = {name: np.zeros((1, cells, size), np.float32)
                  for name, size in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))}  # fmt: skip
        for left, top, across, down, confidence in faces if stride == 8 else ():
            x, y = (left + across / 2) / 8, (top + down / 2) / 8
            cell = int(y) * columns + int(x)
            arrays["cls"][0, cell] = arrays["obj"][0, cell] = confidence
            arrays["bbox"][0, cell] = x - int(x), y - int(y), np.log(across / 8), np.log(down / 8)
        for name, array in arrays.items():
            constants.append(number(array, f"{name}_{stride}_value"))
            nodes.append(make.make_node("Add", [f"{name}_{stride}_value", "nothing"], [f"{name}_{stride}"]))
            outputs.append(make.make_tensor_value_info(f"{name}_{stride}", onnx.TensorProto.FLOAT, array.shape))
    given = make.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, high, wide])
    graph = make.make_graph(nodes, "yunet", [given], outputs, constants)
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 11)], ir_version=8), file)
    return str(file)


def test_yunet_takes_the_most_confident_face(tmp_path):
    file = yunet_file(tmp_path / "yunet.onnx", 320, 200, [(40, 30, 60, 80, 0.8), (200, 50, 50, 70, 0.95)])
    finder = face_finder("yunet", yunet=file)
    assert finder.detect(torch.zeros(3, 200, 320, dtype=torch.uint8)) == Box(200, 50, 250, 120)
    nothing = face_finder("yunet", yunet=yunet_file(tmp_path / "blind.onnx", 320, 200, [(40, 30, 60, 80, 0.5)]))
    assert nothing.detect(torch.zeros(3, 200, 320, dtype=torch.uint8)) is None


def test_boxes_of_large_images_are_scaled_back(tmp_path):
    # 2560 x 1600 is seen at 1280 x 800
    finder = face_finder("yunet", yunet=yunet_file(tmp_path / "yunet.onnx", 1280, 800, [(400, 300, 160, 200, 0.9)]))
    assert finder.detect(torch.zeros(3, 1600, 2560, dtype=torch.uint8)) == Box(800, 600, 1120, 1000)


def test_another_onnx_is_no_yunet(tmp_path):
    pytest.importorskip("cv2")
    (tmp_path / "yunet.onnx").write_bytes(b"nothing")
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'yunet.onnx'}: is no YuNet model that OpenCV")):
        face_finder("yunet", yunet=str(tmp_path / "yunet.onnx"))


def test_many_images_are_looked_at_once(tmp_path, capsys):
    file = yunet_file(tmp_path / "yunet.onnx", 320, 200, [(40, 30, 60, 80, 0.8)])
    finder = face_finder("yunet", yunet=file)
    files = []
    for number in range(2):
        files.append(tmp_path / f"{number}.png")
        Image.new("RGB", (320, 200), (number, 0, 0)).save(files[-1])
    names = [found.name for found in files]
    assert find_boxes(finder, files, names) == [Box(40, 30, 100, 110)] * 2
    assert "faces: 2 to compute" in capsys.readouterr().err
    finder.find = lambda file, name: pytest.fail("looked at twice")
    assert find_boxes(finder, files, names) == [Box(40, 30, 100, 110)] * 2
    assert capsys.readouterr().err == ""


def test_images_without_a_face_are_counted(tmp_path, capsys):
    boxes = BoxTable(table(tmp_path, "0.png,1,2,30,40"))
    files = [tmp_path / f"{number}.png" for number in range(3)]
    assert find_boxes(boxes, files, [file.name for file in files]) == [Box(1, 2, 30, 40), None, None]
    assert capsys.readouterr().err == "faces: 2 of 3 images have none and are used whole\n"
    assert find_boxes(face_finder("none"), files, [file.name for file in files]) == [None] * 3
    assert capsys.readouterr().err == ""


def test_the_cascade_sees_nothing_in_noise():
    pytest.importorskip("cv2")
    noise = torch.randint(0, 256, (3, 120, 160), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert face_finder("cascade").detect(noise) is None


@pytest.mark.realdata
def test_the_cascade_on_photographs(real_data):
    pytest.importorskip("cv2")
    files = sorted((real_data / "imagetext" / "flickr8k_1000" / "images").glob("*.jpg"))[:400]
    finder = face_finder("cascade")
    found = find_boxes(finder, files, [file.name for file in files])
    boxes = [(file, box) for file, box in zip(files, found, strict=True) if box is not None]
    assert 15 <= len(boxes) <= 32  # 23 with OpenCV 4.14
    for file, box in boxes:
        image = read_image(file)
        assert 0 <= box.left < box.right <= image.shape[2]
        assert 0 <= box.top < box.bottom <= image.shape[1]
        # the same face is found in the mirrored photograph: a face, not a place
    mirrored = [finder.detect(read_image(file).flip(2)) for file, _ in boxes]
    assert sum(box is not None for box in mirrored) >= len(boxes) / 2
