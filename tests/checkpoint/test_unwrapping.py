"""Where the weights lie in what an authors' file held."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from zoo.checkpoint import state_dict
from zoo.checkpoint.released import Record
from zoo.errors import InputError

STATE = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}


@pytest.mark.parametrize(
    "key",
    ["state_dict", "model", "model_state_dict", "model_state", "net", "network", "module", "weights", "params", "ema",
     "model_ema", "state_dict_ema"],
)  # fmt: skip
def test_usual_keys(key: str) -> None:
    state, notes = state_dict({"epoch": 3, key: STATE, "optimizer": {"state": {}}, "best": torch.tensor(0.5)})
    assert state == STATE
    assert notes == [f"took '{key}', set aside: epoch, optimizer, best"]


def test_a_bare_state_dict() -> None:
    assert state_dict(STATE) == (STATE, [])


def test_wrappers_in_wrappers() -> None:
    state, notes = state_dict({"state_dict": {"model": STATE}, "epoch": 1})
    assert state == STATE
    assert notes == ["took 'state_dict', set aside: epoch", "took 'model'"]
    assert state_dict({"ema": {"module": STATE, "updates": 5}, "model": {"x": torch.ones(1)}})[0] == STATE


def test_averaged_weights_come_first_and_are_told() -> None:
    state, notes = state_dict({"model": {"a": torch.zeros(1)}, "ema": {"a": torch.ones(1)}})
    assert state["a"].item() == 1
    assert notes == ["took 'ema', set aside: model"]
    assert state_dict({"model": STATE, "ema": None})[0] == STATE
    assert state_dict({"model": STATE, "ema": {}})[0] == STATE


def test_a_tensor_of_that_name_is_no_wrapper() -> None:
    given = {"model": torch.ones(1), "weights": torch.ones(2)}
    assert state_dict(given)[0] == given


def test_the_prefix_of_parallel_training() -> None:
    state, notes = state_dict({"model": {f"module.{name}": tensor for name, tensor in STATE.items()}})
    assert state == STATE
    assert notes[-1] == "removed 'module.' (DataParallel) before every name"


@pytest.mark.parametrize("prefix", ["model.", "base_model.", "feature_extraction."])
def test_other_prefixes_are_the_domains_affair(prefix: str) -> None:
    given = {f"{prefix}{name}": tensor for name, tensor in STATE.items()}
    assert state_dict(given)[0] == given
    mixed = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert state_dict(mixed)[0] == mixed


def test_arrays_of_numbers_become_tensors() -> None:
    state, notes = state_dict({"a": np.arange(3, dtype=">f4"), "b": np.ones(2, dtype="i8"), "c": np.array(["x"])})
    assert state["a"].dtype == torch.float32
    assert state["a"].tolist() == [0, 1, 2]
    assert state["b"].dtype == torch.int64
    assert notes == ["dropped 1 that are no tensors by name: c (a ndarray)"]


def test_what_is_no_tensor_is_dropped_and_told() -> None:
    state, notes = state_dict({**STATE, "version": 3, 7: torch.ones(1), "args": Record("argparse.Namespace")})
    assert state == STATE
    assert notes == [
        "dropped 3 that are no tensors by name: version (a int), 7 (a Tensor), args (an object of argparse.Namespace)"
    ]


def test_a_dictionary_with_attributes() -> None:
    record = Record("easydict.EasyDict")
    record.entries = {"state_dict": STATE}
    assert state_dict(record)[0] == STATE


@pytest.mark.parametrize(
    ("released", "says"),
    [
        ({}, r"it has the keys \(none\)"),
        ({"epoch": 1, "lr": 0.1}, "it has the keys 'epoch', 'lr'"),
        ([1, 2], "but a list"),
        (3, "but a int"),
        (Record("some.Thing"), "but an object of some.Thing"),
        ({"teacher": STATE, "student": STATE}, "it has the keys 'teacher', 'student'"),
    ],
)
def test_no_weights_by_name(released: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        state_dict(released)
