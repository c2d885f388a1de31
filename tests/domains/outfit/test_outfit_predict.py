"""``zoo predict``: tables of outfits, pictures of one outfit, completions out of a gallery."""

import shutil

import pytest
import torch
from matplotlib.figure import Figure

from zoo.domains.outfit import PolyvoreOutfits
from zoo.domains.outfit.picture import Line, Shown, draw
from zoo.domains.outfit.polyvore import read_polyvore
from zoo.domains.outfit.use import read_gallery
from zoo.errors import InputError


@pytest.fixture
def gallery(polyvore, tmp_path):
    """Hats and tote bags in folders named like their category."""
    for item in read_polyvore(polyvore, "nondisjoint").catalogue.items:
        if item.category in ("hat", "tote bag"):
            folder = tmp_path / "gallery" / item.category
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(item.image, folder)
    return tmp_path / "gallery"


@pytest.fixture
def files(polyvore):
    return sorted((polyvore / "images").glob("*.jpg"))[:3]


def test_a_table_of_outfits(model, polyvore):
    file = polyvore / PolyvoreOutfits.sample.replace("*", "matching")
    module = model()
    rows, figure = module.predict_file(file)
    assert [(row["outfit"], row["items"]) for row in rows] == [(f"matching {n}", 4) for n in (1, 2, 3)]
    lines = [line.split(",") for line in file.read_text().splitlines()[1:5]]
    items = [(file.parent / image, text, category) for _, image, text, category in lines]
    assert rows[0]["score"] == pytest.approx(float(module.score([items])), abs=1e-6)
    assert len(figure.axes) == 12
    titles = [text.get_text() for text in figure.texts]
    assert titles == [f"{r['outfit']}: score {r['score']:.3f}" for r in sorted(rows, key=lambda r: -r["score"])]


def test_tables_that_cannot_be_used(model, tmp_path):
    file = tmp_path / "mine.csv"
    for content, message in (
        ("image\na.jpg\n", r"mine.csv:1: no column outfit; columns are image"),
        ("outfit,image,text\no,,\n", r"mine.csv:2: the item has no image, no text and no category"),
        ("outfit,image\no,a.jpg\n", r"a.jpg: there is no such image"),
        ("outfit,image\n", r"mine.csv: the table has no row"),
    ):
        file.write_text(content)
        with pytest.raises(InputError, match=message):
            model().predict_file(file)


def test_an_outfit_is_scored(model, files):
    module = model()
    rows, figures = module.predict_request({"outfit": files}, None)
    assert len(rows) == 1
    assert rows[0]["score"] == pytest.approx(float(module.score([[(file, "", "") for file in files]])))
    assert list(figures) == ["outfit"]
    assert len(figures["outfit"].axes) == 3


def test_an_outfit_is_completed(model, files, gallery):
    module = model()
    request = {"outfit": files, "complete": "Hat", "gallery": gallery}
    rows, figures = module.predict_request(request, None)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    assert {row["category"] for row in rows} == {"hat"}
    offered = read_gallery(gallery, "hat")
    target = torch.from_numpy(module.encoder.text_features(["Hat"]))
    query = module.network.embed_query([module.features_of([(file, "", "") for file in files])], target)
    distances = (query - module.network.embed_item(module.features_of(offered))).norm(dim=1)
    best = distances.topk(5, largest=False)
    assert [row["item"] for row in rows] == [str(offered[n].image) for n in best.indices.tolist()]
    assert [row["distance"] for row in rows] == pytest.approx(best.values.tolist(), rel=1e-5)
    assert isinstance(figures["completed"], Figure)
    assert len(figures["completed"].axes) == 8
    assert len(module.predict_request({**request, "top": 2}, None)[0]) == 2


def test_an_outfit_is_not_completed_with_itself(model, files):
    rows, _ = model().predict_request({"outfit": files, "complete": "", "gallery": files[0].parent, "top": 400}, None)
    assert not {row["item"] for row in rows} & {str(file) for file in files}
    assert len(rows) == 381


def test_a_gallery_may_have_a_table(gallery):
    pictures = sorted((gallery / "hat").glob("*.jpg"))
    lines = [f"hat/{pictures[0].name},a straw hat,Sun hat", f"hat/{pictures[1].name},,Beanie"]
    (gallery / "items.csv").write_text("image,text,category\n" + "\n".join(lines) + "\n")
    assert read_gallery(gallery, "sun hat") == [(pictures[0], "a straw hat", "Sun hat")]
    with pytest.raises(InputError, match=r"no item of the category 'beanies'; did you mean 'beanie'\?"):
        read_gallery(gallery, "beanies")


def test_requests_that_cannot_be_answered(model, files, gallery, tmp_path):
    module = model()
    (tmp_path / "empty").mkdir()
    for request, message in (
        ({"complete": "hat", "gallery": gallery}, "need an outfit: --outfit a.jpg b.jpg"),
        ({"outfit": files, "complete": "hat"}, "--complete CATEGORY and --gallery FOLDER go together"),
        ({"outfit": files, "gallery": gallery}, "go together"),
        ({"outfit": files, "complete": "hats", "gallery": gallery}, "category 'hats'; did you mean 'hat'"),
        ({"outfit": files, "complete": "hat", "gallery": tmp_path / "no"}, "no: there is no such folder"),
        (
            {"outfit": files, "complete": "hat", "gallery": tmp_path / "empty"},
            "empty: no picture in this folder",
        ),
        ({"outfit": [tmp_path / "x.jpg"]}, "x.jpg: there is no such image"),
    ):
        with pytest.raises(InputError, match=message):
            module.predict_request(request, None)


def test_pictures_of_batches(model, data):
    module = model()
    batches = list(data(task="joint", batch_size=60).val_dataloader())
    labelled, blanks = module.picture(batches[0]), module.picture(batches[-1])
    assert "goes together" in labelled.texts[0].get_text()
    assert len(labelled.texts) == 8
    assert "what completes it?" in blanks.texts[0].get_text()


def test_items_without_a_picture_show_their_text(tmp_path):
    figure = draw([Line("mine", [Shown(None, "a red coat"), Shown(tmp_path / "gone.jpg", "lost")])], "heading")
    assert [axis.texts[0].get_text() for axis in figure.axes] == ["a\nred\ncoat", "lost"]
