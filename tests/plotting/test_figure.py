import io
import pickle

import matplotlib.figure
import numpy as np
from PIL import Image

import tlkit
from tlkit.plotting.figure import Figure


def test_a_notebook_gets_a_picture_twice_as_large_as_it_is_shown() -> None:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1])
    data, size = figure._repr_png_()
    assert Image.open(io.BytesIO(data)).size == (2 * size["width"], 2 * size["height"])


def test_it_is_a_matplotlib_figure_that_can_be_pickled() -> None:
    figure = pickle.loads(pickle.dumps(Figure(figsize=(3, 2))))
    assert isinstance(figure, matplotlib.figure.Figure)
    assert figure._repr_png_()[1] == {"width": 216, "height": 144}


def test_every_figure_of_the_package_is_one() -> None:
    evaluation = tlkit.evaluation.compute_metrics(
        np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]), class_names=["a", "b"]
    )
    for draw in (tlkit.plotting.confusion_matrix, tlkit.plotting.reliability_diagram):
        assert isinstance(draw(evaluation), Figure)
