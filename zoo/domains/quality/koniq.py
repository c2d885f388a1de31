"""KonIQ-10k: photographs of the internet with a mean opinion score, in the official sets."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from zoo.domains.quality.data import Faces, QualityData, split_by_seed
from zoo.domains.quality.pairs import PARTNERS, Plan
from zoo.domains.quality.photos import Photo
from zoo.domains.quality.synthesis import synthesize_koniq
from zoo.domains.quality.tables import Line, Spare, distinct, read_table
from zoo.errors import InputError
from zoo.training import DataError, Split, refuse, usable

SETS: dict[str, Split] = {"training": "train", "validation": "val", "test": "test"}
OFFICIAL, SCORES, LIQE_LABELS = (
    "koniq10k_distributions_sets.csv",
    "koniq10k_scores_and_distributions.csv",
    "koniq10k_all_clip.txt",
)
_LIQE_COLUMNS = ("image", "MOS", "distortion", "scene", "scene 2", "scene 3")
IMAGES = ("1024x768", "512x384")
_SHARES = {"val": 0.1, "test": 0.2}  # where a table has no official sets


class Rated(NamedTuple):
    """A line of a table of KonIQ-10k.

    Attributes:
        image: File name.
        mos: Mean opinion score; 1 to 5 in LIQE's table, 0 to 100 in the official sets.
        split: Official set; None where the table has none.
        place: Table and line.
    """

    image: str
    mos: float
    split: Split | None
    place: str


def read_koniq(file: Path, spare: Spare = refuse) -> list[Rated]:
    """Reads any of the three tables that KonIQ-10k goes with, told apart by their names.

    Args:
        file: ``koniq10k_distributions_sets.csv`` (official sets), ``koniq10k_scores_and_distributions.csv``, or LIQE's
            ``koniq10k_all_clip.txt`` (tab-separated, no header).
        spare: What is done about a line that cannot be used; such a line is left out.

    Raises:
        DataError: A column is missing, a value is malformed, or an image stands twice; names file and line.
    """
    if file.suffix == ".txt":
        lines = read_table(file, (), "\t", _LIQE_COLUMNS, spare)

        def unsorted(line: Line) -> Rated:
            return Rated(PurePosixPath(line.text("image")).name, line.number_of("MOS"), None, line.place)

        return usable(distinct(lines, "image", spare), unsorted, spare)
    official = file.name == OFFICIAL
    lines = read_table(file, ("image_name", "MOS", "set") if official else ("image_name", "MOS"), spare=spare)

    def rated(line: Line) -> Rated:
        word = line.text("set") if official else ""
        if official and word not in SETS:
            raise DataError(f"{line.place}: set is {word!r}, expected {', '.join(SETS)}")
        return Rated(line.text("image_name"), line.number_of("MOS"), SETS.get(word), line.place)

    return usable(distinct(lines, "image_name", spare), rated, spare)


class KonIQ10k(QualityData):
    """KonIQ-10k (Hosu et al., TIP 2020): 10,073 photographs, one scale for all; 7,058, 1,000 and 2,015 officially.

    All images form one scene: their scores compare with each other.

    Args:
        root: Folder of the data.
        batch_size: Images per process and step with the plan ``batch``, pairs with ``csv`` and ``epoch``.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` such images, count and report them.
        split_seed: Shares images out (70, 10, 20 %) where the table at hand has no official sets.
        score_unit: What scores are divided by. Fidelity takes a difference of 1 for a clear one; the official sets
            count from 0 to 100, with a standard deviation of about 15.
        pairs: ``csv``, ``batch`` or ``epoch``, see :class:`zoo.domains.quality.data.QualityData`.
        pairs_file: Csv of pairs below the root, with the columns ``first`` and ``second``.
        partners: How often an image is the first of a pair in an epoch, where pairs are drawn.
        steps_per_epoch: Batches of an epoch; null for all.
        resize: Pixels of the shorter side before cutting.
        crop: Side of the squares that are cut.
        faces: ``none``, ``csv``, ``cascade`` or ``yunet``.
        boxes: Csv of face boxes, below the root.
        yunet: YuNet's onnx file.
        margin: Pixels by which a face box is enlarged on each side.
        aux: Folder of LIQE logits below the root; null leaves that input out.
    """

    dataset = "koniq10k"
    source = "https://database.mmsp-kn.de/koniq-10k-database.html; sets: https://github.com/subpic/koniq (metadata/)"
    terms = "photographs of YFCC100M under Creative Commons licences; scores free for research"
    layout = """
    1024x768/ (or 512x384/)                 the photographs, {number}.jpg
    koniq10k_distributions_sets.csv         image_name, c1 ... c5, c_total, MOS (0 to 100), SD, set
    koniq10k_scores_and_distributions.csv   image_name, ..., MOS (1 to 5), ...; read where the former is not there
    koniq10k_all_clip.txt                   LIQE's table: image, MOS (1 to 5), distortion, scenes; read last
    """
    sample = "*x*/*.jpg"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 16,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        split_seed: int = 0,
        score_unit: float = 1.0,
        pairs: Plan = "batch",
        pairs_file: str | None = None,
        partners: int = PARTNERS,
        steps_per_epoch: int | None = None,
        resize: int = 448,
        crop: int = 384,
        faces: Faces = "none",
        boxes: str | None = None,
        yunet: str | None = None,
        margin: int = 20,
        aux: str | None = None,
    ) -> None:
        super().__init__(root, batch_size, workers, synthesize, limit, on_error, pairs, pairs_file, partners,
                         1, steps_per_epoch, resize, crop, faces, boxes, yunet, margin, aux)  # fmt: skip
        if not score_unit > 0:
            raise InputError(f"data.score_unit must be above 0, got {score_unit}")
        self.split_seed, self.score_unit = split_seed, score_unit

    def photos(self, root: Path) -> list[Photo]:
        """All photographs.

        Raises:
            DataError: There is no table or no folder of images, or the table is malformed.
        """
        table = next((root / name for name in (OFFICIAL, SCORES, LIQE_LABELS) if (root / name).is_file()), None)
        if table is None:
            raise DataError(f"{root}: there is none of the tables {OFFICIAL}, {SCORES}, {LIQE_LABELS}")
        folder = next((name for name in IMAGES if (root / name).is_dir()), None)
        if folder is None:
            raise DataError(f"{root}: there is no folder of images, neither {IMAGES[0]} nor {IMAGES[1]}")
        rated = self.kept(read_koniq(table, self.spare), lambda one: f"{folder}/{one.image}")
        drawn = split_by_seed([one.image for one in rated], self.split_seed, **_SHARES)
        return [
            Photo(
                f"{folder}/{one.image}",
                root / folder / one.image,
                one.mos / self.score_unit,
                "all",
                f"{one.place} ({one.image})",
                one.split or drawn[one.image],
            )
            for one in rated
        ]

    def make(self, root: Path) -> None:
        """Writes tiny data in the same format."""
        synthesize_koniq(root, self.seed)
