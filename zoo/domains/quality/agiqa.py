"""AGIQA-3K: images made by six text-to-image models, with opinion scores of quality and of fit to the prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, get_args

from zoo.domains.quality.data import Faces, QualityData, require_word, split_by_seed
from zoo.domains.quality.pairs import PARTNERS, Plan
from zoo.domains.quality.photos import Photo
from zoo.domains.quality.synthesis import synthesize_agiqa
from zoo.domains.quality.tables import Line, Spare, distinct, read_table
from zoo.training import DataError, refuse, usable

Score = Literal["quality", "align"]
SCORES: tuple[str, ...] = get_args(Score)
TABLES = ("data.csv", "agiqa3k_data.csv")
FOLDERS = ("", "images", "AGIQA-3K")
_SHARES = {"val": 0.1, "test": 0.2}


class Generated(NamedTuple):
    """A line of AGIQA-3K's table.

    Attributes:
        image: File name.
        prompt: What the image was made from; 300 of them, each for several models and settings.
        quality: Mean opinion score of quality, 0 to 5.
        align: Mean opinion score of the fit to the prompt, 0 to 5.
        place: Table and line.
    """

    image: str
    prompt: str
    quality: float
    align: float
    place: str


def read_agiqa(file: Path, spare: Spare = refuse) -> list[Generated]:
    """Reads ``data.csv``.

    Args:
        file: The csv.
        spare: What is done about a line that cannot be used; such a line is left out.

    Raises:
        DataError: A column is missing, a value is malformed, or an image stands twice; names file and line.
    """
    lines = read_table(file, ("name", "prompt", "mos_quality", "mos_align"), spare=spare)

    def generated(line: Line) -> Generated:
        scores = line.number_of("mos_quality"), line.number_of("mos_align")
        return Generated(line.text("name"), line.text("prompt"), *scores, line.place)

    return usable(distinct(lines, "name", spare), generated, spare)


class AGIQA3K(QualityData):
    """AGIQA-3K (Li et al., TCSVT 2023): 2,982 generated images of 300 prompts, on one scale.

    There is no official split: prompts are shared out by seed (70, 10, 20 %), so that no prompt is in two splits. All
    images form one scene.

    Args:
        root: Folder of the data.
        batch_size: Images per process and step with the plan ``batch``, pairs with ``csv`` and ``epoch``.
        workers: Loader processes.
        synthesize: Use tiny made-up data in the same format.
        limit: Use only so many images of each split.
        on_error: ``stop`` at the first image that cannot be read, or ``skip`` such images, count and report them.
        score: ``quality``, or ``align`` (fit to the prompt, which the network does not see).
        split_seed: Shares the prompts out.
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

    dataset = "agiqa3k"
    source = "https://github.com/lcysyzxdxc/AGIQA-3k-Database (data.csv and a link to the images)"
    terms = "see the LICENSE file of the repository; for research"
    layout = """
    data.csv    name, prompt, adj1, adj2, style, mos_quality, std_quality, mos_align, std_align
    *.jpg       the images, beside the table, or in images/ or AGIQA-3K/
    """
    sample = "*.jpg"

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 16,
        workers: int = 0,
        synthesize: bool = False,
        limit: int | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        score: Score = "quality",
        split_seed: int = 0,
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
        require_word("score", score, SCORES)
        self.score, self.split_seed = score, split_seed

    def photos(self, root: Path) -> list[Photo]:
        """All images.

        Raises:
            DataError: There is no table, or it is malformed.
        """
        table = next((root / name for name in TABLES if (root / name).is_file()), None)
        if table is None:
            raise DataError(f"{root}: there is no table data.csv (name, prompt, ..., mos_quality, ..., mos_align, ...)")
        generated = self.kept(read_agiqa(table, self.spare), lambda one: one.image)
        if not generated:
            raise DataError(f"{table}: holds no line that can be used")
        places = [root / folder for folder in FOLDERS]
        folder = next((place for place in places if (place / generated[0].image).is_file()), root)
        splits = split_by_seed([one.prompt for one in generated], self.split_seed, **_SHARES)
        return [
            Photo(
                one.image,
                folder / one.image,
                one.quality if self.score == "quality" else one.align,
                "all",
                f"{one.place} ({one.image})",
                splits[one.prompt],
            )
            for one in generated
        ]

    def make(self, root: Path) -> None:
        """Writes tiny data in the same format."""
        synthesize_agiqa(root, self.seed)
