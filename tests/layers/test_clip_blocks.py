"""CLIP's blocks against torch's own attention, with and without the weights it averages over heads."""

import pytest
import torch
from torch import nn

from zoo.layers.clip_blocks import Attention, LayerNorm, Transformer


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_that_of_torch(causal):
    torch.manual_seed(0)
    ours, theirs = Attention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    nn.init.normal_(ours.in_proj_weight)
    nn.init.normal_(ours.in_proj_bias)
    theirs.load_state_dict(ours.state_dict())  # the same names
    x = torch.randn(3, 7, 16)
    mask = torch.ones(7, 7, dtype=torch.bool).triu(1) if causal else None
    wanted, weights = theirs(x, x, x, attn_mask=mask, average_attn_weights=True)
    for asked in (False, True):
        found, attention = ours(x, causal, asked)
        torch.testing.assert_close(found, wanted)
        assert (attention is not None) == asked
    torch.testing.assert_close(attention, weights)


def test_what_may_not_be_seen_changes_nothing():
    torch.manual_seed(0)
    attention, x = Attention(16, 4), torch.randn(2, 5, 16)
    nn.init.normal_(attention.in_proj_weight)
    keep = torch.tensor([[True, True, True, False, False], [True] * 5])
    for weights in (False, True):
        found, _ = attention(x, False, weights, keep)
        alone, _ = attention(x[:1, :3], False, weights)
        torch.testing.assert_close(found[:1, :3], alone)


def test_the_last_attention_costs_the_result_nothing():
    torch.manual_seed(0)
    stack, x = Transformer(16, 3, 4, causal=True), torch.randn(2, 6, 16)
    found, attention = stack.attended(x)
    torch.testing.assert_close(found, stack(x))
    assert attention.shape == (2, 6, 6)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 6))
    torch.testing.assert_close(attention, attention.tril())
    with pytest.raises(ValueError, match="layers: 0 given"):
        Transformer(16, 0, 4, causal=False)
    with pytest.raises(ValueError, match="width: 18 given, expected a multiple of the 4 heads"):
        Transformer(18, 1, 4, causal=False)


def test_norms_are_computed_in_float32():
    x = (1000 + torch.randn(4, 8, generator=torch.Generator().manual_seed(0))).half()
    found = LayerNorm(8)(x)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), nn.LayerNorm(8)(x.float()), atol=1e-3, rtol=1e-3)
