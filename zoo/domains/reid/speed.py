"""What ``zoo bench reid`` times."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.domains.reid.clip import TextTransformer, VisionTransformer
from zoo.domains.reid.gallery import GalleryIndex
from zoo.domains.reid.module import RDE
from zoo.domains.reid.network import Embeddings
from zoo.domains.reid.tokenizers import ClipTokenizer
from zoo.metrics import TextImageRetrieval
from zoo.training.speed import Case, Work

BATCH, SQUARE = 8, 224
GALLERY, DIMENSIONS = 100_000, (512, 1024)
CAPTIONS = [
    f"The man number {number} is wearing a black T-shirt, blue jeans & white sneakers; he carries a bag."
    for number in range(1000)
]


def _step() -> Work:
    """A training step of the demo: 48 pairs, both embeddings, triplet alignment."""
    image = VisionTransformer((64, 32), patch=8, stride=8, width=64, layers=2, heads=4, embed=64)
    text = TextTransformer("hashed", 2048, 32, width=64, layers=2, heads=4, embed=64)
    module = RDE(image, text, tse=128).train()
    generator = torch.Generator().manual_seed(0)
    batch = {
        "image": torch.rand(48, 3, 64, 32, generator=generator),
        "caption": [f"a person in a red coat and blue trousers with bag {number}" for number in range(48)],
        "identity": torch.arange(48) // 2,
        "index": torch.arange(48),
        "id": [str(number) for number in range(48)],
    }
    optimizer = torch.optim.Adam(module.parameters(), lr=0.001)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.stack(list(module.terms(batch).values())).sum()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def _filled(module: nn.Module) -> nn.Module:
    """Weights that are a function of their shapes alone, so that ours and a peer's hold the same."""
    with torch.no_grad():
        for parameter in module.parameters():
            wave = torch.arange(parameter.numel(), dtype=torch.float64).mul(1.7).sin() * parameter.numel() ** -0.25
            parameter.copy_((wave + (parameter.ndim == 1)).reshape(parameter.shape))
    return module.eval()


def _images(side: tuple[int, int]) -> Tensor:
    return torch.randn(BATCH, 3, *side, generator=torch.Generator().manual_seed(0))


def _tower() -> Work:
    tower, images = _filled(VisionTransformer((SQUARE, SQUARE))), _images((SQUARE, SQUARE))

    def encode() -> Tensor:
        with torch.no_grad():
            output: Tensor = tower(images).tokens[:, 0]
        return output

    return encode


def _peer_tower() -> Work:
    library: Any = import_module("open_clip")
    tower, images = _filled(library.create_model("ViT-B-16-quickgelu").visual), _images((SQUARE, SQUARE))

    def encode() -> Tensor:
        with torch.no_grad():
            output: Tensor = tower(images)
        return output

    return encode


def _close(ours: object, theirs: object) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def _tokens() -> Work:
    tokenizer = ClipTokenizer()
    tokenizer(CAPTIONS[:1])
    return lambda: tokenizer(CAPTIONS)


def _peer_tokens() -> Work:
    library: Any = import_module("open_clip.tokenizer")
    tokenizer = library.SimpleTokenizer()
    return lambda: tokenizer(CAPTIONS)


def _same(ours: object, theirs: object) -> None:
    if not torch.equal(torch.as_tensor(ours), torch.as_tensor(theirs)):
        raise AssertionError("the token ids differ")


def _search() -> Work:
    """The ten best of 100,000 images for a caption, fused, float32."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(GALLERY, sum(DIMENSIONS), generator=generator)
    index = GalleryIndex(Path(), [""] * GALLERY, features, DIMENSIONS[0], "", [])
    text = Embeddings(*(torch.randn(1, width, generator=generator) for width in DIMENSIONS))
    return lambda: index.search(text, 10)[0]


def _metric() -> Work:
    """All figures of 2,000 captions and 1,000 images, both ways."""
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(count, width, generator=generator) for count in (1000, 2000) for width in DIMENSIONS]
    number = torch.arange(1000)
    marks = torch.stack([number, number // 4, torch.full_like(number, -1)], 1)
    texts = torch.cat([marks.repeat_interleave(2, 0), torch.arange(2000).remainder(2).unsqueeze(1)], 1)

    def measure() -> float:
        metric = TextImageRetrieval()
        metric.update(features[0], features[1], marks, features[2], features[3], texts)
        return float(metric.compute()["rank1"])

    return measure


def cases() -> list[Case]:
    """Training step and inference of the demo's size and the paper's, and what evaluation and search take."""
    return [
        Case("training step, demo size, 48 pairs", _step),
        Case(
            f"CLIP ViT-B/16 image tower, {BATCH} images of {SQUARE}x{SQUARE}",
            _tower,
            {"open_clip": _peer_tower},
            _close,
            slow=True,
        ),
        Case("CLIP tokenizer, 1,000 captions", _tokens, {"open_clip": _peer_tokens}, _same),
        Case("search of 100,000 images for one caption, exact, float32", _search, slow=True),
        Case("figures of 2,000 captions and 1,000 images, both ways", _metric),
    ]
