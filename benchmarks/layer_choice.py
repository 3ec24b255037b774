"""Measure which rule chooses the layers that a head reads best, over eight sets and three seeds.

    python benchmarks/layer_choice.py --data path/to/data

The folder is that of `recipes.py`. Each set is measured twice: first within its training images, of
which a quarter is held out, then with its test images. The first decides between the rules, the
second only says what the decision is worth. One probe serves all rules; then a head is solved for
each choice. Finished parts are kept in `--work`.
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import best
import keras
import numpy as np
import pages
import recipes

import tlkit
from tlkit.data import Split
from tlkit.evaluation import Probe, ProbedLayer

PAGE = Path("docs/decisions/0038-the-loss-chooses-layers.md")
OLD = "cheapest within one standard error of the best accuracy"
RULES = {
    "last layer": lambda probes: (last(probes[1]),),
    OLD: lambda probes: (cheapest_accurate(probes[1]),),
    "best accuracy": lambda probes: (probes[1].best,),
    "one layer of the lowest loss": lambda probes: (cheapest_of_loss(probes[1], 0),),
    "within a quarter of a standard error of it": lambda p: (cheapest_of_loss(p[1], 0.25),),
    "within half of one (`fast`)": lambda probes: (probes[1].chosen,),
    "within one": lambda probes: (cheapest_of_loss(probes[1], 1),),
    "two layers, by the loss": lambda probes: probes[2].joint,
    "four layers, by the loss": lambda probes: probes[4].joint,
}


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, then write the table."""
    options = pages.parser(__doc__, "layer_choice").parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[dict[str, Any]]] = {}
    for part, split in PARTS.items():
        rows[part] = []
        for seed in range(best.SEEDS):
            for name in best.SETS:
                measure = partial(measure_rules, name, seed, split, options.data, options.work)
                path = options.work / f"{name}-{seed}-{part}.json"
                rows[part].append(pages.kept(path, measure))
    text = "\n\n".join(f"On {part}:\n\n{table(rows[part])}" for part in rows)
    pages.publish(PAGE, options.out, rows, text)


def hold_out(images: Split, seed: int) -> Split:
    """Return the training images in two parts, three quarters to train on."""
    order = np.random.default_rng(seed).permutation(len(images.train))
    count = len(order) // 4
    held_out, rest = (np.sort(part) for part in (order[:count], order[count:]))
    return replace(images, train=images.train.take(rest), test=images.train.take(held_out))


PARTS: dict[str, Callable[[Split, int], Split]] = {
    "training images held out": hold_out,
    "test images": lambda images, seed: images,
}


def measure_rules(
    name: str, seed: int, split: Callable[[Split, int], Split], folder: Path, work: Path
) -> dict[str, Any]:
    images = split(recipes.image_set(name, folder, seed), seed)
    cache = tlkit.Cache(folder=work / "features")
    build = partial(build_classifier, name, images)
    probes = {
        count: tlkit.probe(build(), images.train, max_layers=count, cache=cache)
        for count in (1, 2, 4)
    }
    found: dict[tuple[ProbedLayer, ...], dict[str, Any]] = {}
    result = {}
    for rule, choose in RULES.items():
        layers = choose(probes)
        if layers not in found:
            found[layers] = evaluate(build(layers), images, cache)
        deepest = max(each.multiply_adds for each in layers)
        whole = max(each.multiply_adds for each in probes[1].layers)
        names = [each.layer for each in layers]
        result[rule] = {**found[layers], "layers": names, "work": deepest / whole}
    return result


def build_classifier(
    name: str, images: Split, layers: tuple[ProbedLayer, ...] | None = None
) -> keras.Model:
    keras.backend.clear_session()
    settings: dict[str, Any] = {**(recipes.SETS | recipes.MORE)[name]}
    if layers is None:
        return replace(tlkit.recipes.fast(), features=None).build(images.train, **settings)
    shape = images.train.images.shape[1:]
    return tlkit.build_classifier(
        "mobilenet_v2",
        len(images.train.class_names),
        input_shape=shape if len(shape) == 3 else (*shape, 1),
        value_range=images.train.value_range,
        features=[each.layer for each in layers],
        pooling=[each.pooling for each in layers],
        **settings,
    )


def evaluate(model: keras.Model, images: Split, cache: tlkit.Cache) -> dict[str, float]:
    tlkit.train_phase(model, tlkit.SolvedHead(), images.train, seed=0, cache=cache, verbose=False)
    score = tlkit.evaluate(model, images.test)
    return {"accuracy": score.accuracy, "loss": score.loss}


def last(probe: Probe) -> ProbedLayer:
    deepest = max(each.multiply_adds for each in probe.layers)
    return next(each for each in probe.layers if each.multiply_adds == deepest)


def cheapest_of_loss(probe: Probe, errors: float) -> ProbedLayer:
    """Return the cheapest layer whose loss is at most so many standard errors above the lowest."""
    lowest = min(each.loss for each in probe.layers)
    good = [each for each in probe.layers if each.loss - lowest <= errors * each.loss_error]
    return min(good, key=lambda each: (each.multiply_adds, each.num_features))


def cheapest_accurate(probe: Probe) -> ProbedLayer:
    least = probe.best.accuracy - probe.standard_error
    good = [each for each in probe.layers if each.accuracy >= least]
    return min(good, key=lambda each: (each.multiply_adds, each.num_features))


def table(rows: list[dict[str, Any]]) -> str:
    """Return each rule's accuracy and loss against the old one's."""
    lines = [
        "| rule | accuracy, % | against the old rule, points | the worst set and seed | "
        "loss, times the old rule's | multiply-adds, of the backbone's |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for rule in RULES:
        gains = [100 * (row[rule]["accuracy"] - row[OLD]["accuracy"]) for row in rows]
        ratio = statistics.mean(math.log(row[rule]["loss"] / row[OLD]["loss"]) for row in rows)
        accuracy, work = (
            100 * statistics.mean(row[rule][key] for row in rows) for key in ("accuracy", "work")
        )
        against = "" if rule == OLD else recipes.interval(gains)
        worst = "" if rule == OLD else f"{min(gains):+.1f}"
        lines.append(
            f"| {rule} | {accuracy:.1f} | {against} | {worst} | {math.exp(ratio):.2f} | "
            f"{work:.0f} % |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
