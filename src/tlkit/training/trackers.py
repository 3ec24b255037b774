"""What others watch trainings with, as Keras callbacks: TensorBoard, MLflow, Weights & Biases."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import keras
from typing_extensions import override

from tlkit._internal import arguments, optional


def tracker(name: str, folder: str | Path) -> keras.callbacks.Callback:
    """Return a callback that hands every epoch's figures on, epochs counted through all phases.

    Give it to `Phase(callbacks=...)`: the same one to each phase. A phase that is solved has one
    epoch.

    Args:
        name: "tensorboard", "mlflow" or "wandb", each an extra of that name. The last two log to
            the run that is active, or start one as their own settings say.
        folder: Where TensorBoard's files go: a folder for each run, `tensorboard --logdir` the one
            that holds them.

    Raises:
        ConfigError: There is no such tracker.
        MissingExtraError: Its package is not installed.
    """
    return _KINDS[arguments.one_of("name", name, _KINDS)](Path(folder))


class _TensorBoard(keras.callbacks.TensorBoard):
    """Keras' own, which counts each phase's epochs from 0 and so draws them over each other."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._epochs = count()

    @override
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(next(self._epochs), logs)


def _tensorboard(folder: Path) -> keras.callbacks.Callback:
    optional.require("tensorboard", extra="tensorboard")
    return _TensorBoard(folder.as_posix(), write_graph=False)


def _mlflow(folder: Path) -> keras.callbacks.Callback:
    mlflow = optional.require("mlflow", extra="mlflow")
    epochs = count()

    def log(epoch: int, logs: dict[str, Any] | None) -> None:
        mlflow.log_metrics(_plain(logs), step=next(epochs))

    return keras.callbacks.LambdaCallback(on_epoch_end=log)


def _wandb(folder: Path) -> keras.callbacks.Callback:
    wandb = optional.require("wandb", extra="wandb")
    epochs = count()
    if wandb.run is None:
        wandb.init()

    def log(epoch: int, logs: dict[str, Any] | None) -> None:
        wandb.log({**_plain(logs), "epoch": next(epochs)})

    return keras.callbacks.LambdaCallback(on_epoch_end=log)


def _plain(logs: dict[str, Any] | None) -> dict[str, float]:
    return {name: float(value) for name, value in (logs or {}).items()}


_KINDS: dict[str, Callable[[Path], keras.callbacks.Callback]] = {
    "mlflow": _mlflow,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
NAMES = tuple(_KINDS)
