"""From any ``last.ckpt`` the training ends exactly like one that was never stopped."""

from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from toy import ToyData, ToyModule

import zoo.training.checkpoints as checkpoints_file
from zoo.errors import InputError
from zoo.training import NonFiniteLoss, WarmupCosine
from zoo.training.checkpoints import AtomicCheckpointIO, Checkpoints, Interrupted
from zoo.training.fit import prepare


class Crash(Callback):
    """Fails at the end of one batch, as a kill would."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.place = (epoch, batch)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if (trainer.current_epoch, batch_idx) == self.place:
            raise ArithmeticError("crash")


class Ask(Callback):
    """Asks for a stop at the end of one batch, as a signal would."""

    def __init__(self, epoch: int, batch: int) -> None:
        self.place = (epoch, batch)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if (trainer.current_epoch, batch_idx) == self.place:
            next(c for c in trainer.callbacks if isinstance(c, Checkpoints)).stopping = True


def train(folder: Path, extra=(), workers=0, resume=False, data=None, **arguments):
    torch.manual_seed(3)
    module = ToyModule()
    module.optimizer = partial(torch.optim.AdamW, lr=0.01)
    module.lr_scheduler = partial(WarmupCosine, warmup="1 epochs")
    data = data or ToyData(workers=workers)
    data.seed = 3
    callbacks = [EMAWeightAveraging(decay=0.9), *extra]
    options = {"max_epochs": 4, "log_every_n_steps": 2, "accelerator": "cpu", "callbacks": callbacks, **arguments}
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder, 3, options, resume).run(module, data)


def differences(a, b, path="") -> list[str]:
    if isinstance(a, dict):
        return [f"{path} keys"] * (set(a) != set(b)) + [
            found for key in a if key in b for found in differences(a[key], b[key], f"{path}/{key}")
        ]
    if isinstance(a, list | tuple):
        return [found for i, (x, y) in enumerate(zip(a, b, strict=True)) for found in differences(x, y, f"{path}/{i}")]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if same else [path]


def load(file: Path):
    return torch.load(file, weights_only=True)


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        assert not differences(load(one / name), load(other / name)), name
    tables = [pd.read_csv(folder / "metrics.csv").drop(columns="time") for folder in (one, other)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    runs = {}

    def make(**arguments):
        key = str(sorted(arguments.items()))
        if key not in runs:
            runs[key] = tmp_path_factory.mktemp("whole")
            train(runs[key], **arguments)
        return runs[key]

    return make


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.mark.parametrize(
    "arguments",
    [{}, {"accumulate_grad_batches": 2}, {"check_val_every_n_epoch": 2}, {"val_check_interval": 3}],
    ids=["plain", "accumulate", "every2", "interval3"],
)
@pytest.mark.parametrize(
    "stop",
    [Crash(0, 2), Crash(2, 6), Ask(0, 0), Ask(1, 2), Ask(2, 5), Ask(2, 6)],
    ids=["crash02", "crash26", "ask00", "ask12", "ask25", "ask26"],
)
def test_resumed_run_equals_the_whole_one(tmp_path, whole, stop, arguments):
    with pytest.raises((ArithmeticError, Interrupted)):
        train(tmp_path, [stop], **arguments)
    train(tmp_path, resume=True, **arguments)
    assert_same_run(whole(**arguments), tmp_path)


def test_worker_count_changes_nothing(tmp_path, whole):
    with pytest.raises(Interrupted):
        train(tmp_path, [Ask(1, 3)], workers=2)
    train(tmp_path, resume=True, workers=1)
    assert_same_run(whole(), tmp_path)


def test_interruption_says_how_to_go_on(tmp_path):
    with pytest.raises(Interrupted, match=r"epoch 1, step 10; .*last.ckpt is written, --resume goes on"):
        train(tmp_path, [Ask(1, 2)])


def test_augmentation_differs_between_epochs_and_items():
    items = ToyData(size=3)
    items.seed = 1
    seeded = items.items("train")
    values = [tuple(seeded[epoch, i]["x"].tolist()) for epoch in (0, 1) for i in range(3)]
    assert len(set(values)) == 6
    assert values[0] == tuple(seeded[0, 0]["x"].tolist())


def test_journal_holds_steps_epochs_and_plain_columns(whole):
    table = pd.read_csv(whole() / "metrics.csv")
    names = ["epoch", "step", "time", "train/absolute", "train/loss", "train/lr", "train/square", "val/error"]
    assert list(table.columns) == names
    epochs = table[table["val/error"].notna()]
    assert list(epochs["step"]) == [7, 14, 21, 28]
    assert list(table[table["val/error"].isna()]["step"]) == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28]
    total = table["train/square"] + table["train/absolute"]
    assert total.to_numpy() == pytest.approx(table["train/loss"].to_numpy())
    assert list(table[table["step"] == 2]["train/lr"]) == pytest.approx([0.01 / 7])  # the rate of step 2, not of step 3


def test_checkpoint_describes_itself(whole):
    checkpoint = load(whole() / "best.ckpt")
    assert {"zoo_recipe", "zoo_version", "zoo_classes", "zoo_preprocess", "zoo_metrics"} <= set(checkpoint)
    assert "val/error" in checkpoint["zoo_metrics"]
    assert list(checkpoint["state_dict"]) == [f"network.{i}.{kind}" for i in (0, 3) for kind in ("weight", "bias")]
    averaged, current = checkpoint["state_dict"], checkpoint["current_model_state"]
    assert not torch.equal(averaged["network.0.bias"], current["network.0.bias"])


def test_non_finite_loss_names_term_step_and_samples(tmp_path):
    data = ToyData(size=26, nan_at=11)
    with pytest.raises(NonFiniteLoss) as caught:
        train(tmp_path, data=data)
    message = str(caught.value)
    assert "loss term square = nan, absolute = nan at step" in message
    assert "point11" in message
    assert "there is no checkpoint yet" in message
    assert not (tmp_path / "last.ckpt").exists()


def test_non_finite_loss_keeps_the_last_good_checkpoint(tmp_path, whole):
    train(tmp_path, max_epochs=1)
    before = load(tmp_path / "last.ckpt")
    data = ToyData(size=26, nan_at=11)
    with pytest.raises(NonFiniteLoss, match=r"the last good checkpoint is .*last\.ckpt"):
        train(tmp_path, resume=True, data=data, max_epochs=2)
    assert not differences(before, load(tmp_path / "last.ckpt"))


def test_unknown_monitor_names_what_was_reported(tmp_path):
    module = ToyModule(monitor="val/eror")
    module.optimizer = partial(torch.optim.SGD, lr=0.1)
    with pytest.raises(
        InputError,
        match=r"'val/eror', which validation did not report; it reported val/error; did you mean 'val/error'\?",
    ):
        prepare(tmp_path, 0, {"max_epochs": 1, "accelerator": "cpu"}, False).run(module, ToyData())


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"a": 1}, target)

    def broken(checkpoint, stream):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints_file.torch, "save", broken)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint({"a": 2}, target)
    monkeypatch.undo()
    assert load(target) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / ".last.ckpt.123.tmp").write_text("half")
    train(tmp_path, max_epochs=1)
    assert not list(tmp_path.glob(".*.tmp"))


def test_overfits_one_batch(tmp_path):
    module = ToyModule(dropout=0.0)
    module.optimizer = partial(torch.optim.Adam, lr=0.02)
    data = ToyData(size=4)
    prepare(tmp_path, 0, {"max_epochs": 150, "accelerator": "cpu", "limit_val_batches": 1}, False).run(module, data)
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert table["train/square"].iloc[-1] < 0.1 * table["train/square"].iloc[0]
