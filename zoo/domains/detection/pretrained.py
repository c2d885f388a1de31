"""ImageNet weights of the paper's backbones: torchvision's and detectron2's ResNet-50, Microsoft's Swin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from zoo.errors import InputError

Part = tuple[dict[str, Tensor], list[str]]

ADDRESSES = {
    "resnet50": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    "swin_tiny": (
        "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_tiny_patch4_window7_224.pth"
    ),
    "swin_large": (
        "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_large_patch4_window7_224_22k.pth"
    ),
}
_SWIN_BUFFERS = re.compile(r"\.(relative_position_index|attn_mask)$")
_COUNTER = "num_batches_tracked"


def backbone_tensors(released: Mapping[str, Tensor]) -> Part:
    """The backbone in a released file, by our names, whichever of the known layouts it has.

    Args:
        released: torchvision's ResNet-50 (``layer1.0.conv1.weight``), detectron2's (``res2.0.conv1.weight``,
            ``stem.conv1.norm.weight``), Microsoft's Swin (``layers.0.blocks.0.attn.qkv.weight``), or a whole released
            Rank-DETR, whose ``backbone.`` is taken.

    Returns:
        Our tensors, float32, and what was dropped, added or renamed, one line each.

    Raises:
        InputError: The layout is none of these; says which it looks like.
    """
    notes: list[str] = []
    tensors = dict(released)
    inner = {name.removeprefix("backbone."): value for name, value in tensors.items() if name.startswith("backbone.")}
    if inner:
        others = len(tensors) - len(inner)
        notes.append(f"took 'backbone.', set aside {others} other tensors" if others else "removed 'backbone.'")
        tensors = inner
    if "patch_embed.proj.weight" in tensors and any(name.startswith("layers.0.blocks.") for name in tensors):
        return floats(swin_names(tensors, notes), notes), notes
    if "stem.conv1.weight" in tensors:
        return floats(detectron_names(tensors, notes), notes), notes
    if "layer1.0.conv1.weight" in tensors:
        return floats(_without(tensors, "fc.", "the classifier", notes), notes), notes
    if "conv1_w" in tensors or "res2_0_branch2a_w" in tensors:
        raise InputError(
            "this is MSRA's Caffe2 ResNet-50 (BGR, stride in the 1 x 1 convolutions), another network: "
            "take torchvision's, or detectron2's conversion of it (torchvision/R-50.pkl)"
        )
    names = ", ".join(list(tensors)[:5])
    raise InputError(
        f"this is no known backbone (torchvision's or detectron2's ResNet-50, Microsoft's Swin); it begins with {names}"
    )


def detectron_names(tensors: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """detectron2's ResNet-50 under torchvision's names."""
    kept = _without(tensors, "stem.fc.", "the classifier", notes)
    state = {}
    for name, value in kept.items():
        new = re.sub(r"^stem\.", "", name)
        new = re.sub(r"^res(\d)\.", lambda found: f"layer{int(found[1]) - 1}.", new)
        new = re.sub(r"\bshortcut\.norm\.", "downsample.1.", new)
        new = re.sub(r"\bshortcut\.", "downsample.0.", new)
        new = re.sub(r"\bconv(\d)\.norm\.", r"bn\1.", new)
        state[new] = value
    return state


def swin_names(tensors: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """A Swin of Microsoft's, or of a released detector, by our names (which are the same)."""
    buffers = [name for name in tensors if _SWIN_BUFFERS.search(name)]
    if buffers:
        notes.append(
            f"dropped {len(buffers)} buffers (relative_position_index, attn_mask): computed when the network is built"
        )
    state = {name: value for name, value in tensors.items() if name not in buffers}
    for prefix, what in (("head.", "the classifier"), ("norm.", "its norm")):
        state = _without(state, prefix, what, notes)
    if "norm1.weight" not in state:
        width = len(state["patch_embed.proj.weight"])
        for number in (1, 2, 3):
            state[f"norm{number}.weight"] = torch.ones(width * 2**number)
            state[f"norm{number}.bias"] = torch.zeros(width * 2**number)
        notes.append("started norm1, norm2 and norm3 of the three maps at 1 and 0: a classifier has none")
    return state


def fetch(name: str, where: bool | str) -> dict[str, Tensor]:
    """The weights a backbone starts from.

    Args:
        name: ``resnet50``, ``swin_tiny`` or ``swin_large``.
        where: True: the released file, downloaded once; a text: a local file in one of the known layouts.

    Raises:
        InputError: They cannot be had; says how to give a local file.
    """
    if where is True:
        try:
            found = torch.hub.load_state_dict_from_url(
                ADDRESSES[name], map_location="cpu", progress=False, weights_only=True
            )
        except (URLError, OSError, RuntimeError) as error:
            raise InputError(
                f"pretrained weights of {name!r} cannot be had from {ADDRESSES[name]} ({_first_line(error)}); "
                "give a local file: pretrained: FILE"
            ) from error
    else:
        file = Path(str(where)).expanduser()
        if not file.is_file():
            raise InputError(f"{file}: there is no such weights file")
        found = _read(file)
    inner = found.get("model", found)
    tensors = {key: value for key, value in inner.items() if isinstance(value, Tensor)}
    try:
        return backbone_tensors(tensors)[0]
    except InputError as error:
        raise InputError(f"{where if where is not True else ADDRESSES[name]}: {error}") from error


def _read(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes the readers raise
        raise InputError(
            f"{file}: cannot be read as weights ({_first_line(error)}); other formats (detectron2's .pkl) are read by "
            "zoo convert RECIPE FILE OUT --part backbone"
        ) from error
    if not isinstance(loaded, dict):
        raise InputError(f"{file}: holds no tensors by name")
    return loaded


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _without(tensors: Mapping[str, Tensor], prefix: str, what: str, notes: list[str]) -> dict[str, Tensor]:
    """The tensors but those of a part a detector has no use for, and the counters of batch norms."""
    dropped = [name for name in tensors if name.startswith(prefix)]
    counters = [name for name in tensors if name.endswith(_COUNTER)]
    if dropped:
        notes.append(f"dropped {', '.join(dropped)}: {what} of the ImageNet network")
    if counters:
        notes.append(f"dropped {len(counters)} {_COUNTER}: the norms are frozen")
    return {name: value for name, value in tensors.items() if name not in dropped and name not in counters}


def floats(state: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """The tensors in float32, checked: real numbers, all finite."""
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            raise InputError(f"{name}: expected floating-point numbers, found {tensor.dtype}")
        if not torch.isfinite(tensor).all():
            raise InputError(f"{name}: holds values that are not finite")
    other = [tensor.dtype for tensor in state.values() if tensor.dtype != torch.float32]
    if other:
        notes.append(f"turned {len(other)} tensors from {other[0]} to float32")
    return {name: tensor.detach().float() for name, tensor in state.items()}
