"""A classifier's tail as a model of its own: the same layers and variables, trained faster."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from typing_extensions import override

from tlkit import rewrites
from tlkit.cutting import Cut
from tlkit.feeding import Feed, NextView, dataset
from tlkit.graph import Part

_STEPS_A_CALL = 32
WORTH_COMPILING = 1000  # steps; XLA takes seconds to compile, and saves about 10 ms a step

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
    """

    def __init__(self, classifier: keras.Model, cut: Cut, *, cheaper: bool) -> None:
        found = [
            rewrites.find(step.operation, shape) if cheaper else None
            for step, shape in zip(cut.tail, cut.inputs, strict=True)
        ]
        super().__init__(
            cut.tail,
            cut.tensors,
            cut.graph.outputs,
            instead=[
                step.operation if rewrite is None else rewrite.make(step.operation, shape)
                for step, shape, rewrite in zip(cut.tail, cut.inputs, found, strict=True)
            ],
            name="tail",
        )
        self._classifier = (classifier,)  # in a tuple: not a layer of this model
        self._given = cut.dtypes
        self.history = None  # fit returns it; the classifier's callbacks write the classifier's
        self.rewritten = sum(rewrite is not None for rewrite in found)

    @override
    def call(self, features: Any, training: bool | None = None) -> Any:
        """Return the classifier's output for features, kept in whatever dtype."""
        tensors = [
            keras.ops.cast(tensor, dtype)
            for tensor, dtype in zip(keras.tree.flatten(features), self._given, strict=True)
        ]
        return super().call(tensors, training=training)[0]

    @property
    def stop_training(self) -> bool:
        """Whether a callback told the classifier to stop."""
        return bool(self._classifier[0].stop_training)

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self._classifier[0].stop_training = value

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
        classifier = self._classifier[0]
        watched = any(_watches_batches(callback) for callback in callbacks)
        self.compile(
            optimizer=classifier.optimizer,
            loss=loss,
            metrics=list(metrics),
            auto_scale_loss=False,  # the classifier's optimizer has been wrapped where need be
            steps_per_execution=1 if watched else min(_STEPS_A_CALL, feed.steps),
            jit_compile=True if self._worth_compiling(epochs * feed.steps) else "auto",
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

    def _worth_compiling(self, steps: int) -> bool:
        """Tell whether XLA pays: no convolution is left, and no random number would be another."""
        layers = [function for function, _ in self.calls if isinstance(function, keras.Layer)]
        parts = [part for layer in layers for part in layer._flatten_layers()]
        return (
            keras.backend.backend() == "tensorflow"
            and self.rewritten > 0
            and steps >= WORTH_COMPILING
            and not any("Conv" in type(part).__name__ for part in parts)
            and not any(part._seed_generators for part in parts)
        )


def _watches_batches(callback: keras.callbacks.Callback) -> bool:
    if isinstance(callback, keras.callbacks.ModelCheckpoint) and callback.save_freq == "epoch":
        return False
    return any(
        hook in vars(callback)
        or getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook)
        for hook in _BATCH_HOOKS
    )
