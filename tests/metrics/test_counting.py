"""Errors of counts and of places: against scikit-learn, torchmetrics and plain loops; over batches."""

import numpy as np
import pytest
import torch
import torchmetrics
from sklearn.metrics import r2_score

from zoo.metrics import CountErrors, GridErrors, grid_errors


def made(size=23, seed=0):
    """Counts, and densities with points, of images of several sizes."""
    rng = np.random.default_rng(seed)
    target = torch.from_numpy(rng.integers(0, 90, size)).float()
    predicted = target + torch.from_numpy(rng.normal(scale=9, size=size)).float()
    images = []
    for _ in range(size):
        height, width = (int(value) for value in rng.integers(17, 60, 2))
        density = torch.from_numpy(rng.random((-(-height // 4), -(-width // 4)))).float()
        points = torch.from_numpy(rng.uniform(0, (width, height), (int(rng.integers(0, 30)), 2))).float()
        images.append((density, points, (height, width)))
    return predicted, target, images


def computed(metric):
    return {name: float(value) for name, value in metric.compute().items()}


def test_against_scikit_learn_and_torchmetrics():
    predicted, target, _ = made()
    metric = CountErrors()
    for part in torch.arange(len(target)).split(4):
        metric.update(predicted[part], target[part])
    found = computed(metric)
    assert found["mae"] == pytest.approx(float(torchmetrics.functional.mean_absolute_error(predicted, target)))
    rmse = torchmetrics.functional.mean_squared_error(predicted, target, squared=False)
    assert found["rmse"] == pytest.approx(float(rmse))
    assert found["r2"] == pytest.approx(r2_score(target.numpy(), predicted.numpy()), rel=1e-5)
    held = target > 0
    share = torchmetrics.functional.mean_absolute_percentage_error(predicted[held], target[held])
    assert found["mape"] == pytest.approx(float(share), rel=1e-5)
    assert found["bias"] == pytest.approx(float((predicted - target).mean()), rel=1e-4)
    assert found["empty_images"] == float((~held).sum())


def test_hand_worked():
    metric = CountErrors(prefix="token_")
    metric.update(torch.tensor([12.0, 7.0]), torch.tensor([10.0, 10.0]))
    metric.update(torch.tensor([3.0]), torch.tensor([0.0]))
    found = computed(metric)
    assert found["token_mae"] == pytest.approx(8 / 3)
    assert found["token_rmse"] == pytest.approx((22 / 3) ** 0.5)
    assert found["token_mape"] == pytest.approx((0.2 + 0.3) / 2)  # the empty image is left out, not divided by 1e-6
    assert found["token_bias"] == pytest.approx(2 / 3)
    assert found["token_r2"] == pytest.approx(1 - 22 / (200 / 3))
    assert found["token_empty_images"] == 1


def test_what_cannot_be_said_is_nan_and_equal_targets_follow_scikit_learn():
    one = CountErrors()
    one.update(torch.tensor([1.0]), torch.tensor([0.0]))
    assert np.isnan(computed(one)["r2"])
    assert np.isnan(computed(one)["mape"])
    assert computed(one)["mae"] == 1
    for predicted in ([5.0, 5.0], [5.0, 6.0]):
        metric = CountErrors()
        metric.update(torch.tensor(predicted), torch.tensor([5.0, 5.0]))
        assert computed(metric)["r2"] == r2_score([5, 5], predicted)


def test_interval_holds_the_error():
    predicted, target, _ = made()
    metric = CountErrors(resamples=300)
    metric.update(predicted, target)
    found = computed(metric)
    assert found["mae_low"] < found["mae"] < found["mae_high"]


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_wrong_inputs():
    metric = CountErrors()
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\)"):
        metric.update(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="predicted: 1 of 2 are not finite"):
        metric.update(torch.tensor([1.0, torch.nan]), torch.zeros(2))
    with pytest.raises(ValueError, match="no image was counted"):
        metric.compute()
    with pytest.raises(ValueError, match="no image was counted"):
        GridErrors().compute()
    with pytest.raises(ValueError, match="levels"):
        GridErrors(())


def test_game_by_hand():
    density = torch.zeros(4, 4)  # an image of 16 x 16
    density[0, 0], density[3, 3] = 2.0, 1.0
    points = torch.tensor([[1.0, 1.0], [14.0, 1.0], [15.0, 15.0]])
    # three trees, three counted: right in all, but one of them in the wrong corner
    assert grid_errors(density, points, (16, 16), 4, (0, 1, 2)) == [0.0, 2.0, 2.0]


@pytest.mark.parametrize("stride", [1, 4])
def test_game_against_a_loop_over_pixels(stride):
    rng = np.random.default_rng(1)
    height, width = 24, 40  # divide by 8: every region is whole pixels
    rows, columns = height // stride, width // stride
    density = torch.from_numpy(rng.random((rows, columns)))
    points = torch.from_numpy(rng.uniform(0, (width, height), (50, 2)))
    pixels = density.repeat_interleave(stride, 0).repeat_interleave(stride, 1) / stride**2
    for level, found in zip((1, 2, 3), grid_errors(density, points, (height, width), stride), strict=True):
        parts, total = 2**level, 0.0
        for row in range(parts):
            for column in range(parts):
                top, bottom = row * height // parts, (row + 1) * height // parts
                left, right = column * width // parts, (column + 1) * width // parts
                inside = (
                    (points[:, 0] >= left) & (points[:, 0] < right) & (points[:, 1] >= top) & (points[:, 1] < bottom)
                )
                total += abs(float(pixels[top:bottom, left:right].sum()) - int(inside.sum()))
        assert found == pytest.approx(total)


def test_game_shares_out_cells_that_are_cut_and_never_falls_with_the_level():
    for density, points, size in made()[2]:
        games = grid_errors(density, points, size, 4, (0, 1, 2, 3))
        assert games[0] == pytest.approx(abs(float(density.sum()) - len(points)), abs=1e-4)
        assert games == sorted(games)


def test_game_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"shape \(4, 4\), an image of \(16, 20\) at stride 4 has \(4, 5\)"):
        grid_errors(torch.zeros(4, 4), torch.zeros(0, 2), (16, 20), 4)
