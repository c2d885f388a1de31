"""The modules say what the functions do; names, signatures and docstrings are what recipes and `zoo list` rely on."""

import ast
import copy
import inspect
import pickle
import sys
import typing
from pathlib import Path

import pytest
import torch

from zoo import ranking

SCORE = {
    "hinge": ranking.Hinge,
    "squared_hinge": ranking.SquaredHinge,
    "logistic": ranking.Logistic,
    "fidelity": ranking.Fidelity,
    "mann_whitney": ranking.MannWhitney,
    "listnet": ranking.ListNet,
    "listmle": ranking.ListMLE,
    "lambda_ndcg": ranking.LambdaNDCG,
    "approx_ndcg": ranking.ApproxNDCG,
    "confidence_ndcg": ranking.ConfidenceNDCG,
}
SIMILARITY = {
    "triplet": ranking.Triplet,
    "triplet_alignment": ranking.TripletAlignment,
    "set_wise": ranking.SetWise,
    "info_nce": ranking.InfoNCE,
    "sdm": ranking.SDM,
    "multi_similarity": ranking.MultiSimilarity,
    "smooth_ap": ranking.SmoothAP,
    "threshold_consistent_margin": ranking.ThresholdConsistentMargin,
}
ALL = SCORE | SIMILARITY
OTHER_OPTIONS = {
    "hinge": {"margin": 0.3, "pairs": "sum"},
    "squared_hinge": {"margin": 0.3, "reduction": "sum"},
    "logistic": {"temperature": 0.3, "reduction": "none"},
    "fidelity": {"target_probability": "binary", "scale": 2.0},
    "mann_whitney": {"surrogate": "hinge", "temperature": 2.0},
    "listnet": {"reduction": "none"},
    "listmle": {"ties": "order"},
    "lambda_ndcg": {"k": 2, "gain": "linear", "temperature": 0.5},
    "approx_ndcg": {"gain": "linear", "temperature": 0.5},
    "confidence_ndcg": {"tied_lists": "keep", "reduction": "sum"},
    "triplet": {"margin": 0.7, "mining": "all"},
    "triplet_alignment": {"margin": 0.7, "temperature": 0.1},
    "set_wise": {"margin": 0.7},
    "info_nce": {"temperature": 0.7},
    "sdm": {"temperature": 0.7},
    "multi_similarity": {"alpha": 1.0, "beta": 10.0, "base": 0.5, "margin": 0.3},
    "smooth_ap": {"temperature": 0.7, "reduction": "none"},
    "threshold_consistent_margin": {"positive_margin": 0.6, "negative_margin": 0.2},
}


def call(loss, name, **options):
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(4, 6, generator=generator)
    mask = torch.rand(4, 6, generator=generator) < 0.8
    if name in SCORE:
        options |= {"group": torch.randint(0, 2, (4, 6), generator=generator)}
        second, weight = torch.randint(0, 3, (4, 6), generator=generator), torch.rand(4, 6, generator=generator)
    else:
        second, weight = torch.rand(4, 6, generator=generator) < 0.4, torch.rand(4, generator=generator)
    return loss(first, second, mask=mask, weight=weight, **options)


@pytest.mark.parametrize("name", ALL)
def test_module_equals_function(name):
    for options in ({}, OTHER_OPTIONS[name]):
        module = ALL[name](**options)
        torch.testing.assert_close(call(module, name), call(getattr(ranking, name), name, **options), rtol=0, atol=0)


@pytest.mark.parametrize("name", ALL)
def test_other_options_really_are_others(name):
    changed = call(getattr(ranking, name), name, **OTHER_OPTIONS[name])
    assert changed.shape != () or changed != call(getattr(ranking, name), name)


@pytest.mark.parametrize("name", ALL)
def test_constructor_has_the_options_and_defaults_of_the_function(name):
    tensors = {"scores", "target", "similarity", "positive", "group", "mask", "weight"}
    function = inspect.signature(getattr(ranking, name)).parameters
    wanted = {key: parameter.default for key, parameter in function.items() if key not in tensors}
    constructor = inspect.signature(ALL[name]).parameters
    assert {key: parameter.default for key, parameter in constructor.items()} == wanted
    for parameter in constructor.values():
        assert parameter.kind == parameter.POSITIONAL_OR_KEYWORD
        assert parameter.annotation in (float, int | None) or typing.get_origin(parameter.annotation) is typing.Literal


