"""RankDETR as a module: the switch of the matching, its checkpoint, classes, evaluation, switches of the method."""

import json
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from torchmetrics import MetricCollection

from zoo.domains.detection import Objective, RankDETR, Shapes
from zoo.errors import InputError
from zoo.training.fit import quiet


def data(shapes, **options):
    return Shapes(root=str(shapes), side=48, **{"batch_size": 4, "evaluation_batch": 2, **options})


class Recorder(pl.Callback):
    """Which cost each optimizer step was matched by."""

    def __init__(self):
        self.costs = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.costs.append((trainer.global_step, pl_module.high_order_now))


def fit(module, shapes, path=None, **arguments):
    quiet()
    module.optimizer = lambda groups: torch.optim.AdamW(groups, lr=1e-3)
    recorder = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0, callbacks=[recorder],
        use_distributed_sampler=False, **arguments,
    )  # fmt: skip
    trainer.fit(module, datamodule=data(shapes), ckpt_path=path, weights_only=True)
    return trainer, recorder.costs


def test_terms_have_the_names_and_a_gradient(tiny, shapes):
    module = tiny().train()
    batch = next(iter(data(shapes).train_dataloader()))
    terms = module.terms(batch)
    suffixes = ("", "_0")
    assert set(terms) == {
        *(f"loss_{kind}{suffix}{branch}" for kind in ("class", "bbox", "giou") for suffix in suffixes
          for branch in ("", "_one2many")),
        *(f"loss_{kind}_enc" for kind in ("class", "bbox", "giou")),
    }  # fmt: skip
    sum(terms.values()).backward()
    missing = [name for name, parameter in module.named_parameters() if parameter.grad is None]
    assert missing == []


@pytest.mark.parametrize(
    ("start", "accumulate", "first"), [(0.75, 1, 7), (0.5, 2, 3), ("2 epochs", 1, 6), ("4 steps", 1, 4), (0, 1, 0)]
)
def test_the_switch_counts_optimizer_steps(tiny, shapes, start, accumulate, first):
    """Three batches an epoch, three epochs: 9 steps, or 6 where two batches make a step (the last has one)."""
    module = tiny(high_order_from=start)
    _, costs = fit(module, shapes, max_epochs=3, accumulate_grad_batches=accumulate)
    assert len(costs) == 9
    assert all(high == (step >= first) for step, high in costs)
    assert {high for _, high in costs} == ({True} if first == 0 else {True, False})


def test_the_place_of_the_matching_is_in_the_checkpoint(tiny, shapes, tmp_path):
    trainer, _ = fit(tiny(high_order_from="5 steps"), shapes, max_epochs=1)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)["zoo_matching"]
    assert saved == {"steps": 3, "switch": 5}
    alone = tiny(high_order_from="5 steps")
    alone.on_load_checkpoint({"zoo_matching": {"steps": 5, "switch": 5}})
    assert alone.high_order_now
    alone.on_load_checkpoint({"zoo_matching": saved})
    assert not alone.high_order_now


def test_the_high_order_cost_can_be_left_out(tiny, shapes):
    _, costs = fit(tiny(high_order_cost=False), shapes, max_epochs=2)
    assert not any(high for _, high in costs)


def test_a_training_without_an_end_needs_a_length(tiny, shapes):
    with pytest.raises(InputError, match=r"a share of a training without an end: give trainer\.max_epochs"):
        fit(tiny(), shapes, max_epochs=-1)


def test_terms_follow_the_switch(tiny, shapes, monkeypatch):
    asked = []
    monkeypatch.setattr(
        Objective, "forward", lambda self, outputs, targets, high_order=False: asked.append(high_order) or {}
    )
    batch = next(iter(data(shapes).train_dataloader()))
    module = tiny(high_order_from="5 steps")
    for steps in (4, 5):
        module.on_load_checkpoint({"zoo_matching": {"steps": steps, "switch": 5}})
        module.terms(batch)
    assert asked == [False, True]


