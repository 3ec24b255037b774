"""The frozen network before a classifier's head, for the engines of `caching`."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tlkit._internal import arguments
from tlkit.caching import fingerprint
from tlkit.caching.cache import Cache
from tlkit.caching.partition import Cut, select_needed
from tlkit.caching.trunk_runner import TrunkRunner
from tlkit.data import decoding, unlabelled
from tlkit.data.digests import digest_decoded
from tlkit.distributed import tail
from tlkit.errors import Argument, ConfigError
from tlkit.models.flat_graph import Part, flatten
from tlkit.models.inspection import features_of, file_shape, head_of, value_range

_NEEDS_WHITE = "it has more than 8 bits; say what is white in it, such as white=65535"


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """How image files become the pixels that a classifier takes.

    Attributes:
        input_shape: The shape of a batch, with the size that files are resized to.
        value_range: The values of black and white; None means (0, 255).
        fit: How a file is fitted into the size.
        white: The value of white in files of more than 8 bits; None refuses them.
    """

    input_shape: tuple[int | None, ...]
    value_range: tuple[float, float] | None
    fit: decoding.Fit
    white: int | None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.input_shape[1:3]
        return int(height or 0), int(width or 0)

    @property
    def channels(self) -> int:
        """3 for RGB, 1 for grey."""
        return int((*self.input_shape[1:], 1)[2] or 3)

    @property
    def empty(self) -> np.ndarray:
        """A batch of no images, with their dtype and shape."""
        pixels = np.zeros((*self.size, self.channels), "uint8")
        return self._finish(pixels)[None][:0]

    def digest(self, content: str, form: decoding.Form = "8-bit") -> np.ndarray:
        """Return the digest of an image, `(2,)`, the same as without a cluster.

        Args:
            content: The digest of the file's content, by `scanning.digest_content`.
            form: The form in which the file stores pixels.
        """
        one = [(content, self.white if form == "16-bit grey" else None)]
        how: dict[str, Any] = {"size": self.size, "fit": self.fit, "channels": self.channels}
        return np.asarray(digest_decoded(one, **how)[0])

    def decode(self, content: bytes) -> tuple[np.ndarray, decoding.Form]:
        """Return the pixels of a file's content, and the form in which it stores them.

        Raises:
            UnreadableImageError: It can't be read as an image.
        """
        how: dict[str, Any] = {"fit": self.fit, "channels": self.channels, "white": self.white}
        found = decoding.decode_fully(content, self.size, **how)
        if found.form == "16-bit grey" and self.white is None:
            raise decoding.UnreadableImageError("A picture", _NEEDS_WHITE)
        return self._finish(found.pixels), found.form

    def _finish(self, pixels: np.ndarray) -> np.ndarray:
        return unlabelled.to_model(
            pixels, input_shape=self.input_shape, value_range=self.value_range
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all settings that change pixels, as values that JSON can hold."""
        return {"size": list(self.size), "fit": self.fit, "white": self.white}


def plan_pictures(
    model: keras.Model,
    *,
    image_size: int | tuple[int, int] | None,
    fit: decoding.Fit,
    white: int | None,
) -> Pictures:
    """Return how image files become the pixels that a classifier takes.

    Raises:
        ConfigError: The classifier can't take image files, or it takes any size and `image_size`
            is None.
    """
    shape = file_shape(model)
    size = None if image_size is None else arguments.size("image_size", image_size)
    height, width, channels = (*shape[1:], 1)[:3]
    if channels not in (1, 3):
        raise ConfigError(
            f"`model` must take grey or RGB images to read files, got one of {channels} channels."
        )
    if size is None and (height is None or width is None):
        raise ConfigError(
            Argument("image_size"),
            " must be given for a classifier that takes images of any size, got None.",
        )
    return Pictures(
        input_shape=(None, *(size or (height, width)), *shape[3:]),
        value_range=value_range(model),
        fit=decoding.check_fit(fit),
        white=None if white is None else arguments.at_least("white", white, 1),
    )


def prepare_runner(
    model: keras.Model, cache: Cache, engine: str, cut: Cut | None = None
) -> TrunkRunner:
    """Return a runner of the network before a classifier's head, or before a cut.

    Args:
        model: The classifier.
        cache: The dtype of features, and the engine's tolerance.
        engine: The engine that runs the network, as for `Cache`.
        cut: Where the classifier is cut; None means before its head.

    Raises:
        ConfigError: The head is not one linear dense layer.
    """
    if cut is not None:
        return _prepare_cut(model, cache, engine, cut)
    features_of(model)  # raises an error about the model if the head is not one linear layer
    head, graph = head_of(model), flatten(model)
    outputs = next(step for step in graph.steps if step.operation is head).inputs
    steps = select_needed(graph.steps, outputs)
    digests = fingerprint.digest_tensors(steps)
    return TrunkRunner(
        Part(steps, graph.inputs, outputs, input_dtype=model.inputs[0].dtype, name="trunk"),
        [digests[tensor] for tensor in outputs],
        last_layer=fingerprint.name_last_layer(steps, outputs),
        row_bytes=count_features(model) * np.dtype(cache.dtype).itemsize,
        cache=cache,
        engine=engine,
    )


def _prepare_cut(model: keras.Model, cache: Cache, engine: str, cut: Cut) -> TrunkRunner:
    return TrunkRunner(
        Part(
            cut.trunk,
            cut.graph.inputs,
            cut.tensors,
            input_dtype=model.inputs[0].dtype,
            name="trunk",
        ),
        tail.digest_columns(cut),
        last_layer=tail.name_last_layer(cut),
        row_bytes=tail.count_numbers(cut) * np.dtype(cache.dtype).itemsize,
        cache=cache,
        engine=engine if cut.trunk else "keras",  # without layers, there is nothing to compile
    )


def count_features(model: keras.Model, cut: Cut | None = None) -> int:
    """Return the number of features per image that the head reads, or that cross a cut."""
    if cut is not None:
        return tail.count_numbers(cut)
    return math.prod(int(each) for each in head_of(model).input.shape[1:])
