"""Steps of training and evaluation, computed by the devices of several processes together."""

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from tlkit.caching.partition import Cut
from tlkit.caching.tail import Tail
from tlkit.models.freezing import FreezePlan
from tlkit.training import losses, optimizers
from tlkit.training.phase import Phase

Batch = tuple[list[np.ndarray], np.ndarray, np.ndarray]
"""The features of this process' images, their class indices, and whether they count."""

_PENDING = 32  # steps whose sums are not fetched yet


# All processes call the same compiled function with the same weights, and each with its own images.
# JAX sees one array of the whole batch, whose rows lie on the devices, and adds what the mean of
# the loss, the gradients and the statistics of BatchNormalization need from the other processes.
# So each process gets the same new weights. Images that only fill the last batch have no part in
# the loss and the metrics.
class TailSteps:
    """The tail of a classifier, its optimizer, and their state on the devices.

    Args:
        model: The classifier.
        cut: The place before the tail.
        plan: The freeze plan, which has been applied.
        phase: The phase.
        num_steps: The number of steps of an epoch.
        class_weight: The weight of each class, `(classes,)`.
    """

    def __init__(
        self,
        model: keras.Model,
        cut: Cut,
        plan: FreezePlan,
        phase: Phase,
        *,
        num_steps: int,
        class_weight: np.ndarray,
    ) -> None:
        jax = importlib.import_module("jax")
        sharding = importlib.import_module("jax.sharding")
        first = {device.process_index: device for device in reversed(jax.devices())}
        mesh = sharding.Mesh(np.array([first[each] for each in sorted(first)]), ("batch",))
        self._whole = sharding.NamedSharding(mesh, sharding.PartitionSpec())
        self._rows = sharding.NamedSharding(mesh, sharding.PartitionSpec("batch"))
        self._place = jax.make_array_from_process_local_data
        self.tail = Tail(model, cut, rewrites=False, steps=0)
        self.optimizer = phase.create_optimizer(num_steps)
        self.optimizer.build(self.tail.trainable_variables)
        if phase.layer_decay < 1:
            rates = optimizers.layer_rates(plan.backbone, phase.layer_decay)
            optimizers.scale_learning_rates(
                self.optimizer,
                [rates.get(id(each), 1.0) for each in self.tail.trainable_variables],
            )
        self._loss_per_image = _find_loss(phase)
        self._class_weight = class_weight.astype("float32")
        self._state: Any = None
        kept = (self._whole, self._whole, self._whole)
        self._step = jax.jit(
            _make_step(self, jax), donate_argnums=0, out_shardings=(kept, self._whole)
        )
        self._test = jax.jit(self._evaluate, out_shardings=self._whole)

    def push(self) -> None:
        """Copy the weights and the optimizer's state to the devices."""
        self._state = tuple(
            [self._place(self._whole, keras.ops.convert_to_numpy(each)) for each in group]
            for group in self._variables
        )

    def pull(self) -> None:
        """Copy the weights and the optimizer's state from the devices."""
        for group, arrays in zip(self._variables, self._state, strict=True):
            for variable, array in zip(group, arrays, strict=True):
                variable.assign(np.asarray(array))

    @property
    def _variables(self) -> tuple[list[Any], list[Any], list[Any]]:
        """The variables in the order of the state on the devices."""
        return (
            self.tail.trainable_variables,
            self.tail.non_trainable_variables,
            self.optimizer.variables,
        )

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step, after `pull`."""
        return float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))

    def train(self, batches: Iterable[Batch]) -> np.ndarray:
        """Train on batches; return the sums of the loss and of correct images, and their number."""

        def run(*batch: Any) -> Any:
            self._state, sums = self._step(self._state, *batch)
            return sums

        return self._add_up(run, batches)

    def evaluate(self, batches: Iterable[Batch]) -> np.ndarray:
        """Evaluate batches; the result is that of `train`."""
        return self._add_up(lambda *batch: self._test(self._state, *batch), batches)

    def _add_up(self, run: Callable[..., Any], batches: Iterable[Batch]) -> np.ndarray:
        total, pending = np.zeros(3), list[Any]()
        for batch in batches:
            placed = [self._place(self._rows, each) for each in (*batch[0], *batch[1:])]
            pending.append(run(placed[:-2], *placed[-2:]))
            if len(pending) == _PENDING:  # fetching each at once would let the device wait
                total += np.sum([np.asarray(each) for each in pending], axis=0, dtype="float64")
                pending.clear()
        return total + sum((np.asarray(each, "float64") for each in pending), np.zeros(3))

    def measure(
        self,
        trainable: Any,
        others: Any,
        features: Any,
        labels: Any,
        mask: Any,
        *,
        training: bool,
    ) -> tuple[Any, Any]:
        """Return the loss, and the changed other variables with the sums of the metrics."""
        ops = keras.ops
        predicted, others, penalties = self.tail.stateless_call(
            trainable, others, features, training=training, return_losses=True
        )
        mask = ops.cast(mask, "float32")
        number = ops.sum(mask)
        each = self._loss_per_image(labels, predicted)
        if training:  # as in Keras, the loss of an evaluation has no weights
            each = each * ops.take(self._class_weight, labels)
        loss = ops.sum(each * mask) / ops.maximum(number, 1.0)
        for penalty in penalties:
            loss = loss + penalty
        correct = ops.cast(ops.argmax(predicted, axis=-1) == labels, "float32")
        sums = ops.stack([loss * number, ops.sum(correct * mask), number])
        return loss, (others, sums)

    def _evaluate(self, state: Any, features: Any, labels: Any, mask: Any) -> Any:
        return self.measure(state[0], state[1], features, labels, mask, training=False)[1][1]


def _make_step(steps: TailSteps, jax: Any) -> Callable[..., Any]:
    """Return a function from a state and a batch to the next state and the sums of the metrics."""
    differentiate = jax.value_and_grad(
        lambda *arguments: steps.measure(*arguments, training=True), has_aux=True
    )

    def step(state: Any, features: Any, labels: Any, mask: Any) -> Any:
        trainable, others, slots = state
        (_, (others, sums)), gradients = differentiate(trainable, others, features, labels, mask)
        trainable, slots = steps.optimizer.stateless_apply(slots, gradients, trainable)
        return (trainable, others, slots), sums

    return step


def _find_loss(phase: Phase) -> Callable[[Any, Any], Any]:
    """Return the function that computes the loss of each image."""
    found = losses.crossentropy("integers", label_smoothing=phase.label_smoothing)
    if isinstance(found, keras.losses.Loss):
        return lambda labels, predicted: found.call(labels, predicted)
    return lambda labels, predicted: keras.losses.sparse_categorical_crossentropy(labels, predicted)
