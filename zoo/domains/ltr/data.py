"""MQ2008 of LETOR 4.0: queries with their documents, in the official folds; synthesized data in the same format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from zoo.domains.ltr.letor import Query, read_letor
from zoo.domains.ltr.synthetic import FEATURES, PARTS, QUERIES, synthesize
from zoo.errors import InputError
from zoo.training import DataError, Items, Split, ZooData

GRADES = 3
_FILES: dict[Split, str] = {"train": "train.txt", "val": "vali.txt", "test": "test.txt"}


class Queries:
    """Queries by index.

    Args:
        queries: What :func:`zoo.domains.ltr.letor.read_letor` gives.
    """

    def __init__(self, queries: list[Query]) -> None:
        self.queries = queries

    def __len__(self) -> int:
        return len(self.queries)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """One query: ``id``, ``index``, ``features`` ``(N, F)``, ``target`` ``(N,)``, ``documents`` (N names).

        Raises:
            DataError: One of its lines is malformed; names file and line.
        """
        query = self.queries[index]
        if query.error is not None:
            raise query.error
        return {
            "id": query.qid,
            "index": index,
            "features": torch.from_numpy(query.features),
            "target": torch.from_numpy(query.target),
            "documents": query.documents,
        }


def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
    """Pads queries to the longest of the batch.

    Returns:
        ``features (B, N, F)`` and ``target (B, N)`` with zeros where nothing is real, ``mask (B, N)`` (True = real),
        ``index (B,)``, and the lists ``id`` and ``documents``.
    """
    sizes = torch.tensor([len(item["target"]) for item in batch])
    return {
        "id": [item["id"] for item in batch],
        "index": torch.tensor([item["index"] for item in batch]),
        "features": _pad([item["features"] for item in batch]),
        "target": _pad([item["target"] for item in batch]),
        "mask": torch.arange(int(sizes.max())) < sizes.unsqueeze(1),
        "documents": [item["documents"] for item in batch],
    }


def _pad(tensors: list[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)


class MQ2008(ZooData):
    """MQ2008, the supervised set of the TREC 2008 Million Query track in LETOR 4.0 (Qin and Liu, arXiv:1306.2597).

    784 queries, 15,211 documents of 46 features with the grades 0, 1 and 2. Fold k trains on three of the parts S1 to
    S5, validates on the next and tests on the last. The features are scaled to [0, 1] within each query already
    (checked: minimum 0 and maximum 1, or constant, in every query), so nothing is normalised here.

    Args:
        root: Folder with S1.txt to S5.txt, or with Fold1/train.txt, vali.txt, test.txt and so on.
        batch_size: Queries per process and training step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only this many queries of each split.
        on_error: ``stop`` at the first malformed line, or ``skip`` the queries that have one, count and report them.
        fold: Official fold, 1 to 5.
    """

    domain = "ltr"
    dataset = "mq2008"
    source = "https://www.microsoft.com/en-us/research/project/letor-learning-rank-information-retrieval/ (MQ2008.rar)"
    terms = "licence of LETOR by Microsoft Research, for research use"
    sample = "S*.txt"
    layout = """
    S1.txt ... S5.txt             a document per line: label qid:Q 1:v 2:v ... 46:v #docid = D inc = I prob = P
    Fold1/{train,vali,test}.txt   the same by official fold, up to Fold5; read instead of S1 to S5 where it is there
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 32,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        fold: int = 1,
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error)
        if not 1 <= fold <= PARTS:
            raise InputError(f"data.fold must be 1 to {PARTS}, got {fold}")
        self.fold = fold

    def read(self, root: Path, split: Split) -> Items:
        """The queries of one split of the fold.

        Raises:
            DataError: A file is missing or a line malformed; names file and line.
        """
        queries: dict[str, Query] = {}
        for file in split_files(root, self.fold, split):
            for query in read_letor(file, FEATURES, GRADES, self.on_error == "stop", self.spare):
                if query.qid in queries:
                    self.spare(DataError(f"{query.place}: query {query.qid} stands at {queries[query.qid].place} too"))
                    continue
                queries[query.qid] = query
        return Queries(list(queries.values()))

    def collate(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Pads queries to the longest of the batch, see :func:`collate`."""
        return collate(batch)

    def make(self, root: Path) -> None:
        """Writes tiny data in the official format."""
        synthesize(root, seed=self.seed)

    def synthetic_arguments(self) -> dict[str, Any]:
        """The seed; the size, so that a set left in the cache by an earlier version is not taken for this one."""
        return {"seed": self.seed, "queries": PARTS * QUERIES}


def split_files(root: Path, fold: int, split: Split) -> list[Path]:
    """The files of one split of an official fold.

    Args:
        root: Folder of the data.
        fold: 1 to 5.
        split: Which part: three of S1 to S5 for training, the next for validation, the last for testing, going round.

    Raises:
        DataError: Neither layout is complete.
    """
    whole = root / f"Fold{fold}" / _FILES[split]
    if whole.parent.is_dir():
        files = [whole]
    else:
        parts = [(fold - 1 + step) % PARTS + 1 for step in range(PARTS)]
        chosen = {"train": parts[:3], "val": parts[3:4], "test": parts[4:]}[split]
        files = [root / f"S{part}.txt" for part in chosen]
    missing = [str(file.relative_to(root)) for file in files if not file.is_file()]
    if missing:
        both = f"S1.txt to S5.txt, or Fold{fold}/train.txt, vali.txt and test.txt"
        raise DataError(f"{root}: no {', '.join(missing)}; fold {fold} of MQ2008 needs {both}")
    return files
