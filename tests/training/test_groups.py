"""Parameter groups by name pattern."""

import pytest
from torch import nn

from zoo.errors import InputError
from zoo.training import parameter_groups


@pytest.fixture
def module():
    return nn.ModuleDict({"body": nn.Linear(2, 3), "head": nn.Linear(3, 1)})


def names(module, groups):
    known = {id(parameter): name for name, parameter in module.named_parameters()}
    return [[known[id(parameter)] for parameter in group["params"]] for group in groups]


def test_first_match_wins_and_the_rest_comes_first(module):
    groups = parameter_groups(
        module, [{"pattern": r"bias$", "weight_decay": 0.0}, {"pattern": "^head", "lr_scale": 10.0}], lr=0.1
    )
    assert names(module, groups) == [["body.weight"], ["body.bias", "head.bias"], ["head.weight"]]
    assert [{k: v for k, v in group.items() if k != "params"} for group in groups] == [
        {},
        {"weight_decay": 0.0},
        {"lr": 1.0},
    ]


def test_frozen_parameters_are_left_out(module):
    module["body"].requires_grad_(False)
    assert names(module, parameter_groups(module, [], lr=None)) == [["head.weight", "head.bias"]]


@pytest.mark.parametrize(
    ("groups", "lr", "message"),
    [
        ([{"pattern": "tail"}], 0.1, "pattern 'tail' matches no trainable parameter; names are like body.weight"),
        ([{"pattern": "."}, {"pattern": "head"}], 0.1, "matches only parameters that an earlier pattern took"),
        ([{"pattern": "("}], 0.1, "is no regular expression"),
        ([{"pattern": "head", "lr_scale": 2.0}], None, "scales a learning rate that the optimizer lacks"),
    ],
)
def test_errors(module, groups, lr, message):
    with pytest.raises(InputError, match=message):
        parameter_groups(module, groups, lr)
