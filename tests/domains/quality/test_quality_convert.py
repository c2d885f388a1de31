"""Released files by their names: the whole model, backbones with their heads, CLIP; everything that can be wrong."""

import re

import pytest
import timm
import torch
from timm.models.swin_transformer import SwinTransformer

from zoo.domains.quality import convert
from zoo.domains.quality.clip import CLIP, Sizes
from zoo.domains.quality.convert import PARTS, convert_branch
from zoo.errors import InputError

FULL = "feature_extraction.feature_extraction."
FACE = "feature_extraction_face.feature_extraction.feature_extraction."
TINY = Sizes(224, 32, 64, 1, 32, 77, 50, 64, 1)


def tiny_swin() -> SwinTransformer:
    torch.manual_seed(0)
    return SwinTransformer(
        img_size=32, patch_size=2, window_size=4, embed_dim=8, depths=(2, 2, 1), num_heads=(1, 2, 2), num_classes=0
    )


def old_names(model: SwinTransformer) -> dict[str, torch.Tensor]:
    """A Swin as timm 0.6.7 named it: downsample ends its stage, buffers are kept."""
    state = {
        re.sub(r"layers\.(\d)\.downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample", name): tensor
        for name, tensor in model.state_dict().items()
    }
    for stage, layer in enumerate(model.layers):
        for number, block in enumerate(layer.blocks):
            prefix = f"layers.{stage}.blocks.{number}"
            state[f"{prefix}.attn.relative_position_index"] = block.attn.relative_position_index
            if block.attn_mask is not None:
                state[f"{prefix}.attn_mask"] = block.attn_mask
    return state


def released(prefixes=(FULL, FACE)) -> dict[str, torch.Tensor]:
    state = {f"{prefix}{name}": tensor for prefix in prefixes for name, tensor in old_names(tiny_swin()).items()}
    head = {"0.weight": (128, 561), "0.bias": (128,), "3.weight": (1, 128), "3.bias": (1,)}
    return {**state, **{f"quality.{name}": torch.randn(shape) for name, shape in head.items()}}


def test_whole_model():
    given = released()
    state, notes = convert(given)
    wanted = tiny_swin().state_dict()
    for branch in ("full", "face"):
        found = {name.removeprefix(f"network.{branch}."): tensor for name, tensor in state.items()
                 if name.startswith(f"network.{branch}.")}  # fmt: skip
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert torch.equal(state["network.head.0.weight"], given["quality.0.weight"])
    assert torch.equal(state["network.head.3.bias"], given["quality.3.bias"])
    buffers = sum(name.endswith(("relative_position_index", "attn_mask")) for name in given) // 2
    assert notes[0] == (
        f"full: dropped {buffers} buffers (relative_position_index, attn_mask): computed when the network is built"
    )
    assert notes[1] == "full: moved each downsample to the stage after it, as timm 1.x has it"
    assert len(notes) == 4


def test_todays_names_pass_unchanged():
    given = {f"{prefix}{name}": tensor for prefix in (FULL, FACE) for name, tensor in tiny_swin().state_dict().items()}
    state, notes = convert({**given, "quality.0.weight": torch.zeros(1)})
    assert {f"network.full.{name}" for name in tiny_swin().state_dict()} <= state.keys()
    assert notes == []


def test_half_precision_is_turned_back():
    halves = {name: value.half() if value.is_floating_point() else value for name, value in released().items()}
    state, notes = convert(halves)
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    assert notes[-1] == f"turned {len(state)} tensors from torch.float16 to float32"


@pytest.mark.parametrize(("wraps", "shape"), [(1, (128, 1280)), (2, (128, 1024))])
@pytest.mark.parametrize("part", ["full", "face"])
def test_backbone_files(wraps, shape, part):
    prefix = "feature_extraction." * wraps
    given = {f"{prefix}{name}": tensor for name, tensor in old_names(tiny_swin()).items()}
    head = {"0.weight": shape, "0.bias": (128,), "1.weight": (1, 128), "1.bias": (1,)}
    given |= {f"quality.{name}": torch.zeros(size) for name, size in head.items()}
    state, notes = PARTS[part](given)
    wanted = tiny_swin().state_dict()
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)
    assert notes[0] == f"dropped 4 tensors under 'quality.': the head of the pre-training, {shape}, (1, 128)"
    assert notes.count("removed 'feature_extraction.' before every name") == wraps
    tiny_swin().load_state_dict(state, strict=True)


def test_clip_file():
    clip = CLIP(TINY)
    scalars = {"input_resolution": torch.tensor(224), "context_length": torch.tensor(77)}
    state, notes = PARTS["liqe"]({**{name: value.half() for name, value in clip.state_dict().items()}, **scalars})
    assert state.keys() == clip.state_dict().keys()
    assert notes == [
        "dropped input_resolution, context_length: sizes that the tensors tell themselves",
        f"turned {len(state)} tensors from torch.float16 to float32",
    ]


def without(values, prefix):
    return {name: value for name, value in values.items() if not name.startswith(prefix)}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**released(), "fc.weight": torch.ones(1)}, "this is no released quality model: unexpected 'fc.weight'"),
        (without(released(), FACE), f"under '{FACE}'; a backbone alone converts with --part full or --part face"),
        (without(released(), "quality."), "this is no whole quality model: nothing under 'quality.'"),
        (CLIP(TINY).state_dict(), "it is a CLIP: --part liqe"),
        ({**released(), "quality.3.bias": torch.tensor([float("inf")])},
         "network.head.3.bias: holds values that are not finite"),
        ({**released(), "quality.3.bias": torch.tensor([1])},
         "network.head.3.bias: expected floating-point numbers, found torch.int64"),
    ],
)  # fmt: skip
def test_what_is_no_whole_model_is_told(values, message):
    with pytest.raises(InputError, match=re.escape(message)):
        convert(values)


def test_what_is_no_part_is_told():
    with pytest.raises(InputError, match="this is a whole quality model, not one branch: convert it without --part"):
        convert_branch(released())
    with pytest.raises(
        InputError, match="this is no CLIP state dict with OpenAI's names: missing 'positional_embedding'"
    ):
        PARTS["liqe"](released())
    mixed = {"feature_extraction.norm.weight": torch.ones(2), "norm.weight": torch.ones(2)}
    with pytest.raises(InputError, match=re.escape("this is no released backbone: 'feature_extraction.norm.weight'")):
        convert_branch(mixed)


def test_old_names_are_those_of_timms_own_filter():
    from timm.models.swin_transformer import checkpoint_filter_fn

    model = tiny_swin()
    ours, _ = convert_branch({f"feature_extraction.{name}": tensor for name, tensor in old_names(model).items()})
    theirs = checkpoint_filter_fn(old_names(model), model)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert timm.__version__ >= "1"
