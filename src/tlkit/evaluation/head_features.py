"""What a classifier's head reads of each image, from the store where it is in it."""

from typing import Any

import keras
import numpy as np

from tlkit.caching import fingerprint, partition
from tlkit.caching.cache import Cache
from tlkit.caching.progress import CacheProgress
from tlkit.caching.stored_trunk import StoredTrunk
from tlkit.caching.trunk_runner import TrunkRunner
from tlkit.models import flat_graph
from tlkit.models.flat_graph import Part
from tlkit.models.inspection import head_of

_ROWS = 1024  # of features, that the head is called with


class HeadFeatures:
    """A classifier in two parts: the network before its head, and the head.

    Args:
        model: The classifier.
        cache: Where the features that the head reads are stored.
        progress: Shows how far a run of the network is.

    Raises:
        ConfigError: The head is more than one dense layer.
    """

    def __init__(
        self, model: keras.Model, cache: Cache, *, progress: CacheProgress | None = None
    ) -> None:
        graph = flat_graph.flatten(model)
        head = head_of(model)
        step = next(step for step in graph.steps if step.operation is head)
        steps = partition.select_needed(graph.steps, step.inputs)
        dtype = model.inputs[0].dtype
        before = Part(steps, graph.inputs, step.inputs, input_dtype=dtype, name="before_the_head")
        digests = fingerprint.digest_tensors(steps)
        runner = TrunkRunner(
            before,
            [digests[tensor] for tensor in step.inputs],
            last_layer=fingerprint.name_last_layer(steps, step.inputs),
            row_bytes=4 * head.kernel.shape[0],
            engine=cache.engine,
            cache=cache,
        )
        self._trunk = StoredTrunk(runner, rank=len(model.input_shape), progress=progress)
        inside = {id(each) for each in steps}
        rest = [each for each in graph.steps if id(each) not in inside]
        self._head = Part(rest, step.inputs, graph.outputs, name="head")

    def read(self, images: Any) -> np.ndarray:
        """Return the features of images, `(count, features)`."""
        return self._trunk.run(images)[0]

    def predict(self, images: Any) -> np.ndarray:
        """Return the probability of each class for each image, `(count, classes)`."""
        features = self.read(images)
        starts = range(0, len(features), _ROWS)
        blocks = [keras.ops.convert_to_tensor(features[at : at + _ROWS]) for at in starts]
        outputs = [self._head([block], training=False)[0] for block in blocks]
        return np.concatenate([keras.ops.convert_to_numpy(output) for output in outputs])
