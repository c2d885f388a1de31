"""Authors' files of every format are rebuilt exactly; other classes come as records."""

from __future__ import annotations

import argparse
import datetime
import pickle
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from zoo.checkpoint import read_released, state_dict
from zoo.checkpoint.released import Global, Record
from zoo.errors import InputError

from .conftest import helpers

DTYPES = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.uint8, torch.int16, torch.int32,
    torch.int64, torch.bool, torch.complex64, torch.complex128,
]  # fmt: skip
NEW_DTYPES = [torch.uint16, torch.uint32, torch.float8_e4m3fn, torch.float8_e5m2]


class Options(dict):  # type: ignore[type-arg]
    """As EasyDict: a dictionary with attributes."""

    def __init__(self, **values: Any) -> None:
        super().__init__(values)
        self.__dict__.update(values)


class Slots:
    __slots__ = ("a", "b")

    def __init__(self) -> None:
        self.a, self.b = 1, [2]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2))
        self.register_buffer("kept", torch.arange(3.0))
        self.register_buffer("passing", torch.arange(3.0), persistent=False)
        self.register_parameter("nothing", None)
        self.scale = nn.Parameter(torch.tensor(2.0))


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_released(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    same = first.dtype == second.dtype and first.shape == second.shape
    return same and torch.equal(first.flatten().view(torch.uint8), second.flatten().view(torch.uint8))


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def zipped(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def torch_file(tmp_path: Path, zipped: bool) -> Any:
    def write(value: Any, **options: Any) -> Path:
        torch.save(value, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped, **options)
        return tmp_path / "x.pt"

    return write


def test_tensors_of_every_dtype(torch_file: Any, zipped: bool) -> None:
    torch.manual_seed(0)
    tensors = {str(dtype): (torch.randn(3, 4) * 10).abs().to(dtype) for dtype in DTYPES + NEW_DTYPES * zipped}
    found = read_released(torch_file(tensors))
    assert list(found) == list(tensors)
    assert all(equal(found[name], tensor) for name, tensor in tensors.items())


def test_views_keep_shape_strides_and_sharing(torch_file: Any) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "base": base,
        "turned": base.t(),
        "part": base[1:3, ::2],
        "expanded": torch.ones(1).expand(5, 1),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 3),
        "parameter": nn.Parameter(torch.ones(2)),
        "buffer": torch.nn.Buffer(torch.ones(3)),
    }
    found = read_released(torch_file(tensors))
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].stride() == tensor.stride()
    found["base"][0, 0] = 99
    assert found["turned"][0, 0] == 99


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_in_every_protocol(torch_file: Any, protocol: int) -> None:
    tensors = OrderedDict(a=torch.arange(5.0), b=torch.ones(2, dtype=torch.bool))
    found = read_released(torch_file(tensors, pickle_protocol=protocol))
    assert isinstance(found, OrderedDict)
    assert all(equal(found[name], tensor) for name, tensor in tensors.items())


VALUES: dict[str, Any] = {
    "numbers": [0, 1, -1, 255, 65536, -(2**40), 2**100, 1.5, float("inf"), True, False, None, 1 + 2j],
    "texts": ["", "ä漢", "x" * 300, b"", b"\x00\xff", b"y" * 300, bytearray(b"z")],
    "containers": [(), (1,), (1, 2, 3, 4), [], {}, {"a": {"b": [1]}}, {1, 2}, frozenset({"a"}), set()],
    "ordered": OrderedDict([("b", 1), ("a", 2)]),
    "keys": {1: "a", 2.5: "b", b"c": 1, (1, ("x", None)): 2, None: 3},
    "size": torch.Size([1, 2]),
    "dtype": torch.float32,
}
ARRAYS: dict[str, Any] = {
    "float": np.arange(6.0).reshape(2, 3),
    "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(4, dtype=">i4"),
    "bool": np.array([True, False]),
    "half": np.ones(3, dtype="f2"),
    "complex": np.ones(2, dtype="c8"),
    "unicode": np.array(["a", "bcd"]),
    "bytes": np.array([b"a", b"bcd"]),
    "empty": np.zeros((0, 3)),
    "none": np.array(3.0),
    "objects": np.array([1, "x", None, [1, 2]], dtype=object),
    "scalar": np.float32(2.5),
    "integer": np.int64(7),
    "flag": np.bool_(True),
    "dtype": np.dtype("float32"),
    "other": np.dtype("<U7"),
}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(VALUES, protocol=protocol))
    found = read_released(tmp_path / "x.pkl")
    assert found == VALUES
    assert [type(item) for item in found["containers"]] == [type(item) for item in VALUES["containers"]]
    assert isinstance(found["ordered"], OrderedDict)
    assert isinstance(found["size"], torch.Size)


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(ARRAYS, protocol=protocol))
    found = read_released(tmp_path / "x.pkl")
    for name, value in ARRAYS.items():
        assert type(found[name]) is type(value)
        if isinstance(value, np.dtype):
            assert found[name] == value
        else:
            assert found[name].dtype == value.dtype
            assert found[name].shape == value.shape
            assert found[name].tolist() == value.tolist()


