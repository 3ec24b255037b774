"""The state of a run's folder: the process that trains, how it ended, and whether to continue."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from tlkit._internal import arguments, locks
from tlkit._internal.files import TEMPORARY, replace_atomically, to_write_error
from tlkit._internal.temporaries import temporary_folder
from tlkit.errors import Argument, ConfigError
from tlkit.experiments import run_files

NAME = "state.json"
"""The name of the file with the state of a run."""

State = Literal["running", "interrupted", "failed", "finished"]

GO_ON = "Interrupted. Run the same again to go on from there."

_LOCK, _CHECKPOINT = ".lock", ".checkpoint"
_MAY_DIFFER = ("budget",)  # a run continues with a larger budget


@dataclass(kw_only=True, eq=False)
class Claim:
    """The folder of a run, held by this process to train into it.

    Attributes:
        folder: The folder.
        is_resumed: Whether it holds a run to continue, which is unfinished or whose budget ran out.
        ran_out: Whether the budget ran out; to be set by the training.
    """

    folder: Path
    is_resumed: bool = False
    ran_out: bool = False
    _state: dict[str, Any] = field(default_factory=dict)

    @property
    def checkpoint(self) -> Path:
        """The folder for the state of the training."""
        return self.folder / _CHECKPOINT

    def write(self, state: State, **more: Any) -> None:
        """Write the state of the run.

        Raises:
            StoreError: It can't be written.
        """
        self._state |= {"state": state, **more}
        path = self.folder / NAME
        try:
            with replace_atomically(path) as temporary:
                temporary.write_text(json.dumps(self._state, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise to_write_error(path, error) from error


def check_folder(folder: str | Path) -> Path:
    """Return a run's folder if a training can start or continue in it.

    It must be new, empty, or hold an unfinished run or one whose budget ran out. Call it before
    any work; it creates the parent folder.

    Raises:
        ConfigError: The folder is not empty and holds no such run, or can't be written.
    """
    target = arguments.path("folder", folder)
    try:
        names = {path.name for path in target.iterdir()} if target.exists() else set()
    except OSError as error:
        reason = "it is a file" if target.is_file() else error.strerror
        raise ConfigError(
            Argument("folder"), f" must be a folder, got {str(folder)!r}: {reason}."
        ) from error
    if names and NAME not in names and not all(map(_is_left_over, names)):
        raise ConfigError(
            Argument("folder"),
            f" must be new or empty, got {str(folder)!r}, which is not empty. "
            "Choose another folder, or move this one.",
        )
    if NAME in names:
        _check_unfinished(target)
    _check_writable(target, folder)
    return target


@contextmanager
def claim(
    folder: str | Path, settings: Mapping[str, Any], *, command: str, resume: bool = True
) -> Iterator[Claim]:
    """Hold a run's folder for one training, and write there how the training ends.

    The folder is created if needed. If the block ends with an error or an interrupt before anything
    was saved, a new folder is removed again.

    Args:
        folder: The folder; see `check_folder`.
        settings: The settings of the experiment; they must equal those of an unfinished run.
        command: The command or call that continues the run.
        resume: Whether to continue an unfinished run with the same settings; False deletes it.

    Raises:
        ConfigError: Another process trains into the folder, or the folder holds other files, or an
            unfinished run with other settings.
        StoreError: The state can't be written.
    """
    target = check_folder(folder)
    is_new = not target.exists()
    target.mkdir(exist_ok=True)
    try:
        with locks.hold(target / _LOCK):
            yield from _hold_claim(target, settings, command, resume=resume)
    except locks.LockHeldError as error:
        raise ConfigError(
            Argument("folder"),
            f" must not be in use, got {str(folder)!r}, into which "
            f"{_name_owner(target)} trains. Wait until it is done, or choose another folder.",
        ) from error
    finally:
        if is_new:
            with suppress(OSError):  # the folder is not empty
                target.rmdir()


def _hold_claim(
    target: Path, settings: Mapping[str, Any], command: str, *, resume: bool
) -> Iterator[Claim]:
    held = Claim(folder=target)
    if (target / NAME).exists():
        _clean(target)
        if not resume:
            _forget(target)
        else:
            _check_settings(target, settings)
            held.is_resumed = held.checkpoint.exists()
    held.write(
        "running",
        **locks.describe_owner(),
        command=command,
        tlkit=version("tlkit"),
        experiment=dict(settings),
    )
    try:
        yield held
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt)
        if not held.checkpoint.exists():
            _forget(target)
        else:
            with suppress(OSError):  # the original error is more important
                held.write("interrupted" if stopped else "failed", error=str(error))
            if stopped and not str(error):
                raise KeyboardInterrupt(GO_ON) from None
        raise
    held.write("finished", budget_ran_out=held.ran_out)
    if not held.ran_out:
        shutil.rmtree(held.checkpoint, ignore_errors=True)


def _is_left_over(name: str) -> bool:
    """Return whether a killed process may have left this file or folder before it had a state."""
    return name == _LOCK or name.startswith(TEMPORARY)


def _check_unfinished(target: Path) -> None:
    state = run_files.read_json(target / NAME, "state", "experiment")
    if state["state"] != "finished" or state.get("budget_ran_out"):
        return
    shutil.rmtree(target / _CHECKPOINT, ignore_errors=True)  # left if it was killed at the end
    raise ConfigError(
        Argument("folder"),
        f" must be new or empty, got {str(target)!r}, which holds a finished run. Choose "
        "another folder, or move this one.",
    )


def _check_writable(target: Path, folder: str | Path) -> None:
    """Check that files can be written to the folder, or that it can be created."""
    place = target if target.exists() else target.parent
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(place):
            pass
    except OSError as error:
        raise ConfigError(
            Argument("folder"),
            f" must be where files can be written, got {str(folder)!r}: {error.strerror}.",
        ) from error


def _check_settings(target: Path, settings: Mapping[str, Any]) -> None:
    """Check that the unfinished run has these settings.

    Raises:
        ConfigError: A setting differs.
    """
    state = run_files.read_json(target / NAME, "state", "experiment")
    saved = state["experiment"] if isinstance(state["experiment"], dict) else {}
    wanted = json.loads(json.dumps(dict(settings)))  # tuples become lists
    differing = [
        f"{name} {saved.get(name)!r}, now {wanted.get(name)!r}"
        for name in dict.fromkeys((*saved, *wanted))
        if saved.get(name) != wanted.get(name) and name not in _MAY_DIFFER
    ]
    if differing:
        raise ConfigError(
            Argument("out"),
            f" holds an unfinished run of other settings, {str(target)!r}: "
            f"{'; '.join(differing)}. Give the same settings to go on, choose another folder, or "
            "start anew with ",
            Argument("resume", value=False),
            ".",
        )
    larger = (saved.get("budget") or 0) < (wanted.get("budget") or float("inf"))
    if state["state"] == "finished" and not larger:
        raise ConfigError(
            Argument("budget"),
            f" must be above the {saved.get('budget'):g} minutes that ran out in {str(target)!r} "
            f"to go on there, got {wanted.get('budget'):g}.",
        )


def _name_owner(target: Path) -> str:
    with suppress(ConfigError):
        state = run_files.read_json(target / NAME, "pid", "host", "since")
        return f"process {state['pid']} on {state['host']} (since {state['since']})"
    return "another process"


def _clean(target: Path) -> None:
    """Remove temporary files of a killed process."""
    for path in target.glob(f"{TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _forget(target: Path) -> None:
    """Remove the files of an unfinished run."""
    _clean(target)
    shutil.rmtree(target / _CHECKPOINT, ignore_errors=True)
    (target / NAME).unlink(missing_ok=True)
