"""Measure whether `best` is ever below `fast`, over eight sets of images and three seeds.

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
SETS = [name for name in (*recipes.SETS, *recipes.MORE) if name not in recipes.BUDGETS]
SEEDS = 3


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, then write the table."""
    options = pages.parser(__doc__, "best").parse_args(arguments)
    rows: dict[str, dict[str, list[Any]]] = {name: {} for name in SETS}
    for seed in range(SEEDS):
        for recipe in ("fast", "best"):
            for name in SETS:
                measure = partial(recipes.row, recipe, name, seed, options.data)
                part = pages.kept(options.work / f"{recipe}-{name}-{seed}.json", measure)
                rows[name].setdefault(recipe, []).append(part)
    pages.publish(PAGE, options.out, rows, table(rows))


def table(rows: dict[str, dict[str, list[Any]]]) -> str:
    """Return accuracy and seconds of the recipes, and what `best` chose."""
    lines = [
        "| images | `fast`, % | `best`, % | `best` against `fast`, points | "
        "`fast`, s | `best`, s | what `best` chose |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, by_recipe in rows.items():
        means = {
            recipe: {
                key: statistics.mean(part[key] for part in parts) for key in ("accuracy", "seconds")
            }
            for recipe, parts in by_recipe.items()
        }
        pairs = zip(by_recipe["best"], by_recipe["fast"], strict=True)
        gains = [100 * (best["accuracy"] - fast["accuracy"]) for best, fast in pairs]
        fast, best = means["fast"], means["best"]
        chosen = Counter(part["chosen"] or "head alone" for part in by_recipe["best"])
        cells = [
            name,
            f"{100 * fast['accuracy']:.1f}",
            f"{100 * best['accuracy']:.1f}",
            recipes.interval(gains),
            f"{fast['seconds']:.0f}",
            f"{best['seconds']:.0f}",
            "; ".join(f"{what} ({count})" if count > 1 else what for what, count in chosen.items()),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
