"""What a user has, checked: images, faces and LIQE logits of ``predict``, in the form that the network takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.domains.quality.liqe import MAKE, SWITCH
from zoo.domains.quality.network import LIQE_LOGITS
from zoo.domains.quality.views import to_bytes
from zoo.errors import InputError
from zoo.training.images import as_images


def image_bytes(images: Any, name: str = "images") -> list[Tensor]:
    """Images as uint8 ``(3, H, W)`` each, on the CPU, where they are resized.

    Args:
        images: What :func:`zoo.training.as_images` takes.
        name: What errors call them.
    """
    return [to_bytes(image).cpu() for image in as_images(images, name)]


def face_bytes(faces: Any, count: int) -> list[Tensor | None]:
    """Faces of images; None where there is none.

    Args:
        faces: Images, one per image, or a list with None among them.
        count: Number of images.

    Raises:
        InputError: There are fewer or more than images, or one is no image.
    """
    if isinstance(faces, list | tuple):
        found = [None if face is None else image_bytes([face], "faces")[0] for face in faces]
    else:
        found = [*image_bytes(faces, "faces")]
    if len(found) != count:
        raise InputError(f"faces: {len(found)} given for {count} images; give one for each, None where there is none")
    return found


def missing_aux(what: str) -> InputError:
    """The error of a model with the LIQE branch that gets no logits."""
    make = MAKE.format(folder="FOLDER")
    return InputError(
        f"{what}: this model joins {LIQE_LOGITS} LIQE logits and gets none; make them: {make}, "
        f"then give aux (in a recipe data.init_args.aux: FOLDER, for zoo predict --model.aux FOLDER); "
        f"or train without that branch: {SWITCH}"
    )


def aux_rows(aux: Any, count: int) -> Tensor:
    """LIQE logits as ``(B, 495)`` float32.

    Args:
        aux: ``(B, 495)``, or ``(495,)`` for one image; tensor or array.
        count: Number of images.

    Raises:
        InputError: Another shape or type, or a value that is not finite.
    """
    given = (
        torch.from_numpy(np.ascontiguousarray(aux)) if isinstance(aux, np.ndarray) and aux.dtype.kind == "f" else aux
    )
    if not isinstance(given, Tensor) or not given.is_floating_point():
        kind = getattr(aux, "dtype", type(aux).__name__)
        raise InputError(f"aux: expected a float tensor or array ({count}, {LIQE_LOGITS}), got {kind}")
    rows = given.detach().to(torch.float32)
    rows = rows[None] if rows.ndim == 1 else rows
    if tuple(rows.shape) != (count, LIQE_LOGITS):
        raise InputError(f"aux: expected shape ({count}, {LIQE_LOGITS}), got {tuple(given.shape)}")
    if not torch.isfinite(rows).all():
        row, column = (~torch.isfinite(rows)).nonzero()[0].tolist()
        raise InputError(f"aux: logit {column} of image {row} is not finite")
    return rows


def pair_of(value: Any, name: str) -> Sequence[Any]:
    """Something given for both sides of a comparison; None for neither.

    Raises:
        InputError: It is no pair.
    """
    if value is None:
        return (None, None)
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise InputError(f"{name}: expected a pair, of the first and of the second images, got {type(value).__name__}")
    return value
