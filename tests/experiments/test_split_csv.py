from pathlib import Path

import pytest

from tlkit import sources
from tlkit.data.splits import split
from tlkit.errors import ConfigError, DataError
from tlkit.experiments.split_csv import count_trained, format_rows, format_split, load_split


def test_a_split_is_loaded_again_without_images_added_since(noise_photos: Path) -> None:
    saved = split(sources.from_folder(noise_photos, image_size=8), test=0.2, validation=0.2)
    file = noise_photos.parent / "split.csv"
    file.write_text(format_split(saved))
    added = noise_photos / "a" / "added.png"
    added.write_bytes((noise_photos / "a" / "0.png").read_bytes())
    used, loaded = load_split(sources.from_folder(noise_photos, image_size=8), file)
    assert "a/added.png" not in used.paths
    for name in ("train", "validation", "test"):
        assert getattr(loaded, name).paths == getattr(saved, name).paths


def test_a_missing_file_or_a_changed_image_is_refused(noise_photos: Path) -> None:
    dataset = sources.from_folder(noise_photos, image_size=8)
    file = noise_photos.parent / "split.csv"
    with pytest.raises(ConfigError, match="`folder` must hold split.csv"):
        load_split(dataset, file)
    file.write_text(format_split(split(dataset, test=0.2)))
    (noise_photos / "a" / "0.png").write_bytes((noise_photos / "b" / "1.png").read_bytes())
    with pytest.raises(DataError, match="1 of 40 missing or changed: .*a/0.png"):
        load_split(sources.from_folder(noise_photos, image_size=8), file)


def test_images_that_were_trained_on_are_counted_by_their_content(
    noise_photos: Path, tmp_path: Path
) -> None:
    dataset = sources.from_folder(noise_photos, image_size=8)
    parts = split(dataset, test=0.2, validation=0.2)
    assert count_trained(tmp_path, dataset) == 0  # no run
    (tmp_path / "split.csv").write_text(format_split(parts))
    assert count_trained(tmp_path, dataset) == len(parts.train)
    assert count_trained(tmp_path, parts.test) == 0
    moved = tmp_path / "elsewhere"
    noise_photos.rename(moved)
    assert count_trained(tmp_path, sources.from_folder(moved, image_size=8)) == len(parts.train)


def test_after_folds_all_images_were_trained_on(noise_photos: Path, tmp_path: Path) -> None:
    dataset = sources.from_folder(noise_photos, image_size=8)
    rows = [
        f"fold 1,{path},{scan.digest}"
        for path, scan in zip(dataset.paths, dataset.scans, strict=True)
    ]
    (tmp_path / "split.csv").write_text("\n".join(["part,path,digest", *rows]))
    assert count_trained(tmp_path, dataset) == len(dataset)


def test_rows_with_separators_are_quoted() -> None:
    text = format_rows([("test", 'a,"b".jpg', "0f", "cat")], with_labels=True)
    assert text.splitlines() == ["part,path,digest,label", 'test,"a,""b"".jpg",0f,cat']
