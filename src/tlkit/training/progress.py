"""Training progress a person can read: a bar while an epoch runs, a line when it is done."""

import math
import time
from typing import Any

import keras
import rich.console
import rich.progress
from typing_extensions import override


class EpochLines(keras.callbacks.Callback):
    """Writes a line for every epoch, and shows a bar meanwhile where there is a terminal.

    Args:
        title: What the phase is called.
        console: Where to write; standard output by default.
    """

    def __init__(self, title: str, *, console: rich.console.Console | None = None) -> None:
        super().__init__()
        self.title = title
        self.console = console or rich.console.Console(highlight=False, soft_wrap=True)
        self._bar: rich.progress.Progress | None = None

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Say how much of the model is about to be trained."""
        trained = sum(math.prod(weight.shape) for weight in self.model.trainable_weights)
        total = self.model.count_params()
        self.console.print(f"{self.title}: trains {trained:,} of {total:,} parameters")

    @override
    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Show the bar."""
        self._started = time.perf_counter()
        if self.console.is_terminal:
            self._bar = rich.progress.Progress(console=self.console, transient=True)
            self._task = self._bar.add_task(self._place(epoch), total=self.params.get("steps"))
            self._bar.start()

    @override
    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move the bar on."""
        if self._bar is not None:
            self._bar.update(self._task, completed=batch + 1)

    @override
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the epoch's line."""
        self.close()
        seconds = time.perf_counter() - self._started
        figures = "  ".join(_figure(name, value) for name, value in (logs or {}).items())
        self.console.print(f"{self._place(epoch)}  {figures}  {seconds:.1f} s")

    @override
    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Take the bar away, also after a training that was stopped."""
        self.close()

    def tell_solved(self, solver: str, figures: dict[str, float], seconds: float) -> None:
        """Write the line of a head that was solved."""
        values = "  ".join(_figure(name, value) for name, value in figures.items())
        self.console.print(f"{self.title:<10} {solver}  {values}  {seconds:.1f} s")

    def _place(self, epoch: int) -> str:
        epochs = self.params["epochs"]
        return f"{self.title:<10} {epoch + 1:>{len(str(epochs))}}/{epochs}"

    def close(self) -> None:
        """Take the bar away where one is shown."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _figure(name: str, value: float) -> str:
    return f"{name} {100 * value:.2f} %" if name.endswith("accuracy") else f"{name} {value:.4g}"
