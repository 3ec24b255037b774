"""Train a classifier in two phases: first the head, then the end of the backbone with it."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from tlkit._internal import arguments
from tlkit._internal.signatures import check_arguments
from tlkit._internal.variables import seed_layers
from tlkit.caching import plan as caching_plan
from tlkit.caching.cache import DEFAULT, Cache
from tlkit.caching.progress import CacheProgress
from tlkit.data.augmentation import mixes_labels
from tlkit.data.batches import Data, Inputs, describe
from tlkit.data.image_dataset import ImageDataset
from tlkit.errors import ConfigError, TrainingInterrupted
from tlkit.models import freezing
from tlkit.models.inspection import value_range
from tlkit.training import augmentation_record, class_weights, identity, phase_checks
from tlkit.training.checkpoint_files import CheckpointFolder
from tlkit.training.checkpoints import Checkpoints
from tlkit.training.losses import find_form, fit_metrics
from tlkit.training.model_state import reset_calibration
from tlkit.training.phase import Phase, SolvedHead
from tlkit.training.phase_training import PhaseInterrupted, run_phase
from tlkit.training.records import PhaseRun, Run


@check_arguments
@dataclass(frozen=True, kw_only=True)
class TwoPhaseTrainer:
    """Trains a new head on a frozen backbone, then fine-tunes the end of the backbone with it.

    The trainer sets `trainable` and compiles. After each phase it verifies that frozen weights and
    moving statistics are unchanged to the bit, and that every layer to be trained has changed.

    Attributes:
        head: The first phase. A Phase freezes the whole backbone by default; a SolvedHead always
            does.
        fine_tune: The second phase; its `freeze` selects the layers that stay frozen. None omits
            the phase.
        seed: Seeds Python, NumPy and Keras for the whole process at the start of each phase, and
            the layers of its augmentation, so that the result of a phase does not depend on
            earlier code. (A Dropout layer has its own seed.) None sets no seed.
        cache: How the frozen part is run once and its features are stored, for both phases. With
            None, there is no cache: Keras' fit runs the whole model in every epoch.
        checkpoint: A folder for the state of the run, saved after each epoch, from which `fit`
            resumes after a crash or an interrupt; see `tlkit.training.checkpoints`. The features of
            the frozen part are stored in it too, unless the cache has a folder. Delete the folder
            when training is finished. None saves no state.

    Raises:
        ConfigError: A phase freezes everything that it could train.

    Examples:
        >>> trainer = TwoPhaseTrainer(head=Phase(epochs=10))
        >>> trainer.head.batch_size
        32
    """

    head: Phase | SolvedHead
    fine_tune: Phase | None = None
    seed: int | None = None
    cache: Cache | None = DEFAULT
    checkpoint: str | Path | None = None

    def __post_init__(self) -> None:
        if self.seed is not None:
            arguments.seed("seed", self.seed)
        tuned = self.fine_tune
        if isinstance(tuned, SolvedHead) or (tuned and tuned.freeze is freezing.everything):
            raise ConfigError(
                "`fine_tune` must leave some of the backbone to train. Set what it freezes, for "
                "example Phase(..., freeze=tlkit.freezing.first(100)) or tlkit.freezing.nothing."
            )

    @check_arguments
    def fit(
        self,
        model: keras.Model,
        data: Data,
        *,
        validation_data: Data | None = None,
        verbose: bool = True,
    ) -> Run:
        """Train the model in place, and return the history of its phases.

        If the trainer has a checkpoint of the same run, the model is set to its state, and training
        resumes with the next epoch. With a seed, the final weights equal those of a run that was
        not stopped, bit for bit, on the same machine and engine.

        Args:
            model: A classifier from build_classifier.
            data: Images and labels in any form (`tlkit.data.Data`): an `ImageDataset`, a pair
                `(images, labels)` of arrays, or a dataset of such batches. Labels are integers
                `(count,)` or one-hot `(count, classes)`; for a multi-label classifier, rows of 0
                and 1 `(count, classes)`.
            validation_data: Images and labels, in any form, that are evaluated after every epoch.
            verbose: Whether to print a line for every epoch.

        Raises:
            ConfigError: A phase does not fit the model, or `checkpoint` belongs to another run;
                raised before the first phase starts.
            DataError: Images or labels don't fit the model.
            StoreError: A checkpoint can't be written, or is damaged.
            TrainingError: A frozen weight changed, or a layer to be trained did not.
            TrainingInterrupted: Ctrl-C stopped the training; its `run` has the finished epochs.

        Warns:
            UserWarning: A phase diverged, and the best weights before that were restored.
        """
        named: dict[str, Phase | SolvedHead] = {"head": self.head}
        if self.fine_tune is not None:
            named["fine_tune"] = self.fine_tune
        runs = _train_all(
            model,
            named,
            data,
            validation_data=validation_data,
            seeds=[None if self.seed is None else self.seed + order for order in range(len(named))],
            cache=self.cache,
            checkpoint=self.checkpoint,
            verbose=verbose,
        )
        return Run(phases=runs)


@check_arguments
def train_phase(
    model: keras.Model,
    phase: Phase | SolvedHead,
    data: Data,
    *,
    name: str = "phase",
    validation_data: Data | None = None,
    seed: int | None = None,
    cache: Cache | None = DEFAULT,
    checkpoint: str | Path | None = None,
    verbose: bool = True,
) -> PhaseRun:
    """Freeze, compile and train one phase in place, and verify which weights changed.

    This function is for any other number of phases than two; each phase needs its own checkpoint
    folder. Arguments and errors are those of `TwoPhaseTrainer` and its `fit`; `name` is the phase's
    name in the history.
    """
    [run] = _train_all(
        model,
        {name: phase},
        data,
        validation_data=validation_data,
        seeds=[seed],
        cache=cache,
        checkpoint=checkpoint,
        verbose=verbose,
    )
    return run


def _train_all(
    model: keras.Model,
    phases: Mapping[str, Phase | SolvedHead],
    data: Data,
    *,
    validation_data: Data | None,
    seeds: Sequence[int | None],
    cache: Cache | None,
    checkpoint: str | Path | None,
    verbose: bool,
) -> tuple[PhaseRun, ...]:
    """Check all phases, then train them in turn; phases may share the features of a frozen part."""
    folder = None if checkpoint is None else CheckpointFolder(checkpoint)
    if folder is not None and cache is not None and cache.folder is None:
        cache = replace(cache, folder=folder.folder / "features")
    plans, train, held_out = _check_all(model, phases, data, validation_data)
    _seed_augmentation(phases.values(), seeds)
    reset_calibration(model)
    augmentation_record.record(
        model, [layer for phase in phases.values() for layer in phase.augmentation]
    )
    with closing(CacheProgress(verbose=verbose)) as lines:
        _print_data(lines, model, data, train)
        train, held_out, batch_size = _fix_order(
            phases, plans, train, held_out, cache=cache, progress=lines
        )
        phases = {
            name: _fit_to_data(phase, model, train, batch_size) for name, phase in phases.items()
        }
        checkpoints = _open_checkpoints(
            folder, model, phases, plans, train, validation_data=held_out, seeds=seeds
        )
        frozen = caching_plan.find_frozen_parts(
            model,
            plans,
            {name: phase.augmentation for name, phase in phases.items()},
            train,
            validation_data=held_out,
            cache=cache,
            progress=lines,
        )
        runs = [] if checkpoints is None else list(checkpoints.finished)
        how: dict[str, Any] = {"validation_data": held_out, "verbose": verbose}
        try:
            for (name, phase), seed in [*zip(phases.items(), seeds, strict=True)][len(runs) :]:
                how |= {"name": name, "seed": seed, "part": frozen[name]}
                how["is_last"] = name == [*phases][-1]
                run = run_phase(model, phase, plans[name], train, checkpoints=checkpoints, **how)
                runs.append(run)
                if checkpoints is not None:
                    checkpoints.finish_phase(run)
        except KeyboardInterrupt as stopped:
            raise _explain_interrupt(stopped, runs, phases, checkpoint) from None
        finally:
            caching_plan.close_all(frozen.values())
        return tuple(runs)


def _open_checkpoints(
    folder: CheckpointFolder | None,
    model: keras.Model,
    phases: Mapping[str, Phase | SolvedHead],
    plans: Mapping[str, freezing.FreezePlan],
    data: Inputs,
    *,
    validation_data: Inputs | None,
    seeds: Sequence[int | None],
) -> Checkpoints | None:
    if folder is None:
        return None
    settings = identity.describe_training(
        model, phases, plans, data, validation_data=validation_data, seeds=seeds
    )
    trained = [
        sum(layer.count_params() for layer in plans[name].trained)
        for name, phase in phases.items()
        if isinstance(phase, Phase)
    ]
    return Checkpoints(folder, model, settings, max_trained=max(trained, default=0))


def _explain_interrupt(
    stopped: KeyboardInterrupt,
    runs: Sequence[PhaseRun],
    phases: Mapping[str, Phase | SolvedHead],
    checkpoint: str | Path | None,
) -> TrainingInterrupted:
    """Return an error with the finished epochs and advice on how to resume."""
    name = [*phases][min(len(runs), len(phases) - 1)]
    done = [*runs, stopped.run] if isinstance(stopped, PhaseInterrupted) else runs
    epochs = done[-1].num_epochs if len(done) > len(runs) else 0
    how = (
        "Set `checkpoint` to a folder to be able to go on after an interrupt."
        if checkpoint is None
        else "Run the same again to go on from there."
    )
    return TrainingInterrupted(
        f"Interrupted in {name!r}, after {epochs} of {getattr(phases[name], 'epochs', 1)} epochs. "
        f"{how}",
        Run(phases=tuple(done)),
    )


def _check_all(
    model: keras.Model,
    phases: Mapping[str, Phase | SolvedHead],
    data: Data,
    validation_data: Data | None,
) -> tuple[dict[str, freezing.FreezePlan], Inputs, Inputs | None]:
    """Return each phase's freeze plan, and training and validation images in one form."""
    plans = {
        name: phase_checks.plan_phase(model, phase, validates=validation_data is not None)
        for name, phase in phases.items()
    }
    train, held_out = phase_checks.validate_both(model, data, validation_data)
    for phase in phases.values():
        phase_checks.check_data(model, phase, train)
    return plans, train, held_out


