from collections.abc import Callable

import keras
import numpy as np
from tests.samples import make_noise, small_classifier

from tlkit import Phase, TwoPhaseTrainer, freezing

TRAIN = """
import hashlib
from tests.training.test_determinism import train
print(hashlib.sha256(b"".join(weight.tobytes() for weight in train())).hexdigest())
"""


def train() -> list[np.ndarray]:
    """Return the weights of a model with everything random that a training can have."""
    keras.utils.set_random_seed(3)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, 2, activation="relu", name="stem")(image)
    x = keras.layers.Dropout(0.3)(x)
    x = keras.layers.Conv2D(8, 3, activation="relu", name="top")(x)
    model = small_classifier(keras.Model(image, x), dropout=0.2, seed=None)
    crop = keras.layers.RandomTranslation(0.2, 0.2)
    trainer = TwoPhaseTrainer(
        head=Phase(epochs=2),
        fine_tune=Phase(epochs=2, freeze=freezing.first(1), augmentation=(crop,)),
        seed=1,
    )
    trainer.fit(model, make_noise(48), verbose=False)
    return model.get_weights()


def test_a_seed_gives_the_same_weights_in_this_process_and_in_another_one(
    run_python: Callable[..., str],
) -> None:
    first, second = run_python(TRAIN), run_python(TRAIN, PYTHONHASHSEED="7")
    assert first == second
    for weight, same in zip(train(), train(), strict=True):
        np.testing.assert_array_equal(weight, same)
