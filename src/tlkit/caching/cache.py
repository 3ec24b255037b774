"""How the frozen part of a model is run once and kept, as a value, and what came of it."""

from dataclasses import dataclass
from pathlib import Path

from tlkit._internal import arguments
from tlkit.caching.engines.engine import ENGINES
from tlkit.errors import ConfigError

_DTYPES = ("float16", "float32")


@dataclass(frozen=True, kw_only=True)
class Cache:
    """How training runs the frozen part of a model once, and keeps what it gives.

    Attributes:
        engine: What runs the frozen part: "keras" gives Keras' own numbers; "litert", "openvino"
            and "onnxruntime" are checked against it on the first batch; "auto" times all that are
            installed and takes the fastest.
        tolerance: How far an engine may be from Keras, relative to the largest number.
        folder: Where to keep features, so that a later run with the same images and weights need
            not run the frozen part at all. None keeps them for one training only.
        memory_limit: Bytes of memory for features; more are kept on disk. By default half of what
            the process may still use when training starts.
        dtype: "float32", or "float16" for half the room with about 3 digits.
        cut: Name of the layer after which to cut; None chooses.
        views: How many augmented views of each image to keep, where random layers such as
            RandomFlip come before the backbone; epochs take them in turn. With 1, a model that
            has such layers trains without a cache.
        rewrites: Whether the trained part is computed in cheaper ways where those are known.

    Raises:
        ConfigError: A value is wrong.

    Examples:
        >>> Cache(engine="auto", memory_limit=2 * 2**30).dtype
        'float32'
    """

    engine: str = "keras"
    tolerance: float = 1e-3
    folder: str | Path | None = None
    memory_limit: int | None = None
    dtype: str = "float32"
    cut: str | None = None
    views: int = 1
    rewrites: bool = True

    def __post_init__(self) -> None:
        arguments.one_of("engine", self.engine, ("auto", *ENGINES))
        arguments.positive("tolerance", self.tolerance)
        arguments.one_of("dtype", self.dtype, _DTYPES)
        arguments.at_least("views", self.views, 1)
        if self.memory_limit is not None:
            arguments.at_least("memory_limit", self.memory_limit, 0)
        if self.folder is not None and not isinstance(self.folder, str | Path):
            raise ConfigError(f"`folder` must be a path, got {self.folder!r}.")
        if self.views > 1 and self.engine not in ("auto", "keras"):
            raise ConfigError(
                f"`engine` must be 'keras' where `views` is {self.views}, got {self.engine!r}: "
                "the other engines can't draw random numbers."
            )


DEFAULT = Cache()
"""Keras' own numbers, kept in memory as long as the training lasts."""


@dataclass(frozen=True, kw_only=True)
class TrunkRun:
    """How the frozen part was run over the images.

    Attributes:
        why: Where the model was cut, in words.
        engine: What ran it, with its version.
        error: How far the engine was from Keras on the first batch, relative to the largest
            number: 0 for Keras itself, None where nothing had to be run.
        images: How many images and views the features are of, validation included.
        computed: How many of them were run; the others were kept from an earlier run.
        bytes: How much room the features take.
        on_disk: Whether they lie on disk.
        seconds: How long it took.
        rounding: The largest difference that a float16 made, relative to the largest number.
        switched_off: Layers of the frozen part that are random in plain Keras' training and are
            off here: dropout, stochastic depth.
    """

    why: str
    engine: str
    error: float | None
    images: int
    computed: int
    bytes: int
    on_disk: bool
    seconds: float
    rounding: float
    switched_off: tuple[str, ...]

    def __str__(self) -> str:
        where = "on disk" if self.on_disk else "in memory"
        return (
            f"{self.why}. Frozen part by {self.engine}: ran {self.computed:,} of {self.images:,} "
            f"images in {self.seconds:.1f} s, {self.bytes / 1e6:,.0f} MB {where}"
        )
