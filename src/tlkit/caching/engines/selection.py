"""Run a frozen model by Keras or, faster, by an engine checked to give the same numbers."""

import contextlib
import dataclasses
import importlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import get_args

import keras
import numpy as np

from tlkit._internal import arguments, optional
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.caching.cache import EngineName
from tlkit.caching.engines import compilers
from tlkit.caching.engines.compilers import COMPILERS, Run, compile_trunk
from tlkit.caching.engines.keras_engine import choose_batch_size, make_keras_function
from tlkit.errors import DataError, EngineError, MissingExtraError

ENGINES = get_args(EngineName)
"""The names of all engines: Keras itself, and the compilers in `compilers.py`."""

_SECONDS_TIMED = 0.3


@dataclass(frozen=True, kw_only=True, eq=False)
class Engine:
    """A frozen model, ready to run.

    Attributes:
        name: One of `ENGINES`.
        version: The version of the engine's package, or of Keras and its backend.
        run: Takes one or more images of the shape and dtype that it was prepared for; returns one
            float32 array per output, with the batch axis first.
        batch_size: How many images it runs at a time; smaller batches are filled up.
        error: The largest difference from Keras on the sample, relative to the largest number of
            each output; 0 for Keras.
        timings: Images per second of each engine that was timed; empty unless "auto" chose.
    """

    name: str
    version: str
    run: Callable[[np.ndarray], list[np.ndarray]]
    batch_size: int
    error: float
    timings: dict[str, float] = field(default_factory=dict)


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
    name: str, trunk: keras.Model, sample: np.ndarray, *, tolerance: float = 1e-3
) -> Engine:
    """Prepare an engine for a frozen model, and check on a sample that it gives Keras' numbers.

    The engine has a copy of the weights: the model must not change as long as it is used.

    Args:
        name: One of `ENGINES`, or "auto" for the fastest of those installed.
        trunk: The model; called as `trunk(images, training=False)`, it returns a list of tensors.
        sample: A batch of real images; all others must have their shape and dtype.
        tolerance: The largest `Engine.error` that is accepted.

    Raises:
        ConfigError: The name or the tolerance is wrong.
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
    reference = _prepare_keras(trunk, sample)
    if name == "keras":
        return reference
    expected = reference.run(sample)
    if name != "auto":
        return _prepare_compiled(name, trunk, sample, expected, tolerance)
    candidates = [reference]
    for other in list_installed()[1:]:
        with contextlib.suppress(EngineError):
            candidates.append(_prepare_compiled(other, trunk, sample, expected, tolerance))
    return _choose_fastest(candidates, sample)


def compile_batch(name: str, model: keras.Model, batch: np.ndarray) -> Run:
    """Return a function that runs a model on batches of one size, to measure its time.

    Args:
        name: One of `ENGINES`, which `prepare` accepted for a model of the same layers.
        model: The model; called as `model(images, training=False)`, it returns a list of tensors.
        batch: Images of the size, shape and dtype that will be run.
    """
    if name == "keras":
        return make_keras_function(model, batch, batch_size=len(batch))[0]
    return compile_trunk(name, model, batch.shape, batch.dtype)


def _choose_fastest(engines: list[Engine], sample: np.ndarray) -> Engine:
    timings = {engine.name: _time_images(engine, sample) for engine in engines}
    fastest = max(engines, key=lambda engine: timings[engine.name])
    return dataclasses.replace(fastest, timings=timings)


def _time_images(engine: Engine, sample: np.ndarray) -> float:
    """Return the median speed over batches, after a first one that is not timed."""
    images = np.resize(sample, (engine.batch_size, *sample.shape[1:]))  # repeats the sample
    engine.run(images)
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < _SECONDS_TIMED:
        start = time.perf_counter()
        engine.run(images)
        seconds.append(time.perf_counter() - start)
    return len(images) / statistics.median(seconds)


def _prepare_compiled(
    name: str,
    trunk: keras.Model,
    sample: np.ndarray,
    expected: list[np.ndarray],
    tolerance: float,
) -> Engine:
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise EngineError(
            f"engine={name!r} needs Keras' TensorFlow backend, got {show(backend)}. "
            'Use engine="keras".'
        )
    batch_size = choose_batch_size(trunk, sample)
    try:
        shape = (batch_size, *sample.shape[1:])
        compiled = compile_trunk(name, trunk, shape, sample.dtype)
        run = _run_in_batches(compiled, batch_size, sample)
        with compilers.silence():  # LiteRT prints in its first run
            outputs = run(sample)
        error = _compute_error(outputs, expected)
    except MissingExtraError:
        raise
    except Exception as failure:  # each engine has errors of its own
        reason = (str(failure).strip() or type(failure).__name__).splitlines()[0]
        raise EngineError(
            f'engine={name!r} can\'t run this model: {reason.rstrip(".")}. Use engine="keras".'
        ) from failure
    if not error <= tolerance:  # also where it is NaN
        raise EngineError(
            f"engine={name!r} must differ from Keras by at most {tolerance:g} of an output's "
            f'largest number, got {error:.2g}. Use engine="keras".'
        )
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
    return float(np.max(shares))  # NaN where one is


def _prepare_keras(trunk: keras.Model, sample: np.ndarray) -> Engine:
    run, batch_size = make_keras_function(trunk, sample)
    return Engine(
        name="keras",
        version=get_version("keras"),
        run=_run_in_batches(run, batch_size, sample),
        batch_size=batch_size,
        error=0.0,
    )


def _run_in_batches(run: Run, batch_size: int, sample: np.ndarray) -> Run:
    """Return a function that runs any number of images, in batches of one size.

    The last batch is filled up with its last image: kernels round differently for other sizes,
    and an image's features must not depend on how many others there are.
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
