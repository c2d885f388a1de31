"""Hostile files: nothing in them runs, nothing grows beyond bounds, and every error is ours."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import resource
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from zoo.checkpoint import read_released, state_dict
from zoo.checkpoint.machine import Machine
from zoo.checkpoint.released import Record
from zoo.errors import InputError


class Reduce:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *args: Any, state: Any = None) -> None:
        self.call = (function, args) if state is None else (function, args, state)

    def __reduce__(self) -> Any:
        return self.call


def write(path: Path, stream: bytes) -> Path:
    path.write_bytes(stream)
    return path


def zipped(path: Path, stream: bytes, storages: dict[str, bytes] | None = None) -> Path:
    """An archive as torch writes it, with a pickle of our own."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", stream)
        archive.writestr("archive/version", "3\n")
        for name, data in (storages or {}).items():
            archive.writestr(f"archive/data/{name}", data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_released(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message) < 600
    return message


def op(name: str, *rest: bytes) -> bytes:
    return getattr(pickle, name) + b"".join(rest)


def called(path: str, *args: bytes) -> bytes:
    """`path(*args)` in protocol 2."""
    module, _, name = path.rpartition(".")
    return op("GLOBAL", f"{module}\n{name}\n".encode(), op("MARK"), *args, op("TUPLE"), op("REDUCE"))


def number(value: int) -> bytes:
    return op("LONG1", bytes([9]), value.to_bytes(9, "little", signed=True))


def text(value: str) -> bytes:
    raw = value.encode()
    return op("BINUNICODE", struct.pack("<I", len(raw)), raw)


# -- nothing runs


CALLS: list[tuple[str, Callable[[str], Any]]] = [
    ("posix.system", lambda flag: Reduce(os.system, f"touch {flag}")),
    ("builtins.eval", lambda flag: Reduce(eval, f"open({flag!r}, 'w')")),
    ("builtins.exec", lambda flag: Reduce(exec, f"open({flag!r}, 'w')")),
    ("subprocess.Popen", lambda flag: Reduce(subprocess.Popen, ["touch", flag])),
    ("io.open", lambda flag: Reduce(io.open, flag, "w")),
    ("torch.hub.load", lambda flag: Reduce(torch.hub.load, "some/repo", "model")),
    ("torch.serialization.load", lambda flag: Reduce(torch.load, flag)),
]


@pytest.mark.parametrize(("path", "make"), CALLS, ids=[path for path, _ in CALLS])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_call_becomes_a_record(tmp_path: Path, path: str, make: Any, protocol: int) -> None:
    flag = tmp_path / "ran"
    value = {"state_dict": {"w": 1}, "evil": make(str(flag))}
    file = write(tmp_path / "x.pkl", pickle.dumps(value, protocol=protocol))
    found = read_released(file)
    assert isinstance(found["evil"], Record)
    assert found["evil"].path.endswith(path.rpartition(".")[2])
    torch.save({"w": torch.zeros(1), "evil": make(str(flag))}, file, pickle_protocol=max(2, protocol))
    assert torch.equal(state_dict(read_released(file))[0]["w"], torch.zeros(1))
    assert not flag.exists()


def test_chains_of_calls_stay_records(tmp_path: Path) -> None:
    """`getattr(os, "system")("touch ran")` and `functools.partial(os.system)("touch ran")`."""
    flag = tmp_path / "ran"
    touch = text(f"touch {flag}")
    system = called("builtins.getattr", op("GLOBAL", b"posix\nposix\n"), text("system"))
    chained = system + op("MARK") + touch + op("TUPLE") + op("REDUCE")
    partial = called("functools.partial", op("GLOBAL", b"posix\nsystem\n"))
    more = partial + op("MARK") + touch + op("TUPLE") + op("REDUCE")
    for stream in (chained, more):
        found = read_released(write(tmp_path / "x.pkl", op("PROTO", b"\x02") + stream + op("STOP")))
        assert isinstance(found, Record)
        assert found.path.endswith("()")
        assert found.args == (f"touch {flag}",)
    assert not flag.exists()


@pytest.mark.parametrize("state", [{"__class__": 1}, (None, {"__class__": 2}), {"__reduce__": 3}])
def test_a_state_is_data_whatever_it_names(tmp_path: Path, state: Any) -> None:
    class_path = op("GLOBAL", b"some.module\nThing\n") + op("EMPTY_TUPLE") + op("NEWOBJ")
    stream = op("PROTO", b"\x02") + class_path + pickle.dumps(state, protocol=2)[2:-1] + op("BUILD") + op("STOP")
    found = read_released(write(tmp_path / "x.pkl", stream))
    assert type(found) is Record
    assert found.state == state


def test_setstate_of_what_is_built_is_never_called(tmp_path: Path) -> None:
    """Python's unpickler would call `torch.Tensor.__setstate__` and `numpy.ndarray.__setstate__` here."""
    storage = op("MARK", text("storage"), op("GLOBAL", b"torch\nFloatStorage\n"), text("0"), text("cpu"), number(2))
    tensor = called(
        "torch._utils._rebuild_tensor_v2",
        storage + op("TUPLE") + op("BINPERSID"),
        number(0),
        op("MARK", number(2), op("TUPLE")),
        op("MARK", number(1), op("TUPLE")),
        op("NEWFALSE"),
        op("NONE"),
    )
    state = op("MARK", op("NONE"), op("TUPLE")) + op("BUILD")
    path = zipped(
        tmp_path / "x.pt", op("PROTO", b"\x02") + tensor + state + op("STOP"), {"0": struct.pack("<2f", 1, 2)}
    )
    assert read_released(path).tolist() == [1, 2]


def test_no_module_is_imported(tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    stream = op("PROTO", b"\x02") + called("trap.function") + op("STOP")
    write(tmp_path / "x.pkl", stream)
    code = "from pathlib import Path; from zoo.checkpoint import read_released; print(read_released(Path('x.pkl')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "<record of trap.function>"
    assert not (tmp_path / "ran").exists()


def test_python_2_objects_and_instances(tmp_path: Path) -> None:
    for stream in (b"(S'touch ran'\nios\nsystem\n.", b"(cos\nsystem\nS'touch ran'\no."):
        found = read_released(write(tmp_path / "x.pkl", stream))
        assert (found.path, found.args) == ("os.system", ("touch ran",))


@pytest.mark.parametrize("code", [b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00", b"\x97", b"\x98"])
def test_registered_extensions_and_outside_buffers_are_refused(tmp_path: Path, code: bytes) -> None:
    assert "is not allowed here" in refusal(write(tmp_path / "x.pkl", b"\x80\x05" + code + b"."))


# -- nothing lies outside its storage, and nothing grows


def tensor_file(
    path: Path, shape: list[int], stride: list[int], offset: int, claimed: int = 4, held: int = 16, kind: str = "Float"
) -> Path:
    """A tensor on a storage of `held` bytes that claims `claimed` elements."""
    storage = op("MARK", text("storage"), op("GLOBAL", f"torch\n{kind}Storage\n".encode()), text("0"), text("cpu"))
    sizes = [op("MARK", *[number(value) for value in values], op("TUPLE")) for values in (shape, stride)]
    stream = called(
        "torch._utils._rebuild_tensor_v2",
        storage + number(claimed) + op("TUPLE") + op("BINPERSID"),
        number(offset),
        *sizes,
        op("NEWFALSE"),
        op("NONE"),
    )
    return zipped(path, op("PROTO", b"\x02") + stream + op("STOP"), {"0": bytes(held)})


def test_the_builder_of_files_is_right(tmp_path: Path) -> None:
    assert read_released(tensor_file(tmp_path / "x.pt", [2, 2], [2, 1], 0)).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("shape", "stride", "offset"),
    [
        ([5], [1], 0),
        ([4], [1], 1),
        ([2], [4], 0),
        ([2, 2], [2, 2], 0),
        ([1], [1], 4),
        ([0], [1], 5),
        ([1], [1], -1),
        ([-1], [1], 0),
        ([4], [-1], 3),
        ([2**61], [1], 0),
        ([2**61, 2**61], [0, 0], 0),
        ([2], [2**61], 0),
        ([1], [1], 2**61),
        ([2], [1, 1], 0),
        ([1] * 65, [1] * 65, 0),
        ([2**31], [0], 0),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(
    tmp_path: Path, shape: list[int], stride: list[int], offset: int
) -> None:
    refusal(tensor_file(tmp_path / "x.pt", shape, stride, offset))


@pytest.mark.parametrize(("claimed", "held"), [(5, 16), (3, 16), (2**40, 16), (-1, 16), (2**62, 16), (4, 15)])
def test_a_storage_of_another_size_is_refused(tmp_path: Path, claimed: int, held: int) -> None:
    refusal(tensor_file(tmp_path / "x.pt", [1], [1], 0, claimed, held))


def test_an_unknown_kind_of_storage_is_refused(tmp_path: Path) -> None:
    assert "unknown kind of storage" in refusal(tensor_file(tmp_path / "x.pt", [1], [1], 0, kind="QInt8"))


def test_bytes_that_are_no_bool_become_one(tmp_path: Path) -> None:
    stream = tensor_file(tmp_path / "x.pt", [4], [1], 0, 4, 4, "Bool").read_bytes()
    assert stream.count(bytes(4)) > 0
    torch.save(torch.tensor([False] * 4), tmp_path / "y.pt", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "y.pt").read_bytes()
    write(tmp_path / "y.pt", whole[:-4] + bytes([0, 2, 255, 1]))
    found = read_released(tmp_path / "y.pt")
    assert found.view(torch.uint8).tolist() == [0, 1, 1, 1]


def test_compressed_double_and_overlapping_entries_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps([0] * 1000, protocol=2))
    assert "is compressed or encrypted" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"N.")
        archive.filelist.append(archive.filelist[0])
    assert "twice" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"N.")
        archive.writestr("a/data/0", bytes(5000))
        entries = archive.filelist
        for index in range(1, 50):  # the same bytes under fifty names
            entry = zipfile.ZipInfo(f"a/data/{index}")
            for field in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(entry, field, getattr(entries[1], field))
            entries.append(entry)
    assert "larger than the file" in refusal(path)


def test_an_old_container_that_claims_terabytes_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(300.0)}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "x.pt").read_bytes()
    claim = op("BININT2", struct.pack("<H", 300))
    assert whole.count(claim) >= 1
    write(tmp_path / "x.pt", whole.replace(claim, op("LONG1", b"\x06", (2**40).to_bytes(6, "little"))))
    assert "larger than the file" in refusal(tmp_path / "x.pt")


