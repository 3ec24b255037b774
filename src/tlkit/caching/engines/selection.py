"""Run a frozen model with Keras, or with a faster engine that was checked against Keras."""

import dataclasses
import importlib
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import get_args

import keras
import numpy as np

from tlkit._internal import arguments, optional, system
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.caching.cache import EngineName
from tlkit.caching.engines import compilers
from tlkit.caching.engines.compilers import COMPILERS, Run, compile_trunk
from tlkit.caching.engines.keras_engine import TracedModel, trace
from tlkit.errors import DataError, EngineError, MissingExtraError

ENGINES = get_args(EngineName)
"""The names of all engines: Keras itself, and the compilers in `compilers.py`."""

_SECONDS_TIMED = 0.1
_NUM_PROVEN = 32
"""The number of sample images on which an engine is compared with Keras."""

# multiply-adds of Keras in the time in which LiteRT is prepared, per operation of the graph
_WORK_PER_KERNEL = 1e9
_SMALL_SIDE = 64  # pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class Engine:
    """A frozen model, ready to run.

    Attributes:
        name: One of `ENGINES`.
        version: The version of the engine's package, or of Keras and its backend.
        run: Takes one or more images of the shape and dtype that it was prepared for; returns one
            float32 array per output, with the batch axis first.
        batch_size: How many images the engine runs at a time; smaller batches are padded.
        error: The largest difference from Keras on the sample, relative to the largest number of
            each output; 0 for Keras.
        timings: Images per second of Keras and of other engines; empty if none were timed.
    """

    name: str
    version: str
    run: Callable[[np.ndarray], list[np.ndarray]]
    batch_size: int
    error: float
    timings: dict[str, float] = field(default_factory=dict)

    def describe(self) -> str:
        """Return its name and version, and its speed relative to Keras if it was timed."""
        line = f"{self.name} {self.version}"
        if self.name == "keras" or not self.timings:
            return line
        gain = self.timings[self.name] / self.timings["keras"]
        return f"{line}, {gain:.1f} times as fast as Keras, numbers within {self.error:.0e} of it"


def list_installed() -> list[str]:
    """Return the names of the engines that are installed, "keras" first.

    Examples:
        >>> list_installed()[0]
        'keras'
    """
    if keras.config.backend() != "tensorflow":  # the others compile TensorFlow's graphs
        return ["keras"]
    return [
        "keras",
        *(name for name, each in COMPILERS.items() if all(map(optional.installed, each.modules))),
    ]


@check_arguments
def get_version(name: str) -> str:
    """Return the version of Keras and its backend, or of another engine's package.

    Raises:
        ConfigError: The name is not one of `ENGINES`.
        MissingExtraError: The engine is not installed.
    """
    if arguments.one_of("engine", name, ENGINES) != "keras":
        return compilers.get_version(name)
    backend = keras.config.backend()
    return f"{keras.__version__}+{backend}-{importlib.import_module(backend).__version__}"


@check_arguments
def prepare(
    name: str,
    trunk: keras.Model,
    sample: np.ndarray,
    *,
    tolerance: float = 1e-3,
    num_images: int | None = None,
) -> Engine:
    """Prepare an engine for a frozen model, and check on a sample that it gives Keras' numbers.

    The engine has a copy of the weights, so the model must not change while the engine is used.

    Args:
        name: One of `ENGINES`, or "auto": the compiler that is likely to be fastest, or Keras if
            no compiler is faster or there are only a few images.
        trunk: The model; called as `trunk(images, training=False)`, it returns a list of tensors.
        sample: A batch of real images; all images must have their shape and dtype.
        tolerance: The largest `Engine.error` that is accepted.
        num_images: About how many images will be run; None if many or unknown. Only "auto"
            depends on it.

    Raises:
        ConfigError: The name or the tolerance is invalid.
        DataError: The sample is empty.
        EngineError: The engine can't run the model, or its error is larger than the tolerance.
        MissingExtraError: The engine is not installed.

    Examples:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> engine = prepare("litert", model, np.ones((2, 8, 8, 3), "float32"))
        >>> [output.shape for output in engine.run(np.zeros((5, 8, 8, 3), "float32"))]
        [(5, 6, 6, 4)]
    """
    name = arguments.one_of("engine", name, ("auto", *ENGINES))
    tolerance = arguments.positive("tolerance", tolerance)
    if len(sample) == 0:
        raise DataError("`sample` must hold at least one image, got none.")
    traced = trace(trunk, sample)
    reference = _prepare_keras(traced, sample)
    if name == "keras":
        return reference
    prepare_compiled = partial(
        _prepare_compiled,
        trunk=trunk,
        traced=traced,
        reference=reference,
        sample=sample,
        tolerance=tolerance,
    )
    if name != "auto":
        return prepare_compiled(name)
    work = math.inf if num_images is None else num_images * traced.multiply_adds
    if not traced.num_kernels or work < _WORK_PER_KERNEL * traced.num_kernels:
        return reference
    return _prepare_fastest(prepare_compiled, reference, sample)


