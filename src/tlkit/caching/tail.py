"""A classifier's tail as a model of its own: the same layers and variables, trained faster."""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from typing_extensions import override

from tlkit._internal.keras_private import flatten_layers, seed_generators
from tlkit.caching import kernels
from tlkit.caching.batching import Feed, NextView, dataset
from tlkit.caching.partition import Cut
from tlkit.models.flat_graph import Part

_STEPS_A_CALL = 32
WORTH_COMPILING = 1000
"""Steps from which on XLA is used: it compiles for about 10 seconds, and saves 10 ms a step."""

_BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
)


class Tail(Part):
    """What comes after a cut, as a model from features to probabilities.

    Its variables are the classifier's own. Callbacks that belong to the classifier see that one,
    and stop this one through it.

    Args:
        classifier: The whole model.
        cut: Where it was cut.
        cheaper: Whether to compute layers in cheaper ways where those are known.
        steps: How many steps it will be trained for.
    """

    def __init__(self, classifier: keras.Model, cut: Cut, *, cheaper: bool, steps: int) -> None:
        functions = _cheaper(cut, compiled=True) if cheaper else _own(cut)
        self.compiled_by_xla = cheaper and steps >= WORTH_COMPILING and _fit_for_xla(cut, functions)
        if cheaper and not self.compiled_by_xla:
            functions = _cheaper(cut, compiled=False)
        super().__init__(cut.tail, cut.tensors, cut.graph.outputs, functions=functions, name="tail")
        self._classifier = weakref.ref(classifier)  # else it would be a layer of this model
        self._given = cut.dtypes
        self.history = None  # fit returns it; the classifier's callbacks write the classifier's

    @override
    def call(self, features: Any, training: bool | None = None) -> Any:
        """Return the classifier's output for features, kept in whatever dtype."""
        tensors = [
            keras.ops.cast(tensor, dtype)
            for tensor, dtype in zip(keras.tree.flatten(features), self._given, strict=True)
        ]
        return super().call(tensors, training=training)[0]

    @property
    def trainable_weights(self) -> list[Any]:
        """What is trained, in the classifier's order: Keras' optimizer averages by place."""
        place = {id(weight): index for index, weight in enumerate(self._whole.trainable_weights)}
        return sorted(super().trainable_weights, key=lambda weight: place[id(weight)])

    @property
    def _whole(self) -> Any:
        return self._classifier()

    @property
    def stop_training(self) -> bool:
        """Whether a callback told the classifier to stop."""
        return bool(self._whole.stop_training)

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self._whole.stop_training = value

    def fit_as(
        self,
        feed: Feed,
        *,
        validation: Feed | None,
        epochs: int,
        loss: Any,
        metrics: Sequence[Any],
        class_weight: Mapping[int, float] | None,
        callbacks: Sequence[keras.callbacks.Callback],
        first: Sequence[keras.callbacks.Callback],
        last: Sequence[keras.callbacks.Callback],
    ) -> None:
        """Run Keras' fit on features, with the compiled classifier's optimizer.

        Args:
            feed: The training features.
            validation: Those to be measured after every epoch.
            epochs: How often to go over them.
            loss: As for compile.
            metrics: As for compile.
            class_weight: As for fit.
            callbacks: The user's; where one of them looks at batches, steps run one by one.
            first: Callbacks to be told before the user's; one call for many batches will do.
            last: The same, to be told after them.
        """
        classifier = self._whole
        watched = any(_watches_batches(callback) for callback in callbacks)
        self.compile(
            optimizer=classifier.optimizer,
            loss=loss,
            metrics=list(metrics),
            auto_scale_loss=False,  # the classifier's optimizer has been wrapped where need be
            steps_per_execution=1 if watched else min(_STEPS_A_CALL, feed.steps),
            jit_compile=True if self.compiled_by_xla else "auto",
        )
        turn = NextView(len(feed.views))
        seen = keras.callbacks.CallbackList(
            [*first, *callbacks, *last, turn],
            add_history=True,
            model=classifier,
            epochs=epochs,
            steps=feed.steps,
            verbose=0,
        )
        self.fit(
            dataset(feed, turn),
            epochs=epochs,
            validation_data=None if validation is None else dataset(validation, NextView(1)),
            class_weight=None if class_weight is None else dict(class_weight),
            shuffle=False,  # the dataset does it
            callbacks=seen,
            verbose=0,
        )


def _own(cut: Cut) -> list[Any]:
    return [step.operation for step in cut.tail]


def _cheaper(cut: Cut, *, compiled: bool) -> list[Any]:
    """Return what to call in each step of the tail: what is cheaper, or else its own layer."""
    functions = []
    for step, shape in zip(cut.tail, cut.inputs, strict=True):
        rewrite = kernels.find(step.operation, shape, compiled=compiled)
        functions.append(step.operation if rewrite is None else rewrite.make(step.operation, shape))
    return functions


def _fit_for_xla(cut: Cut, functions: Sequence[Any]) -> bool:
    """Tell whether XLA makes steps faster and changes no number but by rounding.

    On a processor its convolutions are many times slower than TensorFlow's own, so none may be
    left, and a head alone gains nothing. It draws other random numbers from the same seed.
    """
    left = [layer for layer in functions if isinstance(layer, keras.Layer)]
    parts = flatten_layers(*left)
    return (
        keras.backend.backend() == "tensorflow"
        and any(
            function is not step.operation
            for function, step in zip(functions, cut.tail, strict=True)
        )
        and not any("Conv" in type(part).__name__ for part in parts)
        and not any(seed_generators(part) for part in parts)
    )


def _watches_batches(callback: keras.callbacks.Callback) -> bool:
    if isinstance(callback, keras.callbacks.ModelCheckpoint) and callback.save_freq == "epoch":
        return False
    return any(
        hook in vars(callback)
        or getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook)
        for hook in _BATCH_HOOKS
    )
