from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from zoo.errors import InputError, ZooError
from zoo.export import export, named_tensors
from zoo.training import ZooModule


class Output(NamedTuple):
    scores: Tensor
    maps: tuple[Tensor, Tensor]
    extra: Tensor | None


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, rows: Tensor, shift: Tensor) -> Output:
        found = self.layer(rows)
        return Output(found.mean(1) + shift, (found, found.relu()), None)


class ToyModule(ZooModule):
    domain = "toy"
    export_dynamic = {"rows": (1,)}  # noqa: RUF012

    def __init__(self, network=None):
        super().__init__("val/x", "max")
        self.network = network or Toy()

    def export_inputs(self):
        return {"rows": torch.rand(2, 5, 4), "shift": torch.rand(2, 3)}


@pytest.mark.parametrize(("form", "suffix"), [("torch", ".pt2"), ("onnx", ".onnx")])
def test_exported_network_takes_any_batch_and_equals_eager(tmp_path, form, suffix):
    module = ToyModule().eval()
    path = tmp_path / f"net{suffix}"
    done = export(module, path, form)
    assert done.inputs == {"rows": (None, None, 4), "shift": (None, 3)}
    assert done.outputs == ["scores", "maps_0", "maps_1"]
    assert done.size == path.stat().st_size
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    rows, shift = torch.rand(7, 2, 4), torch.rand(7, 3)
    expected = module.network(rows, shift).scores.detach()
    if form == "torch":
        found = torch.export.load(path).module()(rows, shift)[0].detach()
    else:
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        assert [value.name for value in session.get_outputs()] == done.outputs
        found = torch.from_numpy(session.run(["scores"], {"rows": rows.numpy(), "shift": shift.numpy()})[0])
        assert session.get_modelmeta().custom_metadata_map["zoo_method"] == "ToyModule"
    torch.testing.assert_close(found, expected)


class Echo(Toy):
    """Names an output as its input."""

    def forward(self, rows: Tensor, shift: Tensor) -> Output:
        return NamedTuple("Echoed", [("scores", Tensor), ("rows", Tensor)])(shift, self.layer(rows))


@pytest.mark.parametrize(("form", "suffix"), [("torch", ".pt2"), ("onnx", ".onnx")])
def test_an_output_with_the_name_of_an_input_gets_another(tmp_path, form, suffix):
    assert export(ToyModule(Echo()).eval(), tmp_path / f"net{suffix}", form).outputs == ["scores", "out_rows"]


class FixedBatch(Toy):
    def forward(self, rows: Tensor, shift: Tensor) -> Output:
        return super().forward(rows.reshape(2, -1, 4), shift)


def test_a_network_that_fixes_the_batch_is_refused(tmp_path):
    with pytest.raises(ZooError, match=r"torch\.export cannot trace the network"):
        export(ToyModule(FixedBatch()), tmp_path / "net.pt2", "torch")
    assert not list(tmp_path.iterdir())


def test_a_method_says_why_it_cannot_be_exported(tmp_path):
    class Refusing(ZooModule):
        export_refusal = "its tokens depend on the text"

    module = Refusing("val/x", "max")
    with pytest.raises(InputError, match="Refusing cannot be exported: its tokens depend on the text"):
        export(module, tmp_path / "net.pt2", "torch")


def test_outputs_by_name():
    a, b = torch.zeros(1), torch.ones(1)
    assert [name for name, _ in named_tensors({"x": a, "y": [a, b]})] == ["x", "y_0", "y_1"]
    with pytest.raises(ZooError, match="is a str"):
        named_tensors(Output(a, (a, b), "text"))


def test_the_command_refuses_an_existing_file_and_a_wrong_ending(zoo, tmp_path):
    trained = zoo("train", "ltr/demo", "--trainer.max_epochs", 1, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    wrong = zoo("export", "runs/ltr/demo", "--format", "torch", "--out", "net.onnx", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "--format torch writes a file that ends in .pt2" in wrong.stderr
    assert zoo("export", "runs/ltr/demo", "--format", "torch", cwd=tmp_path).returncode == 0
    again = zoo("export", "runs/ltr/demo", "--format", "torch", cwd=tmp_path)
    assert again.returncode == 2
    assert "demo.pt2: exists already; pass --overwrite" in again.stderr


class FixedRows(Toy):
    def forward(self, rows: Tensor, shift: Tensor) -> Output:
        return super().forward(rows.reshape(-1, 5, 4), shift)


def test_a_size_that_the_network_fixes_is_fixed_in_the_file(tmp_path):
    done = export(ToyModule(FixedRows()).eval(), tmp_path / "net.pt2", "torch")
    assert done.inputs == {"rows": (None, 5, 4), "shift": (None, 3)}


class FirstRows(Toy):
    """Gives the right answer for as many rows as it was traced with, and for no other number."""

    def forward(self, rows: Tensor, shift: Tensor) -> Output:
        return super().forward(rows * (1 if torch.compiler.is_exporting() else rows.shape[1] / 5), shift)


def test_sizes_beside_that_of_the_example_are_tried(tmp_path):
    with pytest.raises(ZooError, match="differs from the eager one"):
        export(ToyModule(FirstRows()).eval(), tmp_path / "net.pt2", "torch")
    assert not list(tmp_path.iterdir())


class Constant(ToyModule):
    def export_inputs(self):
        return {"rows": torch.zeros(2, 5, 4), "shift": torch.zeros(2, 3)}


class Forgetful(Toy):
    """Its file forgets the input."""

    def forward(self, rows: Tensor, shift: Tensor) -> Output:
        return super().forward(rows * 0 if torch.compiler.is_exporting() else rows, shift)


def test_a_constant_example_is_no_proof(tmp_path):
    with pytest.raises(ZooError, match="differs from the eager one"):
        export(Constant(Forgetful()).eval(), tmp_path / "net.pt2", "torch")
