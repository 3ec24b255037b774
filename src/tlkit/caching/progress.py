"""Show the progress of the frozen part: lines, and a bar while it runs."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import rich.console
import rich.progress

from tlkit._internal import bars
from tlkit._internal.text import escape_controls


class CacheProgress:
    """Prints lines, and shows a bar while the frozen part runs; in a log, lines after 3 s.

    Args:
        verbose: Whether to print anything.
        console: Where to print; by default standard output.
        title: The text before the bar.
        shows_speed: Whether images are counted, so that images per second are shown.
    """

    def __init__(
        self,
        *,
        verbose: bool,
        console: rich.console.Console | None = None,
        title: str = "frozen part",
        shows_speed: bool = True,
    ) -> None:
        self.title = title
        self.shows_speed = shows_speed
        self.verbose = verbose
        self.console = console or bars.create_console()
        self._bar: bars.Bar | None = None
        self._started: float | None = None

    def print(self, line: str) -> None:
        """Print a line."""
        if self.verbose:
            self.console.print(escape_controls(line), markup=False)

    def update(self, done: int, total: int | None) -> None:
        """Show how many images or other steps are done, and the time left."""
        if not self.verbose:
            return
        if self._started is None:
            self._started = time.perf_counter()
            self._bar = bars.open_bar(self.title, self.console)
        if self._bar is not None:
            speed = done / max(time.perf_counter() - self._started, 1e-3)
            is_shown = done and self.shows_speed
            self._bar.update(done, total, f"{speed:,.0f} images/s" if is_shown else "")
        if done == total:
            self.close()

    def close(self) -> None:
        """Remove the bar."""
        self._started = None
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextmanager
def show_waiting(
    title: str, *, verbose: bool, console: rich.console.Console | None = None
) -> Iterator[None]:
    """Show that a block is running: in a terminal or a notebook at once, in a log after 3 s.

    Args:
        title: What the block does.
        verbose: Whether to show anything.
        console: Where to show it; by default standard output.
    """
    if not verbose:
        yield
        return
    console = console or bars.create_console()
    terminal = None if bars.in_notebook() else bars.find_terminal(console)
    if terminal is None:
        with closing(bars.open_bar(title, console)):
            yield
        return
    columns = (
        rich.progress.SpinnerColumn(),
        rich.progress.TextColumn(title, markup=False),
        rich.progress.TimeElapsedColumn(),
    )
    with rich.progress.Progress(*columns, console=terminal, transient=True) as shown:
        shown.add_task("", total=None)
        yield
