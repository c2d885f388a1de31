"""Work of the zoo and of its peers, timed side by side: ``zoo bench``."""

from zoo.bench.timing import PLACED, ROUNDS, SUBJECTS, Timing, cases, check_device, free_memory, run

__all__ = ["PLACED", "ROUNDS", "SUBJECTS", "Timing", "cases", "check_device", "free_memory", "run"]
