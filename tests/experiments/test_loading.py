from pathlib import Path
from typing import Any

import pytest

from tlkit.errors import ConfigError
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.loading import load_images, resolve, split_images


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
