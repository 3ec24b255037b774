"""Try fine-tuning on a part of the training images, and train the best candidate on all of them."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from tlkit._internal import user_warnings
from tlkit.data.image_dataset import ImageDataset
from tlkit.data.splits import hold_out
from tlkit.evaluation.calibration import set_temperature
from tlkit.evaluation.candidates import Candidate, Choice, best, measure
from tlkit.experiments.recipe_training import RecipeTraining, count_described
from tlkit.training.phase import Phase
from tlkit.training.records import PhaseRun, Run

MIN_HELD_OUT = 20
"""How many images are needed to compare candidates."""

_MAX_HELD_OUT = 2000  # images; more would make the comparison little better
_MAX_LEFT_OUT = 0.05  # of the images; if at most this share is held out, the trial is the result
_SHARES = (0.25, 0.5, 0.75, 1.0)  # of the way to the weights after fine-tuning
_MAX_RATES = 3  # learning rates to try
_STEP = 3.0  # the ratio of consecutive learning rates
_TRIAL_HEAD = "trial-head"
_MARGIN = 1.2  # times the seconds of a trial, for the same number of images


# Fine-tuning can make a good head worse, if there are too few images, or if the learning rate is
# too high for so few steps. The training loss does not show this. So a share of the training images
# is held out, the head is solved on the others, and fine-tuning is tried from there at up to three
# learning rates. The candidates are the head alone, the end of each fine-tuning, and weights
# between both; they are compared on the images held out. The best candidate is trained again on all
# images, with the same share. If there are many images, only few are held out, and the trial itself
# is the result; so it is if the budget leaves no time to train again.
def choose_and_train(
    training: RecipeTraining, phase: Phase, data: ImageDataset, *, share: float
) -> tuple[Run, Choice | None]:
    """Try fine-tuning, and train the best candidate.

    Args:
        training: The training of the recipe; its model has a new head.
        phase: The phase of fine-tuning.
        data: The training images.
        share: The share of the images to hold out, 0 to 1.

    Returns:
        The records of the phases, and the choice; None if there are too few images to choose.
    """
    share = min(share, _MAX_HELD_OUT / len(data))
    rest, held_out = hold_out(data, share, seed=training.seed)
    if len(held_out) < MIN_HELD_OUT:
        user_warnings.warn(
            f"{len(data):,} images are too few to tell whether fine-tuning helps, for which "
            f"{MIN_HELD_OUT} must be held out: the head alone was trained. `held_out=0` fine-tunes "
            "without."
        )
        return Run(phases=(training.train_head(data),)), None
    if not training.has_begun(_TRIAL_HEAD) and not training.may_fit_epoch(rest, held_out):
        return Run(phases=(training.train_head(data),)), None
    started, new = time.perf_counter(), training.model.get_weights()
    is_repeated = share > _MAX_LEFT_OUT
    tried = replace(training, validation_data=None) if is_repeated else training
    trials = _Trials(tried, phase, rest, held_out, is_repeated=is_repeated)
    trials.run()
    choice = Choice(
        candidates=tuple(trials.candidates),
        num_held_out=len(held_out),
        seconds=time.perf_counter() - started,
    )
    training.print(choice)
    runs: list[PhaseRun] = []
    if trials.is_repeated or choice.chosen.learning_rate is None:
        training.model.set_weights(new)
        runs = trials.train_again(choice.chosen, data, training)
    refitted = bool(runs)
    if not refitted:
        runs = trials.take(choice.chosen)
    if choice.chosen.learning_rate is not None:
        set_temperature(training.model, choice.chosen.temperature)
    return Run(phases=tuple(runs)), replace(choice, refitted=refitted)


@dataclass(frozen=True, kw_only=True)
class _Tail:
    """A fine-tuning that was tried: its phase, its record and the weights after it."""

    phase: Phase
    run: PhaseRun
    weights: list[np.ndarray]


class _Trials:
    """The head, trained on a part of the images, and the results of fine-tuning from there.

    Args:
        training: The training of the recipe.
        phase: The phase of fine-tuning.
        rest: The images to train on.
        held_out: The images to compare on.
        is_repeated: Whether the best candidate is to be trained again on all images. If not, there
            are so many images that another rate takes minutes, so it is tried only if the first
            brings no improvement.
    """

    def __init__(
        self,
        training: RecipeTraining,
        phase: Phase,
        rest: ImageDataset,
        held_out: ImageDataset,
        *,
        is_repeated: bool,
    ) -> None:
        self._training, self._phase, self._rest, self._held_out = training, phase, rest, held_out
        self.is_repeated = is_repeated
        self._tails: dict[float | None, _Tail] = {}
        self._head = training.train_head(rest, name=_TRIAL_HEAD)
        self._before = training.model.get_weights()
        stored = training.cache if training.cache and training.cache.folder else None
        self.candidates = [measure(training.model, held_out, cache=stored)]

    def run(self) -> None:
        """Fine-tune at one learning rate after the other, and measure the candidates of each."""
        training = self._training
        num_measured = len(_SHARES) * len(self._held_out) + count_described(self._rest)
        reserve = num_measured * training.time_image(self._rest)
        rate: float | None = self._first_rate()
        while rate is not None:
            training.model.set_weights(self._before)
            name = f"trial-{len(self._tails) + 1}"
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The phase .* diverged", UserWarning)
                phase = self._at(rate)
                run = training.train_tail(phase, self._rest, name=name, reserve=reserve)
            if run is None:
                return
            tail = _Tail(phase=phase, run=run, weights=training.model.get_weights())
            self._tails[rate] = tail
            self._measure(tail, rate)
            is_schedule = isinstance(
                phase.learning_rate, keras.optimizers.schedules.LearningRateSchedule
            )
            if is_schedule or training.seconds_left() - reserve < _MARGIN * run.seconds:
                return
            rate = next_rate(self.candidates, self._first_rate(), may_raise=self.is_repeated)

    def train_again(
        self, chosen: Candidate, data: ImageDataset, training: RecipeTraining
    ) -> list[PhaseRun]:
        """Train a candidate on all images; return an empty list without time or if it diverged."""
        tail = self._tails.get(chosen.learning_rate)
        if tail is None:
            return [training.train_head(data)]
        wanted = _MARGIN * tail.run.seconds * len(data) / len(self._rest)
        if tail.run.out_of_time or training.seconds_left() < wanted:
            return []
        head = training.train_head(data)
        before = training.model.get_weights()
        run = training.train_whole_tail(tail.phase, data)
        if run.out_of_time or run.diverged is not None:
            return []
        training.model.set_weights(blend(before, training.model.get_weights(), chosen.share))
        return [head, run]

    def take(self, chosen: Candidate) -> list[PhaseRun]:
        """Set the model to a candidate of the trials with fine-tuning; return its phases."""
        tail = self._tails[chosen.learning_rate]
        self._training.model.set_weights(blend(self._before, tail.weights, chosen.share))
        return [replace(self._head, name="head"), replace(tail.run, name="fine_tune")]

    def _measure(self, tail: _Tail, rate: float) -> None:
        model = self._training.model
        diverged = tail.run.diverged is not None
        for share in _SHARES[-1:] if diverged else _SHARES:
            model.set_weights(blend(self._before, tail.weights, share))
            how: dict[str, Any] = {"learning_rate": rate, "share": share, "diverged": diverged}
            self.candidates.append(measure(model, self._held_out, **how))

    def _first_rate(self) -> float:
        given = self._phase.learning_rate
        if isinstance(given, int | float):
            return float(given)
        return float(keras.ops.convert_to_numpy(self._phase.create_optimizer().learning_rate))

    def _at(self, rate: float) -> Phase:
        if rate == self._first_rate():
            return self._phase
        return replace(self._phase, learning_rate=rate)


def next_rate(
    candidates: Sequence[Candidate], first: float, *, may_raise: bool = True
) -> float | None:
    """Return the learning rate to try next; None if no other rate is worth trying.

    A rate that diverged, or brought no improvement, is lowered. A rate is raised if the end of its
    fine-tuning is the best candidate of all.

    Args:
        candidates: The candidates tried: the head alone, then the shares of each fine-tuning.
        first: The first rate.
        may_raise: Whether a rate may be raised.
    """
    alone, *tuned = candidates
    rates = [*dict.fromkeys(each.learning_rate for each in tuned)]
    if not rates:
        return first
    last = rates[-1]
    if len(rates) == _MAX_RATES or last is None:
        return None
    better = [each for each in tuned if each.improves(alone)]
    if not any(each.learning_rate == last for each in better):
        return last / _STEP if last <= first else None
    found = best(better)
    is_end_best = found.learning_rate == last and found.share == 1
    return last * _STEP if may_raise and is_end_best and last >= first else None


def blend(
    before: Sequence[np.ndarray], after: Sequence[np.ndarray], share: float
) -> list[np.ndarray]:
    """Return the weights at a share of the way from those before fine-tuning to those after it.

    These weights are often more accurate than both ends (Wortsman et al., 2021, arXiv:2109.01903).
    Weights that are equal before and after stay the same, bit for bit.

    Args:
        before: Weights as `get_weights` returns them.
        after: The weights after fine-tuning, in the same form.
        share: The share, 0 to 1.

    Examples:
        >>> blend([np.float32([0, 1])], [np.float32([1, 1])], 0.25)
        [array([0.25, 1.  ], dtype=float32)]
    """
    if share == 1:
        return [*after]
    return [
        start + np.asarray(share, start.dtype) * (end - start)
        if np.issubdtype(start.dtype, np.floating)
        else end  # such as a counter
        for start, end in zip(before, after, strict=True)
    ]
