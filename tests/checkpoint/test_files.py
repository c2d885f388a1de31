"""Reading and writing checkpoints: round trips, and what is said of files that are none."""

from __future__ import annotations

import os
import pickle
import random
import stat
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo.checkpoint.files as files
from zoo._version import __version__
from zoo.checkpoint import Checkpoint, card, header, read, write_safetensors
from zoo.errors import InputError, ZooError

Save = Callable[..., Path]


def refusal(path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what torch remarks must not reach a user
        with pytest.raises(InputError) as caught:
            read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert "weights_only" not in message
    return message


class Calls:
    """Unpickling it calls a function with arguments."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


# -- reading


def test_a_ckpt_is_read_whole(save: Save, contents: dict[str, Any]) -> None:
    checkpoint = read(save())
    assert {name: tensor.tolist() for name, tensor in checkpoint.state.items()} == {
        name: tensor.tolist() for name, tensor in contents["state_dict"].items()
    }
    assert checkpoint.recipe == contents["zoo_recipe"]
    assert checkpoint.version == __version__
    assert checkpoint.classes == ["cat", "dog", "eel"]
    assert checkpoint.metrics == {"val/error": 0.25}
    assert checkpoint.preprocess == {"size": [4], "mean": 0.5}
    assert checkpoint.source == ""


def test_the_container_of_older_torch_is_read_too(save: Save, contents: dict[str, Any], tmp_path: Path) -> None:
    torch.save(contents, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    old, new = read(tmp_path / "old.ckpt"), read(save())
    assert replace(old, path=new.path, state={}) == replace(new, state={})
    assert all(torch.equal(old.state[name], tensor) for name, tensor in new.state.items())


def test_averaged_weights_are_the_ones_read(save: Save, contents: dict[str, Any]) -> None:
    """Lightning's weight averaging puts the averages under `state_dict`, the raw ones under `current_model_state`."""
    raw = {name: tensor + 1 for name, tensor in contents["state_dict"].items()}
    checkpoint = read(save(current_model_state=raw, averaging_state={"n_averaged": torch.tensor(7)}))
    assert all(torch.equal(checkpoint.state[name], tensor) for name, tensor in contents["state_dict"].items())


def test_lightning_still_saves_averages_so(tmp_path: Path) -> None:
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import EMAWeightAveraging

    class One(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
            return self.layer(batch).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = pl.Trainer(
        max_steps=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[EMAWeightAveraging(decay=0.5)],
    )
    trainer.fit(One(), torch.utils.data.DataLoader(torch.ones(4, 2)))
    saved = torch.load(next(tmp_path.rglob("*.ckpt")), weights_only=True)
    averaged, raw = saved["state_dict"]["layer.weight"], saved["current_model_state"]["layer.weight"]
    assert averaged.shape == raw.shape
    assert not torch.equal(averaged, raw)


def test_a_file_is_recognised_by_its_content(save: Save, tmp_path: Path) -> None:
    write_safetensors(tmp_path / "x.safetensors", read(save()))
    (tmp_path / "x.safetensors").rename(tmp_path / "renamed.ckpt")
    assert read(tmp_path / "renamed.ckpt").classes == ["cat", "dog", "eel"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is an empty file"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "is a web page (HTML), not weights"),
        (b"\n  <HTML>not found</HTML>", "is a web page (HTML), not weights"),
        (b"<?xml version='1.0'?><html>", "is a web page (HTML), not weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (b"some text", "is no checkpoint (neither a torch file nor safetensors)"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "is no checkpoint (neither a torch file nor safetensors)"),
        (bytes(range(200)), "is no checkpoint (neither a torch file nor safetensors)"),
    ],
)
def test_a_file_that_is_no_checkpoint(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(data)
    assert says in refusal(path)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refusal(tmp_path / "x.ckpt")


def test_a_folder(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in refusal(tmp_path)


def test_a_checkpoint_cut_off_anywhere_is_refused(save: Save) -> None:
    path = save()
    whole = path.read_bytes()
    for length in range(1, len(whole), 97):
        path.write_bytes(whole[:length])
        refusal(path)


def test_an_old_container_cut_off_anywhere_is_refused(contents: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "old.ckpt"
    torch.save(contents, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for length in range(1, len(whole), 53):
        path.write_bytes(whole[:length])
        refusal(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_flipped_bytes_are_refused_or_read_never_more(contents: dict[str, Any], tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "x.ckpt"
    torch.save(contents, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    rng = random.Random(0)
    outcomes = set()
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            read(path)
            outcomes.add("read")
        except InputError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_a_pickled_object_is_refused_and_named(save: Save, contents: dict[str, Any], tmp_path: Path) -> None:
    for zipped in (True, False):
        path = tmp_path / "x.ckpt"
        torch.save({**contents, "extra": torch.nn.Linear(1, 1)}, path, _use_new_zipfile_serialization=zipped)
        message = refusal(path)
        assert "asks for more than tensors and plain values (torch.nn.modules.linear.Linear)" in message
        assert f"zoo convert RECIPE {path} OUT.safetensors" in message


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    path, flag = tmp_path / "x.ckpt", tmp_path / "ran"
    path.write_bytes(pickle.dumps({"a": Calls(os.system, f"touch {flag}")}, protocol=protocol))
    assert "asks for more than tensors and plain values (posix.system)" in refusal(path)
    torch.save({"state_dict": {}, "zoo_recipe": Calls(os.system, f"touch {flag}")}, path)
    assert "asks for more than tensors and plain values (posix.system)" in refusal(path)
    assert not flag.exists()


def test_a_plain_pickle_of_plain_values(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(pickle.dumps([1, 2], protocol=2))
    refusal(path)


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refusal(path)


def test_not_a_dictionary(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "x.ckpt")
    assert "it holds a Tensor, not values by name" in refusal(tmp_path / "x.ckpt")


def test_an_official_file_is_sent_to_convert(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {"fc.weight": torch.zeros(2)}}, path)
    assert refusal(path) == (
        f"{path}: carries no recipe (zoo_recipe), so it was not written by zoo; an authors' file is turned into a "
        f"checkpoint by: zoo convert RECIPE {path} OUT.safetensors"
    )
    torch.save({"fc.weight": torch.zeros(2)}, path)
    assert "carries no recipe (zoo_recipe)" in refusal(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"zoo_recipe": 3}, "zoo_recipe must be the recipe as text, found a int"),
        ({"zoo_recipe": ""}, "zoo_recipe must be the recipe as text"),
        ({"zoo_version": None}, "zoo_version must be a version as text, it is missing"),
        ({"zoo_classes": "cat"}, "zoo_classes must be a list of names, found a str"),
        ({"zoo_metrics": {"a": "b"}}, "zoo_metrics must be numbers by name"),
        ({"zoo_metrics": {"a": True}}, "zoo_metrics must be numbers by name"),
        ({"zoo_preprocess": [1]}, "zoo_preprocess must be values by name, found a list"),
        ({"state_dict": None}, "has no state_dict, so it holds no weights"),
        ({"state_dict": {"a": 3}}, "state_dict['a'] is no dense tensor but a int"),
        ({"state_dict": {"a": torch.eye(2).to_sparse()}}, "state_dict['a'] is no dense tensor"),
        ({"zoo_version": "99.0.0"}, f"was written by zoo 99.0.0, newer than this one ({__version__}); upgrade"),
        ({"zoo_version": "99.0.0", "state_dict": None, "zoo_classes": 3}, "was written by zoo 99.0.0, newer than"),
        ({"zoo_version": "latest"}, "zoo_version 'latest' is no version"),
    ],
)
def test_entries_of_the_wrong_kind(save: Save, changes: dict[str, Any], says: str) -> None:
    assert says in refusal(save(**changes))


def test_older_and_equal_versions_are_read(save: Save) -> None:
    for version in ("0.0.9", __version__, f"{__version__}.dev3"):
        assert read(save(zoo_version=version)).version == version


def test_a_checkpoint_without_optional_entries(save: Save) -> None:
    checkpoint = read(save(zoo_classes=None, zoo_metrics=None, zoo_preprocess=None))
    assert (checkpoint.classes, checkpoint.metrics, checkpoint.preprocess) == ([], {}, {})


# -- writing


def test_what_is_written_is_what_is_read(save: Save, tmp_path: Path) -> None:
    before = replace(read(save()), source="weights.mat sha256:00")
    path = tmp_path / "new" / "folder" / "x.safetensors"
    write_safetensors(path, before)
    after = read(path)
    assert replace(after, state={}) == replace(before, path=path, state={})
    assert sorted(after.state) == sorted(before.state)
    assert all(torch.equal(after.state[name], tensor) for name, tensor in before.state.items())
    assert card(path) == {**before.card, "file": str(path)}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["x.safetensors"]


def test_every_metadata_key(save: Save, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, read(save()))
    assert set(header(path)["metadata"]) == {
        "zoo_recipe", "zoo_version", "zoo_classes", "zoo_metrics", "zoo_preprocess",
    }  # fmt: skip


def test_views_shared_and_half_tensors_are_written(save: Save, tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    state = {
        "base": base,
        "again": base,
        "turned": base.t(),
        "row": base[1],
        "expanded": torch.ones(1).expand(5),
        "half": torch.ones(3, dtype=torch.float16),
        "brain": torch.ones(3, dtype=torch.bfloat16),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 2),
        "flag": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    path = tmp_path / "x.safetensors"
    write_safetensors(path, replace(read(save()), state=state))
    found = load_file(path)
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert torch.equal(base, torch.arange(12.0).reshape(3, 4))


def test_an_existing_file_is_kept_unless_asked(save: Save, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_text("precious")
    with pytest.raises(InputError, match="exists already; pass --overwrite"):
        write_safetensors(path, read(save()))
    assert path.read_text() == "precious"
    write_safetensors(path, read(save()), overwrite=True)
    assert read(path).classes == ["cat", "dog", "eel"]


def test_another_ending_is_refused(save: Save, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        write_safetensors(tmp_path / "x.ckpt", read(save()))


def test_a_value_that_is_no_json_is_named(save: Save, tmp_path: Path) -> None:
    broken = replace(read(save()), preprocess={"size": {1, 2}})
    with pytest.raises(ZooError, match="set is not JSON serializable"):
        write_safetensors(tmp_path / "x.safetensors", broken)
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("failing", ["save_file", "_flush", "os.replace"])
def test_a_failure_midway_leaves_what_was_there(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / "x.safetensors"
    path.write_text("the file before")
    checkpoint = read(save())

    def half(*args: Any, **keywords: Any) -> None:
        Path(args[1] if failing == "save_file" else args[0]).write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"zoo.checkpoint.files.{failing}", half)
    with pytest.raises(ZooError, match=r"could not be written: .*No space left"):
        write_safetensors(path, checkpoint, overwrite=True)
    assert path.read_text() == "the file before"
    assert os.listdir(folder) == ["x.safetensors"]


def test_killed_while_writing_leaves_no_file_under_the_final_name(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As a signal would end the process: nothing more is done to the file."""

    def half(tensors: Any, name: Path) -> None:
        name.write_bytes(b"half")
        raise Killed

    monkeypatch.setattr(files, "save_file", half)
    with pytest.raises(Killed):
        write_safetensors(tmp_path / "x.safetensors", read(save()))
    assert not (tmp_path / "x.safetensors").exists()


def test_safetensors_errors_name_the_file(save: Save, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    assert "carries no recipe" in refusal(path)
    write_safetensors(path, read(save()), overwrite=True)
    whole = path.read_bytes()
    for length in range(9, len(whole), 41):
        path.write_bytes(whole[:length])
        assert "cut off" in refusal(path)


def test_the_card_is_all_but_the_weights(save: Save) -> None:
    checkpoint = read(save())
    assert isinstance(checkpoint, Checkpoint)
    assert set(checkpoint.card) == {"recipe", "version", "classes", "metrics", "preprocess", "source", "file"}
