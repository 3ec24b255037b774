"""Run a frozen model by Keras or, faster, by an engine proven to give the same numbers."""

import contextlib
import dataclasses
import importlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np

from tlkit._internal import arguments, optional
from tlkit.caching.engines import compilers
from tlkit.caching.engines.compilers import NEEDS, Run, compile_trunk
from tlkit.caching.engines.keras_engine import batch_size_of, keras_function
from tlkit.errors import DataError, EngineError, MissingExtraError

ENGINES = ("keras", "litert", "onnxruntime", "openvino")
"""What can run a frozen model: Keras itself, and three compilers for processors."""

_SECONDS_TIMED = 0.3


@dataclass(frozen=True, kw_only=True, eq=False)
class Engine:
    """A frozen model, ready to run.

    Attributes:
        name: One of `ENGINES`.
        version: That of Keras and its backend, or of the engine.
        run: Takes images of the shape and dtype it was prepared for, any number from 1; returns
            one float32 array per output, the batch first.
        batch_size: How many images it runs at a time; fewer are filled up.
        error: The greatest difference from Keras on the sample, as a share of the greatest value
            of each output; 0 for Keras.
        timings: The images a second of each engine that was tried, empty unless chosen by "auto".
    """

    name: str
    version: str
    run: Callable[[np.ndarray], list[np.ndarray]]
    batch_size: int
    error: float
    timings: dict[str, float] = field(default_factory=dict)


def installed() -> list[str]:
    """Return the names of the engines that can be used here, "keras" first.

    Examples:
        >>> installed()[0]
        'keras'
    """
    if keras.config.backend() != "tensorflow":  # the others compile TensorFlow's graphs
        return ["keras"]
    return ["keras", *(name for name in NEEDS if all(map(optional.installed, NEEDS[name])))]


def version(name: str) -> str:
    """Return the version of Keras and its backend, or of another engine's package.

    Raises:
        ConfigError: The name is not one of `ENGINES`.
        MissingExtraError: The engine is not installed.
    """
    if arguments.one_of("engine", name, ENGINES) != "keras":
        return compilers.version(name)
    backend = keras.config.backend()
    return f"{keras.__version__}+{backend}-{importlib.import_module(backend).__version__}"


def prepare(
    name: str, trunk: keras.Model, sample: np.ndarray, *, tolerance: float = 1e-3
) -> Engine:
    """Make an engine of a frozen model, and prove on a sample that it gives Keras' numbers.

    The weights are those of now: the model must not change as long as the engine is used.

    Args:
        name: One of `ENGINES`, or "auto" for the fastest of those installed.
        trunk: The model; called as `trunk(images, training=False)`, it returns a list of tensors.
        sample: A batch of real images. Others must have their shape and dtype.
        tolerance: The greatest `Engine.error` that is accepted.

    Raises:
        ConfigError: The name or the tolerance is wrong.
        DataError: The sample is empty.
        EngineError: The engine can't run the model, or its numbers differ by more than that.
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
    reference = _keras(trunk, sample)
    if name == "keras":
        return reference
    expected = reference.run(sample)
    if name != "auto":
        return _proven(name, trunk, sample, expected, tolerance)
    candidates = [reference]
    for other in installed()[1:]:
        with contextlib.suppress(EngineError):
            candidates.append(_proven(other, trunk, sample, expected, tolerance))
    return _fastest(candidates, sample)


def _fastest(engines: list[Engine], sample: np.ndarray) -> Engine:
    timings = {engine.name: _images_per_second(engine, sample) for engine in engines}
    fastest = max(engines, key=lambda engine: timings[engine.name])
    return dataclasses.replace(fastest, timings=timings)


def _images_per_second(engine: Engine, sample: np.ndarray) -> float:
    """Return the median speed over batches, after one that warms the engine up."""
    images = np.resize(sample, (engine.batch_size, *sample.shape[1:]))  # repeats the sample
    engine.run(images)
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < _SECONDS_TIMED:
        start = time.perf_counter()
        engine.run(images)
        seconds.append(time.perf_counter() - start)
    return len(images) / statistics.median(seconds)


def _proven(
    name: str,
    trunk: keras.Model,
    sample: np.ndarray,
    expected: list[np.ndarray],
    tolerance: float,
) -> Engine:
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise EngineError(
            f"engine={name!r} needs Keras' TensorFlow backend, got {backend!r}. "
            'Use engine="keras".'
        )
    batch_size = batch_size_of(trunk, sample)
    try:
        shape = (batch_size, *sample.shape[1:])
        compiled = compile_trunk(name, trunk, shape, sample.dtype)
        run = _in_batches(compiled, batch_size, sample)
        with compilers.quiet():  # LiteRT speaks when it runs first
            outputs = run(sample)
        error = _difference(outputs, expected)
    except MissingExtraError:
        raise
    except Exception as failure:  # each engine has errors of its own
        reason = (str(failure).strip() or type(failure).__name__).splitlines()[0]
        raise EngineError(
            f'engine={name!r} can\'t run this model: {reason.rstrip(".")}. Use engine="keras".'
        ) from failure
    if not error <= tolerance:  # also where it is NaN
        raise EngineError(
            f"engine={name!r} must give Keras' numbers within {tolerance:g} of the greatest of "
            f'each output, got a difference of {error:.2g}. Use engine="keras".'
        )
    return Engine(name=name, version=version(name), run=run, batch_size=batch_size, error=error)


def _difference(outputs: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Return the greatest difference as a share of the greatest number expected in that output."""
    shares = [0.0]
    for output, wanted in zip(outputs, expected, strict=True):
        if output.shape != wanted.shape:
            raise ValueError(f"its output has shape {output.shape}, not {wanted.shape}.")
        difference, scale = np.abs(output - wanted).max(), np.abs(wanted).max()
        if difference != 0:
            shares.append(difference / scale if scale else np.inf)
    return float(np.max(shares))  # NaN where one is


def _keras(trunk: keras.Model, sample: np.ndarray) -> Engine:
    run, batch_size = keras_function(trunk, sample)
    return Engine(
        name="keras",
        version=version("keras"),
        run=_in_batches(run, batch_size, sample),
        batch_size=batch_size,
        error=0.0,
    )


def _in_batches(run: Run, batch_size: int, sample: np.ndarray) -> Run:
    """Return `run` for any number of images; the last batch is filled up with its last image.

    So a row's numbers don't depend on how many images there are: kernels round by batch size.
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
