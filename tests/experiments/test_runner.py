from dataclasses import replace
from pathlib import Path

import keras
import pytest
from tests.samples import SilentBar

import tlkit
from tlkit.cli import app
from tlkit.data import scanning
from tlkit.errors import ConfigError, DataError
from tlkit.experiments import figures, recipes, runner
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.loading import load_images, resolve, split_images
from tlkit.experiments.runner import train


@pytest.mark.slow
def test_callbacks_see_every_epoch_of_both_phases(noise_photos: Path) -> None:
    seen = []
    watcher = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    experiment = Experiment(noise_photos, image_size=32, weights="starter", recipe="few_images")
    split = split_images(experiment, load_images(experiment))
    train(experiment, split, callbacks=[watcher], verbose=False)
    assert seen == [*range(10), *range(10)]


def test_any_backbone_is_trained_with_its_options(noise_photos: Path, tmp_path: Path) -> None:
    file = str(tmp_path / "w.weights.h5")
    keras.applications.MobileNet(
        (32, 32, 3), alpha=0.25, include_top=False, weights=None
    ).save_weights(file)
    experiment = Experiment(
        noise_photos,
        image_size=32,
        weights=file,
        backbone="mobilenet",
        options=("alpha=0.25",),
        recipe="few_images",
    )
    resolve(experiment)
    split = split_images(experiment, load_images(experiment))
    recipe = recipes.get("few_images", epochs=(1, 1), backbone="mobilenet")
    model = recipe.build(
        split.train,
        weights=experiment.weights,
        backbone_options=experiment.backbone_options,
    )
    backbone = tlkit.models.backbone_of(model)
    assert (backbone.name, backbone.output.shape[-1]) == ("mobilenet_0.25_32", 256)
    frozen = recipe.fine_tune.freeze(backbone)
    assert 0.6 < len(frozen) / len(backbone.layers) < 0.75
    wrong = replace(experiment, weights="starter")
    with pytest.raises(ConfigError, match="only for mobilenet_v2 with alpha=0.35, got mobilenet"):
        resolve(wrong)


def test_callbacks_see_a_solved_head_as_one_epoch(noise_photos: Path) -> None:
    seen = []

    class Watcher(keras.callbacks.Callback):
        def on_train_begin(self, logs: dict | None = None) -> None:
            seen.append(self.model.count_params())

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            seen.append((epoch, logs))

    experiment = Experiment(noise_photos, image_size=32, weights="starter", recipe="fast")
    split = split_images(experiment, load_images(experiment))
    trained = train(experiment, split, callbacks=[Watcher()], verbose=False)
    metrics = {name: values[0] for name, values in trained.run.phases[0].history.items()}
    assert seen == [trained.model.count_params(), (0, metrics)]
    assert {"loss", "accuracy"} <= set(metrics)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["few_images", pytest.param("fast", marks=pytest.mark.slow)])
def test_the_predicted_memory_is_the_memory_that_training_uses(
    noise_photos: Path, name: str
) -> None:
    experiment = Experiment(noise_photos, image_size=32, weights="starter", recipe=name)
    split = split_images(experiment, load_images(experiment))
    recipe = recipes.get(name)
    whole = tlkit.build_classifier(
        recipe.backbone,
        2,
        image_size=32,
        weights="starter",
        pixels=recipe.pixels,
        class_names=split.train.class_names,
    )
    predicted = recipe.cached_bytes(whole, split.train)
    run = train(experiment, split, verbose=False).run
    used = {phase.name: phase.trunk.num_bytes / phase.trunk.num_images for phase in run.phases}
    assert used.keys() == predicted.keys()
    for phase, size in used.items():
        if name == "fast":
            assert 0 < size <= predicted[phase]
        else:
            assert size == sum(predicted.values())  # one pass caches what both phases read


@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 1), (16, 16, 3)])
def test_predict_and_evaluate_take_a_classifier_of_any_input_shape(
    small_backbone: keras.Model,
    noise_photos: Path,
    tmp_path: Path,
    shape: tuple[int, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = tlkit.build_classifier(
        small_backbone, 2, input_shape=shape, pixels=(0, 1), class_names=["a", "b"]
    )
    file = str(tlkit.save(model, tmp_path / "model.keras"))
    assert app.main(["predict", file, str(noise_photos / "a")]) == app.DONE
    assert len(capsys.readouterr().out.splitlines()) == 20
    assert app.main(["evaluate", file, str(noise_photos)]) == app.DONE
    assert "40 images" in capsys.readouterr().out


@pytest.mark.slow
def test_a_solved_head_is_solved_for_augmented_copies(noise_photos: Path) -> None:
    experiment = Experiment(
        noise_photos, image_size=32, weights="starter", augment=("flip", "color")
    )
    split = split_images(experiment, load_images(experiment))
    [phase] = train(experiment, split, verbose=False).run.phases
    assert phase.trunk.num_images == 4 * len(split.train)


def test_a_report_that_fails_does_not_cost_the_training(
    noise_photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"

    def fails(*arguments: object, **settings: object) -> None:
        assert (out / "model.keras").is_file()  # written before anything is drawn
        raise MemoryError

    words = ["train", noise_photos, "--out", out, "--image-size", "32", "--weights", "starter"]
    with monkeypatch.context() as patch:
        patch.setattr(figures, "draw", fails)
        assert app.main([*map(str, words)]) == app.DONE
    said = capsys.readouterr()
    line = "its report could not be written: there is not enough memory. To try again, run: "
    assert f"{line}tlkit report {out}" in said.out + said.err
    assert not (out / "report.html").exists()
    assert app.main(["report", str(out)]) == app.DONE
    assert (out / "report.html").is_file()


def test_a_bar_is_closed_on_an_error(
    noise_photos: Path,
    tmp_path: Path,
    opened_bars: list[SilentBar],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(*_: object) -> None:
        scanning._ON_SCANNED.get()(1, 5)
        raise DataError("an image is damaged")

    monkeypatch.setattr(runner, "_load", load)
    experiment = Experiment(noise_photos, image_size=32, weights="starter")
    with pytest.raises(DataError):
        runner.run(experiment, tmp_path / "run", verbose=True)
    assert [(bar.title, bar.is_closed) for bar in opened_bars] == [("reading images", True)]
