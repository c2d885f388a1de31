"""Work of the zoo and of its peers, timed side by side: ``zoo bench``."""

from zoo.bench.timing import ROUNDS, SUBJECTS, Timing, cases, free_memory, run

__all__ = ["ROUNDS", "SUBJECTS", "Timing", "cases", "free_memory", "run"]
