"""The scorer: shapes, size, and that a document's score is its own."""

import pytest
import torch

from zoo.domains.ltr import MLP, RankerOutput


def test_scores_documents():
    output = MLP()(torch.rand(3, 7, 46))
    assert isinstance(output, RankerOutput)
    assert output.scores.shape == (3, 7)


@pytest.mark.parametrize(
    ("hidden", "count"), [((64, 32), 46 * 64 + 64 + 64 * 32 + 32 + 32 + 1), ((), 47), ((5,), 46 * 5 + 5 + 6)]
)
def test_parameter_count(hidden, count):
    assert sum(parameter.numel() for parameter in MLP(46, hidden).parameters()) == count


def test_order_and_company_change_no_score():
    network = MLP().double().eval()
    features = torch.rand(1, 9, 46, dtype=torch.float64)
    order = torch.randperm(9)
    scores = network(features).scores
    torch.testing.assert_close(network(features[:, order]).scores, scores[:, order])
    torch.testing.assert_close(network(features[:, :4]).scores, scores[:, :4])


def test_dropout_only_while_training():
    network = MLP(dropout=0.5)
    features = torch.rand(1, 50, 46)
    assert not torch.equal(network(features).scores, network(features).scores)
    network.eval()
    assert torch.equal(network(features).scores, network(features).scores)
