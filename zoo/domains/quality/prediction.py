"""Prediction on a user's own images: in memory, and file by file for ``zoo predict``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from zoo.domains.quality.faces import BoxTable, Faces, Finder, crop_face, face_finder
from zoo.domains.quality.inputs import aux_rows, face_bytes, image_bytes, missing_aux, pair_of
from zoo.domains.quality.liqe import LazyLIQE, read_aux
from zoo.domains.quality.network import DualBranch, QualityOutput
from zoo.domains.quality.picture import draw_image, draw_sheet
from zoo.domains.quality.views import CENTRE, Crops, evaluation_views
from zoo.errors import InputError
from zoo.ranking import ScoreLoss
from zoo.training import IMAGE_SUFFIXES, Row, ZooModule, read_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Prediction(ZooModule):
    """What :class:`zoo.domains.quality.DNPIQA` does with a user's images."""

    suffixes: ClassVar[tuple[str, ...]] = IMAGE_SUFFIXES
    requests: ClassVar[tuple[str, ...]] = ("boxes",)
    file_requests: ClassVar[tuple[str, ...]] = ("boxes",)
    network: DualBranch
    ranking: ScoreLoss
    resize: int
    crop: int
    crops: Crops
    margin: int
    faces: Faces
    boxes: str | None
    yunet: str | None
    aux: str | None
    clip_source: LazyLIQE
    _finder: Finder | None = None

    @torch.no_grad()
    def predict(
        self,
        images: Any,
        faces: Any = None,
        aux: Any = None,
        crops: Crops | None = None,
        preprocess: bool = True,
    ) -> QualityOutput:
        """Scores images.

        Args:
            images: ``(B, 3, H, W)``, ``(3, H, W)`` as a batch of one, or a list of images of any sizes; RGB, upright,
                uint8 or float in [0, 1].
            faces: A face image for each, or None in a list where an image has none; by default found as the model's
                ``faces`` says. The whole image is used where there is none.
            aux: Raw LIQE logits ``(B, 495)``, needed where the model has that branch.
            crops: ``five`` or ``centre``; by default the model's.
            preprocess: False hands the tensors to the network unchanged: ``images`` and ``faces`` ``(B, 3, S, S)``,
                normalised; without faces the images stand for them.

        Returns:
            ``.score`` ``(B,)``, higher is better, and the network's other outputs, averaged over the crops.

        Raises:
            InputError: An input does not fit; logits are missing (how to make them, and how to do without).
        """
        found = self._predict(images, faces, aux, crops, preprocess)
        self.clip_source.note()
        return found

    def _predict(self, images: Any, faces: Any, aux: Any, crops: Crops | None, preprocess: bool) -> QualityOutput:
        training = self.network.training
        self.network.eval()
        try:
            if not preprocess:
                return self._raw(images, faces, aux)
            pixels = image_bytes(images)
            crops = crops or self.crops
            if crops not in ("five", "centre"):
                raise InputError(f"crops: {crops!r} given, expected five or centre")
            cut = face_bytes(faces, len(pixels)) if faces is not None else self._find(pixels)
            whole = [image if face is None else face for image, face in zip(pixels, cut, strict=True)]
            rows = self._aux(aux, len(pixels), pixels)
            found = [
                self._one(image, face, None if rows is None else rows[index], crops)
                for index, (image, face) in enumerate(zip(pixels, whole, strict=True))
            ]
            return _joined(found)
        finally:
            self.network.train(training)

    @torch.no_grad()
    def compare(self, a: Any, b: Any, faces: Any = None, aux: Any = None, crops: Crops | None = None) -> Tensor:
        """The probability that one image is better than another, as the loss models it: Phi(score_a - score_b).

        Args:
            a: Images, as :meth:`predict` takes them.
            b: As many images, or one of the two is a single image that is compared with all of the other.
            faces: A pair, the faces of ``a`` and of ``b``.
            aux: A pair, the LIQE logits of ``a`` and of ``b``.
            crops: ``five`` or ``centre``.

        Returns:
            ``(B,)`` in [0, 1]. The unit of the scores is the loss's own where it is fidelity; after another loss the
            order is right, but the probability is not calibrated.

        Raises:
            InputError: An input does not fit, or the numbers of images differ.
        """
        sides = zip((a, b), pair_of(faces, "faces"), pair_of(aux, "aux"), strict=True)
        first, second = (self.predict(images, face, logits, crops).score for images, face, logits in sides)
        if len(first) != len(second) and 1 not in (len(first), len(second)):
            raise InputError(f"compare: {len(first)} images against {len(second)}; give as many, or one against many")
        scale = float(getattr(self.ranking, "scale", 1.0))
        return 0.5 * torch.erfc(-(first - second) / (scale * 2**0.5))

    def _raw(self, images: Any, faces: Any, aux: Any) -> QualityOutput:
        """Tensors to the network, unchanged."""
        images = _as_tensor(images, "images").to(self.device)
        faces = images if faces is None else _as_tensor(faces, "faces").to(self.device)
        rows = self._aux(aux, len(images), None)
        try:
            output: QualityOutput = self.network(images, faces, rows)
        except (ValueError, AssertionError) as error:
            raise InputError(str(error)) from error
        return output

    def _one(self, image: Tensor, face: Tensor, aux: Tensor | None, crops: Crops) -> QualityOutput:
        """One image, averaged over its crops; by itself, so that the others make no difference."""
        views = [evaluation_views(pixels, self.resize, self.crop).to(self.device) for pixels in (image, face)]
        if crops == "centre":
            views = [view[CENTRE : CENTRE + 1] for view in views]
        output: QualityOutput = self.network(*views, None if aux is None else aux.expand(len(views[0]), -1))
        return _averaged(output)

    def _aux(self, aux: Any, count: int, pixels: Sequence[Tensor] | None) -> Tensor | None:
        """Logits ``(B, 495)`` on the model's device; None where the model has no such branch."""
        if not self.network.liqe:
            if aux is not None:
                raise InputError("aux: this model has no LIQE branch (model.liqe is false); leave aux out")
            return None
        if aux is not None:
            return aux_rows(aux, count).to(self.device)
        if pixels is None or self.clip_source.file is None:
            raise missing_aux("aux")
        return self.clip_source.logits(pixels, self.device).to(self.device)

    # -- faces

    def finder(self) -> Finder:
        """What finds faces, as the recipe says, or as ``zoo predict --boxes`` does."""
        if self._finder is None:
            table = self.wishes.get("boxes")
            self._finder = BoxTable(table) if table is not None else face_finder(self.faces, self.boxes, self.yunet)
        return self._finder

    def _find(self, images: Sequence[Tensor]) -> list[Tensor | None]:
        """Faces of images in memory: a detector looks for them; a csv knows files only, so all are used whole."""
        if self.network.face is None or self.faces == "none":
            return [None] * len(images)
        detect = getattr(self.finder(), "detect", None)
        boxes = [None if detect is None else detect(image) for image in images]
        whole = sum(box is None for box in boxes)
        if whole:
            print(f"faces: {whole} of {len(images)} images have none and are used whole", file=sys.stderr)
        return [
            None if box is None else crop_face(image, box, self.margin)
            for image, box in zip(images, boxes, strict=True)
        ]

    # -- zoo predict

    def predict_file(self, file: Path) -> tuple[list[Row], Figure]:
        """Scores one image file.

        Returns:
            A row with ``score``, ``face`` (the box ``left top right bottom`` in pixels, or ``whole image``), width and
            height; and the image with its crops and its face.

        Raises:
            InputError: The file is no image, its box lies outside of it, or its LIQE logits are missing.
        """
        image = read_image(file)
        box = self.finder().find(file, str(file)) if self.network.face is not None else None
        try:
            face = crop_face(image, box, self.margin)
        except ValueError as error:
            raise InputError(f"{file}: {error}") from error
        with torch.no_grad():
            score = float(self._predict(image, [face], self._file_aux(file), None, True).score)
        row = {
            "score": score,
            "face": "whole image" if box is None else " ".join(map(str, box)),
            "width": image.shape[2],
            "height": image.shape[1],
        }
        return [row], draw_image(image, box, score, file.name, self.resize, self.crop, self.crops)

    def _file_aux(self, file: Path) -> Tensor | None:
        if not self.network.liqe or (self.aux is None and self.clip_source.file is not None):
            return None
        if self.aux is None:
            raise missing_aux(str(file))
        return read_aux(Path(self.aux).expanduser(), file)

    def predict_request(self, request: Mapping[str, Any], out: Path | None) -> tuple[list[Row], dict[str, Figure]]:
        """Scores the images that a csv of face boxes names."""
        rows: list[Row] = []
        files = BoxTable(request["boxes"]).files()
        for file in files:
            found, _ = self.predict_file(file)
            rows += [{"file": str(file), **row} for row in found]
        rows = self.arrange(rows)
        return rows, {"overview": self.overview(rows)}

    def arrange(self, rows: list[Row]) -> list[Row]:
        """Best first, with the rank; says how many images had no face, and how many were enlarged for LIQE."""
        ordered = sorted(rows, key=lambda row: -row["score"])
        whole = sum(row["face"] == "whole image" for row in rows)
        if self.network.face is not None and whole:
            print(f"faces: {whole} of {len(rows)} images have none and are used whole", file=sys.stderr)
        self.clip_source.note()
        return [{"file": row["file"], "rank": rank, **{key: value for key, value in row.items() if key != "file"}}
                for rank, row in enumerate(ordered, start=1)]  # fmt: skip

    def overview(self, rows: list[Row]) -> Figure:
        """All images from best to worst."""
        return draw_sheet([Path(row["file"]) for row in rows], [row["score"] for row in rows])


def _averaged(output: QualityOutput) -> QualityOutput:
    """The mean over the crops of one image."""
    full, face = output.full_features, output.face_features
    return QualityOutput(
        output.score.mean(0),
        None if full is None else full.mean(0),
        None if face is None else face.mean(0),
        output.hidden.mean(0),
    )


def _joined(outputs: Sequence[QualityOutput]) -> QualityOutput:
    """The outputs of single images as a batch."""
    full = [output.full_features for output in outputs if output.full_features is not None]
    face = [output.face_features for output in outputs if output.face_features is not None]
    return QualityOutput(
        torch.stack([output.score for output in outputs]),
        torch.stack(full) if full else None,
        torch.stack(face) if face else None,
        torch.stack([output.hidden for output in outputs]),
    )


def _as_tensor(value: Any, name: str) -> Tensor:
    given = torch.as_tensor(value)
    if given.ndim == 3:
        given = given[None]
    if not given.is_floating_point() or given.ndim != 4 or given.shape[1] != 3:
        raise InputError(f"{name}: expected normalised floats (B, 3, S, S), got {given.dtype} {tuple(given.shape)}")
    if not torch.isfinite(given).all():
        raise InputError(f"{name}: holds values that are not finite")
    return given.detach().to(torch.float32)
