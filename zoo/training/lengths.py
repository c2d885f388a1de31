"""Lengths of a schedule as a recipe writes them: ``"5 epochs"`` or ``"500 steps"``."""

from __future__ import annotations

from typing import NamedTuple

from jsonargparse.typing import restricted_string_type

Length = restricted_string_type("Length", r"^\d+(\.\d+)? (epochs?|steps?)$", docstring="'5 epochs' or '500 steps'")


class Span(NamedTuple):
    """How long a training is, in optimizer steps.

    Attributes:
        steps_per_epoch: Optimizer steps in one epoch, >= 1.
        total_steps: Optimizer steps of the whole training, >= 1.
    """

    steps_per_epoch: int
    total_steps: int

    def steps(self, length: str) -> int:
        """Converts a length to optimizer steps.

        Args:
            length: ``"5 epochs"``, ``"0.5 epochs"`` or ``"500 steps"``.

        Returns:
            The number of optimizer steps, rounded to the nearest.

        Raises:
            ValueError: The text is no length.
        """
        number, _, unit = Length(length).partition(" ")
        return round(float(number) * (self.steps_per_epoch if unit.startswith("epoch") else 1))
