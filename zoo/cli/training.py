"""Training by a recipe: checks everything first, then trains into a run folder."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli.resuming import alone, check_fit, check_last
from zoo.errors import InputError

if TYPE_CHECKING:
    from zoo.recipe import Recipe
    from zoo.training import ZooData, ZooModule

Overrides = Mapping[str, object] | Sequence[tuple[str, str]]


def train(
    recipe: str | Path,
    overrides: Overrides = (),
    name: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    *,
    init: str | Path | None = None,
    init_skip: Sequence[str] = (),
) -> Path:
    """Trains a model by a recipe.

    Args:
        recipe: A recipe file or its name.
        overrides: Recipe keys and their values, e.g. ``{"model.margin": 0.5, "trainer.max_epochs": 3}``.
        name: The run folder is ``runs/<name>``; the recipe's name by default.
        resume: Go on from ``last.ckpt``; from the start where a run was killed before it wrote one.
        overwrite: Delete an existing run folder first.
        init: A checkpoint or run folder whose weights the training starts from.
        init_skip: Regular expressions of tensors of ``init`` that need not fit.

    Returns:
        The run folder.

    Raises:
        InputError: The recipe, the data or the run folder is wrong; nothing was written.
        ZooError: The training stopped.
    """
    plan, text = checked(recipe, overrides)
    folder = Path("runs") / (name or plan.name)
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    if resume and init is not None:
        raise InputError("--resume and --init exclude each other: a resumed run has its own weights")
    if init_skip and init is None:
        raise InputError("--init-skip needs --init TARGET")
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    first = getattr(rank_zero_only, "rank", 0) == 0  # Lightning starts this command anew for every further process
    if first:
        _guard(folder, text, resume, overwrite)
    module, data = _build(plan, text)
    with alone(folder) if first else nullcontext():
        if first:
            print(_guard(folder, text, resume, overwrite), end="", file=sys.stderr)  # another may have ended meanwhile
            if resume and (folder / "last.ckpt").exists():
                check_fit(folder / "last.ckpt", module)
        if init is not None:
            from zoo.checkpoint import initialise
            from zoo.hub import locate

            skipped = initialise(module, locate(init), skip=init_skip)
            if first and skipped:
                print(f"--init-skip leaves {len(skipped)} tensors as built: {', '.join(skipped[:8])}", flush=True)
        options = overrides.items() if isinstance(overrides, Mapping) else overrides
        _run(plan, text, folder, module, data, resume, [(key, str(value)) for key, value in options] if first else None)
    return folder


def _run(
    plan: Recipe,
    text: str,
    folder: Path,
    module: ZooModule,
    data: ZooData,
    resume: bool,
    options: list[tuple[str, str]] | None,
) -> None:
    """Trains into a folder that is this training's own; ``options`` is None in the further processes of it."""
    from zoo.recipe import build_trainer_arguments
    from zoo.training import history
    from zoo.training.fit import prepare

    training = prepare(folder, _seed(plan), build_trainer_arguments(plan), resume)
    if options is not None:
        known = history.read(folder) if resume else {}
        _open(folder, text, resume, data.skipped)
        if not known:
            history.begin(folder, plan.name, options)
        count = sum(parameter.numel() for parameter in module.parameters())
        print(f"{folder}: {type(module).__name__}, {count:,} parameters, {type(data).__name__}", flush=True)
    started = time.monotonic()
    training.run(module, data)
    if options is not None:
        history.end(folder, time.monotonic() - started)
    checkpoints = training.checkpoints
    if options is not None and checkpoints.best is not None:
        print(f"best {module.monitor} {checkpoints.best:.4f} at step {checkpoints.best_step}: {folder / 'best.ckpt'}")


def checked(source: str | Path, overrides: Overrides) -> tuple[Recipe, str]:
    """Reads a recipe with overrides, refuses every mistake at once, and resolves it to text."""
    from zoo.recipe import RecipeError, check, read, text

    recipe = read(source, overrides)
    if mistakes := check(recipe, imports=True):  # they are imported in a moment anyway
        raise RecipeError(mistakes)
    for note in recipe.notes:
        print(f"note: {note}", file=sys.stderr, flush=True)
    return recipe, text(recipe)


def _seed(recipe: Recipe) -> int:
    return int(recipe.tree.get("seed_everything") or 0)


def _build(recipe: Recipe, text: str) -> tuple[ZooModule, ZooData]:
    """Builds the model and the data, and reads the data: what is wrong with it shows before anything is written."""
    import lightning.pytorch as pl

    from zoo.recipe import build_data, build_model, build_optimizer, build_scheduler
    from zoo.training import parameter_groups
    from zoo.training.fit import quiet

    quiet()
    pl.seed_everything(_seed(recipe), workers=True, verbose=False)
    module, data = build_model(recipe), build_data(recipe)
    module.recipe_text = text
    module.optimizer, module.lr_scheduler = build_optimizer(recipe), build_scheduler(recipe)
    data.items("train")
    data.items("val")
    data.train_dataloader()  # too few items for a batch show here
    module.set_classes(data.class_names)
    parameter_groups(module, module.groups, 1.0)  # a pattern that matches nothing shows here
    return module, data


def _guard(folder: Path, text: str, resume: bool, overwrite: bool) -> str:
    """Refuses to mix two runs in one folder; gives a line to tell, or none."""
    from zoo.training.whole import is_leftover

    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give another --name")
    # a run that was killed while it began leaves half a recipe behind, or nothing
    used = folder.is_dir() and any(not is_leftover(file) for file in folder.iterdir())
    if not used:
        if resume and not folder.is_dir():
            raise InputError(f"nothing to resume: {folder} does not exist")
        return ""
    last = folder / "last.ckpt"
    if resume and last.exists():
        check_last(last, text)
        return ""
    if not (folder / "recipe.yaml").is_file():
        raise InputError(f"{folder} exists and is no run folder (it has no recipe.yaml); give another --name")
    if resume or overwrite:
        return ""
    if any((folder / name).exists() for name in ("best.ckpt", "last.ckpt")):
        raise InputError(
            f"{folder} holds a run; --resume goes on with it, --overwrite deletes it, --name takes another"
        )
    return f"note: the run in {folder} ended before its first checkpoint; it starts anew\n"


def _clear(folder: Path) -> None:
    """Empties a run folder but for its recipe, which is overwritten next; one cut short leaves a run to start anew."""
    for name in ("last.ckpt", "best.ckpt"):
        (folder / name).unlink(missing_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != "recipe.yaml":
            entry.unlink()


def _open(folder: Path, text: str, resume: bool, skipped: Mapping[str, int]) -> None:
    """Makes the run folder with the recipe in it, and the list of data that was skipped."""
    from zoo.training.faults import listing, told
    from zoo.training.whole import write_whole

    if folder.is_dir() and not (resume and (folder / "last.ckpt").exists()):  # asked for, or there is no checkpoint
        _clear(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "recipe.yaml", text)
    if skipped:
        write_whole(folder / "skipped.txt", listing(skipped))
        print(f"skipped {told(skipped)}, listed in {folder / 'skipped.txt'}", flush=True)
