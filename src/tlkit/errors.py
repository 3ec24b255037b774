"""The errors that tlkit raises; each is also the built-in error that a caller would expect.

TlkitError
|-- AccuracyError      (RuntimeError)     an exported file is less accurate than allowed
|-- ConfigError        (ValueError)       an argument is wrong
|-- DataError          (ValueError)       images or labels are wrong
|-- DownloadError      (ConnectionError)  weights or data can't be downloaded
|-- EngineError        (RuntimeError)     an engine can't run the model, or computes other values
|-- MissingExtraError  (ImportError)      an optional package is not installed
|-- StoreError         (OSError)          cached features or results can't be written
`-- TrainingError      (RuntimeError)     training changed weights it must not, or no weights

TrainingInterrupted is a KeyboardInterrupt, which `except Exception` does not catch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Argument:
    """An argument that a message names, with a value if the message proposes one.

    Examples:
        >>> print(ConfigError(Argument("test"), " must be a number."))
        `test` must be a number.
        >>> print(DataError("Skip them with ", Argument("unreadable", "skip"), "."))
        Skip them with `unreadable='skip'`.
    """

    name: str
    value: Any = None

    def __str__(self) -> str:
        return f"`{self.name}`" if self.value is None else f"`{self.name}={self.value!r}`"


class TlkitError(Exception):
    """The base of every error that tlkit raises on purpose.

    Its message consists of text and arguments, in any order, so that the command line can name each
    argument as users type it there.
    """

    def __str__(self) -> str:
        return self.render(str)

    @property
    def argument(self) -> str | None:
        """The name of the first argument in the message, usually the wrong one, or None."""
        return next((each.name for each in self.args if isinstance(each, Argument)), None)

    def rename_arguments(self, names: Mapping[str, str]) -> "TlkitError":
        """Return the same error with other names of arguments, as another caller knows them.

        Args:
            names: The new names, by the old names.

        Examples:
            >>> error = ConfigError(Argument("folder"), " is empty.")
            >>> print(error.rename_arguments({"folder": "data"}))
            `data` is empty.
        """
        return type(self)(
            *(
                Argument(names.get(each.name, each.name), each.value)
                if isinstance(each, Argument)
                else each
                for each in self.args
            )
        )

    def render(self, write: Callable[[Argument], str]) -> str:
        """Return the message, in which a function writes each argument.

        Args:
            write: Returns the text for an argument.
        """
        return "".join(
            write(each) if isinstance(each, Argument) else str(each) for each in self.args
        )


class AccuracyError(TlkitError, RuntimeError):
    """An exported file is less accurate than the caller allows, so it was not written."""


class ConfigError(TlkitError, ValueError):
    """An argument is wrong; the message says what was expected, what was passed, and a fix."""


class DataError(TlkitError, ValueError):
    """Images or labels don't fit the model; the message names the first that doesn't."""


class DownloadError(TlkitError, ConnectionError):
    """Pretrained weights or data can't be downloaded; the message names the place for the file."""


class EngineError(TlkitError, RuntimeError):
    """An engine can't run the frozen part, or its results differ too much from those of Keras."""


class MissingExtraError(TlkitError, ImportError):
    """A package of one of tlkit's extras is not installed; the message is the command to type."""


class StoreError(TlkitError, OSError):
    """Cached features or results can't be written; results that were finished before are kept."""


class TrainingError(TlkitError, RuntimeError):
    """A phase changed a frozen weight, or did not change a layer that it should train."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C stopped a training; `run` is its record so far, and the model has its weights.

    Attributes:
        run: The phases that were finished, and the finished epochs of the phase that was stopped.
    """

    def __init__(self, message: str, run: Any) -> None:
        super().__init__(message)
        self.run = run

    def _render_traceback_(self) -> list[str]:
        """Return the text that a notebook shows in place of a traceback."""
        return [
            f"{type(self).__name__}: {self}",
            "The model has the weights of that moment. The record of what was done:",
            "import sys; run = sys.last_value.run",
        ]
