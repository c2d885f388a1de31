# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Your own images into any domain
#
# Name a folder of pictures of yours. Here it is made up, so that the notebook runs anywhere.

# %%
from pathlib import Path

import numpy as np
from PIL import Image

import zoo

folder = Path("pictures")  # yours
folder.mkdir()
rng = np.random.default_rng(0)
for index in range(4):
    noise = rng.integers(0, 255, (24 >> index % 2, 32 >> index % 2, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((128, 96), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
sorted(file.name for file in folder.iterdir())

# %% [markdown]
# Each small model takes pictures of any size and gives a table; with `out` it also writes a picture per input. They were
# trained on made-up data in minutes: good for seeing what comes back, not for believing it.

# %%
for name in ("quality-small", "counting-small", "detection-small", "calibration-small"):
    table = zoo.predict(name, folder, out=f"answers/{name}")
    print(name, "\n", table.drop(columns="file").iloc[:2, :5].to_string(index=False), "\n")

# %% [markdown]
# From Python, a model takes what you have: `uint8` arrays or tensors, one or many.

# %%
pixels = np.asarray(Image.open(folder / "0.png")).transpose(2, 0, 1)
zoo.load("quality-small").predict(pixels).score

# %% [markdown]
# re-ID and outfit ask about a gallery: `zoo predict reid-small --gallery pictures --query "a red coat"`. Anomaly takes
# videos, or features of them.

# %%
zoo.predict("reid-small", request={"gallery": folder, "query": ["a person in a red coat"], "top": 2})

# %% [markdown]
# ## Training on them
#
# What a training needs beside pictures differs: classes, boxes, points, scores, captions. `zoo data show NAME` says for
# each reader how it must lie; folders of classes are `ImageFolder`.

# %%
for index, file in enumerate(sorted(folder.iterdir()) * 6):
    place = Path("classes") / ("fine" if int(file.stem) % 2 == 0 else "coarse")
    place.mkdir(parents=True, exist_ok=True)
    Image.open(file).rotate(15 * index).save(place / f"{index}.png")

options = {
    "data": "ImageFolder", "data.root": "classes", "data.size": 16, "data.batch_size": 8,
    "model.classes": 2, "trainer.max_epochs": 2,
}  # fmt: skip
run = zoo.train("calibration/demo", options, name="mine")
zoo.evaluate(run)["acc"]
