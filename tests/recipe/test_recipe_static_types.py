"""The reading of types from source agrees with jsonargparse: what the text refuses, jsonargparse refuses as well."""

from __future__ import annotations

import pytest

from zoo.recipe.classes import Classes
from zoo.recipe.imports import import_object
from zoo.recipe.mistakes import Place
from zoo.recipe.nodes import node_of, plain
from zoo.recipe.steps import expand
from zoo.recipe.symbols import Symbols
from zoo.recipe.trust import Trust
from zoo.recipe.validate import _Arguments
from zoo.recipe.values import Check

VALUES = [
    3, 0.5, -1, True, None, "3", "big", "0.5", "null", "true", "[1, 2]", [1, 2], [1.5, 2], ["a", "b"], [], {"a": 1},
    "torch.nn.ReLU", "16-mixed", "5 epochs", [True], {"1": 2}, [[1, 2], [3, 4]], "min", {"pattern": "x", "lr_scale": 2},
]  # fmt: skip
_CLASSES = """
lightning.pytorch.Trainer lightning.pytorch.callbacks.EarlyStopping torch.optim.AdamW torch.nn.LSTM
torch.optim.lr_scheduler.StepLR zoo.training.MultiStep zoo.training.ZooModule zoo.training.ZooData
zoo.ranking.Hinge zoo.ranking.Triplet
"""
CLASSES = _CLASSES.split()


@pytest.mark.parametrize("path", CLASSES)
def test_no_false_alarm(path: str) -> None:
    classes = Classes(Symbols(), Trust())
    real = _Arguments(path, import_object(path), set(), ("x",), Place("f", 1))
    names = set(real._parser(set())[1])
    tried = refused = 0
    for name, parameter in classes.signature(classes.resolve(path).found).parameters.items():
        if name not in names:
            continue
        for value in VALUES:
            check = Check(classes)
            kind = classes.annotations.of(parameter)
            node = node_of(value, Place("f", 1))
            expand(classes, node, kind)
            check.value(node, kind, (name,))
            tried += 1
            # null is an exception: jsonargparse hands it to the constructor whatever the type
            if check.mistakes and value is not None:
                refused += 1
                assert real._error({name: value}, names - {name}), (name, value, check.mistakes)
            elif not check.mistakes:
                assert plain(node) is not None or value in (None, "null"), (name, value)
    assert tried > 20
    assert refused > tried / 8
