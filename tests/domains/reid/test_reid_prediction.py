"""What a user calls: embeddings, similarities, galleries, their files, and the table of a search."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.io import write_png

from zoo.domains.reid import Embeddings, GalleryIndex, gallery, prediction
from zoo.domains.reid.gallery import joined
from zoo.domains.reid.prediction import gallery_file
from zoo.errors import InputError


@pytest.fixture
def model(small):
    return small().eval()


@pytest.fixture
def folder(made, tmp_path):
    """A folder of 16 images, one below another folder, and a file that is none."""
    where = tmp_path / "gallery"
    shutil.copytree(made / "CUHK-PEDES" / "imgs" / "cam_a", where)
    for file in sorted(where.iterdir())[16:]:
        file.unlink()
    (where / "inner").mkdir()
    sorted(where.glob("*.png"))[0].rename(where / "inner" / "first.png")
    (where / "notes.txt").write_text("no image")
    return where


def test_embeddings_of_what_a_user_has(model):
    image = torch.randint(0, 256, (3, 70, 40), dtype=torch.uint8)
    one = model.encode_image(image)
    assert one.bge.shape == (1, 16)
    assert one.tse.shape == (1, 24)
    for same in (image.numpy(), image.float() / 255, [image], image[None]):
        assert torch.equal(model.encode_image(same).bge, one.bge)
    many = model.encode_image([image, torch.zeros(3, 20, 90)])
    torch.testing.assert_close(many.bge[:1], one.bge)
    text = model.encode_text("a man in red")
    assert text.bge.shape == (1, 16)
    tokens = model.network.text_tower.tokenizer(["a man in red"])
    assert torch.equal(model.encode_text(tokens).tse, text.tse)
    assert torch.equal(model.encode_text(tokens[0]).tse, text.tse)
    assert torch.equal(model.encode_text(tokens.numpy()).tse, text.tse)
    assert torch.equal(model.encode_text(np.array(["a man in red"])).tse, text.tse)
    assert model.encode_text(["a man", "a woman in blue"]).tse.shape == (2, 24)


def test_preprocessing_is_that_of_the_network(model):
    image = torch.rand(2, 3, 32, 16).mul(255).round() / 255
    prepared = model.normalised(image)
    assert torch.equal(model.encode_image(image).bge, model.network.encode_image(prepared).bge.detach())
    assert torch.equal(model.encode_image(prepared, preprocess=False).bge, model.encode_image(image).bge)
    assert model.preprocess["image_size"] == [32, 16]
    assert model.preprocess["mean"][0] == 0.48145466


def test_similarities_are_cosines_and_their_mean(model):
    images, texts = torch.rand(4, 3, 32, 16), ["a man", "someone in green trousers", "a hat"]
    found = model.predict(images, texts)
    assert found.bge.shape == found.tse.shape == found.fused.shape == (3, 4)
    i, t = model.encode_image(images), model.encode_text(texts)
    torch.testing.assert_close(found.bge[1, 2], torch.cosine_similarity(t.bge[1], i.bge[2], dim=0))
    torch.testing.assert_close(found.fused, (found.bge + found.tse) / 2)
    again = model.similarity(image_embeddings=i, text_embeddings=t)
    assert torch.equal(found.tse, again.tse)
    assert not found.fused.requires_grad


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.encode_text(""), "caption 0 is empty: '' holds no word"),
        (lambda m: m.encode_text(["a man", " "]), "caption 1 is empty"),
        (lambda m: m.encode_text([]), "texts: the list holds no caption"),
        (lambda m: m.encode_text(None), "texts: expected strings or token ids, got a NoneType"),
        (lambda m: m.encode_text(torch.zeros(1, 12, dtype=torch.long)), "caption 0 is empty"),
        (lambda m: m.encode_text(torch.ones(1, 5, dtype=torch.long)), r"tokens: shape \(1, 5\) given"),
        (lambda m: m.encode_image(torch.rand(3, 8, 8) * 9), "float images lie in"),
        (lambda m: m.encode_image(torch.full((3, 8, 8), torch.nan)), "holds values that are not finite"),
        (lambda m: m.encode_image(torch.rand(1, 3, 8, 8), preprocess=False), r"images: shape \(1, 3, 8, 8\) given"),
    ],
)
def test_bad_input_is_named(model, call, message):
    with pytest.raises(InputError, match=message):
        call(model)


def test_search_is_exact_and_equal_images_keep_their_order(monkeypatch):
    torch.manual_seed(0)
    images = Embeddings(torch.randn(300, 8), torch.randn(300, 12))
    images.bge[200:], images.tse[200:] = images.bge[100:200].clone(), images.tse[100:200].clone()
    texts = Embeddings(torch.randn(5, 8), torch.randn(5, 12))
    index = GalleryIndex(None, [str(n) for n in range(300)], joined(images), 8, "w", [[0, 0]] * 300)
    scores, places = index.search(texts, 20)
    cosine = lambda a, b: torch.nn.functional.normalize(a) @ torch.nn.functional.normalize(b).T  # noqa: E731
    fused = (cosine(texts.bge, images.bge) + cosine(texts.tse, images.tse)) / 2
    expected = fused.sort(dim=1, descending=True, stable=True)
    torch.testing.assert_close(scores, expected.values[:, :20])
    equal = scores[:, 1:] == scores[:, :-1]
    assert equal.any()  # the twins
    assert (places[:, 1:] > places[:, :-1])[equal].all()
    bge, tse = index.parts(texts, places)
    torch.testing.assert_close((bge + tse) / 2, scores)
    assert index.search(texts, 1000)[0].shape == (5, 300)
    monkeypatch.setattr(gallery, "_BLOCK", 600)  # two queries at a time
    assert torch.equal(index.search(texts, 20)[1], places)


def test_a_gallery_is_embedded_once_and_changes_are_seen(model, folder, capsys):
    (folder / "._first.png").write_bytes(b"Mac OS X")  # as a Mac's archives hold them
    index = model.gallery(folder)
    assert len(index.names) == 16
    assert "inner/first.png" in index.names
    assert "16 images, 16 embedded anew" in capsys.readouterr().err
    again = model.gallery(folder)
    assert "16 images, 0 embedded anew" in capsys.readouterr().err
    assert torch.equal(again.features, index.features)
    write_png(torch.zeros(3, 40, 20, dtype=torch.uint8), str(folder / index.names[3]))
    (folder / index.names[5]).unlink()
    changed = model.gallery(folder)
    assert "15 images, 1 embedded anew" in capsys.readouterr().err
    assert not torch.equal(changed.features[3], index.features[3])
    torch.testing.assert_close(changed.features[5], index.features[6])


def test_an_interrupted_gallery_goes_on_with_what_is_missing(model, folder, capsys, monkeypatch):
    monkeypatch.setattr(prediction, "BATCH", 5)
    encode, calls = model.encode_image, []

    def interrupted(images):
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(images)

    monkeypatch.setattr(model, "encode_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.gallery(folder)
    index = model.gallery(folder)
    assert "16 images, 6 embedded anew" in capsys.readouterr().err
    assert calls == [5, 5, 5, 5, 1]
    assert len(index.names) == len(index.features) == 16


def test_an_index_says_who_made_it_and_refuses_another(model, small, folder, tmp_path):
    model.gallery(folder)
    file = gallery_file(folder.resolve(), model.fingerprint())
    assert model.gallery(file).names == model.gallery(folder).names
    other = small(seed=1).eval()
    assert other.fingerprint() != model.fingerprint()
    with pytest.raises(
        InputError, match=r"was made by another checkpoint \(weights [0-9a-f]{12}, these are [0-9a-f]{12}"
    ):
        other.gallery(file)
    whole = file.read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut.safetensors: cannot be read as a gallery index"):
        model.gallery(cut)
    from safetensors.torch import save_file

    save_file({"features": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(InputError, match=r"plain.safetensors: is no gallery index"):
        model.gallery(tmp_path / "plain.safetensors")


def test_the_fingerprint_does_not_see_the_precision_of_the_file(model, small):
    same = small().eval()
    same.load_state_dict(model.state_dict())
    assert same.fingerprint() == model.fingerprint()


def test_a_search_gives_rows_and_a_picture_per_query(model, folder):
    request = {"gallery": folder, "query": ["a man in a red jacket", "Someone with a hat!"], "top": 5}
    rows, figures = model.predict_request(request, None)
    table = pd.DataFrame(rows)
    assert table.columns.tolist() == ["query", "rank", "image", "score", "bge", "tse"]
    assert table["rank"].tolist() == [1, 2, 3, 4, 5] * 2
    for _, part in table.groupby("query"):
        assert part["score"].is_monotonic_decreasing
    assert ((table["bge"] + table["tse"]) / 2 - table["score"]).abs().max() < 1e-6
    assert list(figures) == ["01_a_man_in_a_red_jacket", "02_someone_with_a_hat"]
    assert len(figures["01_a_man_in_a_red_jacket"].axes) == 1 + 5
    rows, _ = model.predict_request({"gallery": folder, "query": ["a man"]}, None)
    assert len(rows) == 10


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"gallery": "somewhere"}, "--query is missing"),
        ({"query": ["a man"]}, "--gallery is missing"),
        ({"gallery": "nowhere", "query": ["a man"]}, "nowhere: there is no such folder of images, nor an index"),
        ({"gallery": "EMPTY", "query": ["a man"]}, "holds no image"),
        ({"gallery": "EMPTY", "query": [""]}, "caption 0 is empty"),
        ({"gallery": "EMPTY", "query": ["a man"], "top": 0}, "--top must be at least 1, got 0"),
    ],
)
def test_requests_that_cannot_be_answered_are_named(model, tmp_path, request_, message):
    if request_.get("gallery") == "EMPTY":
        request_ = {**request_, "gallery": tmp_path}
    with pytest.raises(InputError, match=message):
        model.predict_request(request_, None)


def test_a_damaged_image_of_a_gallery_is_named(model, folder):
    (folder / "bad.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"bad.jpg: the file is empty"):
        model.gallery(folder)


def test_a_file_of_captions_is_ranked(model, made, tmp_path):
    file = made / "samples" / "captions_1.json"
    rows, figure = model.predict_file(file)
    records = json.loads(file.read_text())
    assert len(rows) == 2 * len(records)
    assert set(rows[0]) == {"image", "caption", "rank", "score", "first", "first_score"}
    assert all(1 <= row["rank"] <= len(records) for row in rows)
    assert all((row["rank"] == 1) == (row["score"] == row["first_score"]) for row in rows if row["rank"] > 1)
    assert len(figure.axes) >= len(rows)
    table = tmp_path / "own.csv"
    image = (file.parent / records[0]["image"]).resolve()
    table.write_text(f"image,caption\n{image},a man\n")
    rows, _ = model.predict_file(table)
    assert rows[0]["rank"] == 1
    table.write_text("image,caption\nnone.png,a man\n")
    with pytest.raises(InputError, match=r"own.csv:2: there is no image"):
        model.predict_file(table)


def test_the_network_is_exported_with_an_open_batch(model):
    inputs = model.export_inputs()
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        model.network, tuple(inputs.values()), dynamic_shapes={name: {0: batch} for name in inputs}
    )
    images = torch.rand(5, 3, 32, 16)
    tokens = model.network.text_tower.tokenizer(["a", "a man", "one two three", "red", "x " * 30])
    for ours, theirs in zip(model.network(images, tokens), program.module()(images, tokens), strict=True):
        torch.testing.assert_close(ours, theirs)
