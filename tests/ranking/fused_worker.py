"""Compares Triton's tiles, interpreted on the processor, with those of plain torch; run by test_fused_rows.py."""

import os

os.environ["TRITON_INTERPRET"] = "1"

import torch

from zoo import ranking
from zoo.ranking import fused_rows


def value_and_gradients(loss, tensors, kind, options):
    leaves = [x.clone().requires_grad_() for x in tensors]
    similarity = ranking.Cosine(*leaves) if kind == "cosine" else leaves[0]
    values = loss(similarity, **options)
    values = torch.cat([x.reshape(-1) for x in values]) if isinstance(values, tuple) else values
    share = torch.arange(1.0, values.numel() + 1).view(values.shape)
    return values.detach(), *torch.autograd.grad((values * share).sum(), leaves)


def assert_equal(found, expected):
    for ours, wanted in zip(found, expected, strict=True):
        assert torch.equal(ours.isnan(), wanted.isnan())
        wrong = (ours - wanted).nan_to_num().abs().max()
        assert wrong <= 1e-5 * max(float(wanted.nan_to_num().abs().max()), 1e-6), wrong


def compare(loss, tensors, kind, **options):
    """With kernels and without."""
    found = []
    for fused in (True, False):
        fused_rows.fusible = lambda _, fused=fused: fused
        found.append(value_and_gradients(loss, tensors, kind, options))
    assert_equal(*found)


def main():
    generator = torch.Generator().manual_seed(0)
    fused_rows.HIGH, fused_rows.WIDE = 4, 8
    for q, g in ((7, 19), (8, 8), (1, 2)):
        positive = torch.rand(q, g, generator=generator) < 0.3
        mask = torch.rand(q, g, generator=generator) < 0.8
        weight = torch.rand(q, generator=generator)
        x, y = (torch.randn(n, 5, generator=generator) for n in (q, g))
        for loss in (ranking.info_nce, ranking.sdm, ranking.triplet_alignment):
            for extras in ({}, {"mask": mask}, {"mask": mask, "weight": weight, "reduction": "none"}):
                options = {"positive": positive, "temperature": 0.1, "engine": "tiled", **extras}
                compare(loss, [torch.randn(q, g, generator=generator)], "matrix", **options)
                compare(loss, [x, y], "cosine", **options)
                extras = {name: value for name, value in options.items() if name != "weight"}
                compare(lambda s, loss=loss, **o: ranking.both_ways(loss, s, **o), [x, y], "cosine", **extras)
            spoilt = torch.randn(q, g, generator=generator)
            spoilt[0, 0] = torch.nan
            whole = {"positive": positive, "engine": "tiled", "reduction": "none"}
            compare(loss, [spoilt], "matrix", **whole)
            compare(loss, [1e3 * torch.randn(q, g, generator=generator)], "matrix", **whole)
    print("all equal")


if __name__ == "__main__":
    main()
