"""One process of test_calibration_ddp.py: `calibration_worker.py RANK WORLD INIT_FILE OUT`."""

import sys

import torch
import torch.distributed as dist
from torch import nn

import zoo.domains.calibration as calibration
from zoo.domains.calibration.mixing import Draw

IMAGES = 7
OBJECTIVES = ("MNDCG", "MRL", "MMCE", "Mixup")


class Fixed:
    """Draws of the whole batch, cut to the images of this process; partners stay within a process."""

    def draw(self, copies: int, mixup_alpha: float, sizes: list[int], process: int = 0) -> list[Draw]:
        """Lambda 0.3, 0.6, ...; every image is mixed with the next one of its process of two."""
        whole = [list(range(0, IMAGES, 2)), list(range(1, IMAGES, 2))]
        if len(sizes) == 1:
            partner = torch.empty(IMAGES, dtype=torch.int64)
            for part in whole:
                partner[part] = torch.tensor(part[1:] + part[:1])
        else:
            partner = torch.arange(sizes[process]).roll(-1)
        return [Draw(0.3 * (copy + 1), partner) for copy in range(copies)]


def outcome(objective: str, rank: int, world: int) -> dict[str, object]:
    """Loss and averaged gradient of this process's share of seven images, and the state of the module's own draws."""
    torch.manual_seed(0)
    module = calibration.RankMixup(getattr(calibration, objective)(), network="resnet8", width=4)
    module.eval()  # statistics of a batch differ between processes; the loss is what is compared
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(IMAGES, 3, 8, 8, generator=generator), torch.arange(IMAGES) % 3
    own = list(range(rank, IMAGES, world))
    batch = {"image": images[own], "label": labels[own], "id": [str(index) for index in own]}
    module.terms(batch)
    state = module.draws.state()
    module.draws = Fixed()  # type: ignore[assignment]
    if world > 1:
        # as Lightning wraps a module: the forward is the training step
        module.forward = lambda given: sum(module.terms(given).values())  # type: ignore[method-assign]
        wrapped = nn.parallel.DistributedDataParallel(module)
        loss = wrapped(batch)
    else:
        loss = torch.stack(list(module.terms(batch).values())).sum()
    loss.backward()
    gradients = [parameter.grad for parameter in module.network.parameters()]
    return {"loss": loss.detach(), "gradients": gradients, "position": state["position"], "keys": state["keys"]}


def main(rank: int, world: int, init: str, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{init}", rank=rank, world_size=world)
    torch.save({objective: outcome(objective, rank, world) for objective in OBJECTIVES}, out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:5])
