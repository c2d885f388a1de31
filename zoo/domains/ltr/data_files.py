"""A user's own queries in the LETOR text format, in one file or in three."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.domains.ltr.data import GRADES, Queries, collate
from zoo.domains.ltr.letor import Query, read_letor
from zoo.domains.ltr.synthetic import FEATURES, PARTS, QUERIES, synthesize
from zoo.errors import InputError
from zoo.training import DataError, Items, Split, ZooData, usable


class LetorFiles(ZooData):
    """Your own queries: text files in the LETOR format, a document per line.

    Features enter as they stand; scale each to [0, 1] within its query, as LETOR's are.

    Args:
        root: Folder of the files.
        batch_size: Queries per process and training step.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only this many queries of each split.
        on_error: ``stop`` at the first malformed line, or ``skip`` the queries that have one, count and report them.
        features: Features of a document, all given on every line.
        grades: Labels are 0 to this number less one.
        train: File of the training queries.
        val: File of the validation queries; null holds out ``val_fraction`` of the training queries.
        test: File of the test queries; null holds out ``test_fraction`` of the training queries.
        val_fraction: In (0, 1).
        test_fraction: In (0, 1).
        split_seed: Which queries are held out.

    Raises:
        InputError: An argument is out of range.
    """

    domain = "ltr"
    dataset = "letor_files"
    source = "your own queries"
    terms = "yours"
    sample = "test.txt"
    layout = """
    train.txt   a document per line: label qid:Q 1:v 2:v ... F:v #docid = D; the lines of a query stand together
    vali.txt    likewise, or --data.val null: held out from the training queries
    test.txt    likewise, or --data.test null
    """

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 32,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        features: int = FEATURES,
        grades: int = GRADES,
        train: str = "train.txt",
        val: str | None = "vali.txt",
        test: str | None = "test.txt",
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error)
        if features < 1 or grades < 2:
            raise InputError(f"data.features must be at least 1 and data.grades at least 2, got {features}, {grades}")
        for name, share in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
            if not 0 < share < 1:
                raise InputError(f"data.{name} must be in (0, 1), got {share}")
        self.features, self.grades, self.split_seed = features, grades, split_seed
        self.files: dict[Split, str | None] = {"train": train, "val": val, "test": test}
        self.shares: dict[Split, float] = {"val": val_fraction, "test": test_fraction}

    def read(self, root: Path, split: Split) -> Items:
        """The queries of one split.

        Raises:
            DataError: A file is missing or a line malformed; names file and line; or too few queries to hold some out.
        """
        own = self.files[split]
        if own is not None and split != "train":
            return Queries(self._queries(root / own))
        queries = self._queries(root / str(self.files["train"]))
        order = np.random.default_rng(self.split_seed).permutation(len(queries))
        held: dict[Split, np.ndarray] = {}
        for name in ("test", "val"):
            if self.files[name] is None:
                count = max(1, round(self.shares[name] * len(queries)))
                held[name], order = order[:count], order[count:]
        if not len(order):
            raise DataError(f"{root}: {len(queries)} queries are too few to hold out {' and '.join(held)} queries")
        chosen = order if split == "train" else held[split]
        return Queries([queries[place] for place in sorted(chosen.tolist())])

    def _queries(self, file: Path) -> list[Query]:
        queries = read_letor(file, self.features, self.grades, self.on_error == "stop", self.spare)
        return usable(queries, _sound, self.spare)  # which are held out depends on how many there are

    def collate(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Pads queries to the longest of the batch, see :func:`zoo.domains.ltr.data.collate`."""
        return collate(batch)

    def make(self, root: Path) -> None:
        """Writes tiny data in the format, three parts of five for training."""
        if self.features != FEATURES or self.grades != GRADES:
            raise InputError(f"made-up queries have {FEATURES} features and {GRADES} grades")
        synthesize(root, seed=self.seed)
        parts = [root / f"S{part}.txt" for part in range(1, PARTS + 1)]
        for name, chosen in (("train.txt", parts[:3]), ("vali.txt", parts[3:4]), ("test.txt", parts[4:])):
            (root / name).write_text("".join(part.read_text(encoding="utf-8") for part in chosen), encoding="utf-8")
        for part in parts:
            part.unlink()

    def synthetic_arguments(self) -> dict[str, Any]:
        """The seed and the size."""
        return {"seed": self.seed, "queries": PARTS * QUERIES}


def _sound(query: Query) -> Query:
    if query.error is not None:
        raise query.error
    return query
