"""The command line: words to one call, and what came of it to lines or JSON."""

import argparse
import io
import json
import sys
from collections.abc import Sequence

import rich.console

from tlkit.cli import config
from tlkit.cli.commands import COMMANDS
from tlkit.cli.words import (
    DONE,
    FAILED,
    INTERRUPTED,
    TOO_LOW,
    WRONG_DATA,
    WRONG_WORDS,
    as_typed,
    parser,
)
from tlkit.errors import Argument, ConfigError, DataError, MissingExtraError, TlkitError


def main(words: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code.

    Args:
        words: What follows `tlkit` on the command line; by default this process's own.
    """
    options = parser().parse_args(words)
    try:
        options = config.completed(options)
        _check_demand(options)
    except TlkitError as error:
        return _told(error, options)
    options.words = sys.argv[1:] if words is None else list(words)
    console = rich.console.Console(
        stderr=options.json, highlight=False, soft_wrap=True, markup=False, emoji=False
    )
    if not console.is_terminal:
        console.width = 1000  # in a file or a pipe no table is folded
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be in no encoding
    try:
        values = COMMANDS[options.command](options, console)
    except TlkitError as error:
        return _told(error, options)
    except KeyboardInterrupt:
        sys.stderr.write("tlkit: interrupted\n")
        return INTERRUPTED
    if options.json:
        sys.stdout.write(json.dumps(values, indent=2) + "\n")
    wanted = getattr(options, "assert_accuracy", None)
    if wanted is not None and values["accuracy"] < wanted:
        sys.stderr.write(f"tlkit: accuracy {values['accuracy']:.4f} is below {wanted:g}\n")
        return TOO_LOW
    return DONE


def _check_demand(options: argparse.Namespace) -> None:
    wanted = getattr(options, "assert_accuracy", None)
    if wanted is not None and not 0 <= wanted <= 1:
        raise ConfigError(Argument("assert_accuracy"), f" must be from 0 to 1, got {wanted:g}.")


def _told(error: TlkitError, options: argparse.Namespace) -> int:
    message = error.render(lambda argument: as_typed(argument, options.known))
    sys.stderr.write(f"tlkit: {message}\n")
    if isinstance(error, ConfigError | MissingExtraError):
        return WRONG_WORDS
    return WRONG_DATA if isinstance(error, DataError) else FAILED
