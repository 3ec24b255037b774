"""The features of a chunk of images: those that are kept, or what an engine gives."""

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
from tlkit.caching import fingerprint, store
from tlkit.caching.cache import Cache
from tlkit.caching.engines import engine as engines
from tlkit.caching.partition import Cut, shared_trunk
from tlkit.data import augmentation as augmenting
from tlkit.errors import DataError
from tlkit.models.flat_graph import Part, Step

BATCH = 128
"""How many images an engine is prepared with."""


class Runner:
    """Gives the features of images, chunk by chunk.

    Args:
        model: The classifier.
        cuts: Where it is cut; one trunk serves them all.
        cache: How to run and keep.
        augmentation: Layers that change the raw images at random, for a view of them.
    """

    def __init__(
        self,
        model: keras.Model,
        cuts: Sequence[Cut],
        cache: Cache,
        *,
        augmentation: Sequence[keras.layers.Layer] = (),
    ) -> None:
        self._cache, self._augmentation = cache, tuple(augmentation)
        self._steps, self.outputs = shared_trunk(cuts)
        names = {name for cut in cuts for name in cut.random}
        random = [part for part in _parts(self._steps) if part.name in names]
        self._seeds = random_states([*random, *augmentation])
        self._start = [np.array(keras.ops.convert_to_numpy(seed)) for seed in self._seeds]
        self.views = cache.views if random or augmentation else 1
        make = partial(
            Part,
            self._steps,
            cuts[0].graph.inputs,
            self.outputs,
            input_dtype=model.inputs[0].dtype,
            name="trunk",
        )
        self._plain = self._random = make()
        if random:
            inside = {id(part) for part in random}
            self._random = make(functions=[_as_in_training(step, inside) for step in self._steps])
        self.row_bytes = _row_bytes(cuts, cache.dtype)
        self._engines: dict[Any, engines.Engine] = {}
        self._name = "keras" if random and cache.engine == "auto" else cache.engine
        self.computed = 0
        self.rounding = 0.0

    @property
    def engine(self) -> str:
        """What runs the trunk, with its version."""
        prepared = next(iter(self._engines.values()), None)
        if prepared is None:
            return f"{self._name} {engines.version(self._name)}"
        return f"{prepared.name} {prepared.version}"

    @property
    def error(self) -> float | None:
        """How far the engine was from Keras on the first batch; None where nothing ran."""
        return max((engine.error for engine in self._engines.values()), default=None)

    def entry(self, kept: store.Store, sample: np.ndarray) -> store.Entry:
        """Return where the features of such images are kept."""
        if self._name == "auto":
            known = self._known_engine(kept, sample)
            self._name = known or self._prepared(sample, self._plain).name
        return kept.entry(self._facts(sample, self._name))

    def features(
        self, images: np.ndarray, entry: store.Entry | None, *, place: tuple[int, int] | None
    ) -> list[np.ndarray]:
        """Return the features of these images.

        Args:
            images: Raw images.
            entry: Where features are kept, if they are.
            place: The number of the view, and of the chunk in it, which decide what is drawn at
                random; None draws nothing, as in inference.
        """
        if place is not None and self._augmentation:
            images = self._augmented(images, place)
        if entry is None:
            return self._run(images, place)
        digest = store.digest(images)
        if self._seeds and place is not None:
            digest = hashlib.blake2b(f"{digest} {place}".encode(), digest_size=16).hexdigest()
        found = entry.read(digest)
        return entry.write(digest, self._run(images, place)) if found is None else found

    def _augmented(self, images: np.ndarray, place: tuple[int, int]) -> np.ndarray:
        with self._seeds_of(place):
            pieces = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
            return np.concatenate([augmenting.changed(each, self._augmentation) for each in pieces])

    def _run(self, images: np.ndarray, place: tuple[int, int] | None) -> list[np.ndarray]:
        trunk = self._plain if place is None else self._random
        engine = self._prepared(images[:BATCH], trunk)
        with self._seeds_of(place):
            arrays = engine.run(images)
        self.computed += len(images)
        if self._cache.dtype == "float32":
            return arrays
        return [self._narrowed(array) for array in arrays]

    def _prepared(self, sample: np.ndarray, trunk: Part) -> engines.Engine:
        key = (id(trunk), sample.shape[1:], sample.dtype)
        if key not in self._engines:
            self._engines[key] = engines.prepare(
                self._name, trunk, sample, tolerance=self._cache.tolerance
            )
            self._name = self._engines[key].name
        return self._engines[key]

    def _narrowed(self, array: np.ndarray) -> np.ndarray:
        narrow = array.astype("float16")
        scale = float(np.abs(array).max(initial=0))
        if not np.isfinite(narrow).all():
            raise DataError(
                f"`dtype` must be 'float32' for this model: its features reach {scale:.3g}, and "
                "float16 ends at 65504."
            )
        if scale:
            worst = float(np.abs(array - narrow.astype("float32")).max()) / scale
            self.rounding = max(self.rounding, worst)
        return narrow

    @contextmanager
    def _seeds_of(self, place: tuple[int, int] | None) -> Iterator[None]:
        """Seed random layers by the place, so that a view is the same each time it is computed."""
        with restore_on_exit(self._seeds):
            if place is not None:
                for state, start in zip(self._seeds, self._start, strict=True):
                    set_state(state, start.tobytes() + repr(place).encode())
            yield

    def _facts(self, sample: np.ndarray, engine: str) -> dict[str, Any]:
        return {
            **fingerprint.of_trunk(
                self._steps, self.outputs, sample=sample, dtype=self._cache.dtype
            ),
            "engine": [engine, engines.version(engine)],
            "random": [start.tolist() for start in self._start],
        }

    def _known_engine(self, kept: store.Store, sample: np.ndarray) -> str | None:
        """Return an engine that has run this trunk before: timing again might choose another."""
        there = {entry.key for entry in kept.entries()}
        for name in engines.installed():
            if kept.key(self._facts(sample, name)) in there:
                return name
        return None


def _parts(steps: Sequence[Step]) -> list[Any]:
    layers = [step.operation for step in steps if isinstance(step.operation, keras.Layer)]
    return flatten_layers(*layers)


def _as_in_training(step: Step, random: set[int]) -> Callable[..., Any]:
    """Return what to call in a step: a random layer is to be random."""
    layer = step.operation
    if not any(id(part) in random for part in _parts([step])):
        return layer  # type: ignore[no-any-return]  # Keras' own are callable
    return lambda *args, **kwargs: layer(*args, **{**kwargs, "training": True})


def _row_bytes(cuts: Sequence[Cut], dtype: str) -> int:
    shapes = {
        tensor: shape for cut in cuts for tensor, shape in zip(cut.tensors, cut.shapes, strict=True)
    }
    return sum(math.prod(shape) for shape in shapes.values()) * np.dtype(dtype).itemsize
