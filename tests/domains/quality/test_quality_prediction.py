"""Prediction: images in memory, faces, logits, crops, comparing, files, a ranked folder; and what is refused."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from zoo.cli import main
from zoo.domains.quality import DNPIQA, LIQE, Box, crop_face
from zoo.domains.quality.clip import CLIP, Sizes
from zoo.domains.quality.views import evaluation_views
from zoo.errors import InputError
from zoo.training import DataError, read_image

SIDE, RESIZE = 48, 56


def small(**arguments) -> DNPIQA:
    torch.manual_seed(0)
    settings = {"backbone": "test_efficientnet", "liqe": False, "resize": RESIZE, "crop": SIDE, **arguments}
    return DNPIQA(**settings).eval()


def photo(height=70, width=90, seed=0) -> torch.Tensor:
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)[0]
    return (fine * 255).to(torch.uint8)


def save(image: torch.Tensor, file, **options) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, **options)


def test_five_crops_are_torchvisions_after_pillows_resize():
    from torchvision.transforms import functional

    image = photo()
    views = evaluation_views(image, RESIZE, SIDE)
    pillow = functional.resize(Image.fromarray(image.permute(1, 2, 0).numpy()), [RESIZE])
    assert pillow.size == (72, RESIZE)
    crops = functional.five_crop(pillow, [SIDE, SIDE])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for view, crop in zip(views, crops, strict=True):
        expected = (functional.to_tensor(crop) - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        torch.testing.assert_close(view, expected)


@pytest.mark.parametrize("crops", ["five", "centre"])
def test_score_is_the_mean_over_crops(crops):
    module, images = small(), [photo(), photo(60, 50, 1)]
    found = module.predict(images, crops=crops)
    assert found.score.shape == (2,)
    assert found.full_features.shape == (2, 256)
    for row, image in enumerate(images):
        views = evaluation_views(image, RESIZE, SIDE)
        views = views if crops == "five" else views[4:]
        with torch.no_grad():
            expected = module.network(views, views)
        torch.testing.assert_close(found.score[row], expected.score.mean())
        torch.testing.assert_close(found.hidden[row], expected.hidden.mean(0))


def test_an_image_has_one_score_however_it_is_given():
    module, image = small(), photo()
    score = module.predict(image).score
    assert score.shape == (1,)
    for same in (image[None], image.float() / 255, image.numpy(), image.numpy()[None] / np.float64(255), [image]):
        assert torch.equal(module.predict(same).score, score)
    assert torch.equal(module.predict([photo(seed=3), image]).score[1:], score)
    assert torch.equal(small(crops="centre").predict(image).score, module.predict(image, crops="centre").score)


def test_faces_are_images_and_none_is_the_whole():
    module, image = small(), photo()
    face = crop_face(image, Box(30, 20, 60, 50), 5)
    found = module.predict([image, image], faces=[face, None]).score
    whole = module.predict(image).score
    assert torch.equal(found[1:], whole)
    assert not torch.equal(found[:1], whole)
    views = [evaluation_views(pixels, RESIZE, SIDE) for pixels in (image, face)]
    with torch.no_grad():
        torch.testing.assert_close(found[0], module.network(*views).score.mean())
    assert torch.equal(module.predict(image, faces=face).score, found[:1])


def test_faces_are_found_as_the_recipe_says(capsys):
    class Detector:
        def detect(self, image):
            return Box(30, 20, 60, 50) if image[0, 0, 0] < 100 else None

    module = small(faces="cascade", margin=5)
    module._finder = Detector()
    dark, light = photo(), photo()
    dark[:, 0, 0], light[:, 0, 0] = 0, 255
    found = module.predict([dark, light]).score
    assert capsys.readouterr().err == "faces: 1 of 2 images have none and are used whole\n"
    expected = module.predict([dark, light], faces=[crop_face(dark, Box(30, 20, 60, 50), 5), None]).score
    assert torch.equal(found, expected)
    module = small(faces="cascade", branches="full")
    assert module.predict(dark).face_features is None  # no face is looked for that nobody needs


def test_logits_of_liqe_are_joined():
    module, image = small(liqe=True), photo()
    aux = torch.linspace(10, 30, 495)
    one = module.predict(image, aux=aux).score
    views = evaluation_views(image, RESIZE, SIDE)
    with torch.no_grad():
        torch.testing.assert_close(one[0], module.network(views, views, aux.repeat(5, 1)).score.mean())
    both = module.predict([image, image], aux=torch.stack([aux, aux + 9]).numpy().astype(np.float64)).score
    torch.testing.assert_close(both[:1], one)
    assert not torch.equal(both[0], both[1])


MISSING = (
    "this model joins 495 LIQE logits and gets none; make them: zoo data make liqe --from PHOTOS --out FOLDER "
    "--data.weights LIQE.pt, then give aux (in a recipe data.init_args.aux: FOLDER, for zoo predict --model.aux "
    "FOLDER); or train without that branch: model.init_args.liqe: false"
)


def test_missing_logits_are_an_error_never_zeros(tmp_path):
    module = small(liqe=True)
    with pytest.raises(InputError) as caught:
        module.predict(photo())
    assert str(caught.value) == f"aux: {MISSING}"
    with pytest.raises(InputError, match=re.escape(MISSING)):
        module.predict(torch.zeros(1, 3, SIDE, SIDE), preprocess=False)
    save(photo(), tmp_path / "a.png")
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'a.png'}: {MISSING}")):
        module.predict_file(tmp_path / "a.png")
    (tmp_path / "features").mkdir()
    module.aux = str(tmp_path / "features")
    with pytest.raises(DataError, match=r"there are no LIQE features .* make them: zoo data make liqe"):
        module.predict_file(tmp_path / "a.png")


def test_logits_may_come_from_a_part_file(tmp_path, monkeypatch):
    torch.manual_seed(1)
    clip = CLIP(Sizes(224, 32, 64, 1, 32, 77, 49408, 64, 1)).requires_grad_(False)
    part = tmp_path / "liqe.safetensors"
    save_file(clip.state_dict(), part, {"zoo_part": '{"domain": "quality", "part": "liqe", "source": "test"}'})
    module = small(liqe=True, init_from={"liqe": str(part)})
    assert not [name for name in module.state_dict() if "visual" in name]  # no part of the checkpoint
    image = photo(230, 260)
    aux = LIQE(clip).logits(image)
    torch.testing.assert_close(module.predict(image).score, module.predict(image, aux=aux).score)
    save(image, tmp_path / "a.png")
    rows, _ = module.predict_file(tmp_path / "a.png")
    assert rows[0]["score"] == pytest.approx(float(module.predict(image).score), abs=1e-6)


def test_logits_of_files_come_from_a_folder(tmp_path):
    aux = np.linspace(10, 30, 495).astype(np.float32)
    (tmp_path / "features" / "deep").mkdir(parents=True)
    np.save(tmp_path / "features" / "deep" / "a.npy", aux)
    save(photo(), tmp_path / "photos" / "deep" / "a.png")
    module = small(liqe=True, aux=str(tmp_path / "features"))
    rows, _ = module.predict_file(tmp_path / "photos" / "deep" / "a.png")
    assert rows[0]["score"] == float(module.predict(photo(), aux=aux).score)


def test_raw_tensors_go_to_the_network_unchanged():
    module = small()
    tensors = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        expected = module.network(tensors, tensors)
    found = module.predict(tensors, preprocess=False)
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))
    other = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        assert torch.equal(module.predict(tensors, other, preprocess=False).score, module.network(tensors, other).score)


def test_compare_is_phi_of_the_difference():
    module = small()
    a, b = [photo(seed=1), photo(seed=2)], [photo(seed=3), photo(seed=4)]
    scores = [module.predict(images).score for images in (a, b)]
    found = module.compare(a, b)
    expected = torch.distributions.Normal(0.0, 1.0).cdf(scores[0] - scores[1])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(module.compare(b, a), 1 - found)
    torch.testing.assert_close(module.compare(a, a), torch.full((2,), 0.5))
    torch.testing.assert_close(module.compare(a[0], b)[1:], module.compare(a[0], b[1]))
    with pytest.raises(InputError, match="compare: 2 images against 3; give as many, or one against many"):
        module.compare(a, [*b, a[0]])
    with pytest.raises(InputError, match="faces: expected a pair, of the first and of the second images, got Tensor"):
        module.compare(a, b, faces=a[0])


def test_compare_takes_the_unit_of_the_loss():
    from zoo.ranking import Fidelity

    a, b = photo(seed=1), photo(seed=2)
    module = small(ranking=Fidelity(scale=0.01))
    difference = module.predict(a).score - module.predict(b).score
    expected = torch.distributions.Normal(0.0, 0.01).cdf(difference)
    torch.testing.assert_close(module.compare(a, b), expected, atol=1e-6, rtol=1e-4)


def test_compare_with_logits():
    module, image = small(liqe=True), photo()
    low, high = torch.full((495,), 10.0), torch.full((495,), 30.0)
    assert module.compare(image, image, aux=(low, low)).item() == 0.5
    assert module.compare(image, image, aux=(low, high)).item() != 0.5


IMAGE = photo()


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (IMAGE.float(), {}, "images: float images lie in [0, 1], these in ["),
        (IMAGE.float().fill_(float("nan")), {}, "images: holds values that are not finite"),
        (IMAGE.permute(1, 2, 0), {}, "images: expected shape (3, H, W), got (70, 90, 3); channels come first"),
        ([], {}, "images: the list holds no image"),
        (torch.zeros(0, 3, 8, 8), {}, "images: expected shape (B, 3, H, W)"),
        (IMAGE, {"crops": "ten"}, "crops: 'ten' given, expected five or centre"),
        (IMAGE, {"faces": [IMAGE, IMAGE]}, "faces: 2 given for 1 images; give one for each, None where there is none"),
        (IMAGE, {"faces": IMAGE[:2]}, "faces: expected shape (3, H, W), got (2, 70, 90)"),
        (IMAGE, {"aux": torch.zeros(495)}, "aux: this model has no LIQE branch (model.liqe is false); leave aux out"),
        (torch.zeros(1, 3, 8, 8).byte(), {"preprocess": False}, "images: expected normalised floats (B, 3, S, S), got"),
    ],
)
def test_wrong_inputs_are_named(images, options, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        small().predict(images, **options)


@pytest.mark.parametrize(
    ("aux", "message"),
    [
        (torch.zeros(2, 495), "aux: expected shape (1, 495), got (2, 495)"),
        (torch.zeros(494), "aux: expected shape (1, 495), got (494,)"),
        (torch.zeros(495).long(), "aux: expected a float tensor or array (1, 495), got torch.int64"),
        ("aux.npy", "aux: expected a float tensor or array (1, 495), got str"),
        (torch.zeros(495).index_fill(0, torch.tensor(9), float("inf")), "aux: logit 9 of image 0 is not finite"),
    ],
)
def test_wrong_logits_are_named(aux, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        small(liqe=True).predict(IMAGE, aux=aux)


# -- files


def test_exif_turns_image_and_box_together(tmp_path):
    image = photo(70, 90)
    upright = image.rot90(-1, (1, 2))  # what people see: 90 high, 70 wide
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    save(image, tmp_path / "a.png", exif=exif)
    assert torch.equal(read_image(tmp_path / "a.png"), upright)
    (tmp_path / "boxes.csv").write_text("file,left,top,right,bottom\na.png,10,50,40,80\n")
    module = small(faces="csv", boxes=str(tmp_path / "boxes.csv"), margin=0)
    rows, _ = module.predict_file(tmp_path / "a.png")
    assert (rows[0]["width"], rows[0]["height"], rows[0]["face"]) == (70, 90, "10 50 40 80")
    expected = module.predict(upright, faces=upright[:, 50:80, 10:40]).score
    assert rows[0]["score"] == float(expected)


def test_a_box_outside_names_the_file(tmp_path):
    save(photo(), tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text("file,left,top,right,bottom\na.png,100,50,140,80\n")
    module = small(faces="csv", boxes=str(tmp_path / "boxes.csv"))
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'a.png'}: the face box (100, 50, 140, 80) lies")):
        module.predict_file(tmp_path / "a.png")


def test_pictures_show_crops_and_face(tmp_path):
    save(photo(), tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text("file,left,top,right,bottom\na.png,10,20,40,60\n")
    _, figure = small(faces="csv", boxes=str(tmp_path / "boxes.csv")).predict_file(tmp_path / "a.png")
    squares = [patch for patch in figure.axes[0].patches if patch.get_width() == pytest.approx(70 * 48 / 56)]
    assert len({patch.get_xy() for patch in squares}) == 5
    assert [patch.get_bbox().extents.tolist() for patch in figure.axes[0].patches][-1] == [10, 20, 40, 60]


RECIPE = f"""
seed_everything: 0
trainer: {{max_epochs: 1}}
model:
  class_path: zoo.domains.quality.DNPIQA
  init_args: {{backbone: test_convnext, liqe: false, resize: {RESIZE}, crop: {SIDE}}}
