"""Run an exported file on raw images, in a process that can't import the packages for training.

It is a script: `deployment.proof` starts it with the folder of a job, and reads its results there.
"""

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

_REPEATS = 10  # of a timing; the result is their median


class _Forbid:
    """An import hook that refuses packages which running an exported file must not need."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if any(name == each or name.startswith(f"{each}.") for each in self._names):
            raise ModuleNotFoundError(
                f"an exported file must run without {name}, which was imported", name=name
            )


def _main(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    sys.meta_path.insert(0, _Forbid(job["forbidden"]))
    sys.modules["wrapt"] = None  # type: ignore[assignment]  # or Keras would import our layers
    importlib.import_module("tlkit")
    del sys.modules["wrapt"]
    np = importlib.import_module("numpy")
    start = time.perf_counter()
    predictor = importlib.import_module("tlkit.deployment.predictor").Predictor(job["path"])
    seconds = time.perf_counter() - start
    files = sorted(folder.glob("images_*.npy"))
    first = np.load(files[0], mmap_mode="r")[: job["num_batched"]]
    found = {
        f"batches_{size}": predictor.predict(first, batch_size=size) for size in job["batch_sizes"]
    }
    found |= {each.stem: predictor.predict(np.load(each, mmap_mode="r")) for each in files}
    pictures = sorted(folder.glob("*.png"))
    if pictures:
        found["pictures"] = predictor.predict(pictures)
    tables = {name: each.probabilities for name, each in found.items()}
    if predictor.metadata.has_ood_score:
        tables |= {f"scores_{name}": each.ood_scores for name, each in found.items()}
    np.savez(folder / "results.npz", **tables)
    times = {
        size: _time(partial(predictor.run, np.resize(first, (size, *first.shape[1:])))) / size
        for size in (1, 32)
    }
    facts = {"start_seconds": seconds, "milliseconds": times}
    (folder / "results.json").write_text(json.dumps(facts), encoding="utf-8")


def _time(run: Callable[[], object]) -> float:
    """Return the median time of several calls, in milliseconds."""
    run()
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
