"""A loader process that dies is named in one line, wherever it shows; what items raise arrives as they raised it."""

import multiprocessing
import os
import pickle
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter as Fetch
from toy import Points, ToyData, ToyModule

from zoo.cli.failures import lines
from zoo.errors import ZooError
from zoo.training import DataError
from zoo.training.fit import prepare
from zoo.training.loader import LoaderDied, deaths_told

BROKEN = [
    ConnectionResetError(104, "Connection reset by peer"),
    ConnectionRefusedError(111, "Connection refused"),
    BrokenPipeError(32, "Broken pipe"),
    EOFError(),
    FileNotFoundError(2, "No such file or directory"),
    OSError("got end of file during message"),
    pickle.UnpicklingError("pickle data was truncated"),
    multiprocessing.AuthenticationError("digest received was wrong"),
    RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"),
    RuntimeError("Pin memory thread exited unexpectedly"),
]
FETCH = Fetch._try_get_data


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


class Failing(Points):
    error: BaseException

    def item(self, index, rng):
        if index == 5:
            raise self.error
        return super().item(index, rng)


class FailingData(ToyData):
    """Points of which one raises an error in the loader process."""

    def __init__(self, error: BaseException, workers: int = 1) -> None:
        super().__init__(workers=workers)
        self.error = error

    def read(self, root, split):
        points = Failing(26)
        points.error = self.error
        return points


def train(folder, data, callbacks=()):
    module = ToyModule()
    module.optimizer = torch.optim.Adam
    arguments = {"max_epochs": 10_000, "accelerator": "cpu", "callbacks": list(callbacks), "limit_val_batches": 0}
    folder.mkdir(exist_ok=True)
    prepare(folder, 0, arguments, False).run(module, data)


def broken_after(monkeypatch, batches: int, error: Exception) -> None:
    """The main process cannot fetch after that many batches, though its loader processes are alive."""
    left = iter(range(batches))

    def failing(self, *arguments):
        if next(left, None) is None:
            raise error
        return FETCH(self, *arguments)

    monkeypatch.setattr(Fetch, "_try_get_data", failing)


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: f"{type(error).__name__}{error}")
def test_a_broken_fetch_is_the_death_of_a_loader_process(monkeypatch, error):
    broken_after(monkeypatch, 2, error)
    with pytest.raises(LoaderDied) as caught, deaths_told(lambda: "run again"):
        list(ToyData(workers=1).train_dataloader())
    assert lines(caught.value) == [
        f"error: a data loader process died ({str(error) or type(error).__name__}); run again"
    ]


def test_training_says_how_to_go_on(tmp_path, monkeypatch):
    broken_after(monkeypatch, 3, ConnectionResetError(104, "Connection reset by peer"))
    with pytest.raises(LoaderDied, match=r"Connection reset by peer\); --resume starts anew: there is no checkpoint"):
        train(tmp_path / "early", ToyData(workers=1))
    broken_after(monkeypatch, 9, EOFError())
    with pytest.raises(LoaderDied, match=r"\(EOFError\); --resume goes on from .*last\.ckpt$"):
        train(tmp_path / "late", ToyData(workers=1))


class Notices(Callback):
    """PyTorch's handler of SIGCHLD raises wherever the main process is; here inside another error's handler."""

    def on_train_batch_end(self, *arguments) -> None:
        try:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. \nDetails are lost.")
        except RuntimeError as error:
            raise ValueError("the optimizer was interrupted") from error


def test_a_death_that_shows_anywhere_is_told(tmp_path):
    with pytest.raises(LoaderDied, match=r"\(DataLoader worker \(pid 7\) is killed by signal: Killed\. Details"):
        train(tmp_path, ToyData(), [Notices()])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "error",
    [
        DataError("list.csv:7: the box lies outside of the image"),
        FileNotFoundError(2, "No such file or directory", "images/7.jpg"),
        ConnectionResetError(104, "Connection reset by peer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_an_item_raises_arrives_as_it_was_raised(tmp_path, error, workers):
    with pytest.raises(type(error)) as caught:
        train(tmp_path, FailingData(error, workers))
    assert not isinstance(caught.value, LoaderDied)
    assert lines(caught.value) == lines(error)
    if workers:
        assert "in item" in "".join(caught.value.__notes__)  # where it came from, for --debug


class TwoArguments(ZooError):
    def __init__(self, file: str, row: int) -> None:
        super().__init__(f"{file}:{row}")


@pytest.mark.parametrize("error", [KeyError("DataLoader worker (pid 7)"), TwoArguments("a.csv", 7)], ids=str)
def test_other_errors_of_items_are_no_death(error):
    with pytest.raises(Exception, match="in DataLoader worker process 0") as caught, deaths_told(lambda: "run again"):
        list(FailingData(error).train_dataloader())
    assert not isinstance(caught.value, LoaderDied)


def test_too_many_open_files_is_said_as_it_is(monkeypatch):
    broken_after(monkeypatch, 1, RuntimeError("received 0 items of ancdata"))
    with pytest.raises(ZooError, match=r"too many open files to fetch data; raise the limit \(ulimit -n\)") as caught:
        list(ToyData(workers=1).train_dataloader())
    assert not isinstance(caught.value, LoaderDied)


@pytest.mark.parametrize("seed", range(8))
def test_killed_at_any_moment(warm, tmp_path, seed):
    script = Path(__file__).with_name("killed_loader.py")
    result = warm.run([str(script), str(seed)], tmp_path, os.environ, 120)
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    assert line.startswith("error: a data loader process died (")
    assert line.endswith("; run again")
