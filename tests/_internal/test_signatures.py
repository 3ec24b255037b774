import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.test_public import public_callables

from tlkit import TwoPhaseTrainer
from tlkit.errors import ConfigError
from tlkit.experiments import Recipe

IMAGES, LABELS = np.zeros((2, 8, 8), "uint8"), np.zeros(2, int)
METHODS = {"fit": TwoPhaseTrainer.fit, "train": Recipe.train, "build": Recipe.build}


def taking_data() -> dict[str, Callable[..., Any]]:
    """Return every public function, and some methods, that takes images and labels as `data`."""
    found: dict[str, Callable[..., Any]] = dict(METHODS)
    for path, function in public_callables().items():
        is_checked = hasattr(function, "__wrapped__") and inspect.isfunction(function)
        if is_checked and "data" in inspect.signature(function).parameters:
            found[path.rpartition(".")[2]] = function
    return found


@pytest.mark.parametrize("name", taking_data())
def test_images_and_labels_as_in_keras_are_answered_with_the_call_to_write(name: str) -> None:
    function = taking_data()[name]
    parameters = list(inspect.signature(function).parameters)
    names = parameters[: parameters.index("data")]
    before = [None] * len(names)
    written = ", ".join(each for each in names if each != "self")
    for call in (
        lambda: function(*before, IMAGES, LABELS),
        lambda: function(*before, IMAGES.tolist(), LABELS.tolist()),
        lambda: function(*before, IMAGES, y=LABELS),
        lambda: function(*before, x=IMAGES, y=LABELS),
    ):
        with pytest.raises(ConfigError, match="`data` must be images and labels as one") as caught:
            call()
        wanted = rf"Write {name}\(({written}, )?(\(images, labels\)|tlkit.sources.from_arrays\()"
        assert re.search(wanted, str(caught.value)), str(caught.value)


def test_functions_take_data_are_many() -> None:
    assert {"evaluate", "probe", "calibrate", "audit", "train_phase", "fit"} <= taking_data().keys()


def test_another_wrong_call_is_answered_by_python() -> None:
    calibrate = taking_data()["calibrate"]
    with pytest.raises(TypeError, match="too many positional arguments"):
        calibrate(None, (IMAGES, LABELS), 32)
    with pytest.raises(TypeError, match="unexpected keyword argument 'y'"):
        calibrate(None, (IMAGES, LABELS), y=3)
