"""Call callbacks for epochs that are finished."""

from collections.abc import Mapping, Sequence

import keras


def notify(
    callbacks: Sequence[keras.callbacks.Callback],
    model: keras.Model,
    epochs: Sequence[Mapping[str, float]],
) -> None:
    """Call callbacks as for each epoch of a phase, after the phase is over.

    Meanwhile the optimizer of a compiled model has the learning rate of the epoch, which loggers
    read there.

    Args:
        callbacks: The callbacks.
        model: The classifier after the phase.
        epochs: The metrics of each epoch, at least one.
    """
    called = keras.callbacks.CallbackList(
        list(callbacks), model=model, epochs=len(epochs), steps=0, verbose=0
    )
    called.on_train_begin()
    for number, metrics in enumerate(epochs):
        if model.compiled and "learning_rate" in metrics:
            model.optimizer.learning_rate = metrics["learning_rate"]
        called.on_epoch_begin(number)
        called.on_epoch_end(number, dict(metrics))
    called.on_train_end(dict(epochs[-1]))
