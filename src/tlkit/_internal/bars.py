"""Progress bars: drawn by rich in a terminal, as HTML in a notebook, and as lines in a log."""

import html
import sys
import threading
import time
from typing import Any, Protocol

import rich.console
import rich.progress

from tlkit._internal.text import duration

_SECONDS = 0.1  # between two updates of a bar in a notebook
_FIRST_LINE, _NEXT_LINE = 3.0, 30.0  # seconds until a log gets its first line, and between two


class Bar(Protocol):
    """A progress bar, visible until it is closed."""

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """Show the progress.

        Args:
            done: How many steps are done.
            total: How many steps there are; None if that is unknown.
            note: Text to show beside the bar.
        """

    def close(self) -> None:
        """Remove the bar."""


def create_console(*, stderr: bool = False) -> rich.console.Console:
    """Return a console that prints each line unchanged: not wrapped, and not as HTML in a notebook.

    Args:
        stderr: Whether the console writes to standard error instead of standard output.
    """
    return rich.console.Console(
        stderr=stderr,
        highlight=False,
        soft_wrap=True,
        markup=False,
        emoji=False,
        force_jupyter=False,
    )


def open_bar(title: str, console: rich.console.Console) -> Bar:
    """Return a progress bar: lines if the output is neither a terminal nor a notebook.

    Args:
        title: The text before the bar, such as "Extracting features".
        console: The console that draws the bar in a terminal.
    """
    if in_notebook():
        return NotebookBar(title)
    terminal = find_terminal(console)
    return LogBar(title) if terminal is None else TerminalBar(title, terminal)


def find_terminal(console: rich.console.Console) -> rich.console.Console | None:
    """Return a console in a terminal: this one, or standard error's; None if neither is one."""
    both = (console, rich.console.Console(stderr=True))
    return next((each for each in both if each.is_terminal), None)


def in_notebook() -> bool:
    """Return whether a notebook's kernel runs this process."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


class TerminalBar:
    """A progress bar in a terminal.

    Args:
        title: The text before the bar.
        console: The console of the terminal.
    """

    def __init__(self, title: str, console: rich.console.Console) -> None:
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn(title, markup=False),
            rich.progress.BarColumn(bar_width=None),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("", total=None)
        self._bar.start()

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """Show the progress; the arguments are those of `Bar.update`."""
        self._bar.update(self._task, completed=done, total=total, description=note)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.stop()


class NotebookBar:
    """A progress bar below a cell of a notebook; it needs no widget package.

    All bars of a cell share one output area, because a removed area leaves an empty line.

    Args:
        title: The text before the bar.
    """

    _place: tuple[int, Any] = (-1, None)  # the last cell's number, and the area that its bars share

    def __init__(self, title: str) -> None:
        import IPython  # always installed here: this code runs in a notebook
        from IPython import display

        self._html = display.HTML
        self._title = html.escape(title)
        self._started = time.monotonic()
        self._shown = self._started - _SECONDS
        number, self._handle = NotebookBar._place
        if number == IPython.get_ipython().execution_count:
            self._handle.update(self._html(self._title))
            return
        self._handle = display.display(self._html(self._title), display_id=True)
        NotebookBar._place = (IPython.get_ipython().execution_count, self._handle)

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """Show the progress, at most ten times a second."""
        now = time.monotonic()
        if now < self._shown + _SECONDS and done != total:
            return
        self._shown = now
        value = f'value="{done}" max="{total}"' if total else ""
        progress = html.escape(_describe(done, total, note, now - self._started))
        self._handle.update(
            self._html(f'{self._title} <progress {value} style="width:16em"></progress> {progress}')
        )

    def close(self) -> None:
        """Remove the bar."""
        self._handle.update(self._html(""))


class LogBar:
    """Progress in a file or a pipe: a line on standard error after 3 s, then one every 30 s.

    What takes less than three seconds writes nothing.

    Args:
        title: The text before the progress.
    """

    def __init__(self, title: str) -> None:
        self._title, self._progress = title, ""
        self._started = self._written = time.monotonic()
        self._first = threading.Timer(_FIRST_LINE, self._write)  # while the first step runs, too
        self._first.daemon = True
        self._first.start()

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """Note the progress, and write it if the last line is old."""
        now = time.monotonic()
        self._progress = f": {_describe(done, total, note, now - self._started)}"
        if now >= self._written + _NEXT_LINE:
            self._write()

    def close(self) -> None:
        """Write nothing more."""
        self._first.cancel()

    def _write(self) -> None:
        self._written = time.monotonic()
        create_console(stderr=True).print(f"{self._title.strip()}{self._progress or ' ...'}")


def _describe(done: int, total: int | None, note: str, seconds: float) -> str:
    """Return how much is done after some seconds, and the time left."""
    parts = [f"{done:,} of {total:,}" if total else f"{done:,}", note]
    if total and done:
        parts.append(f"{duration(seconds * (total - done) / done)} left")
    return ", ".join(filter(None, parts))
