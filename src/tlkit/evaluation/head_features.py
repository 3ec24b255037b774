"""The features that a classifier's head reads, taken from the cache where they are stored."""

from typing import Any

import keras
import numpy as np

from tlkit.caching import fingerprint, partition
from tlkit.caching.cache import Cache
from tlkit.caching.progress import CacheProgress
from tlkit.caching.stored_trunk import StoredTrunk
from tlkit.caching.trunk_runner import TrunkRunner
from tlkit.models import flat_graph
from tlkit.models.flat_graph import Graph, Part, TensorId
from tlkit.models.inspection import head_of

_ROWS = 1024  # images whose features the head gets at a time


class HeadFeatures:
    """A classifier in two parts: the network before its head, and the head.

    Args:
        model: The classifier.
        cache: Where the features that the head reads are stored.
        progress: Shows how many images the network has processed.

    Raises:
        ConfigError: The head is more than one dense layer.
    """

    def __init__(
        self, model: keras.Model, cache: Cache, *, progress: CacheProgress | None = None
    ) -> None:
        graph = flat_graph.flatten(model)
        head = head_of(model)
        read = _list_read(graph, head)
        steps = partition.select_needed(graph.steps, read)
        dtype = model.inputs[0].dtype
        before = Part(steps, graph.inputs, read, input_dtype=dtype, name="before_the_head")
        digests = fingerprint.digest_tensors(steps)
        runner = TrunkRunner(
            before,
            [digests[tensor] for tensor in read],
            last_layer=fingerprint.name_last_layer(steps, read),
            row_bytes=4 * head.kernel.shape[0],
            engine=cache.engine,
            cache=cache,
        )
        self._trunk = StoredTrunk(runner, rank=len(model.input_shape), progress=progress)
        inside = {id(each) for each in steps}
        rest = [each for each in graph.steps if id(each) not in inside]
        self._head = Part(rest, read, graph.outputs, name="head")

    def read(self, images: Any) -> np.ndarray:
        """Return the features of images, `(count, features)`."""
        arrays = self._trunk.run(images)
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)

    def predict(self, images: Any) -> np.ndarray:
        """Return the probability of each class for each image, `(count, classes)`."""
        arrays = self._trunk.run(images)
        outputs = []
        for start in range(0, len(arrays[0]), _ROWS):
            block = [keras.ops.convert_to_tensor(each[start : start + _ROWS]) for each in arrays]
            outputs.append(keras.ops.convert_to_numpy(self._head(block, training=False)[0]))
        return np.concatenate(outputs)


def _list_read(graph: Graph, head: keras.layers.Dense) -> tuple[TensorId, ...]:
    """Return the tensors that the head reads; of concatenated layers, those before joining."""
    step = next(step for step in graph.steps if step.operation is head)
    made = next((each for each in graph.steps if step.inputs[0] in each.outputs), step)
    return made.inputs if isinstance(made.operation, keras.layers.Concatenate) else step.inputs
