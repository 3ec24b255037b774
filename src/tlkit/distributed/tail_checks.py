"""Check features, images and machines before a cluster trains the tail of a classifier."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import keras
import numpy as np

from tlkit._internal.text import join_first, show
from tlkit._internal.variables import restore_model_on_exit
from tlkit.caching.partition import Cut
from tlkit.distributed import cluster as clusters
from tlkit.distributed import environment, tail, tail_group
from tlkit.distributed.cluster import Devices
from tlkit.distributed.drawn_split import Survey
from tlkit.distributed.extraction import FACTS
from tlkit.distributed.feature_set import FeatureSet
from tlkit.distributed.storage import Location, explain
from tlkit.distributed.tail import Frozen
from tlkit.errors import Argument, ConfigError, DataError, StoreError
from tlkit.models.inspection import class_names
from tlkit.training.phase import Phase

_PACKAGES = ("tlkit", "keras", "numpy", "jax", "jaxlib")
_ADVICE = "All machines must compute the same: install the same versions everywhere."
_METRICS = ("loss", "accuracy")


@dataclass(frozen=True, kw_only=True, eq=False)
class TailFeatures:
    """How the features of a phase were extracted.

    Attributes:
        cut: Where the classifier is cut.
        image: The shape of an image.
        image_dtype: The dtype of an image.
        facts: All that features depend on besides the images, as values that JSON supports.
    """

    cut: Cut
    image: tuple[int, ...]
    image_dtype: str
    facts: Mapping[str, Any]


def check_features(model: keras.Model, frozen: Frozen, features: FeatureSet) -> TailFeatures:
    """Return how features were extracted, if they are those that a phase reads.

    Raises:
        ConfigError: The features are not those that the trained layers read.
        DataError: They have no labels, or labels that the classifier lacks.
        StoreError: The folder of the features can't be read.
    """
    facts = _read_facts(Location(features.folder).join(FACTS))
    cut = None
    if "cut" in facts:
        *shape, dtype = facts["image"]
        with restore_model_on_exit(model):
            cut = tail.cut_tail(model, frozen, np.zeros((1, *shape), dtype))
    if cut is None or facts["columns"] != tail.digest_columns(cut):
        raise ConfigError(
            Argument("features"),
            " must be those that the layers of this phase and classifier read, got "
            f"'{features.folder}' with others. Extract them by extract(manifest, model, "
            "phase=phase, out=...), into another folder.",
        )
    unknown = sorted(set(features.class_counts) - set(class_names(model)))
    if unknown or not features.class_counts:
        raise DataError(
            f"'{features.folder}' must have labels that the classifier knows, "
            f"{show(list(class_names(model)))}, got {show(unknown[:10]) if unknown else 'none'}."
        )
    return TailFeatures(cut=cut, image=tuple(shape), image_dtype=dtype, facts=facts)


def _read_facts(file: Location) -> dict[str, Any]:
    """Return the content of a JSON file; empty if it is damaged or missing."""
    try:
        found = json.loads(file.read()) if file.stat() else {}
    except ValueError:
        return {}
    except OSError as error:
        raise StoreError(f"Can't read '{file}': {explain(error)}.") from error
    return found if isinstance(found, dict) else {}


def check_images(phase: Phase, survey: Survey) -> None:
    """Check that there are enough images, and validation images if the phase needs them.

    Raises:
        ConfigError: `patience` watches a metric that is not computed.
        DataError: There are fewer training images than in a step.
    """
    known = [*_METRICS]
    if survey.total("validation"):
        known += [f"val_{name}" for name in _METRICS]
    if phase.patience is not None and phase.monitor not in known:
        raise ConfigError(
            Argument("phase"),
            f" must have a `monitor` among {known}, got {phase.monitor!r}. Validation metrics need "
            "validation images.",
        )
    count = survey.total("train")
    if count < phase.batch_size:
        raise DataError(
            f"There must be at least as many training images as in a step, {phase.batch_size}, got "
            f"{count}. Lower the phase's batch_size."
        )


def check_machines(
    ray: ModuleType, devices: Devices, readable: Sequence[tuple[str, Location]]
) -> None:
    """Check that all machines of a cluster have JAX and the same packages, and share the files.

    Args:
        ray: Ray, connected to the cluster.
        devices: The devices of the workers.
        readable: Files that each machine must be able to read, each with a name for messages.

    Raises:
        ConfigError: A machine lacks a package, has another version, or can't read a file.
    """
    found = clusters.ask_machines(
        ray,
        environment.describe,
        _PACKAGES,
        readable,
        variables=tail_group.list_variables(devices),
    )
    without = [machine.name for machine in found if not machine.versions["jax"]]
    if without:
        raise ConfigError(
            Argument("cluster"),
            " must have machines with JAX to fine-tune, but it is missing on "
            f"{join_first(without, limit=6)}. Run pip install 'tlkit[jax]' there.",
        )
    here = environment.describe(_PACKAGES, ())
    first = found[0].versions  # this machine need not have JAX
    versions = {name: here.versions[name] or first[name] for name in _PACKAGES}
    environment.compare(replace(here, versions=versions), found, advice=_ADVICE)
