"""A backbone from a file or a preset, from the command line to a report and back."""

import json
from pathlib import Path

import keras
import pytest

import tlkit
from tlkit.cli import app
from tlkit.errors import ConfigError
from tlkit.experiments import recipes
from tlkit.experiments.backbone_choice import candidates, prepare
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.loading import resolve
from tlkit.models.pixels import SIGNED, UNIT


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ViT of KerasHub with an image converter."""
    hub = pytest.importorskip("keras_hub", reason="the extra 'hub' is not installed")
    folder = tmp_path_factory.mktemp("presets") / "vit"
    hub.models.ViTBackbone(
        image_shape=(16, 16, 3), patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8
    ).save_to_preset(str(folder))
    converter = hub.layers.ViTImageConverter(image_size=(16, 16), scale=1 / 127.5, offset=-1)
    converter.save_to_preset(str(folder))
    return folder


@pytest.fixture
def file(small_backbone: keras.Model, tmp_path: Path) -> str:
    small_backbone.save(tmp_path / "small.keras")
    return str(tmp_path / "small.keras")


def test_a_preset_is_trained_reported_and_used(
    noise_photos: Path, preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["train", str(noise_photos), "--backbone", str(preset), "--out", str(out)]
    assert app.main(words) == app.DONE
    printed = capsys.readouterr().out
    assert (
        f"backbone {preset} (a preset of KerasHub): images of 16 x 16 pixels, "
        "values from -1 to 1 (its image converter)"
    ) in printed
    saved = json.loads((out / "config.json").read_text())["experiment"]
    assert (saved["backbone"], saved["image_size"]) == (str(preset), 16)
    report = (out / "report.html").read_text()
    assert (
        f"The backbone is {preset} (a preset of KerasHub), for images of 16 x 16 pixels" in report
    )
    assert "It started from its own weights." in report
    assert "ImageNet weights" not in report
    for words in (["report", str(out)], ["evaluate", str(out), str(noise_photos)]):
        assert app.main(words) == app.DONE
    assert app.main(["predict", str(out), str(noise_photos / "a")]) == app.DONE


def test_the_pixels_of_a_file_are_stated(
    noise_photos: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["inspect", str(noise_photos), "--backbone", file]
    assert app.main(words) == app.WRONG_ARGUMENTS
    assert "`--pixels` must be what the backbone takes" in capsys.readouterr().err
    assert app.main([*words, "--pixels", "-1", "1"]) == app.DONE
    printed = capsys.readouterr().out
    assert "images of 16 x 16 pixels, values from -1 to 1 (as was set)" in printed
    experiment = Experiment(noise_photos, backbone=file, pixels=("-1", "1"))
    assert experiment.to_dict()["pixels"] == ["signed"]
    assert Experiment.from_dict(experiment.to_dict()).pixel_format == SIGNED


@pytest.fixture
def tokens(tmp_path: Path) -> str:
    """A backbone of sixteen tokens, of which nothing tells how many are patches."""
    image = keras.Input((16, 16, 3))
    x = keras.layers.Dense(8, name="dense")(keras.layers.Reshape((16, 48))(image))
    keras.Model(image, x, name="tokens").save(tmp_path / "tokens.keras")
    return str(tmp_path / "tokens.keras")


def test_the_tokens_before_the_patches_can_be_set(
    noise_photos: Path, tokens: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["inspect", str(noise_photos), "--backbone", tokens, "--pixels", "unit"]
    assert app.main(words) == app.WRONG_ARGUMENTS
    assert "`--num-prefix-tokens` must be the number of tokens" in capsys.readouterr().err
    assert app.main([*words, "--num-prefix-tokens", "1"]) == app.DONE
    with pytest.raises(ConfigError, match="`num_prefix_tokens` must be left out with several"):
        prepare(Experiment("photos", backbones=("mobilenet",), num_prefix_tokens=0))
    with pytest.raises(ConfigError, match="`num_prefix_tokens` must be a whole number"):
        Experiment("photos", num_prefix_tokens=-1)
    [candidate] = candidates(
        Experiment("photos", backbones=(f"{tokens}:pixels=unit,num_prefix_tokens=0",))
    )
    assert (candidate.num_prefix_tokens, candidate.options) == (0, {})
    assert str(candidate) == f"{tokens}:pixels=unit,num_prefix_tokens=0"


@pytest.mark.slow
def test_a_training_and_a_search_take_the_tokens_before_the_patches(
    noise_photos: Path, tokens: str, tmp_path: Path
) -> None:
    named = ["--backbone", tokens, "--pixels", "unit", "--num-prefix-tokens", "1"]
    listed = ["--backbones", f"{tokens}:pixels=unit,num_prefix_tokens=0"]
    for number, words in ((1, named), (0, listed)):
        out = tmp_path / str(number)
        assert app.main(["train", str(noise_photos), *words, "--out", str(out)]) == app.DONE
        saved = json.loads((out / "config.json").read_text())["experiment"]
        assert saved["num_prefix_tokens"] == number
        backbone = tlkit.models.backbone_of(tlkit.load(out / "model.keras"))
        assert backbone.get_config()["num_prefix_tokens"] == number
    assert app.main(["probe", str(noise_photos), *named]) == app.DONE


def test_pixels_may_be_stated_in_several_ways() -> None:
    stated = [("unit",), "unit", (0, 1), ["0", "1"], UNIT]
    experiments = [Experiment("photos", backbone="a.keras", pixels=each) for each in stated]
    assert {experiment.pixels for experiment in experiments} == {("unit",)}
    with pytest.raises(ConfigError, match="Did you mean 'torch'"):
        Experiment("photos", pixels=("torc",))
    with pytest.raises(ConfigError, match="Save a model first"):
        Experiment("photos", backbone=keras.Sequential())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "mobilnet"}, "Did you mean 'mobilenet'"),
        ({"backbone": "missing.keras"}, "no such file"),
        ({"image_size": 20, "pixels": ("unit",)}, "must be .16, 16., what the backbone takes"),
        ({"weights": "starter", "pixels": ("unit",)}, "has its own"),
        ({"options": ("alpha=1",)}, "must be left out if the backbone is a file"),
    ],
    ids=str,
)
def test_a_training_that_cannot_start_is_refused(
    settings: dict[str, object], message: str, file: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(Experiment("photos", **{"backbone": file, **settings}))


def test_an_option_of_the_backbone_is_named_as_it_is_typed(
    noise_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["inspect", str(noise_photos), "--backbone", "mobilenet", "--options", "alfa=0.5"]
    assert app.main(words) == app.WRONG_ARGUMENTS
    assert "`--options` must be one of" in capsys.readouterr().err


def test_a_recipe_takes_a_model(noise_photos: Path, small_backbone: keras.Model) -> None:
    data = tlkit.sources.from_folder(noise_photos, image_size=16)
    recipe = recipes.get("few_images", backbone=small_backbone, epochs=(1, 1))
    model = recipe.build(data, pixels="unit")
    assert tlkit.models.backbone_of(model) is small_backbone
    assert model.get_layer("gray_to_rgb_resize").size == (16, 16)
    with pytest.raises(ConfigError, match="the backbone is a model"):
        recipe.build(data)
