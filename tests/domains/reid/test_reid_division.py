"""Confident consensus division: two mixtures, the threshold, consensus and coins, and what cannot be divided."""

import numpy as np
import pandas as pd
import pytest
import torch

from zoo.domains.reid import division
from zoo.domains.reid.division import divide, predict_clean
from zoo.domains.reid.division_record import figures, line, write

RNG = np.random.default_rng(0)
NOISY = np.arange(400) >= 300
LOSSES = np.where(NOISY, RNG.normal(5, 0.4, 400), RNG.normal(1, 0.4, 400)).astype(np.float32)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("mixture", ["loose", "tight"])
def test_two_clouds_are_told_apart(mixture):
    found = divide(LOSSES, LOSSES + RNG.normal(0, 0.1, 400), mixture, generator())
    assert np.array_equal(found.labels, ~NOISY)
    assert not found.undecided.any()
    assert found.bge.note == found.tse.note == ""
    assert ((found.bge.probability > 0.5) == ~NOISY).all()


def test_the_posterior_is_that_of_the_mixture_on_scaled_losses():
    from sklearn.mixture import GaussianMixture

    scaled = ((LOSSES - LOSSES.min()) / (LOSSES.max() - LOSSES.min())).reshape(-1, 1)
    for name, (iterations, tolerance, variance) in {"loose": (10, 1e-2, 5e-4), "tight": (100, 1e-4, 1e-6)}.items():
        model = GaussianMixture(2, max_iter=iterations, tol=tolerance, reg_covar=variance, random_state=7).fit(scaled)
        expected = model.predict_proba(scaled)[:, model.means_.argmin()]
        np.testing.assert_allclose(predict_clean(LOSSES, name, 7).probability, expected, atol=1e-6)


def test_where_all_are_clean_the_lowest_per_cent_and_one_more_are_dropped(monkeypatch):
    probability = np.linspace(0.6, 0.9, 200)

    class Sure:
        means_ = np.array([[0.1], [0.9]])

        def __init__(self, *args, **options):
            pass

        def fit(self, x):
            return self

        def predict_proba(self, x):
            return np.stack([probability, 1 - probability], 1)

    monkeypatch.setattr(division, "GaussianMixture", Sure)
    found = predict_clean(np.arange(200.0), "loose", 0)
    assert (~found.clean).sum() == 3
    assert not found.clean[:3].any()


def test_a_coin_decides_where_the_two_disagree_and_only_there():
    swapped = LOSSES.copy()
    swapped[:100] = 5 + RNG.normal(0, 0.3, 100)  # noisy for one of them, 100 of 400
    found = divide(LOSSES, swapped, "loose", generator())
    assert found.undecided[:100].all()
    assert found.undecided.sum() == 100
    assert found.labels[100:300].all()
    assert not found.labels[300:].any()
    assert 30 < found.labels[:100].sum() < 70
    again, other = (divide(LOSSES, swapped, "loose", generator(seed)) for seed in (0, 1))
    assert np.array_equal(found.labels, again.labels)
    assert not np.array_equal(found.labels, other.labels)


def test_the_generator_goes_on():
    swapped = LOSSES[::-1].copy()
    own = generator()
    first, second = (divide(LOSSES, swapped, "loose", own).labels for _ in range(2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("losses", "note"),
    [
        (np.full(50, 0.25), "all losses are 0.25"),
        (np.array([0.5, np.nan, 1.0]), "a loss is not finite"),
        (np.array([0.5]), "all losses are 0.5"),
    ],
)
def test_what_cannot_be_divided_is_all_clean_and_said(losses, note):
    found = divide(losses, losses, "loose", generator())
    assert found.labels.all()
    assert not found.undecided.any()
    assert note in found.bge.note
    said = line(figures(found, 1, None), found)
    assert f"BGE: all clean, {note}" in said
    assert "TSE: all clean" in said


def test_a_fit_that_fails_is_all_clean_and_said(monkeypatch):
    def fails(*args, **options):
        raise ValueError("ill-defined")

    monkeypatch.setattr(division.GaussianMixture, "fit", fails)
    found = predict_clean(LOSSES, "loose", 0)
    assert found.clean.all()
    assert found.note == "the mixture cannot be fitted: ill-defined"


def test_figures_and_files(tmp_path):
    found = divide(LOSSES, LOSSES, "loose", generator())
    values = figures(found, 3, NOISY)
    assert values["auroc"] == values["auroc_bge"] == values["precision"] == values["recall"] == 1
    assert values["clean"] == 300
    assert "auroc" not in figures(found, 3, None)
    assert "auroc" not in figures(found, 3, np.zeros(400, bool))
    names = [f"{number}.jpg" for number in range(400)]
    for folder in ("a", "b"):
        write(tmp_path / folder, found, names, (LOSSES, LOSSES), NOISY, [values])
    table = pd.read_csv(tmp_path / "a" / "epoch_0003.csv.gz")
    assert table["id"].tolist() == names
    assert table["clean"].tolist() == (~NOISY).astype(int).tolist()
    assert table["noisy"].sum() == 100
    np.testing.assert_allclose(table["loss_bge"], LOSSES, rtol=1e-6)
    assert pd.read_csv(tmp_path / "a" / "summary.csv")["auroc"].tolist() == [1.0]
    assert (tmp_path / "a" / "epoch_0003.png").stat().st_size > 5000
    one, two = ((tmp_path / folder / "epoch_0003.csv.gz").read_bytes() for folder in "ab")
    assert one == two
