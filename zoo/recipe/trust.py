"""Which classes a recipe may name: all of them where the user named the file, few where it came in a checkpoint."""

from __future__ import annotations

from zoo.recipe.light import Frozen

ALLOWED = (
    "zoo",
    "torch.nn",
    "torch.optim",
    "lightning.pytorch.callbacks",
    "torchmetrics",
    "timm",
    "torchvision",
)


class Trust(Frozen):
    """How far a recipe is trusted.

    Attributes:
        whole: The user named the file: everything in it may be imported.
        modules: Modules that the user trusts by name (``--trust``).
    """

    whole: bool = True
    modules: tuple[str, ...] = ()

    def vouched(self, path: str) -> bool:
        """Whether the user vouches for a dotted path."""
        return self.whole or any(_under(path, module) for module in self.modules)

    def allows(self, path: str) -> bool:
        """Whether a dotted path may be imported at all."""
        return self.vouched(path) or any(_under(path, module) for module in ALLOWED)


def _under(path: str, module: str) -> bool:
    return path == module or path.startswith(f"{module}.")


def refusal(path: str) -> str:
    """What is said of a path that may not be imported."""
    listed = ", ".join(f"{module}." for module in ALLOWED)
    module = path.rpartition(".")[0] or path
    return (
        f"'{path}' is not imported: a recipe out of a checkpoint may only name classes of {listed}; "
        f"if you trust its code, add --trust {module}"
    )
