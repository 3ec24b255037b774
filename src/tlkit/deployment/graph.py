"""A classifier as a TensorFlow function, and all else that a format needs to write it."""

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
"""What the names of all operations of the head begin with."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """What a format writes.

    Attributes:
        plain: The classifier of Keras' own layers.
        metadata: What the file says about itself.
        calibration_images: For int8, raw images that are like those that it will see; else None.
        test_images: Raw images that the file is compared on; None for random pixels.
        web_runtime: For a web page, what runs it in a browser; else None.
    """

    plain: PlainModel
    metadata: Metadata
    calibration_images: np.ndarray | None = None
    test_images: Any = None
    web_runtime: WebRuntime | None = None

    def iterate_calibration(self) -> Iterator[np.ndarray]:
        """Yield batches of one image, of which int8 learns the ranges of numbers in the network."""
        images = np.asarray(self.calibration_images)
        return (images[at : at + 1] for at in range(len(images)))


# The model is run with `training=False`: Keras' own export runs some preprocessing layers in
# training mode. Weights are constants, so that a converter folds BatchNormalization into the
# convolutions. Head and body are called apart, so that the head's operations have names that begin
# with "head": the formats of int8 leave it in float32, because it is small and an error in it is an
# error of a probability.
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
    """A model with its weights as they are now."""

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
