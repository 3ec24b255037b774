"""The parts of a classifier, of Keras or exported, that predicting image files needs.

This module does not import Keras, so that an exported file predicts without it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class FileClassifier:
    """A classifier as `predict_files` uses it.

    Attributes:
        class_names: The name of each class.
        thresholds: For multi-label, the lowest probability at which an image has each class; None
            otherwise.
        input_shape: The shape of a batch of images, as files are decoded.
        value_range: The values of black and white; None means (0, 255).
        has_ood_score: Whether `run` also returns an out-of-distribution score.
        run: Returns the probabilities of a batch, `(count, classes)`, and the score as a last
            column.
    """

    class_names: tuple[str, ...]
    thresholds: np.ndarray | None
    input_shape: tuple[int | None, ...]
    value_range: tuple[float, float] | None
    has_ood_score: bool
    run: Callable[[np.ndarray], np.ndarray]
