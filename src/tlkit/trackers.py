"""What others watch trainings with, as Keras callbacks: TensorBoard, MLflow, Weights & Biases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from tlkit import _checks, _optional


def tracker(name: str, folder: str | Path) -> keras.callbacks.Callback:
    """Return a callback that hands every epoch's figures on.

    Give it to `Phase(callbacks=...)`. A phase that is solved has no epochs and tells nothing.

    Args:
        name: "tensorboard", "mlflow" or "wandb", each an extra of that name. The last two log to
            the run that is active, or start one as their own settings say.
        folder: Where TensorBoard's files go, in a folder of that name.

    Raises:
        ConfigError: There is no such tracker.
        MissingExtraError: Its package is not installed.
    """
    return _KINDS[_checks.one_of("name", name, _KINDS)](Path(folder))


def _tensorboard(folder: Path) -> keras.callbacks.Callback:
    _optional.require("tensorboard", extra="tensorboard")
    return keras.callbacks.TensorBoard((folder / "tensorboard").as_posix(), write_graph=False)


def _mlflow(folder: Path) -> keras.callbacks.Callback:
    mlflow = _optional.require("mlflow", extra="mlflow")

    def log(epoch: int, logs: dict[str, Any] | None) -> None:
        mlflow.log_metrics(_plain(logs), step=epoch)

    return keras.callbacks.LambdaCallback(on_epoch_end=log)


def _wandb(folder: Path) -> keras.callbacks.Callback:
    wandb = _optional.require("wandb", extra="wandb")
    if wandb.run is None:
        wandb.init()

    def log(epoch: int, logs: dict[str, Any] | None) -> None:
        wandb.log({**_plain(logs), "epoch": epoch})

    return keras.callbacks.LambdaCallback(on_epoch_end=log)


def _plain(logs: dict[str, Any] | None) -> dict[str, float]:
    return {name: float(value) for name, value in (logs or {}).items()}


_KINDS: dict[str, Callable[[Path], keras.callbacks.Callback]] = {
    "mlflow": _mlflow,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
NAMES = tuple(_KINDS)
