"""Trains and evaluates the toy method on N processes; run by test_ddp.py as a script, as Lightning starts it anew."""

import json
import sys
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from toy import ToyData, ToyModule

from zoo.training.fit import build_trainer, prepare

if __name__ == "__main__":
    folder, devices = Path(sys.argv[1]), int(sys.argv[2])
    torch.manual_seed(0)
    where = {"accelerator": "cpu", "devices": devices, "strategy": "ddp" if devices > 1 else "auto"}
    module = ToyModule(dropout=0.0)
    module.optimizer = partial(torch.optim.SGD, lr=0.1)
    data = ToyData(batch_size=8 // devices)
    prepare(folder, 0, {**where, "max_epochs": 3, "log_every_n_steps": 1}, False).run(module, data)
    module.rows = []
    trainer = build_trainer({**where, "logger": False, "enable_progress_bar": False, "enable_checkpointing": False})
    trainer.test(module, datamodule=data, verbose=False)
    if trainer.is_global_zero:
        (folder / "test.json").write_text(json.dumps({"metrics": module.results, "rows": module.rows}))
