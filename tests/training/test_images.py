import numpy as np
import pytest
import torch
from PIL import Image

from zoo.errors import InputError
from zoo.training import DataError, as_images, contact_sheet, read_image, resize_shorter


def ramp(height=6, width=9):
    return np.linspace(0, 255, height * width * 3).reshape(height, width, 3).astype(np.uint8)


def test_plain_image(tmp_path):
    Image.fromarray(ramp()).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == torch.uint8
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), ramp())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(ramp()).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        expected = np.array(ImageOps.exif_transpose(opened))
    image = read_image(tmp_path / "a.png").permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(image, expected)
    assert image.shape[:2] == ((6, 9) if orientation < 5 else (9, 6))


def test_modes_become_rgb(tmp_path):
    grey = ramp()[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert torch.equal(read_image(tmp_path / "grey.png")[1], torch.from_numpy(grey))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert torch.equal(read_image(tmp_path / "deep.png")[2], torch.from_numpy(grey))
    Image.fromarray(np.dstack([ramp(), np.zeros((6, 9), np.uint8)])).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png") == 255).all()  # transparent lies on white
    Image.fromarray(ramp()).convert("P").save(tmp_path / "palette.gif")
    assert read_image(tmp_path / "palette.gif").shape == (3, 6, 9)
    Image.fromarray(ramp()).convert("CMYK").save(tmp_path / "cmyk.jpg")
    assert read_image(tmp_path / "cmyk.jpg").shape == (3, 6, 9)
    frames = [Image.fromarray(np.full((4, 4, 3), value, np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert (read_image(tmp_path / "moving.webp") == 10).all()


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none.png: there is no such image"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match=r"list.csv:7: there is no image"):
        read_image(tmp_path / "none.png", "list.csv:7")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"empty.jpg: the file is empty"):
        read_image(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("no image at all")
    with pytest.raises(DataError, match=r"text.jpg: is no image"):
        read_image(tmp_path / "text.jpg")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:700])
    with pytest.raises(DataError, match=r"cut.jpg: the image is damaged"):
        read_image(tmp_path / "cut.jpg")
    with pytest.raises(DataError, match="is a folder"):
        read_image(tmp_path, "row 3")


def test_users_images():
    byte = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    found = as_images(byte)
    assert len(found) == 2
    torch.testing.assert_close(torch.stack(found), byte / 255)
    assert as_images(byte[0].numpy())[0].shape == (3, 5, 7)
    mixed = as_images([torch.rand(3, 4, 4), np.zeros((3, 8, 2), np.uint8)])
    assert [tuple(image.shape) for image in mixed] == [(3, 4, 4), (3, 8, 2)]
    assert mixed[1].dtype == torch.float32


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.randn(1, 3, 4, 4) * 3, r"lie in \[0, 1\].*\.network"),
        (torch.full((3, 4, 4), float("nan")), "not finite"),
        (torch.rand(4, 4, 3), "channels come first"),
        (torch.rand(2, 4, 4, 4), r"expected shape \(B, 3, H, W\)"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "expected uint8 or float, got int64"),
        ([], "holds no image"),
        ([torch.rand(3, 4, 4), "a.png"], r"images\[1\]: expected a tensor or array"),
        (torch.rand(3, 0, 4), r"expected shape \(3, H, W\)"),
    ],
)
def test_users_mistakes(given, message):
    with pytest.raises(InputError, match=message):
        as_images(given)


def test_resize_and_sheet(tmp_path):
    assert resize_shorter(torch.rand(3, 20, 40), 10).shape == (3, 10, 20)
    Image.fromarray(ramp(300, 500)).save(tmp_path / "large.png")
    figure = contact_sheet([tmp_path / "large.png", torch.rand(3, 8, 8)], ["one", "two"], heading="best to worst")
    assert [axis.get_title() for axis in figure.axes[:2]] == ["one", "two"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_that_is_cut_off_or_overwritten_is_told_at_every_length(tmp_path, kind):
    """Pillow fills up with grey what zeros stand in the place of, and some that are cut off by their last bytes."""
    file = tmp_path / "a.img"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for options in ({}, {"progressive": True}):
        Image.fromarray(noise).save(file, kind, **options)
        whole = file.read_bytes()
        read_image(file)
        last = len(whole) - (1 if kind == "JPEG" else 5)  # the sum of a PNG's end is the sum of nothing
        for length in [*range(0, last, 97), last]:
            for content in (whole[:length], whole[:length].ljust(len(whole), b"\0")):
                file.write_bytes(content)
                with pytest.raises(DataError, match=r"a\.img: (the image is damaged|is no image|the file is empty)"):
                    read_image(file)


def test_a_jpeg_with_a_thumbnail_and_something_behind_it_is_whole(tmp_path):
    import io

    file, small = tmp_path / "a.jpg", io.BytesIO()
    Image.fromarray(ramp()).save(small, "JPEG")
    segment = b"Exif\0\0" + small.getvalue()
    Image.fromarray(ramp(60, 90)).save(file, "JPEG")
    whole = file.read_bytes()
    segment = b"\xff\xe2" + (len(segment) + 2).to_bytes(2, "big") + segment
    file.write_bytes(whole[:2] + segment + whole[2:] + b"a film\xff\xda")
    assert read_image(file).shape == (3, 60, 90)
    file.write_bytes(whole[:2] + segment + whole[2 : len(whole) // 2] + bytes(500))  # the thumbnail's end is there
    with pytest.raises(DataError, match="the image is damaged"):
        read_image(file)


def test_floats_up_to_one_are_no_black_picture(tmp_path):
    Image.fromarray(np.array([[0.0, 0.5, 1.0, np.nan]], dtype=np.float32)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0].tolist() == [[0, 128, 255, 0]]
