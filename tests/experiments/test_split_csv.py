from pathlib import Path

import pytest

from tlkit import sources
from tlkit.data.splits import split
from tlkit.errors import ConfigError, DataError
from tlkit.experiments.split_csv import format_split, load_split


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
