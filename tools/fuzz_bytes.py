"""Fuzz what reads files by atheris, which changes bytes so that they reach new lines of code.

    pip install atheris
    PYTHONPATH=src python tools/fuzz_bytes.py config.json -max_total_time=60

The reader is one of those that need neither a model nor images: a file of a run, a config file, the
checks of a `.keras` file, a shard of features, a checkpoint, a table, or the header and pixels of
an image. It ends at the first error that is no `TlkitError`; the other options are libFuzzer's.
`tests/fuzz/test_files.py` damages every file that is read, and runs in CI.
"""

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import atheris
import keras  # noqa: F401  # first: it has tlkit register its layers

with atheris.instrument_imports(include=["tlkit"], enable_loader_override=False):
    from tlkit._internal import files, keras_files
    from tlkit._internal.keras_private import is_registered
    from tlkit.caching import shards
    from tlkit.cli import config
    from tlkit.data import decoding, manifests
    from tlkit.errors import TlkitError
    from tlkit.experiments import checksums, export_records, run_files, run_folder
    from tlkit.experiments.experiment import Experiment, settings_of_run
    from tlkit.training.checkpoint_files import CheckpointFolder

ACCEPTED = (TlkitError, *files.DAMAGE_ERRORS, keras_files.UnsafeFileError, shards.DamagedError)


def _read_config(path: Path) -> None:
    values = run_files.read_json(path, "experiment")
    with run_files.explain_damage(path):
        Experiment.from_dict(settings_of_run(values))


def _read_metrics(path: Path) -> None:
    (path.parent / "history.csv").write_text("phase,epoch,loss\nhead,1,0.5\n")
    run_folder.load_run(path.parent)


def _read_history(path: Path) -> None:
    (path.parent / "metrics.json").write_text('{"phases": [], "seconds": 1}')
    run_folder.load_run(path.parent)


READERS: dict[str, Callable[[Path], object]] = {
    "config.json": _read_config,
    "metrics.json": _read_metrics,
    "history.csv": _read_history,
    "exports.json": lambda path: export_records.load(path.parent),
    "SHA256SUMS": lambda path: checksums.read(path.parent),
    "settings.json": config._load,
    "settings.yaml": config._load,
    "model.keras": lambda path: keras_files.check_archive(path, is_registered),
    "shard.safetensors": lambda path: (shards.read_last(path), shards.load_unchecked(path, b"")),
    "state-000001.safetensors": lambda path: CheckpointFolder(path.parent).load(),
    "table.csv": lambda path: manifests.read_columns(path, ["path", "label"]),
    "image": lambda path: decoding.decode(path, (8, 8)),
}


def main() -> None:
    """Fuzz one reader."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in READERS:
        sys.exit(f"name one of: {', '.join(READERS)}")
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / name

    def read(content: bytes) -> None:
        path.write_bytes(content)
        with contextlib.suppress(*ACCEPTED), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            READERS[name](path)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
