import shutil
from pathlib import Path
from typing import Any

import pytest

from tlkit.errors import ConfigError
from tlkit.experiments import plan
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.loading import (
    load_images,
    load_used,
    resolve,
    split_images,
    take_test_images,
)


def test_images_are_loaded_and_split_as_the_experiment_says(noise_photos: Path) -> None:
    experiment = Experiment(noise_photos, image_size=8, channels=1, fit="crop", seed=4)
    dataset = load_images(experiment)
    assert dataset.images.shape == (40, 8, 8, 1)
    split = split_images(experiment, dataset)
    assert len(split.train) + len(split.test) == 40
    assert set(split_images(experiment, dataset).test.paths) == set(split.test.paths)
    other = Experiment.from_dict({**experiment.to_dict(), "seed": 5})
    assert set(split_images(other, dataset).test.paths) != set(split.test.paths)


def test_columns_of_a_folder_and_a_missing_folder_are_refused(noise_photos: Path) -> None:
    with pytest.raises(ConfigError, match="`group_column` can only be used with a table"):
        load_images(Experiment(noise_photos, group_column="patient"))
    with pytest.raises(ConfigError, match="no such file"):
        load_images(Experiment("nowhere"))


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({}, 160),
        ({"weights": "starter"}, 160),
        ({"backbone": "mobilenet"}, 160),
        ({"backbone": "efficientnet_b3"}, 300),
        ({"backbone": "xception", "image_size": 80}, 80),
    ],
)
def test_images_have_the_size_of_the_weights(settings: dict[str, Any], size: int) -> None:
    experiment = resolve(Experiment("photos", **settings))
    assert experiment.image_size == size
    assert resolve(experiment) == experiment


def test_the_users_own_test_images_are_used_and_evaluated_alone(
    noise_photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(noise_photos, tmp_path / "own" / "train")
    for label in "ab":
        (tmp_path / "own" / "test" / label).mkdir(parents=True)
        for file in sorted((tmp_path / "own" / "train" / label).iterdir())[:5]:
            file.rename(tmp_path / "own" / "test" / label / file.name)
    experiment = Experiment(tmp_path / "own", image_size=8, validation=0.25, stratify=True)
    dataset = load_images(experiment)
    split = split_images(experiment, dataset)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [22, 8, 10]
    assert take_test_images(dataset).paths == split.test.paths
    other = Experiment(noise_photos, image_size=8, test_data=tmp_path / "own" / "test")
    whole = load_images(other)
    assert len(take_test_images(whole)) == 10
    assert split_images(other, whole).num_apart == 10  # they are copies, which is said
    plain = load_images(Experiment(noise_photos, image_size=8))
    assert len(take_test_images(plain)) == 40


def test_a_choice_of_folders_is_refused_for_a_table(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("path,label")
    with pytest.raises(ConfigError, match="`split` can only be used with a folder.*split_column"):
        load_images(Experiment(tmp_path / "all.csv", split="folders"))


def test_a_limit_leaves_out_training_images_and_as_many_validation_images(
    noise_photos: Path,
) -> None:
    whole = Experiment(noise_photos, image_size=8, validation=0.2)
    experiment = Experiment(noise_photos, image_size=8, validation=0.2, limit=10)
    dataset = load_used(experiment)
    parts, all_parts = split_images(experiment, dataset), split_images(whole, dataset)
    assert parts.train.counts == {"a": 5, "b": 5}
    assert {*parts.train.paths} < {*all_parts.train.paths}
    assert parts.test.paths == all_parts.test.paths
    share = 10 / len(all_parts.train)
    assert len(parts.validation) == round(share * len(all_parts.validation))
    assert {*parts.validation.paths} < {*all_parts.validation.paths}
    left = 40 - 10 - len(parts.validation) - len(parts.test)
    assert f"{left} images left out by the limit\n" in plan(dataset, parts)
    assert "left out" not in plan(dataset, all_parts)
    with pytest.raises(ConfigError, match="`limit` must be at least 2, one image for each class"):
        split_images(Experiment(noise_photos, image_size=8, limit=1), dataset)
    with pytest.raises(ConfigError, match="`limit` must be a whole number of at least 1"):
        Experiment(noise_photos, limit=0)


def test_with_folds_a_limit_is_that_of_all_images(noise_photos: Path) -> None:
    experiment = Experiment(noise_photos, image_size=8, folds=2, limit=10)
    dataset = load_used(experiment)
    assert dataset.counts == {"a": 5, "b": 5}
    assert split_images(experiment, dataset).train.paths == dataset.paths
    with pytest.raises(ConfigError, match="`limit` must be at least 2, one image for each class"):
        load_used(Experiment(noise_photos, image_size=8, folds=2, limit=1))
