"""Solve a linear head for features on a cluster, whose processes return sums over images."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import keras
import numpy as np

from tlkit._internal import arguments, system
from tlkit._internal.optional import require
from tlkit._internal.signatures import check_arguments
from tlkit.distributed import cluster as clusters
from tlkit.distributed.drawn_split import DrawnSplit
from tlkit.distributed.feature_set import FeatureSet, open_features
from tlkit.distributed.shards import Shard, Shards
from tlkit.errors import Argument, ConfigError, DataError
from tlkit.models.inspection import class_names, head_of, is_multi_label
from tlkit.training import logistic_regression, samples, solvers
from tlkit.training.linear import Linear, Moments, fold_scaling, shrink_deviations
from tlkit.training.solvers import Solver

_SHARE = 0.5  # of a machine's free memory, to hold features
_RESERVED = 0.01  # cores: a shard of a lost machine must fit beside the shard of another machine


@check_arguments
def solve_head(
    model: keras.Model,
    features: FeatureSet | str | Path,
    *,
    solver: Solver = "lbfgs",
    cluster: str = clusters.LOCAL,
    workers: int | None = None,
    seed: int | None = None,
) -> dict[str, float]:
    """Set a classifier's head to the solution for features that `extract` has written.

    Except for rounding, the solution is that of `tlkit.SolvedHead` on one machine. Each process
    reads some of the files, holds them in memory if they fit, and returns sums over its images.

    Args:
        model: The classifier; its head is changed.
        features: The features, or their folder.
        solver: "lbfgs" is multinomial logistic regression, "ridge" is ridge regression.
        cluster: As for `extract`.
        workers: How many processes read the files; by default as for `extract`.
        seed: The seed of the choice of images that are held out to choose the penalty.

    Returns:
        The loss, the accuracy and the penalty, by name.

    Raises:
        ConfigError: The head is not one linear dense layer, the classifier is multi-label, or the
            number of features differs.
        DataError: There are no labels, the classifier lacks a class, or a file is damaged.
        MissingExtraError: The extra `ray` is not installed.
    """
    found = features if isinstance(features, FeatureSet) else open_features(features)
    head = _check(model, found)
    arguments.one_of("solver", solver, get_args(Solver))
    names = class_names(model)
    with clusters.connect(cluster) as ray:
        devices = clusters.plan_devices(ray.nodes(), workers)
        shards = start_shards(ray, found, names, devices)
        solution = solve(shards, solver, classes=len(names), seed=seed)
        loss, correct = shards.add_up("measure", solution)
    head.kernel.assign(solution.kernel)
    head.bias.assign(solution.bias)
    count = int(shards.counts.sum())
    return {
        "loss": float(loss / count),
        "accuracy": float(correct / count),
        "penalty": solution.penalty,
    }


def solve(shards: Shards, solver: Solver, *, classes: int, seed: int | None) -> Linear:
    """Return the solution for the images of all shards.

    Args:
        shards: The images.
        solver: As for `solve_head`.
        classes: The number of classes.
        seed: As for `solve_head`.
    """
    count = int(shards.counts.sum())
    pairs = samples.choose_rows(count, seed)
    if solver == "ridge":
        sums = zip(*shards.call_all("sum_moments"), strict=True)
        whole = Moments.from_arrays([np.asarray(sum(arrays)) for arrays in sums])
        taken = [shards.take(part) for _, part in pairs]
        held_out = [(features.astype("float64"), labels, None) for features, labels in taken]
        return solvers.solve_ridge(whole, held_out, count)
    mean = shards.add_up("sum_features") / count
    deviations = np.sqrt(shards.add_up("sum_squares", mean) / count)
    shift, scale = (each.astype("float32") for each in (mean, shrink_deviations(deviations, count)))

    def take(rows: np.ndarray) -> samples.Samples:
        x, labels = shards.take(rows)
        return (x - shift) / scale, labels, None

    start = np.zeros((len(mean) + 1, classes))
    penalty = logistic_regression.find_fixed_penalty(count, classes)
    if penalty is None:
        parts = [(take(fitted), take(part)) for fitted, part in pairs]
        penalty, start = logistic_regression.choose_penalty(parts, start, count)
    found = logistic_regression.minimize_sums(
        lambda kernel, bias: shards.call_all("measure_errors", kernel, bias, shift, scale),
        start,
        penalty,
        count,
    )
    return fold_scaling(found[:-1], found[-1], mean, scale, penalty)


def _check(model: keras.Model, features: FeatureSet) -> keras.layers.Dense:
    """Return the head if it can be solved for these features."""
    head = head_of(model)
    if is_multi_label(model):
        raise ConfigError(
            "`model` must be a classifier whose classes exclude each other to solve its head on a "
            "cluster, got a multi-label one."
        )
    if head.kernel.shape[0] != features.num_features:
        raise ConfigError(
            f"`model` must have a head of {features.num_features} features, as in "
            f"'{features.folder}', got {head.kernel.shape[0]}."
        )
    if not features.class_counts:
        raise DataError(
            f"'{features.folder}' has no labels to solve a head for: extract the features again "
            "with ",
            Argument("label_column"),
            ".",
        )
    return head


def start_shards(
    ray: ModuleType,
    features: FeatureSet,
    names: Sequence[str],
    devices: clusters.Devices,
    split: DrawnSplit | None = None,
) -> Shards:
    """Start a process for each worker, with a share of the files.

    Args:
        ray: Ray, connected to the cluster.
        features: The features.
        names: The name of each class.
        devices: The devices of the processes.
        split: As for `Shard`.
    """
    locations = features.locations
    count = min(devices.workers, len(locations))
    shares = [tuple(range(first, len(locations), count)) for first in range(count)]
    room = int(_SHARE * system.free_memory()) // count
    make = ray.remote(
        num_cpus=_RESERVED,
        scheduling_strategy="SPREAD",
        max_restarts=-1,
        max_task_retries=-1,
        runtime_env={"env_vars": devices.variables},
    )(Shard)
    actors = [make.remote([locations[at] for at in share], names, room, split) for share in shares]
    return Shards(
        call_all=partial(_call, ray, actors),
        files=tuple(shares),
        stop=partial(_end, ray, actors),
    )


def _end(ray: ModuleType, actors: Sequence[Any]) -> None:
    for actor in actors:
        ray.kill(actor)


def _call(
    ray: ModuleType,
    actors: Sequence[Any],
    method: str,
    *given: Any,
    each: Sequence[Mapping[int, np.ndarray]] | None = None,
) -> list[Any]:
    """Call a method of all actors, with the same arguments, or with one more for each before."""
    errors = require("ray.exceptions", extra="ray")
    own = [given] * len(actors) if each is None else [(one, *given) for one in each]
    asked = [
        getattr(actor, method).remote(*words) for actor, words in zip(actors, own, strict=True)
    ]
    try:
        found: list[Any] = ray.get(asked)
    except errors.RayTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, DataError):
            raise DataError(str(cause)) from error
        raise
    return found
