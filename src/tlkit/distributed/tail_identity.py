"""Describe the training of a tail, so that states of other trainings are rejected."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tlkit.distributed.tail_rows import TailJob
from tlkit.training import identity


def describe(job: TailJob, *, facts: Mapping[str, Any], images: str) -> dict[str, str]:
    """Return the settings that identify a training by name, each as a short text.

    Args:
        job: The settings of the workers.
        facts: All that features depend on besides the images, as values that JSON supports.
        images: A digest of the images, with their classes and parts.
    """
    names = [file.name for file in job.files]
    features = json.dumps([facts, images, job.dtype, names], sort_keys=True).encode()
    count = {part: int(counts.sum()) for part, counts in job.counts.items()}
    return {
        "keras": keras.__version__,
        "features": f"{identity.digest(features)} of {count} images",
        "seed": str(job.seed),
        **identity.describe_phase("phase", job.phase),
        "phase.freeze": _list_layers(job.frozen.indices),
    }


def digest_weights(model: keras.Model) -> str:
    """Return a digest of all weights of a classifier."""
    found = hashlib.sha256()
    for weight in model.weights:
        found.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return identity.digest(found.digest())


def _list_layers(indices: tuple[int, ...]) -> str:
    """Return the indices of layers as text, with consecutive ones as a range.

    Examples:
        >>> _list_layers((0, 1, 2, 5)), _list_layers(())
        ('layers 0 to 2, 5', 'no layers')
    """
    parts: list[list[int]] = []
    for index in indices:
        if parts and index == parts[-1][-1] + 1:
            parts[-1].append(index)
        else:
            parts.append([index])
    shown = (f"{part[0]} to {part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts)
    return f"layers {', '.join(shown)}" if parts else "no layers"
