"""Log metrics to TensorBoard, MLflow or Weights & Biases with Keras callbacks."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Literal, get_args

import keras
from typing_extensions import override

from tlkit._internal import arguments, optional
from tlkit._internal.signatures import check_arguments

Tracker = Literal["mlflow", "tensorboard", "wandb"]
"""The names of the trackers, each an extra of tlkit."""


@check_arguments
def tracker(name: Tracker, folder: str | Path) -> keras.callbacks.Callback:
    """Return a callback that logs the metrics of every epoch, numbered through all phases.

    Pass the same callback to each phase, as `Phase(callbacks=...)` or `SolvedHead(callbacks=...)`.
    A solved head has one epoch.

    Args:
        name: "tensorboard", "mlflow" or "wandb", each an extra of that name. The last two log to
            the active run, or start one with their own settings.
        folder: The folder for TensorBoard's files, one for each run; pass its parent folder to
            `tensorboard --logdir`. The other trackers ignore it.

    Raises:
        ConfigError: The tracker is unknown.
        MissingExtraError: Its package is not installed.
    """
    make = _FACTORIES[arguments.one_of("name", name, get_args(Tracker))]
    return make(arguments.path("folder", folder))


class _TensorBoard(keras.callbacks.TensorBoard):
    """Keras' callback with one count of epochs for all phases, which would overlap otherwise."""

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
        mlflow.log_metrics(_to_floats(logs), step=next(epochs))

    return keras.callbacks.LambdaCallback(on_epoch_end=log)


def _wandb(folder: Path) -> keras.callbacks.Callback:
    wandb = optional.require("wandb", extra="wandb")
    epochs = count()
    if wandb.run is None:
        wandb.init()

    def log(epoch: int, logs: dict[str, Any] | None) -> None:
        wandb.log({**_to_floats(logs), "epoch": next(epochs)})

    return keras.callbacks.LambdaCallback(on_epoch_end=log)


def _to_floats(logs: dict[str, Any] | None) -> dict[str, float]:
    return {name: float(value) for name, value in (logs or {}).items()}


_FACTORIES: dict[str, Callable[[Path], keras.callbacks.Callback]] = {
    "mlflow": _mlflow,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
