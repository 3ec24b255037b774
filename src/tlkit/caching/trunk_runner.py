"""Run a frozen model on images by an engine, and collect what determines its features."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tlkit.caching import fingerprint
from tlkit.caching.cache import Cache
from tlkit.caching.engines import selection
from tlkit.caching.lookup import Lookup
from tlkit.caching.store import Store
from tlkit.errors import DataError
from tlkit.models.flat_graph import Part

BATCH = 128
"""The number of images in the batch with which an engine is prepared."""

_SHARE_RUN = 0.5  # of the images; Keras is only used again if it has run this share of them


class TrunkRunner:
    """Computes the features of images.

    Args:
        trunk: The frozen model; it returns a list of tensors.
        columns: The digest of each of these tensors, from `fingerprint.digest_tensors`.
        last_layer: The name of the layer that returns the last tensor.
        row_bytes: The size of one image's features in bytes.
        cache: The folder and the dtype of features, and the engine's tolerance.
        engine: The engine, as in `Cache`.
        more_facts: Further facts that determine the features.

    Attributes:
        cache: The cache that was passed.
        row_bytes: The size of one image's features in bytes.
        num_computed: The number of images that were run.
        float16_error: The largest error from storing float16, relative to the largest feature.
    """

    def __init__(
        self,
        trunk: Part,
        columns: Sequence[str],
        *,
        last_layer: str,
        row_bytes: int,
        cache: Cache,
        engine: str,
        more_facts: dict[str, Any] | None = None,
    ) -> None:
        self._trunk, self._name = trunk, engine
        self._columns, self._last_layer = list(columns), last_layer
        self._more_facts = more_facts or {}
        self._engines: dict[Any, selection.Engine] = {}
        self.cache, self.row_bytes = cache, row_bytes
        self.num_computed = 0
        self.float16_error = 0.0
        self._num_expected: int | None = None

    def expect(self, num_images: int | None) -> None:
        """Set how many images are about to be run; None if that is unknown.

        The choice of the engine depends on it; the engine is chosen once.
        """
        self._num_expected = num_images

    @property
    def engine(self) -> str:
        """The engine that runs the trunk, with its version."""
        prepared = next(iter(self._engines.values()), None)
        if prepared is None:
            return f"{self._name} {selection.get_version(self._name)}"
        return f"{prepared.name} {prepared.version}"

    def describe_engine(self) -> str:
        """Return the engine with its version, and its speed relative to Keras if it was timed."""
        prepared = next(iter(self._engines.values()), None)
        return self.engine if prepared is None else prepared.describe()

    @property
    def engine_error(self) -> float | None:
        """The engine's difference from Keras on the first batch; None before the first run."""
        return max((engine.error for engine in self._engines.values()), default=None)

    def open_lookup(
        self,
        stored: Store,
        shape: Any,
        read_sample: Callable[[], np.ndarray],
        digests: np.ndarray | None = None,
    ) -> Lookup:
        """Return the lookup of images' features; this chooses the engine if necessary.

        Args:
            stored: The store.
            shape: An image, or an empty batch, for the dtype and shape of all images.
            read_sample: Returns some images, to check an engine on.
            digests: The digests of all images; None if they are unknown.
        """
        if self._name == "auto":
            used = self._find_used(stored, shape, digests)
            if used is not None:
                return used
            self._prepare(read_sample())
        return Lookup(stored, self.collect_facts(shape, self._name))

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the features of these images."""
        arrays = self._prepare(images[:BATCH]).run(images)
        self.num_computed += len(images)
        if self.cache.dtype == "float32":
            return arrays
        return [self._to_float16(array) for array in arrays]

    def _prepare(self, sample: np.ndarray) -> selection.Engine:
        key = (sample.shape[1:], sample.dtype)
        if key not in self._engines:
            self._engines[key] = self._find_compiled(key) or selection.prepare(
                self._name,
                self._trunk,
                sample,
                tolerance=self.cache.tolerance,
                num_images=self._num_expected,
            )
            self._name = self._engines[key].name
            self._keep_compiled(key)
        return self._engines[key]

    def _find_compiled(self, key: Any) -> selection.Engine | None:
        """Return the engine that another runner of the same trunk has compiled in this run."""
        found: selection.Engine | None = (self.cache.engines or {}).get(self._identify(key))
        return found if found is not None and self._name in ("auto", found.name) else None

    def _keep_compiled(self, key: Any) -> None:
        """Keep an engine for other runners, in place of an earlier one, since each takes memory."""
        engine = self._engines[key]
        if self.cache.engines is not None and engine.name != "keras":  # Keras needs no compilation
            self.cache.engines.clear()
            self.cache.engines[self._identify(key)] = engine

    def _identify(self, key: Any) -> Any:
        return (*self._columns, repr(self._more_facts), self.cache.tolerance, key)

    # float16 has 11 significant bits, so a feature loses at most 2**-12 of its value, which is less
    # than the noise of training. Features below 6e-5 lose more, but are negligible beside the
    # others. The error is measured relative to the largest feature, and reported. Above 65504
    # float16 has only infinity, which would ruin the training, so it is an error.
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

    def collect_facts(self, sample: np.ndarray, engine: str) -> dict[str, Any]:
        """Return what determines features besides the images, as the key in the store.

        Args:
            sample: Some images, or an empty batch of their dtype and shape.
            engine: The engine that runs the trunk.
        """
        facts = fingerprint.describe(
            self._columns, last_layer=self._last_layer, sample=sample, dtype=self.cache.dtype
        )
        return {**facts, "engine": [engine, selection.get_version(engine)], **self._more_facts}

    # The features of one set of images should come from one engine. So a compiled engine is used
    # again if features of the trunk are stored that it computed. Keras is only used again if it
    # computed at least half of these images: a few images must not make it run many.
    def _find_used(
        self, stored: Store, sample: np.ndarray, digests: np.ndarray | None
    ) -> Lookup | None:
        """Return the lookup for an engine that has run this trunk before; None without one."""
        for name in [*selection.list_installed()[1:], "keras"]:
            lookup = Lookup(stored, self.collect_facts(sample, name))
            is_used = lookup.has_features
            if name == "keras" and is_used and digests is not None:
                is_used = bool(lookup.locate(digests).mean() >= _SHARE_RUN)
            if is_used:
                self._name = name
                return lookup
        return None
