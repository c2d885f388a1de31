"""RankMixup as a module: terms, evaluation with the split validation, temperature, checkpoints, prediction."""

from functools import partial

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from zoo.domains.calibration import MNDCG, MRL, CrossEntropy, Digits, Mixup, RankMixup
from zoo.domains.calibration.data_views import resized
from zoo.domains.calibration.evaluation import fits_temperature
from zoo.domains.calibration.mixing import Draws, by_image, mix, one_hot
from zoo.errors import InputError
from zoo.metrics import fit_temperature
from zoo.training.fit import quiet
from zoo.training.module import NonFiniteLoss


def batch(count=6, classes=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "image": torch.randn(count, 3, 8, 8, generator=generator),
        "label": torch.randint(classes, (count,), generator=generator),
        "id": [f"image {index}" for index in range(count)],
    }


def trainer(**arguments):
    quiet()
    fixed = {"accelerator": "cpu", "devices": 1, "logger": False, "num_sanity_val_steps": 0}
    quieter = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return pl.Trainer(**{**fixed, **quieter, **arguments})


def trained(module, data, epochs=1, **arguments):
    module.optimizer = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    module.set_classes(data.class_names)
    run = trainer(max_epochs=epochs, **arguments)
    run.fit(module, datamodule=data)
    return run


# -- training


def test_terms_are_those_of_the_objective_on_the_draws_of_the_module(small):
    given = batch()
    module, peer = small(objective=MNDCG(alpha=0.5), mix_seed=4), small(objective=MNDCG(alpha=0.5))
    terms = module.terms(given)
    draws = Draws(4).draw(3, 2.0, [6])
    z = peer.network(given["image"]).logits
    mixed = by_image(peer.network(mix(given["image"], draws)).logits, 3)
    soft = by_image(mix(one_hot(given["label"], 10), draws), 3)
    confidence = torch.cat([z.softmax(-1).amax(-1, keepdim=True), mixed.softmax(-1).amax(-1)], 1).detach()
    strength = torch.cat([torch.ones(6, 1), soft.amax(-1)], 1)
    ratios = []
    for c, s in zip(confidence, strength, strict=True):
        order = [0, *(1 + np.argsort(-s[1:].numpy(), kind="stable"))]
        weights = [1 / np.log2(place + 2) for place in range(4)]
        dcg = sum(float(c[item]) * weight for item, weight in zip(order, weights, strict=True))
        idcg = sum(float(s[item]) * weight for item, weight in zip(order, weights, strict=True))
        ratios.append(min(dcg / idcg, idcg / dcg))
    assert terms["rank"].item() == pytest.approx(0.5 * (1 - np.mean(ratios)), abs=1e-5)
    assert terms["ce"].item() == pytest.approx(torch.nn.functional.cross_entropy(z, given["label"]).item(), abs=1e-5)


def test_draws_follow_the_seed_of_the_recipe_unless_given(small):
    torch.manual_seed(8)
    one, two = RankMixup(network="resnet8"), RankMixup(network="resnet8", mix_seed=3)
    assert one.draws.draw(1, 1.0, [4])[0].strength == Draws(8).draw(1, 1.0, [4])[0].strength
    assert two.draws.draw(1, 1.0, [4])[0].strength == pytest.approx(0.36284521, abs=1e-8)


def test_mixed_copies_alone_leave_the_raw_images_out(small):
    module = small(objective=Mixup())
    assert set(module.terms(batch())) == {"mixed_ce"}
    assert int(module.network.bn1.num_batches_tracked) == 1


def test_training_lowers_the_loss_of_digits(small):
    module = small(objective=MRL(), width=8)
    data = Digits(batch_size=32, limit=320)
    before = sum(module.terms(next(iter(data.train_dataloader()))).values()).item()
    trained(module, data, epochs=5, gradient_clip_val=2.0)
    module.train()
    after = sum(module.terms(next(iter(data.train_dataloader()))).values()).item()
    assert after < 0.7 * before


def test_a_label_out_of_range_names_the_image(small):
    given = batch()
    given["label"][2] = 11
    with pytest.raises(InputError, match=r"image 2: label 11, expected 0 to 9 \(model.classes\)"):
        small().terms(given)


def test_a_loss_that_is_not_finite_stops_and_names_the_images(small, digits):
    module = small(objective=CrossEntropy())
    with torch.no_grad():
        module.network.fc.bias.fill_(torch.nan)
    with pytest.raises(NonFiniteLoss, match="loss term ce = nan at step 0"):
        trained(module, digits)


