"""Which images are compared: pairs out of a file, fresh pairs each epoch, or all pairs of a scene in a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, get_args

import numpy as np

from zoo.domains.quality.tables import Line, Spare, read_table
from zoo.errors import InputError
from zoo.training import DataError, EpochOrder, refuse, usable
from zoo.training.order import Key, Times, cut

Plan = Literal["csv", "batch", "epoch"]
PLANS: tuple[str, ...] = get_args(Plan)
PARTNERS = 2  # the released file has every image twice as the first of a pair
SECOND = " second"
_SAME = 1e-4  # scores of a pair file and of the score table are the same number, printed by different programs


class Scored(NamedTuple):
    """What a pair file is checked against.

    Attributes:
        name: The image, as the table of scores writes it.
        scene: Its scene.
        score: Its score.
    """

    name: str
    scene: str
    score: float


def stem(name: str) -> str:
    """The name that pair files and tables share: no folder, no ending."""
    return PurePosixPath(name.replace("\\", "/")).stem


def fixed_pairs(scenes: Sequence[str], seed: int, partners: int = PARTNERS) -> np.ndarray:
    """Every image ``partners`` times as the first of a pair, the second one another image of its scene at random.

    So the released file was made, but that 71 of its 7,260 pairs hold an image twice, which teaches nothing.

    Args:
        scenes: Scene of each of N images.
        seed: Of the draw.
        partners: How often an image is first.

    Returns:
        ``(P, 2)`` indices of images. An image that is alone in its scene is in no pair.
    """
    rng = np.random.default_rng(seed)
    groups = _groups(scenes)
    pairs: list[tuple[int, int]] = []
    for first, scene in enumerate(scenes):
        others = groups[scene]
        own = int(np.searchsorted(others, first))
        for _ in range(partners if len(others) > 1 else 0):
            drawn = int(rng.integers(len(others) - 1))
            pairs.append((first, int(others[drawn + (drawn >= own)])))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _groups(scenes: Sequence[str]) -> dict[str, np.ndarray]:
    """Ascending indices of the images of each scene."""
    found: dict[str, list[int]] = {}
    for index, scene in enumerate(scenes):
        found.setdefault(scene, []).append(index)
    return {scene: np.array(rows) for scene, rows in found.items()}


def read_pairs(
    file: Path, known: Mapping[str, Scored], labels: str = "the scores", spare: Spare = refuse
) -> list[tuple[str, str]]:
    """Reads a file of pairs: the released columns, each a second time with `` second`` behind, or ``first,second``.

    Args:
        file: The csv.
        known: Every image of the data set by its stem, of all splits.
        labels: What the scores of ``known`` are, for messages.
        spare: What is done about a pair that cannot be used; such a pair is left out.

    Returns:
        Stems of the two images of each pair.

    Raises:
        DataError: An image is not known, the two are of different scenes, or the file's own score of an image is not
            that of ``known`` (then it is about another attribute); names file and line.
    """
    header = read_table(file, (), spare=spare)[0].values
    released = "IMAGE" + SECOND in header
    columns = ("IMAGE", "IMAGE" + SECOND) if released else ("first", "second")

    def pair(line: Line) -> tuple[str, str]:
        one, two = stem(line.text(columns[0])), stem(line.text(columns[1]))
        for name, score in ((one, "JOD"), (two, "JOD" + SECOND)):
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise DataError(f"{line.place}: there is no image {name!r} in the data set{hint}")
            if score in header and abs(line.number_of(score) - known[name].score) > _SAME:
                raise DataError(
                    f"{line.place}: {score} of {name} is {line.number_of(score):.6g}, in {labels} it is "
                    f"{known[name].score:.6g}; are these pairs of another attribute?"
                )
        if known[one].scene != known[two].scene:
            raise DataError(
                f"{line.place}: {one} is of scene {known[one].scene}, {two} of {known[two].scene}; "
                "only images of one scene can be compared"
            )
        return one, two

    return usable(read_table(file, columns, spare=spare), pair, spare)


class PairOrder(EpochOrder):
    """Batches of pairs: the first images of all pairs, then the second ones.

    Args:
        scenes: Scene of each sample.
        batch_size: Pairs per process and step.
        seed: Seed of the training.
        rank: This process.
        world_size: Number of processes.
        pairs: ``(P, 2)`` positions, the same in every epoch; None draws ``partners`` fresh ones per image and epoch.
        partners: How often an image is first in an epoch, where pairs are drawn.
        steps: Batches of an epoch; None for all pairs once. More than there are go through them again.
    """

    def __init__(
        self,
        scenes: Sequence[str],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        pairs: np.ndarray | None = None,
        partners: int = PARTNERS,
        steps: int | None = None,
    ) -> None:
        super().__init__(len(scenes), batch_size, seed, rank, world_size)
        self.scenes, self.pairs, self.partners, self.steps = scenes, pairs, partners, steps

    def global_batches(self, epoch: int) -> list[np.ndarray]:
        """``(n, 2)`` occurrences of the two images of each pair, a batch of all processes per step."""
        step = self.batch_size * self.world_size
        wanted = None if self.steps is None else self.steps * step
        chosen: list[np.ndarray] = []
        count, turn = 0, 0
        while not chosen or (wanted is not None and count < wanted):
            rng = np.random.default_rng([self.seed, epoch, turn])
            draw = int(rng.integers(2**63 - 1))
            pairs = self.pairs if self.pairs is not None else fixed_pairs(self.scenes, draw, self.partners)
            if not len(pairs):
                return []
            chosen.append(pairs[rng.permutation(len(pairs))])
            count, turn = count + len(pairs), turn + 1
        times = Times(self.size)
        ordered = np.array([times(int(place)) for place in np.concatenate(chosen)[:wanted].reshape(-1)]).reshape(-1, 2)
        return cut(ordered, self.batch_size, self.world_size)

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self.epoch
        for batch in self.global_batches(epoch)[self.start :]:
            own = batch[self.rank :: self.world_size]
            yield [(epoch, int(place)) for place in own.T.reshape(-1)]


class SceneOrder(EpochOrder):
    """Scene-balanced batches: equally many images of each of several scenes, and all scenes equally often.

    In an epoch every scene comes equally often (give or take one), and so does every image of a scene. A scene with
    fewer images than its share of a batch gives all it has.

    Args:
        scenes: Scene of each sample.
        batch_size: Images per process and step.
        seed: Seed of the training.
        rank: This process.
        world_size: Number of processes; a step takes ``per_batch * world_size`` scenes, each shared out to all.
        per_batch: Scenes per process and step.
        steps: Batches of an epoch; None for as many as take in all images.

    Raises:
        InputError: There are too few scenes, or a scene's share of the batch is below two images.
    """

    def __init__(
        self,
        scenes: Sequence[str],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        per_batch: int = 1,
        steps: int | None = None,
    ) -> None:
        super().__init__(len(scenes), batch_size, seed, rank, world_size)
        self.groups = list(_groups(scenes).values())
        self.slots = per_batch * world_size
        self.share = batch_size // per_batch
        if self.share < 2:
            raise InputError(
                f"data.batch_size {batch_size} with data.scenes_per_batch {per_batch} leaves {self.share} image per "
                "scene; nothing could be compared, at least 2 are needed"
            )
        if self.slots > len(self.groups):
            raise InputError(
                f"data.scenes_per_batch {per_batch} on {world_size} processes needs {self.slots} scenes in a batch, "
                f"the training images are of {len(self.groups)}"
            )
        self.steps = steps if steps is not None else -(-len(scenes) // (self.share * self.slots))

    def global_batches(self, epoch: int) -> list[np.ndarray]:
        """Occurrences of the samples of all processes, the images of a scene side by side."""
        rng = np.random.default_rng([self.seed, epoch])
        scenes = _Cycle(np.arange(len(self.groups)), rng)
        images = [_Cycle(rows, rng) for rows in self.groups]
        times = Times(self.size)
        return [
            np.array([times(place) for scene in scenes.take(self.slots) for place in images[scene].take(self.share)])
            for _ in range(self.steps)
        ]


class _Cycle:
    """Gives values in random order, round after round; no value twice in one take."""

    def __init__(self, values: np.ndarray, rng: np.random.Generator) -> None:
        self.values, self.rng = values, rng
        self.left: list[int] = []

    def take(self, count: int) -> list[int]:
        count = min(count, len(self.values))
        if len(self.left) >= count:
            taken, self.left = self.left[:count], self.left[count:]
            return taken
        taken = self.left
        fresh = [int(value) for value in self.rng.permutation(self.values)]
        later = [value for value in fresh if value in taken]  # these have just been given: they wait
        fresh = [value for value in fresh if value not in taken]
        taken, self.left = taken + fresh[: count - len(taken)], fresh[count - len(taken) :] + later
        return taken
