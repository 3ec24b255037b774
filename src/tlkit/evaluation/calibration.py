"""Make a classifier's probabilities mean what they say, by one number fitted on other images."""

from dataclasses import dataclass

import keras

from tlkit._internal.tables import render_text
from tlkit.data.batches import Data
from tlkit.evaluation.evaluator import evaluate
from tlkit.evaluation.reliability import fit_temperature
from tlkit.models.inspection import probabilities_of

_LEAST_WRONG = 10


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What `calibrate` found; `print(calibration)` shows it.

    Attributes:
        wrong: How many validation images were called wrongly.
        temperature: What the logits are divided by now; 1 where fewer than ten were wrong.
        loss: The cross-entropy on the validation images, before and after.
        error: The expected calibration error on them, before and after, 0 to 1.
    """

    wrong: int
    temperature: float
    loss: tuple[float, float]
    error: tuple[float, float]

    def __rich__(self) -> str:
        if self.wrong < _LEAST_WRONG:
            return (
                f"temperature 1: {self.wrong} wrong calls on the validation images are too few to "
                f"fit one, {_LEAST_WRONG} would do"
            )
        return (
            f"temperature {self.temperature:.3f}: on the validation images the loss was "
            f"{self.loss[0]:.4f} and is {self.loss[1]:.4f}, the calibration error was "
            f"{100 * self.error[0]:.2f} % and is {100 * self.error[1]:.2f} %"
        )

    def __str__(self) -> str:
        return render_text(self)


def calibrate(model: keras.Model, data: Data) -> Calibration:
    """Set a classifier's temperature, in place; its calls stay the same, its sureness changes.

    Temperature scaling: Guo et al., 2017 (arXiv:1706.04599). Of images that are all called rightly
    it would make a classifier endlessly sure, so at least ten wrong calls are asked for.

    The temperature is part of the model from then on, in a saved file too. Calibrate last:
    training again forgets it. Calibrating again starts from none.

    Args:
        model: A classifier from build_classifier.
        data: Images and labels in any form, on which it was not trained. Not the test images
            either: their metrics would be too good.

    Raises:
        DataError: Images or labels don't fit the model.

    Examples:
        >>> import numpy as np
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> model = build_classifier(backbone, 2, pixels=(0, 1))
        >>> images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), "uint8")
        >>> found = calibrate(model, (images, np.arange(20) % 2))
        >>> found.loss[1] <= found.loss[0]
        True
    """
    _set_temperature(model, 1.0)
    before = after = evaluate(model, data)
    temperature = 1.0
    wrong = round(before.count * (1 - before.accuracy))
    if wrong >= _LEAST_WRONG:
        temperature = fit_temperature(before.labels, before.probabilities)
        _set_temperature(model, temperature)
        after = evaluate(model, data)
    return Calibration(
        wrong=wrong,
        temperature=temperature,
        loss=(before.loss, after.loss),
        error=(before.calibration_error, after.calibration_error),
    )


def _set_temperature(model: keras.Model, temperature: float) -> None:
    probabilities_of(model).temperature = temperature
    model.make_predict_function(force=True)  # the compiled one has the old temperature in it