# -- evaluation


def test_one_of_two_neighbours_fits_the_temperature():
    chosen = fits_temperature(torch.arange(1000))
    pairs = chosen.view(-1, 2)
    assert (pairs.sum(1) == 1).all()
    # neither half is every second image: two processes get both kinds
    for part in (chosen[0::2], chosen[1::2]):
        assert 200 < part.sum() < 300


def test_half_of_validation_selects_and_the_other_fits(small, digits):
    module = small()
    run = trained(module, digits)
    logits, labels = [], []
    with torch.no_grad():
        for part in digits.val_dataloader():
            logits.append(module.eval().network(part["image"]).logits)
            labels.append(part["label"])
    z, y = torch.cat(logits), torch.cat(labels)
    held = fits_temperature(torch.arange(len(y)))
    assert 0 < held.sum() < len(y)
    assert float(module.temperature) == pytest.approx(fit_temperature(z[held], y[held], "ece"))
    right = (z.argmax(-1) == y).float()
    assert float(run.callback_metrics["val/acc"]) == pytest.approx(right[~held].mean().item())
    assert float(run.callback_metrics["val/temperature"]) == pytest.approx(float(module.temperature))
    scaled = torch.nn.functional.cross_entropy(z[~held] / module.temperature, y[~held])
    assert float(run.callback_metrics["val/nll_ts"]) == pytest.approx(scaled.item(), rel=1e-5)


def test_test_images_change_no_temperature_and_all_count(small, digits):
    module = small()
    module.temperature.fill_(2.5)
    run = trainer()
    module.set_classes(digits.class_names)
    module.rows = []
    run.test(module, datamodule=digits, verbose=False)
    assert float(module.temperature) == 2.5
    items = digits.items("test")
    assert len(module.rows) == len(items)
    images, labels = (
        digits.collate([items[0, i] for i in range(len(items))])["image"],
        [r["label"] for r in module.rows],
    )
    with torch.no_grad():
        z = module.eval().network(images).logits
    y = torch.tensor(labels)
    assert module.results["nll"] == pytest.approx(torch.nn.functional.cross_entropy(z, y).item(), rel=1e-5)
    assert module.results["nll_ts"] == pytest.approx(torch.nn.functional.cross_entropy(z / 2.5, y).item(), rel=1e-5)
    row = module.rows[5]
    assert row["predicted"] == int(z[5].argmax())
    assert row["confidence"] == pytest.approx(z[5].softmax(-1).max().item(), rel=1e-4)
    assert row["confidence_ts"] == pytest.approx((z[5] / 2.5).softmax(-1).max().item(), rel=1e-4)
    both = {"ece", "ece_debiased", "aece", "aece_corrected", "cece", "mce", "oe", "ue", "nll", "brier", "aurc"}
    alone = {"acc", "acc5", "macc", "temperature", "ece_low", "ece_high"}
    assert both | {f"{name}_ts" for name in both} | alone <= set(module.results)


def test_refit_fits_the_temperature_before_the_test(small, digits):
    module = small(refit=True, temperature_by="nll")
    module.temperature.fill_(9.0)
    module.set_classes(digits.class_names)
    trainer().test(module, datamodule=digits, verbose=False)
    with torch.no_grad():
        parts = [(module.eval().network(part["image"]).logits, part["label"]) for part in digits.val_dataloader()]
    z, y = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    held = fits_temperature(torch.arange(len(y)))
    assert float(module.temperature) == pytest.approx(fit_temperature(z[held], y[held], "nll"), rel=1e-5)


def test_images_of_other_sets_count_for_telling_them_apart_alone(small, tmp_path):
    from PIL import Image

    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        (tmp_path / "noise").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "noise" / f"{number}.png")
    results = {}
    for ood in (None, [str(tmp_path / "noise")]):
        module, data = small(), Digits(batch_size=16, ood=ood)
        module.set_classes(data.class_names)
        module.rows = []
        trainer().test(module, datamodule=data, verbose=False)
        results[bool(ood)] = module.results, module.rows
    plain, with_noise = results[False], results[True]
    assert len(with_noise[1]) == len(plain[1]) + 12
    assert [row["label"] for row in with_noise[1][-12:]] == [None] * 12
    for name, value in plain[0].items():
        assert with_noise[0][name] == pytest.approx(value, rel=1e-6, nan_ok=True), name
    found = {name for name in with_noise[0] if name.startswith("ood_")}
    assert found == {f"ood_noise_{kind}{end}" for kind in ("entropy", "confidence") for end in ("", "_ts")}
    assert all(0 <= with_noise[0][name] <= 1 for name in found)


