"""Data of quality: photographs with a score and a scene, and how they become batches.

The batch, as `collate` gives it (the contract with `module.py`):

==============  ==============================================================================================
``image``       training ``(B, 3, C, C)``; evaluation ``(B, V, 3, C, C)``, V crops (5 or 1); float32, normalised
``face``        the same shapes: crop v of the face belongs to crop v of the image; the whole image where no face is
``aux``         ``(B, 495)`` float32 raw LIQE logits; absent where the recipe's data has ``aux: null``
``score``       ``(B,)`` float32, higher is better
``scene``       ``(B,)`` int64; scores compare within a scene only; the numbers hold for all splits of a data set
``scene_name``  list[str], the scene's name
``id``          list[str], the image's path as the table writes it
``pair``        ``(P, 2)`` int64 rows of the batch, only with the plans ``csv`` and ``epoch``: pair p compares row
                ``pair[p, 0]`` with row ``pair[p, 1]``. Rows 0..P-1 are the first images and P..2P-1 the second, so
                ``pair = [[0, P], [1, P + 1], ...]``. Absent with ``batch``: there all pairs of a scene in the batch count.
                Pairs are lists of two: ``ranking(score[pair], target[pair])``; without: ``ranking(..., group=scene)``.
==============  ==============================================================================================

What the module reports: `zoo.metrics.QualityAgreement().update(scores (B,), target (B,), scene (B,))`, whose `compute`
gives `srcc_mean`, `srcc_median`, `srcc_global`, and the same of `krcc`, `plcc`, `rmse`, `mae`, with `raw_fits` and
`left_out`; monitor `val/srcc_mean`.

Faces: data takes `faces: none | csv | cascade | yunet`, `boxes: FILE`, `yunet: FILE` and asks
`zoo.domains.quality.faces.face_finder(faces, boxes, yunet)` for an object whose `find(file: Path, name: str) -> Box | None`
gives `(left, top, right, bottom)` in pixels of the upright image (EXIF applied), and `crop_face(image (3, H, W) uint8,
box: Box | None, margin: int = 20) -> Tensor (3, h, w) uint8` cuts it (whole image for None, black outside).
`aux: FOLDER` holds `<stem>.npy` `(495,)`, or `(1, 495)`.
"""
