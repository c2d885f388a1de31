"""LIQE's 495 logits of an image: CLIP's similarity to «a photo of a {scene} with {distortion} artifacts, which is of
{quality} quality», for 5 qualities, 9 scenes and 11 distortions. Frozen; nothing here is trained.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from zoo.domains.quality.clip import CLIP, CLIP_EXTRAS, empty_clip, sizes_of
from zoo.domains.quality.network import LIQE_LOGITS
from zoo.errors import InputError
from zoo.training import DataError
from zoo.training.images import as_images, normalise, resize_shorter
from zoo.training.parts import part_of

QUALITIES = ("bad", "poor", "fair", "good", "perfect")
SCENES = ("animal", "cityscape", "human", "indoor", "landscape", "night", "plant", "still_life", "others")
DISTORTIONS = (
    "jpeg2000 compression", "jpeg compression", "noise", "blur", "color", "contrast", "overexposure", "underexposure",
    "spatial", "quantization", "other",
)  # fmt: skip
WINDOW, STRIDE, WINDOWS = 224, 32, 15
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
START, END = 49406, 49407
# the prompts are fixed, so their words' numbers in CLIP's vocabulary are enough: no vocabulary file is needed
TOKENS = {
    "a": (320,), "photo": (1125,), "of": (539,), "with": (593,), "artifacts": (30249,), ",": (267,), "which": (1448,),
    "is": (533,), "quality": (3027,), "animal": (4668,), "cityscape": (40808,), "human": (2751,), "indoor": (9546,),
    "landscape": (5727,), "night": (930,), "plant": (3912,), "still_life": (1170, 318, 970), "others": (3326,),
    "jpeg2000": (73, 11207, 273, 271, 271, 271), "compression": (25638,), "jpeg": (73, 11207), "noise": (9307,),
    "blur": (27976,), "color": (3140,), "contrast": (18501,), "overexposure": (8649, 13002, 35539),
    "underexposure": (21675, 87, 35539), "spatial": (22022,), "quantization": (31540, 3683), "other": (1010,),
    "bad": (2103,), "poor": (3665,), "fair": (2849,), "good": (886,), "perfect": (1878,),
}  # fmt: skip
_TEXTS = 99  # encoded at once
MAKE = "zoo data make liqe --from PHOTOS --out {folder} --data.weights LIQE.pt"
SWITCH = "model.init_args.liqe: false"


def prompts() -> list[str]:
    """The 495 prompts; number ``q * 99 + s * 11 + d`` of quality q, scene s, distortion d."""
    return [
        f"a photo of a {scene} with {distortion} artifacts, which is of {quality} quality"
        for quality, scene, distortion in product(QUALITIES, SCENES, DISTORTIONS)
    ]


def prompt_tokens() -> Tensor:
    """The prompts as CLIP's tokens, ``(495, 24)`` int64, padded with 0 behind the longest.

    CLIP pads to 77; the text encoder looks back only, so what stands behind a text's end changes nothing.
    """
    rows = [
        [START, *(token for word in prompt.replace(",", " ,").split() for token in TOKENS[word]), END]
        for prompt in prompts()
    ]
    longest = max(len(row) for row in rows)
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


def windows(height: int, width: int) -> list[tuple[int, int]]:
    """Where the 15 windows of an image start, ``(y, x)`` in pixels.

    Of the n windows of 224 pixels at stride 32, row by row, number ``k * (n // 15)`` is taken for k = 0..14; with
    n < 15 that is the first one 15 times, as in the released code.

    Args:
        height: Of the image, >= 224.
        width: Of the image, >= 224.
    """
    rows, columns = (height - WINDOW) // STRIDE + 1, (width - WINDOW) // STRIDE + 1
    step = rows * columns // WINDOWS
    return [(k * step // columns * STRIDE, k * step % columns * STRIDE) for k in range(WINDOWS)]


class LIQE:
    """Gives LIQE logits; only the 15 chosen windows of an image are ever cut out.

    Args:
        clip: A CLIP ViT-B/32, as :func:`load_clip` gives it.

    Attributes:
        upscaled: Images so far whose shorter side was under 224 pixels and was enlarged to that.
    """

    def __init__(self, clip: CLIP) -> None:
        self.clip = clip.eval()
        self.upscaled = 0
        self._texts: Tensor | None = None

    @torch.no_grad()
    def logits(self, images: Any) -> Tensor:
        """Logits of images at their full size.

        Args:
            images: ``(B, 3, H, W)``, ``(3, H, W)`` as one, or a list of images of any sizes; RGB, uint8 or float in
                [0, 1].

        Returns:
            ``(B, 495)`` float32: ``exp(logit_scale)`` times the cosine, averaged over the 15 windows. No softmax.

        Raises:
            InputError: Something else than images was given.
        """
        device = self.clip.logit_scale.device
        features = torch.stack([self._windows(image.to(device)) for image in as_images(images)])
        texts = self._text_features().to(device)
        return (self.clip.logit_scale.exp() * features @ texts.T).mean(1).float().cpu()

    def _windows(self, image: Tensor) -> Tensor:
        """Unit features ``(15, 512)`` of the windows of one image; equal windows are encoded once."""
        if min(image.shape[-2:]) < WINDOW:
            self.upscaled += 1
            image = resize_shorter(image, WINDOW)
        places = windows(*image.shape[-2:])
        distinct = list(dict.fromkeys(places))
        cut = torch.stack([image[:, y : y + WINDOW, x : x + WINDOW] for y, x in distinct])
        encoded = normalize(self.clip.encode_image(normalise(cut, CLIP_MEAN, CLIP_STD)), dim=-1)
        return encoded[[distinct.index(place) for place in places]]

    def _text_features(self) -> Tensor:
        if self._texts is None:
            tokens = prompt_tokens().to(self.clip.logit_scale.device)
            encoded = [self.clip.encode_text(part) for part in tokens.split(_TEXTS)]
            self._texts = normalize(torch.cat(encoded), dim=-1)
        return self._texts

    def note(self) -> None:
        """Says on stderr how many images were enlarged."""
        if self.upscaled:
            print(f"{self.upscaled} images under {WINDOW} px were enlarged to it for LIQE", file=sys.stderr)


def load_clip(file: str | Path) -> CLIP:
    """Reads the CLIP of LIQE.

    Args:
        file: ``LIQE.pt`` (a plain state dict with OpenAI's names), or the part file that
            ``zoo convert quality/dnpiqa_piq23_scene_exposure LIQE.pt OUT --part liqe`` wrote.

    Returns:
        In float32, frozen.

    Raises:
        InputError: There is no such file, or it holds something else; names the file and what does not fit.
    """
    file = Path(file).expanduser()
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; LIQE's weights are LIQE.pt of the authors, or its part file")
    state = {name: tensor for name, tensor in _state(file).items() if name not in CLIP_EXTRAS}
    try:
        clip = empty_clip(sizes_of(state))
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    expected = clip.state_dict()
    wrong = [f"{name} (missing)" for name in expected if name not in state]
    wrong += [f"{name} (not in a CLIP ViT)" for name in state if name not in expected]
    wrong += [f"{name} ({tuple(state[name].shape)}, expected {tuple(value.shape)})"
              for name, value in expected.items() if name in state and state[name].shape != value.shape]  # fmt: skip
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise InputError(f"{file}: {len(wrong)} tensors do not fit: {', '.join(wrong[:5])}{more}")
    clip.load_state_dict(state)
    if not all(torch.isfinite(value).all() for value in clip.state_dict().values()):
        raise InputError(f"{file}: holds values that are not finite")
    return clip


def _state(file: Path) -> Mapping[str, Tensor]:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        said = part_of(file)
        if said is not None and (said["domain"], said["part"]) != ("quality", "liqe"):
            raise InputError(f"{file}: is the part {said['part']!r} of {said['domain']}, not 'liqe' of quality")
        return load_file(file)
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes the reader raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise InputError(
            f"{file}: cannot be read as a state dict ({first}); another kind of file goes through "
            "zoo convert quality/dnpiqa_piq23_scene_exposure FILE OUT --part liqe"
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise InputError(f"{file}: holds no tensors by name")
    return loaded


class LazyLIQE:
    """A LIQE that reads its weights when it is first asked; no part of a module's own weights.

    Args:
        file: As for :func:`load_clip`; None where there is none.
    """

    def __init__(self, file: str | None) -> None:
        self.file = file
        self._liqe: LIQE | None = None

    def empty(self) -> CLIP:
        """A CLIP that a part file can be held to; its weights are not filled, nor kept."""
        return empty_clip()

    def logits(self, images: Sequence[Tensor], device: torch.device) -> Tensor:
        """As :meth:`LIQE.logits`, computed on a device."""
        if self._liqe is None:
            self._liqe = LIQE(load_clip(self.file or ""))
        self._liqe.clip.to(device)
        return self._liqe.logits(list(images))

    def note(self) -> None:
        """Says on stderr how many images were enlarged since the last note."""
        if self._liqe is not None:
            self._liqe.note()
            self._liqe.upscaled = 0


def read_aux(folder: str | Path, name: str | Path) -> Tensor:
    """The LIQE logits of one image.

    Args:
        folder: With a ``.npy`` per image, ``(495,)`` or ``(1, 495)``, of any float type.
        name: Path of the image; the features are looked for under this path below the folder, then under ever shorter
            ends of it, down to ``<folder>/<stem>.npy``.

    Returns:
        ``(495,)`` float32.

    Raises:
        DataError: There is none, or it does not hold 495 finite numbers; names the file and what makes it.
    """
    path = Path(str(name).replace("\\", "/")).with_suffix(".npy")
    parts = path.relative_to(path.anchor).parts
    places = [Path(folder, *parts[start:]) for start in range(len(parts))]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise DataError(
            f"{name}: there are no LIQE features {places[-1]}; make them: {MAKE.format(folder=folder)}, "
            f"or switch the branch off: {SWITCH}"
        )
    return read_logits(file)


def read_logits(file: Path) -> Tensor:
    """One feature file, see :func:`read_aux`."""
    try:
        array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file}: is no .npy that can be read ({' '.join(str(error).split())[:120]})") from error
    if not isinstance(array, np.ndarray) or array.size != LIQE_LOGITS or array.dtype.kind != "f":
        shape = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise DataError(f"{file}: expected {LIQE_LOGITS} LIQE logits, found {shape}")
    values = torch.from_numpy(array.astype(np.float32).reshape(-1))
    if not torch.isfinite(values).all():
        raise DataError(f"{file}: logit {int((~torch.isfinite(values)).nonzero()[0])} is not finite")
    return values
