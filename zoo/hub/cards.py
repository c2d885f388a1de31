"""The card of a published model: Markdown with the front matter that Hugging Face reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from zoo.checkpoint import Checkpoint
    from zoo.hub.measuring import Measured


def card_text(row: dict[str, Any], checkpoint: Checkpoint, measured: Measured) -> str:
    """Writes the card.

    Args:
        row: Of the index.
        checkpoint: What was published.
        measured: Its evaluation.
    """
    name, said = row["name"], checkpoint.published
    lines = [
        "---",
        yaml.safe_dump(_front_matter(row, measured), sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# {name}",
        "",
        f"A model of the domain `{measured.domain}` of [rankzoo](https://pypi.org/project/rankzoo/), trained by "
        f"{_recipe(row)}.",
        "",
        "```python",
        "import zoo",
        "",
        f'model = zoo.load("{name}")',
        "print(model.card)",
        "```",
        "",
        "```bash",
        f"zoo predict {name} FILES...",
        f"zoo eval {name}",
        "```",
        "",
        f"## Figures ({measured.data}; {measured.items} items; protocol {measured.protocol})",
        "",
        "| metric | value | 95 % interval |",
        "|---|---|---|",
        *(_line(key, measured) for key in measured.main_first),
        "",
        f"Intervals: {measured.note}. Evaluated by {said['code']} when published; version of the data "
        f"`{measured.fingerprint}`.",
        "",
        "## What it takes and gives",
        "",
        f"- classes: {', '.join(checkpoint.classes) or 'none'}",
        *(f"- {key}: {value}" for key, value in checkpoint.preprocess.items()),
        f"- weights: {row['licence']['weights']}; data: {row['licence']['data']}",
        *([f"- converted from {checkpoint.source}"] if checkpoint.source else []),
        f"- file: {row['bytes']:,} bytes, sha256 `{row['sha256']}`",
        "",
        "## Recipe",
        "",
        "```yaml",
        checkpoint.recipe.rstrip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _recipe(row: dict[str, Any]) -> str:
    return f"`zoo train {row['recipe']}`" if "/" in row["recipe"] else "the recipe below"


def _line(key: str, measured: Measured) -> str:
    pair = measured.intervals.get(key)
    interval = f"{pair[0]:.4g} to {pair[1]:.4g}" if pair else ""
    return f"| {key} | {measured.values[key]:.4g} | {interval} |"


def _front_matter(row: dict[str, Any], measured: Measured) -> dict[str, Any]:
    """Keys of Hugging Face's model cards."""
    results = [
        {
            "task": {"type": measured.domain},
            "dataset": {"name": measured.data, "type": measured.data.split(",")[0]},
            "metrics": [{"type": key, "value": measured.values[key]} for key in measured.main_first],
        }
    ]
    return {
        "license": row["licence"]["weights"].lower(),
        "library_name": "rankzoo",
        "tags": ["rankzoo", measured.domain, "ranking"],
        "model-index": [{"name": row["name"], "results": results}],
    }
