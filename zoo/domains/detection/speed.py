"""What ``zoo bench detection`` times: deformable attention and whole networks beside transformers', training steps."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zoo.domains.detection.loss import Objective
from zoo.domains.detection.module import RankDETR
from zoo.domains.detection.network import RankDETRNetwork
from zoo.domains.detection.outputs import LayerOutputs
from zoo.domains.detection.peer import deformable_detr, transformers_twin
from zoo.layers.deformable_attention import deformable_attention
from zoo.training.speed import Case, Work

HEADS, WIDTH, POINTS = 8, 32, 4
STRIDES = (8, 16, 32, 64)
PAPER = (800, 1333)


class Sampling(NamedTuple):
    """Inputs of one deformable attention."""

    value: Tensor
    shapes: list[tuple[int, int]]
    locations: Tensor
    weights: Tensor
    slope: Tensor


def sampling(height: int, width: int, queries: int | None = None) -> Sampling:
    """What a layer sees of an image: each query looks at a few cells around its place in every map.

    Args:
        height: Of the image.
        width: Of the image.
        queries: Of a decoder; None: every token of an encoder.
    """
    generator = torch.Generator().manual_seed(0)
    shapes = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
    tokens = sum(rows * columns for rows, columns in shapes)
    if queries is None:
        places = [
            torch.cartesian_prod((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns).flip(-1)
            for rows, columns in shapes
        ]
        references = torch.cat(places)
    else:
        references = torch.rand(queries, 2, generator=generator)
    count = len(references)
    steps = 2 * torch.randn(1, count, HEADS, len(shapes), POINTS, 2, generator=generator)
    sizes = torch.tensor([[columns, rows] for rows, columns in shapes]).view(1, 1, 1, -1, 1, 2)
    weights = torch.randn(1, count, HEADS, len(shapes) * POINTS, generator=generator).softmax(-1)
    return Sampling(
        value=torch.randn(1, tokens, HEADS, WIDTH, generator=generator),
        shapes=shapes,
        locations=references.view(1, -1, 1, 1, 1, 2) + steps / sizes,
        weights=weights.view(1, count, HEADS, len(shapes), POINTS),
        slope=torch.randn(1, count, HEADS * WIDTH, generator=generator),
    )


Attend = Callable[[Sampling, Tensor, Tensor, Tensor], Tensor]


def _ours(given: Sampling, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    return deformable_attention(value, given.shapes, locations, weights)


def _theirs() -> Attend:
    library: Any = import_module("transformers.models.deformable_detr.modeling_deformable_detr")
    layer = library.MultiScaleDeformableAttention()

    def attend(given: Sampling, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        shapes = torch.tensor(given.shapes)
        areas = shapes.prod(1)
        found: Tensor = layer(value, shapes, given.shapes, areas.cumsum(0) - areas, locations, weights, 64)
        return found

    return attend


def _attention(attend: Callable[[], Attend], backward: bool, height: int, width: int, queries: int | None) -> Work:
    given, call = sampling(height, width, queries), attend()
    if not backward:

        def forward() -> Tensor:
            with torch.no_grad():
                return call(given, given.value, given.locations, given.weights)

        return forward
    inputs = [tensor.clone().requires_grad_() for tensor in (given.value, given.locations, given.weights)]
    return lambda: torch.autograd.grad(call(given, *inputs), inputs, given.slope)


def _attention_case(name: str, backward: bool, height: int, width: int, queries: int | None, slow: bool) -> Case:
    sizes = (backward, height, width, queries)
    return Case(
        f"deformable attention, {name}, {'forward and backward' if backward else 'inference'}",
        lambda: _attention(lambda: _ours, *sizes),
        {"transformers": lambda: _attention(_theirs, *sizes)},
        _close,
        slow=slow,
    )


def _close(ours: object, theirs: object) -> None:
    # gradients of the places are steep: they are sums over differences of cells times the size of the map
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def _pixels(height: int, width: int) -> Tensor:
    return 255 * torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def _detect(height: int, width: int) -> Work:
    network, images = deformable_detr().eval(), _pixels(height, width)

    def detect() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            found = network(images)
        return found.logits, found.boxes

    return detect


def _peer_detect(height: int, width: int) -> Work:
    network = deformable_detr()
    twin, images = transformers_twin(network).eval(), (_pixels(height, width) - network.mean) / network.std

    def detect() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            found = twin(pixel_values=images)
        return found.logits, found.pred_boxes

    return detect


def _learn(height: int, width: int) -> Work:
    network, images = deformable_detr().train(), _pixels(height, width)

    def learn() -> tuple[Tensor, ...]:
        network.zero_grad()
        found = network(images)
        return _slopes(found.logits, found.boxes, network.transformer.level_embeddings, network.neck.extra.conv.weight)

    return learn


def _peer_learn(height: int, width: int) -> Work:
    network = deformable_detr()
    twin, images = transformers_twin(network).train(), (_pixels(height, width) - network.mean) / network.std
    # what is frozen in ours: the first convolution, and norms that are not trained
    twin.model.backbone.model.embedder.embedder.convolution.weight.requires_grad_(False)

    def learn() -> tuple[Tensor, ...]:
        twin.zero_grad()
        found = twin(pixel_values=images)
        return _slopes(found.logits, found.pred_boxes, twin.model.level_embed, twin.model.input_proj[3][0].weight)

    return learn


def _slopes(logits: Tensor, boxes: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
    """The backward pass through everything, and some gradients of it."""
    loss = logits.square().mean() + boxes.square().mean()
    loss.backward()
    return loss.detach(), *(parameter.grad for parameter in parameters if parameter.grad is not None)


def _mostly(ours: object, theirs: object) -> None:
    """The same detections; of 300 proposals a few may change places where two scores are equal to six digits."""
    for mine, other in zip(_tuple(ours), _tuple(theirs), strict=True):
        near = torch.isclose(mine, other, rtol=1e-3, atol=1e-4).float().mean()
        if near < 0.98:
            raise AssertionError(f"only {near:.1%} of the values are equal")


def _tuple(results: object) -> tuple[Tensor, ...]:
    assert isinstance(results, tuple)
    return results


def _network_case(height: int, width: int, training: bool) -> Case:
    what = "forward and backward" if training else "inference"
    ours, peer = (_learn, _peer_learn) if training else (_detect, _peer_detect)
    return Case(
        f"Deformable DETR, R50, two-stage, 300 queries, {height}x{width}, {what}",
        lambda: ours(height, width),
        {"transformers": lambda: peer(height, width)},
        _mostly,
        slow=True,
    )


def _step(side: int, objects: int, small: bool) -> Work:
    """One step of the whole method: both branches, matching, all terms, backward."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {}
    if small:
        sizes = {
            "backbone": "tf_efficientnet_lite0", "num_classes": 4, "encoder_layers": 1, "decoder_layers": 2,
            "ffn_dim": 128, "queries_one2one": 15, "queries_one2many": 30, "k_one2many": 4, "width": 64, "heads": 4,
            "freeze_backbone": True,
        }  # fmt: skip
    module = RankDETR(**sizes).train()
    count = 4 if small else 1
    generator = torch.Generator().manual_seed(0)
    targets = [
        {
            "labels": torch.randint(0, module.network.num_classes, (objects,), generator=generator),
            "boxes": 0.2 + 0.3 * torch.rand(objects, 4, generator=generator),
        }
        for _ in range(count)
    ]
    batch = {"images": _pixels(side, side).expand(count, -1, -1, -1), "sizes": None, "targets": targets}

    def step() -> float:
        module.zero_grad()
        loss = torch.stack(list(module.terms(batch).values())).sum()
        loss.backward()
        return float(loss.detach())

    return step


