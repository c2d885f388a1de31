"""Points to cells as the released code discretises them, and peaks of a density back to points."""

import numpy as np
import pytest
import torch

from zoo.domains.counting.points import PeakFinder, cell_histogram, inside, local_maxima, peaks, reach, strongest


def bumps(places, shape=(40, 50), width=1.2):
    """A density with a tree at each (row, column), each of mass 1."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    density = np.zeros(shape)
    for row, column in places:
        one = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))
        density += one / one.sum()
    return torch.from_numpy(density).float()


def test_cells_of_the_sheet():
    points = np.array([[0.5, 1.5], [15.6, 15.9], [3.2, 3.2], [3.4, 2.6], [16, 0]])
    pixels = cell_histogram(points, 16, 16, stride=1)[0]
    found = {(int(row), int(column)): int(pixels[row, column]) for row, column in pixels.nonzero()}
    assert found == {(0, 15): 1, (2, 0): 1, (3, 3): 2, (15, 15): 1}
    cells = cell_histogram(points, 16, 16)
    assert cells.shape == (1, 4, 4)
    assert cells[0, 0].tolist() == [3, 0, 0, 1]
    assert cells[0, 3].tolist() == [0, 0, 0, 1]
    assert cells.sum() == 5


def test_every_point_is_in_a_cell_of_any_size():
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (7, 13), (64, 30)):
        points = rng.uniform(-1, (width + 1, height + 1), (40, 2))
        cells = cell_histogram(points, height, width)
        assert cells.shape == (1, -(-height // 4), -(-width // 4))
        assert cells.sum() == 40
    assert cell_histogram(np.zeros((0, 2)), 8, 8).sum() == 0


def test_both_edges_belong_to_an_image():
    points = np.array([[0, 0], [10, 8], [10.1, 3], [5, -0.1], [3, 8]])
    assert inside(points, 8, 10).tolist() == [True, True, False, False, True]


def test_peaks_are_found_where_trees_are():
    places = [(5, 7), (5, 20), (30, 44), (20.4, 25.3)]
    found = local_maxima(bumps(places))
    assert len(found) == 4
    true = torch.tensor([[(column + 0.5) * 4, (row + 0.5) * 4] for row, column in places])
    distance = torch.cdist(found[:, :2], true)
    assert (distance.min(0).values < 1.5).all()  # pixels: within the cell
    assert (found[:-1, 2] >= found[1:, 2]).all()


def test_no_more_points_than_trees():
    density = bumps([(5, 7), (5, 20), (30, 44), (20, 25)])
    assert len(local_maxima(0.5 * density)) == 2
    assert len(local_maxima(0.1 * density)) == 0
    assert len(strongest(peaks(density), 3.4)) == 3
    assert len(local_maxima(torch.zeros(6, 6))) == 0


def test_low_peaks_are_noise_and_near_ones_are_one():
    density = bumps([(10, 10), (10, 13), (30, 30)], width=0.7)
    assert len(peaks(density, least=0.01, distance=8)) == 3
    assert len(peaks(density, least=0.01, distance=20)) == 2
    assert len(peaks(density, least=0.5)) == 0
    assert [reach(4, 8), reach(4, 12), reach(4, 1), reach(1, 8)] == [1, 2, 1, 7]


def test_a_plateau_is_one_point():
    density = torch.zeros(12, 12)
    density[3:5, 4:9] = 0.4
    found = peaks(density)
    assert len(found) == 1


def test_full_size_and_stride_4_tell_the_same_places():
    density = bumps([(8, 9), (30, 28)])
    full = density.repeat_interleave(4, 0).repeat_interleave(4, 1) / 16
    fine = torch.nn.functional.avg_pool2d(full[None], 5, 1, 2)[0]
    coarse, found = local_maxima(density)[:, :2], local_maxima(fine, stride=1)[:, :2]
    assert len(found) == 2
    assert torch.cdist(found, coarse).min(0).values.max() < 2.5


@pytest.mark.parametrize(("stride", "distance"), [(4, 8), (4, 12), (1, 8)])
def test_bands_find_what_the_whole_finds(stride, distance):
    generator = torch.Generator().manual_seed(0)
    for _ in range(15):
        noise = (torch.rand(57, 23, generator=generator) * 6).round() / 6  # many ties
        density = noise * (torch.rand(57, 23, generator=generator) > 0.4)
        finder, top = PeakFinder(stride, distance=distance), 0
        while top < len(density):
            height = int(torch.randint(1, 12, (1,), generator=generator))
            finder.add(density[top : top + height])
            top += height
        torch.testing.assert_close(finder.finish(), peaks(density, stride, distance=distance))
    assert PeakFinder().finish().shape == (0, 3)
