"""Run the command `tlkit` in this process with one wrong word, and say what is wrong with it."""

import contextlib
import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.running import HangError, leftovers, limited
from tests.fuzz.world import World

from tlkit.cli import app

SECONDS = 60
_CODES = {app.DONE, app.TOO_LOW, app.WRONG_ARGUMENTS, app.WRONG_DATA, app.FAILED}
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")

COMMANDS: dict[str, Callable[[World], list[str]]] = {
    "train": lambda w: [str(w.photos), "--out", str(w.photos)],  # refused: it is not empty
    "evaluate": lambda w: [str(w.run), str(w.photos)],
    "predict": lambda w: [str(w.run), str(next(w.photos.rglob("*.png")))],
    "embed": lambda w: [str(w.run), str(w.photos), "--out", str(w.new(".csv"))],
    "report": lambda w: [str(w.photos)],  # refused: no run
    "audit": lambda w: [str(w.run), str(w.photos), "--num-folds", "2"],
    "export": lambda w: [str(w.photos)],
    "demo": lambda w: [str(w.photos)],
    "serve": lambda w: [str(w.photos)],
    "push": lambda w: [str(w.photos), "me/flowers"],
    "pull": lambda w: ["no such repository", str(w.new())],
    "probe": lambda w: [str(w.photos), "--image-size", "32", "--weights", "starter"],
    "inspect": lambda w: [str(w.photos), "--image-size", "32", "--weights", "starter"],
    "cache list": lambda w: ["--folder", str(w.folder)],
    "cache prune": lambda w: ["--folder", str(w.folder), "--keep-bytes", "0"],
    "cache where": lambda w: [],
}
"""Words of a call by command: a quick one, or one that is refused after its options are read."""

REFUSED = {"train", "report", "export", "demo", "serve", "push", "pull"}

WORDS = (
    *("", "\0", "a\0b", "a\nb", "\x1b[2J", "\u202e", "\u00e9\U0001f600", "a\udce9", "x" * 5000),
    *("-1", "0", "1", "3", "1e999", "nan", "-inf", "0x10", "1_000", "8589934592", "9" * 400),
    *("--", "-", "---", "--no-such", "true", "none", "{}", "[1]", '{"a": 1}', "a=b", "=", ","),
    *("../" * 40, "/", ".", "~", "$HOME", "%s", "{0}", "/dev/null", "no/such/file.png", "*"),
    *("https://example.org/a.csv", "1,2", "160x0", "0x160", "120x200x3", "1 2", "a" * 300),
)
"""Words for any option."""


def options() -> list[tuple[str, str]]:
    """Return each command with each of its options, and its positional words by their place."""
    found = []
    for command in COMMANDS:
        parsed = app.app.parse_commands(command.split())[1][-1]
        names = {name for each in parsed.assemble_argument_collection() for name in each.names}
        found += [(command, name) for name in sorted(names) if name.startswith("--")]
        found += [(command, at) for at in ("0", "1")]
    return found


def run_command(world: World, command: str, option: str, word: str) -> str | None:
    """Return what is wrong with how a command ends; None if nothing is."""
    words = COMMANDS[command](world)
    if not option.startswith("-"):
        words[int(option) : int(option) + 1] = [word]
    elif option in words:
        words[words.index(option) + 1] = word
    else:
        words += [option, word]
    before, output, errors = leftovers(world), io.StringIO(), io.StringIO()
    try:
        with limited(SECONDS), warnings.catch_warnings(), contextlib.redirect_stdout(output):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(errors):
                code = app.main([*command.split(), *words])
    except HangError:
        return f"takes over {SECONDS} s"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    left = leftovers(world) - before
    return _judge(code, errors.getvalue(), output.getvalue()) or (f"left {left}" if left else None)


def _judge(code: int, errors: str, output: str) -> str | None:
    if code not in _CODES:
        return f"exit code {code}"
    lines = [line for line in errors.splitlines() if line.startswith("tlkit: ")]
    if code != app.DONE and len(lines) != 1:
        return f"exit code {code} with {len(lines)} lines: {errors[:200]}"
    if code != app.DONE and len(errors[errors.index("tlkit: ") :]) > 2500:
        return f"a message of {len(errors)} characters: {errors[:200]}"
    raw = _CONTROLS.search(errors + output)
    return f"raw {raw[0]!r} on the screen" if raw else None


def write_config(world: World, text: str) -> Path:
    """Return a config file that holds a text."""
    path = world.new(".yaml")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path