def compile_batch(name: str, model: keras.Model, batch: np.ndarray) -> Run:
    """Return a function that runs a model on batches of one size, to measure its time.

    Args:
        name: One of `ENGINES`, which `prepare` accepted for a model of the same layers.
        model: The model; called as `model(images, training=False)`, it returns a list of tensors.
        batch: Images of the size, shape and dtype that will be run.
    """
    if name == "keras":
        return trace(model, batch).run
    return compile_trunk(name, model, batch.shape, batch.dtype)


# Timing all compilers would prepare each of them, which takes seconds, and would not always choose
# the same one, so that two runs with one seed could differ in the last digits. So compilers are
# tried in an order that was measured (docs/decisions/0030), and the first that is faster than Keras
# is used. It is about three times faster, so that noise does not change this choice.
def _prepare_fastest(
    prepare_compiled: Callable[[str], Engine], reference: Engine, sample: np.ndarray
) -> Engine:
    """Return the first compiled engine that is checked and faster than Keras, or else Keras."""
    timings: dict[str, float] = {}
    for name in order_by_speed(sample.shape[1:3]):
        try:
            engine = prepare_compiled(name)
        except EngineError:
            continue
        timings.setdefault("keras", _time_images(reference, sample))
        timings[name] = _time_images(engine, sample)
        if timings[name] > timings["keras"]:
            return dataclasses.replace(engine, timings=timings)
    return dataclasses.replace(reference, timings=timings)


def order_by_speed(image_size: Sequence[int]) -> list[str]:
    """Return the installed compilers, the one that is likely to be fastest first.

    Args:
        image_size: Height and width of the images.
    """
    names = list_installed()[1:]
    if not system.has_avx512() and min(image_size, default=0) >= _SMALL_SIDE:
        names.sort(key=lambda name: name != "openvino")
    return names


def _time_images(engine: Engine, sample: np.ndarray) -> float:
    """Return the median speed over batches in images per second; the first run is not timed."""
    images = np.resize(sample, (engine.batch_size, *sample.shape[1:]))  # repeats the sample
    engine.run(images)
    seconds: list[float] = []
    while len(seconds) < 2 or sum(seconds) < _SECONDS_TIMED:
        start = time.perf_counter()
        engine.run(images)
        seconds.append(time.perf_counter() - start)
    return len(images) / statistics.median(seconds)


def _prepare_compiled(
    name: str,
    *,
    trunk: keras.Model,
    traced: TracedModel,
    reference: Engine,
    sample: np.ndarray,
    tolerance: float,
) -> Engine:
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise EngineError(
            f"engine={name!r} needs Keras' TensorFlow backend, got {show(backend)}. "
            'Use engine="keras".'
        )
    batch_size = traced.choose_batch_size()
    proven = sample[:_NUM_PROVEN]
    expected = reference.run(proven)
    try:
        shape = (batch_size, *sample.shape[1:])
        compiled = compile_trunk(name, trunk, shape, sample.dtype)
        run = _run_in_batches(compiled, batch_size, sample)
        with compilers.silence():  # LiteRT prints in its first run
            outputs = run(proven)
        error = _compute_error(outputs, expected)
    except MissingExtraError:
        raise
    except Exception as failure:  # each engine has its own errors
        reason = (str(failure).strip() or type(failure).__name__).splitlines()[0]
        raise EngineError(
            f'engine={name!r} can\'t run this model: {reason.rstrip(".")}. Use engine="keras".'
        ) from failure
    if not error <= tolerance:  # also true for NaN
        raise EngineError(
            f"engine={name!r} must differ from Keras by at most {tolerance:g} of an output's "
            f'largest number, got {error:.2g}. Use engine="keras".'
        )
    system.release_memory()  # the converters' copies of the graph
    return Engine(name=name, version=get_version(name), run=run, batch_size=batch_size, error=error)


def _compute_error(outputs: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Return the largest difference, relative to the largest expected number of that output."""
    shares = [0.0]
    for output, wanted in zip(outputs, expected, strict=True):
        if output.shape != wanted.shape:
            raise ValueError(f"its output has shape {output.shape}, not {wanted.shape}.")
        difference, scale = np.abs(output - wanted).max(), np.abs(wanted).max()
        if difference != 0:
            shares.append(difference / scale if scale else np.inf)
    return float(np.max(shares))  # NaN if one is NaN


def _prepare_keras(traced: TracedModel, sample: np.ndarray) -> Engine:
    batch_size = traced.keras_batch_size
    return Engine(
        name="keras",
        version=get_version("keras"),
        run=_run_in_batches(traced.run, batch_size, sample),
        batch_size=batch_size,
        error=0.0,
    )


def _run_in_batches(run: Run, batch_size: int, sample: np.ndarray) -> Run:
    """Return a function that runs any number of images, in batches of one size.

    The last batch is padded with its last image: kernels round differently for other batch sizes,
    and an image's features must not depend on the number of other images.
    """
    shape, dtype = sample.shape[1:], sample.dtype

    def run_all(images: np.ndarray) -> list[np.ndarray]:
        if len(images) == 0 or images.shape[1:] != shape or images.dtype != dtype:
            raise DataError(
                f"`images` must be at least one of shape {shape} and dtype {dtype}, as the engine "
                f"was prepared for, got shape {images.shape} and dtype {images.dtype}."
            )
        parts = []
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            missing = batch_size - len(batch)
            filled = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
            outputs = run(filled)
            parts.append([output[: len(batch)].astype("float32") for output in outputs])
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    return run_all
