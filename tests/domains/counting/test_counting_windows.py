"""Sliding windows: what they cover, what they keep, and the released upsampling that keeps less."""

import pytest
import torch
from torch.nn import functional

from zoo.domains.counting.raster import Window
from zoo.domains.counting.windows import Held, Plan, Span, bands, coverage, full_size, plan, spans


def pooled(windows):
    """Counts by adding up a channel: a network whose answer does not depend on the window."""
    images = torch.stack(windows)[:, :1]
    height, width = images.shape[2:]
    padded = functional.pad(images, (0, -width % 4, 0, -height % 4))
    return functional.avg_pool2d(padded, 4) * 16, padded.sum((1, 2, 3))[:, None].expand(-1, 3)


def whole(image, how, run=pooled, batch=4):
    found = list(bands(Held(image), how, run, batch))
    assert [band.top for band in found] == [
        sum(len(band.density) for band in found[:index]) for index in range(len(found))
    ]
    return torch.cat([band.density for band in found]), sum(band.tokens for band in found), found


@pytest.mark.parametrize("length", [1, 255, 256, 257, 300, 512, 513, 1000])
def test_windows_cover_every_pixel(length):
    for how in (plan("exact", 256, 64), plan("exact", 256, 0), plan("official", 256, 64), plan(None, 256, 64)):
        found = spans(length, how)
        seen = torch.zeros(length)
        for part in found:
            assert part.start >= 0
            assert part.start % how.stride == 0
            assert part.start + part.size <= length
            seen[part.start : part.start + part.size] += 1
        assert seen.min() == 1 or len(found) > 1
        assert seen.min() >= 1
        assert len({part.start for part in found}) == len(found)


def test_official_windows_step_by_256_and_the_last_is_moved_back():
    how = plan("official", 128, 32)
    assert how == Plan(256, 256, 1)
    assert spans(600, how) == [Span(0, 256), Span(256, 256), Span(344, 256)]
    assert spans(512, how) == [Span(0, 256), Span(256, 256)]
    assert coverage(spans(600, how), 600, 1).tolist() == [1.0] * 344 + [2.0] * 168 + [1.0] * 88


def test_exact_windows_overlap_on_the_grid_of_cells():
    assert spans(300, plan("exact", 256, 64)) == [Span(0, 256), Span(44, 256)]
    assert spans(301, plan("exact", 256, 64)) == [Span(0, 256), Span(48, 253)]  # moved back to a multiple of 4
    assert spans(640, plan("exact", 256, 64)) == [Span(0, 256), Span(192, 256), Span(384, 256)]


@pytest.mark.parametrize("size", [(64, 64), (100, 130), (301, 223), (30, 400)])
@pytest.mark.parametrize("tiling", ["exact", None])
def test_exact_windows_keep_the_count(size, tiling):
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
    density, tokens, _ = whole(image, plan(tiling, 64, 16))
    assert density.shape == (-(-size[0] // 4), -(-size[1] // 4))
    torch.testing.assert_close(density.sum(), image[0].sum())
    torch.testing.assert_close(density, pooled([image])[0][0, 0])
    if tiling is None:
        torch.testing.assert_close(tokens.float(), image[0].sum().expand(3))


def test_tokens_are_shared_out_by_area():
    image = torch.ones(3, 100, 132)
    _, tokens, _ = whole(image, plan("exact", 64, 16))
    torch.testing.assert_close(tokens.float(), torch.full((3,), 100.0 * 132))


def test_overlaps_are_averaged():
    def numbered(windows):
        numbered.calls += 1
        return torch.full((len(windows), 1, 4, 4), float(numbered.calls)), torch.zeros(len(windows), 3)

    numbered.calls = 0
    density, _, _ = whole(torch.rand(3, 16, 24), Plan(16, 8, 4), numbered, batch=1)
    assert density.shape == (4, 6)
    assert density[0].tolist() == [1.0, 1.0, 1.5, 1.5, 2.0, 2.0]


def test_the_batch_of_windows_changes_nothing():
    image = torch.rand(3, 150, 200)
    one, _, _ = whole(image, plan("exact", 64, 16), batch=1)
    many, _, found = whole(image, plan("exact", 64, 16), batch=7)
    torch.testing.assert_close(one, many)
    assert sum(band.windows for band in found) == 3 * 4


def test_upsampling_as_released_does_not_keep_the_sum():
    """The figures of the sheet, section 6."""
    for row, column, kept in ((30, 30, 1.02367), (0, 30, 0.63979), (0, 0, 0.39987)):
        density = torch.zeros(1, 1, 64, 64)
        density[0, 0, row, column] = 1
        assert float(full_size(density).sum()) == pytest.approx(kept, abs=1e-5)
    torch.testing.assert_close(full_size(torch.ones(1, 1, 64, 64)).sum(), torch.tensor(64.0 * 64))


def test_official_density_is_that_of_a_loop_over_windows():
    def network(windows):
        images = torch.stack(windows)
        return functional.avg_pool2d(images[:, :1], 4), torch.zeros(len(windows), 3)

    image = torch.rand(3, 300, 420)
    total, seen = torch.zeros(300, 420), torch.zeros(300, 420)
    for top in (0, 44):
        for left in (0, 164):
            window = image[:, top : top + 256, left : left + 256]
            y0 = network([window])[0]
            total[top : top + 256, left : left + 256] += (
                functional.interpolate(y0, scale_factor=4, mode="bilinear", align_corners=True)[0, 0] / 16
            )
            seen[top : top + 256, left : left + 256] += 1
    density, _, _ = whole(image, plan("official", 256, 0), network)
    torch.testing.assert_close(density, total / seen)


class Partly(Held):
    """An image of which the left part holds no data."""

    reads = 0

    def holds_data(self, window: Window):
        columns = torch.arange(window.left, window.left + window.width)
        return (columns >= 70).expand(window.height, -1)

    def read(self, window: Window):
        self.reads += 1
        return super().read(window)


def test_what_holds_no_data_holds_nothing_and_is_not_looked_at():
    source = Partly(torch.ones(3, 64, 192))
    found = list(bands(source, plan("exact", 64, 0), pooled, 4))
    density = torch.cat([band.density for band in found])
    assert source.reads == 2  # of three windows
    assert density[:, :17].sum() == 0
    assert density[:, 18:].min() == 16
    assert density[0, 17] == 16  # half of this cell holds data
