"""RDE as it trains and evaluates: terms, division, BatchNorm, precision, checkpoints, metrics, start weights."""

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics import MetricCollection

from zoo.domains.reid import CUHKPEDES, RDE, EpochCosine
from zoo.domains.reid.loss import batch_losses
from zoo.errors import InputError
from zoo.layers import without_pretrained
from zoo.ranking import InfoNCE, TripletAlignment
from zoo.training import Span
from zoo.training.fit import quiet
from zoo.training.parts import PART


@pytest.fixture
def fit(tmp_path):
    """Trains a module for some epochs: ``fit(module, data, epochs=1)`` gives the trainer."""
    quiet()

    def run(module, data, epochs=1, **options):
        module.optimizer = lambda groups: torch.optim.SGD(groups, lr=0.01)
        trainer = pl.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=tmp_path, num_sanity_val_steps=0,
            use_distributed_sampler=False, **options,
        )  # fmt: skip
        trainer.fit(module, datamodule=data)
        return trainer

    return run


def batch_of(data):
    return next(iter(data.train_dataloader()))


def test_terms_are_the_losses_of_the_pairs_kept(small, data):
    batch = batch_of(data(augment_text=False))
    module = small().train()
    with torch.no_grad():
        images, texts = module.embed(batch["image"], batch["caption"])
        bge, tse = batch_losses(images, texts, batch["identity"], TripletAlignment(), "identity")
        whole = module.terms(batch)
        assert whole["bge"] == bge.sum()
        assert whole["tse"] == tse.sum()
        module.labels = torch.zeros(32, dtype=torch.uint8)
        module.labels[batch["index"][:3]] = 1
        kept = module.terms(batch)
        torch.testing.assert_close(kept["bge"], bge[:3].sum())
        torch.testing.assert_close(kept["tse"], tse[:3].sum())
        averaged = small(reduction="mean")
        averaged.labels = module.labels
        torch.testing.assert_close(averaged.terms(batch)["bge"], bge[:3].mean())


def test_the_loss_named_decides_how_a_batch_is_added_up(small):
    assert (small().reduction, small().positives) == ("sum", "identity")
    module = small(ranking=InfoNCE())
    assert (module.reduction, module.positives) == ("mean", "pair")
    module = small(ranking=InfoNCE(), reduction="sum", positives="identity")
    assert (module.reduction, module.positives) == ("sum", "identity")


def test_random_numbers_of_the_batch_change_its_captions(small, data):
    batch = batch_of(data())
    module = small()
    with torch.no_grad():
        _, changed = module.embed(batch["image"], batch["caption"], batch["draws"])
        _, again = module.embed(batch["image"], batch["caption"], batch["draws"])
        _, plain = module.embed(batch["image"], batch["caption"])
    assert torch.equal(changed.bge, again.bge)
    assert not torch.equal(changed.bge, plain.bge)


def test_every_epoch_is_divided_and_written_to_the_run(small, data, fit, tmp_path, capsys):
    module = small()
    fit(module, data(noise=0.5), epochs=2)
    folder = tmp_path / "division"
    assert sorted(file.name for file in folder.iterdir()) == [
        "epoch_0001.csv.gz", "epoch_0001.png", "epoch_0002.csv.gz", "epoch_0002.png", "summary.csv",
    ]  # fmt: skip
    summary = pd.read_csv(folder / "summary.csv")
    assert summary["epoch"].tolist() == [1, 2]
    assert summary["auroc"].between(0, 1).all()
    table = pd.read_csv(folder / "epoch_0002.csv.gz")
    assert table["clean"].tolist() == module.labels.tolist()
    assert len(table) == 32
    assert capsys.readouterr().out.count("division: ") == 2


