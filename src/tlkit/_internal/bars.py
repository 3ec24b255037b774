"""Bars that show how far a stage is: by rich in a terminal, as HTML in a notebook."""

import html
import sys
import time
from typing import Any, Protocol

import rich.console
import rich.progress

from tlkit._internal.text import duration

_SECONDS = 0.1  # between two pictures of a bar in a notebook


class Bar(Protocol):
    """A bar that is shown until it is closed."""

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """Show how much is done."""

    def close(self) -> None:
        """Remove the bar."""


def create_console(*, stderr: bool = False) -> rich.console.Console:
    """Return a console that prints each line as it is: neither folded, nor as HTML in a notebook.

    Args:
        stderr: Whether it writes to standard error.
    """
    return rich.console.Console(
        stderr=stderr,
        highlight=False,
        soft_wrap=True,
        markup=False,
        emoji=False,
        force_jupyter=False,
    )


def open_bar(title: str, console: rich.console.Console) -> Bar | None:
    """Return a bar for a stage; None where the output is neither a terminal nor a notebook.

    Args:
        title: What the stage does; the bar shows how much of it is done, and the time left.
        console: Where to show it in a terminal.
    """
    if in_notebook():
        return NotebookBar(title)
    return TerminalBar(title, console) if console.is_terminal else None


def in_notebook() -> bool:
    """Return whether a notebook's kernel runs this process."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


class TerminalBar:
    """A bar in a terminal.

    Args:
        title: What the stage does.
        console: The terminal.
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
        """Show how much is done."""
        self._bar.update(self._task, completed=done, total=total, description=note)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.stop()


class NotebookBar:
    """A bar below a cell of a notebook; it needs no package of widgets.

    All bars of a cell take turns at one place, since one that was removed leaves an empty line.

    Args:
        title: What the stage does.
    """

    _place: tuple[int, Any] = (-1, None)  # the number of the cell that ran last, and its place

    def __init__(self, title: str) -> None:
        import IPython  # there is one: this is a notebook
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
        """Show how much is done, at most ten times a second."""
        now = time.monotonic()
        if now < self._shown + _SECONDS and done != total:
            return
        self._shown = now
        left = ""
        if total and done:
            left = f", {duration((now - self._started) * (total - done) / done)} left"
        value = f'value="{done}" max="{total}"' if total else ""
        counts = f"{done:,} of {total:,}" if total else f"{done:,}"
        self._handle.update(
            self._html(
                f'{self._title} <progress {value} style="width:16em"></progress> '
                f"{counts} {html.escape(note)}{left}"
            )
        )

    def close(self) -> None:
        """Remove the bar."""
        self._handle.update(self._html(""))
