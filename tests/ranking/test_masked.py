"""The masked reductions: 0 for a row without a True entry, finite gradients whatever stands in the others."""

import pytest
import torch

from zoo.ranking import masked

PLAIN = {
    "masked_mean": lambda x: x.mean(),
    "masked_max": lambda x: x.amax(),
    "masked_min": lambda x: x.amin(),
    "masked_logsumexp": lambda x: x.logsumexp(0),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("junk", [torch.nan, torch.inf, -torch.inf])
def test_reduces_the_true_entries_alone(name, junk):
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    clean = torch.tensor([[1.0, 0.0, 3.0], [0.0, 0.0, 0.0], [-2.0, 5.0, 0.5]])
    x = clean.where(mask, junk).requires_grad_()
    got = getattr(masked, name)(x, mask)
    wanted = torch.stack([PLAIN[name](clean[0, ::2]), torch.tensor(0.0), PLAIN[name](clean[2])])
    torch.testing.assert_close(got, wanted)
    got.sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad[~mask] == 0).all()


def test_log_softmax_over_the_true_entries():
    mask = torch.tensor([[True, False, True], [False, False, False]])
    x = torch.tensor([[1.0, torch.nan, 3.0], [torch.inf, 0.0, 0.0]], requires_grad=True)
    got = masked.masked_log_softmax(x, mask)
    torch.testing.assert_close(got[0, ::2], torch.tensor([1.0, 3.0]).log_softmax(0))
    assert (got[~mask] == 0).all()
    got[0, 0].backward()
    assert x.grad.isfinite().all()