def test_an_array_used_twice_is_one(tmp_path: Path) -> None:
    array = np.arange(3)
    for protocol in range(6):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps([array, array, {"a": array}], protocol=protocol))
        first, second, third = read_released(tmp_path / "x.pkl")
        assert first is second is third["a"]


def test_numpy_of_python_2(tmp_path: Path) -> None:
    """Bytes stand as text there, and modules have their old names."""
    raw = np.array([1.0, 2.0]).tobytes()
    quoted = repr(raw)[1:].encode()
    stream = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(I2\ntcnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS" + quoted + b"\ntb."
    )
    (tmp_path / "x.pkl").write_bytes(stream)
    assert read_released(tmp_path / "x.pkl").tolist() == [1.0, 2.0]
    (tmp_path / "x.pkl").write_bytes(b"c__builtin__\nset\n((lI1\naI2\natR.")
    assert read_released(tmp_path / "x.pkl") == {1, 2}


def test_other_containers(tmp_path: Path) -> None:
    for protocol in range(6):
        values = [defaultdict(list, {"a": [1]}), Counter("aab")]
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(values, protocol=protocol))
        found = read_released(tmp_path / "x.pkl")
        assert found == [{"a": [1]}, {"a": 2, "b": 1}]
        assert type(found[0]) is dict


@pytest.mark.parametrize("protocol", range(6))
def test_other_classes_are_records_with_all_their_data(tmp_path: Path, protocol: int) -> None:
    values = [argparse.Namespace(lr=0.1, name="x"), Options(a=1), datetime.date(2024, 1, 2), Path("a/b"), len, Net]
    if protocol > 1:
        values.append(Slots())
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(values, protocol=protocol))
    found = read_released(tmp_path / "x.pkl")
    assert [value.path for value in found[:4]] == [
        "argparse.Namespace", f"{Options.__module__}.Options", "datetime.date", "pathlib.PosixPath",
    ]  # fmt: skip
    assert found[0].attributes == {"lr": 0.1, "name": "x"}
    assert found[1].attributes == {"a": 1}
    assert found[1].entries == {"a": 1} or found[1].args == ({"a": 1},)
    assert isinstance(found[4], Global)
    assert found[4].path == "builtins.len"
    assert found[5].path == f"{Net.__module__}.Net"
    if protocol > 1:
        assert found[6].attributes == {"a": 1, "b": [2]}


def test_dates_and_fields_of_numpy_are_records(tmp_path: Path) -> None:
    values: list[Any] = [np.array(["2020-01-01"], dtype="M8[D]"), np.zeros(2, dtype=[("a", "f4"), ("b", "i4")])]
    for protocol in range(6):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(values, protocol=protocol))
        assert all(isinstance(value, Record) for value in read_released(tmp_path / "x.pkl"))


def test_a_whole_module_gives_its_state_dict(torch_file: Any) -> None:
    net = Net()
    found = read_released(torch_file(net))
    assert isinstance(found, Record)
    state, notes = state_dict(found)
    assert list(state) == list(net.state_dict())
    assert all(equal(state[name], tensor) for name, tensor in net.state_dict().items())
    assert notes == [f"took the tensors of a whole pickled {Net.__module__}.Net"]


def test_a_whole_parallel_module_loses_its_prefix(torch_file: Any) -> None:
    net = Net()
    state, notes = state_dict(read_released(torch_file(nn.DataParallel(net))))
    assert list(state) == list(net.state_dict())
    assert notes[-1] == "removed 'module.' (DataParallel) before every name"


def test_sparse_and_quantized_tensors_are_records(torch_file: Any) -> None:
    values = {"a": torch.eye(2).to_sparse(), "b": torch.zeros(2)}
    found = read_released(torch_file(values))
    assert isinstance(found["a"], Record)
    assert torch.equal(found["b"], values["b"])


