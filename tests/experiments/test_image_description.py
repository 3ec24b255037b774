import shutil
from pathlib import Path

from tlkit.experiments import Experiment, loading
from tlkit.experiments.image_description import describe_images


def test_a_limit_is_described_only_if_there_were_as_many_images(noise_photos: Path) -> None:
    for limit, described in ((10, 10), (1000, None), (None, None)):
        experiment = Experiment(noise_photos, image_size=8, limit=limit)
        source = loading.load_images(experiment)
        found = describe_images(experiment, source, loading.split_images(experiment, source))
        assert found["limit"] == described


def test_the_source_names_the_folders_of_added_images(noise_photos: Path, tmp_path: Path) -> None:
    more = shutil.copytree(noise_photos, tmp_path / "more")
    for add, named in (
        ((), noise_photos.name),
        ((str(more),), f"{noise_photos.name} and more"),
        ((str(noise_photos),), noise_photos.name),
    ):
        experiment = Experiment(noise_photos, image_size=8, add=add, duplicates="allow")
        source = loading.load_images(experiment)
        found = describe_images(experiment, source, loading.split_images(experiment, source))
        assert found["source"] == named
        assert found["title"] == f"Classifying {noise_photos.name}"
