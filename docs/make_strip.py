"""The picture of README.md: each small model that comes with the package, asked once, on data made by zoo.

    python docs/make_strip.py [docs/strip.png]

Every panel is a file that ``zoo predict`` or ``zoo eval --out`` writes, without its white margins; half a minute.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

import zoo
from zoo.cli.eval import evaluate_into
from zoo.hub.targets import sample
from zoo.recipe import build_data, read

WIDTH, GAP, CAPTION = 1760, 24, 30
ROWS = (("anomaly", "calibration"), ("reid", "outfit"), ("detection", "counting", "quality"))
TITLES = {
    "anomaly": "anomaly: when something happens in a video",
    "calibration": "calibration: confidence that can be believed",
    "reid": "re-ID: a person from words",
    "detection": "detection: what is where",
    "counting": "counting: trees from the air",
    "quality": "quality: best to worst",
    "outfit": "outfit: what goes with it",
}
QUERY = "a person in an orange jacket and black shorts, with a yellow hat"


def plain(domain: str, out: Path) -> Path:
    """The prediction on the model's own sample."""
    zoo.predict(f"{domain}-small", sample(f"{domain}-small"), out)
    return next(out.glob("*.png"))


def detected(out: Path) -> Path:
    """A test picture of the made-up shapes that shows more than one; the sample shows one."""
    shapes = build_data(read("detection/small"))
    zoo.predict("detection-small", sorted(Path(shapes.folder()).glob("test/*.jpg"))[6], out)
    return next(out.glob("*.png"))


def reliability(out: Path) -> Path:
    """Confidence beside accuracy on the test digits."""
    evaluate_into("calibration-small", out)
    return next(out.glob("*.png"))


def search(out: Path) -> Path:
    """The gallery of the sample, searched by a sentence."""
    gallery = sample("reid-small").parent.parent / "CUHK-PEDES" / "imgs"
    zoo.predict("reid-small", out=out, request={"gallery": gallery, "query": [QUERY], "top": 5})
    return next(out.glob("*.png"))


def ordered(out: Path) -> Path:
    """One photograph, blurred ever more, put in order."""
    files = out / "photographs"
    files.mkdir(parents=True)
    with Image.open(sample("quality-small")) as photograph:
        for radius in (3.0, 0.0, 1.5, 0.7):
            photograph.filter(ImageFilter.GaussianBlur(radius)).save(files / f"blur {radius}.png")
    zoo.predict("quality-small", files, out)
    return out / "overview.png"


def completed(out: Path) -> Path:
    """Three pieces of an outfit, and what of the gallery goes with them."""
    images = sorted((sample("outfit-small").parent.parent / "images").glob("*.jpg"))
    wanted = {"outfit": [images[index] for index in (0, 3, 6)], "complete": "tote bag"}
    zoo.predict("outfit-small", out=out, request={**wanted, "gallery": images[0].parent, "top": 3})
    return next(out.glob("*.png"))


PANELS: dict[str, Callable[[Path], Path]] = {
    "anomaly": lambda out: plain("anomaly", out),
    "calibration": reliability,
    "reid": search,
    "detection": detected,
    "counting": lambda out: plain("counting", out),
    "quality": ordered,
    "outfit": completed,
}


def trimmed(file: Path) -> Image.Image:
    """A picture without its white margins."""
    picture = Image.open(file).convert("RGB")
    dark = np.asarray(picture).min(axis=2) < 250
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    return picture.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def row(pictures: dict[str, Image.Image]) -> Image.Image:
    """Pictures side by side at one height, so that they fill the width, each with its title above."""
    room = WIDTH - GAP * (len(pictures) + 1)
    height = round(room / sum(picture.width / picture.height for picture in pictures.values()))
    canvas = Image.new("RGB", (WIDTH, height + CAPTION + GAP), "white")
    draw, font, left = ImageDraw.Draw(canvas), ImageFont.load_default(18), GAP
    for name, picture in pictures.items():
        size = (round(picture.width * height / picture.height), height)
        draw.text((left, 2), TITLES[name], fill=(20, 20, 20), font=font)
        canvas.paste(picture.resize(size, Image.Resampling.LANCZOS), (left, CAPTION))
        left += size[0] + GAP
    return canvas


def main(file: Path) -> None:
    """Asks every model and writes the picture."""
    with tempfile.TemporaryDirectory() as place:
        found = {name: trimmed(make(Path(place) / name)) for name, make in PANELS.items()}
    rows = [row({name: found[name] for name in names}) for names in ROWS]
    strip = Image.new("RGB", (WIDTH, sum(part.height for part in rows)), "white")
    top = 0
    for part in rows:
        strip.paste(part, (0, top))
        top += part.height
    strip.quantize(200, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file}: {strip.width} x {strip.height}, {file.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("strip.png"))
