# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Reading a report
#
# Two settings, two seeds each, on made-up data; `zoo train ... --seeds 0,1` does the same at the prompt.

# %%
from pathlib import Path

import pandas as pd

import zoo
from zoo.cli import main

runs = []
for ranking in ("LambdaNDCG", "ListNet"):
    for seed in (0, 1):
        options = {"model.ranking": ranking, "seed_everything": seed, "trainer.max_epochs": 2}
        runs.append(zoo.train("ltr/demo", options, name=f"{ranking}/seed{seed}"))

# %% [markdown]
# A run is a folder. `recipe.yaml` is the resolved recipe, `metrics.csv` a row per few steps and per epoch, `run.json`
# where it comes from and what it took.

# %%
print(*sorted(path.name for path in runs[0].iterdir()))
pd.read_csv(runs[0] / "metrics.csv")[["epoch", "step", "train/loss", "val/ndcg10"]].dropna()

# %% [markdown]
# `zoo report` evaluates each best checkpoint once and writes one page that needs no network.

# %%
main(["report", *map(str, runs), "--out", "report.html"])
page = Path("report.html").read_text()
f"{len(page) / 1024:.0f} KiB, {page.count('<svg')} drawings"

# %% [markdown]
# **Test metrics.** Runs that differ in nothing but the seed are pooled: mean, ± the deviation over seeds. In brackets
# the 95 % interval over test items: what another draw of test queries would give. The two say different things, and
# neither includes the other.

# %%
from zoo.report import read_run
from zoo.report.comparison import borda, differences, grouped, intervals

groups = grouped([read_run(run) for run in runs])
for group in groups:
    low, high = intervals(group, 200)["ndcg10"]
    print(f"{group.name}: {group.metrics['ndcg10'].mean():.3f} [{low:.3f}, {high:.3f}], {len(group.runs)} seeds")

# %% [markdown]
# **Differences.** Intervals of two settings may overlap although one is better on nearly every query; therefore both see
# the same resampled queries, and the difference has an interval of its own. Where it holds 0, the page says *not told
# apart*. p is not corrected for the number of comparisons.

# %%
for found in differences(groups, 200):
    print(f"{found.metric:8} {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]  p {found.p:.3f}")

# %% [markdown]
# **Borda rank** sums up several metrics: the share of the other settings that one beats, averaged over metrics.

# %%
borda(groups)

# %% [markdown]
# Below follow the curves (pale: single steps), the domain's own figures, the test items the model is most wrong about,
# the recipe with what was overridden marked, and the machine.
