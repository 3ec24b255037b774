"""Fuzz tlkit's functions by hand: run many cases, and list all the faults that they find.

    PYTHONPATH=src python tools/fuzz.py 20000 [--seed 0] [--only predict] [--quick]

In CI `tests/fuzz` runs some of the cases.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.fuzz import running
from tests.fuzz.world import World


def main() -> int:
    """Run the cases, print what they found, and return 1 if that is anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=int)
    parser.add_argument("--seed", type=int, default=0, help="of which cases are drawn")
    parser.add_argument("--only", default="", help="a part of the names of functions")
    parser.add_argument("--quick", action="store_true", help="leave out what trains or exports")
    options = parser.parse_args()
    every = [each for each in running.cases() if options.only in each.call]
    if options.quick:
        every = list(filter(running.is_quick, every))
    random.Random(options.seed).shuffle(every)  # noqa: S311
    chosen, start = every[: options.cases], time.perf_counter()
    found, seconds = fuzz(chosen)
    for name, faults in sorted(found.items()):
        sys.stdout.write("\n    ".join([f"{name}: {len(faults)}", *faults[:5]]) + "\n")
    slowest = sorted(((round(took), name) for name, took in seconds.items()), reverse=True)[:8]
    sys.stdout.write(f"slowest: {slowest}\n")
    sys.stdout.write(
        f"{len(chosen):,} of {len(every):,} cases, {sum(map(len, found.values()))} faults, "
        f"{time.perf_counter() - start:.0f} s\n"
    )
    return 1 if found else 0


def fuzz(chosen: list[running.Case]) -> tuple[dict[str, list[str]], dict[str, float]]:
    """Return the faults of each argument, and the seconds of each function."""
    found: dict[str, list[str]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TLKIT_CACHE"] = str(Path(folder, "cache"))
        tempfile.tempdir = str(Path(folder, "temporary"))
        Path(tempfile.tempdir).mkdir()
        world = World(Path(folder, "world"))
        world.folder.mkdir()
        os.chdir(world.folder)
        for case in chosen:
            begin = time.perf_counter()
            fault = running.run_case(world, case)
            seconds[case.call] += time.perf_counter() - begin
            if fault:
                found[f"{case.call}({case.parameter})"].append(f"{case.value}: {fault}")
        os.chdir("/")
    return found, seconds


if __name__ == "__main__":
    sys.exit(main())
