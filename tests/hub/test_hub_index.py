"""The index: every row as the schema says, names, globs, ``zoo.load`` and the verbs by name."""

from __future__ import annotations

import copy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import zoo
from zoo.cli import main
from zoo.errors import InputError
from zoo.hub import backbones, entries, needs
from zoo.hub.cache import digest, models_dir
from zoo.hub.downloads import command_of, local_file
from zoo.hub.index import HOME, INDEX
from zoo.hub.schema import check_index
from zoo.hub.tables import BEGIN, END, models_table, write_table
from zoo.recipe import names

from .conftest import ROW, row_of

LIMIT = 4 * 2**20


def test_the_index_of_the_zoo_has_no_mistake():
    assert check_index(yaml.safe_load(INDEX.read_text())) == []
    assert entries()


def test_every_row_names_a_recipe_and_a_domain_that_there_are():
    for entry in entries().values():
        assert entry.recipe in names(), entry.name
        assert entry.recipe.startswith(f"{entry.domain}/"), entry.name


def test_packed_models_are_in_the_package_whole_and_small():
    packed = [entry for entry in entries().values() if entry.source == "ours"]
    for entry in packed:
        file = local_file(entry.urls[0], entry.origin)
        assert file.is_relative_to(HOME), entry.name
        assert (digest(file), file.stat().st_size) == (entry.sha256, entry.bytes), entry.name
        assert file.stat().st_size < LIMIT, entry.name
        assert file.name == entry.filename
        assert all(figure.low is not None for figure in list(entry.metrics.values())[:1]), entry.name
        assert entry.sample
        assert (HOME / entry.sample).exists(), entry.name
    lying = {file.name for file in (HOME / "models").glob("*.safetensors")}
    assert lying == {entry.filename for entry in packed}


def test_manual_rows_give_a_command_that_parses_and_a_converter_that_there_is():
    from zoo.cli import Parser, convert

    for entry in (entry for entry in entries().values() if entry.manual):
        words = shlex.split(command_of(entry))
        parser = Parser("convert", "", "")
        convert.arguments(parser)
        args = parser.read(words[2:])
        assert args.recipe == entry.recipe, entry.name
        assert (str(args.official), args.out) == (entry.file, models_dir() / f"{entry.name}.safetensors")
        assert (HOME.parent / "domains" / entry.converter / "convert.py").is_file(), entry.name


def test_every_backbone_that_a_recipe_wants_has_a_row():
    known = backbones()
    words = ("pretrained: true", "clip:", "minilm", "MiniLM")
    asking: dict[tuple[str, ...], str] = {}  # one recipe of those that ask alike
    for recipe, file in names().items():
        lines = [line.strip() for line in file.read_text().splitlines()]
        keys = ("backbone:", "name:", "network:", "image:", *words)
        if any(word in line for line in lines for word in words if not line.startswith("#")):
            asking[(recipe.split("/")[0], *(line for line in lines if line.startswith(keys)))] = recipe
    wanted = {need.backbone.name for recipe in asking.values() for need in needs(recipe) if need.backbone is not None}
    assert wanted
    assert wanted <= set(known)


def test_the_readme_has_the_table_of_the_index(tmp_path):
    text = (HOME.parents[1] / "README.md").read_text()
    assert models_table() in text, "write it anew: python -m zoo.hub.tables README.md"
    assert all(f"`{name}`" in text for name in entries())
    file = tmp_path / "readme.md"
    file.write_text(f"a\n{BEGIN}\nold\n{END}\nb\n")
    assert write_table(file)
    assert not write_table(file)
    assert file.read_text() == f"a\n{BEGIN}\n{models_table()}\n{END}\nb\n"
    file.write_text("no place")
    with pytest.raises(InputError, match="has no place for the table"):
        write_table(file)


