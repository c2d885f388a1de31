"""The page over runs: pooling, intervals, differences, what stands on it, and that it needs no network."""

import json
import shutil
import subprocess
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from zoo.errors import InputError
from zoo.report import Run, read_predictions, read_run, write_page
from zoo.report.comparison import borda, differences, grouped, intervals
from zoo.training import ZooModule


class Squares(ZooModule):
    """Rows of a target and a value; ``scene`` holds several rows."""

    domain, unit, smaller_is_better = "nowhere", "scene", ("mae",)

    @classmethod
    def measured(cls, rows, protocol):
        error = (rows["target"] - rows["value"]).abs()
        return {"mae": float(error.mean()), "hits": float((error < 0.5).groupby(rows["scene"]).mean().mean())}

    @classmethod
    def costs(cls, rows):
        return (rows["target"] - rows["value"]).abs()


def made(tmp_path, name, seed=0, error=1.0, rate=0.1, scenes=30, shift=0):
    rng = np.random.default_rng([seed, round(100 * error)])
    scene = np.repeat(np.arange(scenes) + shift, 2)
    target = rng.normal(size=len(scene))
    value = target + error * np.random.default_rng(seed).normal(size=len(scene))
    rows = pd.DataFrame({"id": range(len(scene)), "scene": scene, "target": target, "value": value})
    curves = pd.DataFrame({"epoch": [0, 1], "step": [5, 10], "time": [1.0, 2.0], "train/loss": [2.0, 1.0]})
    metrics = {**Squares.measured(rows, ""), "extra": 3.0, "extra_low": 2.0, "extra_high": 4.0}
    text = f"seed_everything: {seed}\nmodel:\n  class_path: x.Squares\n  init_args:\n    rate: {rate}\ndata: none\n"
    history = {
        "recipe": "x/demo",
        "options": [["model.rate", str(rate)]],
        "took": {"seconds": 4.0, "peak_memory_mib": 9},
    }
    figure = plt.figure(figsize=(1, 1))
    figure.savefig(tmp_path / "picture.png")
    plt.close(figure)
    return Run(name, tmp_path / name, text, Squares, curves, history, "nowhere/points", "plain", metrics, rows,
               {"picture": tmp_path / "picture.png"})  # fmt: skip


@pytest.fixture
def runs(tmp_path):
    good = [made(tmp_path, f"good/seed{seed}", seed, 0.3) for seed in (0, 1)]
    return [*good, made(tmp_path, "bad", 0, 1.5, rate=9.0)]


def test_runs_that_differ_in_the_seed_alone_are_pooled(runs):
    groups = grouped(runs)
    assert [len(group.runs) for group in groups] == [2, 1]
    assert groups[0].name.endswith("good")
    assert groups[1].name == "bad"


def test_the_interval_is_that_of_an_independent_resampling_of_scenes(runs):
    (group,) = grouped(runs[2:])
    found = intervals(group, 400)
    error = Squares.costs(group.runs[0].rows).to_numpy().reshape(30, 2)
    drawn = np.random.default_rng(9).integers(0, 30, (4000, 30))
    low, high = np.quantile(error[drawn].mean((1, 2)), [0.025, 0.975])
    assert found["mae"] == pytest.approx((low, high), rel=0.05)
    assert set(found) == {"mae", "hits"}


def test_a_difference_is_paired_signed_and_tested(runs):
    found = {difference.metric: difference for difference in differences(grouped(runs), 200)}
    mae = found["mae"]
    good = np.mean([run.metrics["mae"] for run in runs[:2]])
    assert mae.value == pytest.approx(good - runs[2].metrics["mae"])
    assert mae.low < mae.value < mae.high < 0
    assert mae.p < 0.02
    assert mae.items == 30
    one = runs[0]
    same = differences(grouped([one, made(one.folder.parents[1], "again", 0, 0.3, rate=7.0)]), 50)
    assert all(difference.value == 0 and difference.p == 1 for difference in same)


def test_runs_on_other_items_are_not_compared(tmp_path, runs):
    other = made(tmp_path, "other", 0, 0.3, rate=5.0, shift=1000)
    assert differences(grouped([runs[2], other]), 20) == []


def test_borda_counts_metrics_of_which_less_is_better_the_right_way(tmp_path, runs):
    shares = borda(grouped(runs))
    assert shares["bad"] == 0
    assert max(shares.values()) == 1
    assert borda(grouped(runs[:2])) == {}


