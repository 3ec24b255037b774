"""Every file that tlkit reads: how a good one is made, how it is read, and how it is damaged."""

import json
import random
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cyclopts
import numpy as np
import pytest
from PIL import Image
from tests.fuzz.running import limited, quiet
from tests.fuzz.world import World

import tlkit
from tlkit._internal.optional import installed
from tlkit.cli import config
from tlkit.errors import TlkitError
from tlkit.experiments import (
    classifiers,
    export_records,
    loading,
    run_files,
    run_folder,
    run_state,
    split_csv,
)
from tlkit.training.checkpoint_files import CheckpointFolder

yaml = pytest.importorskip("yaml", reason="the extra 'yaml' is not installed")

SECONDS = 20
_MAX_MESSAGE = 1500


@dataclass(frozen=True)
class Format:
    """A file, and how it is read.

    Attributes:
        make: Makes a good file, or returns one.
        read: Reads the file.
    """

    make: Callable[[World], Path]
    read: Callable[[World, Path], object]


def _copy_run(world: World, name: str, *, listed: bool) -> Path:
    """Return a file of a copy of a run; without the list of its checksums, readers see more."""
    folder = world.folder / f"run of {name}{' listed' * listed}"
    if not folder.exists():
        shutil.copytree(world.run, folder)
        (folder / "exports.json").write_text(json.dumps({"exports": []}))
        if not listed:
            (folder / "SHA256SUMS").unlink()
    return folder / name


def _of_run(name: str, read: Callable[[World, Path], object], *, listed: bool = False) -> Format:
    return Format(
        lambda world: _copy_run(world, name, listed=listed), lambda w, p: read(w, p.parent)
    )


def _read_config(_: World, folder: Path) -> None:
    run_files.read_json(folder / "config.json", "environment", "making")
    with run_files.explain_damage(folder / "config.json"):
        loading.Experiment.from_dict(classifiers._read_settings(folder))


def _write(name: str, save: Callable[[World, Path], object]) -> Callable[[World], Path]:
    def make(world: World) -> Path:
        path = world.folder / "files" / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            save(world, path)
        return path

    return make


def _save_state(_: World, path: Path) -> None:
    states = CheckpointFolder(path.parent)
    states.save({"settings": {}, "finished": []}, {"a": np.arange(9.0), "b": np.zeros((2, 2))})
    next(path.parent.glob("*.safetensors")).rename(path)


def _load_state(_: World, path: Path) -> None:
    folder = path.parent / "states"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / "state-000001.safetensors")
    CheckpointFolder(folder).load()


def _save_settings(world: World, path: Path) -> None:
    values = {"data": str(world.photos), "image-size": 32, "options": ["alpha=0.35"], "test": 0.4}
    dump = yaml.safe_dump if path.suffix == ".yaml" else json.dumps
    path.write_text(dump(values))


def _save_table(world: World, path: Path) -> None:
    if path.suffix == ".csv":
        shutil.copy(world.table, path)
        return
    import pyarrow.csv
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.csv.read_csv(world.table), path)


def _read_table(world: World, path: Path) -> None:
    how: dict[str, Any] = {"group_column": "group", "outside_paths": True, "folder": world.folder}
    tlkit.sources.from_manifest(path, image_size=8, **how)


def _save_image(world: World, path: Path) -> None:
    picture = Image.open(next(world.photos.rglob("*.png")))
    exif = picture.getexif()
    exif[0x0112] = 6  # turned, so that EXIF is read
    picture.save(path, exif=exif)


def _read_image(world: World, path: Path) -> None:
    tlkit.predict(world.saved_model, [path])


def _save_shard(world: World, path: Path) -> None:
    entry = tlkit.caching.Store(folder=path.parent / "store").entry({"fuzz": 1})
    entry.write("shard", [np.arange(12.0).reshape(3, 4), np.arange(3)])
    shutil.copy(next((path.parent / "store").rglob("shard.safetensors")), path)


def _read_shard(_: World, path: Path) -> None:
    entry = tlkit.caching.Store(folder=path.parent / "store").entry({"fuzz": 1})
    shutil.copy(path, path.parent / "store" / entry.key / "shard.safetensors")
    entry.read("shard")


def _save_weights(world: World, path: Path) -> None:
    world.backbone.save_weights(path)


def _save_export(world: World, path: Path) -> None:
    tlkit.export(world.model, path, test_data=world.arrays)


