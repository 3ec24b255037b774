"""Show the progress of training: a bar while an epoch runs, and a line for each epoch."""

import math
import time
from typing import Any

import keras
import rich.console
from typing_extensions import override

from tlkit._internal import bars


class EpochLines(keras.callbacks.Callback):
    """Prints a line for every epoch, and shows a bar meanwhile in a terminal or a notebook.

    Args:
        title: The phase's name.
        console: Where to print; by default standard output.
    """

    def __init__(self, title: str, *, console: rich.console.Console | None = None) -> None:
        super().__init__()
        self.title = title
        self.console = console or bars.create_console()
        self._bar: bars.Bar | None = None

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Print how many of the model's parameters are trained."""
        trained = sum(math.prod(weight.shape) for weight in self.model.trainable_weights)
        total = self.model.count_params()
        self.console.print(f"{self.title}: training {trained:,} of {total:,} parameters")

    @override
    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Show the bar."""
        self._started = time.perf_counter()
        self._bar = bars.open_bar(self._label(epoch), self.console)

    @override
    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.update(batch + 1, self.params.get("steps"))

    @override
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Print the epoch's line."""
        self.close()
        seconds = time.perf_counter() - self._started
        self.console.print(f"{self._label(epoch)}  {_metrics(logs or {})}  {seconds:.1f} s")

    @override
    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Remove the bar."""
        self.close()

    def write_solution(self, solver: str, metrics: dict[str, float], seconds: float) -> None:
        """Print the line of a solved head."""
        self.console.print(f"{self.title:<10} {solver}  {_metrics(metrics)}  {seconds:.1f} s")

    def _label(self, epoch: int) -> str:
        epochs = self.params["epochs"]
        return f"{self.title:<10} {epoch + 1:>{len(str(epochs))}}/{epochs}"

    def close(self) -> None:
        """Remove the bar, if one is shown."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _metrics(logs: dict[str, float]) -> str:
    return "  ".join(
        f"{name} {100 * value:.2f} %" if name.endswith("accuracy") else f"{name} {value:.4g}"
        for name, value in logs.items()
    )
