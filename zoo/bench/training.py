"""What ``zoo bench training`` times: each domain's demo in Lightning's loop beside the same loop in plain PyTorch.

Validation, checkpoints and pictures are left out of both. The peer named ``torch (loader)`` only fetches the batches:
its share of the time is what data loading costs.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.recipe import build_data, build_model, build_optimizer, build_trainer_arguments, names, read
from zoo.training import ZooData, ZooModule
from zoo.training.checkpoints import Reseed, seed_batch
from zoo.training.fit import build_trainer, quiet
from zoo.training.journal import Journal
from zoo.training.speed import Case, Work

STEPS, FEW = 40, 8  # of a training; few where a step takes a second or so
SLOW = ("counting", "detection", "quality", "reid")
# what a method does at a place in the training, by hooks that the plain loop has not
OFF: dict[str, dict[str, object]] = {"reid": {"model.division": False}, "detection": {"model.high_order_cost": False}}
SEED = 0


def steps_of(domain: str) -> int:
    """Steps that a demo is trained for, up to whole epochs where one has fewer."""
    return FEW if domain in SLOW else STEPS


class Demo:
    """A demo that can be trained again and again from the same start.

    Args:
        domain: Its folder in recipes.
    """

    def __init__(self, domain: str) -> None:
        recipe = read(f"{domain}/demo", OFF.get(domain, {}))
        quiet()
        torch.manual_seed(SEED)
        self.module: ZooModule = build_model(recipe)
        self.data: ZooData = build_data(recipe)
        self.module.optimizer = build_optimizer(recipe)
        self.clip = build_trainer_arguments(recipe).get("gradient_clip_val")
        self.module.set_classes(self.data.class_names)
        steps, batches = steps_of(domain), len(self.data.train_dataloader())
        self.batches, self.epochs = min(steps, batches), -(-steps // batches)
        self.start = {name: value.clone() for name, value in self.module.state_dict().items()}

    def weights(self, train: Callable[[], None]) -> Tensor:
        """All parameters, one after the other, of a training from the start."""
        self.module.load_state_dict(self.start)
        self.module.train()
        train()
        return nn.utils.parameters_to_vector(self.module.parameters()).detach()


def lightning_loop(demo: Demo) -> None:
    """The loop of ``zoo train``."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        trainer = build_trainer(
            {
                "max_epochs": demo.epochs,
                "limit_train_batches": demo.batches,
                "accelerator": "cpu",
                "devices": 1,
                "gradient_clip_val": demo.clip,
                "limit_val_batches": 0,
                "num_sanity_val_steps": 0,
                "logger": False,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "callbacks": [Reseed(SEED), Journal(Path(folder) / "metrics.csv")],
                "default_root_dir": folder,
            }
        )
        trainer.fit(demo.module, datamodule=demo.data)


def plain_loop(demo: Demo) -> None:
    """The same loop as one writes it by hand."""
    module = demo.module
    optimizer = module.configure_optimizers()
    loader: Any = demo.data.train_dataloader()
    for epoch in range(demo.epochs):
        loader.batch_sampler.set_epoch(epoch)
        for number, batch in enumerate(islice(loader, demo.batches)):
            seed_batch(SEED, 0, epoch, number, module.device)  # as Reseed does, so that both loops draw the same
            loss = torch.stack(list(module.terms(batch).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            if demo.clip is not None:
                nn.utils.clip_grad_norm_(module.parameters(), demo.clip)
            optimizer.step()


def fetch(demo: Demo) -> None:
    """The batches alone."""
    loader: Any = demo.data.train_dataloader()
    for epoch in range(demo.epochs):
        loader.batch_sampler.set_epoch(epoch)
        for _ in islice(loader, demo.batches):
            continue


def training(domain: str, loop: Callable[[Demo], None]) -> Work:
    """Work that trains and gives the weights."""
    demo = Demo(domain)
    return lambda: demo.weights(partial(loop, demo))


def loading(domain: str) -> Work:
    """Work that fetches the batches and gives nothing."""
    demo = Demo(domain)
    return lambda: fetch(demo)


def _agree(ours: Any, peer: Any) -> None:
    if peer is not None:
        torch.testing.assert_close(ours, peer, rtol=1e-5, atol=1e-6)


def cases() -> list[Case]:
    """Every domain that has a demo."""
    found = []
    for domain in sorted(name.partition("/")[0] for name in names() if name.endswith("/demo")):
        peers = {"torch": partial(training, domain, plain_loop), "torch (loader)": partial(loading, domain)}
        ours = partial(training, domain, lightning_loop)
        found.append(Case(f"{domain}/demo, {steps_of(domain)} steps", ours, peers, _agree, domain in SLOW))
    return found