def _read_export(world: World, path: Path) -> None:
    tlkit.deployment.Predictor(path).predict(world.arrays[0][:1])


_ENDINGS = ("bmp", "gif", "jpg", "png", "ppm", "tif", "webp")
FORMATS = {
    **{
        f"{name}{' (listed)' * listed}": _of_run(name, read, listed=listed)
        for listed in (False, True)
        for name, read in {
            "config.json": _read_config,
            "metrics.json": lambda _, folder: run_folder.load_run(folder),
            "history.csv": lambda _, folder: run_folder.load_run(folder),
            "split.csv": lambda w, folder: split_csv.match_rows(w.listed, folder / "split.csv"),
            "exports.json": lambda _, folder: export_records.load(folder),
            "model.keras": lambda w, folder: classifiers.load_classifier(
                folder, data=str(w.photos)
            ),
        }.items()
        if (listed, name) != (True, "exports.json")  # it is made here, so no list has it
    },
    "state.json": _of_run(
        "state.json", lambda _, folder: run_files.read_json(folder / run_state.NAME, "state")
    ),
    "SHA256SUMS": _of_run(
        "SHA256SUMS", lambda _, folder: tlkit.experiments.verify_run(folder), listed=True
    ),
    "saved.keras": Format(lambda world: world.saved, lambda _, path: tlkit.load(path)),
    "export.keras": Format(_write("export.keras", _save_export), _read_export),
    **{
        f"export{ending}": Format(_write(f"export{ending}", _save_export), _read_export)
        for ending, package in ((".onnx", "onnxruntime"), (".tflite", "ai_edge_litert"))
        if installed(package)
    },
    "settings.json": Format(
        _write("settings.json", _save_settings), lambda _, path: config._load(path)
    ),
    "settings.yaml": Format(
        _write("settings.yaml", _save_settings), lambda _, path: config._load(path)
    ),
    "table.csv": Format(_write("table.csv", _save_table), _read_table),
    **(
        {"table.parquet": Format(_write("table.parquet", _save_table), _read_table)}
        if installed("pyarrow")
        else {}
    ),
    **{
        f"image.{ending}": Format(_write(f"image.{ending}", _save_image), _read_image)
        for ending in _ENDINGS
    },
    "checkpoint": Format(_write("checkpoint.safetensors", _save_state), _load_state),
    "shard": Format(_write("shard.safetensors", _save_shard), _read_shard),
}
"""Every file by name."""

_PIECES = (
    *(
        b"",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n\n",
        b'"',
        b"'",
        b",,",
        b"{",
        b"[" * 3000,
    ),
    *(b"null", b"NaN", b"-1", b"1e999", b"9" * 5000, b"true", b"[]", b"{}", b'""', b"\\ud800"),
    *(b"\x1b[2J", b"../", b"<script>", b"&a *a", b"\x7f" * 8, b"\xff" * 8, b"\0" * 4096),
)


def damage(content: bytes, draw: random.Random) -> bytes:
    """Return the content of a file with one to three damages."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        at = draw.randrange(len(content) + 1)
        end = min(at + draw.choice((1, 1, 4, 40, 4000)), len(content))
        match draw.choice(("flip", "cut", "insert", "remove", "repeat", "replace", "swap")):
            case "flip" if at < len(content):
                content = (
                    content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]
                )
            case "cut":
                content = content[:at]
            case "insert":
                content = content[:at] + draw.choice(_PIECES) + content[at:]
            case "remove":
                content = content[:at] + content[end:]
            case "repeat":
                content = content[:end] + content[at:]
            case "replace":
                content = content[:at] + draw.choice(_PIECES) + content[end:]
            case "swap":
                content = content[end:] + content[:at] + content[at:end]
    return content


def run_case(world: World, name: str, seed: int) -> str | None:
    """Return what is wrong with how reading a damaged file ends; None if nothing is."""
    how = FORMATS[name]
    with quiet():
        path = how.make(world)
    content = path.read_bytes()
    path.write_bytes(damage(content, random.Random(f"{name} {seed}")))
    try:
        with limited(SECONDS), quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            how.read(world, path)
    except TlkitError as error:
        return (
            None
            if len(str(error)) <= _MAX_MESSAGE
            else f"a message of {len(str(error))} characters"
        )
    except cyclopts.CycloptsError:
        return None
    except BaseException as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    finally:
        path.write_bytes(content)
    return None
