"""The shape of a recipe: its sections, what each builds, and what zoo keeps for itself."""

from __future__ import annotations

from zoo.recipe.classes import Classes
from zoo.recipe.kinds import Arguments, Field, Kind, Known, Limited, OneOf, Record, Simple, Slot, either, options
from zoo.recipe.light import Frozen
from zoo.recipe.modules import Outside
from zoo.recipe.symbols import Class, Symbols

SECTIONS = ("seed_everything", "trainer", "model", "data", "optimizer", "lr_scheduler")
REQUIRED = ("model", "data")
TRAINER = "lightning.pytorch.Trainer"


class Section(Frozen):
    """A section that holds one object.

    Attributes:
        base: What its class must descend from.
        given: Constructor arguments that are passed while running.
    """

    base: str
    given: frozenset[str] = frozenset()


OBJECTS = {
    "model": Section("zoo.training.ZooModule"),
    "data": Section("zoo.training.ZooData"),
    "optimizer": Section("torch.optim.Optimizer", frozenset({"params"})),
    "lr_scheduler": Section("torch.optim.lr_scheduler.LRScheduler", frozenset({"optimizer", "span"})),
}
OWNED = {
    "logger": "zoo writes TensorBoard events and metrics.csv into the run folder itself",
    "default_root_dir": "zoo names the run folder; see --name",
    "enable_checkpointing": "zoo always writes best.ckpt and last.ckpt",
    "enable_progress_bar": "zoo shows its own progress bar on a terminal",
    "use_distributed_sampler": "the data's own order already splits the samples among processes",
    "barebones": "it would switch off the checkpoints and logs that zoo needs",
    "fast_dev_run": "it would switch off the checkpoints that zoo needs; see --data.limit and --trainer.max_epochs",
}


_UNITS = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds")
_DURATION = Record("a duration", {unit: Field(Simple("float"), False) for unit in _UNITS})
_NULL = Simple("null")
_DDP = tuple(
    f"ddp{start}{unused}"
    for start in ("", "_spawn", "_fork", "_notebook")
    for unused in ("", "_find_unused_parameters_false", "_find_unused_parameters_true")
)
_DEEPSPEED = ("", "_stage_1", "_stage_2", "_stage_2_offload", "_stage_3", "_stage_3_offload", "_stage_3_offload_nvme")
_OTHERS = ("auto", "fsdp", "fsdp_cpu_offload", "single_device", "single_xla", "single_tpu", "xla", "xla_debug")
# the trainer's annotations say just "str" here, so that a misspelling would only show once the training starts
KNOWN: dict[str, Known] = {
    "accelerator": Known(("auto", "cpu", "gpu", "cuda", "mps", "tpu", "hpu", "ipu", "npu", "xpu")),
    "strategy": Known((*_OTHERS, *_DDP, *(f"deepspeed{stage}" for stage in _DEEPSPEED))),
    "profiler": Known(("simple", "advanced", "pytorch", "xla")),
    "gradient_clip_algorithm": Known(("norm", "value")),
}
BETTER: dict[str, Kind] = {
    "max_time": OneOf((Simple("str"), _DURATION, _NULL)),
    "val_check_interval": OneOf((Simple("int"), Simple("float"), Simple("str"), _DURATION, _NULL)),
}
SEED = Limited("int", "int from 0 to 4294967295", lambda value: isinstance(value, int) and 0 <= value < 2**32)


def find(symbols: Symbols, path: str) -> Class | Outside | None:
    """The class of a full path, None where it cannot be read."""
    first, *rest = path.split(".")
    found = symbols.finder.module(first)
    for part in rest:
        found = symbols.member(found, part) if found is not None else None  # type: ignore[assignment]
    return found if isinstance(found, Class | Outside) else None


def recipe_kind(classes: Classes) -> Record:
    """What a recipe as a whole may hold."""
    trainer = find(classes.symbols, TRAINER)
    arguments = Arguments(trainer if isinstance(trainer, Class) else None, "Trainer", OWNED, _better(classes, trainer))
    fields = {
        "seed_everything": Field(SEED, False),
        "trainer": Field(either([arguments, Simple("null")]), False),
    }
    for name, section in OBJECTS.items():
        slot = Slot(find(classes.symbols, section.base), section.base.rpartition(".")[2], section.given)
        required = name in REQUIRED
        fields[name] = Field(slot if required else either([slot, Simple("null")]), required)
    return Record("a recipe", fields, sections=True)


def _better(classes: Classes, trainer: Class | Outside | None) -> dict[str, Kind]:
    """The trainer's arguments about which more is known than their annotations say."""
    parameters = classes.signature(trainer).parameters if isinstance(trainer, Class) else {}
    better = dict(BETTER)
    for name, known in KNOWN.items():
        if name in parameters:
            kinds = options(classes.annotations.of(parameters[name]))
            better[name] = either([known if kind == Simple("str") else kind for kind in kinds])
    return better