data:
  class_path: zoo.domains.quality.GradedDistortions
  init_args: {{synthesize: true, resize: {RESIZE}, crop: {SIDE}}}
optimizer: {{class_path: torch.optim.Adam}}
"""


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """A small network in the released layout, through ``zoo convert``."""
    folder = tmp_path_factory.mktemp("target")
    (folder / "small.yaml").write_text(RECIPE)
    torch.manual_seed(0)
    module = DNPIQA(backbone="test_convnext", liqe=False, resize=RESIZE, crop=SIDE).eval()
    old = {"full": "feature_extraction." * 2, "face": "feature_extraction_face." + "feature_extraction." * 2,
           "head": "quality."}  # fmt: skip
    parts = [(name.partition("."), value) for name, value in module.network.state_dict().items()]
    torch.save({old[top] + rest: value for (top, _, rest), value in parts}, folder / "PIQ_model.pth")
    command = ["convert", str(folder / "small.yaml"), str(folder / "PIQ_model.pth"), str(folder / "piq.safetensors")]
    assert main(command) == 0
    return folder / "piq.safetensors", module


def test_a_converted_file_gives_the_same_scores(target):
    import zoo

    file, module = target
    loaded = zoo.load(file)
    image = photo()
    assert torch.equal(loaded.predict(image).score, module.predict(image).score)
    assert not loaded.network.training


def test_zoo_predict_ranks_a_folder(target, tmp_path, capsys):
    file, module = target
    for number in range(5):
        save(photo(seed=number), tmp_path / "photos" / f"{number}.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"")
    assert main(["predict", str(file), str(tmp_path / "photos"), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path / 'photos' / 'broken.png'}: the file is empty" in told
    assert "1 of 6 inputs cannot be used" in told
    assert "faces: 5 of 5 images have none and are used whole" in told
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert list(table.columns) == ["file", "rank", "score", "face", "width", "height"]
    assert table["rank"].tolist() == [1, 2, 3, 4, 5]
    assert table["score"].is_monotonic_decreasing
    assert table["score"].nunique() == 5
    for name, score in zip(table["file"], table["score"], strict=True):
        number = int(name.split("/")[-1][0])
        assert score == pytest.approx(float(module.predict(photo(seed=number)).score), abs=1e-6)
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {*(f"{n}.png" for n in range(5)), "overview.png"}


def test_zoo_predict_with_boxes(target, tmp_path, capsys):
    file, module = target
    save(photo(seed=1), tmp_path / "a.png")
    save(photo(seed=2), tmp_path / "b.png")
    (tmp_path / "boxes.csv").write_text("file,left,top,right,bottom\na.png,30,20,60,50\nb.png,,,,\n")
    expected = float(module.predict(photo(seed=1), faces=crop_face(photo(seed=1), Box(30, 20, 60, 50))).score)
    command = ["predict", str(file), "--boxes", str(tmp_path / "boxes.csv"), "--out", str(tmp_path / "out")]
    for inputs in ([], [str(tmp_path / "a.png"), str(tmp_path / "b.png")]):
        assert main([*command, *inputs]) == 0, capsys.readouterr().err
        table = pd.read_csv(tmp_path / "out" / "table.csv").set_index("face")
        assert table.loc["30 20 60 50", "score"] == pytest.approx(expected, abs=1e-6)
        assert table.loc["whole image", "file"].endswith("b.png")


def test_a_part_starts_a_branch(tmp_path, target):
    file, module = target
    backbone = {f"feature_extraction.{name}": value for name, value in module.network.full.state_dict().items()}
    torch.save({**backbone, "quality.0.weight": torch.zeros(128, 1280)}, tmp_path / "lsvq.pth")
    recipe, out = str(file.parent / "small.yaml"), tmp_path / "full.safetensors"
    assert main(["convert", recipe, str(tmp_path / "lsvq.pth"), str(out), "--part", "full"]) == 0
    started = DNPIQA(backbone="test_convnext", liqe=False, resize=RESIZE, crop=SIDE, init_from={"full": str(out)})
    for name, value in module.network.full.state_dict().items():
        assert torch.equal(started.network.full.state_dict()[name], value)
    other = started.network.face.state_dict()
    assert any(not torch.equal(other[name], value) for name, value in module.network.full.state_dict().items())
    with pytest.raises(InputError, match=re.escape(f"model.init_from.face: {out} is the part 'full' of quality")):
        DNPIQA(backbone="test_convnext", liqe=False, resize=RESIZE, crop=SIDE, init_from={"face": str(out)})
