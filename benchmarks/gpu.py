"""Measure the frozen part and the fine-tuned part on a GPU with JAX, beside plain Keras.

    KERAS_BACKEND=jax python benchmarks/gpu.py

TensorFlow is not needed. Weights are random: they change no time. Images are uint8 arrays in
memory, of noise. Both sides of a pair take turns; medians are of the rounds, without the first,
which compiles. The result is printed as JSON, and written to `--out` if it is given. For a trial on
a processor: `--images 64 --batch-size 16 --size 32 --rounds 2`.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import tlkit
from tlkit import Cache, Phase, freezing
from tlkit.models import backbones
from tlkit.models.inspection import features_of

CLASSES = 10
POLICIES = ("float32", "mixed_bfloat16")


def main(arguments: list[str] | None = None) -> None:
    """Measure each policy, and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_240)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    found = {"keras": keras.__version__, "backend": keras.backend.backend(), "device": device()}
    found |= {policy: measure(policy, options) for policy in options.policies}
    text = json.dumps(found, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


def device() -> str:
    """Return the name of the device that computes."""
    if keras.backend.backend() == "jax":
        import jax

        return str(jax.devices()[0].device_kind)
    return str(keras.distribution.list_devices()[0])


def measure(policy: str, options: argparse.Namespace) -> dict[str, float]:
    """Return images a second of both parts, in plain Keras and in tlkit."""
    keras.utils.set_random_seed(0)
    backbone = backbones.create(
        "mobilenet_v2", image_size=options.size, weights=None, options={"dtype": policy}
    )
    random = np.random.default_rng(0)
    shape = (options.images, options.size, options.size, 3)
    images = random.integers(0, 256, shape, "uint8")
    labels = random.integers(0, CLASSES, options.images)
    model = tlkit.build_classifier(backbone, CLASSES, input_shape=shape[1:], pixels="signed")
    found = measure_trunk(model, images, options)
    return found | measure_tail(model, (images, labels), options)


def measure_trunk(
    model: keras.Model, images: np.ndarray, options: argparse.Namespace
) -> dict[str, float]:
    """Return images a second through the whole frozen backbone, from memory to features."""
    reader = features_of(model)
    size = options.batch_size

    def predict() -> None:
        reader.predict(images, batch_size=size, verbose=0)

    def stage() -> None:
        kept = Cache(engine="keras")
        phase = tlkit.SolvedHead(solver="ridge", batch_size=size)
        labels = np.arange(len(images)) % CLASSES
        tlkit.train_phase(model, phase, (images, labels), cache=kept, verbose=False)

    seconds = alternate({"keras": predict, "tlkit, with a head by ridge": stage}, options.rounds)
    return {f"trunk, {name}": len(images) / each for name, each in seconds.items()}


def measure_tail(
    model: keras.Model, data: tuple[np.ndarray, np.ndarray], options: argparse.Namespace
) -> dict[str, float]:
    """Return images a second of fine-tuning from layer 100, an epoch after the first."""
    found: dict[str, list[float]] = {"keras": [], "tlkit": []}
    for _ in range(options.rounds):
        for name, cache in (("keras", None), ("tlkit", Cache(engine="keras"))):
            clock = EpochClock()
            phase = Phase(
                epochs=3,
                learning_rate=1e-5,
                batch_size=options.batch_size,
                freeze=freezing.first(100),
                callbacks=(clock,),
            )
            tlkit.train_phase(model, phase, data, cache=cache, verbose=False)
            found[name] += clock.seconds[1:]
    return {f"tail, {name}": len(data[0]) / statistics.median(each) for name, each in found.items()}


class EpochClock(keras.callbacks.Callback):
    """Remembers the seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def alternate(sides: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each side, after one run that compiles."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds + 1):
        for name, run in sides.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(each[1:]) for name, each in seconds.items()}


if __name__ == "__main__":
    main()