class Page(HTMLParser):
    """Collects what a browser would fetch, and what has no text alternative."""

    def __init__(self):
        super().__init__()
        self.fetched, self.silent, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        for name in ("src", "href", "xlink:href"):
            if name in given and not given[name].startswith(("data:", "#")):
                self.fetched.append(given[name])
        if tag == "img" and not given.get("alt"):
            self.silent.append(tag)
        if tag == "svg" and not given.get("aria-label"):
            self.silent.append(tag)


def test_the_page_needs_no_network_and_says_all(tmp_path, runs):
    write_page(runs, tmp_path / "deep" / "report.html")
    text = (tmp_path / "deep" / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.fetched == []
    assert page.silent == []
    for words in ("good (2 seeds)", "Differences", "Borda", "train/loss", "Worst cases", "--model.rate 9.0", "9 MiB",
                  "<mark>    rate: 9.0</mark>", "[2, 4]"):  # fmt: skip
        assert words in text, words
    assert text.count("data:image/png;base64") == 3


def test_predictions_stand_below_the_runs(tmp_path, runs):
    folder = tmp_path / "predictions"
    folder.mkdir()
    for name in ("a", "overview", "b", "c", "d"):
        shutil.copy(tmp_path / "picture.png", folder / f"{name}.png")
    rows = pd.DataFrame({"file": [f"/far/away/{index}.txt" for index in range(7)], "score": np.arange(7) / 3})
    rows.to_csv(folder / "table.csv", index=False)
    found = read_predictions(folder)
    assert [file.stem for file in found.pictures] == ["overview", "a", "b", "c", "d"]
    write_page(runs[2:], tmp_path / "report.html", [found])
    text = (tmp_path / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert (page.fetched, page.silent) == ([], [])
    assert text.count("data:image/png;base64") == 1 + 4
    assert "<td>4.txt</td><td>1.333</td>" in text
    assert "5.txt" not in text
    assert "/far/away" not in text
    assert f"2 more rows and 1 more pictures in {folder.as_posix()}" in text
    with pytest.raises(InputError, match=r"nowhere holds no predictions \(it has no table.csv"):
        read_predictions(tmp_path / "nowhere")


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def browse(page, folder):
    """What Chromium says on its console about a page, and the page as a picture of 900 x 1200."""
    shot = folder / "shot.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=900,1200"]
    options += [
        f"--user-data-dir={folder / 'profile'}",
        f"--screenshot={shot}",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ]
    done = subprocess.run([BROWSER, *options, page.as_uri()], capture_output=True, text=True, timeout=300)
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line], plt.imread(shot)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_a_browser_shows_the_page_and_complains_of_nothing(tmp_path, runs):
    write_page(runs, tmp_path / "report.html")
    said, shot = browse(tmp_path / "report.html", tmp_path)
    assert said == []
    assert shot.shape[:2] == (1200, 900)
    assert (shot[..., :3].min(axis=2) < 0.5).mean() > 0.005  # there is something on it
    bad = tmp_path / "bad.html"
    bad.write_text("<script>console.error('broken')</script>")
    said, _ = browse(bad, tmp_path)
    assert any("broken" in line for line in said)  # it would have been seen


def test_names_of_runs_are_text_not_markup(tmp_path, runs):
    run = made(tmp_path, "a<script>b", 0)
    write_page([run], tmp_path / "report.html")
    assert "<script>" not in (tmp_path / "report.html").read_text()


def test_the_command_evaluates_writes_and_does_not_evaluate_twice(zoo, tmp_path):
    short = ("--trainer.max_epochs", 2, "--model.margin", 0.5)
    assert zoo("train", "anomaly/demo", *short, cwd=tmp_path).returncode == 0
    first = zoo("report", "runs/anomaly/demo", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.strip() == "runs/anomaly/demo/report.html"
    assert "evaluating best.ckpt" in first.stderr
    run = read_run(tmp_path / "runs/anomaly/demo")
    assert run.metrics == json.loads((run.folder / "evaluation/metrics.json").read_text())["metrics"]
    assert run.history["options"] == [["trainer.max_epochs", "2"], ["model.margin", "0.5"]]
    assert run.history["took"]["peak_memory_mib"] > 100
    second = zoo("report", "runs/anomaly/demo", "--out", "two.html", cwd=tmp_path)
    assert second.stderr == ""
    assert (tmp_path / "two.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "nowhere is no run folder (it has no recipe.yaml)"),
        (["recipe.yaml"], "nowhere: there is no best.ckpt; the training has not reached its first validation"),
    ],
)
def test_what_is_no_run_is_named(zoo, tmp_path, files, message):
    (tmp_path / "nowhere").mkdir()
    for name in files:
        (tmp_path / "nowhere" / name).write_text("{}")
    result = zoo("report", "nowhere", cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
