"""The features of a chunk of images: those that are kept, or what an engine gives."""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tlkit import engines, facts, store
from tlkit.cache import Cache
from tlkit.cutting import Cut, shared_trunk
from tlkit.errors import DataError
from tlkit.graph import Part, Step

BATCH = 128
"""How many images an engine is prepared with."""


class Runner:
    """Gives the features of images, chunk by chunk.

    Args:
        model: The classifier.
        cuts: Where it is cut; one trunk serves them all.
        cache: How to run and keep.
    """

    def __init__(self, model: keras.Model, cuts: Sequence[Cut], cache: Cache) -> None:
        self._cache = cache
        self._steps, self.outputs = shared_trunk(cuts)
        names = {name for cut in cuts for name in cut.random}
        random = [part for part in _parts(self._steps) if part.name in names]
        self._seeds = [seed.state for part in random for seed in part._seed_generators]
        self._start = [np.array(keras.ops.convert_to_numpy(seed)) for seed in self._seeds]
        self.views = cache.views if random else 1
        self._trunk = Part(
            self._steps,
            cuts[0].graph.inputs,
            self.outputs,
            instead=[_as_in_training(step, {id(part) for part in random}) for step in self._steps],
            input_dtype=model.inputs[0].dtype,
            name="trunk",
        )
        self.row_bytes = _row_bytes(cuts, cache.dtype)
        self._engines: dict[tuple[int, ...], engines.Engine] = {}
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
            self._name = self._known_engine(kept, sample) or self._prepared(sample).name
        return kept.entry(self._facts(sample, self._name))

    def features(
        self, images: np.ndarray, entry: store.Entry | None, *, place: tuple[int, int]
    ) -> list[np.ndarray]:
        """Return the features of these images, which are the n-th chunk in the n-th view."""
        if entry is None:
            return self._run(images, place)
        digest = store.digest(images)
        if self._seeds:
            digest = hashlib.blake2b(f"{digest} {place}".encode(), digest_size=16).hexdigest()
        found = entry.read(digest)
        return entry.write(digest, self._run(images, place)) if found is None else found

    def _run(self, images: np.ndarray, place: tuple[int, int]) -> list[np.ndarray]:
        engine = self._prepared(images[:BATCH])
        self._sow(place)
        try:
            arrays = engine.run(images)
        finally:
            for state, start in zip(self._seeds, self._start, strict=True):
                state.assign(start)
        self.computed += len(images)
        if self._cache.dtype == "float32":
            return arrays
        return [self._narrowed(array) for array in arrays]

    def _prepared(self, sample: np.ndarray) -> engines.Engine:
        shape = sample.shape[1:]
        if shape not in self._engines:
            self._engines[shape] = engines.prepare(
                self._name, self._trunk, sample, tolerance=self._cache.tolerance
            )
            self._name = self._engines[shape].name
        return self._engines[shape]

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

    def _sow(self, place: tuple[int, int]) -> None:
        """Set the random layers' seeds by the place, so that a view is the same when run again."""
        for state, start in zip(self._seeds, self._start, strict=True):
            made = hashlib.blake2b(start.tobytes() + repr(place).encode(), digest_size=8).digest()
            state.assign(np.frombuffer(made, "uint32").astype(start.dtype))

    def _facts(self, sample: np.ndarray, engine: str) -> dict[str, Any]:
        return {
            **facts.of_trunk(self._steps, self.outputs, sample=sample, dtype=self._cache.dtype),
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
    return [part for layer in layers for part in layer._flatten_layers()]


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
