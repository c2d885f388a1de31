"""Images of users and data sets: reading any mode and orientation, the inputs of ``predict``, contact sheets."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from zoo.errors import InputError
from zoo.training.data import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
SHOWN = 2048  # pixels of the longer side of a picture
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def read_image(file: Path, where: str | None = None) -> Tensor:
    """Reads an image as people see it.

    The orientation of EXIF is applied; transparency lies on white; 16-bit grey is scaled to 8, and so are floats up to
    1; of an animation the first frame is taken.

    Args:
        file: Any format that Pillow reads.
        where: What names the image in an error, e.g. a row of a csv; the file by default.

    Returns:
        RGB, uint8 ``(3, H, W)``.

    Raises:
        DataError: There is no such file, or it cannot be decoded; names it.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = where or str(file)
    place = name if file.name in name else f"{name}: {file}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # below Pillow's limit it is decoded
            with Image.open(file) as opened:
                _check_whole(file, opened.format)
                opened.seek(0)
                pixels = np.array(_rgb(ImageOps.exif_transpose(opened)), dtype=np.uint8)
    except FileNotFoundError as error:
        raise DataError(f"{name}: there is no image {file}" if where else f"{file}: there is no such image") from error
    except IsADirectoryError as error:
        raise DataError(f"{name}: {file} is a folder, not an image") from error
    except UnidentifiedImageError as error:
        empty = file.stat().st_size == 0
        raise DataError(f"{place}: {'the file is empty' if empty else 'is no image that can be read'}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{place}: has more pixels than are decoded at once ({error})") from error
    except Exception as error:  # a damaged file raises almost anything
        raise DataError(f"{place}: the image is damaged ({' '.join(str(error).split())[:120]})") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _check_whole(file: Path, kind: str | None) -> None:
    """Refuses what Pillow would fill up in silence: a PNG whose sums are wrong, a JPEG that does not come to its end.

    Raises:
        OSError: The file is cut off, or was overwritten.
    """
    from PIL import Image

    if kind == "PNG":
        with Image.open(file) as opened:
            opened.verify()
    elif kind in ("JPEG", "MPO") and not comes_to_its_end(file.read_bytes()):
        raise OSError("image file is truncated: it has no end")


def comes_to_its_end(jpeg: bytes) -> bool:
    """Whether the end of the image stands anywhere behind its first scan; that of a thumbnail stands before."""
    place = 2
    while jpeg[place : place + 1] == b"\xff" and place + 4 <= len(jpeg):
        marker = jpeg[place + 1]
        if marker == 0xDA:
            return jpeg.find(b"\xff\xd9", place) >= 0
        # a filling byte, a marker alone, or a segment with its length
        alone = marker == 1 or 0xD0 <= marker <= 0xD7
        place += 1 if marker == 0xFF else 2 if alone else 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
    return True  # what else is wrong the decoder says


def _rgb(image: Any) -> Any:
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        most = values.max(initial=0.0)
        full = 65535.0 if most > 255 else 1.0 if image.mode == "F" and most <= 1 else 255.0
        image = Image.fromarray((values.clip(0, full) * (255.0 / full)).round().astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, layer)
    return image.convert("RGB")


def as_images(images: Any, name: str = "images") -> list[Tensor]:
    """What a user has as images, as the house computes with them.

    Args:
        images: ``(B, 3, H, W)``, ``(3, H, W)`` as one, or a list of ``(3, H, W)`` of any sizes; torch or numpy; RGB as
            uint8 0..255 or float in [0, 1].
        name: What errors call it.

    Returns:
        A float32 ``(3, H, W)`` in [0, 1] per image.

    Raises:
        InputError: Another shape or type, numbers outside [0, 1], or no image at all.
    """
    if isinstance(images, list | tuple):
        if not images:
            raise InputError(f"{name}: the list holds no image")
        return [one for index, image in enumerate(images) for one in [_single(image, f"{name}[{index}]")]]
    array = _tensor(images, name)
    if array.ndim == 3:
        return [_single(array, name)]
    if array.ndim != 4 or array.shape[1] != 3 or 0 in array.shape:
        raise InputError(f"{name}: expected shape (B, 3, H, W), (3, H, W) or a list of them, got {tuple(array.shape)}")
    return list(_unit(array, name))


