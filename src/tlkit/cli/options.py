"""Options that several commands share, and what the commands do with them.

`tlkit` and its packages import their modules on first use, so that `tlkit --help` is quick.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

import tlkit
from tlkit._internal.files import replace_atomically
from tlkit._internal.text import escape_controls
from tlkit.errors import Argument, ConfigError
from tlkit.experiments.experiment import Experiment, Unreadable

FLAG = Parameter(negative=(), show_default=False)
Settings = Annotated[Experiment, Parameter(name="*")]  # each field is an option
Typed = Annotated[Sequence[str], Parameter(parse=False)]  # what was typed, added by `app`
UseCache = Annotated[bool, Parameter(negative="--no-cache")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Output:
    """Where results go, and where options come from.

    Attributes:
        json: Print one JSON object instead of text.
        config: A JSON or YAML file of options, such as a run's config.json; typed options win.
    """

    json: Annotated[bool, FLAG] = False
    config: Path | None = None

    def print(self, value: object, *, stderr: bool = False) -> None:
        """Print a value: to standard error where standard output holds the JSON object.

        Args:
            value: What to print.
            stderr: Whether to use standard error in any case, as where each line is a result.
        """
        import rich.protocol

        from tlkit._internal import bars, tables

        console = bars.create_console(stderr=self.json or stderr)
        shown = rich.protocol.rich_cast(value)
        if isinstance(shown, str):
            for line in shown.split("\n"):
                console.print(escape_controls(line), style=_find_style(line))
            return
        # a file or a pipe does not fold tables; a terminal only where no name is divided
        console.width = tables.find_width(shown, console) if console.is_terminal else 1000
        console.print(shown)

    def print_usage(self, cache: "tlkit.Cache | None") -> None:
        """Print which features a command has taken from a cache and stored in it."""
        if cache is not None:
            self.print(str(cache.usage))

    @contextmanager
    def measure(
        self, title: str, *, hidden: bool = False
    ) -> "Iterator[Callable[[int, int], None]]":
        """Yield a function that shows progress, as a bar or in lines: images done, and all."""
        import rich.console

        from tlkit.caching.progress import CacheProgress

        progress = CacheProgress(
            verbose=not hidden, console=rich.console.Console(stderr=True), title=title
        )
        try:
            yield progress.update
        finally:
            progress.close()

    @contextmanager
    def measure_reading(self) -> "Iterator[None]":
        """Show progress while images are read and scanned."""
        from tlkit.data import scanning

        with self.measure("reading images") as on_scanned, scanning.observe(on_scanned):
            yield


def _find_style(line: str) -> str | None:
    """Return the colour of a line on a terminal: what was written is green, a warning yellow."""
    colours = {"wrote ": "green", "next: ": "cyan", "note: ": "yellow"}
    colours |= dict.fromkeys(("left out", "unreadable: "), "yellow")
    return next((colour for start, colour in colours.items() if line.startswith(start)), None)


DEFAULT_OUTPUT = Output()


@Parameter(name="*")
@dataclass(frozen=True)
class LabelledImages:
    """Labelled images for a trained classifier.

    Attributes:
        data: A folder of classes, a .csv, .parquet or .npz file, or a set such as mnist or digits.
        unreadable: What to do with damaged files; by default as in training.
        path_column: Column of a table that holds image paths; by default as in training.
        label_column: Column of a table that holds class names; by default as in training.
        label_separator: Sign between several labels of an image; by default as in training.
        label_columns: Columns of 0 and 1, one for each class; by default as in training.
        split_column: Column of a table that holds train, val or test.
        group_column: Column of a table that groups images; by default as in training.
        outside_paths: Accept paths in a table that lead out of its folder, as in training.
    """

    data: str
    _: KW_ONLY
    unreadable: Unreadable | None = None
    path_column: str | None = None
    label_column: str | None = None
    label_separator: str | None = None
    label_columns: tuple[str, ...] | None = None
    split_column: str | None = None
    group_column: str | None = None
    outside_paths: Annotated[bool | None, FLAG] = None

    def settings(self) -> dict[str, Any]:
        """Return the settings that were given."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def open_cache(*, cache: bool) -> "tlkit.Cache | None":
    """Return a cache in the folder of all commands that counts what is taken and stored."""
    usage = tlkit.caching.Usage()
    return tlkit.Cache(folder="auto", usage=usage) if cache else None


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as a file, whole or not at all.

    Raises:
        StoreError: It can't be written.
    """
    with replace_atomically(path) as temporary:
        figure.savefig(temporary, dpi=150)


def check_figure(path: Path | None) -> None:
    """Check where a figure will be written, before any work.

    Raises:
        ConfigError: It is not a .png file, or its folder does not exist.
    """
    if path is not None and (path.suffix.lower() != ".png" or not path.parent.is_dir()):
        raise ConfigError(
            Argument("out"), f" must be a .png file in an existing folder, got {str(path)!r}."
        )