@pytest.mark.parametrize("name", SCORE)
def test_signature_of_the_score_family(name):
    parameters = inspect.signature(SCORE[name].function).parameters
    assert list(parameters)[:5] == ["scores", "target", "group", "mask", "weight"]
    defaults = {key: parameters[key].default for key in ("group", "mask", "weight", "pairs", "reduction")}
    assert defaults == {"group": None, "mask": None, "weight": None, "pairs": "mean", "reduction": "mean"}
    assert all(parameter.kind == parameter.KEYWORD_ONLY for parameter in list(parameters.values())[2:])
    assert issubclass(SCORE[name], ranking.ScoreLoss)


@pytest.mark.parametrize("name", SIMILARITY)
def test_signature_of_the_similarity_family(name):
    parameters = inspect.signature(SIMILARITY[name].function).parameters
    assert list(parameters)[:4] == ["similarity", "positive", "mask", "weight"]
    defaults = {key: parameters[key].default for key in ("mask", "weight", "reduction")}
    assert defaults == {"mask": None, "weight": None, "reduction": "mean"}
    assert all(parameter.kind == parameter.KEYWORD_ONLY for parameter in list(parameters.values())[2:])
    assert issubclass(SIMILARITY[name], ranking.SimilarityLoss)


def test_defaults_that_the_design_fixes():
    assert ranking.Hinge().margin == 1.0
    assert (ranking.TripletAlignment().margin, ranking.TripletAlignment().temperature) == (0.1, 0.015)
    assert ranking.SetWise().margin == 2.0
    assert ranking.SDM().temperature == 0.02
    assert (ranking.Fidelity().target_probability, ranking.Fidelity().scale) == ("thurstone", 1.0)
    assert (ranking.MannWhitney().surrogate, ranking.MannWhitney().temperature) == ("logistic", 1.0)


@pytest.mark.parametrize("name", ALL)
def test_docstrings_have_a_summary_and_a_source(name):
    lines = getattr(ranking, name).__doc__.splitlines()
    assert len(lines[0]) > 20
    assert lines[0].endswith(".") or "`" in lines[0]
    assert sum(line.strip().startswith("Source: ") for line in lines) == 1
    assert ALL[name].__doc__ == f"Module form of `{name}`."


def test_everything_exported_is_a_member():
    rest = {"ScoreLoss", "SimilarityLoss", "gather", "use_engine", "both_ways", "across_processes"}
    rest |= {"Cosine", "Dot", "Euclidean", "Same", "Different"}
    assert set(ranking.__all__) == set(ALL) | {module.__name__ for module in ALL.values()} | rest


def test_wrong_options_fail_at_construction():
    with pytest.raises(ValueError, match="pairs: 'none' given"):
        ranking.Hinge(pairs="none")
    with pytest.raises(ValueError, match="mining: 'hard' given"):
        ranking.Triplet(mining="hard")
    with pytest.raises(TypeError, match="marjin"):
        ranking.Hinge(marjin=1.0)


def test_options_are_attributes_that_may_change_and_are_shown():
    module = ranking.Hinge(margin=0.5)
    assert repr(module) == "Hinge(margin=0.5, pairs='mean', reduction='mean', engine='auto')"
    module.margin = 2.0
    torch.testing.assert_close(call(module, "hinge"), call(ranking.hinge, "hinge", margin=2.0))
    assert module.state_dict() == {}


def test_modules_can_be_copied_and_pickled():
    for name, module in ALL.items():
        original = module(**OTHER_OPTIONS[name])
        for twin in (copy.deepcopy(original), pickle.loads(pickle.dumps(original))):
            torch.testing.assert_close(call(twin, name), call(original, name))


def test_a_loss_of_ones_own_needs_only_a_function_or_a_forward():
    def first_place(scores, target, *, group=None, mask=None, weight=None, power=1.0, pairs="mean", reduction="mean"):
        return (target.amax(-1) - scores.amax(-1)).abs().pow(power).mean()

    class ByFunction(ranking.ScoreLoss):
        function = staticmethod(first_place)

    class ByForward(ranking.ScoreLoss):
        def __init__(self, power: float = 1.0) -> None:
            super().__init__()
            self.power = power

        def forward(self, scores, target, *, group=None, mask=None, weight=None):
            return first_place(scores, target, power=self.power)

    scores, target = torch.rand(3, 4), torch.rand(3, 4)
    torch.testing.assert_close(ByFunction()(scores, target), ByForward()(scores, target))


def test_only_torch_and_the_standard_library_are_imported():
    """Triton in one file alone, which is imported where a GPU is at hand."""
    for path in Path(ranking.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                first = name.split(".")[0]
                allowed = {"torch"} | ({"triton"} if path.name == "fused_kernels.py" else set())
                assert first in sys.stdlib_module_names or first in allowed or name.startswith("zoo.ranking"), path