BOMBS: dict[str, bytes] = {
    "memo index of four billion": op("NONE") + op("LONG_BINPUT", b"\xff\xff\xff\xff") + op("STOP"),
    "text of a terabyte": op("BINUNICODE8", (1 << 40).to_bytes(8, "little"), b"abc"),
    "bytes of a terabyte": op("BINBYTES8", (1 << 40).to_bytes(8, "little"), b"abc"),
    "bytearray of a terabyte": op("BYTEARRAY8", (1 << 40).to_bytes(8, "little"), b"abc"),
    "frame of a terabyte": op("FRAME", (1 << 40).to_bytes(8, "little"), op("NONE"), op("STOP")),
    "number of two gigabytes": op("LONG4", (2**31 - 1).to_bytes(4, "little"), b"abc"),
    "number of ten thousand digits": op("INT", b"9" * 10_000, b"\n"),
    "tuples in tuples as a key": op("EMPTY_DICT") + op("EMPTY_TUPLE") + op("TUPLE1") * 200_000 + op("NONE")
    + op("SETITEM") + op("STOP"),
    "doubled tuples as a key": op("EMPTY_DICT") + op("EMPTY_TUPLE") + (op("DUP") + op("TUPLE2")) * 100 + op("NONE")
    + op("SETITEM") + op("STOP"),
    "doubled tuples in a set": op("MARK") + op("EMPTY_TUPLE") + (op("DUP") + op("TUPLE2")) * 100 + op("FROZENSET"),
    "doubled bytes": op("BINBYTES", struct.pack("<I", 10**6), bytes(10**6)) + op("BINPUT", b"\x00") + b"".join(
        called("builtins.bytearray", op("BINGET", b"\x00")) + op("POP") for _ in range(1000)),
    "doubled lists": op("MARK") + op("NONE") * 10**5 + op("LIST") + op("BINPUT", b"\x00") + b"".join(
        called("builtins.tuple", op("BINGET", b"\x00")) + op("POP") for _ in range(10_000)),
    "arrays of nothing": called("numpy.core.numeric._frombuffer", op("SHORT_BINBYTES", b"\x00"),
                                called("numpy.dtype", text("S0"))
                                + op("MARK", number(3), text("|"), op("NONE") * 3, number(0), number(1), number(0),
                                     op("TUPLE")) + op("BUILD"),
                                op("MARK", number(2**40), op("TUPLE")), text("C")) + op("STOP"),
    "an array of 2^60": called("numpy.core.numeric._frombuffer", op("SHORT_BINBYTES", b"\x00"),
                               called("numpy.dtype", text("f8"))
                               + op("MARK", number(3), text("<"), op("NONE") * 3, number(-1), number(-1), number(0),
                                    op("TUPLE")) + op("BUILD"),
                               op("MARK", number(2**60), op("TUPLE")), text("C")) + op("STOP"),
}  # fmt: skip
HARMLESS = {"memo index of four billion", "frame of a terabyte"}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_neither_time_nor_memory(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "x.pkl", b"\x80\x05" + BOMBS[name])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    if name in HARMLESS:
        assert read_released(path) is None
    else:
        refusal(path)
    assert time.perf_counter() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


