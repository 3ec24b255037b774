import keras
import numpy as np

from tlkit._internal.gradients import compute_gradient


def test_the_gradient_is_that_of_calculus() -> None:
    values = np.array([[1.0, -2.0], [0.5, 3.0]], "float32")
    tensor = keras.ops.convert_to_tensor(values)
    gradient = compute_gradient(lambda x: keras.ops.sum(x**3), tensor)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(gradient), 3 * values**2, rtol=1e-6)


def test_it_is_zero_where_the_number_does_not_depend_on_the_tensor() -> None:
    layer = keras.layers.Dense(1)
    layer.build((None, 2))
    gradient = compute_gradient(
        lambda _: keras.ops.sum(layer(keras.ops.ones((1, 2)))), keras.ops.ones((3, 2))
    )
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(gradient), np.zeros((3, 2)))
