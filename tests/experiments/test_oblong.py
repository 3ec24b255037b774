from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tlkit
from tlkit.data import decoding
from tlkit.experiments import Experiment, load_classifier, run, write_predictions

SIZE = (40, 64)


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of 80 x 128 pixels with a bright bar on the left or on the right."""
    folder = tmp_path_factory.mktemp("oblong") / "photos"
    random = np.random.default_rng(0)
    for number in range(40):
        pixels = random.integers(0, 90, (80, 128, 3), "uint8")
        side = ("left", "right")[number % 2]
        pixels[:, slice(8, 40) if side == "left" else slice(88, 120)] += 160
        (folder / side).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / side / f"{number}.png")
    return folder


@pytest.mark.slow
def test_oblong_images_go_from_files_to_a_report_and_back(bars: Path, tmp_path: Path) -> None:
    experiment = Experiment(bars, image_size="40x64", weights="starter")
    result = run(experiment, tmp_path / "run")
    assert result.split.train.images.shape[1:] == (*SIZE, 3)
    assert result.evaluation.accuracy == 1
    report = (tmp_path / "run" / "report.md").read_text()
    assert "read at 40 x 64 pixels (height x width)" in report
    assert "images of another aspect ratio are stretched to this one" in report
    assert "Grad-CAM could not be drawn" not in report
    assert "40 x 64 px, mobilenet_v2 starter" in (tmp_path / "run" / "config.json").read_text()
    model, settings = load_classifier(tmp_path / "run", data="")
    assert (model.input_shape[1:3], settings.image_size) == (SIZE, SIZE)
    backbone = tlkit.models.backbone_of(model)
    assert backbone.input_shape[1:3] == SIZE
    seen: list = []
    write_predictions(tmp_path / "run", bars, on_prediction=seen.append)
    assert {each.path.parent.name for each in seen if each.classes[0][0] == "left"} == {"left"}
    assert tlkit.plotting.saliency.grad_cam(model, result.split.test.images[:2]).shape[1:] == SIZE


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_an_image_of_this_aspect_ratio_is_not_distorted(fit: str, tmp_path: Path) -> None:
    pixels = np.zeros((80, 128), "uint8")
    pixels[20:60, 44:84] = 255  # a square of half the height in the middle
    Image.fromarray(pixels).save(tmp_path / "square.png")
    read = decoding.decode(tmp_path / "square.png", SIZE, fit=fit, channels=1)[..., 0]
    bright = read > 128
    assert (read[0, 0], read[20, 32]) == (0, 255)
    assert (bright.any(axis=1).sum(), bright.any(axis=0).sum()) == (20, 20)


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_crop_and_pad_keep_circles_round_in_any_shape(fit: str, tmp_path: Path) -> None:
    pixels = np.zeros((90, 60), "uint8")
    pixels[35:55, 20:40] = 255
    Image.fromarray(pixels).save(tmp_path / "tall.png")
    read = decoding.decode(tmp_path / "tall.png", SIZE, fit=fit, channels=1)[..., 0]
    bright = read > 128
    height, width = bright.any(axis=1).sum(), bright.any(axis=0).sum()
    assert abs(int(height) - int(width)) <= 1
    assert height > 5
