"""COCO's figures against hand-worked cases and COCO's own code; rank quality; detections out of logits."""

import json
import math

import pytest
import torch

from zoo.domains.detection import COCOFigures, Detected
from zoo.domains.detection.boxes import centred
from zoo.domains.detection.evaluation import CURVE, FIGURES, detect, found_objects
from zoo.metrics import RankQuality


def truth(boxes, labels, crowd=None, area=None):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {
        "boxes": boxes,
        "labels": torch.tensor(labels, dtype=torch.long),
        "iscrowd": torch.tensor(crowd or [0] * len(labels)),
        "area": torch.tensor(area) if area else (boxes[:, 2:] - boxes[:, :2]).prod(1),
    }


def prediction(boxes, scores, labels):
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "scores": torch.tensor(scores),
        "labels": torch.tensor(labels, dtype=torch.long),
    }


def figures(pairs):
    metric = COCOFigures()
    for found, wanted in pairs:
        metric.update([found], [wanted])
    return {name: float(value) for name, value in metric.compute().items()}


def test_names():
    found = figures([(prediction([0, 0, 10, 10], [0.9], [0]), truth([0, 0, 10, 10], [0]))])
    assert set(found) == {*FIGURES, *CURVE}
    assert len(FIGURES) == 12
    assert tuple(f"ap{number}" for number in range(50, 100, 5)) == CURVE
    assert found["ap"] == found["ap50"] == found["ap95"] == found["ar100"] == found["ap_small"] == pytest.approx(1)
    assert found["ap_large"] == found["ar_medium"] == -1


def test_the_curve_falls_where_the_box_no_longer_fits():
    """A box of IoU 0.8 counts up to the threshold .80."""
    found = figures([(prediction([0, 0, 100, 80], [0.9], [0]), truth([0, 0, 100, 100], [0]))])
    assert [round(found[name]) for name in CURVE] == [1, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    assert found["ap"] == pytest.approx(0.7)
    assert found["ap75"] == pytest.approx(1)


def test_images_without_objects_and_without_detections_count():
    there = (prediction([0, 0, 10, 10], [0.5], [0]), truth([0, 0, 10, 10], [0]))
    nothing_found = (prediction([], [], []), truth([0, 0, 10, 10], [0]))
    false_alarm = (prediction([0, 0, 10, 10], [0.9], [0]), truth([], []))
    empty = (prediction([], [], []), truth([], []))
    assert figures([there])["ap50"] == pytest.approx(1)
    assert figures([there, nothing_found])["ap50"] == pytest.approx(51 / 101)  # recalls 0 to .5
    assert figures([there, false_alarm])["ap50"] == pytest.approx(0.5)
    assert figures([there, empty])["ap50"] == pytest.approx(1)
    assert figures([nothing_found])["ap"] == 0
    assert figures([empty])["ap"] == -1
    assert figures([false_alarm])["ap"] == -1


def test_detections_in_a_crowd_region_are_no_mistakes():
    wanted = truth([[0, 0, 10, 10], [20, 20, 60, 60]], [0, 0], crowd=[0, 1])
    boxes, scores = [[0, 0, 10, 10], [22, 22, 30, 30], [30, 30, 44, 44]], [0.5, 0.9, 0.8]
    assert figures([(prediction(boxes, scores, [0, 0, 0]), wanted)])["ap50"] == pytest.approx(1)
    wanted["iscrowd"][:] = 0
    assert figures([(prediction(boxes, scores, [0, 0, 0]), wanted)])["ap50"] < 0.5


def test_the_figures_equal_coco_s_own_code(tmp_path):
    """Random boxes, classes, crowds and areas, through faster_coco_eval's json interface."""
    from faster_coco_eval import COCO, COCOeval_faster

    generator = torch.Generator().manual_seed(0)
    tree = {"images": [], "annotations": [], "categories": [{"id": number, "name": str(number)} for number in range(3)]}
    results, pairs = [], []
    for image in range(12):
        tree["images"].append({"id": image + 1, "width": 300, "height": 300})
        count = image % 5
        corner, size = (
            150 * torch.rand(count, 2, generator=generator),
            5 + 140 * torch.rand(count, 2, generator=generator),
        )
        boxes, labels = torch.cat([corner, corner + size], 1), torch.randint(0, 3, (count,), generator=generator)
        crowd = (torch.rand(count, generator=generator) < 0.15).long()
        area = size.prod(1) * 0.7
        for place in range(count):
            left, top, right, bottom = boxes[place].tolist()
            tree["annotations"].append(
                {"id": len(tree["annotations"]) + 1, "image_id": image + 1, "category_id": int(labels[place]),
                 "bbox": [left, top, right - left, bottom - top], "area": float(area[place]),
                 "iscrowd": int(crowd[place])}
            )  # fmt: skip
        near = boxes.repeat(2, 1) + 8 * torch.randn(2 * count, 4, generator=generator)
        near = torch.cat([near, torch.tensor([[5.0, 5.0, 60.0, 60.0]])])
        near[:, 2:] = torch.maximum(near[:, 2:], near[:, :2] + 2)
        kinds = torch.cat([labels.repeat(2), torch.tensor([image % 3])])
        scores = torch.rand(len(near), generator=generator)
        for box, kind, score in zip(near.tolist(), kinds.tolist(), scores.tolist(), strict=True):
            results.append({"image_id": image + 1, "category_id": kind, "score": score,
                            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]})  # fmt: skip
        pairs.append(
            ({"boxes": near, "scores": scores, "labels": kinds},
             {"boxes": boxes, "labels": labels, "iscrowd": crowd, "area": area})
        )  # fmt: skip
    (tmp_path / "truth.json").write_text(json.dumps(tree))
    official = COCO(str(tmp_path / "truth.json"))
    evaluation = COCOeval_faster(official, official.loadRes(results), "bbox")
    evaluation.run()
    found = figures(pairs)
    assert 0.05 < found["ap"] < 0.9
    for name, wanted in zip(FIGURES, evaluation.stats[:12], strict=True):
        assert found[name] == pytest.approx(float(wanted), abs=1e-6), name


