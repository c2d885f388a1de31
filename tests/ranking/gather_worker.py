"""One process of `test_gather.py`: `gather_worker.py RANK SIZES INIT_FILE OUT`, SIZES as 3,0,5."""

import sys

import torch
import torch.distributed as dist
from torch import nn

from zoo import ranking
from zoo.ranking import gather, listnet, triplet_alignment

FEATURES, IDENTITIES = 5, 3


def whole_batch(rows):
    """The input of all processes together, the same wherever it is made."""
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, FEATURES, generator=generator, dtype=torch.float64)
    identity = torch.randint(0, IDENTITIES, (rows,), generator=generator)
    return x, identity, torch.randint(0, 4, (rows,), generator=generator)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def loss_of(features, identity, grade, gathered=lambda x: x):
    """A similarity loss and a score loss over the whole batch, each through a gather of its own."""
    all_features, all_identity = gathered(features), gathered(identity)
    similarity = all_features @ all_features.T
    same = all_identity.unsqueeze(1) == all_identity
    others = ~torch.eye(len(same), dtype=torch.bool)
    ranked = listnet(gathered(features[:, 0].exp()), gathered(grade))
    return triplet_alignment(similarity, same, mask=others, temperature=0.5) + 0.3 * ranked


def ring_loss(name, mixed, x, identity, index, whole):
    """A loss of all queries among the galleries of all processes; `whole`: of one process that holds everything."""
    loss = {"sdm": ranking.sdm, "module": ranking.TripletAlignment(temperature=0.5), "info_nce": ranking.info_nce}[name]
    options = {} if name == "module" else {"temperature": 0.5}
    similarity = ranking.Cosine(x @ mixed[0], x @ mixed[1])
    relations = {"positive": ranking.Same(identity, identity), "mask": ranking.Different(index, index)}
    if whole:
        return loss(similarity, engine="dense", **relations, **options) if options else loss(similarity, **relations)
    return ranking.across_processes(loss, similarity, **relations, **options)


def ring(rank, sizes, whole=False):
    """Values and averaged gradients of the losses that go round the ring, by name."""
    start, stop = (0, sum(sizes)) if whole else (sum(sizes[:rank]), sum(sizes[: rank + 1]))
    x, identity, _ = whole_batch(sum(sizes))
    found = {}
    for name in ("sdm", "module", "info_nce"):
        mixed = [torch.eye(FEATURES).double().requires_grad_(), torch.ones(FEATURES, 2).double().requires_grad_()]
        mixed[1].data += torch.arange(10).view(5, 2)
        mixed[0].data = mixed[0].data[:, :2].clone()
        index = torch.arange(sum(sizes))
        value = ring_loss(name, mixed, x[start:stop], identity[start:stop], index[start:stop], whole)
        value.backward()
        for tensor in mixed:
            if not whole:
                dist.all_reduce(tensor.grad)
                tensor.grad /= len(sizes)
        found[name] = [value.detach(), *(tensor.grad for tensor in mixed)]
    return found


def check_dtypes(rank, sizes):
    """Every dtype and layout comes through; returns what could not be checked against the whole."""
    start, rows = sum(sizes[:rank]), sum(sizes)
    whole = torch.arange(rows * 6).reshape(rows, 2, 3)
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64, torch.complex64):
        wanted = (whole % 3).to(dtype)
        got = gather(wanted[start : start + sizes[rank]])
        assert torch.equal(got, wanted), dtype
        assert not got.requires_grad
    turned = whole.float().permute(2, 1, 0).contiguous().permute(2, 1, 0)[start : start + sizes[rank]]
    assert torch.equal(gather(turned), whole.float())
    assert gather(torch.empty(sizes[rank], 0)).shape == (rows, 0)


def check_errors(rank, sizes):
    """Rows that do not fit are refused on every process, with no process left waiting."""
    try:
        gather(torch.zeros(sizes[rank], 3 if rank == 0 else 4))
    except ValueError as error:
        return str(error)
    return "no error"


def main(rank, sizes, init_file, out):
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=len(sizes))
    start = sum(sizes[:rank])
    x, identity, grade = (part[start : start + sizes[rank]] for part in whole_batch(sum(sizes)))
    model = nn.parallel.DistributedDataParallel(network())
    loss = loss_of(model(x), identity, grade, gather)
    loss.backward()
    check_dtypes(rank, sizes)
    result = {
        "loss": loss.detach(),
        "gradients": [parameter.grad for parameter in model.parameters()],
        "error": check_errors(rank, sizes),
        "ring": ring(rank, sizes),
    }
    torch.save(result, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(size) for size in sys.argv[4].split(",")], sys.argv[3], sys.argv[5])
