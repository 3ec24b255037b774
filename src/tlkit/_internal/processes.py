"""Run Python in a process of its own, which imports what this one can import."""

import os
import subprocess
import sys

from tlkit.errors import EngineError


def run_python(*words: str, problem: str) -> str:
    """Return what a process of this Python prints.

    Args:
        words: What follows `python` on the command line.
        problem: What to say if it fails; the last line of its errors follows.

    Raises:
        EngineError: It fails or is killed.

    Examples:
        >>> run_python("-c", "print(1 + 1)", problem="It can't add")
        '2'
    """
    done = subprocess.run(  # noqa: S603  # this Python
        [sys.executable, "-P", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise EngineError(f"{problem}: {reason.removeprefix('tlkit: ')}")
    return done.stdout.strip()
