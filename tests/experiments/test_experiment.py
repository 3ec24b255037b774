from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import tlkit
from tlkit.cli import app
from tlkit.errors import ConfigError
from tlkit.experiments.experiment import RECIPES, Experiment


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (20, 24, 3), "uint8")
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "must have `data`"),
        ({"data": "x", "recipes": "fast"}, "has no 'recipes'; .* Did you mean 'recipe'"),
        ({"data": "x", "recipe": "fats"}, "`recipe` must be one of .* Did you mean 'fast'"),
        ({"data": "x", "test": 0.0}, "`test` must be above 0"),
        ({"data": "x", "budget": -1.0}, "`budget` must be a number above 0"),
        ({"data": "x", "channels": 4}, r"`channels` must be 3 \(RGB\) or 1 \(grey\), got 4"),
        ({"data": "x", "augment": ["flip"]}, "`augment` needs `recipe='best'` .recipe is 'fast'"),
        ({"data": "x", "augment": ["flop"], "recipe": "best"}, "Did you mean 'flip'"),
    ],
)
def test_a_wrong_value_is_told(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Experiment.of(values)


def test_it_survives_json_and_reads_as_it_says(photos: Path) -> None:
    made = Experiment(
        data=str(photos),
        image_size=8,
        channels=1,
        fit="crop",
        recipe="best",
        augment=("flip",),
        seed=4,
    )
    assert Experiment.of(made.values()) == made
    source = made.source()
    assert source.images.shape == (40, 8, 8, 1)
    parts = made.split(source)
    assert len(parts.train) + len(parts.test) == 40
    assert set(made.split(source).test.paths) == set(parts.test.paths)
    other = Experiment.of({**made.values(), "seed": 5})
    assert set(other.split(source).test.paths) != set(parts.test.paths)


def test_callbacks_are_told_every_epoch_of_both_phases(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    watcher = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: told.append(epoch))
    made = Experiment(data=str(photos), image_size=32, weights="starter", recipe="few_images")
    parts = made.split(made.source())
    trained = made.train(parts, callbacks=[watcher], verbose=False)
    assert len(told) == len(trained.run.history["epoch"]) == 20


def test_columns_of_a_folder_are_refused_and_paths_become_words(photos: Path) -> None:
    made = Experiment(data=photos, weights=Path("w.h5"), group_column="patient")
    assert (made.values()["data"], made.values()["weights"]) == (str(photos), "w.h5")
    with pytest.raises(ConfigError, match="`group_column` must be left out for a folder"):
        made.source()
    with pytest.raises(ConfigError, match="no such file"):
        Experiment(data="nowhere").source()
    with pytest.raises(ConfigError, match="`data` must be a path or a name, got 5"):
        Experiment.of({"data": 5})
    with pytest.raises(ConfigError, match="`augment` must be a list of names, got 'flip'"):
        Experiment.of({"data": "photos", "recipe": "best", "augment": "flip"})
    assert Experiment.of({"data": "photos", "augment": None}).augment == ()


@pytest.mark.parametrize("name", ["few_images", "fast"])
def test_the_memory_told_beforehand_is_what_training_takes(photos: Path, name: str) -> None:
    made = Experiment(data=str(photos), image_size=32, weights="starter", recipe=name)
    parts = made.split(made.source())
    recipe = RECIPES[name]()
    whole = tlkit.build_classifier(
        recipe.backbone, 2, image_size=32, weights="starter", pixels=recipe.pixels
    )
    told = recipe.kept_bytes(whole, parts.train)
    ran = made.train(parts, verbose=False).run
    kept = {phase.name: phase.trunk.bytes / phase.trunk.images for phase in ran.phases}
    assert kept.keys() == told.keys()
    for phase, bytes_kept in kept.items():
        if name == "fast":
            assert 0 < bytes_kept <= told[phase]
        else:
            assert bytes_kept == sum(told.values())  # one pass keeps what both phases read


def test_callbacks_are_told_what_was_solved(photos: Path) -> None:
    seen = []

    class Watcher(keras.callbacks.Callback):
        def on_train_begin(self, logs: dict | None = None) -> None:
            seen.append(self.model.count_params())

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            seen.append((epoch, logs))

    made = Experiment(data=str(photos), image_size=32, weights="starter", recipe="fast")
    trained = made.train(made.split(made.source()), callbacks=[Watcher()], verbose=False)
    metrics = {name: values[0] for name, values in trained.run.phases[0].history.items()}
    assert seen == [trained.model.count_params(), (0, metrics)]
    assert {"loss", "accuracy"} <= set(metrics)


@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 1), (16, 16, 3)])
def test_a_classifier_of_any_shape_is_asked_and_measured_by_its_file(
    small_backbone: keras.Model,
    photos: Path,
    tmp_path: Path,
    shape: tuple[int, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = tlkit.build_classifier(
        small_backbone, 2, input_shape=shape, pixels=(0, 1), class_names=["a", "b"]
    )
    file = str(tlkit.save(model, tmp_path / "model.keras"))
    assert app.main(["predict", file, str(photos / "a")]) == app.DONE
    assert len(capsys.readouterr().out.splitlines()) == 20
    assert app.main(["evaluate", file, str(photos)]) == app.DONE
    assert "40 images" in capsys.readouterr().out