def changed(key, value):
    row = {"name": "a", "urls": ["https://host/a"], "sha256": "0" * 64, "bytes": 1, **copy.deepcopy(ROW)}
    if value is ...:
        del row[key]
    else:
        row[key] = value
    return {"models": [row]}


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ([], "an index holds `models` and `backbones`, nothing else"),
        ({"models": {}, "more": 1}, "nothing else"),
        ({"models": "x"}, "models must be a list of rows"),
        ({"models": ["x"]}, "models[0] (without a name): a row holds values by key"),
        (changed("name", "A B"), "name must be small letters, digits, . _ -, not 'A B'"),
        (changed("domain", ...), "models[0] (a): lacks 'domain'"),
        (changed("hash", "x"), "has the unknown key 'hash'"),
        (changed("recipe", "../x"), "recipe must be a name such as anomaly/demo"),
        (changed("urls", []), "urls must be a list of"),
        (changed("urls", ["ftp://host/x"]), "urls must be a list of"),
        (changed("urls", ["hf://x"]), "urls must be a list of"),
        (changed("sha256", "ab"), "sha256 must be 64 hexadecimal digits, not 'ab'"),
        (changed("sha256", None), "only manual rows may leave sha256 and bytes open"),
        (changed("bytes", True), "bytes must be a whole number above 0"),
        (changed("metrics", {"data": "x", "protocol": "y", "values": {"a": "high"}}), "metrics must be data"),
        (changed("metrics", {"data": "x", "protocol": "y", "values": {"a": [1, 3, 2]}}), "metrics must be data"),
        (changed("licence", {"weights": "MIT"}), "licence must be weights and data"),
        (changed("source", "them"), "source must be one of ours, authors"),
        (changed("manual", True), "is manual, so it needs file, convert, converter"),
        (changed("convert", "rm -rf /"), "convert must be a command"),
        (changed("sample", "../../etc/passwd"), "sample must be a place inside the package"),
        ({"backbones": [{"name": "x"}]}, "backbones[0] (x): lacks 'library'"),
    ],
)
def test_mistakes_of_an_index_are_named(tree, says):
    assert any(says in mistake for mistake in check_index(tree)), check_index(tree)


def test_a_name_twice_is_a_mistake():
    row = changed("name", "a")["models"][0]
    assert check_index({"models": [row, dict(row)]}) == ["models[1] (a): the name stands twice"]


def test_python_tags_in_an_index_make_nothing(tmp_path, monkeypatch):
    trap = tmp_path / "trap"
    file = tmp_path / "index.yaml"
    file.write_text(f"models: !!python/object/apply:os.system ['touch {trap}']\n")
    monkeypatch.setenv("ZOO_INDEX", str(file))
    with pytest.raises(InputError, match=r"cannot be read as an index: .*python/object/apply"):
        entries()
    assert not trap.exists()


def test_models_are_listed_by_globs(index, model_file):
    index(row_of(model_file, "my-outfit-net", ["https://host/a"]), row_of(model_file, "other", ["https://host/b"]))
    assert {"my-outfit-net", "other"} <= set(zoo.list_models())
    assert "my-outfit-net" in zoo.list_models("*OUTFIT*")
    assert "other" not in zoo.list_models("*outfit*")
    assert "other" in zoo.list_models("ltr")
    assert zoo.list_models("nothing*") == []


def test_a_model_of_a_file_place_is_verified_and_used_where_it_lies(index, model_file, tmp_path):
    mine = tmp_path / "here.safetensors"
    shutil.copy(model_file, mine)
    index(row_of(mine, "mine", ["file://here.safetensors"]), row_of(mine, "absolute", [f"file://{mine}"]))
    assert zoo.pretrained("mine").samefile(mine)
    assert zoo.pretrained("absolute").samefile(mine)
    module = zoo.load("mine")
    assert type(module).__name__ == "MLPRanker"
    assert not module.training
    said = str(module.card)
    assert "val/ndcg10 0.5" in said
    assert "here.safetensors" in said
    mine.write_bytes(mine.read_bytes()[:-1] + b"x")
    with pytest.raises(zoo.hub.downloads.DownloadError, match=r"expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}"):
        zoo.load("mine")


