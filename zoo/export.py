"""Exports a network by torch.export or to ONNX, and holds the result to the eager network."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from zoo._version import __version__
from zoo.errors import InputError, ZooError
from zoo.layers import FromImages
from zoo.training.whole import whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.training import ZooData, ZooModule

Format = Literal["torch", "onnx"]
SUFFIXES: dict[Format, str] = {"torch": ".pt2", "onnx": ".onnx"}
TOLERANCE = 1e-3  # of the largest output; kernels of another runtime add in another order
BATCHES = (2, 1, 3)
IMAGES = "images"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The file.
        size: Bytes.
        inputs: Shapes by name; None where a dimension is open.
        outputs: Names.
        difference: The largest deviation from the eager network, relative to the largest output.
        opset: Of ONNX; None for torch.export.
        real: Batches of real inputs among those that it was checked with.
    """

    path: Path
    size: int
    inputs: dict[str, tuple[int | None, ...]]
    outputs: list[str]
    difference: float
    opset: int | None
    real: int = 0


class Flat(nn.Module):
    """A network whose named output is a plain tuple of tensors.

    Args:
        network: Gives a tensor, or a named tuple of tensors, nested ones and None among them.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """All tensors of the output, in order."""
        return tuple(tensor for _, tensor in named_tensors(self.network(*inputs)))


def named_tensors(output: Any, name: str = "output") -> list[tuple[str, Tensor]]:
    """The tensors of an output with their names: fields of named tuples, positions of plain ones."""
    if isinstance(output, Tensor):
        return [(name, output)]
    if output is None:
        return []
    if isinstance(output, Mapping):
        return [pair for key, value in output.items() for pair in named_tensors(value, str(key))]
    if isinstance(output, tuple | list):
        fields = getattr(output, "_fields", None) or [f"{name}_{place}" for place in range(len(output))]
        return [pair for field, value in zip(fields, output, strict=True) for pair in named_tensors(value, field)]
    raise ZooError(f"the output {name!r} is a {type(output).__name__}, which no exported network can give")


def export(
    module: ZooModule, path: Path, form: Format, images: bool = False, real: Sequence[Mapping[str, Tensor]] = ()
) -> Exported:
    """Writes a network and checks it against the eager one with batches of 1, 2 and 3, and with real inputs.

    Args:
        module: In eval mode.
        path: The file to write; it appears whole or not at all.
        form: ``torch`` (torch.export, ``.pt2``) or ``onnx``.
        images: Include what the method does before and after the network: the file takes ``images (B, 3, H, W)`` uint8
            of any size and gives what users want.
        real: Batches of the network's inputs by name, see :func:`seen_inputs`; of images where those are included.

    Raises:
        InputError: The method cannot be exported and says why, or a package is missing.
        ZooError: The export fails, or its result differs from the eager network.
    """
    inputs = _random(module.export_inputs())
    inner, open_dims = module.network, {name: (0, *module.export_dynamic.get(name, ())) for name in inputs}
    examples: list[Mapping[str, Tensor]] = [inputs]
    if images:
        inner, examples = _with_images(module, inputs)
        inputs = dict(examples[0])
        open_dims = {name: (0, 2, 3) if name == IMAGES else open_dims[name] for name in inputs}
    network = Flat(inner).eval()
    with torch.no_grad():
        found = [name for name, _ in named_tensors(inner(*inputs.values()))]
    names = [f"out_{name}" if name in inputs else name for name in found]  # ONNX has one name space
    if form == "onnx":
        _require_onnx()
    write = _torch if form == "torch" else _onnx
    path.parent.mkdir(parents=True, exist_ok=True)
    card = {**_card(module), "zoo_processing": "inside" if images else "outside"}
    with whole(path) as working, _quiet():
        program, open_dims = _widest(network, inputs, open_dims, images)
        run, opset = write(program, working, list(inputs), names, card)
        sized = examples if images else [*examples, _smaller(inputs, open_dims)]
        checks = [_batch(example, size) for example in sized for size in BATCHES]
        difference = max(_compare(network, run, batch, names) for batch in [*checks, *map(dict, real)])
    shapes = {name: _shape(tensor, open_dims[name]) for name, tensor in inputs.items()}
    return Exported(path, path.stat().st_size, shapes, names, difference, opset, len(real))


def _random(example: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The example with numbers in place of constants, of which a comparison would show little."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(tensor.shape, generator=generator)
        if tensor.is_floating_point() and bool((tensor == tensor.flatten()[0]).all())
        else tensor
        for name, tensor in example.items()
    }


def _smaller(example: Mapping[str, Tensor], open_dims: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The example, one shorter in each open dimension beside the batch."""
    found = dict(example)
    for name, dims in open_dims.items():
        for dim in dims:
            found[name] = found[name].narrow(dim, 0, found[name].shape[dim] - 1) if dim else found[name]
    return found


