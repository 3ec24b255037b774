"""Measure whether `best` is ever below `fast`, or below the usual two phases.

Sets of images, two backbones and three seeds, which choose the split or the training images.

    python benchmarks/best.py --data path/to/data

The folder is that of `recipes.py`, whose rows these are: all of them with the recipes' defaults and
without a budget. The test images are looked at once for each figure. Finished parts are kept in
`--work`.
"""

import statistics
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pages
import recipes

PAGE = Path("docs/explanation/best.md")
SETS = [
    name for name in (*recipes.SETS, *recipes.MORE, *recipes.SECOND) if name not in recipes.BUDGETS
]
DESCRIBED = "mnist_as_described"
SEEDS = 3


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, then write the table."""
    options = pages.parser(__doc__, "best").parse_args(arguments)
    first = [name for name in SETS if name not in recipes.SECOND]
    second = list(recipes.SECOND)
    jobs = [
        (recipe, name, seed)
        for names, tried in ((first, ("fast", "best", DESCRIBED)), (second, ("fast", "best")))
        for seed in range(SEEDS)
        for recipe in tried
        for name in names
    ]
    rows: dict[str, dict[str, list[Any]]] = {name: {} for name in SETS}
    for recipe, name, seed in jobs:
        measure = partial(recipes.row, recipe, name, seed, options.data)
        part = pages.kept(options.work / f"{recipe}-{name}-{seed}.json", measure)
        rows[name].setdefault(recipe, []).append(part)
    pages.publish(PAGE, options.out, rows, table(rows))


def table(rows: dict[str, dict[str, list[Any]]]) -> str:
    """Return accuracy and seconds of the recipes, and what `best` chose."""
    lines = [
        "| images | usual, % | `fast`, % | `best`, % | `best` against `fast`, points | "
        "`fast`, s | `best`, s | what `best` chose |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name, by_recipe in rows.items():
        fast, best, usual = (by_recipe.get(recipe, []) for recipe in ("fast", "best", DESCRIBED))
        gains = [
            100 * (after["accuracy"] - before["accuracy"])
            for after, before in zip(best, fast, strict=True)
        ]
        chosen = Counter(part["chosen"] or "head alone" for part in best)
        cells = [
            name,
            *(_percent(parts) for parts in (usual, fast, best)),
            recipes.interval(gains),
            *("" if name in recipes.SECOND else _seconds(parts) for parts in (fast, best)),
            "; ".join(f"{what} ({count})" if count > 1 else what for what, count in chosen.items()),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(parts: list[Any]) -> str:
    """Return the mean accuracy over the seeds, or "" if it was not measured."""
    return f"{100 * statistics.mean(part['accuracy'] for part in parts):.1f}" if parts else ""


def _seconds(parts: list[Any]) -> str:
    return f"{statistics.median(part['seconds'] for part in parts):.0f}"


if __name__ == "__main__":
    main()
