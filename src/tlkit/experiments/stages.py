"""Measure how long each stage of an experiment takes, from its images to its report."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tlkit._internal import text
from tlkit.experiments.trained import Trained


class Stages:
    """The seconds of each stage.

    Attributes:
        seconds: The seconds by the stage's name, in the order of the stages.

    Examples:
        >>> stages = Stages()
        >>> with stages.measure("images"):
        ...     pass
        >>> list(stages.seconds)
        ['images']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time of a block to the stage with this name."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def divide(self, name: str, trained: Trained) -> None:
        """Replace a stage by its parts: building and probing, trials, the frozen part, each phase.

        The seconds of a phase include those of earlier processes, so that a run that this process
        continues can't be divided.

        Args:
            name: The stage.
            trained: The result of the training.
        """
        left = self.seconds.pop(name)
        parts: dict[str, float] = {}
        for phase in trained.run.phases:
            seconds = min(phase.seconds, left)
            trunk = 0.0 if phase.trunk is None else min(phase.trunk.seconds, seconds)
            parts |= {"frozen part": parts.get("frozen part", 0.0) + trunk}
            parts[phase.name] = seconds - trunk
            left -= seconds
        if trained.choice is not None:
            parts = {"trials": min(trained.choice.seconds, left), **parts}
            left -= parts["trials"]
        self.seconds |= {"build and probe" if trained.has_probed else "build": left, **parts}

    def __str__(self) -> str:
        return describe(self.seconds)


def describe(seconds: Mapping[str, float]) -> str:
    """Return the seconds of each stage, in one line.

    Examples:
        >>> describe({"images": 1.25, "head": 70.0})
        'images 1.2 s, head 1 min 10 s'
    """
    return ", ".join(
        f"{name.replace('_', '-')} {text.duration(each)}" for name, each in seconds.items()
    )
