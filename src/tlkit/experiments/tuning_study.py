"""A study of Optuna: it suggests settings and stores the trials in a folder."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlkit._internal import locks, optional
from tlkit.errors import Argument, ConfigError
from tlkit.evaluation.tuning import Measure, Trial

_MIN_COMPLETE = 5  # trials needed to find the importance of settings
_STARTUP_TRIALS = 5  # trials that are drawn at random, and are not stopped early
_JOURNAL, _LOCK = "tuning.journal", "tuning.lock"


# Optuna's sampler draws the first trials at random, then more often near the good ones (Bergstra et
# al., 2011). Its pruner stops a trial that is worse after a fold than the median of the others was
# after the same fold. Each trial is written to the folder's journal as soon as it is done.
class Study:
    """The trials of a tuning.

    Args:
        optuna: The package.
        study: Optuna's study.
        measure: The measure that is optimised.
    """

    def __init__(self, optuna: Any, study: Any, measure: Measure) -> None:
        self._optuna, self._study, self._measure = optuna, study, measure
        self._states = optuna.trial.TrialState

    @property
    def seconds(self) -> float:
        """How long all trials took, in all processes."""
        return float(self._study.user_attrs.get("seconds", 0.0))

    @seconds.setter
    def seconds(self, value: float) -> None:
        self._study.set_user_attr("seconds", value)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The trials that are done."""
        kept = [each.user_attrs for each in self._study.get_trials(deepcopy=False)]
        return tuple(Trial.from_dict(each["trial"]) for each in kept if "trial" in each)

    def read(self, name: str) -> Trial | None:
        """Return the trial with this name that `keep` stored; None if there is none."""
        kept = self._study.user_attrs.get(name)
        return None if kept is None else Trial.from_dict(kept)

    def keep(self, found: Trial) -> None:
        """Store a trial by its name, separately from the trials that Optuna suggests."""
        self._study.set_user_attr(found.name, found.to_dict())

    def ask(self) -> Any:
        """Return Optuna's next trial."""
        return self._study.ask()

    def is_hopeless(self, asked: Any, found: Trial) -> bool:
        """Report a trial's folds so far to Optuna; return whether to stop the trial."""
        asked.report(getattr(found, self._measure), step=len(found.losses))
        return bool(asked.should_prune())

    def tell(self, asked: Any, found: Trial) -> None:
        """Store the result of a trial."""
        asked.set_user_attr("trial", found.to_dict())
        if found.is_complete:
            self._study.tell(asked, getattr(found, self._measure))
        else:
            self._study.tell(asked, state=self._states.PRUNED)

    def restart_unfinished(self) -> None:
        """Let Optuna suggest again the settings of trials that were begun but not finished."""
        for each in self._study.get_trials(deepcopy=False, states=(self._states.RUNNING,)):
            self._study.tell(each.number, state=self._states.FAIL)
            self._study.enqueue_trial(each.params)

    def check_same(self, identity: Mapping[str, str], folder: Path) -> None:
        """Refuse a folder with other images or settings; store these in a new folder."""
        for name, value in identity.items():
            kept = self._study.user_attrs.get(name)
            if kept is None:
                self._study.set_user_attr(name, value)
            elif kept != value:
                raise ConfigError(
                    Argument("folder"),
                    " must be new, or that of a tuning of the same images and settings, got "
                    f"{str(folder)!r}, whose {name} are others.",
                )

    def find_importances(self, *, seed: int) -> dict[str, float]:
        """Return the share of variance that each setting explains; empty with too few trials."""
        complete = self._study.get_trials(deepcopy=False, states=(self._states.COMPLETE,))
        if len(complete) < _MIN_COMPLETE or len({each.value for each in complete}) < 2:
            return {}
        importance = self._optuna.importance
        evaluator = importance.FanovaImportanceEvaluator(seed=seed)
        found = importance.get_param_importances(self._study, evaluator=evaluator)
        return {name: float(share) for name, share in found.items()}


@contextmanager
def open_study(
    measure: Measure, *, seed: int, folder: Path | None, identity: Mapping[str, str]
) -> Iterator[Study]:
    """Yield the study of a folder, which one process at a time can open, or one in memory.

    Args:
        measure: The measure that is optimised.
        seed: The seed of the sampler.
        folder: The folder; None stores no trials.
        identity: Values by name that must be the same in all processes.
    """
    optuna = optional.require("optuna", extra="optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS)
    direction = "minimize" if measure == "loss" else "maximize"

    def create(**storage: Any) -> Any:
        study = optuna.create_study(direction=direction, pruner=pruner, **storage)
        # another seed for each process, because the same seed would draw the same trials again
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=_STARTUP_TRIALS, seed=seed + len(study.get_trials(deepcopy=False))
        )
        return Study(optuna, study, measure)

    if folder is None:
        yield create()
        return
    folder.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(folder / _JOURNAL))
    try:
        with locks.hold(folder / _LOCK):
            storage = optuna.storages.JournalStorage(backend)
            found = create(storage=storage, study_name="tlkit", load_if_exists=True)
            found.check_same(identity, folder)
            found.restart_unfinished()
            yield found
    except locks.LockHeldError as error:
        raise ConfigError(
            Argument("folder"), f" must not be that of a tuning that still runs: {str(folder)!r}."
        ) from error
