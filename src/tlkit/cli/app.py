"""The command `tlkit`: call one command with its options, and turn its result into an exit code."""

import io
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cyclopts
from cyclopts.help import DefaultFormatter, PanelSpec
from rich import box

import tlkit
from tlkit._internal.backends import explain_missing
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import escape_controls
from tlkit.cli import (
    cache_commands,
    classifier_commands,
    cluster_commands,
    demo_commands,
    experiment_commands,
    export_commands,
    hub_commands,
    quiet,
    serve_commands,
    signals,
    tuning_commands,
)
from tlkit.cli.config import fill_from_file
from tlkit.cli.options import DEFAULT_OUTPUT
from tlkit.errors import (
    AccuracyError,
    Argument,
    ConfigError,
    DataError,
    MissingExtraError,
    TlkitError,
)

DONE, TOO_LOW, WRONG_ARGUMENTS, WRONG_DATA, FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 130
_KINDS: dict[Any, str] = {bool: "true or false", float: "a number", int: "a whole number"}
_LONG_WORD = re.compile(r"(\S{80})\S{200,}")  # typed by mistake, such as a whole file
_EXIT_CODES = f"""Exit codes:
- {DONE}: success
- {TOO_LOW}: the accuracy is below --assert-accuracy, or falls by more than --max-drop
- {WRONG_ARGUMENTS}: an argument or a config file is wrong, or an extra is not installed
- {WRONG_DATA}: the images are wrong, such as damaged files or duplicates across parts
- {FAILED}: a download, an engine or a training failed
- {INTERRUPTED}: interrupted by Ctrl-C (128 and its number after another signal)"""

_LOOK = PanelSpec(box=box.SIMPLE, padding=(0, 0))

app = cyclopts.App(
    name="tlkit",
    help="Transfer learning for image classification: from a folder of images to a report.",
    help_epilogue=_EXIT_CODES,
    help_format="plaintext",
    help_formatter=DefaultFormatter(panel_spec=_LOOK),
    default_parameter=cyclopts.Parameter(
        consume_multiple=True,
        negative_iterable=(),
        show_default=lambda value: None if value in (None, ()) else str(value),
    ),
    config=fill_from_file,
    version=lambda: f"tlkit {tlkit.__version__}",
)
_COMMANDS: tuple[Callable[..., Any], ...] = (
    experiment_commands.train,
    classifier_commands.evaluate,
    classifier_commands.compare,
    classifier_commands.predict,
    classifier_commands.embed,
    cluster_commands.extract,
    classifier_commands.report,
    classifier_commands.verify,
    classifier_commands.audit,
    export_commands.export,
    demo_commands.demo,
    serve_commands.serve,
    hub_commands.push,
    hub_commands.pull,
    experiment_commands.probe,
    experiment_commands.inspect,
)
app.command(cache_commands.app)
for _order, _command in enumerate(_COMMANDS):
    app.command(_command, sort_key=_order)
app.command(
    tuning_commands.tune,
    sort_key=len(_COMMANDS),
    help_formatter=tuning_commands.TuneHelp(panel_spec=_LOOK),
)


_NAMES_OF_OPTIONS = {"folder": ("out", "run")}
"""Options that hold an argument of another name: a run's folder is `--out` when it is written."""


