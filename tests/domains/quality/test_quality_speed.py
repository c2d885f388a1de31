"""The benchmark's small cases run, and ours agrees with the peer."""

import pytest
import torch

from zoo.domains.quality.speed import cases


@pytest.mark.long
def test_cases():
    found = {case.name: case for case in cases()}
    assert len(found) == 6
    assert sum(case.slow for case in found.values()) == 3
    step = next(case for name, case in found.items() if name.startswith("training step, Eff"))
    work = step.ours()
    first, second = work(), work()
    assert torch.isfinite(first)
    assert first != second  # the step did something


def test_the_encoder_agrees_with_the_peer():
    pytest.importorskip("transformers")
    case = next(case for case in cases() if case.agree is not None)
    case.agree(case.ours()(), case.peers["transformers"]()())
