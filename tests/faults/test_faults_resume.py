"""Run folders as disks, people and copies leave them: a training goes on exactly from one, or says what is wrong."""

import os
import shutil
import signal

import pytest
import torch

from zoo import train
from zoo.checkpoint import read
from zoo.cli.resuming import alone
from zoo.errors import InputError

OPTIONS = {"trainer.max_epochs": 2, "trainer.log_every_n_steps": 4}


def go(**named):
    return train("ltr/demo", OPTIONS, "one", resume=True, **named)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run of one epoch of two, as a kill leaves it: with rows that are later than its checkpoint."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train("ltr/demo", {**OPTIONS, "trainer.max_epochs": 1}, "one")
    with (folder / "runs/one/metrics.csv").open("r+") as stream:
        later = stream.read().splitlines()[1].replace("0,4,", "1,16,", 1)
        stream.write(f"{later}\n1,20,0.2,1.")
    return folder / "runs"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run of two epochs that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder / train("ltr/demo", OPTIONS, "one")


@pytest.fixture
def run(stopped, tmp_path, monkeypatch):
    """A copy of it, elsewhere."""
    shutil.copytree(stopped, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs/one"


def cut(file, size):
    file.write_bytes(file.read_bytes()[:size])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def edit(change):
    def edited(run):
        values = torch.load(run / "last.ckpt", weights_only=True)
        change(values)
        torch.save(values, run / "last.ckpt")

    return edited


def seed(values):
    values["zoo_recipe"] = values["zoo_recipe"].replace("seed_everything: 0", "seed_everything: 3")


def shapes(values):
    values["state_dict"] = {name: tensor[:1] for name, tensor in values["state_dict"].items()}


def line(number, text):
    def edited(run):
        lines = (run / "metrics.csv").read_text().splitlines()
        lines[number - 1 : number] = text(lines[number - 1])
        (run / "metrics.csv").write_text("\n".join(lines) + "\n")

    return edited


LAST = {
    "empty": (lambda run: cut(run / "last.ckpt", 0), r"last\.ckpt: is an empty file; --init runs/one/best\.ckpt"),
    "half": (lambda run: cut(run / "last.ckpt", 20_000), r"last\.ckpt: is damaged or cut off: .*; --init"),
    "one byte less": (lambda run: cut(run / "last.ckpt", -1), r"last\.ckpt: is damaged or cut off: .*; --init"),
    "one bit": (lambda run: flip(run / "last.ckpt"), r"last\.ckpt: is damaged or cut off: Bad CRC-32"),
    "best": (lambda run: shutil.copy(run / "best.ckpt", run / "last.ckpt"), r"last\.ckpt: .* lacks zoo_next"),
    "no optimizer": (edit(lambda values: values.pop("optimizer_states")), r"last\.ckpt: .*lacks optimizer_states"),
    "no journal": (edit(lambda values: values.update(callbacks={})), r"last\.ckpt: no training .* lacks callbacks"),
    "another seed": (edit(seed), r"^runs/one was trained with another seed_everything \(by its last\.ckpt\)"),
    "other shapes": (edit(shapes), r"last\.ckpt: 4 tensors do not fit MLPRanker: network\.layers\.0\."),
    "list": (lambda run: torch.save([1], run / "last.ckpt"), r"last\.ckpt: is no checkpoint: it holds a list"),
}  # fmt: skip
REST = {
    "fewer rows": (lambda run: cut(run / "metrics.csv", 120), r"metrics\.csv(:\d)?: .*delete it to go on without"),
    "half a row": (line(3, lambda text: [text[:9]]), r"metrics\.csv:3: the row is not whole"),
    "longer row": (line(3, lambda text: [text + ",1,2"]), r"metrics\.csv:3: the row is not whole"),
    "a word": (line(2, lambda text: ["x" + text]), r"metrics\.csv:2: the row is not whole"),
    "a row less": (line(2, lambda text: []), r"metrics\.csv:5: the row is later than the checkpoint"),
    "no head": (line(1, lambda text: []), r"metrics\.csv:1: there is no column epoch"),
    "bytes": (lambda run: (run / "metrics.csv").write_bytes(b"\xff\0\x80" * 99), r"metrics\.csv:1: there is no column"),
    "history": (lambda run: (run / "run.json").write_text('{"a":'), r"run\.json: cannot be read as json \(.*\); "),
    "history list": (lambda run: (run / "run.json").write_text("[]"), r"run\.json: must be an object, got a list"),
}  # fmt: skip


@pytest.mark.parametrize("damage", [*LAST, *REST])
def test_damage_of_a_run_folder_is_named(damage, run):
    act, message = {**LAST, **REST}[damage]
    act(run)
    with pytest.raises(InputError, match=message) as caught:
        go()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["none", "recipe", "no recipe"])
def test_a_copied_run_goes_on_as_the_whole_one(damage, run, whole):
    """The recipe counts that the checkpoint carries: that of the folder may be half a file."""
    if damage == "recipe":
        (run / "recipe.yaml").write_bytes(b"a: [\xff")
    elif damage == "no recipe":
        (run / "recipe.yaml").unlink()
    go()
    one, other = (read(folder / "last.ckpt").state for folder in (run, whole))
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert (run / "recipe.yaml").read_text() == (whole / "recipe.yaml").read_text()
    tables = [(folder / "metrics.csv").read_text().splitlines() for folder in (run, whole)]
    assert len(tables[0]) == len(tables[1]) == 1 + 2 * 3 + 2


def test_without_its_table_a_run_goes_on_and_says_so(run, capsys):
    (run / "metrics.csv").unlink()
    go()
    assert "note: runs/one/metrics.csv is gone, and with it 4 rows; it starts anew" in capsys.readouterr().err
    assert len((run / "metrics.csv").read_text().splitlines()) == 1 + 3 + 1
    assert go() == run.relative_to(run.parents[1])  # the rows are counted anew too


def test_a_second_training_is_kept_out_of_the_folder(run):
    """Both wrote, and the files were of one or the other."""
    before = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}
    with alone(run):
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(InputError, match=r"^runs/one: another training is writing there"):
                train("ltr/demo", OPTIONS, "one", **options)
    assert {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()} == before


def test_the_lock_ends_with_the_training_and_not_with_those_that_load_data_for_it(tmp_path):
    with alone(tmp_path / "run"):
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        with alone(tmp_path / "run"):
            (tmp_path / "run/recipe.yaml").write_text("a: 1")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert (tmp_path / "run/recipe.yaml").is_file()


def test_a_training_that_is_refused_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        train("ltr/demo", {"trainer.max_epochs": -5}, "no/such")
    assert list(tmp_path.iterdir()) == []


def test_init_counts_where_a_run_is_overwritten(run, capsys):
    """It was not looked at where the old run had a checkpoint: the training started from random weights."""
    start = run.parent / "start.ckpt"
    shutil.move(run / "best.ckpt", start)
    train("ltr/demo", {**OPTIONS, "optimizer.lr": 0.0}, "one", overwrite=True, init=start)
    one, other = read(run / "last.ckpt").state, read(start).state
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_validation_that_never_comes_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^trainer: `val_check_interval` \(10000\) must be less"):
        train("ltr/demo", {"trainer.val_check_interval": 10_000}, "rare")
