"""Grad-CAM: which parts of an image a prediction depends on, as numbers and as a figure."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import matplotlib
import numpy as np

from tlkit._internal import arguments, arrays
from tlkit._internal.signatures import check_arguments
from tlkit.data.batches import Data
from tlkit.data.unlabelled import Images, read_array
from tlkit.errors import DataError
from tlkit.evaluation.evaluator import predict
from tlkit.models.inspection import (
    class_names,
    file_shape,
    is_multi_label,
    thresholds,
    value_range,
)
from tlkit.plotting import saliency_maps
from tlkit.plotting.captions import (
    FONT_SIZE,
    PANEL,
    fit_height,
    name_classes,
    to_drawable,
    write_caption,
    write_lines,
)
from tlkit.plotting.figure import Figure
from tlkit.plotting.image_grids import check_probabilities
from tlkit.plotting.label_sets import LabelErrors, choose_predictions
from tlkit.plotting.labels import finish, shorten
from tlkit.training.inputs import true_labels, validate_arrays

_BATCH_SIZE = 64
_MOST_HEAT = 0.85  # the opacity of the overlay where the evidence is 1
_DIMMED = 0.75  # brightness of the grey image, so that the colours stand out on white too
_COLOUR = np.array([1.0, 0.72, 0.1])  # amber: bright on grey, also for colour-blind readers
_HALF = 0.5
_FINE_GRID = 10  # rows or columns of maps whose cells are small enough to need no word
_SCALE_HEIGHT = 0.65  # inches of the colour scale and its text


@check_arguments
def grad_cam(
    model: keras.Model, images: Images, classes: Any = None, *, layer: str | None = None
) -> np.ndarray:
    """Return how much each pixel contributes to a class, `(count, height, width)`, from 0 to 1.

    Grad-CAM (Selvaraju et al., 2016, arXiv:1610.02391) sums the maps of the backbone's last
    layer, each weighted by how much it raises the logit of the class. Where these have fewer than
    5 x 5 cells, as those of images of 96 pixels have, finer maps before them are used that
    everything after them depends on, of up to twice as many rows. Patch tokens are used as maps
    too. If the head reads only the class token, the tokens that enter the last block with attention
    are used.

    Args:
        model: A classifier from build_classifier.
        images: Raw images in any form that `tlkit.predict` takes; all of one size.
        classes: The class index of each image, `(count,)`; by default the predicted class.
        layer: A layer that the head reads, whose maps to use, however coarse; by default the last
            one that returns maps or tokens, or a finer one before it.

    Raises:
        ConfigError: The head does not read this layer, or the layer's maps have a single position.
        DataError: The images don't fit the model.

    Examples:
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1))
        >>> grad_cam(model, np.zeros((3, 8, 8, 3), "uint8")).shape
        (3, 8, 8)
    """
    images = read_array(
        images,
        input_shape=model.input_shape,
        value_range=value_range(model),
        file_shape=file_shape(model),
    )
    probabilities = predict(model, images)  # which checks the images
    if classes is None:
        classes = probabilities.argmax(axis=1)
    classes = arrays.check_numbers("classes", classes, 0, 1)
    classes = _check_classes(np.atleast_1d(classes), probabilities.shape)
    return _compute_heat(model, images, classes, layer)[0]


def _compute_heat(
    model: keras.Model, images: np.ndarray, classes: np.ndarray, layer: str | None = None
) -> tuple[np.ndarray, tuple[int, int] | None]:
    """Return the result of `grad_cam`, and the rows and columns of the maps.

    Images and classes are known to fit the model.
    """
    explainer = saliency_maps.prepare(model, images[:1], classes[:1], layer)
    blocks = [slice(at, at + _BATCH_SIZE) for at in range(0, len(images), _BATCH_SIZE)]
    heat = [explainer.compute(images[block], classes[block]) for block in blocks]
    return np.concatenate(heat), explainer.grid


def blend_heat(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a grey image that turns amber where there is heat, in RGB from 0 to 1.

    Args:
        pixels: The image, from 0 to 1.
        heat: The result of `grad_cam` for the image, `(height, width)`.

    Examples:
        >>> blend_heat(np.zeros((2, 2)), np.ones((2, 2))).shape
        (2, 2, 3)
    """
    grey = (pixels if pixels.ndim == 2 else pixels[..., :3].mean(axis=-1))[..., None]
    share = _MOST_HEAT * heat[..., None]
    return np.asarray((1 - share) * _DIMMED * grey + share * _COLOUR)