def test_losses_of_the_division_are_those_of_its_batches(small, data):
    module, source = small(), data(augment_text=False, augment_image=False)
    module._trainer = None
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    module.trainer = trainer
    module.train()
    bge, _ = module._all_losses(source)
    assert module.training
    module.eval()
    for batch in source.division_dataloader(0):
        with torch.no_grad():
            images, texts = module.embed(batch["image"], batch["caption"])
            expected, _ = batch_losses(images, texts, batch["identity"], module.ranking, "identity")
        np.testing.assert_allclose(bge[batch["index"].numpy()], expected.numpy(), rtol=1e-5, atol=1e-6)


def test_without_a_division_nothing_is_written(small, data, fit, tmp_path):
    module = small(division=False)
    fit(module, data())
    assert module.labels is None
    assert not (tmp_path / "division").exists()


def test_a_checkpoint_carries_labels_and_generator(small, data, fit, tmp_path):
    module = small()
    trainer = fit(module, data(noise=0.5), epochs=1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    saved = torch.load(tmp_path / "one.ckpt", weights_only=True)
    other = small(seed=1)
    other.on_load_checkpoint(saved)
    assert torch.equal(other.labels, module.labels)
    assert other.history == module.history
    assert torch.equal(other._own_generator(0).get_state(), module._own_generator(0).get_state())
    divided = []
    other.divide = lambda: divided.append(True)
    other.trainer = trainer
    trainer.fit_loop.epoch_progress.current.completed = 0
    other.on_train_epoch_start()  # the epoch that the checkpoint was written in: its labels stay
    assert divided == []
    trainer.fit_loop.epoch_progress.current.completed = 1
    other.on_train_epoch_start()
    assert divided == [True]


@pytest.mark.parametrize("fixed", [True, False])
def test_batch_norm_keeps_its_statistics_where_asked(small, data, fit, fixed):
    module = small(bn_eval_during_training=fixed, division=False)
    fit(module, data())
    norm = module.network.text_selection.norm
    assert (norm.num_batches_tracked.item() == 0) == fixed
    assert torch.equal(norm.running_mean, torch.zeros(16)) == fixed


@pytest.mark.parametrize("weights", ["float16", "bfloat16"])
def test_training_in_half_precision_and_loading_in_float32(small, data, fit, weights):
    module = small(weights=weights)
    fit(module, data())
    kinds = {tensor.dtype for tensor in module.network.state_dict().values()}
    assert getattr(torch, weights) in kinds
    assert all(torch.isfinite(tensor).all() for tensor in module.state_dict().values())
    loaded = small(weights=weights, seed=1)
    loaded.load_state_dict(module.state_dict())
    assert {tensor.dtype for tensor in loaded.parameters()} == {torch.float32}


def test_evaluation_is_over_all_captions_and_images(small, data):
    module, source = small().eval(), data()
    found = {}
    for size in (3, 100):
        source.batch_size = size
        metrics = MetricCollection(module.build_metrics(), compute_groups=False)
        with torch.no_grad():
            for batch in source.test_dataloader():
                assert module.evaluate_batch(batch, metrics) == []
        found[size] = {name: float(value) for name, value in metrics.compute().items()}
    assert found[3] == pytest.approx(found[100])
    assert {"rank1", "map", "bge_rank10", "tse_minp", "i2t_rsum"} <= set(found[3])


def test_a_test_gives_intervals_and_a_row_for_each_caption(small, data):
    module = small()
    module.rows = []
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.test(module, datamodule=data(), verbose=False)
    assert module.results["rank1_low"] <= module.results["rank1"] <= module.results["rank1_high"]
    rows = pd.DataFrame(module.rows)
    assert len(rows) == 16
    assert rows["id"].is_unique
    assert module.results["rank1"] == pytest.approx(100 * (rows["rank"] == 1).mean())
    assert module.results["map"] == pytest.approx(100 * rows["ap"].mean())
    first = rows["rank"] == 1
    assert (rows["identity"] == rows["first_identity"])[first].all()


def test_images_of_another_size_and_data_of_another_kind_are_named(small, data, fit):
    with pytest.raises(InputError, match=r"gives images of 40x20, the image tower takes 32x16: set data.image_size"):
        fit(small(), data(image_size=(40, 20)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reduction": "max"}, "model.reduction is 'max', expected one of None, 'sum', 'mean'"),
        ({"mixture": "wide"}, "model.mixture is 'wide', expected one of 'loose', 'tight'"),
        ({"weights": "int8"}, "model.weights is 'int8'"),
        ({"positives": "all"}, "model.positives is 'all'"),
        ({"ratio": 2.0}, r"model: ratio: 2.0 given, expected a number in \(0, 1\]"),
        ({"pretrained": True}, "zoo convert reid/rde_cuhkpedes clip.pt clip.safetensors --part clip"),
        ({"init_from": {"clip": "none.safetensors"}}, "model.init_from.clip: there is no file none.safetensors"),
        ({"init_from": {"clap": "x"}}, "'clap' is no part of this network; did you mean 'clip'"),
    ],
)
def test_wrong_arguments_are_named(small, arguments, message):
    with pytest.raises(InputError, match=message):
        small(**arguments)


def test_a_checkpoint_is_loaded_without_the_weights_it_started_from(small):
    with without_pretrained():
        assert isinstance(small(pretrained=True), RDE)


def test_both_towers_start_from_a_part_file(small, tmp_path):
    import json

    from safetensors.torch import save_file

    source = small(seed=3)
    file = tmp_path / "clip.safetensors"
    state = {name: tensor.contiguous() for name, tensor in source.network.towers.state_dict().items()}
    save_file(state, file, {PART: json.dumps({"domain": "reid", "part": "clip", "source": "test"})})
    module = small(pretrained=True, init_from={"clip": str(file)})
    assert all(torch.equal(module.network.towers.state_dict()[name], tensor) for name, tensor in state.items())


def test_a_picture_shows_captions_and_their_best_images(small, data):
    batch = next(iter(data().test_dataloader()))
    figure = small().picture(batch)
    assert len(figure.axes) == 4 * (1 + 6)
    batch["captions"], batch["owner"] = [], torch.zeros(0, dtype=torch.long)
    assert small().picture(batch) is None


def test_the_schedule_of_the_sheet():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    steps = 7
    schedule = EpochCosine(optimizer, Span(steps, 60 * steps))
    factors = []
    for _ in range(60 * steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    by_epoch = np.array(factors).reshape(60, steps)
    assert (by_epoch == by_epoch[:, :1]).all()
    first = by_epoch[:, 0]
    assert first[:6].tolist() == pytest.approx([0.10, 0.28, 0.46, 0.64, 0.82, 1.0])
    assert first[6] == pytest.approx(0.99918, abs=5e-6)
    assert first[32] == pytest.approx(0.51428, abs=5e-6)
    assert first[59] == pytest.approx(8.15e-4, abs=1e-6)


def test_the_recipes_groups_are_the_released_ones(small):
    from zoo.recipe import read
    from zoo.training import parameter_groups

    groups = read("reid/rde_cuhkpedes").tree["model"]["init_args"]["groups"]
    module = small()
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    for entry in parameter_groups(module, groups, 1e-5):
        for parameter in entry["params"]:
            name = names[id(parameter)]
            bias, head = "bias" in name, "_selection" in name
            assert entry.get("lr", 1e-5) == pytest.approx(1e-3 if head else 2e-5 if bias else 1e-5), name
            assert entry.get("weight_decay", 4e-5) == (0.0 if bias else 4e-5), name


def test_data_of_another_class_cannot_be_divided(small, data, fit):
    class Other(CUHKPEDES):
        pass

    fit(small(), Other(root=data().root, image_size=(32, 16), batch_size=8))  # a subclass can
    module = small()
    module._trainer = type("T", (), {"datamodule": object(), "current_epoch": 0})()
    with pytest.raises(InputError, match=r"model.division needs a data set of zoo.domains.reid"):
        module.divide()
