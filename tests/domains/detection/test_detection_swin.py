"""Swin as detectors use it: block by block as released, windows and shifts by hand."""

import sys

import pytest
import torch

from zoo.domains.detection.convert import PARTS
from zoo.domains.detection.swin import Merging, Swin, relative_index, shifted_mask, windows


@pytest.mark.facts
def test_every_block_at_sizes_that_need_padding(check_files):
    sys.path.insert(0, str(check_files))
    try:
        import fill
        import stages
    finally:
        sys.path.remove(str(check_files))
    doc = fill.load(check_files / "stages_rank_detr_swin_t.json")
    weights, images = fill.make_checkpoint(doc), fill.inputs(doc)
    fill.check_fill(doc, weights, images)
    network = Swin().eval()
    network.load_state_dict(PARTS["backbone"](weights)[0])
    found = {}

    def keep(name, tokens=True):
        def hook(module, inputs, output):
            shaped = output.flatten(1, 2) if tokens else output.permute(0, 3, 1, 2)
            found[f"{size}.{name}"] = stages.digest(shaped)

        return hook

    network.patch_embed.register_forward_hook(lambda *given: keep("patch_embed", tokens=False)(*given))
    for number, stage in enumerate(network.layers):
        for place, block in enumerate(stage.blocks):
            block.register_forward_hook(keep(f"layer{number}.block{place}"))
        if stage.downsample is not None:
            stage.downsample.register_forward_hook(keep(f"layer{number}.merged"))
    for size in ("160x224", "150x202"):
        with torch.no_grad():
            maps = network(images[f"image_{size}"])
        found |= {f"{size}.out.p{number}": stages.digest(part) for number, part in enumerate(maps, 1)}
    assert set(found) == set(doc["expected"])
    assert {name: bad[:2] for name, bad in stages.check(doc, found).items() if bad} == {}


def test_a_shifted_window_sees_only_former_neighbours():
    """After the roll by 3, cells of the first three rows or columns come from the other side of the map."""
    height, width = 14, 21
    mask = shifted_mask(height, width, torch.zeros(()))
    assert mask.shape == (6, 49, 49)
    rows = torch.arange(height).roll(-3).view(1, height, 1, 1).expand(-1, -1, width, -1)
    columns = torch.arange(width).roll(-3).view(1, 1, width, 1).expand(-1, height, -1, -1)
    y, x = windows(rows.contiguous())[..., 0], windows(columns.contiguous())[..., 0]
    far = ((y.unsqueeze(1) - y.unsqueeze(2)).abs() >= 7) | ((x.unsqueeze(1) - x.unsqueeze(2)).abs() >= 7)
    assert torch.equal(mask == -100, far)
    assert torch.equal(mask == 0, ~far)


def test_relative_places_share_a_bias():
    index = relative_index()
    assert index.shape == (49, 49)
    assert index[0, 48] == 0  # the key six below and to the right of the query
    assert index[48, 0] == 168
    assert index[0, 0] == index[24, 24] == 84
    assert index[0, 1] == index[7, 8]
    assert len(index.unique()) == 169


def test_merging_takes_four_neighbours_in_the_released_order():
    merging = Merging(1)
    merging.norm, merging.reduction = torch.nn.Identity(), torch.nn.Identity()
    cells = torch.arange(1.0, 16).view(1, 3, 5, 1)
    found = merging(cells)
    assert found.shape == (1, 2, 3, 4)
    assert found[0, 0, 0].tolist() == [1, 6, 2, 7]
    assert found[0, 1, 2].tolist() == [15, 0, 0, 0]


def test_deeper_blocks_are_dropped_more_often():
    rates = [block.drop_path.drop_prob for stage in Swin(drop_path=0.5).layers for block in stage.blocks]
    torch.testing.assert_close(torch.tensor(rates), torch.linspace(0, 0.5, 12))
