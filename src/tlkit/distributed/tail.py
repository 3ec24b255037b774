"""The part of a classifier that a phase trains, and the tensors that this part reads."""

import math
from dataclasses import dataclass

import keras
import numpy as np

from tlkit.caching import fingerprint, partition, plan
from tlkit.caching.partition import Cut, NoFrozenPart
from tlkit.errors import Argument, ConfigError
from tlkit.models import freezing
from tlkit.models.flat_graph import find_specs, flatten
from tlkit.models.freezing import BatchNormPolicy, FreezePlan
from tlkit.models.inspection import backbone_of, is_multi_label
from tlkit.training.phase import Phase, plan_freezing

_PIXELS = "pixels"
_UNSUPPORTED = {
    "augmentation": "each image is read once",
    "callbacks": "the epochs run on the cluster; `on_message` shows them",
    "ema_momentum": "averaged weights are not computed there",
    "loss": "the loss is cross-entropy",
    "metrics": "the metrics are loss and accuracy",
}
"""The settings of a phase that must be left out on a cluster, and why."""


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """The layers that a phase freezes, in a form that other processes can read.

    Attributes:
        indices: The indices of the frozen layers in the backbone. Their names depend on how many
            layers a process has made before.
        batchnorm: The policy of BatchNormalization in the other layers.
    """

    indices: tuple[int, ...]
    batchnorm: BatchNormPolicy

    def __call__(self, backbone: keras.Model) -> list[keras.Layer]:
        """Return the frozen layers of a backbone, as `tlkit.freezing.Select` does."""
        return [backbone.layers[index] for index in self.indices]

    def plan(self, model: keras.Model) -> FreezePlan:
        """Return the freeze plan of a classifier."""
        return freezing.plan(backbone_of(model), self, batchnorm=self.batchnorm)


def check(model: keras.Model, phase: Phase) -> Frozen:
    """Return the layers that a phase freezes, if a cluster can train it.

    Raises:
        ConfigError: The classifier is multi-label, or the phase has a setting that a cluster does
            not support.
    """
    if is_multi_label(model):
        raise ConfigError(
            "`model` must be a classifier whose classes exclude each other to train on a cluster, "
            "got a multi-label one."
        )
    check_phase(phase)
    chosen = {id(layer) for layer in plan_freezing(model, phase).frozen}
    numbered = enumerate(backbone_of(model).layers)
    indices = tuple(index for index, layer in numbered if id(layer) in chosen)
    return Frozen(indices=indices, batchnorm=phase.batchnorm)


def check_phase(phase: Phase) -> None:
    """Check that a cluster supports the settings of a phase.

    Raises:
        ConfigError: A setting is not supported.
    """
    usual = Phase()
    for name, reason in _UNSUPPORTED.items():
        value = getattr(phase, name)
        if value != getattr(usual, name):
            raise ConfigError(
                Argument("phase"), f" must leave out `{name}` on a cluster: {reason}."
            )
    if not isinstance(phase.optimizer, str):
        raise ConfigError(
            Argument("phase"),
            " must have the name of an optimizer on a cluster, such as optimizer='adamw', got "
            f"{type(phase.optimizer).__name__}.",
        )
    for name, value in (("batchnorm", "reestimate"), ("precision", "float16")):
        if getattr(phase, name) == value:
            others = "'frozen' or 'train'" if name == "batchnorm" else "'float32' or 'bfloat16'"
            raise ConfigError(
                Argument("phase"), f" must have {name}={others} on a cluster, got {value!r}."
            )


def cut_tail(model: keras.Model, frozen: Frozen, sample: np.ndarray) -> Cut:
    """Return where a classifier is cut; this sets which of its layers are trainable.

    If no frozen layer can run once, the cut is before the first layer: its trunk is empty, and
    the pixels cross it.

    Args:
        model: The classifier.
        frozen: The layers that are frozen.
        sample: Some images, or an empty batch of their dtype and shape.
    """
    sample = np.zeros((1, *sample.shape[1:]), sample.dtype)
    found = frozen.plan(model)
    plan.set_trainable(model, found)
    try:
        return partition.find_cut(model, found, sample)
    except NoFrozenPart as reason:
        graph = flatten(model)
        specs = find_specs(model, graph, sample)
        return Cut(
            graph=graph,
            trunk=(),
            tail=graph.steps,
            tensors=graph.inputs,
            shapes=(tuple(sample.shape[1:]),),
            dtypes=(str(model.inputs[0].dtype),),
            input_shapes=tuple(specs[step.inputs[0]].shape for step in graph.steps),
            disabled_layers=(),
            random_layers=(),
            reason=f"storing pixels: {reason}",
        )


def count_numbers(cut: Cut) -> int:
    """Return how many numbers cross a cut for one image."""
    return sum(math.prod(shape) for shape in cut.shapes)


def digest_columns(cut: Cut) -> list[str]:
    """Return a digest of everything that determines each tensor that crosses a cut."""
    if not cut.trunk:
        return [_PIXELS]
    digests = fingerprint.digest_tensors(cut.trunk)
    return [digests[tensor] for tensor in cut.tensors]


def name_last_layer(cut: Cut) -> str:
    """Return the name of the last layer before a cut."""
    return fingerprint.name_last_layer(cut.trunk, cut.tensors) if cut.trunk else _PIXELS
