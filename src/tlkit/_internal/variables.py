"""Keras variables that are put back to what they were."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras


@contextmanager
def restored(variables: Sequence[Any]) -> Iterator[None]:
    """Put variables back afterwards, whatever is done to them meanwhile.

    Args:
        variables: Weights, statistics, states of random numbers.
    """
    kept = [keras.ops.convert_to_numpy(variable).copy() for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)