def _match() -> Work:
    """All terms and matchings of a batch of the paper's size, without the network."""
    generator = torch.Generator().manual_seed(0)

    def scores(*shape: int) -> Tensor:
        return torch.randn(*shape, 80, generator=generator).requires_grad_()

    def boxes(*shape: int) -> Tensor:
        return (0.05 + 0.4 * torch.rand(*shape, 4, generator=generator)).requires_grad_()

    outputs = LayerOutputs(
        scores(6, 2, 300), boxes(6, 2, 300), scores(6, 2, 1500), boxes(6, 2, 1500), scores(2, 20000), boxes(2, 20000)
    )
    targets = [
        {"labels": torch.randint(0, 80, (15,), generator=generator), "boxes": boxes(15).detach()} for _ in range(2)
    ]
    objective = Objective()
    leaves = [tensor for tensor in outputs if tensor is not None]

    def match() -> float:
        loss = torch.stack(list(objective(outputs, targets).values())).sum()
        torch.autograd.grad(loss, leaves)
        return float(loss.detach())

    return match


def _paper_detect() -> Work:
    torch.manual_seed(0)
    network, images = RankDETRNetwork().eval(), _pixels(*PAPER)

    def detect() -> Tensor:
        with torch.no_grad():
            return network(images).logits

    return detect


def cases() -> list[Case]:
    """Deformable attention and whole networks beside transformers'; steps and inference of Rank-DETR itself."""
    return [
        _attention_case("encoder of 512x512", False, 512, 512, None, slow=False),
        _attention_case("encoder of 512x512", True, 512, 512, None, slow=False),
        _attention_case("decoder of 512x512, 300 + 1,500 queries", True, 512, 512, 1800, slow=False),
        _attention_case("encoder of 800x1333", False, *PAPER, None, slow=True),
        _attention_case("encoder of 800x1333", True, *PAPER, None, slow=True),
        _network_case(512, 512, training=False),
        _network_case(512, 512, training=True),
        Case("Rank-DETR, demo size, training step of 4 images, 64x64", lambda: _step(64, 2, small=True)),
        Case("Rank-DETR, R50, training step of 1 image, 512x512", lambda: _step(512, 8, small=False), slow=True),
        Case("Rank-DETR, matching and losses alone, 2 images of 20,000 tokens, 15 objects each", _match, slow=True),
        Case("Rank-DETR, R50, inference, 800x1333", _paper_detect, slow=True),
    ]
