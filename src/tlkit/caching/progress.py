"""Progress of the frozen part on the terminal: lines, and a bar while it runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import rich.console
import rich.progress

from tlkit._internal.text import escape_controls


class CacheProgress:
    """Prints lines, and shows a bar while the frozen part runs if the output is a terminal.

    Args:
        verbose: Whether to print anything.
        console: Where to print; standard output by default.
        title: What the bar is called.
    """

    def __init__(
        self,
        *,
        verbose: bool,
        console: rich.console.Console | None = None,
        title: str = "frozen part",
    ) -> None:
        self.title = title
        self.verbose = verbose
        self.console = console or rich.console.Console(highlight=False, soft_wrap=True)
        self._bar: rich.progress.Progress | None = None

    def print(self, line: str) -> None:
        """Print a line."""
        if self.verbose:
            self.console.print(escape_controls(line), markup=False)

    def update(self, done: int, total: int | None) -> None:
        """Show how many images are done, how many per second, and the time left."""
        if not (self.verbose and self.console.is_terminal):
            return
        if self._bar is None:
            self._started = time.perf_counter()
            self._bar = _create_bar(self.console, self.title)
            self._task = self._bar.add_task("", total=total)
            self._bar.start()
        speed = done / max(time.perf_counter() - self._started, 1e-3)
        self._bar.update(self._task, completed=done, description=f"{speed:,.0f} images/s")
        if done == total:
            self.close()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


@contextmanager
def show_waiting(
    title: str, *, verbose: bool, console: rich.console.Console | None = None
) -> Iterator[None]:
    """Show in a terminal that a block is running, and for how long.

    Args:
        title: What it does.
        verbose: Whether to show anything.
        console: Where to show it; standard output by default.
    """
    console = console or rich.console.Console(highlight=False, soft_wrap=True)
    if not (verbose and console.is_terminal):
        yield
        return
    columns = (
        rich.progress.SpinnerColumn(),
        rich.progress.TextColumn(title, markup=False),
        rich.progress.TimeElapsedColumn(),
    )
    with rich.progress.Progress(*columns, console=console, transient=True) as shown:
        shown.add_task("", total=None)
        yield


def _create_bar(console: rich.console.Console, title: str) -> rich.progress.Progress:
    return rich.progress.Progress(
        rich.progress.TextColumn(title),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("{task.description}"),
        rich.progress.TimeRemainingColumn(),
        console=console,
        transient=True,
    )
