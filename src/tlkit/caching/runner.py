"""The features of a chunk of images: from the store, or computed by an engine."""

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
from tlkit.caching.engines import selection
from tlkit.caching.partition import Cut, merge_trunks
from tlkit.data import augmentation as augmenting
from tlkit.errors import DataError
from tlkit.models.flat_graph import Part, Step

BATCH = 128
"""How many images an engine is prepared with."""


class Runner:
    """Computes the features of images, chunk by chunk.

    Args:
        model: The classifier.
        cuts: Where it is cut; one trunk serves them all.
        cache: How to run and store.
        augmentation: Layers that augment raw images, for each view of them.

    Attributes:
        outputs: The tensors of the graph that features are of.
        views: How many augmented copies of each training image there are.
        row_bytes: How many bytes the features of one image take.
        num_computed: How many images and views were run; others came from the store.
        float16_error: The largest error by storing float16, relative to the largest feature.
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
        self._steps, self.outputs = merge_trunks(cuts)
        names = {name for cut in cuts for name in cut.random_layers}
        random = [part for part in _list_parts(self._steps) if part.name in names]
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
        self._inference = self._training = make()
        if random:
            inside = {id(part) for part in random}
            self._training = make(functions=[_make_random(step, inside) for step in self._steps])
        self.row_bytes = _count_row_bytes(cuts, cache.dtype)
        self._engines: dict[Any, selection.Engine] = {}
        self._name: str = "keras" if random and cache.engine == "auto" else cache.engine
        self.num_computed = 0
        self.float16_error = 0.0

    @property
    def engine(self) -> str:
        """The engine that runs the trunk, with its version."""
        prepared = next(iter(self._engines.values()), None)
        if prepared is None:
            return f"{self._name} {selection.get_version(self._name)}"
        return f"{prepared.name} {prepared.version}"

    @property
    def engine_error(self) -> float | None:
        """The engine's difference from Keras on the first batch; None if nothing was run."""
        return max((engine.error for engine in self._engines.values()), default=None)

    def open_entry(self, stored: store.Store, sample: np.ndarray) -> store.Entry:
        """Return the entry for the features of such images; chooses the engine if need be."""
        if self._name == "auto":
            used = self._find_used_engine(stored, sample)
            self._name = used or self._prepare(sample, self._inference).name
        return stored.entry(self._collect_facts(sample, self._name))

    def compute_features(
        self, images: np.ndarray, entry: store.Entry | None, *, place: tuple[int, int] | None
    ) -> list[np.ndarray]:
        """Return the features of these images, from the store if they are in it.

        Args:
            images: Raw images.
            entry: Where features are stored; None stores nothing.
            place: The number of the view, and of the chunk in it, which seed random layers; None
                runs as in inference.
        """
        if place is not None and self._augmentation:
            images = self._augment(images, place)
        if entry is None:
            return self._run(images, place)
        digest = store.digest(images)
        if self._seeds and place is not None:
            digest = hashlib.blake2b(f"{digest} {place}".encode(), digest_size=16).hexdigest()
        found = entry.read(digest)
        return entry.write(digest, self._run(images, place)) if found is None else found

    def _augment(self, images: np.ndarray, place: tuple[int, int]) -> np.ndarray:
        with self._seed_random_layers(place):
            pieces = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
            return np.concatenate([augmenting.augment(each, self._augmentation) for each in pieces])

    def _run(self, images: np.ndarray, place: tuple[int, int] | None) -> list[np.ndarray]:
        trunk = self._inference if place is None else self._training
        engine = self._prepare(images[:BATCH], trunk)
        with self._seed_random_layers(place):
            arrays = engine.run(images)
        self.num_computed += len(images)
        if self._cache.dtype == "float32":
            return arrays
        return [self._to_float16(array) for array in arrays]

    def _prepare(self, sample: np.ndarray, trunk: Part) -> selection.Engine:
        key = (id(trunk), sample.shape[1:], sample.dtype)
        if key not in self._engines:
            self._engines[key] = selection.prepare(
                self._name, trunk, sample, tolerance=self._cache.tolerance
            )
            self._name = self._engines[key].name
        return self._engines[key]

    # float16 has 11 significant bits, so a feature loses at most 2**-12 of its value, which is less
    # than training's own noise; features below 6e-5 lose more, but they are nothing beside the
    # others. The error is measured against the largest feature and reported. Above 65504 float16
    # has only infinity, which would ruin the training: that is an error.
    def _to_float16(self, array: np.ndarray) -> np.ndarray:
        narrow = array.astype("float16")
        scale = float(np.abs(array).max(initial=0))
        if not np.isfinite(narrow).all():
            raise DataError(
                f"`dtype` must be 'float32' for this model: its features reach {scale:.3g}, and "
                "float16 ends at 65504."
            )
        if scale:
            worst = float(np.abs(array - narrow.astype("float32")).max()) / scale
            self.float16_error = max(self.float16_error, worst)
        return narrow

    @contextmanager
    def _seed_random_layers(self, place: tuple[int, int] | None) -> Iterator[None]:
        """Seed random layers by the place, so that a view is the same each time it is computed."""
        with restore_on_exit(self._seeds):
            if place is not None:
                for state, start in zip(self._seeds, self._start, strict=True):
                    set_state(state, start.tobytes() + repr(place).encode())
            yield

    def _collect_facts(self, sample: np.ndarray, engine: str) -> dict[str, Any]:
        return {
            **fingerprint.fingerprint_trunk(
                self._steps, self.outputs, sample=sample, dtype=self._cache.dtype
            ),
            "engine": [engine, selection.get_version(engine)],
            "random": [start.tolist() for start in self._start],
        }

    def _find_used_engine(self, stored: store.Store, sample: np.ndarray) -> str | None:
        """Return an engine that has run this trunk before: timing again might choose another."""
        keys = {entry.key for entry in stored.entries()}
        for name in selection.list_installed():
            if stored.key(self._collect_facts(sample, name)) in keys:
                return name
        return None


def _list_parts(steps: Sequence[Step]) -> list[Any]:
    layers = [step.operation for step in steps if isinstance(step.operation, keras.Layer)]
    return flatten_layers(*layers)


def _make_random(step: Step, random: set[int]) -> Callable[..., Any]:
    """Return what to call in a step: its layer, in training mode if it holds a random one."""
    layer = step.operation
    if not any(id(part) in random for part in _list_parts([step])):
        return layer  # type: ignore[no-any-return]  # Keras' own are callable
    return lambda *args, **kwargs: layer(*args, **{**kwargs, "training": True})


def _count_row_bytes(cuts: Sequence[Cut], dtype: str) -> int:
    shapes = {
        tensor: shape for cut in cuts for tensor, shape in zip(cut.tensors, cut.shapes, strict=True)
    }
    return sum(math.prod(shape) for shape in shapes.values()) * np.dtype(dtype).itemsize
