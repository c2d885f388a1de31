"""Augmentation of images and captions; every random number comes from the item's own generator."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from zoo.domains.reid.tokenizers import Tokenizer
from zoo.domains.reid.towers import CLIP_MEAN, CLIP_STD

PAD = 10
ERASED = (0.02, 0.4)  # share of the image
RATIO = (0.3, 3.3)
CHANGED, MASKED, REPLACED = 0.2, 0.6, 0.8  # a word is changed; of those up to here masked, up to here replaced
DRAWS = 256


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes as Pillow does: bilinear with antialiasing, rounded to 8 bits.

    Args:
        image: ``(3, H, W)``, uint8, or float in [0, 1].
        size: Height and width.

    Returns:
        float32 ``(3, height, width)`` in [0, 1].
    """
    pixels = image.float() / 255 if image.dtype == torch.uint8 else image.float()
    if tuple(pixels.shape[-2:]) != tuple(size):
        pixels = v2.functional.resize(pixels, list(size), antialias=True)
    return (pixels.clamp(0, 1) * 255).round() / 255


def augment_image(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Flip, pad by 10 and crop, erase: as the released code, which resizes before.

    Args:
        image: ``(3, H, W)`` in [0, 1].
        rng: The item's generator.

    Returns:
        ``(3, H, W)``.
    """
    if rng.random() < 0.5:
        image = image.flip(-1)
    height, width = image.shape[-2:]
    top, left = rng.integers(0, 2 * PAD + 1, size=2)
    image = F.pad(image, (PAD, PAD, PAD, PAD))[:, top : top + height, left : left + width]
    return erase(image, rng)


def erase(image: Tensor, rng: np.random.Generator, probability: float = 0.5) -> Tensor:
    """Random erasing (Zhong et al., AAAI 2020) with the released fill.

    The released code erases after normalising, with the mean's numbers as the value there; as pixels that is
    ``mean + std * mean``.

    Args:
        image: ``(3, H, W)`` in [0, 1].
        rng: The item's generator.
        probability: Of erasing at all.
    """
    if rng.random() >= probability:
        return image
    height, width = image.shape[-2:]
    for _ in range(10):
        area = rng.uniform(*ERASED) * height * width
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if h < height and w < width:
            top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
            image = image.clone()
            mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
            image[:, top : top + h, left : left + w] = mean + std * mean
            break
    return image


def caption_draws(rng: np.random.Generator) -> Tensor:
    """The random numbers that one caption's augmentation takes: ``(3, 256)`` in [0, 1)."""
    return torch.from_numpy(rng.random((3, DRAWS)))


def augment_tokens(tokens: Tensor, draws: Tensor, tokenizer: Tokenizer) -> Tensor:
    """Changes a fifth of the words: 60 % of these are masked, 20 % replaced by a random id, 20 % left out.

    What follows a word that is left out moves up. A caption keeps at least one word (the released code may lose all,
    and then computes NaN).

    Args:
        tokens: ``(B, L)``.
        draws: ``(B, 3, 256)`` in [0, 1): whether, how, and by which id each word is changed.
        tokenizer: Says which ids are words.

    Returns:
        ``(B, L)``.
    """
    length = tokens.shape[1]
    if length > DRAWS:
        raise ValueError(f"tokens: {length} in a row, augmentation knows up to {DRAWS}")
    low, high = tokenizer.words
    which, how, by = draws.to(tokens.device)[:, :, :length].unbind(1)
    ordinary = (tokens != 0) & (tokens != tokenizer.start) & (tokens != tokenizer.end) & (tokens != tokenizer.mask)
    changed = ordinary & (which < CHANGED)
    random_ids = (low + (by * (high - low + 1)).long()).clamp(max=high)
    result = torch.where(changed & (how < MASKED), tokenizer.mask, tokens)
    result = torch.where(changed & (how >= MASKED) & (how < REPLACED), random_ids, result)
    words = (tokens != 0).sum(1) - 2
    gone = changed & (how >= REPLACED)
    all_gone = gone.sum(1) >= words
    gone[:, 1] &= ~all_gone  # the first word stays
    order = gone.int().argsort(dim=1, stable=True)
    moved = result.gather(1, order)
    kept = torch.arange(length, device=tokens.device) < (length - gone.sum(1, keepdim=True))
    return torch.where(kept, moved, 0)
