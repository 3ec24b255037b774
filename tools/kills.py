"""Kill trainings at random moments, go on, and compare what comes out with one that was not killed.

    python tools/kills.py --kills 100 --signal KILL --how cli
    python tools/kills.py --kills 100 --signal INT --how python

It trains `recipe best` on scikit-learn's digits with the starter's weights, by `tlkit train` or by
`recipes.best(...).train(..., budget=3)`. Each training is a process that gets the signal after a
random time, and is started again, until it ends by itself. Then

- all its weights and its history must be those of the training that was not stopped, bit for bit;
- no epoch of which a line was written may be written again;
- the run's folder and the cache must hold the same files, and the folder for temporary files none.

It prints at which stage the signals came, and ends with exit code 1 if one of these failed. It is
run by hand: 100 signals take about half an hour on two cores. It needs `fork`, so not Windows.
"""

import argparse
import collections
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

_EPOCH = re.compile(r"^(fine_tune|head) +(\d+)/\d+ ", re.MULTILINE)
_STAGES = (  # the last of these lines that was written says the stage that the signal came in
    ("", "start"),
    ("digits: ", "scan"),
    ("features are cached", "probe of the backbone"),
    ("data: ", "features of the head"),
    ("head  ", "after the head was solved"),
    ("fine_tune: training", "first epoch"),
    ("fine_tune  ", "later epochs"),
    ("accuracy ", "evaluation, writing, report"),
)


def _make_images(folder: Path) -> None:
    from PIL import Image

    from tlkit import datasets

    digits = datasets.digits().train
    for number, (image, label) in enumerate(zip(digits.images, digits.labels, strict=True)):
        if label < 4:
            place = folder / f"digit {label}"
            place.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray((image * 255 / 16).astype("uint8")).resize((32, 32))
            picture.save(place / f"{number}.png")


def _train_by_command(work: Path, out: Path) -> int:
    from tlkit.cli import app

    words = ["train", str(work / "digits"), "--out", str(out), "--recipe", "best"]
    return app.main([*words, "--image-size", "32", "--weights", "starter"])


def _train_by_python(work: Path, out: Path) -> int:
    import numpy as np

    import tlkit
    from tlkit import recipes, sources

    data = sources.from_folder(work / "digits", image_size=32)
    trained = recipes.best(epochs=6).train(
        data, weights="starter", image_size=32, budget=3, checkpoint=out / ".checkpoint"
    )
    np.savez(out / "weights.tmp.npz", *trained.model.get_weights())
    (out / "weights.tmp.npz").rename(out / "weights.npz")
    tlkit.save(trained.model, out / "model.keras")
    shutil.rmtree(out / ".checkpoint")
    return 0


# Most of the time goes to the start and the probe, so moments that are even in time seldom fall
# between two epochs. Two thirds of the signals come up to a second after a line of the log, which
# is a later one than that of the signal before, so that one training gets several.
_LINES = (
    *(
        "digits: ",
        "features are cached",
        "data: ",
        "train: stores",
        "head  ",
        "fine_tune: training",
    ),
    *(f"fine_tune  {number}/" for number in range(1, 9)),
    *("features: ran", "accuracy ", "class "),
)


def _wait_for_moment(
    draw: random.Random, pid: int, log: Path, lines: list[str], first: int, mean: float
) -> tuple[int | None, int]:
    """Wait for a random moment; return the exit code if the process ended, and the next line."""
    if first >= len(lines):
        return _wait(pid, 3600), first
    if draw.random() < 1 / 3:
        return _wait(pid, draw.expovariate(1 / mean)), first
    line = draw.randrange(first, len(lines))
    pattern = re.compile(rf"^{re.escape(lines[line])}", re.MULTILINE)
    while not pattern.search(log.read_text() if log.exists() else ""):
        code = _wait(pid, 0.02)
        if code is not None:
            return code, line
    return _wait(pid, draw.uniform(0, 1)), line + 1


_CODES = {"KILL": (-signal.SIGKILL,), "INT": (130,), "TERM": (143, -signal.SIGTERM)}
_WAYS = {"cli": _train_by_command, "python": _train_by_python}


def _start(how: str, work: Path, out: Path, log: Path) -> int:
    """Start a training in a process of its own, which has all modules imported; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    code = 1
    try:
        code = _WAYS[how](work, out)
    except KeyboardInterrupt as error:
        print(f"interrupted: {error}", flush=True)
        code = 130
    finally:
        sys.stdout.flush()
        os._exit(code)


def _wait(pid: int, seconds: float) -> int | None:
    """Return the exit code of a process; None if it still runs after so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None


