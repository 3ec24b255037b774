"""Run Python in a separate process, which can import what this process can import."""

import os
import subprocess
import sys

from tlkit.errors import EngineError


def run_python(*words: str, problem: str) -> str:
    """Run this Python with arguments; return what it prints.

    Args:
        words: The arguments after `python` on the command line.
        problem: The beginning of the error message; the last line of standard error follows.

    Raises:
        EngineError: The process fails or is killed.

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
