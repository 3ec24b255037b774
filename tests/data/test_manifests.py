"""Tables of unknown origin: read within bounds, and without files from elsewhere."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkit import experiments, sources
from tlkit.cli import app
from tlkit.data import manifests
from tlkit.errors import ConfigError, DataError, TlkitError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with images of two classes, and one beside it."""
    draw = np.random.default_rng(0)
    for name in ("in/a/1.png", "in/a/2.png", "in/b/1.png", "in/b/2.png", "secret/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (9, 9, 3), "uint8")).save(tmp_path / name)
    return tmp_path / "in"


def _write(folder: Path, paths: list[str]) -> Path:
    rows = [f"{path},{'ab'[number % 2]}" for number, path in enumerate(paths)]
    (folder / "all.csv").write_text("\n".join(["path,label", *rows, ""]))
    return folder / "all.csv"


def test_a_table_names_files_elsewhere_only_where_it_is_asked(folder: Path) -> None:
    outside = folder.parent / "secret" / "1.png"
    inside = str(folder / "a" / "1.png")  # absolute, and in the folder
    names = ("../secret/1.png", "a/../../secret/1.png", f"{folder}/../secret/1.png")
    for path in (str(outside), *names):
        table = _write(folder, [inside, "b/1.png", path])
        with pytest.raises(
            DataError, match=r"must name files in the folder .*in row 3\. If .*True"
        ):
            sources.from_manifest(table, image_size=8)
        assert len(sources.from_manifest(table, image_size=8, outside_paths=True)) == 3
    table = _write(folder, [inside, "a/../b/1.png"])
    assert len(sources.from_manifest(table, image_size=8)) == 2


def test_the_command_asks_for_the_option(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = _write(folder, ["a/1.png", "b/1.png", "a/2.png", "b/2.png", "../secret/1.png"] * 4)
    words = [
        "inspect",
        str(table),
        "--weights",
        "starter",
        "--image-size",
        "32",
        "--duplicates",
        "allow",
    ]
    assert app.main(words) == app.WRONG_DATA
    assert "accept paths that lead out of the folder with `--outside-paths`." in (
        capsys.readouterr().err
    )
    accepted = experiments.Experiment(str(table), image_size=8, outside_paths=True)
    assert len(experiments.load_images(accepted)) == 20
    test = _write(folder.parent, ["in/a/1.png", "in/b/1.png", f"{folder.parent}/../x.png"])
    assert app.main(["inspect", str(folder), "--test-data", str(test)]) == app.WRONG_DATA


def test_web_addresses_are_refused_by_row(folder: Path) -> None:
    table = _write(folder, ["a/1.png", "b/1.png", "https://example.org/1.png", "file:///etc/a.png"])
    with pytest.raises(DataError, match=r"2 problems found: .*: it is a web address: download the"):
        sources.from_manifest(table, image_size=8)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"all{suffix}"
    makers: list[tuple[Callable[[], object], str]] = [
        (path.mkdir, "it is a folder"),
        (lambda: os.mkfifo(path), "it is a pipe"),
        (lambda: path.symlink_to("/dev/zero"), "it is a device"),
    ]
    for make, why in makers:
        make()
        with pytest.raises(ConfigError, match=rf"`manifest` must be a file, .*: {why}"):
            sources.from_manifest(path, image_size=8)
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(ConfigError, match="NUL character|characters that no path has"):
        sources.from_manifest(f"a\0b{suffix}", image_size=8)


def test_a_table_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "all.parquet"
    texts = arrow.array(["x" * 10**5] * 300)
    parquet.write_table(
        arrow.table({"path": texts, "label": texts}), path, compression="zstd", use_dictionary=False
    )
    assert path.stat().st_size < 200_000
    monkeypatch.setattr(manifests, "_MAX_BYTES", 50_000_000)
    with pytest.raises(DataError, match=r"got 300 rows that unpack to 60.0 MB. Save it again"):
        sources.from_manifest(path, image_size=8)
    (tmp_path / "all.csv").write_text("path,label\n" + "a" * 100)
    monkeypatch.setattr(manifests, "_MAX_BYTES", 100)
    with pytest.raises(DataError, match=r"got a file of 111 bytes. Save it again"):
        sources.from_manifest(tmp_path / "all.csv", image_size=8)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_random_damage_ends_in_one_error(folder: Path, suffix: str) -> None:
    table = _write(folder, ["a/1.png", "b/1.png", "a/2.png", "b/2.png"])
    if suffix == ".parquet":
        arrow_csv = pytest.importorskip("pyarrow.csv")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow_csv.read_csv(table), folder / "all.parquet")
        table = folder / "all.parquet"
    content = table.read_bytes()
    draw = random.Random(suffix)
    refused = 0
    for _ in range(150):
        at = draw.randrange(len(content))
        noise = draw.randbytes(draw.randrange(4))
        table.write_bytes(content[:at] + noise + content[at + draw.randrange(3) :])
        try:
            manifests.read_columns(table, ["path", "label"])
        except TlkitError as error:
            refused += 1
            assert str(table) in str(error) or "`manifest` must have a column" in str(error)
    assert refused > 20
