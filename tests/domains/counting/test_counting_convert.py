"""The released file's 615 names: mapped, dropped by name with the reason, refused where they are others."""

import re

import pytest
import torch

from zoo.domains.counting import PARTS, TreeCounter, convert
from zoo.errors import InputError

STAGES = {2: 4, 3: 18}  # blocks of the stages whose reductions are never used


@pytest.fixture(scope="module")
def names():
    """Released names of what is used, and of what is dead."""
    with torch.device("meta"):
        ours = list(TreeCounter().state_dict())
    used = [name.removeprefix("encoder.") for name in ours]
    dead = ["norm.weight", "norm.bias", "head.weight", "head.bias"]
    dead += [f"regression.noise{index}.upsample.0.weight" for index in range(3)]
    dead += [
        f"block{stage}.{block}.attn.{part}.{kind}"
        for stage, blocks in STAGES.items()
        for block in range(blocks)
        for part in ("sr", "norm")
        for kind in ("weight", "bias")
    ]
    return used, dead


def tensors(names, dtype=torch.float32):
    """A small tensor for each name, all different."""
    return {
        name: torch.tensor(index) if name.endswith("tracked") else torch.full((2,), float(index % 1000), dtype=dtype)
        for index, name in enumerate(names)
    }


def test_the_released_names(names):
    used, dead = names
    assert (len(used) + len(dead), len(dead)) == (615, 95)
    given = tensors([*dead, *used])
    state, notes = convert(given)
    with torch.device("meta"):
        assert set(state) == {f"network.{name}" for name in TreeCounter().state_dict()}
    for name in used:
        place = name if name.startswith("regression.") else f"encoder.{name}"
        assert torch.equal(state[f"network.{place}"], given[name])
    assert notes == [
        "dropped 'norm.weight', 'norm.bias': a norm behind the last stage, never used",
        "dropped 'head.weight', 'head.bias': a classifier of 1000 classes, never used",
        "dropped 'regression.noise0.upsample.0.weight', 'regression.noise1.upsample.0.weight', "
        "'regression.noise2.upsample.0.weight': convolutions inside the perturbations, never used",
        "dropped 'block2.0.attn.sr.weight', 'block2.0.attn.sr.bias', 'block2.0.attn.norm.weight' and 85 more: "
        "reductions of stages 2 and 3, which attend in full, never used",
    ]


def test_half_precision_and_counters(names):
    used, _ = names
    state, notes = convert(tensors(used, torch.float16))
    assert notes == ["turned tensors from torch.float16 to float32"]
    kinds = {name.endswith("tracked"): tensor.dtype for name, tensor in state.items()}
    assert kinds == {True: torch.int64, False: torch.float32}


def test_parts(names):
    used, dead = names
    given = tensors([*dead, *used])
    network = {name.removeprefix("network."): tensor for name, tensor in convert(given)[0].items()}
    for part in ("encoder", "regression"):
        state, notes = PARTS[part](given)
        wanted = {name.removeprefix(f"{part}."): value for name, value in network.items() if name.startswith(part)}
        assert state.keys() == wanted.keys()
        assert all(torch.equal(state[name], wanted[name]) for name in wanted)
        assert notes[-1] == f"left {520 - len(wanted)} tensors of the rest of the model behind"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc.weight": torch.ones(1)}, "this is no released TreeFormer: unexpected 'fc.weight'"),
        ({"block5.0.norm1.weight": torch.ones(1)}, "unexpected 'block5.0.norm1.weight'"),
        ({"pos_embed1": None}, "this is no whole TreeFormer: without 'pos_embed1' it has no encoder"),
        ({"regression.conv4.weight": None}, "without 'regression.conv4.weight' it has no regression head"),
        ({"regression.conv4.weight": torch.tensor([float("nan")])},
         "network.regression.conv4.weight: holds values that are not finite"),
        ({"pos_embed2": torch.tensor([1])},
         "network.encoder.pos_embed2: expected floating-point numbers, found torch.int64"),
    ],
)  # fmt: skip
def test_what_is_no_released_model_is_told(names, change, message):
    given = {name: value for name, value in {**tensors(names[0]), **change}.items() if value is not None}
    with pytest.raises(InputError, match=re.escape(message)):
        convert(given)
