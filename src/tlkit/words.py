"""The words of the command line: commands, their options, and exit codes."""

import argparse
from dataclasses import fields
from pathlib import Path

from tlkit import decoding, experiment
from tlkit.experiment import Experiment
from tlkit.image_files import POLICIES
from tlkit.splits import DUPLICATES
from tlkit.trackers import NAMES as TRACKERS

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
    "size": ("height and width of the images, in pixels", None),
    "channels": ("3 for RGB, 1 for grey", (1, 3)),
    "fit": ("what happens to images that are not square", decoding.FITS),
    "weights": ("imagenet, starter (inside the package), or a file", None),
    "test": ("share of images to test on", None),
    "validation": ("share on which the temperature is fitted", None),
    "duplicates": ("look-alikes in different parts", DUPLICATES),
    "unreadable": ("damaged files", POLICIES),
    "most_unreadable": ("share of files that may be damaged", None),
    "path_column": ("of a table: the column of paths", None),
    "label_column": ("of a table: the column of class names", None),
    "group_column": ("of a table: the column of what must stay together", None),
    "budget": ("minutes for training", None),
    "seed": ("of the split and of training", None),
}
_KINDS = {"size": int, "channels": int, "seed": int, "recipe": str, "fit": str, "budget": float}


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; `command` holds the name of the one that was given."""
    made = argparse.ArgumentParser(
        prog="tlkit",
        description="Transfer learning for image classification: from a folder to a report.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, (what, add) in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.",
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--json", action="store_true", help="write one JSON object, no lines")
        add(command)
    return made


def _train(command: argparse.ArgumentParser) -> None:
    _experiment(command)
    command.add_argument("--out", type=Path, required=True, help="a new or empty folder")
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
    command.add_argument("files", nargs="+", help="images, or folders of them")
    command.add_argument("--top", type=int, default=1, help="classes to name (default: 1)")


def _report(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", help="a run's folder; its images must be where they were")


def _audit(command: argparse.ArgumentParser) -> None:
    _model(command)
    _images(command)
    command.add_argument("--out", type=Path, help="a .png file to draw the first of them in")


def _probe(command: argparse.ArgumentParser) -> None:
    _experiment(command)
    command.add_argument("--sample", type=int, default=5000, help="images to use (default: 5000)")


def _inspect(command: argparse.ArgumentParser) -> None:
    _experiment(command)
    command.add_argument("--layers", action="store_true", help="list every layer of the backbone")


def _model(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", help="a run's folder, or a .keras file")


def _images(command: argparse.ArgumentParser) -> None:
    command.add_argument("data", help="a folder with a folder for each class, or a table")
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
        default=argparse.SUPPRESS,
        help="a folder with a folder for each class, or a .csv or .parquet table",
    )
    command.add_argument("--config", type=Path, help="values to start from: a run's config.json")
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
