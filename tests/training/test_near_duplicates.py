import torch

from zoo.training.near_duplicates import near_duplicates, perceptual_hash


def smooth(seed):
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, 6, 6, generator=generator)
    return torch.nn.functional.interpolate(small, size=96, mode="bicubic").clamp(0, 1)[0]


def test_a_rescaled_brighter_copy_is_near_and_another_picture_is_not():
    image = smooth(0)
    copy = torch.nn.functional.interpolate(image[None], size=64, mode="bilinear")[0] * 0.9 + 0.05
    hashes = [perceptual_hash(smooth(seed)) for seed in range(1, 20)]
    found = near_duplicates([*hashes, perceptual_hash(copy)], [perceptual_hash(image)])
    assert [(left, right) for left, right, _ in found] == [(19, 0)]


def test_bits_are_counted():
    assert near_duplicates([0b1111, 0], [0, 0b11111]) == [(0, 0, 4), (0, 1, 1), (1, 0, 0)]
    assert near_duplicates([], [1]) == []
