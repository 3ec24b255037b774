"""Measure how many image files a minute `tlkit predict --csv` and `tlkit embed` get done.

    python benchmarks/predict_files.py FOLDER

The folder has a subfolder of photos for each class. Times exclude imports and loading the model.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import tlkit
from tlkit.experiments import Experiment, run, write_features, write_predictions

photos = Path(sys.argv[1])
with tempfile.TemporaryDirectory() as place:
    folder = Path(place)
    run(Experiment(photos), folder / "run")
    model = tlkit.load(folder / "run" / "model.keras")
    write_predictions(model, next(photos.rglob("*.jpg")), csv=folder / "first.csv")
    for name, write, target in (
        ("predict", lambda path, files: write_predictions(model, files, csv=path), "p.csv"),
        ("embed", lambda path, files: write_features(model, files, path), "f.npz"),
    ):
        for copies in (1, 3):
            started = time.perf_counter()
            written = write(folder / target, [photos] * copies)
            seconds = time.perf_counter() - started
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print(
                f"{name}: {written.images:,} images in {seconds:.1f} s, "
                f"{60 * written.images / seconds:,.0f} a minute; at most {memory:.2f} GB so far"
            )
