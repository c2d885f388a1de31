"""Checkpoints that are whole by their form and wrong by their content."""

from pathlib import Path

import pytest
import torch

from zoo import checkpoint
from zoo.cli import failures, main
from zoo.errors import InputError
from zoo.recipe import Mistake, RecipeError
from zoo.recipe.mistakes import Place

MODEL = next((Path(checkpoint.__file__).parents[1] / "hub/models").glob("ltr-small*.safetensors"))
NAME = "network.layers.0.weight"


@pytest.fixture
def saved(tmp_path):
    """Writes the packed model as a training does, with other weights."""

    def save(change):
        known = checkpoint.read(MODEL)
        state = {name: tensor.float() for name, tensor in known.state.items()}
        change(state)
        file = tmp_path / "model.ckpt"
        torch.save({"state_dict": state, "zoo_recipe": known.recipe, "zoo_version": known.version}, file)
        return file

    return save


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("use", [checkpoint.load, lambda file: checkpoint.initialise(checkpoint.load(MODEL), file)])
def test_weights_that_are_not_finite_are_refused(value, use, saved):
    """They were loaded, and every prediction was nan."""
    file = saved(lambda state: state[NAME][3].fill_(value))
    with pytest.raises(InputError, match=rf"model\.ckpt: tensor {NAME} holds values that are not finite$"):
        use(file)


def test_a_flipped_bit_is_seen(saved):
    """torch writes checksums and does not look at them."""
    file = saved(lambda state: None)
    content = bytearray(file.read_bytes())
    content[content.index(checkpoint.read(file).state[NAME].numpy().tobytes()) + 5] ^= 16
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.ckpt: is damaged or cut off: Bad CRC-32"):
        checkpoint.load(file)


def test_an_archive_whose_entries_are_larger_than_the_file_is_not_unpacked(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(50_000_000))
    with pytest.raises(InputError, match=r"bomb\.ckpt: is damaged or cut off: its entries are larger than the file"):
        checkpoint.read(tmp_path / "bomb.ckpt")


@pytest.mark.parametrize("name", ["a\n\x1b[2Jb", "x" * 100_000], ids=["command", "long"])
def test_names_of_tensors_command_no_terminal(name, saved, tmp_path, capsys):
    file = saved(lambda state: state.update({name: state.pop(NAME)}))
    assert main(("export", str(file), "--out", str(tmp_path / "a.onnx"))) == 2
    said = capsys.readouterr().err
    assert "2 tensors do not fit" in said
    assert len(said.splitlines()) == 3
    assert len(said) < 1000
    assert said.replace("\n", "").isprintable()


def test_lines_of_errors_are_for_a_terminal():
    assert failures.lines(InputError("a\x1b[2J\x07\udcff: 图")) == ["error: a\\x1b[2J\\x07\\udcff: 图"]
    (line,) = failures.lines(ValueError("x" * 10**6))
    assert len(line) < 3000
    long = RecipeError([Mistake(Place("r.yaml", 1), "\x1b" * 10**5)])
    assert [len(line) < 3000 for line in failures.lines(long)] == [True]


@pytest.mark.parametrize("number", ["0x" + "f" * 5000, "0b" + "1" * 20_000, "1" + ":1" * 3000], ids=["16", "2", "60"])
def test_whole_numbers_of_any_base_that_are_too_long_are_named(number, tmp_path, capsys):
    """Python reads them and refuses to write them down."""
    (tmp_path / "a.yaml").write_text(f"seed_everything: {number}\n")
    for arguments in (("check", str(tmp_path / "a.yaml")), ("check", "ltr/demo", "--seed_everything", number)):
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert "seed_everything: expected int from 0 to 4294967295, got" in said
        assert all(len(line) < 400 for line in said.splitlines())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("bytes: 10", "bytes: 0x" + "f" * 9000),
            "bytes must be a whole number above 0, not 'a number of thousands of",
        ),
        (("bytes: 10", "bytes: 1" + "0" * 400), "bytes must be a whole number above 0, not '1000"),
        (("0.5", "1" + "0" * 400), "metrics must be data, protocol and values"),
    ],
)
def test_numbers_of_an_index_that_no_arithmetic_takes_are_named(change, says, tmp_path, monkeypatch, capsys):
    row = (
        "models:\n- {name: m, domain: ltr, recipe: ltr/small, urls: ['https://a/b'], bytes: 10, source: ours, sha256: "
        f"{'a' * 64}, metrics: {{data: d, protocol: p, values: {{x: 0.5}}}}, licence: {{weights: a, data: b}}}}\n"
    )
    (tmp_path / "index.yaml").write_text(row)
    monkeypatch.setenv("ZOO_INDEX", str(tmp_path / "index.yaml"))
    assert main(("list", "models")) == 0
    (tmp_path / "index.yaml").write_text(row.replace(*change))
    assert main(("list", "models")) == 2
    assert f"models[0] (m): {says}" in capsys.readouterr().err


def test_a_list_that_names_a_place_elsewhere_is_told(tmp_path):
    """The path of the image was no part of the data's folder, which was an error of Python's own."""
    from zoo.domains.counting import NWPU

    NWPU().make(tmp_path)
    file = tmp_path / "train.txt"
    file.write_text(f"/elsewhere 1 2\n{file.read_text()}")
    with pytest.raises(InputError, match="elsewhere"):
        NWPU(root=str(tmp_path)).items("train")
