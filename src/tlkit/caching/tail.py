"""A classifier's tail as a separate model: the same layers and variables, trained faster."""

# How a tail is trained instead of the whole classifier. Its steps call the classifier's own layers
# with the classifier's own variables, so training changes both. The result must be equal to that of
# training the whole classifier. So batches come in Keras' order, the optimizer is the classifier's
# and gets the variables in the classifier's order, and callbacks get the classifier as their model,
# so that they read, save and stop the whole classifier. It is faster because the tail has fewer
# layers, Keras runs 32 steps in one call if no callback has hooks for batches, and layers on small
# maps are computed in cheaper ways.

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
from typing_extensions import override

from tlkit._internal.keras_private import flatten_layers, seed_generators
from tlkit.caching import kernels
from tlkit.caching.batching import FeatureDataset, NextView, make_dataset
from tlkit.caching.partition import Cut
from tlkit.models.flat_graph import Part

_STEPS_PER_CALL = 32
MIN_STEPS_FOR_XLA = 1000
"""The least number of steps for XLA, which compiles for about 10 s and saves 10 ms per step."""

_BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
)


class Tail(Part):
    """The layers after a cut, as a model from features to probabilities.

    Args:
        classifier: The whole model.
        cut: The cut of the classifier.
        rewrites: Whether to compute layers in cheaper ways (`kernels.py`).
        steps: The number of steps that the tail will be trained for.
    """

    def __init__(self, classifier: keras.Model, cut: Cut, *, rewrites: bool, steps: int) -> None:
        functions = _rewrite_layers(cut, compiled=True) if rewrites else _list_layers(cut)
        self.uses_xla = rewrites and steps >= MIN_STEPS_FOR_XLA and _gains_from_xla(cut, functions)
        if rewrites and not self.uses_xla:
            functions = _rewrite_layers(cut, compiled=False)
        super().__init__(cut.tail, cut.tensors, cut.graph.outputs, functions=functions, name="tail")
        self._classifier = weakref.ref(classifier)  # an attribute would be its layer
        self._dtypes = cut.dtypes
        self.history = None  # fit returns it; the classifier's callbacks write the classifier's

    @override
    def call(self, features: Any, training: bool | None = None) -> Any:
        """Return the classifier's output for features of any dtype."""
        tensors = [
            keras.ops.cast(tensor, dtype)
            for tensor, dtype in zip(keras.tree.flatten(features), self._dtypes, strict=True)
        ]
        return super().call(tensors, training=training)[0]

    @property
    def trainable_weights(self) -> list[Any]:
        """The trainable weights in the classifier's order, as in the optimizer's state."""
        place = {id(weight): index for index, weight in enumerate(self._whole.trainable_weights)}
        return sorted(super().trainable_weights, key=lambda weight: place[id(weight)])

    @property
    def _whole(self) -> Any:
        return self._classifier()

    @property
    def stop_training(self) -> bool:
        """Whether a callback has stopped the classifier's training."""
        return bool(self._whole.stop_training)

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self._whole.stop_training = value

    def fit_features(
        self,
        features: FeatureDataset,
        *,
        validation: FeatureDataset | None,
        epochs: int,
        initial_epoch: int = 0,
        loss: Any,
        metrics: Sequence[Any],
        class_weight: dict[int, float] | None,
        callbacks: Sequence[keras.callbacks.Callback],
        first: Sequence[keras.callbacks.Callback],
        last: Sequence[keras.callbacks.Callback],
        prepare: Callable[[Any], Any] | None = None,
    ) -> None:
        """Run Keras' fit on features, with the compiled classifier's optimizer.

        Args:
            features: The training features.
            validation: The features to evaluate after every epoch; None skips the evaluation.
            epochs: The number of epochs.
            initial_epoch: The number of epochs that were done before.
            loss: As for `compile`.
            metrics: As for `compile`.
            class_weight: As for `fit`.
            callbacks: The user's callbacks; if one has hooks for batches, each step is a call.
            first: Callbacks that run before the user's, and need no call for each batch.
            last: Callbacks that run after the user's, and need no call for each batch.
            prepare: Changes the dataset of training batches; None keeps it.
        """
        classifier = self._whole
        watched = any(_watches_batches(callback) for callback in callbacks)
        self.compile(
            optimizer=classifier.optimizer,
            loss=loss,
            metrics=list(metrics),
            auto_scale_loss=False,  # the classifier's optimizer is already wrapped if necessary
            steps_per_execution=_choose_steps_per_call(features.steps, watched=watched),
            jit_compile=True if self.uses_xla else "auto",
        )
        turn = NextView(len(features.views))
        seen = keras.callbacks.CallbackList(
            [*first, *callbacks, *last, turn],
            add_history=True,
            model=classifier,
            epochs=epochs,
            steps=features.steps,
            verbose=0,
        )
        dataset = make_dataset(features, turn)
        held_out = None
        if validation is not None:  # in order: shuffling would draw other random numbers
            held_out = make_dataset(validation.in_order(), NextView(1))
        self.fit(
            dataset if prepare is None else prepare(dataset),
            epochs=epochs,
            initial_epoch=initial_epoch,
            validation_data=held_out,
            class_weight=class_weight,
            shuffle=False,  # the dataset shuffles
            callbacks=seen,
            verbose=0,
        )


def _list_layers(cut: Cut) -> list[Any]:
    return [step.operation for step in cut.tail]


def _rewrite_layers(cut: Cut, *, compiled: bool) -> list[Any]:
    """Return a function for each step of the tail: a rewrite if one fits, or its layer."""
    functions = []
    for step, shape in zip(cut.tail, cut.input_shapes, strict=True):
        rewrite = kernels.find_rewrite(step.operation, shape, compiled=compiled)
        functions.append(step.operation if rewrite is None else rewrite.make(step.operation, shape))
    return functions


def _gains_from_xla(cut: Cut, functions: Sequence[Any]) -> bool:
    """Return whether XLA makes steps faster and changes numbers only by rounding.

    On a CPU, XLA's convolutions are many times slower than TensorFlow's, so all must be rewritten;
    a head alone gains nothing. XLA draws other random numbers, so no layer may be random.
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


def _choose_steps_per_call(steps: int, *, watched: bool) -> int:
    """Return how many steps Keras runs in one call; on torch, a call can only run one."""
    alone = watched or keras.config.backend() == "torch"
    return 1 if alone else min(_STEPS_PER_CALL, steps)


def _watches_batches(callback: keras.callbacks.Callback) -> bool:
    if isinstance(callback, keras.callbacks.ModelCheckpoint) and callback.save_freq == "epoch":
        return False
    return any(
        hook in vars(callback)
        or getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook)
        for hook in _BATCH_HOOKS
    )