def _seed_augmentation(phases: Iterable[Phase | SolvedHead], seeds: Iterable[int | None]) -> None:
    """Seed the layers that create the augmented copies in the cache."""
    for phase, seed in zip(phases, seeds, strict=True):
        if seed is not None:
            seed_layers(phase.augmentation, seed)


def _print_data(lines: CacheProgress, model: keras.Model, data: Data, train: Inputs) -> None:
    shown = describe(train, value_range=value_range(model), num_classes=model.output_shape[-1])
    notices = data.notices if isinstance(data, ImageDataset) else ()
    for line in (shown, *notices):
        lines.print(f"data: {line}")


def _fix_order(
    phases: Mapping[str, Phase | SolvedHead],
    plans: Mapping[str, freezing.FreezePlan],
    train: Inputs,
    held_out: Inputs | None,
    *,
    cache: Cache | None,
    progress: CacheProgress,
) -> tuple[Inputs, Inputs | None, int | None]:
    """Return images in a fixed order, and the batch size, if a phase can use stored features.

    This needs a frozen part whose features are equal in each epoch.
    """
    if cache is None or not any(
        plans[name].frozen
        and (cache.views > 1 or not phase.augmentation)
        and not mixes_labels(phase.augmentation)
        for name, phase in phases.items()
    ):
        return train, held_out, None
    return caching_plan.fix_order(train, held_out, cache=cache, progress=progress)


def _fit_to_data(
    phase: Phase | SolvedHead, model: keras.Model, train: Inputs, batch_size: int | None
) -> Phase | SolvedHead:
    """Return a phase with metrics, class weights and a fixed batch size for its images."""
    if isinstance(phase, Phase):
        phase = fit_metrics(phase, find_form(model, train))
    if batch_size is not None:
        phase = replace(phase, batch_size=batch_size)
    return class_weights.set_balanced(phase, train, model.output_shape[-1])
