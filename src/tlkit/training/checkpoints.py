"""Checkpoints of a training: save its state after each epoch or so, and go on from there."""

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit._internal import files
from tlkit._internal.keras_private import build_metrics, random_states, shared_generator
from tlkit.caching.batching import skip_batches
from tlkit.errors import ConfigError
from tlkit.training.callback_state import State, from_plain, read_state
from tlkit.training.checkpoint_files import CheckpointFolder, SavedState
from tlkit.training.model_state import (
    assign,
    get_model,
    get_random_numbers,
    model_state,
    number_arrays,
    set_model,
    set_random_numbers,
    to_array,
)
from tlkit.training.records import PhaseRun

# What a training needs to go on as if it had never stopped, bit for bit: the weights and the states
# of random layers; the optimizer's slots, step and learning rate; what callbacks know, such as the
# best loss and the best weights; the random numbers of Python, NumPy, Keras and PyTorch; and the
# hashes of the weights from before the phase, which verify that frozen ones have not changed. All
# else comes out the same again by the seed: the order of the images in an epoch, the schedule,
# where the model is cut. Features of the frozen part are kept by the store, image by image.
#
# Within a long epoch, the state is that after some steps, with the sums of the metrics. To go on,
# the epoch's batches are drawn again from the beginning, with the random numbers it began with, and
# those that were trained on are skipped. Only tf.data can do that without touching the images'
# order, so other backends save at the end of epochs only.
MINUTES = 10.0
"""How often the state is saved within an epoch."""

_MAX_STATES = 3  # two are kept while a third is written
_COPIES = 3  # of what is trained: the optimizer's two, and the best weights or the averaged ones
_FLOAT_BYTES = 4