def test_a_run_folder_of_that_name_goes_first_any_other_folder_does_not(index, model_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index(row_of(model_file, "mine", [f"file://{model_file}"]))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/table.csv").write_text("predictions of that model")
    assert zoo.hub.locate("mine") == model_file
    (tmp_path / "mine/best.ckpt").write_bytes(b"x")
    assert zoo.hub.locate("mine") == Path("mine/best.ckpt")


def test_misspelt_names_show_the_nearest(index, model_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index(row_of(model_file, "my-ranker", [f"file://{model_file}"]))
    with pytest.raises(InputError, match="there is no pretrained model 'my-rankr'; did you mean 'my-ranker'"):
        zoo.pretrained("my-rankr")
    with pytest.raises(InputError, match="my-rankr: there is no such checkpoint; did you mean 'my-ranker'"):
        zoo.load("my-rankr")
    with pytest.raises(InputError, match=r"there is no such checkpoint; name a \.ckpt"):
        zoo.load("zebra")


@pytest.mark.parametrize("verb", [["eval"], ["predict", "-", "x.txt"], ["export"], ["show"]])
def test_verbs_take_names_and_tell_the_nearest(index, model_file, capsys, verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index(row_of(model_file, "my-ranker", [f"file://{model_file}"]))
    head, rest = verb[0], [word for word in verb[1:] if word != "-"]
    if head != "show":  # what is neither a file nor a name may be a recipe there
        assert main([head, "my-rankr", *rest]) == 2
        assert "did you mean 'my-ranker'" in capsys.readouterr().err
        return
    assert main(["show", "my-ranker"]) == 0
    out = capsys.readouterr().out
    assert "ndcg10 0.8 [0.7, 0.9]" in out
    assert "class_path: zoo.domains.ltr.MLPRanker" in out


def test_list_shows_metrics_sizes_and_exported_classes_only(capsys):
    assert main(["list", "models"]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert {"name", "MILRanking", "RankMixup"} <= set(lines)
    assert not {"VideoModule", "Classifier"} & set(lines)
    for entry in entries().values():
        assert (" packed " in lines[entry.name]) == (entry.source == "ours")


def test_a_model_that_is_fetched_by_hand_says_how_and_then_loads(index, model_file, capsys):
    convert = "zoo convert ltr/demo theirs.pth {out}"
    manual = {"manual": True, "file": "theirs.pth", "converter": "ltr", "convert": convert, "source": "authors"}
    index({**row_of(model_file, "theirs", ["https://host/page"]), **manual, "sha256": None, "bytes": None})
    with pytest.raises(InputError) as caught:
        zoo.load("theirs")
    out = models_dir() / "theirs.safetensors"
    assert "get theirs.pth from https://host/page (its sha256 is not known here: nothing" in str(caught.value)
    assert main(["download", "theirs"]) == 2  # asked for by name it is a failure, among others a note
    assert main(["download", "thei*"]) == 0
    assert "theirs: by hand\n  is handed out by its authors" in capsys.readouterr().out
    assert f"zoo convert ltr/demo theirs.pth {out}" in str(caught.value)
    assert main(["show", "theirs"]) == 0
    said = capsys.readouterr().out
    assert "fetch theirs.pth" in said
    assert "not known: nobody here has had the file" in " ".join(said.split())
    out.parent.mkdir(parents=True)
    shutil.copy(model_file, out)
    assert type(zoo.load("theirs")).__name__ == "MLPRanker"


def test_names_cost_no_torch():
    code = (
        "import sys, zoo; zoo.list_models('*'); zoo.hub.entries();"
        "print([name for name in ('torch', 'numpy', 'lightning', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