def _check_classes(classes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    count, num_classes = shape
    is_index = classes.dtype.kind in "iu" and np.isin(classes, range(num_classes)).all()
    if classes.shape != (count,) or not is_index:
        raise DataError(
            f"`classes` must be an index from 0 to {num_classes - 1} for each of the {count} "
            f"images, got {np.array2string(classes, threshold=10)}."
        )
    return classes


@check_arguments
def grad_cam_grid(
    model: keras.Model,
    data: Data,
    *,
    count: int = 6,
    columns: int = 3,
    seed: int = 0,
    probabilities: np.ndarray | None = None,
) -> Figure:
    """Draw images and the evidence for their predictions; half of the images are misclassified.

    Each image is drawn twice: in its own colours, and in grey, with amber where `grad_cam` finds
    evidence. A line encloses evidence above 0.5. For a multi-label classifier, each image is drawn
    for one of its predicted classes, and half of these classes are wrong.

    Args:
        model: A classifier from build_classifier.
        data: Images and labels in any form.
        count: How many images to draw: half of them the misclassified ones with the highest
            confidence, the others a random choice of those classified correctly. If there are too
            few of one kind, more of the other are drawn.
        columns: Images per row.
        seed: The seed of the random choice.
        probabilities: The predicted probabilities of all images, `(count, classes)`, if they are
            known.

    Raises:
        ConfigError: A number is below 1, or the backbone returns no maps.
        DataError: Images, labels or probabilities don't fit the model or each other.
    """
    arguments.at_least("count", count, 1)
    arguments.at_least("columns", columns, 1)
    names = class_names(model)
    images, labels = validate_arrays(data, model)
    truth = true_labels(model, labels)
    check_probabilities(probabilities, (len(truth), len(names)))
    if probabilities is None:
        probabilities = predict(model, images)
    several = is_multi_label(model)
    if several:
        errors = LabelErrors.find(truth, probabilities, thresholds(model))
        chosen, classes = choose_predictions(errors, probabilities, count=count, seed=seed)
    else:
        chosen = _choose(truth, probabilities, count, seed)
        classes = probabilities[chosen].argmax(axis=1)
    shown, rows = images[chosen], probabilities[chosen]
    heat, grid = _compute_heat(model, shown, classes)
    figure, panels = _paired_panels(len(chosen), columns, _describe_cells(shown.shape[1:3], grid))
    for (above, below), image, index, row, class_index, image_heat in zip(
        panels, shown, chosen, rows, classes, heat, strict=True
    ):
        pixels = to_drawable(image)
        above.imshow(pixels, cmap="gray", vmin=0, vmax=1)
        name, share = names[class_index], float(row[class_index])
        if several:
            own = truth[index] == 1
            lines = (
                f"true {name_classes(names, own)}",
                f"class {shorten(name, 10)} ({100 * share:.0f} %)",
            )
            wrong = not own[class_index]
            write_lines(above, lines, wrong=wrong)
        else:
            write_caption(above, names[truth[index]], name, share)
        _draw_overlay(below, pixels, image_heat)
    captioned = [above for above, _ in panels]
    fit_height(figure, captioned, columns, num_images=2, more=_SCALE_HEIGHT)
    return finish(figure)


def _choose(truth: np.ndarray, probabilities: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the indices of the most confident errors, then of random correct images."""
    correct = probabilities.argmax(axis=1) == truth
    wrong = np.flatnonzero(~correct)
    wrong = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]
    others = np.random.default_rng(seed).permutation(np.flatnonzero(correct))
    wrong = wrong[: max(count // 2, count - len(others))]
    return np.concatenate([wrong, others[: count - len(wrong)]])


def _describe_cells(size: Sequence[int], grid: tuple[int, int] | None) -> str:
    """Return how many pixels a cell of coarse maps covers, as text; "" for other maps."""
    if grid is None or min(grid) >= _FINE_GRID:
        return ""
    height, width = (round(side / cells) for side, cells in zip(size, grid, strict=True))
    rows, columns = grid
    return f"{rows} x {columns} cells, each of {height} x {width} pixels"


def _paired_panels(
    count: int, columns: int, about_cells: str
) -> tuple[Figure, list[tuple[Any, Any]]]:
    """Return a figure with pairs of panels, one above the other, and a colour scale at its foot."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    size = (PANEL * max(columns, 2), (2 * PANEL + 0.65) * rows + _SCALE_HEIGHT)
    figure = Figure(figsize=size, layout="compressed")
    panels = figure.subplots(2 * rows, columns, squeeze=False)
    for panel in panels.ravel():
        panel.axis("off")
    _draw_scale(figure, panels, about_cells)
    positions = [divmod(index, columns) for index in range(count)]
    pairs = [(panels[2 * row, column], panels[2 * row + 1, column]) for row, column in positions]
    for above, _ in pairs:
        above.axis("on")
    return figure, pairs


def _draw_overlay(panel: Any, pixels: np.ndarray, heat: np.ndarray) -> None:
    """Draw an image in grey and its heat in amber, both from 0 to 1."""
    panel.imshow(blend_heat(pixels, heat), vmin=0, vmax=1)
    if heat.min() < _HALF < heat.max():
        panel.contour(heat, [_HALF], colors="white", linewidths=1.2)


def _draw_scale(figure: Figure, panels: Any, about_cells: str) -> None:
    """Draw the colours of evidence from 0 to 1, on an image of middle grey."""
    shades = blend_heat(np.full((1, 256), 0.5), np.linspace(0, 1, 256)[None])
    mappable = matplotlib.cm.ScalarMappable()
    height = _SCALE_HEIGHT / 4 / figure.get_figheight()
    bar = figure.colorbar(
        mappable, ax=panels, location="bottom", fraction=height, aspect=25, pad=0.01
    )
    panel = bar.ax
    panel.clear()
    panel.imshow(shades, aspect="auto", extent=(0, 1, 0, 1))
    panel.axvline(_HALF, color="white", linewidth=1.2)
    panel.set_yticks([])
    panel.set_xticks([0, _HALF, 1], ["0", "0.5", "1"], fontsize=FONT_SIZE)
    lines = filter(None, ("evidence for the predicted class", about_cells))
    panel.set_xlabel("\n".join(lines), fontsize=FONT_SIZE)