def _digest_model(path: Path) -> str:
    """Return a digest of the weights in a `.keras` file."""
    import io

    import h5py

    digest = hashlib.sha256()
    with zipfile.ZipFile(path) as file, h5py.File(io.BytesIO(file.read("model.weights.h5"))) as h5:

        def add(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                digest.update(name.encode() + item[()].tobytes())

        h5.visititems(add)
    return digest.hexdigest()


def _describe(out: Path, work: Path) -> dict[str, Any]:
    """Return what must be equal: weights, history, and the names of files."""
    history = out / "history.csv"
    return {
        "weights": _digest_model(out / "model.keras"),
        "history": history.read_text() if history.exists() else "",
        "files": sorted(path.relative_to(out).as_posix() for path in out.rglob("*")),
        "cache": sorted({path.suffix for path in (work / "cache").rglob("*") if path.is_file()}),
        "temporary": [each.name for each in (work / "tmp").iterdir() if each.name[:2] != "__"],
        "hidden": sorted(path.name for path in (work / "cache").rglob(".*")),
    }


def _find_stage(text: str) -> str:
    found = "start"
    for beginning, stage in _STAGES[1:]:
        if re.search(rf"^{re.escape(beginning)}", text, re.MULTILINE):
            found = stage
    return found


def _repeats(logs: list[str]) -> list[str]:
    """Return the epochs that were written twice."""
    epochs = collections.Counter(match.groups() for text in logs for match in _EPOCH.finditer(text))
    return [f"{phase} {number}" for (phase, number), times in epochs.items() if times > 1]


def main() -> int:
    """Run the trials, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--signal", choices=("KILL", "INT", "TERM"), default="KILL")
    parser.add_argument("--how", choices=_WAYS, default="cli")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--mean", type=float, default=12, help="seconds between signals, on average"
    )
    parser.add_argument("--json", type=Path, help="write the counts to this file")
    options = parser.parse_args()
    number = getattr(signal, f"SIG{options.signal}")
    work = Path(tempfile.mkdtemp(prefix="tlkit-kills-"))
    (work / "tmp").mkdir()
    tempfile.tempdir = str(work / "tmp")
    os.environ |= {"TLKIT_CACHE": str(work / "cache"), "TMPDIR": str(work / "tmp")}
    _make_images(work / "digits")
    import tlkit.experiments.runner  # noqa: F401  # imported once, before processes fork

    draw = random.Random(options.seed)  # noqa: S311  # moments, not secrets
    reference = work / "reference"
    reference.mkdir()
    started = time.monotonic()
    if _wait(_start(options.how, work, reference, work / "reference.log"), 3600) != 0:
        print((work / "reference.log").read_text())
        return 1
    seconds = time.monotonic() - started
    wanted = _describe(reference, work)
    said = (work / "reference.log").read_text()
    lines = [line for line in _LINES if re.search(rf"^{re.escape(line)}", said, re.MULTILINE)]
    print(f"a training takes {seconds:.1f} s", flush=True)
    stages: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    trainings = 0
    while sum(stages.values()) < options.kills:
        trainings += 1
        out = work / f"run-{trainings}"
        out.mkdir()
        if options.how == "cli":
            shutil.rmtree(work / "cache", ignore_errors=True)  # each one starts from nothing
        logs: list[str] = []
        line = 0
        while True:
            log = work / "process.log"
            log.unlink(missing_ok=True)
            pid = _start(options.how, work, out, log)
            code, line = _wait_for_moment(draw, pid, log, lines, line, options.mean)
            if code is None and sum(stages.values()) < options.kills:
                os.kill(pid, number)
                text = log.read_text() if log.exists() else ""
                stages[_find_stage(text)] += 1
            if code is None:
                code = _wait(pid, 3600)
            logs.append(log.read_text() if log.exists() else "")
            if code == 0:
                break
            if code not in _CODES[options.signal]:
                failures.append(
                    f"training {trainings} ended with exit code {code}: {logs[-1][-800:]}"
                )
                break
        if code == 0:
            found = _describe(out, work)
            failures += [
                f"training {trainings}: {name} {found[name]} != {wanted[name]}"
                for name in wanted
                if found[name] != wanted[name]
            ]
            if repeated := _repeats(logs):
                failures.append(f"training {trainings} repeated {repeated}")
        shutil.rmtree(out)
        print(f"{trainings} trainings, {dict(stages)}: {failures[-1:]}", flush=True)
        if len(failures) > 5:
            break
    shutil.rmtree(work)
    for stage, times in stages.most_common():
        print(f"{times:4} {stage}")
    for failure in failures:
        print(f"FAILED: {failure}")
    if options.json:
        counts = {"how": options.how, "signal": options.signal, "trainings": trainings}
        options.json.write_text(json.dumps({**counts, "stages": stages, "failures": len(failures)}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
