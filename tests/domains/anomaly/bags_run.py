"""Trains and evaluates MILRanking on N processes; test_anomaly_ddp.py runs it as a script, as Lightning restarts it."""

import json
import sys
from functools import partial
from pathlib import Path

import torch

from zoo.domains.anomaly import MILRanking, UCFCrime
from zoo.training.fit import build_trainer, prepare

if __name__ == "__main__":
    root, folder, devices = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    torch.manual_seed(0)
    where = {"accelerator": "cpu", "devices": devices, "strategy": "ddp" if devices > 1 else "auto"}
    module = MILRanking(features=16, dropout=0.0)
    module.optimizer = partial(torch.optim.Adagrad, lr=0.01)
    data = UCFCrime(root=root, batch_size=12 // devices, steps_per_epoch=5, val_fraction=0.3)
    prepare(folder, 0, {**where, "max_epochs": 2, "log_every_n_steps": 1}, False).run(module, data)
    module.rows = []
    trainer = build_trainer({**where, "logger": False, "enable_progress_bar": False, "enable_checkpointing": False})
    trainer.test(module, datamodule=data, verbose=False)
    if trainer.is_global_zero:
        (folder / "test.json").write_text(json.dumps({"metrics": module.results, "rows": module.rows}))