def _single(image: Any, name: str) -> Tensor:
    array = _tensor(image, name)
    if array.ndim != 3 or array.shape[0] != 3 or 0 in array.shape:
        hint = "; channels come first" if array.ndim == 3 and array.shape[-1] == 3 else ""
        raise InputError(f"{name}: expected shape (3, H, W), got {tuple(array.shape)}{hint}")
    return _unit(array, name)


def _tensor(image: Any, name: str) -> Tensor:
    if isinstance(image, np.ndarray) and image.dtype.kind in "uf":
        image = torch.from_numpy(np.ascontiguousarray(image))
    if not isinstance(image, Tensor):
        kind = f"an array of {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"{name}: expected a tensor or array of uint8 or float, got {kind}")
    return image.detach()


def _unit(image: Tensor, name: str) -> Tensor:
    if image.dtype == torch.uint8:
        return image.to(torch.float32) / 255
    if not image.is_floating_point():
        raise InputError(f"{name}: expected uint8 or float, got {str(image.dtype).removeprefix('torch.')}")
    low, high = image.aminmax()
    if not (torch.isfinite(low) and torch.isfinite(high)):
        raise InputError(f"{name}: holds values that are not finite")
    if low < 0 or high > 1:
        raise InputError(
            f"{name}: float images lie in [0, 1], these in [{low:.4g}, {high:.4g}]; what is normalised already goes to "
            ".network, or through predict(..., preprocess=False)"
        )
    return image.to(torch.float32)


def resize_shorter(image: Tensor, size: int) -> Tensor:
    """Resizes so that the shorter side has ``size`` pixels; bilinear with antialiasing.

    Args:
        image: ``(..., 3, H, W)``.
        size: Pixels.
    """
    resized: Tensor = v2.functional.resize(image, [size], antialias=True)
    return resized


def centre_crop(image: Tensor, size: int) -> Tensor:
    """The square of ``size`` pixels in the middle of ``(..., 3, H, W)``; smaller images are padded with zeros."""
    cropped: Tensor = v2.functional.center_crop(image, [size, size])
    return cropped


def normalise(images: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> Tensor:
    """``(images - mean) / std`` per channel.

    Args:
        images: ``(..., 3, H, W)`` in [0, 1].
        mean: Of each channel.
        std: Of each channel, > 0.
    """
    shape = (3, 1, 1)
    return (images - images.new_tensor(mean).view(shape)) / images.new_tensor(std).view(shape)


def contact_sheet(
    pictures: Sequence[Tensor | Path], titles: Sequence[str], columns: int = 6, heading: str = "", side: int = 224
) -> Figure:
    """Draws many small images in a grid.

    Args:
        pictures: ``(3, H, W)``, uint8 or float in [0, 1], or image files.
        titles: One below each.
        columns: Images in a row.
        heading: Above all.
        side: Pixels of the longer side that an image is drawn with.
    """
    from matplotlib import pyplot

    columns = max(1, min(columns, len(pictures)))
    rows = max(1, math.ceil(len(pictures) / columns))
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(1.9 * columns, 2.15 * rows + 0.5), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, picture, title in zip(axes.flat, pictures, titles, strict=False):
        axis.imshow(thumbnail(picture, side).permute(1, 2, 0).numpy())
        axis.set_title(title, fontsize=7, y=-0.02, va="top", pad=0)  # the default pad lifts it into the image
    if heading:
        figure.suptitle(heading, fontsize=10)
    return figure


def thumbnail(picture: Tensor | Path, side: int = SHOWN) -> Tensor:
    """A picture as large as it is shown: matplotlib takes 70 bytes for every pixel it is given.

    Args:
        picture: ``(3, H, W)``, or a file.
        side: Pixels that the longer side has at most.

    Returns:
        ``(3, h, w)`` on the CPU, uint8 or float in [0, 1].
    """
    image = read_image(picture) if isinstance(picture, Path) else picture.detach().cpu()
    longer = max(image.shape[-2:])
    if longer > side:
        height, width = (max(1, round(length * side / longer)) for length in image.shape[-2:])
        image = v2.functional.resize(image, [height, width], antialias=True)
    return image if image.dtype == torch.uint8 else image.float().clamp(0, 1)