def test_npz_and_safetensors(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.arange(3.0), b=np.zeros((2, 2)))
    found = read_released(tmp_path / "x.npz")
    assert found["a"].tolist() == [0, 1, 2]
    np.savez_compressed(tmp_path / "c.npz", a=np.arange(3.0))
    assert read_released(tmp_path / "c.npz")["a"].tolist() == [0, 1, 2]
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    assert read_released(tmp_path / "x.safetensors")["a"].tolist() == [1, 1]


def test_objects_in_an_npz_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([{"a": 1}], dtype=object))
    assert "allow_pickle=False" in refusal(tmp_path / "x.npz")


def test_an_npz_that_grows_beyond_bounds_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(20_000_000))
    assert (tmp_path / "x.npz").stat().st_size < 1_000_000
    assert "far larger than the file" in refusal(tmp_path / "x.npz")


def test_torchscript_says_what_to_do(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"x/{name}", pickle.dumps(()), zipfile.ZIP_DEFLATED)
    assert "is a TorchScript archive, which holds a program" in refusal(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is an empty file"),
        (b"<html></html>", "is a web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file"),
        (bytes(257) + b"ustar" + bytes(300), "is a tar archive"),
        (b"plain text", "cannot be read: at byte"),
        (b"\x80\x02", "cannot be read: at byte"),
        (bytes(range(256)), "cannot be read"),
    ],
)
def test_files_of_other_formats(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "x.bin").write_bytes(data)
    assert says in refusal(tmp_path / "x.bin")


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "the archive has no data.pkl" in refusal(tmp_path / "x.pt")


def test_files_cut_off_anywhere_are_refused(torch_file: Any) -> None:
    path = torch_file({"a": torch.randn(30), "b": {"c": torch.arange(3)}})
    whole = path.read_bytes()
    for length in range(1, len(whole), 29):
        path.write_bytes(whole[:length])
        refusal(path)


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "x.pt")
    whole = bytearray((tmp_path / "x.pt").read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "x.pt").write_bytes(whole)
    assert "Bad CRC-32" in refusal(tmp_path / "x.pt")


# -- the files of the fact sheets


@pytest.mark.facts
def test_the_detectors_pickled_module(check_files: Path, tmp_path: Path) -> None:
    fill, writers = helpers(check_files)
    expected = fill.make_checkpoint(fill.load(check_files / "anomaly.json"))
    writers.write_pickled_module(tmp_path / "epoch.pt", expected)
    state, _ = state_dict(read_released(tmp_path / "epoch.pt"))
    assert list(state) == list(expected)
    assert all(equal(state[name], tensor) for name, tensor in expected.items())
    assert "network.anomaly_detector_model" not in sys.modules


@pytest.mark.facts
def test_the_detectors_matlab_file(check_files: Path, tmp_path: Path) -> None:
    fill, writers = helpers(check_files)
    document = fill.load(check_files / "anomaly.json")
    expected = fill.make_checkpoint(document)
    writers.write_keras_mat(tmp_path / "weights.mat", expected)
    found = read_released(tmp_path / "weights.mat")
    shapes = {name: {"outer": list(v.shape), "cells": [list(c.shape) for c in v.ravel()]} for name, v in found.items()}
    assert shapes == document["wrapper"]["keras_mat"]["shapes_after_loadmat"]
    for index, layer in document["wrapper"]["keras_mat"]["torch_names"].items():
        weight, bias = found[index].ravel()
        assert weight.dtype == bias.dtype == np.float32
        assert np.array_equal(weight.T, expected[f"{layer}.weight"].numpy())
        assert np.array_equal(bias[0], expected[f"{layer}.bias"].numpy())


@pytest.mark.facts
@pytest.mark.parametrize("name", ["rankmixup_resnet50_cifar", "outfit_transformer"])
def test_the_wrappers_of_the_sheets(check_files: Path, tmp_path: Path, name: str) -> None:
    fill, _ = helpers(check_files)
    document = fill.load(check_files / f"{name}.json")
    expected = fill.make_checkpoint(document)
    for wrapper in [document["wrapper"], *document["wrapper"].get("alternatives", [])]:
        torch.save(fill.wrap(expected, wrapper), tmp_path / "x.pth")
        state, _ = state_dict(read_released(tmp_path / "x.pth"))
        assert list(state) == list(expected)
        assert all(equal(state[key], tensor) for key, tensor in expected.items())
