import sys
from pathlib import Path
from typing import Any

import keras
import pytest

from tlkit.cli import app
from tlkit.errors import ConfigError, MissingExtraError
from tlkit.experiments import Experiment, cluster_settings, load_split, run

LOCAL: dict[str, Any] = {"cluster": "local", "weights": "starter"}


@pytest.fixture
def with_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_settings, "require", lambda *_, **__: None)


@pytest.mark.usefixtures("with_ray")
@pytest.mark.parametrize("options", [(), ("epochs=2",)])
def test_a_recipe_that_compares_candidates_is_refused(options: tuple[str, ...]) -> None:
    experiment = Experiment("photos", recipe="best", recipe_options=options, **LOCAL)
    with pytest.raises(ConfigError, match="`recipe` must not hold out images to compare") as caught:
        cluster_settings.check(experiment)
    assert "in any case by `recipe_options='held_out=0'`, or not" in str(caught.value)


@pytest.mark.usefixtures("with_ray")
@pytest.mark.parametrize(
    ("recipe", "options"),
    [("fast", ()), ("best", ("epochs=0",)), ("best", ("held_out=0",)), ("mnist_as_described", ())],
)
def test_other_recipes_are_accepted(recipe: Any, options: tuple[str, ...]) -> None:
    cluster_settings.check(Experiment("photos", recipe=recipe, recipe_options=options, **LOCAL))


@pytest.mark.usefixtures("with_ray")
def test_a_setting_of_a_phase_that_a_cluster_lacks_is_refused(tmp_path: Path) -> None:
    options = ("batchnorm=reestimate",)
    experiment = Experiment("photos", recipe="few_images", recipe_options=options, **LOCAL)
    with pytest.raises(ConfigError, match="`recipe_options` must have batchnorm='frozen' or 'tra"):
        run(experiment, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("with_ray")
def test_callbacks_that_control_training_are_refused(tmp_path: Path) -> None:
    callbacks = [keras.callbacks.CSVLogger("log"), keras.callbacks.EarlyStopping()]
    experiment = Experiment("photos", recipe="few_images", **LOCAL)
    with pytest.raises(ConfigError, match="`callbacks` must not control .*, got EarlyStopping: th"):
        run(experiment, tmp_path / "run", callbacks=callbacks)
    assert not (tmp_path / "run").exists()
    cluster_settings.check_callbacks(experiment, callbacks[:1])
    cluster_settings.check_callbacks(Experiment("photos", **LOCAL), callbacks)  # one epoch
    cluster_settings.check_callbacks(Experiment("photos", recipe="few_images"), callbacks)


@pytest.mark.usefixtures("with_ray")
def test_a_precision_is_that_of_the_phases() -> None:
    experiment = Experiment("photos", recipe="few_images", precision="bfloat16", **LOCAL)
    tuned = cluster_settings.find_recipe(experiment).fine_tune
    assert tuned is not None
    assert tuned.precision == "bfloat16"


@pytest.mark.usefixtures("with_ray")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit": 100}, r"`limit` must be left out with `cluster`, got 100: all images are used"),
        ({"folds": 5}, "`folds` must be left out with `cluster`"),
        ({"split_column": "part"}, "got 'part': the part of each image is drawn from its content"),
        ({"augment": ("flip",)}, "`augment` must be left out .*: each image is read once"),
        ({"duplicates": "refuse"}, "copies of a file are always in the same part"),
        (
            {"precision": "float16", "recipe": "few_images"},
            "`precision` must be 'float32' or 'bfloat16' with `cluster`",
        ),
        ({"unreadable": "replace"}, "`unreadable` must be 'fail' or 'skip' with `cluster`"),
    ],
)
def test_settings_that_can_t_be_followed_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        cluster_settings.check(Experiment("photos", **settings, **LOCAL))


def test_a_folder_of_features_needs_a_cluster() -> None:
    with pytest.raises(ConfigError, match="`cluster_folder` must be left out without `cluster`"):
        cluster_settings.check(Experiment("photos", cluster_folder="features"))


@pytest.mark.usefixtures("with_ray")
@pytest.mark.parametrize(
    ("data", "folder"),
    [
        ("photos", "photos/work"),
        ("photos", "other/../photos"),
        ("work/features", "work"),
        ("s3://bucket/photos", "s3://bucket/photos/work"),
    ],
)
def test_a_folder_of_the_cluster_inside_the_images_is_refused(data: str, folder: str) -> None:
    with pytest.raises(ConfigError, match="`cluster_folder` must be outside the images '"):
        cluster_settings.check(Experiment(data, cluster_folder=folder, **LOCAL))
    cluster_settings.check(Experiment(data, cluster_folder=f"{data}-work", **LOCAL))


def test_every_refused_setting_is_one_of_an_experiment() -> None:
    assert cluster_settings._WITHOUT.keys() <= vars(Experiment("photos")).keys()


def test_without_ray_the_error_is_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tlkit\[ray\]'"):
        run(Experiment("photos", **LOCAL), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["probe", "inspect", "tune"])
def test_commands_on_one_machine_refuse_a_cluster(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "tuned")] if command == "tune" else []
    assert app.main([command, "photos", "--cluster", "local", *out]) != app.DONE
    assert f"`tlkit {command}` runs on one machine" in capsys.readouterr().err


def test_a_split_is_loaded_on_one_machine_only() -> None:
    with pytest.raises(ConfigError, match="`cluster` must be left out, got 'local': `load_split`"):
        load_split(Experiment("photos", **LOCAL))