def test_deep_and_cyclic_values_are_read_and_walked(tmp_path: Path) -> None:
    deep = b"\x80\x02" + op("EMPTY_LIST") * 100_000 + op("APPEND") * 99_999 + op("STOP")
    assert isinstance(read_released(write(tmp_path / "x.pkl", deep)), list)
    cyclic: dict[str, Any] = {}
    cyclic["state_dict"] = cyclic
    with pytest.raises(InputError, match="no weights by name"):
        state_dict(read_released(write(tmp_path / "x.pkl", pickle.dumps(cyclic))))
    wrapped: Any = {"w": torch.zeros(1)}
    for _ in range(100_000):
        wrapped = {"model": wrapped}
    with pytest.raises(InputError):
        state_dict(wrapped)


def test_a_module_that_contains_itself(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(1, 1))
    object.__setattr__(net[0], "_modules", {"again": net, "more": net})
    torch.save(net, tmp_path / "x.pt")
    with pytest.raises(InputError, match="contains itself"):
        state_dict(read_released(tmp_path / "x.pt"))


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        (b".", "IndexError"),
        (b"N0.", "IndexError"),
        (b"0", "IndexError"),
        (b"t.", "IndexError"),
        (b"h\x05.", "KeyError"),
        (b"a.", "the stack is empty"),
        (b"NNa.", "appends to a NoneType"),
        (b"NNNs.", "sets an item of a NoneType"),
        (b"}(Nu.", "sets an item of a dict"),
        (b"}]Ns.", "a list is a dictionary key"),
        (b"N)R.", "calls a NoneType"),
        (b"cos\nsystem\nNR.", "arguments are no tuple"),
        (b"NNb.", "a NoneType is given a state"),
        (b"N\x93.", "the stack is empty"),
        (b"NN\x93.", "a name is no text"),
        (b"Pkey\n.", "refers to something outside the pickle"),
        (b"NQ.", "refers to something outside the pickle"),
        (b"cos\nsystem", "ValueError"),
        (b"\xff", "this is no pickle opcode"),
        (b"N", "it does not end"),
        (b"cbuiltins\nset\n(NtR.", "a container is made of a NoneType"),
        (b"ccollections\nOrderedDict\n((lNatR.", "a dictionary is not made of pairs"),
        (b"c_codecs\nencode\n(Vabc\nVrot13\ntR.", "encoded in an unknown way"),
        (b"ctorch\nSize\n((lI-1\natR.", "no number from 0"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(NI0\n(t(tI00\nNtR.", "lies on a NoneType, not on a storage"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "TypeError"),
        (b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nNNNtR.", "rebuilt by something that is no name"),
    ],
)
def test_malformed_streams_say_where(tmp_path: Path, stream: bytes, says: str) -> None:
    message = refusal(write(tmp_path / "x.pkl", b"\x80\x02" + stream))
    assert says in message
    assert "at byte" in message


@pytest.mark.parametrize(
    "identifier",
    [b"N", b"(t", b"(VmoduleNt", b"(Vstorage\nNNNNt", b"(Vstorage\nctorch\nFloatStorage\nV9\nVcpu\nI4\nt"],
)
def test_malformed_storages(tmp_path: Path, identifier: bytes) -> None:
    refusal(zipped(tmp_path / "x.pt", b"\x80\x02" + identifier + b"Q."))


def test_random_streams_never_escape(tmp_path: Path) -> None:
    """Any sequence of opcodes with small arguments gives data or our error."""
    import pickletools

    rng = random.Random(0)
    codes = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
    names = [
        b"cos\nsystem\n", b"cbuiltins\nset\n", b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"Vf4\n", b"I1\n", b"I3\n",
        b"cnumpy.core.multiarray\n_reconstruct\n", b"ccollections\nOrderedDict\n", b"V<\n", b")", b"(", b"t", b"R",
        b"b", b"N", b"C\x04abcd",
    ]  # fmt: skip
    outcomes = set()
    for _ in range(3000):
        parts = [rng.choice(names) if rng.random() < 0.7 else rng.choice(codes) for _ in range(rng.randint(2, 30))]
        path = write(tmp_path / "x.pkl", b"\x80\x02" + b"".join(parts) + b".")
        try:
            read_released(path)
            outcomes.add("data")
        except InputError:
            outcomes.add("refused")
    assert outcomes == {"data", "refused"}


def test_a_large_checkpoint_is_read_quickly(tmp_path: Path) -> None:
    state = {f"layer{index}.weight": torch.zeros(4) for index in range(5000)}
    torch.save({"state_dict": state}, tmp_path / "x.pt")
    start = time.perf_counter()
    assert len(state_dict(read_released(tmp_path / "x.pt"))[0]) == 5000
    assert time.perf_counter() - start < 10


def test_the_machine_calls_no_setter_of_numpy() -> None:
    """What numpy's own `__setstate__` would crash on: a dtype of dates with a state of an older form."""
    array = np.zeros(1, dtype="M8[D]")
    stream = pickle.dumps(array.dtype, protocol=2).replace(op("BININT1", b"\x04"), op("BININT1", b"\x03"))
    from zoo.checkpoint.budget import Budget

    assert isinstance(Machine(io.BytesIO(stream), lambda _: None, Budget(100)).run(), Record)


def test_a_deep_json_header(tmp_path: Path) -> None:
    raw = json.dumps({"a": 1}).encode()[:-1] + b"[" * 100_000
    path = write(tmp_path / "x.safetensors", len(raw).to_bytes(8, "little") + raw)
    assert "is no JSON" in refusal(path)
