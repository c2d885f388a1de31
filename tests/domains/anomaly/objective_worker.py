"""One process of test_anomaly_ddp.py: ``objective_worker.py RANK SIZES INIT_FILE OUT``, SIZES as 3,5."""

import sys

import torch
import torch.distributed as dist
from torch import nn

from zoo.domains.anomaly import Detector, mil_terms, weight_penalty
from zoo.ranking import Logistic

FEATURES, SEGMENTS = 6, 5
VARIANTS = ("official", "paper", "diagonal", "logistic")


def bags(sizes, rank=None):
    """The bags of a process, or of all in the order of the processes; as many anomalous as normal ones in all."""
    total = sum(sizes)
    generator = torch.Generator().manual_seed(total)
    rows = torch.rand(total, SEGMENTS, FEATURES, generator=generator, dtype=torch.float64)
    # neighbours are a pair: with sizes that are even, each process holds whole pairs
    label = torch.tensor([1.0, 0.0] * (total // 2))
    if rank is None:
        return rows, label
    start = sum(sizes[:rank])
    return rows[start : start + sizes[rank]], label[start : start + sizes[rank]]


def network():
    torch.manual_seed(0)
    detector = Detector(FEATURES, dropout=0.0).double()
    for layer in detector.layers:
        nn.init.normal_(layer.bias)
    return detector


def objective(scores, label, plain, variant):
    """All four terms, weighted so that each matters."""
    name, ranking = ("official", Logistic(pairs="sum")) if variant == "logistic" else (variant, None)
    terms = mil_terms(scores, label, name, ranking, sparsity=0.3, smoothness=0.7)
    return {**terms, "weights": 0.05 * weight_penalty(plain, name)}


def run(model, plain, rows, label):
    """Values and gradients of every variant."""
    result = {}
    for variant in VARIANTS:
        plain.zero_grad()
        terms = objective(model(rows).scores, label, plain, variant)
        sum(terms.values()).backward()
        gradients = [parameter.grad.clone() for parameter in plain.parameters()]
        result[variant] = ({name: value.detach() for name, value in terms.items()}, gradients)
    return result


def main(rank, sizes, init_file, out):
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=len(sizes))
    plain = network()
    torch.save(run(nn.parallel.DistributedDataParallel(plain), plain, *bags(sizes, rank)), out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(size) for size in sys.argv[4].split(",")], sys.argv[3], sys.argv[5])