@check_arguments
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code.

    Args:
        arguments: What follows `tlkit` on the command line; by default those of this process.
    """
    typed = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name may be in no encoding
    stopped = signals.Stopped()
    try:
        with signals.stop_cleanly(stopped), quiet.hide_startup(), _escape_warnings():
            code = _run(typed)
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # whoever reads the output, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except cyclopts.MissingArgumentError as error:
        return _fail(_explain_missing(error, typed), WRONG_ARGUMENTS)
    except cyclopts.CycloptsError as error:
        return _fail(_LONG_WORD.sub(r"\1...", _explain_wrong(error)), WRONG_ARGUMENTS)
    except TlkitError as error:
        options = _options(typed)
        message = error.render(lambda argument: _as_option(argument, options))
        if isinstance(error, ConfigError | MissingExtraError):
            return _fail(message, WRONG_ARGUMENTS)
        if isinstance(error, AccuracyError):
            return _fail(message, TOO_LOW)
        return _fail(message, WRONG_DATA if isinstance(error, DataError) else FAILED)
    except ModuleNotFoundError as error:  # Keras is imported by the command that needs it
        explained = explain_missing(error)
        if explained is None:
            raise
        return _fail(str(explained), WRONG_ARGUMENTS)
    except KeyboardInterrupt as error:
        return _fail(str(error) or "interrupted", stopped.exit_code)


def _run(typed: Sequence[str]) -> int:
    words = _join_size(typed)
    command, bound, injected = app.parse_args(words, exit_on_error=False, print_error=False)
    minimum = bound.arguments.get("assert_accuracy")
    if minimum is not None and not 0 <= minimum <= 1:
        raise ConfigError(Argument("assert_accuracy"), f" must be from 0 to 1, got {minimum:g}.")
    result = command(*bound.args, **bound.kwargs, **dict.fromkeys(injected, typed))
    if result is None:  # it was the help
        return DONE
    if bound.arguments.get("output", DEFAULT_OUTPUT).json:  # absent if nothing of it was typed
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if minimum is not None and result["accuracy"] < minimum:
        return _fail(f"accuracy {result['accuracy']:.4f} is below {minimum:g}", TOO_LOW)
    return DONE


@contextmanager
def _escape_warnings() -> Iterator[None]:
    """Show warnings without characters that change a terminal: they may name a file."""
    before = warnings.formatwarning

    def format_escaped(*arguments: Any, **more: Any) -> str:
        return escape_controls(before(*arguments, **more))

    warnings.formatwarning = format_escaped
    try:
        yield
    finally:
        warnings.formatwarning = before


def _join_size(typed: Sequence[str]) -> list[str]:
    """Return what was typed with `--image-size 120 200` as one value, 120x200.

    cyclopts takes the second number of an option that may be one number for a positional one.
    """
    words = list(typed)
    for at, word in enumerate(words[:-2]):
        height, width = words[at + 1 : at + 3]
        if word == "--image-size" and height.isdecimal() and width.isdecimal():
            return [*words[: at + 1], f"{height}x{width}", *words[at + 3 :]]
    return words


def _fail(message: str, code: int) -> int:
    from tlkit._internal import bars

    console = bars.create_console(stderr=True)
    console.print("tlkit:", style="bold red", end=" ")
    console.print(escape_controls(message))
    return code


def _explain_missing(error: cyclopts.MissingArgumentError, typed: Sequence[str]) -> str:
    """Return which option or value was left out, what it is, and where all are listed."""
    argument, command = error.argument, " ".join(("tlkit", *(error.command_chain or ())))
    if argument is None:
        return str(error)
    described = _find_command(typed).assemble_argument_collection(parse_docstring=True)
    helps = [each.parameter.help for each in described if each.name == argument.name]
    about = "".join(f" ({each.rstrip('.')})" for each in helps if each)
    option = error.keyword or next((each.keyword for each in argument.tokens if each.keyword), None)
    if option is not None:
        return f"`{option}` needs a value{about}. `{command} --help` lists all options."
    name = argument.name
    if argument.index is not None:  # typed without its name
        name = name.removeprefix("--").upper()
    return f"`{command}` needs `{name}`{about}. `{command} --help` lists all options."


def _explain_wrong(error: cyclopts.CycloptsError) -> str:
    """Return what is wrong with an option, without the names of Python's types."""
    command = " ".join(("tlkit", *(error.command_chain or ())))
    if isinstance(error, cyclopts.UnusedCliTokensError):
        left = ", ".join(map(repr, error.unused_tokens or ()))
        return f"no option takes {left}. `{command} --help` lists all options."
    kind = _KINDS.get(getattr(error, "target_type", None))
    if isinstance(error, cyclopts.CoercionError) and error.token and kind and error.argument:
        source = "" if error.token.source in ("", "cli") else f" from {error.token.source}"
        typed = error.token.keyword  # of a file it is in brackets
        option = typed if typed and typed.startswith("-") else error.argument.name
        return f"`{option}`{source} must be {kind}, got {error.token.value!r}."
    return str(error)


def _options(typed: Sequence[str]) -> set[str]:
    """Return the options of the command that was typed."""
    arguments = _find_command(typed).assemble_argument_collection()
    return {name for argument in arguments for name in argument.names}


def _find_command(typed: Sequence[str]) -> cyclopts.App:
    return app.parse_commands(typed)[1][-1]


def _as_option(argument: Argument, options: Iterable[str]) -> str:
    """Return an argument of an error's message as it is typed on the command line."""
    name = argument.name.removeprefix("backbone_")  # of build_classifier
    prefix = "--no-" if argument.value is False else "--"
    names = (name, *_NAMES_OF_OPTIONS.get(name, ()))
    named = [f"{prefix}{each.replace('_', '-')}" for each in names]
    option = next((each for each in named if each in options), None)
    if option is None:
        return str(argument)
    is_flag = argument.value is None or isinstance(argument.value, bool)
    return f"`{option}`" if is_flag else f"`{option} {argument.value}`"