def _batch(example: Mapping[str, Tensor], size: int) -> dict[str, Tensor]:
    return {name: tensor[[place % len(tensor) for place in range(size)]] for name, tensor in example.items()}


def _with_images(module: ZooModule, inputs: Mapping[str, Tensor]) -> tuple[FromImages, list[Mapping[str, Tensor]]]:
    """The network with its image processing, and example inputs of two image sizes."""
    steps = module.image_steps()
    if steps is None:
        raise InputError(
            f"--images: {type(module).__name__} takes {', '.join(inputs)}, not images; export it without --images"
        )
    generator = torch.Generator().manual_seed(0)
    others = {name: tensor for name, tensor in inputs.items() if name not in steps.inputs}
    height, width = steps.size or inputs[steps.inputs[0]].shape[2:]
    examples = []
    for shape in ((2 * height + 3, 2 * width - 1), (height + 5, 3 * width)):
        pixels = torch.randint(0, 256, (2, 3, *shape), generator=generator).to(torch.uint8)
        examples.append({IMAGES: pixels, **others})
    return FromImages(module.network, list(inputs), steps), list(examples)


def seen_inputs(module: ZooModule, data: ZooData, batches: int = 1) -> list[dict[str, Tensor]]:
    """What the network really gets in an evaluation, by the names of :meth:`ZooModule.export_inputs`.

    Args:
        module: In eval mode.
        data: Its data.
        batches: How many test batches are run.

    Returns:
        One dictionary per call of the network; empty for a method that evaluates by parts of its network, or whose data
        is not here.
    """
    wanted, calls = module.export_inputs(), list[dict[str, Tensor]]()

    def keep(_: nn.Module, given: tuple[Any, ...]) -> None:
        tensors = [value for value in given if isinstance(value, Tensor)]
        fits = len(tensors) == len(wanted) and all(
            tensor.ndim == example.ndim and tensor.dtype == example.dtype and len(tensor)
            for tensor, example in zip(tensors, wanted.values(), strict=True)
        )
        if fits and len(calls) < batches:
            calls.append({name: tensor.clone() for name, tensor in zip(wanted, tensors, strict=True)})

    handle = module.network.register_forward_pre_hook(keep)
    metrics: Any = None
    try:
        metrics = MetricCollection(dict(module.build_metrics()), compute_groups=False)
        with torch.no_grad():
            for batch in islice(data.test_dataloader(), batches):
                module.evaluate_batch(batch, metrics)
    except (InputError, RuntimeError):  # no data here, or an evaluation that wants a trainer
        return calls
    finally:
        handle.remove()
    return calls


Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def _widest(
    network: nn.Module, inputs: Mapping[str, Tensor], open_dims: dict[str, tuple[int, ...]], images: bool
) -> tuple[Any, dict[str, tuple[int, ...]]]:
    """The program with all dimensions open that may be; with the batch alone where the network fixes another."""
    batch: dict[str, tuple[int, ...]] = dict.fromkeys(open_dims, (0,))
    try:
        return _program(network, inputs, open_dims), open_dims
    except ZooError:
        if images or batch == open_dims:
            raise
        return _program(network, inputs, batch), batch


