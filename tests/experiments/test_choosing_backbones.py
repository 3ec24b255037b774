import json
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import tlkit
from tlkit.cli import app
from tlkit.errors import ConfigError
from tlkit.evaluation import BackboneSearch
from tlkit.experiments import Experiment, backbone_choice, recipes
from tlkit.experiments.loading import load_images


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos of two classes, and two backbones that take images of any size."""
    folder = tmp_path_factory.mktemp("choice")
    random = np.random.default_rng(0)
    for number in range(60):
        pixels = random.integers(0, 120, (20, 24, 3), "uint8")
        pixels[:10] += 100 * np.uint8(number % 2)
        (folder / "photos" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "photos" / "ab"[number % 2] / f"{number}.png")
    keras.utils.set_random_seed(0)
    for name, filters in (("small", 2), ("large", 16)):
        inputs = keras.Input((None, None, 3))
        maps = keras.layers.Conv2D(filters, 3, activation="relu", name="early")(inputs)
        maps = keras.layers.Conv2D(2 * filters, 3, activation="relu", name="late")(maps)
        keras.Model(inputs, maps, name=name).save(folder / f"{name}.keras")
    return folder


def _words(place: Path) -> list[str]:
    backbones = [f"{place / name}.keras:pixels=unit" for name in ("small", "large")]
    return [str(place / "photos"), "--backbones", *backbones, "--image-sizes", "12", "16x20"]


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    out = place / "run"
    assert (
        app.main(["train", *_words(place), "--out", str(out), "--json", "--no-cache"]) == app.DONE
    )
    return out


def test_a_training_takes_what_the_search_recommends(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    search = BackboneSearch.from_dict(config["making"]["search"])
    chosen = search.recommended
    assert {row.size_name for row in search.rows} == {"12", "16x20"}
    settings = config["experiment"]
    assert settings["backbone"] == chosen.backbone
    size = chosen.image_size
    assert settings["image_size"] == (list(size) if isinstance(size, tuple) else size)
    assert settings["image_sizes"] == [12, [16, 20]]
    assert settings["pixels"] == ["unit"]
    assert len(settings["backbones"]) == 2  # so that `--config` chooses again
    model = tlkit.load(run / "model.keras")
    assert tlkit.models.backbone_of(model).layers[-1].name == chosen.layer
    assert model.count_params() == chosen.num_parameters
    assert tlkit.models.inspection.file_shape(model)[1:3] == (
        size if isinstance(size, tuple) else (size, size)
    )


def test_the_report_says_which_backbone_why_and_what_else_was_tried(run: Path) -> None:
    text = (run / "report.md").read_text()
    search = json.loads((run / "config.json").read_text())["making"]["search"]
    section = text.split("### Choice of the backbone")[1].split("## Training")[0]
    assert section.count("small.keras:pixels=unit") >= 2
    assert "large.keras:pixels=unit" in section
    assert section.count(" px |") == 1
    table = [line for line in section.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(BackboneSearch.from_dict(search).shown)
    assert "recommended" in section
    assert "(backbones.png)" in section
    assert Image.open(run / "backbones.png").size[0] > 500
    before = text
    (run / "report.md").unlink()
    tlkit.experiments.report(run)
    assert (run / "report.md").read_text().split("## Training")[0] == before.split("## Training")[0]


def test_a_probe_of_several_prints_and_draws(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = place / "figure.png"
    words = ["probe", *_words(place), "--max-mb", "0.001", "--json", "--out", str(figure)]
    assert app.main([*words, "--no-cache"]) == app.DONE
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["max_mb"] == 0.001
    chosen = [row for row in found["rows"] if row["recommended"]]
    assert [row["megabytes"] <= 0.001 for row in chosen] == [True]
    assert "Recommended under 0.001 MB: " in printed.err
    assert min(Image.open(figure).size) > 400


def test_training_stops_where_no_backbone_is_within_the_limit(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", *_words(place)[:3], "--image-size", "12", "--out", str(place / "none")]
    assert app.main([*words, "--max-mb", "1e-6", "--no-cache"]) == app.WRONG_ARGUMENTS
    said = capsys.readouterr().err
    assert "`--max-mb` must allow one of the backbones. No backbone is within 1e-06 MB" in said
    assert not (place / "none").exists()


def test_images_of_another_size_are_those_read_at_that_size(place: Path) -> None:
    data = load_images(Experiment(place / "photos", image_size=16))
    wanted = load_images(Experiment(place / "photos", image_size=9))
    resized = data.take(np.arange(5, 25)).at_size(9)
    np.testing.assert_array_equal(resized.images[:], wanted.images[5:25])
    np.testing.assert_array_equal(resized.images.digests, wanted.images.digests[5:25])
    again = resized.at_size(16)
    np.testing.assert_array_equal(again.images.digests, data.images.digests[5:25])
    copy = place / "more"
    shutil.copytree(place / "photos", copy, dirs_exist_ok=True)
    both = Experiment(place / "photos", add=(str(copy),), image_size=16)
    joined, small = load_images(both), load_images(replace(both, image_size=9))
    np.testing.assert_array_equal(joined.at_size(9).images[[3, 70]], small.images[[3, 70]])
    np.testing.assert_array_equal(joined.at_size(9).images.digests, small.images.digests)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbones": ("mobilenet",), "options": ("alpha=1",)}, "`options` must be left out with"),
        ({"backbones": ("mobilenet",), "pixels": ("unit",)}, "`pixels` must be left out with"),
        ({"backbones": ("mobilnet",)}, "Did you mean 'mobilenet'"),
        ({"backbones": ("mobilenet:alpha",)}, "name:option=value"),
        ({"backbones": ("mobilenet:beta=1",)}, "beta"),
        ({"backbones": ("starter:alpha=1",)}, "starter"),
        ({"backbones": ("mobilenet",), "weights": "no.h5"}, "`weights` must be"),
        ({"image_sizes": (8, 16)}, "must be at least 32x32"),
        ({"max_ms": 1, "recipe": "tutorial"}, "`recipe` must be one of .'best', 'fast'."),
        ({"max_mb": 1, "folds": 5}, "`folds` must be left out"),
    ],
)
def test_a_search_that_cannot_start_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        backbone_choice.prepare(Experiment("photos", **settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_ms": 0}, "`max_ms` must be a number above 0"),
        ({"image_sizes": (0,)}, "`image_sizes` must have a height of whole pixels"),
        ({"image_sizes": 96}, "`image_sizes` must be a list"),
        ({"backbones": "mobilenet"}, "`backbones` must be a list"),
    ],
)
def test_wrong_settings_of_a_search_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Experiment.from_dict({"data": "photos", **settings})


def test_candidates_have_the_sizes_of_the_experiment_or_their_own() -> None:
    def sizes(**settings) -> list[tuple[int, ...]]:
        return [
            each.image_sizes for each in backbone_choice.candidates(Experiment("x", **settings))
        ]

    names = ("mobilenet_v2", "xception", "starter:image_size=32")
    assert sizes(backbones=names) == [(160,), (299,), (32,)]
    assert sizes(backbones=names, image_size=96) == [(96,), (96,), (32,)]
    assert sizes(backbones=names, image_sizes=(96, 128)) == [(96, 128), (96, 128), (32,)]
    assert sizes(max_ms=1) == [(160,)]


def test_a_recipe_of_several_layers_selects_them_unless_there_is_a_limit(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    chosen = BackboneSearch.from_dict(config["making"]["search"]).recommended
    end = backbone_choice.end_recipe
    assert end(recipes.get("best"), chosen, limited=False).features == "auto"
    assert end(recipes.get("best"), chosen, limited=True).features == (chosen.layer,)
    assert end(recipes.get("fast"), chosen, limited=False).features == (chosen.layer,)


def test_inspect_takes_one_backbone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["inspect", *_words(place)]) == app.WRONG_ARGUMENTS
    assert "`--backbones`, image sizes and limits can't be inspected" in capsys.readouterr().err
