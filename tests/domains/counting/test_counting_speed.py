"""What zoo bench times: names, a small training step, the transport beside POT where it is installed."""

import pytest
import torch

from zoo.domains.counting import speed


def test_cases():
    cases = speed.cases()
    assert [case.slow for case in cases] == [False, False, True, True, False]
    assert list(cases[-1].peers) == ["ot"]
    small = {"backbone": "test_resnet", "crop": 64, "window": 64, "overlap": 0}
    step = speed._step(small, 2)
    first, second = step(), step()
    assert torch.isfinite(first)
    assert float(first) != float(second)  # it learns
    assert speed._count(small, 128)().shape == (1,)


def test_transport_is_that_of_pot():
    pytest.importorskip("ot")
    speed._agree(speed._transport()(), speed._peer()())


def test_a_wrong_peer_is_found():
    with pytest.raises(AssertionError):
        speed._agree(torch.tensor(1.0), torch.tensor(1.1))