def _program(network: nn.Module, inputs: Mapping[str, Tensor], open_dims: Mapping[str, tuple[int, ...]]) -> Any:
    shapes = tuple(dict.fromkeys(open_dims[name], torch.export.Dim.DYNAMIC) for name in inputs)
    try:
        return torch.export.export(network, tuple(inputs.values()), dynamic_shapes=(shapes,), strict=False)
    except Exception as error:  # whatever a network's code makes the tracer raise
        raise ZooError(f"torch.export cannot trace the network: {' '.join(str(error).split())[:300]}") from error


def _torch(
    program: Any, path: Path, inputs: list[str], outputs: list[str], card: dict[str, str]
) -> tuple[Run, int | None]:
    content = io.BytesIO()  # where a disk is full, torch's own writer of files ends the process
    torch.export.save(program, content, extra_files={"zoo.json": json.dumps({**card, "outputs": outputs})})
    path.write_bytes(content.getbuffer())
    loaded = torch.export.load(path).module()

    def run(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        found: Sequence[Tensor] = loaded(*tensors)
        return found

    return run, None


def _require_onnx() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(name) is None:
            raise InputError(f"ONNX needs the package {name}: pip install 'rankzoo[onnx]'")


def _onnx(
    program: Any, path: Path, inputs: list[str], outputs: list[str], card: dict[str, str]
) -> tuple[Run, int | None]:
    import onnxruntime

    try:
        exported = torch.onnx.export(program, dynamo=True, input_names=inputs, output_names=outputs, verbose=False)
    except Exception as error:
        raise ZooError(f"the network cannot be written as ONNX: {' '.join(str(error).split())[:300]}") from error
    if exported is None:
        raise ZooError("torch.onnx.export gave no program")
    exported.model.metadata_props.update(card)
    exported.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    known = [value.name for value in session.get_inputs()]

    def run(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        feed = {name: tensor.numpy() for name, tensor in zip(known, tensors, strict=True)}
        return [torch.from_numpy(array) for array in session.run(None, feed)]

    return run, int(exported.model.opset_imports[""])


def _compare(network: nn.Module, run: Run, batch: Mapping[str, Tensor], names: Sequence[str]) -> float:
    """The largest relative deviation for a batch."""
    with torch.no_grad():
        eager = network(*batch.values())
    found = run(list(batch.values()))
    size, worst = len(next(iter(batch.values()))), 0.0
    for name, expected, given in zip(names, eager, found, strict=True):
        if tuple(given.shape) != tuple(expected.shape):
            raise ZooError(
                f"output {name!r} of the exported network has shape {tuple(given.shape)} for a batch of {size}, "
                f"the eager one {tuple(expected.shape)}"
            )
        scale = float(expected.abs().max()) if expected.numel() else 1.0
        gap = float((given.double() - expected.double()).abs().max()) if expected.numel() else 0.0
        deviation = gap / max(scale, 1e-6)
        if not deviation <= TOLERANCE:
            raise ZooError(
                f"output {name!r} of the exported network differs from the eager one by {deviation:.2g} of its "
                f"largest value for a batch of {size}"
            )
        worst = max(worst, deviation)
    return worst


def _shape(tensor: Tensor, open_dims: tuple[int, ...]) -> tuple[int | None, ...]:
    return tuple(None if dim in open_dims else size for dim, size in enumerate(tensor.shape))


def _card(module: ZooModule) -> dict[str, str]:
    return {
        "zoo_version": __version__,
        "zoo_method": type(module).__name__,
        "zoo_classes": json.dumps(module.class_names),
        "zoo_preprocess": json.dumps(module.preprocess),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporters' remarks on their own workings out of the output."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
