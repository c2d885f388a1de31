"""What a data set gives, as plain values; two data sets that teach the same give the same."""

import numpy as np
import torch


def seen(data, root, split, epochs=1):
    """All batches of a split, without what names the folder or counts rows of it."""
    loader = data.train_dataloader() if split == "train" else data._evaluation_loader(split)
    batches = []
    for epoch in range(epochs):
        loader.batch_sampler.set_epoch(epoch)
        batches += [plain(batch, str(root)) for batch in loader]
    return batches


def plain(value, root):
    if isinstance(value, dict):
        return {key: plain(part, root) for key, part in value.items() if key not in ("index", "place")}
    if isinstance(value, list | tuple):
        return [plain(part, root) for part in value]
    if isinstance(value, str):
        return value.replace(root, "")
    return value.numpy() if isinstance(value, torch.Tensor) else value


def differences(one, other, place=""):
    """Where two batches differ."""
    if isinstance(one, dict) and one.keys() == other.keys():
        return [found for key in one for found in differences(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for number, pair in pairs for found in differences(*pair, f"{place}/{number}")]
    if isinstance(one, np.ndarray):
        return [] if np.array_equal(one, other, equal_nan=one.dtype.kind == "f") else [place]
    return [] if one == other else [f"{place}: {one!r} and {other!r}"]
