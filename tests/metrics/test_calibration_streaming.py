"""The streaming calibration error against the one that remembers everything, and an explicit loop."""

import pytest
import torch

from zoo.metrics import ExpectedCalibrationError, StreamingCalibrationError


def batch(items, classes=7):
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(items, classes, generator=generator), torch.randint(
        0, classes, (items,), generator=generator
    )


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_equals_the_remembering_one_whatever_the_batches(norm, temperature):
    logits, labels = batch(1000)
    whole = ExpectedCalibrationError(norm=norm, temperature=temperature)
    whole.update(logits, labels)
    for size in (1000, 77):
        stream = StreamingCalibrationError(norm=norm, temperature=temperature)
        for part in zip(logits.split(size), labels.split(size), strict=True):
            stream.update(*part)
        torch.testing.assert_close(stream.compute(), whole.compute(), rtol=1e-6, atol=1e-9)


def test_equals_a_loop():
    logits, labels = batch(60)
    sums = [[0, 0.0, 0] for _ in range(5)]
    for row, label in zip(logits.softmax(1).tolist(), labels.tolist(), strict=True):
        confidence = max(row)
        place = next(i for i in range(5) if confidence <= (i + 1) / 5)
        sums[place][0] += 1
        sums[place][1] += confidence
        sums[place][2] += row.index(confidence) == label
    expected = sum(abs(confidence - correct) for _, confidence, correct in sums) / 60
    stream = StreamingCalibrationError(bins=5)
    stream.update(logits, labels)
    assert stream.compute().item() == pytest.approx(expected, rel=1e-6)


def test_states_of_two_processes_add_up_and_stay_small():
    logits, labels = batch(500)
    whole, first, second = (StreamingCalibrationError() for _ in range(3))
    whole.update(logits, labels)
    first.update(logits[:123], labels[:123])
    second.update(logits[123:], labels[123:])
    for name in ("count", "confidence", "correct"):
        torch.testing.assert_close(getattr(first, name) + getattr(second, name), getattr(whole, name))
        assert getattr(whole, name).shape == (15,)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="norm: 'l3' given, expected 'l1', 'l2' or 'max'"):
        StreamingCalibrationError(norm="l3")
    with pytest.raises(ValueError, match=r"bins and temperature: 0 and 1\.0 given"):
        StreamingCalibrationError(bins=0)
    with pytest.raises(ValueError, match="nothing to measure"):
        StreamingCalibrationError().compute()
    with pytest.raises(ValueError, match="labels: from 0 to 9 given"):
        StreamingCalibrationError().update(torch.zeros(2, 3), torch.tensor([0, 9]))
