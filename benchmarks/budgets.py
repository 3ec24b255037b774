"""Measure the accuracy of `best` with budgets from ten seconds to ten minutes.

    python benchmarks/budgets.py --data path/to/data

The folder is that of `recipes.py`. Every budget is a training of its own with the recipe's
defaults; features are not kept between them. Seconds are those of `Recipe.train`, imports and the
evaluation left out. fastai's points, with the same weights and image size, are those of
`journey.py`. Run nothing else meanwhile. Finished parts are kept in `--work`; the table and the
chart go into the page.
"""

import json
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import keras
import pages
import recipes
from matplotlib.figure import Figure

import tlkit

PAGE = Path("docs/explanation/budgets.md")
CHART = Path("docs/results/budgets.png")
JOURNEY = Path("docs/results/journey.json")
SETS = ("flowers, 160 px", "Fashion-MNIST, 1,000 images")
SECONDS = (10, 30, 60, 180, 600)
FASTAI_EPOCHS = (1, 3, 5)


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, then write the table and the chart."""
    parser = pages.parser(__doc__, "budgets")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, list[Any]]] = {name: {} for name in SETS}
    for seed in range(options.seeds):
        for name in SETS:
            for seconds in SECONDS:
                path = options.work / f"{name}-{seconds}-{seed}.json"
                found = pages.kept(path, partial(measure, name, seconds, seed, options.data))
                rows[name].setdefault(str(seconds), []).append(found)
    draw(rows).savefig(CHART, dpi=150)
    pages.publish(PAGE, options.out, rows, table(rows))


def measure(name: str, seconds: int, seed: int, folder: Path) -> dict[str, Any]:
    """Train with a budget; return the accuracy on test images and the seconds it took."""
    images = recipes.image_set(name, folder, seed)
    keras.backend.clear_session()
    settings: dict[str, Any] = {**(recipes.SETS | recipes.MORE)[name]}
    started = time.perf_counter()
    trained = tlkit.recipes.best().train(
        images.train, budget=seconds / 60, seed=seed, verbose=False, **settings
    )
    took = time.perf_counter() - started
    choice = trained.choice
    return {
        "accuracy": tlkit.evaluate(trained.model, images.test).accuracy,
        "seconds": took,
        "chosen": "head alone" if choice is None else choice.chosen.name,
    }


def table(rows: dict[str, dict[str, list[Any]]]) -> str:
    """Return the mean accuracy and seconds of each budget."""
    heading = " | ".join(f"{seconds} s" for seconds in SECONDS)
    lines = [f"| budget | {heading} |", f"|---|{'---:|' * len(SECONDS)}"]
    for name, found in rows.items():
        for key, unit, scale in (("accuracy", "%", 100), ("seconds", "s", 1)):
            means = [scale * statistics.mean(each[key] for each in found[str(s)]) for s in SECONDS]
            cells = " | ".join(f"{mean:.1f}" for mean in means)
            lines.append(f"| {name}: {key}, {unit} | {cells} |")
    return "\n".join(lines)


def draw(rows: dict[str, dict[str, list[Any]]]) -> Figure:
    """Draw accuracy against seconds, with fastai's beside it."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    panel = figure.subplots()
    for name, found in rows.items():
        points = [
            [statistics.mean(each[key] for each in parts) for key in ("seconds", "accuracy")]
            for parts in found.values()
        ]
        seconds, accuracy = zip(*points, strict=True)
        panel.plot(seconds, [100 * each for each in accuracy], marker="o", label=f"best, {name}")
    others = json.loads(JOURNEY.read_text())["rows"]
    points = [others[f"fastai {epochs}"] for epochs in FASTAI_EPOCHS]
    panel.plot(
        [each["seconds"] for each in points],
        [100 * each["accuracy"] for each in points],
        marker="s",
        linestyle="--",
        label="fastai, fine_tune(1, 3, 5), flowers, 160 px",
    )
    panel.set_xscale("log")
    ticks = [10, 30, 60, 180, 600]
    panel.set_xticks(ticks, [str(tick) for tick in ticks])
    panel.set_xlabel("seconds of training")
    panel.set_ylabel("test accuracy, %")
    panel.grid(alpha=0.3)
    figure.legend(loc="outside upper center")
    return figure


if __name__ == "__main__":
    main()
