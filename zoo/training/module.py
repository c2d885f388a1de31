"""ZooModule: what every domain's Lightning module inherits: steps, metrics, parameter groups, prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import Metric, MetricCollection

from zoo._version import __version__
from zoo.errors import InputError, ZooError
from zoo.layers import ImageSteps, pretrained_allowed
from zoo.training.groups import ParameterGroup, parameter_groups
from zoo.training.lengths import Span
from zoo.training.parts import fill_parts
from zoo.training.schedules import Schedule

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Batch = dict[str, Any]
Row = dict[str, Any]


class NonFiniteLoss(ZooError):
    """A loss term is NaN or infinite."""


class ZooModule(pl.LightningModule):
    """Base of every method. A domain sets ``self.network`` and writes the methods of the first block.

    Attributes:
        domain: Folder of the domain under ``zoo/domains``.
        suffixes: Endings of the files that :meth:`predict_file` takes, e.g. ``(".npy",)``.
        requests: Which further options of ``zoo predict`` the method answers (:meth:`predict_request`), out of
            ``gallery``, ``query``, ``outfit``, ``complete``, ``boxes``, ``top``.
        file_requests: Those of them that go along with files; :meth:`predict_file` finds them in :attr:`wishes`.
        wishes: The options that were given to ``zoo predict`` beside files.
        beside: Where :meth:`predict_file` may write files beside the picture: its path without an ending; None where
            nothing is written.
        export_dynamic: Dimensions of the inputs that an exported network leaves open, beside the batch.
        export_refusal: Why the network cannot be exported; empty where it can.
        unit: Column of the rows that names an independent unit of the test data (an item, or a scene of several).
        smaller_is_better: Patterns of metrics of which less is better, e.g. ``("*ece*", "nll*")``.
        network: The pure ``nn.Module``; takes tensors, returns a named output.
        class_names: Names of the classes, taken from the data or the checkpoint.
        card: What the checkpoint says of itself (recipe, version, metrics); empty before training.
        optimizer: Callable of parameter groups, from the recipe.
        lr_scheduler: Callable of an optimizer, from the recipe; None for a constant rate.

    Args:
        monitor: The metric that picks ``best.ckpt``, e.g. ``"val/auc"``.
        mode: Whether more or less of it is better.
        groups: Parameter groups, see :func:`zoo.training.parameter_groups`.
    """

    domain: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    requests: ClassVar[tuple[str, ...]] = ()
    file_requests: ClassVar[tuple[str, ...]] = ()
    export_dynamic: ClassVar[dict[str, tuple[int, ...]]] = {}
    export_refusal: ClassVar[str] = ""
    unit: ClassVar[str] = "id"
    smaller_is_better: ClassVar[tuple[str, ...]] = ()
    network: nn.Module

    def __init__(self, monitor: str, mode: Literal["min", "max"], groups: list[ParameterGroup] | None = None) -> None:
        super().__init__()
        self.monitor, self.mode, self.groups = monitor, mode, groups or []
        self.class_names: list[str] = []
        self.card: dict[str, Any] = {}
        self.optimizer: Callable[..., torch.optim.Optimizer] | None = None
        self.lr_scheduler: Callable[..., Any] | None = None
        self.recipe_text = ""
        self.rows: list[Row] | None = None
        self.wishes: Mapping[str, Any] = {}
        self.beside: Path | None = None
        self.results: dict[str, float] = {}
        self._metrics: dict[str, MetricCollection] = {}

    # -- what a domain writes

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Runs the network on a training batch and gives the weighted loss terms; their sum is the loss.

        Args:
            batch: What the data's ``collate`` gives, with the sample ids under ``id``.

        Returns:
            Scalars by name; each is logged as ``train/<name>``.
        """
        raise ZooError(f"{type(self).__name__} defines no loss terms")

    def build_metrics(self) -> dict[str, Metric]:
        """Fresh metrics of one evaluation, by the name they are reported under."""
        raise ZooError(f"{type(self).__name__} defines no metrics")

    def evaluate_batch(self, batch: Batch, metrics: MetricCollection) -> list[Row]:
        """Runs the network on an evaluation batch and updates the metrics.

        Args:
            batch: What the data's ``collate`` gives.
            metrics: The collection to update.

        Returns:
            One row per item, as ``zoo eval --predictions`` writes them.
        """
        raise ZooError(f"{type(self).__name__} cannot be evaluated")

    def predict_file(self, file: Path) -> tuple[list[Row], Figure]:
        """Predicts on one file of a user.

        Args:
            file: An existing file with one of :attr:`suffixes`.

        Returns:
            The rows of the table and the picture.

        Raises:
            InputError: The file cannot be used; names it.
        """
        raise InputError(f"{type(self).__name__} cannot predict on files ({file})")

    def is_item(self, folder: Path) -> bool:
        """Whether a folder that a user names is one input (the frames of a video), not a place to look for files."""
        return False

    def predict_request(self, request: Mapping[str, Any], out: Path | None) -> tuple[list[Row], dict[str, Figure]]:
        """Answers options of ``zoo predict`` such as ``--gallery FOLDER --query TEXT``.

        Args:
            request: The given options out of :attr:`requests`: ``gallery`` a Path, ``query`` texts, ``outfit`` Paths,
                ``complete`` a text, ``boxes`` a Path, ``top`` a number.
            out: Folder of the predictions, for files beside the table; None where nothing is written.

        Returns:
            The rows of the table, and pictures by name.

        Raises:
            InputError: The request cannot be answered.
        """
        raise InputError(f"{type(self).__name__} takes files, not --{', --'.join(request)}")

    def arrange(self, rows: list[Row]) -> list[Row]:
        """The rows of ``zoo predict`` in the order of the table, e.g. from best to worst; as found by default.

        Args:
            rows: In the order of the inputs, each with its ``file``.
        """
        return rows

    def report(self, rows: list[Row]) -> tuple[dict[str, list[Row]], dict[str, Figure]]:
        """Further tables and pictures of an evaluation, which ``zoo eval --out`` writes as NAME.csv and NAME.png.

        Args:
            rows: Of all items, as :meth:`evaluate_batch` gives them, in the order of the data.

        Returns:
            Rows by the name of their table, and pictures by name.
        """
        return {}, {}

    @classmethod
    def measured(cls, rows: pd.DataFrame, protocol: str) -> dict[str, float]:
        """Those metrics that follow from the rows of an evaluation alone; resampling them gives intervals.

        Args:
            rows: As ``zoo eval --predictions`` writes them, or a resample of them.
            protocol: :attr:`protocol` of the evaluation.

        Returns:
            Values by the names of :meth:`build_metrics`; NaN where a resample leaves one undefined.
        """
        return {}

    @classmethod
    def costs(cls, rows: pd.DataFrame) -> pd.Series | None:
        """How wrong the model is about each row, more is worse; None where a method does not say."""
        return None

    def overview(self, rows: list[Row]) -> Figure | None:
        """One picture of all that ``zoo predict`` found, e.g. images from best to worst; None where there is none.

        Args:
            rows: Of the table, each with its ``file``.
        """
        return None

    def documents(self, rows: list[Row]) -> dict[str, str]:
        """Texts that ``zoo predict`` writes beside the table, by file name, e.g. the same in another format.

        Args:
            rows: Of the table, each with its ``file``.
        """
        return {}

    def parts(self) -> dict[str, nn.Module]:
        """Parts of the network that ``model.init_args.init_from`` can fill, by name."""
        return {}

    def start_from(self, files: Mapping[str, str] | None) -> None:
        """Fills parts of the network from part files, unless a checkpoint is being loaded.

        Args:
            files: ``model.init_args.init_from``.

        Raises:
            InputError: A file does not fit its part; names the tensor.
        """
        if files and pretrained_allowed():
            fill_parts(self.parts(), files, self.domain)

    def export_inputs(self) -> dict[str, Tensor]:
        """Example inputs of :attr:`network` by argument name, two items in their first dimension."""
        raise InputError(f"{type(self).__name__} cannot be exported: {self.export_refusal or 'it names no inputs'}")

    def image_steps(self) -> ImageSteps | None:
        """What ``zoo export --images`` puts around the network; None for a method that takes no single images."""
        return None

    def picture(self, batch: Batch) -> Figure | None:
        """Draws an evaluation batch and the network's output for it; None where a method has no picture."""
        return None

    def set_classes(self, names: list[str]) -> None:
        """Takes the class names of the data; a domain with a head per class checks their number.

        Raises:
            InputError: The network has another number of classes.
        """
        self.class_names = list(names)

    @property
    def preprocess(self) -> dict[str, Any]:
        """What must happen to a user's input before the network, as plain values; stands in every checkpoint."""
        return {}

    @property
    def protocol(self) -> str:
        """Name of the evaluation protocol in force."""
        return "default"

    # -- steps

    def forward(self, *inputs: Any) -> Any:
        """The network's output."""
        return self.network(*inputs)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """One loss, checked: a term that is not finite stops the training and names the samples."""
        terms = self.terms(batch)
        if not torch.isfinite(torch.stack([term.detach().float() for term in terms.values()])).all():
            self._stop(terms, batch, batch_idx)
        loss = torch.stack(list(terms.values())).sum()
        return {"loss": loss, "terms": {name: term.detach() for name, term in terms.items()}}

    def _stop(self, terms: dict[str, Tensor], batch: Batch, batch_idx: int) -> None:
        bad = ", ".join(f"{name} = {term.item()}" for name, term in terms.items() if not torch.isfinite(term))
        ids = [str(value) for value in batch.get("id", [])]
        shown = ", ".join(ids[:64]) + (f" and {len(ids) - 64} more" if len(ids) > 64 else "")
        raise NonFiniteLoss(
            f"loss term {bad} at step {self.global_step} (epoch {self.current_epoch}, batch {batch_idx}); "
            f"samples: {shown or 'without ids'}"
        )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Updates the validation metrics."""
        self.evaluate_batch(batch, self._metrics["val"])

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Updates the test metrics; keeps the rows where they are asked for (``self.rows`` is a list)."""
        rows = self.evaluate_batch(batch, self._metrics["test"])
        if self.rows is not None:
            self.rows.extend(rows)

    def on_validation_epoch_start(self) -> None:
        """Fresh metrics."""
        self._start("val")

    def on_test_epoch_start(self) -> None:
        """Fresh metrics."""
        self._start("test")

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics as ``val/<name>``."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Keeps the test metrics in :attr:`results`, and the rows of all processes in the order of the data."""
        self.results = self._finish("test")
        if self.rows is not None and self.trainer.world_size > 1:
            shares: list[list[Row]] = [[] for _ in range(self.trainer.world_size)]
            torch.distributed.all_gather_object(shares, self.rows)
            # process r has the items r, r + world_size, ... (see EvaluationOrder)
            self.rows = [row for turn in zip_longest(*shares) for row in turn if row is not None]

    def _start(self, stage: str) -> None:
        collection: Any = self.build_metrics()
        self._metrics[stage] = MetricCollection(collection, compute_groups=False).to(self.device)

    def _finish(self, stage: str) -> dict[str, float]:
        values = {name: float(value) for name, value in self._metrics.pop(stage).compute().items()}
        self.log_dict({f"{stage}/{name}": value for name, value in values.items()}, logger=False)
        return values

    # -- optimization

    def configure_optimizers(self) -> Any:
        """Builds the recipe's optimizer over the parameter groups, and its schedule per optimizer step."""
        if self.optimizer is None:
            raise InputError("the recipe has no optimizer; add optimizer: {class_path: torch.optim.Adam}")
        groups = parameter_groups(self, self.groups, self._learning_rate(self.optimizer))
        try:
            optimizer = self.optimizer(groups)
        except (TypeError, ValueError) as error:
            raise InputError(f"optimizer: {error}") from error
        if self.lr_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self._schedule(self.lr_scheduler, optimizer)}

    @staticmethod
    def _learning_rate(factory: Callable[..., torch.optim.Optimizer]) -> float | None:
        if isinstance(factory, partial) and "lr" in factory.keywords:
            return float(factory.keywords["lr"])
        defaults = factory([nn.Parameter(torch.zeros(1))]).defaults
        return float(defaults["lr"]) if "lr" in defaults else None

    def _schedule(self, factory: Callable[..., Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        kind = factory.func if isinstance(factory, partial) else factory
        if isinstance(kind, type) and issubclass(kind, Schedule):
            self.trainer.fit_loop.setup_data()  # with max_steps alone, Lightning does not count the batches by itself
            total, batches = self.trainer.estimated_stepping_batches, int(self.trainer.num_training_batches)
            if total == float("inf"):
                raise InputError(f"{kind.__name__} needs to know the length: give trainer.max_epochs or max_steps")
            steps = -(-batches // self.trainer.accumulate_grad_batches)
            return {"scheduler": factory(optimizer, Span(max(1, steps), max(1, int(total)))), "interval": "step"}
        scheduler = factory(optimizer)
        if isinstance(scheduler, ReduceLROnPlateau):
            return {"scheduler": scheduler, "interval": "epoch", "monitor": self.monitor}
        return {"scheduler": scheduler, "interval": "step"}

    # -- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what makes a checkpoint describe itself; only tensors and plain values."""
        checkpoint["zoo_recipe"] = self.recipe_text
        checkpoint["zoo_version"] = __version__
        checkpoint["zoo_classes"] = list(self.class_names)
        checkpoint["zoo_preprocess"] = self.preprocess
        metrics = self.trainer.callback_metrics
        checkpoint["zoo_metrics"] = {name: float(value) for name, value in metrics.items()}
