"""A classifier as a TensorFlow function, and all values that a format needs to write it."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tlkit.deployment.metadata import INPUT, Metadata
from tlkit.deployment.plain_model import PlainModel
from tlkit.deployment.web.runtime import WebRuntime

HEAD = "head"
"""The prefix of the names of all operations of the head."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A classifier to write in another format.

    Attributes:
        plain: The classifier, built from Keras' own layers only.
        metadata: The metadata of the file.
        calibration_images: For int8, raw images like those that the file will see; None otherwise.
        test_images: Raw images for the comparison; None for random pixels.
        web_runtime: For a web page, the runtime that it needs in a browser; None otherwise.
    """

    plain: PlainModel
    metadata: Metadata
    calibration_images: np.ndarray | None = None
    test_images: Any = None
    web_runtime: WebRuntime | None = None

    def iterate_calibration(self) -> Iterator[np.ndarray]:
        """Yield batches of one image, from which int8 learns the ranges of the network's values."""
        images = np.asarray(self.calibration_images)
        return (images[at : at + 1] for at in range(len(images)))


# The model is called with `training=False`, because Keras' own export runs some preprocessing
# layers in training mode. Weights are constants, so that a converter folds BatchNormalization into
# the convolutions. Head and body are called separately, so that the names of the head's operations
# begin with "head". The formats of int8 leave these in float32, because the head is small and its
# errors are errors of probabilities.
def to_function(graph: Graph) -> Any:
    """Return a classifier's inference as a TensorFlow function of any number of images."""
    tensorflow = importlib.import_module("tensorflow")
    body, head = (_Frozen(part) for part in (graph.plain.body, graph.plain.head))

    def forward(images: Any) -> Any:
        features = body(images)
        with tensorflow.name_scope(HEAD):
            return head(features)

    about = graph.metadata
    spec = tensorflow.TensorSpec(about.input_shape, about.input_dtype, name=INPUT)
    return tensorflow.function(forward, input_signature=[spec], autograph=False)


class _Frozen:
    """A function of a model with its current weights as constants."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._weights = [
            [keras.ops.convert_to_numpy(variable) for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        ]

    def __call__(self, inputs: Any) -> Any:
        tensorflow = importlib.import_module("tensorflow")
        constants = tensorflow.nest.map_structure(tensorflow.constant, self._weights)
        outputs, _ = self._model.stateless_call(*constants, inputs, training=False)
        return outputs
