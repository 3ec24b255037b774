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
from itertools import product
from pathlib import Path
from typing import Any

import pages
import recipes

PAGE = Path("docs/explanation/best.md")
SETS = [
    name for name in (*recipes.SETS, *recipes.MORE, *recipes.SECOND) if name not in recipes.BUDGETS
]
DESCRIBED = "mnist_as_described"


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, then write the table."""
    parser = pages.parser(__doc__, "best")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--more", action="store_true", help="the usual phases, and MobileNet")
    options = parser.parse_args(arguments)
    first = [name for name in SETS if name not in recipes.SECOND]
    groups = [(first, ("fast", "best"))]
    if options.more:
        groups += [(first, (DESCRIBED,)), ([*recipes.SECOND], ("fast", "best"))]
    rows: dict[str, dict[str, list[Any]]] = {name: {} for name in SETS}
    for names, tried in groups:
        for seed, recipe, name in product(range(options.seeds), tried, names):
            measure = partial(recipes.row, recipe, name, seed, options.data)
            part = pages.kept(options.work / f"{recipe}-{name}-{seed}.json", measure)
            rows[name].setdefault(recipe, []).append(part)
    rows = {name: parts for name, parts in rows.items() if parts}
    pages.publish(PAGE, options.out, rows, table(rows))


def table(rows: dict[str, dict[str, list[Any]]]) -> str:
    """Return accuracy and seconds of the recipes, and what `best` chose."""
    columns = [_describe(name, by_recipe) for name, by_recipe in rows.items()]
    titles = [title for title in columns[0] if any(row[title] for row in columns)]
    lines = [titles, ["---:" if title.endswith(("%", ", s")) else "---" for title in titles]]
    lines += [[row[title] for title in titles] for row in columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _describe(name: str, by_recipe: dict[str, list[Any]]) -> dict[str, str]:
    """Return the cells of one set of images by their column; "" for what was not measured."""
    fast, best, usual = (by_recipe.get(recipe, []) for recipe in ("fast", "best", DESCRIBED))
    gains = [
        100 * (after["accuracy"] - before["accuracy"])
        for after, before in zip(best, fast, strict=True)
    ]
    chosen = Counter(_shorten(part["chosen"] or "head alone") for part in best)
    is_first = name not in recipes.SECOND  # the others were not measured on an idle machine
    return {
        "images": name,
        "usual phases, %": _percent(usual),
        "`fast`, %": _percent(fast),
        "`best`, %": _percent(best),
        "difference by seed": ", ".join(f"{gain:+.1f}" for gain in gains),
        "`fast`, s": _seconds(fast) if is_first else "",
        "`best`, s": _seconds(best) if is_first else "",
        "learning rate chosen": "; ".join(
            f"{what} ({count})" if count > 1 else what for what, count in chosen.items()
        ),
    }


def _shorten(chosen: str) -> str:
    """Return the name of a candidate as its learning rate and its share of the way."""
    rate, _, share = chosen.removeprefix("fine-tuned at ").partition(", ")
    return f"{rate} ({share.removesuffix(' of the way')})" if share else rate


def _percent(parts: list[Any]) -> str:
    """Return the mean accuracy over the seeds, or "" if it was not measured."""
    return f"{100 * statistics.mean(part['accuracy'] for part in parts):.1f}" if parts else ""


def _seconds(parts: list[Any]) -> str:
    return f"{statistics.median(part['seconds'] for part in parts):.0f}"


if __name__ == "__main__":
    main()
