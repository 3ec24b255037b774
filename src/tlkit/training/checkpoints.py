"""Checkpoints of a run: save its state after each epoch and every few minutes, and resume it."""

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
from tlkit.errors import Argument, ConfigError
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

# What a run needs to resume as if it had never stopped, bit for bit: the weights and the states
# of random layers; the optimizer's slots, step and learning rate; the state of callbacks, such as
# the best loss and the best weights; the random numbers of Python, NumPy, Keras and PyTorch; and
# the hashes of the weights before the phase, which verify that frozen weights have not changed. The
# seed determines the rest: the order of the images in an epoch, the schedule, and the model's cut.
# The store keeps the features of the frozen part, image by image.
#
# Within a long epoch, the state is that after some steps, with the sums of the metrics. To resume,
# the epoch's batches are drawn again from the beginning, with the random numbers at its start, and
# the batches that were trained on are skipped. Only tf.data can do that without changing the
# images' order, so other backends save only at the end of epochs.
MINUTES = 10.0
"""The time between two saved states within an epoch."""

_MAX_STATES = 3  # two are kept while a third is written
_COPIES = 3  # of trained weights: two by the optimizer, and the best or the averaged weights
_FLOAT_BYTES = 4


class Checkpoints:
    """The checkpoints of one run, and the phases that it has finished.

    Creating this object sets the model to the last saved state.

    Args:
        folder: The folder of the checkpoints.
        model: The classifier.
        settings: The settings that identify this run, by name.
        max_trained: The largest number of the backbone's parameters that a phase trains.

    Attributes:
        finished: The finished phases.

    Raises:
        ConfigError: The folder belongs to a run with other settings.
        StoreError: All saved states are damaged, or the disk has too little free space.
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
        check_settings(str(folder.folder), self._resumed.values["settings"], self._settings)
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
        """Save the state together with values and arrays of the current phase."""
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
        """The model's weights, in the order in which their hashes are saved."""
        return list(self._model.weights)


def read_finished(folder: CheckpointFolder) -> tuple[list[PhaseRun], float]:
    """Return the finished phases of a saved run, and its seconds including the unfinished phase.

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

    It must be the last callback, so that it saves the changes of the other callbacks. For each
    callback it saves the attributes that training changed and that are numbers, strings, arrays, or
    lists of them. If a callback has the methods `get_state()` and `set_state(state)`, these are
    used instead.

    Args:
        checkpoints: The checkpoints of the run.
        resumed: The state in which the phase was stopped; None if the phase starts.
        before: The hashes of the weights before the phase.
        augmentation: The phase's layers that draw random numbers.

    Attributes:
        watched: The other callbacks, whose state is saved too.
        epoch: The number of epochs that were done before.
        step: The number of steps of the next epoch that were done before.
        is_over: Whether a callback had stopped the phase at the end of these epochs.
        before: The hashes of the weights before the phase.
        seconds: The time that these epochs took.
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
            fitted: The model that has the metrics; None if it is the callbacks' model.
        """
        self.watched, self._fitted = callbacks, fitted
        self._made_with = [read_state(callback, copy=True) for callback in callbacks]

    def first_epoch(self, epochs: int) -> int:
        """Return the index of the next epoch in a phase of `epochs` epochs."""
        return epochs if self.is_over else self.epoch

    def skip_steps(self, dataset: Any) -> Any:
        """Return a dataset of the remaining steps of the next epoch; later epochs are complete.

        Only datasets that passed through this method are saved within epochs.

        Args:
            dataset: A `tf.data.Dataset`; other datasets are returned unchanged.
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
        """Hide Keras' warning that the resumed epoch has fewer steps than later epochs."""
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
        """Restore the sums of the metrics, and store the random numbers at the epoch's start."""
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
        if due and step < self._steps:  # the last call may run fewer steps than it reports
            random, arrays = self._drawn
            metrics = number_arrays("metrics", self._metrics())
            self._save({"epoch": self._epoch, "step": step, "random": random}, arrays | metrics)

    @override
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the state, unless a deadline has cut the epoch short: then the last state stays."""
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

    # Keras does not know that a resumed epoch is shorter, and requests one more step. TensorFlow
    # then runs the operations that need no images, such as counting the step, before it finds that
    # no images are left.
    def undo_extra_step(self) -> None:
        """Undo the changes that Keras makes after the last step of a resumed epoch."""
        for variable, value in self._at_end:
            variable.assign(value)
        self._at_end = []

    def _list_counters(self) -> list[Any]:
        return [*random_states([self.model]), *self.model.optimizer.variables]

    def _metrics(self) -> list[Any]:
        model = self._fitted or self.model
        return [variable for metric in model.metrics for variable in metric.variables]

    def _get_callback(self, at: int, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """Return a callback's state, with names in place of arrays; these are added to `arrays`."""
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


def check_settings(folder: str, saved: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Check that the state in a folder is of the training that is to go on.

    Args:
        folder: The folder, for the message.
        saved: The settings of the saved state, by name.
        wanted: The settings of the training.

    Raises:
        ConfigError: Settings differ; the message lists them.
    """
    differing = [
        f"{name} {saved.get(name, 'none')}, now {wanted.get(name, 'none')}"
        for name in dict.fromkeys((*saved, *wanted))
        if saved.get(name) != wanted.get(name)
    ]
    if differing:
        raise ConfigError(
            Argument("checkpoint"),
            f" must be of this training, got that of another one in '{folder}': "
            f"{'; '.join(differing)}. Choose another folder, or delete this one to train anew.",
        )
