"""A picture of a classifier for a profile page: its task, example images and three numbers."""

import textwrap
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tlkit._internal.signatures import check_arguments
from tlkit.data.batches import Data
from tlkit.evaluation.metrics import Evaluation
from tlkit.models.inspection import value_range
from tlkit.plotting.captions import CORRECT, WRONG, shrink, to_drawable
from tlkit.plotting.figure import Figure
from tlkit.plotting.labels import finish, shorten
from tlkit.training.inputs import validate_arrays

_SIZE = (8.0, 4.2)  # inches; 1,200 x 630 pixels at 150 dots per inch, the size of link previews
_ROWS, _COLUMNS = 3, 4
_TITLE_LENGTH, _TASK_LENGTH = 24, 40  # characters per line
_MAX_LINES = 7  # of title and task together
_LEFT = 0.46  # of the width, where the images begin


@check_arguments
def portfolio_picture(
    model: keras.Model,
    data: Data,
    evaluation: Evaluation,
    *,
    title: str,
    task: str,
    numbers: Mapping[str, str],
    seed: int = 0,
) -> Figure:
    """Draw title, task and key numbers of a classifier beside random test images.

    The frame of an image is blue if it is classified correctly, and orange otherwise.

    Args:
        model: The classifier.
        data: The test images and their labels.
        evaluation: The evaluation of the classifier on these images.
        title: A title of a few words.
        task: One sentence that describes the classifier's task.
        numbers: Up to three numbers as text, by their names.
        seed: The seed of the choice of images.
    """
    images, _ = validate_arrays(data, model)
    chosen = np.random.default_rng(seed).permutation(len(images))[: _ROWS * _COLUMNS]
    figure = Figure(figsize=_SIZE)
    _write_text(figure, title, task)
    for row, (name, value) in enumerate(list(numbers.items())[:3]):
        height = 0.49 - 0.16 * row
        figure.text(0.04, height, value, fontsize=17, fontweight="bold", va="top", color=CORRECT)
        figure.text(0.04, height - 0.09, name, fontsize=9.5, va="top", color="0.35")
    grid = figure.add_gridspec(
        _ROWS, _COLUMNS, left=_LEFT, right=0.98, top=0.96, bottom=0.04, wspace=0.06, hspace=0.06
    )
    bounds = value_range(model) or (float(images[chosen].min()), float(images[chosen].max()))
    right = _find_correct(evaluation)
    for place, index in enumerate(chosen):
        panel = figure.add_subplot(grid[divmod(place, _COLUMNS)])
        panel.imshow(to_drawable(images[int(index)], bounds), cmap="gray", vmin=0, vmax=1)
        panel.set(xticks=[], yticks=[])
        for edge in panel.spines.values():
            edge.set(color=CORRECT if right[index] else WRONG, linewidth=2.5)
    return finish(figure)


def _write_text(figure: Figure, title: str, task: str) -> None:
    lines = textwrap.wrap(shorten(title, 2 * _TITLE_LENGTH), _TITLE_LENGTH)
    written = figure.text(0.04, 0.95, "\n".join(lines), fontsize=17, fontweight="bold", va="top")
    canvas: Any = FigureCanvasAgg(figure)
    shrink(written, (_LEFT - 0.06) * figure.bbox.width, canvas.get_renderer())
    below = 0.93 - 0.075 * len(lines)
    wrapped = textwrap.wrap(shorten(task, (_MAX_LINES - len(lines)) * _TASK_LENGTH), _TASK_LENGTH)
    figure.text(0.04, below, "\n".join(wrapped), fontsize=9.5, va="top", color="0.25")


def _find_correct(evaluation: Evaluation) -> np.ndarray:
    """Return whether the prediction for each image is correct."""
    if not evaluation.is_multi_label:
        return np.asarray(evaluation.probabilities.argmax(axis=1) == evaluation.labels)
    least = np.array([each.threshold for each in evaluation.classes])
    return np.asarray(((evaluation.probabilities >= least) == (evaluation.labels == 1)).all(axis=1))
