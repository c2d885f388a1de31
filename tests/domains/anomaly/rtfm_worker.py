"""One process of test_anomaly_rtfm_runs.py: ``rtfm_worker.py RANK SIZES INIT_FILE OUT``, SIZES as 2,6."""

import sys

import torch
import torch.distributed as dist
from torch import nn

from zoo.domains.anomaly import RTFMNetwork, rtfm_terms, select_top

VARIANTS = ("official", "corrected")


def videos(sizes, rank=None):
    """The videos of a process, or of all in the order of the processes."""
    total = sum(sizes)
    rows = torch.rand(total, 7, 2, 8, generator=torch.Generator().manual_seed(total), dtype=torch.float64)
    label = torch.tensor([1.0, 0.0, 0.0, 1.0] * total)[:total]
    start = 0 if rank is None else sum(sizes[:rank])
    stop = total if rank is None else start + sizes[rank]
    return rows[start:stop], label[start:stop]


def network():
    """In evaluation mode: batch norm then is the same function on every process."""
    torch.manual_seed(0)
    made = RTFMNetwork(8, dropout=0.0).double().eval()
    nn.init.ones_(made.Aggregate.non_local.W[1].weight)
    return made


def run(model, plain, rows, label):
    """Values and gradients of both variants."""
    result = {}
    for variant in VARIANTS:
        plain.zero_grad()
        out = model(rows)
        chosen = select_top(out.magnitudes, 2)
        terms = rtfm_terms(out.scores, out.features, chosen, label, variant, 3.0, 0.3, 0.5, 0.7)
        sum(terms.values()).backward()
        gradients = [parameter.grad.clone() for parameter in plain.parameters()]
        result[variant] = ({name: value.detach() for name, value in terms.items()}, gradients)
    return result


def main(rank, sizes, init_file, out):
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=len(sizes))
    plain = network()
    torch.save(run(nn.parallel.DistributedDataParallel(plain), plain, *videos(sizes, rank)), out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(size) for size in sys.argv[4].split(",")], sys.argv[3], sys.argv[5])
