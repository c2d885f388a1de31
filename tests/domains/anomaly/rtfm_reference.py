"""RTFM once more, step by step from its description, with explicit loops where the network uses tensors."""

import torch
from torch.nn import functional as f


def norm(x, state, name):
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scaled = (x - mean[:, None]) / (variance[:, None] + 1e-5).sqrt()
    return scaled * state[f"{name}.weight"][:, None] + state[f"{name}.bias"][:, None]


def one_crop(rows, state):
    """Scores `(T,)` and features `(T, D)` of one crop of one video, `rows (T, D)`."""
    x = rows.T
    scales = []
    for number, dilation in ((1, 1), (2, 2), (3, 4)):
        name = f"Aggregate.conv_{number}"
        y = f.conv1d(x[None], state[f"{name}.0.weight"], state[f"{name}.0.bias"], padding=dilation, dilation=dilation)
        scales.append(norm(f.relu(y[0]), state, f"{name}.2"))
    reduced = f.relu(state["Aggregate.conv_4.0.weight"][:, :, 0] @ x)
    block = "Aggregate.non_local"
    linear = lambda name, z: state[f"{name}.weight"][:, :, 0] @ z + state[f"{name}.bias"][:, None]  # noqa: E731
    theta, phi, g = (linear(f"{block}.{name}", reduced) for name in ("theta", "phi", "g"))
    length = x.shape[1]
    mixed = torch.stack(
        [sum((theta[:, t] @ phi[:, s]) / length * g[:, s] for s in range(length)) for t in range(length)], dim=1
    )
    scales.append(norm(linear(f"{block}.W.0", mixed), state, f"{block}.W.1") + reduced)
    joined = f.conv1d(torch.cat(scales)[None], state["Aggregate.conv_5.0.weight"], padding=1)
    hidden = (norm(f.relu(joined[0]), state, "Aggregate.conv_5.2") + x).T
    inside = f.relu(hidden @ state["fc1.weight"].T + state["fc1.bias"])
    inside = f.relu(inside @ state["fc2.weight"].T + state["fc2.bias"])
    return torch.sigmoid(inside @ state["fc3.weight"].T + state["fc3.bias"])[:, 0], hidden


def one_video(crops, state):
    """Scores `(T,)`, features `(crops, T, D)` and magnitudes `(T,)` of a video `crops (T, crops, D)`."""
    found = [one_crop(crops[:, crop], state) for crop in range(crops.shape[1])]
    scores = sum(scores for scores, _ in found) / len(found)
    magnitudes = sum((hidden**2).sum(1).sqrt() for _, hidden in found) / len(found)
    return scores, torch.stack([hidden for _, hidden in found]), magnitudes


def objective(scores, features, chosen, label):
    """The released objective: scores and chosen per video, the flattened anomalous scores, the global norm."""
    best = [sum(row[t] for t in top) / len(top) for row, top in zip(scores, chosen, strict=True)]
    crossed = -sum(y * torch.log(p) + (1 - y) * torch.log(1 - p) for p, y in zip(best, label, strict=True)) / len(best)
    sizes = [
        [sum(crop[t] for t in top) / len(top) for crop in video] for video, top in zip(features, chosen, strict=True)
    ]
    sizes = [[(mean**2).sum().sqrt() for mean in video] for video in sizes]
    abnormal = [video for video, y in zip(sizes, label, strict=True) if y == 1]
    normal = [video for video, y in zip(sizes, label, strict=True) if y == 0]
    apart = [
        ((100 - a).abs() + n) ** 2
        for high, low in zip(abnormal, normal, strict=True)
        for a, n in zip(high, low, strict=True)
    ]
    flat = [score for row, y in zip(scores, label, strict=True) if y == 1 for score in row]
    padded = [*flat[1:], flat[-1]]
    return {
        "classification": crossed,
        "magnitude": 1e-4 * sum(apart) / len(apart),
        "smoothness": 8e-4 * sum((after - before) ** 2 for before, after in zip(flat, padded, strict=True)),
        "sparsity": 8e-3 * sum(score**2 for score in flat) ** 0.5,
    }