def test_evaluation_gives_coco_s_figures_and_a_row_per_image(tiny, shapes):
    module = tiny().eval()
    made = data(shapes)
    module.set_classes(made.class_names)
    metrics = MetricCollection(module.build_metrics(), compute_groups=False)
    with torch.no_grad():
        rows = [row for batch in made.test_dataloader() for row in module.evaluate_batch(batch, metrics)]
    assert len(rows) == 2
    assert {"id", "objects", "found", "detections"} == set(rows[0])
    found = json.loads(rows[0]["detections"])
    assert len(found) == 6 * 4
    assert {"label", "score", "box"} == set(found[0])
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    values = metrics.compute()
    assert {"ap", "ap50", "ap75", "ap90", "ar100", "score_iou_correlation", "misranked_pairs"} <= set(values)
    module.results = {name: float(value) for name, value in values.items()}
    tables, figures = module.report(rows)
    assert [row["iou"] for row in tables["ap_by_iou"]][::3] == [0.5, 0.65, 0.8, 0.95]
    assert set(figures) == {"ap_by_iou"}
    assert module.picture(next(iter(made.test_dataloader()))).axes


def test_perfect_answers_give_perfect_figures(tiny, shapes, monkeypatch):
    module = tiny().eval()
    made = data(shapes)
    metrics = MetricCollection(module.build_metrics(), compute_groups=False)
    for batch in made.test_dataloader():
        logits = torch.full((len(batch["id"]), 6, 4), -9.0)
        boxes = torch.full((len(batch["id"]), 6, 4), 0.5)
        for row, target in enumerate(batch["targets"]):
            for query, (label, box) in enumerate(zip(target["labels"], target["boxes"], strict=True)):
                logits[row, query, label], boxes[row, query] = 5.0, box
        answer = SimpleNamespace(logits=logits, boxes=boxes)
        monkeypatch.setattr(module.network, "forward", lambda images, sizes, answer=answer: answer)
        module.evaluate_batch(batch, metrics)
    values = metrics.compute()
    assert float(values["ap"]) == pytest.approx(1, abs=1e-6)
    assert float(values["ap95"]) == pytest.approx(1, abs=1e-6)


def test_classes_that_do_not_fit(tiny, shapes):
    module = tiny()
    with pytest.raises(
        InputError, match=r"the data has 3 classes \(a, b, c\), the network 4: model.num_classes must be 3"
    ):
        module.set_classes(["a", "b", "c"])
    module.set_classes(["disc", "square", "star", "hexagon"])
    module._trainer = SimpleNamespace(datamodule=data(shapes))
    with pytest.raises(InputError, match="the model knows the classes disc, square, star, hexagon, the data"):
        module.on_test_start()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"high_order_from": 1.5}, r"model.high_order_from is a share in \[0, 1\] or a length .*, got 1.5"),
        ({"test_size": 100}, "model.test_size must be 1 to model.test_longest, got 100 and 96"),
        ({"threshold": 2.0}, r"model.threshold must be in \[0, 1\], got 2.0"),
        ({"lambda_one2many": -1.0}, "model.lambda_one2many must not be negative"),
        ({"classification": "gioux"}, "model.classification must be one of giou, varifocal, focal"),
    ],
)
def test_arguments_out_of_range(tiny, options, message):
    with pytest.raises(InputError, match=message):
        tiny(**options)
    with pytest.raises(InputError, match=r"model\.num_classes must be at least 1"):
        RankDETR(num_classes=0)


def test_everything_off_is_the_baseline(tiny, shapes):
    """No table of ranks is left, and the objective is focal."""
    off = {"rank_adaptive_head": False, "query_rank_layer": False, "classification": "focal", "high_order_cost": False}
    base, whole = tiny(**off), tiny()
    assert sum(p.numel() for p in base.parameters()) < sum(p.numel() for p in whole.parameters())
    batch = next(iter(data(shapes).train_dataloader()))
    terms = base.train().terms(batch)
    assert set(terms) == set(whole.train().terms(batch))
    assert base.objective.classification == "focal"


def test_a_loss_that_is_no_number_names_the_term_and_the_images(tiny, shapes):
    module = tiny().train()
    batch = next(iter(data(shapes).train_dataloader()))
    with torch.no_grad():
        module.network.query_embedding.weight.fill_(torch.nan)
    with pytest.raises(Exception, match=r"loss term .*loss_.* = nan at step 0 .*samples: 0000"):
        module.training_step(batch, 0)