class Checkpoints:
    """The checkpoints of one training, and what was done before it was stopped.

    Opening them sets the model to the last saved state.

    Args:
        folder: Where they are.
        model: The classifier.
        settings: What makes it this training and no other, by name.
        max_trained: How many of the backbone's parameters a phase trains, at most.

    Attributes:
        finished: The phases that are done.

    Raises:
        ConfigError: The folder is of a training with other settings.
        StoreError: All saved states are damaged, or there is no room for those of this training.
    """

    def __init__(
        self,
        folder: CheckpointFolder,
        model: keras.Model,
        settings: Mapping[str, str],
        *,
        max_trained: int = 0,
    ) -> None:
        self._folder, self._model, self._settings = folder, model, dict(settings)
        self.finished: list[PhaseRun] = []
        self._resumed = folder.load()
        if self._resumed is None:
            parameters = model.count_params() + _COPIES * max_trained
            files.check_room(folder.folder, _MAX_STATES * _FLOAT_BYTES * parameters)
            self._save({})
            return
        _check_settings(folder, self._resumed.values["settings"], self._settings)
        self.finished = [PhaseRun.from_dict(run) for run in self._resumed.values["finished"]]
        set_model(model, self._resumed.arrays)

    def start_phase(
        self, before: Mapping[int, str], augmentation: Sequence[keras.layers.Layer]
    ) -> "PhaseCheckpoints":
        """Return the checkpoints of the next phase.

        Args:
            before: The hashes of the weights before the phase, by the ids of the variables.
            augmentation: The phase's layers that draw random numbers.
        """
        resumed, self._resumed = self._resumed, None
        if resumed is not None and "epoch" not in resumed.values:
            resumed = None
        return PhaseCheckpoints(self, resumed, before, augmentation)

    def finish_phase(self, run: PhaseRun) -> None:
        """Save the state at the end of a phase."""
        self.finished.append(run)
        self._save({})

    def save_epoch(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Save the state, with these values and arrays of the phase."""
        self._save(values, arrays)

    def _save(
        self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
    ) -> None:
        self._folder.save(
            {
                "settings": self._settings,
                "finished": [run.to_dict() for run in self.finished],
                **values,
            },
            {**get_model(self._model), **(arrays or {})},
        )

    @property
    def weights(self) -> list[Any]:
        """The model's weights, in the order in which their hashes are kept."""
        return list(self._model.weights)


def read_finished(folder: CheckpointFolder) -> tuple[list[PhaseRun], float]:
    """Return the phases that a saved training has finished, and its seconds, also of the next one.

    Raises:
        StoreError: All saved states are damaged.
    """
    state = folder.load()
    if state is None:
        return [], 0.0
    finished = [PhaseRun.from_dict(run) for run in state.values["finished"]]
    return finished, sum(run.seconds for run in finished) + state.values.get("seconds", 0.0)


class PhaseCheckpoints(keras.callbacks.Callback):
    """Saves the state of a phase after each epoch and every few minutes, and restores it.

    It must be the last callback, so that it sees what the others have done. Of each callback it
    saves the attributes that are numbers, texts, arrays, or lists of them, if training changed
    them; or, if it has the methods `get_state()` and `set_state(state)`, what they return and take.

    Args:
        checkpoints: Where to save.
        resumed: The state in which the phase was stopped; None if it starts.
        before: The hashes of the weights before the phase.
        augmentation: The phase's layers that draw random numbers.

    Attributes:
        watched: The other callbacks, whose state is saved too.
        epoch: How many epochs were done before.
        step: How many steps of the next one were.
        is_over: Whether the phase was stopped by a callback, at the end of these epochs.
        before: The hashes of the weights before the phase.
        seconds: How long these epochs took.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        resumed: SavedState | None,
        before: Mapping[int, str],
        augmentation: Sequence[keras.layers.Layer],
    ) -> None:
        super().__init__()
        self._checkpoints, self._resumed, self._augmentation = checkpoints, resumed, augmentation
        self.watched: Sequence[keras.callbacks.Callback] = ()
        values = {} if resumed is None else resumed.values
        self.epoch, self.step = int(values.get("epoch", 0)), int(values.get("step", 0))
        self.is_over = bool(values.get("is_over", False))
        self.seconds = float(values.get("seconds", 0.0))
        self.before = dict(before)
        if resumed is not None:
            self.before = {
                id(weight): digest
                for weight, digest in zip(checkpoints.weights, values["before"], strict=True)
            }
        self._started = self._saved = time.perf_counter()
        self._fitted: keras.Model | None = None
        self._drawn: tuple[Any, dict[str, np.ndarray]] = ({}, {})
        self._skip: Any = None
        self._steps = 0
        self._at_end: list[tuple[Any, np.ndarray]] = []
        self._made_with: list[dict[str, State]] = []

    def watch(
        self, callbacks: Sequence[keras.callbacks.Callback], fitted: keras.Model | None = None
    ) -> None:
        """Save the state of these callbacks too; call it before training begins.

        Args:
            callbacks: The other callbacks.
            fitted: The model that has the metrics, if it is not the callbacks' model.
        """
        self.watched, self._fitted = callbacks, fitted
        self._made_with = [read_state(callback, copy=True) for callback in callbacks]

    def first_epoch(self, epochs: int) -> int:
        """Return the index of the epoch to go on with, of a phase with so many epochs."""
        return epochs if self.is_over else self.epoch

    def skip_steps(self, dataset: Any) -> Any:
        """Return a dataset of the steps that are left of the next epoch, and of whole ones then.

        Only what has been here is saved within epochs.

        Args:
            dataset: A `tf.data.Dataset`; others are returned as they are.
        """
        if keras.backend.backend() != "tensorflow" or not hasattr(dataset, "skip"):
            return dataset
        self._steps = max(int(dataset.cardinality()), 0)
        if not self.step:
            return dataset
        if self._fitted is not None:
            build_metrics(self._fitted, dataset.element_spec)  # so that they can be restored
        left, self._skip = skip_batches(dataset, self.step)
        return left

    @contextmanager
    def hide_short_epoch(self) -> Iterator[None]:
        """Hide Keras' warning that the epoch which goes on has fewer steps than later ones."""
        with warnings.catch_warnings():
            if self.step:
                warnings.filterwarnings("ignore", message="Your input ran out of data")
            yield

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the state, after the other callbacks have reset theirs."""
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        if self._resumed is None:
            return
        values, arrays = self._resumed.values, self._resumed.arrays
        assign(model_state(self.model), arrays, "model")
        assign(self.model.optimizer.variables, arrays, "optimizer")
        assign(self._random_layers(), arrays, "random")
        for number, callback in enumerate(self.watched):
            state = {
                name: from_plain(value["plain"], arrays, value["prefix"])
                for name, value in values["callbacks"][number].items()
            }
            if hasattr(callback, "set_state"):
                callback.set_state(state)
            else:
                vars(callback).update(state)
        set_random_numbers(values["random"], arrays)

    @override
    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Restore the sums of the metrics, and remember with which random numbers it begins."""
        self._epoch = epoch
        if self._resumed is not None and self.step:
            assign(self._metrics(), self._resumed.arrays, "metrics")
        elif self._skip is not None:
            self._skip.assign(0)
        self._resumed = None
        arrays = number_arrays("random", self._random_layers())
        self._drawn = (get_random_numbers(arrays), arrays)

    @override
    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the state within a long epoch."""
        step = batch + 1 + (self.step if self._epoch == self.epoch else 0)
        if self.step and self._epoch == self.epoch and step >= self._steps:
            self._at_end = [(each, to_array(each)) for each in self._list_counters()]
        due = time.perf_counter() - self._saved >= 60 * MINUTES
        if due and step < self._steps:  # in the last call there may be fewer steps than it tells
            random, arrays = self._drawn
            metrics = number_arrays("metrics", self._metrics())
            self._save({"epoch": self._epoch, "step": step, "random": random}, arrays | metrics)

    @override
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the state, unless a deadline has cut the epoch short: it can go on from before."""
        if any(getattr(callback, "ran_out", False) for callback in self.watched):
            return
        arrays = number_arrays("random", self._random_layers())
        over = bool(self.model.stop_training)
        random = get_random_numbers(arrays)
        self._save({"epoch": epoch + 1, "is_over": over, "random": random}, arrays)

    def _save(self, more: Mapping[str, Any], random: Mapping[str, np.ndarray]) -> None:
        arrays = {**number_arrays("optimizer", self.model.optimizer.variables), **random}
        values = {
            **more,
            "seconds": self.seconds + time.perf_counter() - self._started,
            "before": [self.before[id(weight)] for weight in self._checkpoints.weights],
            "callbacks": [self._get_callback(at, arrays) for at in range(len(self.watched))],
        }
        self._checkpoints.save_epoch(values, arrays)
        self._saved = time.perf_counter()

    # Keras does not know that the epoch is shorter, and asks for one step more. TensorFlow then
    # runs what needs no images before it finds that there are none, such as counting the step.
    def undo_extra_step(self) -> None:
        """Undo what Keras does after the last step of an epoch that was gone on with."""
        for variable, value in self._at_end:
            variable.assign(value)
        self._at_end = []

    def _list_counters(self) -> list[Any]:
        return [*random_states([self.model]), *self.model.optimizer.variables]

    def _metrics(self) -> list[Any]:
        model = self._fitted or self.model
        return [variable for metric in model.metrics for variable in metric.variables]

    def _get_callback(self, at: int, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return what a callback has learned, with the names of arrays, which `arrays` gets."""
        found = {}
        for name, value in read_state(self.watched[at]).items():
            if not value.equals(self._made_with[at].get(name)):
                prefix = f"callback/{at}/{name}/"
                arrays |= {prefix + key: each for key, each in value.arrays.items()}
                found[name] = {"prefix": prefix, "plain": value.plain}
        return found

    def _random_layers(self) -> list[Any]:
        shared = shared_generator()
        return random_states(self._augmentation) + ([] if shared is None else [shared.state])


def _check_settings(
    folder: CheckpointFolder, saved: Mapping[str, str], wanted: Mapping[str, str]
) -> None:
    differing = [
        f"{name} {saved.get(name, 'none')}, now {wanted.get(name, 'none')}"
        for name in dict.fromkeys((*saved, *wanted))
        if saved.get(name) != wanted.get(name)
    ]
    if differing:
        raise ConfigError(
            f"`checkpoint` must be of this training, got that of another one in '{folder.folder}': "
            f"{'; '.join(differing)}. Choose another folder, or delete this one to train anew."
        )
