"""The words of the command line: commands, their options, and exit codes."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tlkit.data import decoding
from tlkit.data.image_folders import POLICIES
from tlkit.data.splits import DUPLICATES
from tlkit.errors import Argument
from tlkit.experiments import experiment
from tlkit.experiments.experiment import Experiment
from tlkit.training.trackers import NAMES as TRACKERS

DONE, TOO_LOW, WRONG_WORDS, WRONG_DATA, FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 130
EXIT_CODES = f"""exit codes:
  {DONE}    done
  {TOO_LOW}    the accuracy is below --assert-accuracy
  {WRONG_WORDS}    an argument or a configuration is wrong, or an extra is not installed
  {WRONG_DATA}    the images are wrong: unreadable, without classes, look-alikes across parts
  {FAILED}    it could not be done: a download, an engine, a training
  {INTERRUPTED}  interrupted"""

_HELP = {
    "recipe": ("how to train", sorted(experiment.RECIPES)),
    "image_size": ("height and width of the images, in pixels", None),
    "channels": ("3 for RGB, 1 for grey", (1, 3)),
    "fit": ("what happens to images that are not square", decoding.FITS),
    "weights": ("imagenet, starter (inside the package), or a file", None),
    "test": ("share of images to test on", None),
    "validation": ("share on which the temperature is fitted", None),
    "duplicates": ("look-alikes in different parts", DUPLICATES),
    "unreadable": ("damaged files", POLICIES),
    "max_unreadable": ("share of files that may be damaged", None),
    "path_column": ("of a table: the column of paths", None),
    "label_column": ("of a table: the column of class names", None),
    "group_column": ("of a table: the column of what must stay together", None),
    "budget": ("minutes for training", None),
    "seed": ("of the split and of training", None),
}
REQUIRED = object()
"""The fallback of what must be said, on the command line or in a config."""
_KINDS = {
    "image_size": int,
    "channels": int,
    "seed": int,
    "recipe": str,
    "fit": str,
    "budget": float,
}


@dataclass(frozen=True)
class Option:
    """One option of a command.

    Attributes:
        action: How argparse reads it.
        fallback: Its value where nothing says it; `argparse.SUPPRESS` where it then has none.
    """

    action: argparse.Action
    fallback: Any


class _Command(argparse.ArgumentParser):
    """A parser that tells what was typed from what was not, so that a config can say the rest."""

    def __init__(self, **settings: Any) -> None:
        self.known: dict[str, Option] = {}
        super().__init__(**settings)

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        fallback = settings.pop("default", None if names[0].startswith("-") else REQUIRED)
        action = super().add_argument(*names, default=argparse.SUPPRESS, **settings)
        if action.dest != "help":
            self.known[action.dest] = Option(action, fallback)
        return action


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands.

    `command` holds the name of the one that was given, `known` its options. What was not typed is
    not there: `asked.completed` adds it.
    """
    made = argparse.ArgumentParser(
        prog="tlkit",
        description="Transfer learning for image classification: from a folder to a report.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(
        required=True, metavar="COMMAND", dest="command", parser_class=_Command
    )
    for name, (what, add) in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.",
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument(
            "--json", action="store_true", default=False, help="write one JSON object, no lines"
        )
        command.add_argument(
            "--config",
            type=Path,
            help="values of what is not typed, JSON or YAML: a run's config.json, or your own",
        )
        add(command)
        command.set_defaults(known=command.known)
    return made


def as_typed(argument: Argument, known: Mapping[str, Option]) -> str:
    """Return an argument of an error's message as the command line knows it."""
    if argument.name not in known or not known[argument.name].action.option_strings:
        return str(argument)
    option = known[argument.name].action.option_strings[0]
    valueless = argument.value is None or argument.value is True
    return f"`{option}`" if valueless else f"`{option} {argument.value}`"


def _train(command: argparse.ArgumentParser) -> None:
    _experiment(command)
    command.add_argument("--out", type=Path, default=REQUIRED, help="a new or empty folder")
    command.add_argument(
        "--track",
        nargs="+",
        choices=TRACKERS,
        default=[],
        help="hand every epoch's figures on; TensorBoard's files go beside the run",
    )
    _demand(command)


def _evaluate(command: argparse.ArgumentParser) -> None:
    _model(command)
    _images(command)
    _demand(command)


def _predict(command: argparse.ArgumentParser) -> None:
    _model(command)
    command.add_argument("files", nargs="*", help="images, or folders of them")
    command.add_argument("--top", type=int, default=1, help="classes to name (default: 1)")


def _report(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "run", nargs="?", help="a run's folder; its images must be where they were"
    )


def _audit(command: argparse.ArgumentParser) -> None:
    _model(command)
    _images(command)
    command.add_argument("--out", type=Path, help="a .png file to draw the first of them in")


def _probe(command: argparse.ArgumentParser) -> None:
    _experiment(command)
    command.add_argument("--sample", type=int, default=5000, help="images to use (default: 5000)")
    command.add_argument("--out", type=Path, help="a .png file to draw it in")


def _inspect(command: argparse.ArgumentParser) -> None:
    _experiment(command)
    command.add_argument(
        "--layers", action="store_true", default=False, help="list every layer of the backbone"
    )


def _model(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", nargs="?", help="a run's folder, or a .keras file")


def _images(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "data", nargs="?", help="a folder with a folder for each class, or a table"
    )
    for name in ("unreadable", "path_column", "label_column", "group_column"):
        what, choices = _HELP[name]
        command.add_argument(
            f"--{name.replace('_', '-')}",
            choices=choices,
            default=argparse.SUPPRESS,
            help=f"{what} (default: as the run has it)",
        )


def _demand(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--assert-accuracy", type=float, help=f"exit with {TOO_LOW} where it is lower"
    )


def _experiment(command: argparse.ArgumentParser) -> None:
    """Add an option for each value of an experiment, under its own name."""
    command.add_argument(
        "data",
        nargs="?",
        help="a folder with a folder for each class, or a .csv or .parquet table",
    )
    for field in fields(Experiment):
        if field.name in _HELP:
            what, choices = _HELP[field.name]
            number = float if isinstance(field.default, float) else str
            command.add_argument(
                f"--{field.name.replace('_', '-')}",
                type=_KINDS.get(field.name, number),
                choices=choices,
                default=argparse.SUPPRESS,
                help=f"{what} (default: {field.default})",
            )
    command.add_argument(
        "--stratify",
        action=argparse.BooleanOptionalAction,
        default=argparse.SUPPRESS,
        help="give each part its share of every class to the image",
    )
    command.add_argument(
        "--augment",
        nargs="+",
        choices=sorted(experiment.AUGMENTATIONS),
        default=argparse.SUPPRESS,
        help="what may change in training, with --recipe best",
    )


_COMMANDS = {
    "train": ("train a classifier, and write a run", _train),
    "evaluate": ("measure a classifier on labelled images", _evaluate),
    "predict": ("say what images show", _predict),
    "report": ("write a run's report again", _report),
    "audit": ("list labels that are probably wrong", _audit),
    "probe": ("show after which layer a head should read", _probe),
    "inspect": ("show what training would take, and freeze", _inspect),
}
