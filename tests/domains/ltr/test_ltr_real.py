"""MQ2008 itself: counts, folds, scaling of the features, and a short training that beats BM25."""

from functools import partial

import pytest
import torch

from zoo.domains.ltr import MQ2008, MLPRanker
from zoo.metrics import NDCG
from zoo.ranking import LambdaNDCG
from zoo.training.fit import build_trainer, quiet

pytestmark = pytest.mark.realdata
BM25 = 24  # feature 25: BM25 of the whole document


@pytest.fixture
def fold(real_data) -> MQ2008:
    return MQ2008(root=str(real_data / "ltr" / "mq2008"), fold=1)


def test_counts_and_scaling(fold):
    queries = documents = 0
    grades = set()
    for split in ("train", "val", "test"):
        items = fold.items(split)
        queries += len(items)
        for index in range(len(items)):
            item = items[0, index]
            documents += len(item["target"])
            grades |= set(item["target"].tolist())
            low, high = item["features"].min(0).values, item["features"].max(0).values
            assert ((low == 0) & (high == 1) | (low == high)).all(), item["id"]
    assert (queries, documents, grades) == (784, 15211, {0, 1, 2})


def test_test_parts_of_the_folds_are_the_whole(fold):
    seen: set[str] = set()
    for number in range(1, 6):
        items = MQ2008(root=fold.root, fold=number).items("test")
        names = {items[0, index]["id"] for index in range(len(items))}
        assert not names & seen
        seen |= names
    assert len(seen) == 784


def test_beats_bm25_after_three_epochs(fold):
    quiet()
    torch.manual_seed(0)
    module = MLPRanker(LambdaNDCG())
    module.optimizer = partial(torch.optim.Adam, lr=3e-3)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = build_trainer({"max_epochs": 3, "num_sanity_val_steps": 0, **options})
    trainer.fit(module, datamodule=fold)
    trainer.test(module, datamodule=fold, verbose=False)
    bm25 = NDCG()
    for batch in fold.test_dataloader():
        bm25.update(batch["features"][..., BM25], batch["target"], batch["mask"])
    assert module.results["ndcg10"] > float(bm25.compute()) + 0.03
    assert module.results["ndcg10"] < 1 - 51 / 156  # 51 of the 156 queries have no relevant document and count 0
