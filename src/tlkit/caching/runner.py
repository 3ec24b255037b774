"""Compute the features of images, and of augmented copies of images, with a frozen trunk."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np

from tlkit._internal.keras_private import flatten_layers, random_states
from tlkit._internal.variables import restore_on_exit, set_state
from tlkit.caching import entries, fingerprint
from tlkit.caching.cache import Cache
from tlkit.caching.entries import Entry
from tlkit.caching.partition import Cut, merge_trunks
from tlkit.caching.trunk_runner import BATCH, TrunkRunner
from tlkit.data import augmentation as augmenting
from tlkit.models.flat_graph import Part, Step


class Runner:
    """Computes the features of images and of augmented copies of them.

    Args:
        model: The classifier.
        cuts: The cuts of the classifier; one trunk serves them all.
        cache: The engine, and the dtype of features.
        augmentation: Layers that augment raw images for each view.

    Attributes:
        outputs: The tensors of the graph whose values are the features.
        images: Runs images as in inference.
        copies: Runs augmented copies of images; the same as `images` if nothing is random.
        views: The number of augmented copies of each training image.
        row_bytes: The size of one image's features in bytes.
    """

    def __init__(
        self,
        model: keras.Model,
        cuts: Sequence[Cut],
        cache: Cache,
        *,
        augmentation: Sequence[keras.layers.Layer] = (),
    ) -> None:
        self._augmentation = tuple(augmentation)
        steps, self.outputs = merge_trunks(cuts)
        names = {name for cut in cuts for name in cut.random_layers}
        random = [part for part in _list_parts(steps) if part.name in names]
        self._seeds = random_states([*random, *augmentation])
        self._start = [np.array(keras.ops.convert_to_numpy(seed)) for seed in self._seeds]
        self.views = cache.views if random or augmentation else 1
        make = partial(
            Part,
            steps,
            cuts[0].graph.inputs,
            self.outputs,
            input_dtype=model.inputs[0].dtype,
            name="trunk",
        )
        self.row_bytes = _count_row_bytes(cuts, cache.dtype)
        digests = fingerprint.digest_tensors(steps)
        prepare = partial(
            TrunkRunner,
            columns=[digests[tensor] for tensor in self.outputs],
            last_layer=fingerprint.name_last_layer(steps, self.outputs),
            row_bytes=self.row_bytes,
            engine="keras" if random and cache.engine == "auto" else cache.engine,
            cache=cache,
        )
        self.images = self.copies = prepare(make())
        if random or augmentation:
            inside = {id(part) for part in random}
            training = make(functions=[_make_random(step, inside) for step in steps])
            starts = [start.tolist() for start in self._start]
            self.copies = prepare(training, more_facts={"random": starts})

    @property
    def is_random(self) -> bool:
        """Whether training images are augmented, by layers of the phase or of the model."""
        return self.copies is not self.images

    @property
    def engine(self) -> str:
        """The engine that runs the trunk, with its version."""
        return self.copies.engine

    def describe_engine(self) -> str:
        """Return the engine with its version, and its speed relative to Keras if it was timed."""
        return self.copies.describe_engine()

    @property
    def engine_error(self) -> float | None:
        """The engine's difference from Keras on the first batch; None before the first run."""
        errors = [self.images.engine_error, self.copies.engine_error]
        return max((error for error in errors if error is not None), default=None)

    @property
    def num_computed(self) -> int:
        """The number of images and views that were run; others were found in the store."""
        runners = {id(runner): runner for runner in (self.images, self.copies)}
        return sum(runner.num_computed for runner in runners.values())

    @property
    def float16_error(self) -> float:
        """The largest error from storing float16, relative to the largest feature."""
        return max(self.images.float16_error, self.copies.float16_error)

    # A random layer draws its numbers for a whole batch at once. So an augmented copy depends on
    # the images that are run with it, and copies are stored by chunk. The name of a shard is the
    # digest of the chunk's augmented pixels and of its place, which seeds the layers.
    def run_copies(
        self, images: np.ndarray, entry: Entry | None, *, place: tuple[int, int]
    ) -> list[np.ndarray]:
        """Return the features of augmented copies, from the store if it has them.

        Args:
            images: Raw images.
            entry: The entry of the store; None stores nothing.
            place: The number of the view, and of the chunk in it, which seed random layers.
        """
        if self._augmentation:
            images = self._augment(images, place)
        if entry is None:
            return self._run(images, place)
        key = f"{entries.digest(images)} {place}"
        name = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        found = entry.read(name)
        return entry.write(name, self._run(images, place)) if found is None else found

    def _augment(self, images: np.ndarray, place: tuple[int, int]) -> np.ndarray:
        with self._seed_random_layers(place):
            pieces = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
            return np.concatenate([augmenting.augment(each, self._augmentation) for each in pieces])

    def _run(self, images: np.ndarray, place: tuple[int, int]) -> list[np.ndarray]:
        with self._seed_random_layers(place):
            return self.copies.run(images)

    @contextmanager
    def _seed_random_layers(self, place: tuple[int, int]) -> Iterator[None]:
        """Seed random layers by the place, so that a view is equal each time it is computed."""
        with restore_on_exit(self._seeds):
            for state, start in zip(self._seeds, self._start, strict=True):
                set_state(state, start.tobytes() + repr(place).encode())
            yield


def _list_parts(steps: Sequence[Step]) -> list[Any]:
    layers = [step.operation for step in steps if isinstance(step.operation, keras.Layer)]
    return flatten_layers(*layers)


def _make_random(step: Step, random: set[int]) -> Callable[..., Any]:
    """Return the function of a step: its layer, in training mode if it contains a random layer."""
    layer = step.operation
    if not any(id(part) in random for part in _list_parts([step])):
        return layer  # type: ignore[no-any-return]  # Keras' own are callable
    return lambda *args, **kwargs: layer(*args, **{**kwargs, "training": True})


def _count_row_bytes(cuts: Sequence[Cut], dtype: str) -> int:
    shapes = {
        tensor: shape for cut in cuts for tensor, shape in zip(cut.tensors, cut.shapes, strict=True)
    }
    return sum(math.prod(shape) for shape in shapes.values()) * np.dtype(dtype).itemsize
