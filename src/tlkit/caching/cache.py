"""The settings of running a frozen part once and storing its features, and a summary of the run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.caching.usage import Usage
from tlkit.errors import ConfigError

EngineName = Literal["keras", "litert", "onnxruntime", "openvino"]
"""The engines that can run a frozen model: Keras itself, and three compilers for CPUs."""

Dtype = Literal["float16", "float32"]
"""The dtype that features are stored in."""


@check_arguments
@dataclass(frozen=True, kw_only=True)
class Cache:
    """How training runs the frozen part of a model once, and stores its features.

    Attributes:
        engine: The program that runs the frozen part. "auto" chooses a compiler that is several
            times faster than Keras: LiteRT, which is part of TensorFlow, or OpenVINO where that is
            faster. It chooses Keras for few images, or if no compiler can run the model. "litert",
            "openvino" and "onnxruntime" are compilers, each checked against Keras on the first
            batch; their numbers differ in the last digits. "keras" gives exactly Keras' numbers.
        tolerance: The largest accepted difference between an engine and Keras, relative to the
            largest number of an output.
        folder: Where to store features, so that a later run only computes those of new images. None
            stores them for one run only. "auto" is the folder in the environment variable
            `TLKIT_CACHE`, or one in the user's cache folder, which is limited to 5 GB and a tenth
            of the disk's free space.
        memory_limit: The bytes of memory for features; larger features are stored on disk. By
            default half of the memory that is free when training starts.
        dtype: "float32", or "float16", which needs half the space and keeps about 3 digits.
        cut: The name of the layer after which the model is cut; None chooses it.
        views: The number of augmented copies of each image to store, for phases with `augmentation`
            or models with random layers before the backbone; epochs use them in turn. With 1,
            such a phase trains without a cache.
        rewrites: Whether to compute layers of the trained part in cheaper ways where these exist.
        usage: Counts the images that are computed, and those whose features are found in the
            folder; None counts nothing.
        engines: Holds the engine that was compiled last, so that the steps of one run, such as
            training and evaluation, compile it once; pass a new `{}` for each run.

    Raises:
        ConfigError: A value is invalid.

    Examples:
        >>> Cache(memory_limit=2 * 2**30).engine
        'auto'
    """

    engine: EngineName | Literal["auto"] = "auto"
    tolerance: float = 1e-3
    folder: str | Path | None = None
    memory_limit: int | None = None
    dtype: Dtype = "float32"
    cut: str | None = None
    views: int = 1
    rewrites: bool = True
    usage: Usage | None = field(default=None, repr=False, compare=False)
    engines: dict[Any, Any] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        arguments.one_of("engine", self.engine, ("auto", *get_args(EngineName)))
        arguments.positive("tolerance", self.tolerance)
        arguments.one_of("dtype", self.dtype, get_args(Dtype))
        arguments.at_least("views", self.views, 1)
        if self.memory_limit is not None:
            arguments.at_least("memory_limit", self.memory_limit, 0)
        if self.folder is not None and not isinstance(self.folder, str | Path):
            raise ConfigError(f"`folder` must be a path, got {show(self.folder)}.")
        if self.engines is not None and not isinstance(self.engines, dict):
            raise ConfigError(f"`engines` must be a dict, got {show(self.engines)}.")
        if self.views > 1 and self.engine not in ("auto", "keras"):
            raise ConfigError(
                f"`engine` must be 'keras' if `views` is {self.views}, got {show(self.engine)}: "
                "other engines can't draw random numbers."
            )


DEFAULT = Cache()
"""Features are stored in memory for one run."""


@dataclass(frozen=True, kw_only=True)
class TrunkRun:
    """How the frozen part was run on the images.

    Attributes:
        cut_reason: Where the model was cut and why.
        engine: The engine and its version.
        engine_error: The engine's difference from Keras on the first batch, relative to the
            largest number: 0 for Keras itself, None if nothing was computed.
        num_images: The number of images and views with features, including validation.
        num_computed: How many of them were computed; the others were found in the store.
        num_bytes: The size of the features in bytes.
        on_disk: Whether the features are stored on disk.
        seconds: The time that it took.
        float16_error: The largest error from storing float16, relative to the largest feature.
        disabled_layers: Layers of the frozen part that are random in Keras' own training and
            disabled here: dropout, stochastic depth.
    """

    cut_reason: str
    engine: str
    engine_error: float | None
    num_images: int
    num_computed: int
    num_bytes: int
    on_disk: bool
    seconds: float
    float16_error: float
    disabled_layers: tuple[str, ...]

    def __str__(self) -> str:
        where = "on disk" if self.on_disk else "in memory"
        return (
            f"{self.cut_reason}. Frozen part by {self.engine}: ran {self.num_computed:,} of "
            f"{self.num_images:,} images in {self.seconds:.1f} s, "
            f"{self.num_bytes / 1e6:,.0f} MB {where}"
        )
