"""`gather` under two and three processes with uneven batches, against one process over the whole batch."""

import importlib.util
from pathlib import Path

import pytest
import torch

from zoo import ranking
from zoo.ranking import gather

WORKER = Path(__file__).with_name("gather_worker.py")


def load_worker():
    spec = importlib.util.spec_from_file_location("gather_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("sizes", [(3, 6), (4, 0, 5)], ids=str)
def test_value_and_averaged_gradient_equal_one_process(sizes, ranks):
    worker = load_worker()
    model = worker.network()
    x, identity, grade = worker.whole_batch(sum(sizes))
    loss = worker.loss_of(model(x), identity, grade)
    loss.backward()
    assert loss > 0

    results = ranks(WORKER, ",".join(map(str, sizes)), world=len(sizes))
    for result in results:
        torch.testing.assert_close(result["loss"], loss.detach(), rtol=1e-12, atol=0)
        for got, parameter in zip(result["gradients"], model.parameters(), strict=True):
            torch.testing.assert_close(got, parameter.grad, rtol=1e-10, atol=1e-14)
        for name, expected in worker.ring(0, sizes, whole=True).items():
            for found, exact in zip(result["ring"][name], expected, strict=True):
                torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-13)
    assert "on process 0, expected the same on processes [1" in results[0]["error"]
    assert "on process 1, expected the same on processes [0]" in results[1]["error"]


def test_without_a_process_group_it_is_the_identity():
    x = torch.rand(3, 2, requires_grad=True)
    assert gather(x) is x


def test_without_a_group_a_scalar_comes_back_too():
    x = torch.tensor(1.0)
    assert gather(x) is x


def test_one_process_alone_is_the_loss_itself_and_other_losses_are_refused(monkeypatch):
    label = torch.arange(6) % 2
    similarity, positive = ranking.Cosine(torch.randn(6, 3), torch.randn(6, 3)), ranking.Same(label, label)
    expected = ranking.triplet(similarity, positive)
    assert ranking.across_processes(ranking.triplet, similarity, positive) == expected
    with pytest.raises(TypeError, match=r"similarity: Tensor given, expected embeddings \(Cosine\) or ids \(Same\)"):
        ranking.across_processes(ranking.sdm, torch.zeros(6, 6), positive)
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="loss: triplet given, expected one of info_nce, sdm, triplet_alignment"):
        ranking.across_processes(ranking.triplet, similarity, positive)
