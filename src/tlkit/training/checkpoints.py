"""Checkpoints of a training: save its state after each epoch, and go on from there."""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from tlkit._internal.keras_private import random_states, shared_generator
from tlkit.errors import ConfigError
from tlkit.models.inspection import probabilities_of
from tlkit.training.callback_state import State, from_plain, read_state, to_plain
from tlkit.training.checkpoint_files import CheckpointFolder, SavedState
from tlkit.training.records import PhaseRun


# What a training needs to go on as if it had never stopped, bit for bit: the weights and the states
# of random layers; the optimizer's slots, step and learning rate; what callbacks know, such as the
# best loss and the best weights; the random numbers of Python, NumPy and Keras; and the hashes of
# the weights from before the phase, which verify that frozen ones have not changed. All else comes
# out the same again by the seed: the order of the images in an epoch, the schedule, where the
# model is cut. Features of the frozen part are kept by the store, image by image.
class Checkpoints:
    """The checkpoints of one training, and what was done before it was stopped.

    Opening them sets the model to the last saved state.

    Args:
        folder: Where they are.
        model: The classifier.
        settings: What makes it this training and no other, by name.

    Attributes:
        finished: The phases that are done.

    Raises:
        ConfigError: The folder is of a training with other settings.
        StoreError: All saved states are damaged.
    """

    def __init__(
        self, folder: CheckpointFolder, model: keras.Model, settings: Mapping[str, str]
    ) -> None:
        self._folder, self._model, self._settings = folder, model, dict(settings)
        self.finished: list[PhaseRun] = []
        self._resumed = folder.load()
        if self._resumed is None:
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
        """Save the state at the end of an epoch, with these values and arrays of its phase."""
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
    """Saves the state of a phase after each epoch; at its start, restores what was saved.

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
        self.epoch = int(values.get("epoch", 0))
        self.is_over = bool(values.get("is_over", False))
        self.seconds = float(values.get("seconds", 0.0))
        self.before = dict(before)
        if resumed is not None:
            self.before = {
                id(weight): digest
                for weight, digest in zip(checkpoints.weights, values["before"], strict=True)
            }
        self._started = time.perf_counter()
        self._made_with: list[dict[str, State]] = []

    def watch(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        """Save the state of these callbacks too; call it before training begins."""
        self.watched = callbacks
        self._made_with = [read_state(callback, copy=True) for callback in callbacks]

    def first_epoch(self, epochs: int) -> int:
        """Return the index of the epoch to go on with, of a phase with so many epochs."""
        return epochs if self.is_over else self.epoch

    @override
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the state, after the other callbacks have reset theirs."""
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        if self._resumed is None:
            return
        values, arrays = self._resumed.values, self._resumed.arrays
        _assign(model_state(self.model), arrays, "model")
        _assign(self.model.optimizer.variables, arrays, "optimizer")
        _assign(self._random_layers(), arrays, "random")
        for number, callback in enumerate(self.watched):
            state = {
                name: from_plain(value["plain"], arrays, value["prefix"])
                for name, value in values["callbacks"][number].items()
            }
            if hasattr(callback, "set_state"):
                callback.set_state(state)
            else:
                vars(callback).update(state)
        _set_random_numbers(values["random"], arrays)
        self._resumed = None

    @override
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the state."""
        arrays = {
            **_number("optimizer", self.model.optimizer.variables),
            **_number("random", self._random_layers()),
        }
        values = {
            "epoch": epoch + 1,
            "is_over": bool(self.model.stop_training),
            "seconds": self.seconds + time.perf_counter() - self._started,
            "before": [self.before[id(weight)] for weight in self._checkpoints.weights],
            "callbacks": [self._get_callback(at, arrays) for at in range(len(self.watched))],
            "random": _get_random_numbers(arrays),
        }
        self._checkpoints.save_epoch(values, arrays)

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


def model_state(model: keras.Model) -> list[Any]:
    """Return the variables of a classifier that training changes: weights and random states."""
    return [*model.weights, *random_states([model])]


def get_model(model: keras.Model) -> dict[str, np.ndarray]:
    """Return the state of a classifier as arrays by name."""
    probabilities = probabilities_of(model)
    stored = {f"stored/{name}": np.asarray(each) for name, each in probabilities.stored.items()}
    return {**_number("model", model_state(model)), **stored}


def set_model(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Set a classifier to the state that `get_model` returned."""
    _assign(model_state(model), arrays, "model")
    probabilities = probabilities_of(model)
    for name, array in arrays.items():
        if name.startswith("stored/"):
            probabilities.stored[name.removeprefix("stored/")] = array


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


def _number(prefix: str, variables: Sequence[Any]) -> dict[str, np.ndarray]:
    return {
        f"{prefix}/{number}": np.asarray(keras.ops.convert_to_numpy(variable))
        for number, variable in enumerate(variables)
    }


def _assign(variables: Sequence[Any], arrays: Mapping[str, np.ndarray], prefix: str) -> None:
    for number, variable in enumerate(variables):
        array = arrays[f"{prefix}/{number}"]
        dtype = np.asarray(keras.ops.convert_to_numpy(variable)).dtype
        variable.assign(array if array.dtype == dtype else array.view(dtype))  # bfloat16 as bits


def _get_random_numbers(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the states of Python's and NumPy's random numbers; `arrays` gets their arrays."""
    own: dict[str, np.ndarray] = {}
    plain = to_plain({"python": random.getstate(), "numpy": np.random.get_state()}, own)
    arrays |= {f"numbers/{name}": each for name, each in own.items()}
    return dict(plain)


def _set_random_numbers(plain: Any, arrays: Mapping[str, np.ndarray]) -> None:
    values = from_plain(plain, arrays, "numbers/")
    random.setstate(values["python"])
    np.random.set_state(values["numpy"])
