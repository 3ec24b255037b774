"""Measure time and accuracy of two recipes on each backend of Keras.

    python benchmarks/backends.py --python torch=path/to/python --python jax=path/to/python

It trains `recipes.few_images` and `recipes.fast` on 1,000 of scikit-learn's digits with the
starter's weights, both inside installed packages, and evaluates on the other 797. Each training has
a process of its own; in each round, which has a seed of its own, the backends take turns. Seconds
are those of `Recipe.train`, without imports: building, probing, compiling and training. A backend
without `--python` runs on this interpreter, or is left out if it is not installed there. The table
is written into docs/reference/backends.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pages

BACKENDS = ("tensorflow", "jax", "torch")
RECIPES = ("fast", "few_images")
PAGE = Path(__file__).parent.parent / "docs" / "reference" / "backends.md"

Row = dict[str, Any]


def measure(recipe: str, seed: int) -> Row:
    """Train and evaluate on the backend that KERAS_BACKEND names."""
    import keras

    import tlkit
    from tlkit._internal.backends import package_versions

    digits = tlkit.datasets.digits()
    trained = tlkit.recipes.get(recipe).train(
        digits.train, weights="starter", seed=seed, cache=tlkit.Cache(), verbose=False
    )
    backend = keras.config.backend()
    return {
        "backend": backend,
        "version": package_versions(backend)[backend],
        "recipe": recipe,
        "seed": seed,
        "seconds": trained.seconds,
        "accuracy": tlkit.evaluate(trained.model, digits.test).accuracy,
        "load": os.getloadavg()[0],
    }


def run_process(python: str, backend: str, recipe: str, seed: int) -> Row:
    """Return what `measure` returns in a process of its own."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    words = [python, __file__, "--recipe", recipe, "--seed", str(seed)]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    row: Row = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(row), flush=True)
    return row


def find_interpreters(named: list[str]) -> dict[str, str]:
    """Return the interpreter of each backend that has one."""
    from tlkit._internal.optional import installed

    found = {name: sys.executable for name in BACKENDS if installed(name)}
    found |= dict(each.split("=", 1) for each in named)
    return {name: found[name] for name in BACKENDS if name in found}


def format_table(rows: list[Row]) -> str:
    """Return the median seconds and the mean accuracy of each recipe on each backend."""
    lines = ["| backend | recipe | seconds | accuracy |", "|---|---|---:|---:|"]
    for backend in BACKENDS:
        for recipe in RECIPES:
            own = [each for each in rows if (each["backend"], each["recipe"]) == (backend, recipe)]
            if not own:
                continue
            seconds = statistics.median(each["seconds"] for each in own)
            accuracy = statistics.mean(each["accuracy"] for each in own)
            name = f"{backend} {own[0]['version']}"
            lines.append(f"| {name} | `{recipe}` | {seconds:.1f} | {100 * accuracy:.1f} % |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", default=[], metavar="BACKEND=PATH")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/results/backends.json"))
    parser.add_argument("--recipe", choices=RECIPES, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.recipe:
        print(json.dumps(measure(options.recipe, options.seed)))
        return
    interpreters = find_interpreters(options.python)
    rows = [
        run_process(python, backend, recipe, seed)
        for seed in range(options.rounds)
        for recipe in RECIPES
        for backend, python in interpreters.items()
    ]
    pages.publish(PAGE, options.out, rows, format_table(rows))


if __name__ == "__main__":
    main()
