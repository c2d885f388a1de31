"""Part files: written by zoo convert --part, taken by model.init_args.init_from, refused where they do not fit."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import zoo
from zoo.errors import InputError
from zoo.layers import without_pretrained
from zoo.training.parts import fill_parts, part_of


def part_file(path, state, domain="toy", part="head"):
    import json

    save_file(state, path, metadata={"zoo_part": json.dumps({"domain": domain, "part": part, "source": "x"})})
    return path


@pytest.fixture
def head():
    return nn.Linear(3, 2)


def test_a_part_is_filled(tmp_path, head):
    state = {"weight": torch.rand(2, 3), "bias": torch.rand(2)}
    fill_parts({"head": head}, {"head": str(part_file(tmp_path / "h.safetensors", state))}, "toy")
    torch.testing.assert_close(head.weight.data, state["weight"])
    assert part_of(tmp_path / "h.safetensors") == {"domain": "toy", "part": "head", "source": "x"}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": torch.rand(2, 3)}, r"1 tensors do not fit: bias \(missing\)"),
        ({"weight": torch.rand(2, 3), "bias": torch.rand(2), "more": torch.rand(1)}, r"more \(not in the network\)"),
        ({"weight": torch.rand(2, 4), "bias": torch.rand(2)}, r"\(2, 4\) in the file, \(2, 3\) in the network"),
    ],
)
def test_a_part_that_does_not_fit_is_refused_and_leaves_the_network(tmp_path, head, state, message):
    before = head.weight.detach().clone()
    file = part_file(tmp_path / "h.safetensors", state)
    with pytest.raises(InputError, match=message):
        fill_parts({"head": head}, {"head": str(file)}, "toy")
    torch.testing.assert_close(head.weight.data, before)


def test_wrong_names_and_files(tmp_path, head):
    file = str(part_file(tmp_path / "h.safetensors", {"weight": torch.rand(2, 3), "bias": torch.rand(2)}))
    with pytest.raises(InputError, match=r"model\.init_from: 'haed' is no part of this network; did you mean 'head'"):
        fill_parts({"head": head}, {"haed": file}, "toy")
    with pytest.raises(InputError, match=r"model\.init_from\.head: there is no file"):
        fill_parts({"head": head}, {"head": "none.safetensors"}, "toy")
    with pytest.raises(InputError, match="is the part 'head' of toy"):
        fill_parts({"head": head}, {"head": file}, "another")
    save_file({"weight": torch.rand(2, 3)}, tmp_path / "plain.safetensors")
    with pytest.raises(InputError, match="is no part file; make one: zoo convert RECIPE OFFICIAL OUT --part head"):
        fill_parts({"head": head}, {"head": str(tmp_path / "plain.safetensors")}, "toy")


def test_loading_a_part_says_which_key_takes_it(tmp_path):
    file = part_file(tmp_path / "h.safetensors", {"weight": torch.rand(2, 3)})
    with pytest.raises(InputError, match=r"holds only the part 'head'.*model\.init_args\.init_from: \{head: "):
        zoo.load(file)


def test_nothing_is_read_while_a_checkpoint_is_loaded():
    from zoo.training import ZooModule

    class Toy(ZooModule):
        domain = "toy"

        def parts(self):
            return {"head": nn.Linear(3, 2)}

    module = Toy("val/x", "max")
    with without_pretrained():
        module.start_from({"head": "none.safetensors"})
    with pytest.raises(InputError, match="there is no file"):
        module.start_from({"head": "none.safetensors"})
