"""Memory: does a training grow, and what do the largest inputs take?

    python evidence/memory.py               # every demo over 2,000 steps; an hour of one core

Each run is a process of its own. Its memory is read twenty times; its slope over the second half of the steps
(Theil and Sen), in KiB per step, must be below ``SLOPE``. Rows go to runs/evidence/memory.csv.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from harness import FOLDER, ROOT, Run, Table, run_all
from scipy.stats import theilslopes

DEMOS = sorted(file.parent.name for file in (ROOT / "recipes").glob("*/demo.yaml"))
STEPS, SLOPE = 2_000, 1.0


def resident() -> float:
    """Memory of this process that is no file's, KiB, without what was freed and waits to be used again.

    Pages of libraries come and go as the system likes: under load a third of a gigabyte of them.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return status("RssAnon", "RssShmem", "VmSwap")


def status(*names: str) -> float:
    """What the system says of this process, KiB; not ``ru_maxrss``, where a new process starts with its parent's."""
    found = dict(re.findall(r"(\w+):\s+(\d+) kB", Path("/proc/self/status").read_text()))
    return float(sum(int(found[name]) for name in names))


def train(domain: str, out: str) -> None:
    """Trains for the steps; writes ``[step, KiB]`` rows. In a process of its own."""
    from lightning.pytorch.callbacks import Callback

    from zoo.cli import training as place
    from zoo.recipe import build_trainer_arguments

    rows: list[list[float]] = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, *rest) -> None:
            if trainer.global_step % (STEPS // 20) == 0:
                rows.append([trainer.global_step, resident()])

    import zoo.recipe as recipes

    recipes.build_trainer_arguments = lambda recipe: {
        **(made := build_trainer_arguments(recipe)),
        "callbacks": [*made.get("callbacks", []), Watch()],
    }
    place.train(
        f"{domain}/demo", {"trainer.max_epochs": -1, "trainer.max_steps": STEPS}, f"evidence/memory/{domain}",
        overwrite=True,
    )  # fmt: skip
    Path(out).write_text(json.dumps(rows))


def given(name: str, out: str) -> None:
    """One large input; writes the most memory it took beyond the start. In a process of its own."""
    import torch

    torch.zeros(1)
    before = status("VmRSS")
    INPUTS[name](Path(out).with_suffix(""))
    Path(out).write_text(json.dumps([[0, 0.0], [1, status("VmHWM") - before]]))


def scores(place: Path) -> None:
    """Rank metrics of a binary problem."""
    import torch

    from zoo.metrics import average_precision, roc_auc

    drawn = torch.rand(200_000)
    roc_auc(drawn, drawn < 0.3)
    average_precision(drawn, drawn < 0.3)


def calibration(place: Path) -> None:
    """Confidences of 200,000 samples of 100 classes."""
    import torch

    from zoo.metrics import ExpectedCalibrationError

    metric = ExpectedCalibrationError()
    for _ in range(200):
        metric.update(torch.randn(1000, 100), torch.randint(0, 100, (1000,)))
    metric.compute()


def photograph(place: Path) -> None:
    """A photograph, read."""
    from PIL import Image

    from zoo.training import read_image

    file = place.with_suffix(".jpg")
    Image.new("RGB", (8_660, 5_774), (90, 120, 60)).save(file)
    assert read_image(file).shape == (3, 5_774, 8_660)
    file.unlink()


def gallery(place: Path) -> None:
    """A gallery searched for what completes an outfit."""
    from PIL import Image

    from zoo import predict

    place.mkdir(exist_ok=True)
    for number in range(2_000):
        Image.new("RGB", (32, 32), (number % 256, 90, 60)).save(place / f"{number:04d}.jpg")
    first = [place / "0000.jpg", place / "0100.jpg"]
    predict(
        "outfit-small", request={"outfit": first, "complete": "jeans", "gallery": place, "top": 5}, out=place / "out"
    )


def film(place: Path) -> None:
    """A film scored, of 24 frames a second."""
    import av
    import torch

    from zoo.domains.anomaly import ImageFeatures, MILRanking

    file = place.with_suffix(".mp4")
    picture = np.random.default_rng(0).integers(0, 256, (128, 160, 3), dtype=np.uint8)
    with av.open(str(file), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        for number in range(2 * 60 * 60 * 24):
            picture[0] = number % 256
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    extractor = ImageFeatures("test_resnet", pretrained=False, size=32, frames=1, fps=None, batch=32)
    extractor.network(torch.device("cpu"))
    model = MILRanking(features=extractor.width, extractor=extractor).eval()
    assert model.predict_video(file).frames == 172_800
    file.unlink()


def raster(place: Path) -> None:
    """Trees of a raster counted, by windows."""
    import rasterio

    from zoo.domains.counting import TreeFormer

    place.mkdir(exist_ok=True)
    layout: dict[str, Any] = {"count": 3, "dtype": "uint8", "tiled": True, "blockxsize": 256, "blockysize": 256}
    with rasterio.open(
        place / "raster.tif", "w", driver="GTiff", width=20_000, height=20_000, compress="deflate", **layout
    ) as opened:
        for top in range(0, 20_000, 1_000):
            band = np.full((3, 1_000, 20_000), top // 100, dtype=np.uint8)
            opened.write(band, window=rasterio.windows.Window(0, top, 20_000, 1_000))
    module = TreeFormer(backbone="mobilenetv3_small_050", window=256, overlap=0).eval()
    module.beside = place / "out"
    (row,), _ = module.predict_file(place / "raster.tif")
    assert (row["width"], row["height"]) == (20_000, 20_000)


INPUTS = {
    "200k scores": scores,
    "200k calibration": calibration,
    "photograph of 50 megapixels": photograph,
    "gallery of 2,000 items": gallery,
    "film of two hours": film,
    "raster of 20,000 x 20,000": raster,
}


def measured(run: Run) -> Mapping[str, object]:
    """Runs one in a process of its own."""
    out = (FOLDER / f"memory-{run['what'].replace(' ', '-').replace(',', '')}.json").absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    act = "train" if run["kind"] == "training" else "given"
    command = [sys.executable, __file__, "--run", act, run["what"], str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"slope_kib": float("nan"), "peak_mib": float("nan"), "told": done.stderr.strip()[-300:]}
    rows = np.array(json.loads(out.read_text()))
    half = rows[len(rows) // 2 :]
    slope = float(theilslopes(half[:, 1], half[:, 0]).slope) if act == "train" else 0.0  # one jump is no growth
    return {"slope_kib": round(slope, 3), "peak_mib": round(float(rows[:, 1].max()) / 1024, 1), "told": ""}


def main() -> int:
    """Runs what is left."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", nargs=3, metavar=("ACT", "NAME", "OUT"), help=argparse.SUPPRESS)
    parser.add_argument("--domains", nargs="*", default=DEMOS)
    parser.add_argument("--inputs", nargs="*", default=[*INPUTS], choices=[*INPUTS])
    parser.add_argument("--jobs", type=int, default=1, help="rows side by side")
    parser.add_argument("--plan", action="store_true")
    args = parser.parse_args()
    if args.run:
        {"train": train, "given": given}[args.run[0]](*args.run[1:])
        return 0
    table = Table(FOLDER / "memory.csv", ("kind", "what"))
    runs = [{"kind": "training", "what": domain} for domain in args.domains]
    runs += [{"kind": "input", "what": name} for name in args.inputs]
    run_all(table, runs, measured, seconds=300, plan_only=args.plan, jobs=args.jobs)
    bad = [row for row in table.rows if row["told"] or not float(row["slope_kib"]) < SLOPE]
    for row in bad:
        print(f"{row['what']}: {row['slope_kib']} KiB a step {row['told']}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