def test_ap_of_each_class():
    metric = COCOFigures()
    boxes = [[0, 0, 10, 10], [20, 20, 40, 40]]
    metric.update([prediction(boxes[:1], [0.9], [3])], [truth(boxes, [3, 5])])
    metric.compute()
    assert metric.per_class == {3: pytest.approx(1), 5: 0}


def test_detect_takes_the_best_pairs_of_query_and_class():
    logits = torch.tensor([[0.0, 2.0], [3.0, -1.0], [1.0, 1.0]])
    boxes = centred(torch.tensor([[0.1, 0.2, 0.5, 0.6], [-0.5, 0.5, 0.5, 1.5], [1.2, 0.1, 1.4, 0.2]]))
    found = detect(logits, boxes, (100, 200), names=["a", "b"])
    assert found.labels.tolist() == [0, 1, 0, 1]  # the third query's box lies outside
    assert found.class_names == ["a", "b", "a", "b"]
    torch.testing.assert_close(found.scores, torch.tensor([3.0, 2.0, 0.0, -1.0]).sigmoid())
    wanted = torch.tensor([[0.0, 50.0, 100.0, 100.0], [20.0, 20.0, 100.0, 60.0]])
    torch.testing.assert_close(found.boxes[:2], wanted)
    assert detect(logits, boxes, (100, 200), 0.6, ["a", "b"]).labels.tolist() == [0, 1]
    assert len(detect(torch.randn(50, 10), torch.full((50, 4), 0.5), (9, 9)).scores) == 300


def test_each_object_is_found_once_by_the_best_detection():
    wanted = truth([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 60, 10]], [0, 0, 1], crowd=[0, 0, 1])
    boxes = [[0, 0, 10, 9], [0, 0, 10, 10], [20, 0, 30, 6], [20, 0, 30, 10], [40, 0, 60, 10]]
    found = Detected(torch.tensor(boxes, dtype=torch.float32), torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5]),
                     torch.tensor([0, 0, 0, 1, 1]), [])  # fmt: skip
    scores, ious, labels = found_objects(found, wanted)
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.7]))
    torch.testing.assert_close(ious, torch.tensor([0.9, 0.6]))
    assert labels.tolist() == [0, 0]
    nothing = Detected(torch.empty(0, 4), torch.empty(0), torch.empty(0, dtype=torch.long), [])
    assert [len(part) for part in found_objects(nothing, wanted)] == [0, 0, 0]
    assert [len(part) for part in found_objects(found, truth([], []))] == [0, 0, 0]


def test_rank_quality_by_hand():
    metric = RankQuality()
    metric.update(torch.tensor([0.9, 0.5, 0.5, 0.1]), torch.tensor([0.6, 0.9, 0.7, 0.5]), torch.tensor([0, 0, 0, 1]))
    metric.update(torch.tensor([]), torch.tensor([]), torch.tensor([]))
    found = metric.compute()
    # of group 0: (.9, .6) against (.5, .9) and (.5, .7) wrong, the tie of the two counts half; group 1 is alone
    assert float(found["misranked_pairs"]) == pytest.approx(2.5 / 3)
    # ranks 4, 2.5, 2.5, 1 and 2, 4, 3, 1
    assert float(found["score_iou_correlation"]) == pytest.approx(1.5 / math.sqrt(4.5 * 5))


def test_rank_quality_equals_a_loop():
    generator = torch.Generator().manual_seed(0)
    score, quality = torch.rand(2, 60, generator=generator).mul(20).round().div(20)
    group = torch.randint(0, 3, (60,), generator=generator)
    metric = RankQuality()
    metric.update(score, quality, group)
    wrong, pairs = 0.0, 0
    for i in range(60):
        for j in range(60):
            if group[i] == group[j] and quality[i] > quality[j]:
                pairs += 1
                wrong += float(score[i] < score[j]) + 0.5 * float(score[i] == score[j])
    assert float(metric.compute()["misranked_pairs"]) == pytest.approx(wrong / pairs)


def test_rank_quality_of_nothing_is_no_number():
    metric = RankQuality()
    metric.update(torch.tensor([0.5]), torch.tensor([0.5]), torch.tensor([0]))
    assert all(math.isnan(float(value)) for value in metric.compute().values())
    with pytest.raises(ValueError, match=r"score, quality and group are \(N,\)"):
        metric.update(torch.rand(3), torch.rand(2), torch.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        metric.update(torch.tensor([math.nan]), torch.rand(1), torch.zeros(1))
