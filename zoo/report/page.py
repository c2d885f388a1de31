"""The page: one HTML file that needs no network."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

from zoo._version import __version__
from zoo.report.comparison import Difference, Group, borda, differences, grouped, intervals, smaller_is_better
from zoo.report.figures import MOST, colour, curve_columns, curves, svg
from zoo.report.html import image, short, table
from zoo.report.predictions import Predictions, section
from zoo.report.runs import Run
from zoo.training.whole import write_whole

WORST = 10
"""Rows of the table of worst cases."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c;
       background: #fff; }
h1, h2, h3 { line-height: 1.2; margin: 1.8em 0 .5em } h1 { margin-top: 0 }
table { border-collapse: collapse; margin: .7em 0; font-size: 14px; display: block; overflow-x: auto }
th, td { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
pre { background: #f5f5f5; padding: .8em; overflow-x: auto; font-size: 13px } mark { background: #ffe58a }
img, svg { max-width: 100%; height: auto } img { max-height: 60rem; width: auto }
figure { margin: 1em 0 } figcaption { color: #555 }
.dot { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em }
.best { font-weight: 600 } .small { color: #555; font-size: 13px }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #191919 } pre { background: #262626 }
  mark { background: #6b5900; color: inherit } th, td { border-color: #444 } svg, img { background: #fff }
  .small, figcaption { color: #aaa } }
"""


def write_page(runs: Sequence[Run], file: Path, predictions: Sequence[Predictions] = ()) -> None:
    """Writes the page.

    Args:
        runs: Evaluated runs; those that differ in nothing but the seed are pooled.
        file: Where to; its folder is made.
        predictions: Shown below the runs.
    """
    groups = grouped(runs)
    parts = [_head(groups), _metrics(groups)]
    if len(groups) > 1:
        parts.append(_differences(differences(groups), groups))
    parts.append(_curves(groups))
    for index, group in enumerate(groups):
        parts.append(f'<h2><span class="dot" style="background:{colour(index)}"></span>{escape(group.name)}</h2>')
        parts += [_run(run, alone=len(group.runs) == 1) for run in group.runs]
    if predictions:
        parts += ["<h2>Predictions</h2>", *map(section, predictions)]
    title = "zoo report: " + ", ".join(group.name for group in groups)
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head><body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, page)


def _head(groups: Sequence[Group]) -> str:
    runs = [run for group in groups for run in group.runs]
    rows = [
        (
            run.name,
            run.method.__name__,
            run.data,
            run.seed,
            len(run.curves) and int(run.curves["epoch"].max()) + 1,
            _took(run),
            _options(run) or "none",
        )
        for run in runs
    ]
    took = table(("run", "method", "test data", "seed", "epochs", "time and memory", "overridden"), rows)
    made = f"{time.strftime('%Y-%m-%d %H:%M')}, zoo {__version__}"
    return f'<h1>{"Run" if len(runs) == 1 else "Runs"}</h1>\n{took}<p class="small">Written {made}.</p>'


def _took(run: Run) -> str:
    took = run.history.get("took", {})
    if not took:
        return "unknown"
    epochs = int(run.curves["epoch"].max()) + 1 if len(run.curves) else 0
    each = f", {took['seconds'] / epochs:.1f} s per epoch" if epochs else ""
    device = f", {took['peak_device_memory_mib']} MiB on the device" if "peak_device_memory_mib" in took else ""
    return f"{took['seconds']:.0f} s{each}; {took['peak_memory_mib']} MiB{device}"


def _options(run: Run) -> str:
    return " ".join(f"--{key} {value}" for key, value in run.history.get("options", []))


def _metrics(groups: Sequence[Group]) -> str:
    """A row per metric, a column per group."""
    names: dict[str, None] = {}
    for group in groups:
        names.update(dict.fromkeys(name for name in map(str, group.metrics) if not name.endswith(("_low", "_high"))))
    ends = [intervals(group) for group in groups]
    ranks = borda(groups)
    body = []
    for name in names:
        means = [group.metrics[name].mean() if name in group.metrics else float("nan") for group in groups]
        best = _best(means, smaller_is_better(groups[0].runs[0], name))
        cells = [
            f'<td class="number{" best" if index in best and len(groups) > 1 else ""}">{_cell(group, name, end)}</td>'
            for index, (group, end) in enumerate(zip(groups, ends, strict=True))
        ]
        body.append(f"<tr><th scope=row>{escape(name)}</th>{''.join(cells)}</tr>")
    if ranks:
        cells = [f'<td class="number">{ranks[group.name]:.2f}</td>' for group in groups]
        body.append(f"<tr><th scope=row>Borda rank (1 best, 0 worst)</th>{''.join(cells)}</tr>")
    head = "".join(
        f'<th scope=col><span class="dot" style="background:{colour(index)}"></span>{escape(group.name)}'
        f"{f' ({len(group.runs)} seeds)' if len(group.runs) > 1 else ''}</th>"
        for index, group in enumerate(groups)
    )
    protocol = ", ".join(dict.fromkeys(f"{run.data}, protocol {run.protocol}" for g in groups for run in g.runs))
    return (
        f"<h2>Test metrics</h2><p>{escape(protocol)}. In brackets the 95 % interval over test items; "
        f"± the standard deviation over seeds.</p><table><thead><tr><th scope=col>metric</th>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def _best(means: Sequence[float], smaller: bool) -> set[int]:
    known = [value for value in means if not math.isnan(value)]
    wanted = (min if smaller else max)(known) if known else None
    return {index for index, value in enumerate(means) if value == wanted}


def _cell(group: Group, name: str, ends: dict[str, tuple[float, float]]) -> str:
    if name not in group.metrics:
        return ""
    values = group.metrics[name]
    text = f"{values.mean():.4g}"
    if len(values) > 1:
        text += f" ± {values.std(ddof=1):.2g}"
    low, high = (f"{name}_low", f"{name}_high")
    if name in ends:
        return text + f" [{ends[name][0]:.4g}, {ends[name][1]:.4g}]"
    if len(values) == 1 and low in group.metrics:
        return text + f" [{group.metrics[low][0]:.4g}, {group.metrics[high][0]:.4g}]"
    return text


def _differences(found: Sequence[Difference], groups: Sequence[Group]) -> str:
    """The table of differences, or why there is none."""
    if not found:
        return "<h2>Differences</h2><p>These runs share no test items, so their metrics cannot be compared by them.</p>"
    rows = [
        (
            d.metric,
            d.first,
            d.second,
            f"{d.value:+.4g}",
            f"[{d.low:+.4g}, {d.high:+.4g}]",
            f"{d.p:.3f}",
            d.items,
            _verdict(d, smaller_is_better(groups[0].runs[0], d.metric)),
        )
        for d in found
    ]
    head = ("metric", "first", "second", "first - second", "95 % interval", "p", "test units", "better")
    note = (
        "Paired bootstrap over test units, seeds averaged; p is not corrected for the number of comparisons "
        f"({len(found)})."
    )
    return f"<h2>Differences</h2><p>{note}</p>{table(head, rows)}"


def _verdict(found: Difference, smaller: bool) -> str:
    if found.low <= 0 <= found.high:
        return "not told apart"
    return found.first if (found.value < 0) == smaller else found.second


def _curves(groups: Sequence[Group]) -> str:
    columns = curve_columns(groups)
    if not columns:
        return ""
    left = len(columns) - MOST
    note = f'<p class="small">{left} further columns stand in metrics.csv.</p>' if left > 0 else ""
    shown = columns[:MOST]
    label = f"curves over optimizer steps: {', '.join(shown)}"
    return f"<h2>Curves</h2><figure>{svg(curves(groups, shown), escape(label))}</figure>{note}"


def _run(run: Run, alone: bool) -> str:
    """What one run shows; of a group of one the heading says its name already."""
    parts = [] if alone else [f"<h3>{escape(run.name)}</h3>"]
    parts += [image(file, f"{name} of {run.name} on {run.data}", name) for name, file in run.figures.items()]
    parts.append(_worst(run))
    parts.append(f"<h3>Recipe</h3>{_recipe(run)}")
    if machine := run.history.get("environment"):
        parts.append(f"<h3>Environment</h3>{table((), list(machine.items()))}")
    return "\n".join(part for part in parts if part)


def _worst(run: Run) -> str:
    """The test items that the model is most wrong about."""
    costs = run.method.costs(run.rows) if len(run.rows) else None
    if costs is None or costs.dropna().empty:
        return ""
    chosen = costs.dropna().sort_values(ascending=False, kind="stable").head(WORST)
    worst = run.rows.loc[chosen.index].assign(cost=chosen)
    rows = [[short(value) for value in row] for row in worst.itertuples(index=False)]
    return f"<h3>Worst cases</h3>{table([str(name) for name in worst.columns], rows)}"


def _recipe(run: Run) -> str:
    """The recipe; lines of keys that were overridden are marked."""
    keys = {key.replace(".init_args", "").rpartition(".")[2].rstrip("+") for key, _ in run.history.get("options", [])}
    lines = []
    for line in run.text.splitlines():
        marked = line.strip().removeprefix("- ").partition(":")[0] in keys
        lines.append(f"<mark>{escape(line)}</mark>" if marked else escape(line))
    source = run.history.get("recipe")
    note = f"<p>From {escape(source)}; overridden: {escape(_options(run) or 'nothing')}.</p>" if source else ""
    return f"{note}<pre>{chr(10).join(lines)}</pre>"
