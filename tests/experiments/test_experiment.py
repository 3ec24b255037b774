import json
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from tlkit.data import decoding, image_folders, named_augmentation, splits
from tlkit.errors import ConfigError
from tlkit.experiments import experiment, recipes
from tlkit.experiments.experiment import Experiment, settings_of_run
from tlkit.training import precision


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "must have `data`"),
        ({"data": 5}, "`data` must be a path or a name, got 5"),
        ({"data": "x", "recipes": "fast"}, "has no 'recipes'; .* Did you mean 'recipe'"),
        ({"data": "x", "recipe": "fats"}, "`recipe` must be one of .* Did you mean 'fast'"),
        ({"data": "x", "fit": "crops"}, "`fit` must be one of .* Did you mean 'crop'"),
        ({"data": "x", "test": 0.0}, "`test` must be above 0"),
        ({"data": "x", "budget": -1.0}, "`budget` must be a number above 0"),
        ({"data": "x", "stratify": "yes"}, "`stratify` must be true or false"),
        ({"data": "x", "channels": 4}, r"`channels` must be 3 \(RGB\) or 1 \(grey\), got 4"),
        ({"data": "x", "augment": ["cutmix"]}, "`augment='cutmix'` needs a recipe that fine-tunes"),
        ({"data": "x", "augment": ["flip", "flip"]}, "must name each change once"),
        ({"data": "x", "augment": ["randaugment"], "channels": 1}, "needs `channels=3`"),
        (
            {"data": "x", "augment": ["flip"], "recipe": "mnist_as_described"},
            "`augment` must be left out with `recipe='mnist_as_described'`",
        ),
        ({"data": "x", "augment": ["flop"], "recipe": "best"}, "Did you mean 'flip'"),
        ({"data": "x", "options": ["alpha"]}, "`options` must be of the form name=value, got"),
        ({"data": "x", "options": "alpha=1"}, "`options` must be a list of names, got 'alpha=1'"),
        (
            {"data": "x", "recipe_options": ["=4"]},
            "`recipe_options` must be of the form name=value",
        ),
        (
            {"data": "x", "recipe_options": ["backbone=vgg16"]},
            "`recipe_options` must not have 'backbone', for which there is `backbone`",
        ),
        ({"data": "x", "augment": "flip", "recipe": "best"}, "`augment` must be a list of names"),
    ],
)
def test_a_wrong_value_is_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Experiment.from_dict(values)


def test_settings_survive_a_round_trip_through_json() -> None:
    settings = Experiment(Path("photos"), weights=Path("w.h5"), recipe="best", augment=("flip",))
    assert settings.to_dict()["data"] == "photos"
    assert settings.to_dict()["augment"] == ["flip"]
    assert Experiment.from_dict(settings.to_dict()) == settings
    assert Experiment.from_dict({"data": "photos", "augment": None}).augment == ()


def test_options_of_the_backbone_have_the_types_that_they_are_written_in() -> None:
    given = ("alpha=0.75", "minimalistic=true", "include_preprocessing=false", "name=mine")
    settings = Experiment("photos", backbone="mobilenet_v3_small", options=given)
    assert settings.backbone_options == {
        "alpha": 0.75,
        "minimalistic": True,
        "include_preprocessing": False,
        "name": "mine",
    }
    assert Experiment.from_dict(settings.to_dict()) == settings


def test_the_choices_are_all_that_exist() -> None:
    assert get_args(experiment.RecipeName) == recipes.names()
    assert experiment.Augmentation == named_augmentation.Augmentation
    assert experiment.Fit == decoding.Fit
    assert experiment.Precision == precision.Precision
    assert experiment.Duplicates == splits.Duplicates
    assert experiment.Unreadable == image_folders.Unreadable


def test_a_recipe_that_trains_nothing_has_no_precision() -> None:
    with pytest.raises(ConfigError, match="`precision` must be 'float32' for the recipe 'fast'"):
        Experiment("photos", recipe="fast", precision="bfloat16")
    assert Experiment("photos", recipe="best", precision="bfloat16").precision == "bfloat16"


def test_title_and_authors_are_text_in_one_line() -> None:
    named = Experiment("photos", title="Leaves", authors=("Ada Lovelace", "Émile"))
    assert Experiment.from_dict(json.loads(json.dumps(named.to_dict()))) == named
    for wrong in ({"title": " "}, {"title": "a\nb"}, {"authors": ("\ud800",)}, {"authors": ("",)}):
        with pytest.raises(ConfigError, match=f"`{next(iter(wrong))}` must be text in one line"):
            Experiment("photos", **wrong)


def test_every_setting_has_a_line_of_help() -> None:
    described = re.findall(r"^        (\w+): ", experiment.Experiment.__doc__, re.M)
    assert [field.name for field in fields(Experiment)] == described[: len(fields(Experiment))]


def test_the_recorded_path_replaces_a_relative_one_that_is_no_longer_valid(tmp_path: Path) -> None:
    config = {"experiment": {"data": "gone", "seed": 3}, "making": {"data": "/recorded"}}
    assert settings_of_run(config) == {"data": "/recorded", "seed": 3}
    config["experiment"]["data"] = str(tmp_path)
    assert settings_of_run(config)["data"] == str(tmp_path)
    config["experiment"]["test_data"], config["making"]["test_data"] = "gone too", "/there"
    assert settings_of_run(config)["test_data"] == "/there"
    with pytest.raises(ConfigError, match="`experiment` must hold names and values, got 5"):
        settings_of_run({"experiment": 5})


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (160, 160),
        ("160", 160),
        ((120, 200), (120, 200)),
        ([120, 200], (120, 200)),
        ("120x200", (120, 200)),
        (("120x200",), (120, 200)),
        ((96,), 96),
        ((96, 96), 96),
        (None, None),
    ],
)
def test_a_size_is_a_number_or_height_and_width(value: object, size: object) -> None:
    experiment = Experiment("photos", image_size=value)
    assert experiment.image_size == size
    again = Experiment.from_dict(json.loads(json.dumps(experiment.to_dict())))
    assert again == experiment


@pytest.mark.parametrize("value", ["large", "120x", (1, 2, 3), "1x2x3", 0, (32, 0), 1.5, (), True])
def test_a_wrong_size_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="image_size"):
        Experiment("photos", image_size=value)


@pytest.mark.parametrize("value", ["[" * 100_000, "1" * 5000, "{", "NaN,"])
def test_an_option_that_is_no_json_is_text(value: str) -> None:
    assert Experiment("photos", options=(f"alpha={value}",)).backbone_options == {"alpha": value}
