"""The reliability diagram: its bars are the bins, its titles the figures."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from zoo.domains.calibration.picture import draw_reliability
from zoo.metrics.calibration import bin_samples, equal_width_edges, probabilities, summary, top


def draw(size=500):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, size)
    logits = rng.normal(size=(size, 5)) * 3
    logits[np.arange(size), labels] += 2
    return logits, labels


def bars(panel) -> list[Rectangle]:
    return [patch for patch in panel.patches if isinstance(patch, Rectangle)]


@pytest.mark.parametrize("bins", [15, 25])
def test_bars_texts_and_titles(bins):
    logits, labels = draw()
    figure = draw_reliability(logits, labels, 2.5, bins)
    for column, temperature in enumerate((1.0, 2.5)):
        upper, lower = figure.axes[column], figure.axes[2 + column]
        found = bin_samples(*top(probabilities(logits, temperature), labels), equal_width_edges(bins))
        full = found.samples > 0
        heights = {}
        for bar in bars(upper):
            key = round(bar.get_x(), 9)
            heights[key] = max(heights.get(key, 0), bar.get_y() + bar.get_height())
        wanted = np.maximum(found.accuracy, found.confidence)[full]  # accuracy, or confidence beyond it
        assert [heights[key] for key in sorted(heights)] == pytest.approx(wanted.tolist())
        assert [int(text.get_text()) for text in upper.texts] == found.samples[full].tolist()
        ece = 100 * summary(logits, labels, bins, temperature)["ece"]
        assert upper.get_title(loc="left").endswith(f"ECE {ece:.2f} %")
        shares = [bar.get_height() for bar in bars(lower)]
        assert shares == pytest.approx((found.samples / 500).tolist())
        assert sum(shares) == pytest.approx(1)


def test_over_and_under_confidence_are_told_apart():
    logits, labels = draw()
    for factor, name in ((1.0, "over-confident"), (0.1, "under-confident")):
        panel = draw_reliability(factor * logits, labels).axes[0]
        areas = {
            container.get_label(): sum(bar.get_height() * bar.get_width() for bar in container)
            for container in panel.containers
        }
        other = {"over-confident": "under-confident", "under-confident": "over-confident"}[name]
        of_name, of_other = (
            next(area for label, area in areas.items() if f"({kind})" in label) for kind in (name, other)
        )
        assert of_name > 3 * of_other


def test_without_a_temperature_there_is_one_column():
    assert len(draw_reliability(*draw()).axes) == 2


def test_unknown_images_are_left_out():
    logits, labels = draw()
    more = np.concatenate([logits, logits[:50]]), np.concatenate([labels, np.full(50, -1)])
    titles = [draw_reliability(*given).axes[0].get_title(loc="left") for given in (more, (logits, labels))]
    assert titles[0] == titles[1]
    with pytest.raises(ValueError, match="there is no sample with a label to draw"):
        draw_reliability(logits, np.full(500, -1))