def test_logits_that_are_not_finite_name_the_image(small, digits):
    module = small()
    module.set_classes(digits.class_names)
    with torch.no_grad():
        module.network.fc.weight[3] = torch.inf
    with pytest.raises(InputError, match="the network's logits are not finite"):
        trainer().test(module, datamodule=digits, verbose=False)


# -- classes, inputs, checkpoints


def test_another_number_of_classes_is_told(small):
    message = r"the network has 10 outputs \(model.classes\), the data 3 classes \(cat, dog, cow\)"
    with pytest.raises(InputError, match=message):
        small().set_classes(["cat", "dog", "cow"])


def test_size_and_statistics_come_from_the_data_where_the_recipe_leaves_them(small, digits):
    module = small(size=None, mean=None, std=None)
    with pytest.raises(InputError, match="does not know how its images were prepared"):
        module.predict(torch.zeros(3, 8, 8))
    trained(module, digits)
    assert module.preprocess["size"] == 8
    assert module.preprocess["mean"] == pytest.approx(list(digits.mean))
    # as after loading: what the checkpoint says of itself
    loaded = small(size=None, mean=None, std=None)
    loaded.card = {"preprocess": module.preprocess}
    loaded.load_state_dict(module.state_dict())
    image = torch.randint(256, (3, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(loaded.predict(image).logits, module.predict(image).logits)


def test_data_prepared_in_another_way_are_refused(small, digits):
    module = small(mean=(0.5, 0.5, 0.5))
    with pytest.raises(InputError, match=r"the model takes images with mean \(0.5, 0.5, 0.5\) \(data: \(0.3053"):
        trained(module, digits)


def test_a_checkpoint_holds_the_draws_as_plain_values_and_goes_on(small, digits, tmp_path):
    module = small(size=None, mean=None, std=None)
    run = trained(module, digits)
    run.save_checkpoint(tmp_path / "one.ckpt")
    saved = torch.load(tmp_path / "one.ckpt", weights_only=True)
    assert saved["state_dict"]["temperature"] == module.temperature
    other = small(seed=9, mix_seed=77)
    other.on_load_checkpoint(saved)
    for ours, theirs in zip(module.draws.draw(3, 2.0, [5]), other.draws.draw(3, 2.0, [5]), strict=True):
        assert ours.strength == theirs.strength
        assert torch.equal(ours.partner, theirs.partner)


# -- prediction


def test_predict_prepares_as_the_data_does(small):
    """8-bit images of any size, as tensors, arrays or floats, give what the data's own view gives."""
    data = Digits(batch_size=8)
    module = small(size=8, mean=data.mean, std=data.std).eval()
    items = data.items("test")
    wanted = data.collate([items[0, index] for index in range(4)])["image"]
    pixels = [torch.from_numpy(items.items.source.pixels(int(items.items.chosen[index]))) for index in range(4)]
    with torch.no_grad():
        logits = module.network(wanted).logits
    for images in (
        torch.stack(pixels),
        torch.stack(pixels).numpy(),
        torch.stack(pixels).float() / 255,
        pixels,
        [image.numpy() for image in pixels],
    ):
        torch.testing.assert_close(module.predict(images).logits, logits)
    torch.testing.assert_close(module.predict(wanted, preprocess=False).logits, logits)


def test_predict_sees_the_whole_of_a_larger_image(small):
    """Data of one size are not resized, but a photograph of a user is, not cut to the few pixels of its centre."""
    module = small().eval()
    blocks = torch.randint(256, (3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    large = blocks.repeat_interleave(4, 1).repeat_interleave(4, 2)
    wanted = resized(large.numpy(), 8)
    assert wanted.shape == (3, 8, 8)
    given = module.predict(large).logits
    torch.testing.assert_close(given, module.predict(wanted).logits)
    assert (given - module.predict(large[:, 12:20, 12:20]).logits).abs().max() > 1e-3
    wide = torch.nn.functional.pad(large, (8, 8))  # the centre of the longer side
    torch.testing.assert_close(module.predict(wide).logits, given, rtol=0, atol=0.05)


def test_predict_gives_the_named_fields(small):
    module = small()
    module.set_classes([f"class {index}" for index in range(10)])
    module.temperature.fill_(2.0)
    images = torch.randint(256, (3, 3, 20, 12), dtype=torch.uint8)
    raw, stored, third = (module.predict(images, temperature=t) for t in (None, "stored", 0.5))
    assert raw._fields == ("logits", "probabilities", "confidence", "label", "class_names")
    for found, divisor in ((raw, 1.0), (stored, 2.0), (third, 0.5)):
        torch.testing.assert_close(found.logits, raw.logits)  # a temperature never touches them
        torch.testing.assert_close(found.probabilities, (raw.logits / divisor).softmax(-1))
        torch.testing.assert_close(found.confidence, found.probabilities.amax(-1))
        assert found.label.tolist() == raw.logits.argmax(-1).tolist()
        assert found.class_names == module.class_names
        assert found.confidence.shape == (3,)
    single = module.predict(images[0])
    torch.testing.assert_close(single.logits, raw.logits[:1])
    assert not raw.logits.requires_grad


@pytest.mark.parametrize(
    ("images", "arguments", "message"),
    [
        (
            torch.zeros(3, 8, 8),
            {"temperature": 0.0},
            "temperature: expected None, 'stored' or a number above 0, got 0.0",
        ),
        (torch.zeros(3, 8, 8), {"temperature": "hot"}, "temperature: expected None, 'stored' or a number above 0"),
        (torch.full((3, 8, 8), 2.0), {}, "float images lie in .* .network"),
        (torch.full((3, 8, 8), torch.nan), {}, "holds values that are not finite"),
        (torch.zeros(8, 8), {}, "expected shape"),
        (torch.zeros(2, 1, 8, 8), {"preprocess": False}, r"images: expected shape \(B, 3, H, W\), got \(2, 1, 8, 8\)"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), {"preprocess": False}, "with preprocess=False a float tensor"),
    ],
)
def test_bad_images_are_told(small, images, arguments, message):
    with pytest.raises(InputError, match=message):
        small().predict(images, **arguments)


def test_files_and_the_overview_from_the_least_confident(small, tmp_path):
    from PIL import Image

    module = small().eval()
    module.set_classes([f"digit {index}" for index in range(10)])
    module.temperature.fill_(0.5)
    rows = []
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (16, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        (row,), figure = module.predict_file(tmp_path / f"{number}.png")
        found = module.predict(torch.from_numpy(pixels).permute(2, 0, 1), temperature="stored")
        assert row["label"] == int(found.label)
        assert row["class"] == f"digit {row['label']}" == row["class1"]
        assert row["confidence"] == pytest.approx(float(found.confidence)) == row["probability1"]
        assert row["confidence_raw"] == pytest.approx(float(found.logits.softmax(-1).amax()))
        assert next(text.get_text() for text in figure.axes[1].get_yticklabels()) == row["class"]
        rows.append({"file": str(tmp_path / f"{number}.png"), **row})
    titles = [axis.get_title() for axis in module.overview(rows).axes if axis.get_title()]
    order = sorted(rows, key=lambda row: row["confidence"])
    assert titles == [f"{row['class']} {row['confidence']:.0%}" for row in order]


def test_picture_shows_images_in_training_and_reliability_after_a_test(small, digits):
    module = small()
    module.set_classes(digits.class_names)
    given = next(iter(digits.test_dataloader()))
    assert len([axis for axis in module.picture(given).axes if axis.images]) == 16
    trainer().test(module, datamodule=digits, verbose=False)
    titles = [axis.get_title(loc="left") for axis in module.picture(given).axes]
    assert any(title.startswith("after scaling, T = ") for title in titles)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mix": "inputs"}, "model.mix must be one of input, features, got 'inputs'; did you mean 'input'?"),
        ({"temperature_by": "accuracy"}, "model.temperature_by must be one of ece, nll"),
        ({"bins": 0}, "model.bins must be at least 1, got 0"),
        ({"size": None}, "model: size, mean and std go together"),
        ({"std": (0.0, 1.0, 1.0)}, r"model.std must be above 0, got \[0.0, 1.0, 1.0\]"),
        ({"size": 16, "resize": 8}, "resize must be at least"),
        ({"mix_seed": -1}, "model.mix_seed must lie in"),
    ],
)
def test_bad_arguments_are_told(small, arguments, message):
    with pytest.raises(InputError, match=message):
        small(**arguments)
