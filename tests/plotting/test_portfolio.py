import io
import itertools

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

import tlkit
from tlkit.plotting.captions import CORRECT, WRONG
from tlkit.plotting.portfolio import portfolio_picture


def _draw(model: keras.Model, data: tuple[np.ndarray, np.ndarray], **texts: str) -> Figure:
    words = {"title": "Letters", "task": "Distinguishes letters.", **texts}
    numbers = {"accuracy": "50 %", "interval": "40 to 60 %", "time": "3 s"}
    return portfolio_picture(model, data, tlkit.evaluate(model, data), numbers=numbers, **words)


def test_the_picture_frames_each_image_by_whether_its_prediction_is_correct(
    model: keras.Model, noise: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = noise
    predicted = tlkit.predict(model, images).argmax(axis=1)
    figure = _draw(model, noise)
    order = np.random.default_rng(0).permutation(30)[:12]
    assert len(figure.axes) == 12
    for panel, index in zip(figure.axes, order, strict=True):
        drawn = panel.images[0].get_array()
        np.testing.assert_allclose(drawn, images[index, ..., 0] / 255, atol=1e-6)
        wanted = CORRECT if predicted[index] == labels[index] else WRONG
        color = "#" + "".join(
            f"{round(255 * v):02x}" for v in panel.spines["top"].get_edgecolor()[:3]
        )
        assert color == wanted
    assert {"50 %", "40 to 60 %", "3 s", "Letters"} <= {each.get_text() for each in figure.texts}


@pytest.mark.parametrize("title", ["a long title of words " * 9, "MNIST WITH MOBILENETV2: MWMW"])
def test_long_titles_stay_left_of_the_images_and_do_not_overlap(
    model: keras.Model, noise: tuple[np.ndarray, np.ndarray], title: str
) -> None:
    figure = _draw(model, noise, title=title, task="a long task " * 40)
    figure.savefig(io.BytesIO())
    boxes = [each.get_window_extent() for each in figure.texts]
    left = min(panel.get_window_extent().x0 for panel in figure.axes)
    assert max(box.x1 for box in boxes) < left
    for above, below in itertools.pairwise(boxes):
        assert below.y1 <= above.y0 + 2
    assert min(box.y0 for box in boxes) >= 0
