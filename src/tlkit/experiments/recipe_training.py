"""Train the phases of a recipe, as far as a budget of time allows."""

import time
from dataclasses import dataclass, replace

import keras

from tlkit.caching.cache import Cache
from tlkit.caching.progress import CacheProgress
from tlkit.data.image_dataset import ImageDataset
from tlkit.evaluation.evaluator import predict
from tlkit.experiments.recipe_checkpoint import RecipeCheckpoint
from tlkit.training import ood_detector
from tlkit.training.phase import Phase, SolvedHead
from tlkit.training.records import PhaseRun, Run
from tlkit.training.time_budget import Deadline, train_within
from tlkit.training.trainer import TwoPhaseTrainer, train_phase

_TIMED = 64  # images of which a prediction is timed
_MAX_DESCRIBED = 10_000  # more are run by a faster engine


@dataclass(frozen=True, kw_only=True)
class RecipeTraining:
    """A training of a recipe's phases.

    Attributes:
        model: The classifier, with a new head.
        head: The first phase.
        fine_tune: The second phase; None trains the head only.
        seed: The seed of the head; that of fine-tuning is the next.
        until: When the budget is over, by `time.perf_counter`; None without a budget.
        places: Where the state of each phase is saved.
        cache: As for `Recipe.train`.
        verbose: As for `Recipe.train`.
    """

    model: keras.Model
    head: Phase | SolvedHead
    fine_tune: Phase | None
    seed: int
    until: float | None
    places: RecipeCheckpoint
    cache: Cache | None
    verbose: bool

    def run(self, data: ImageDataset) -> Run:
        """Train both phases, or those that there is time for."""
        if self.until is None:
            trainer = TwoPhaseTrainer(
                head=self.head,
                fine_tune=self.fine_tune,
                seed=self.seed,
                cache=self.cache,
                checkpoint=self.places.folder,
            )
            return trainer.fit(self.model, data, verbose=self.verbose)
        runs = [self.train_head(data)]
        if self.fine_tune is not None:
            reserve = self.time_image(data) * count_described(data)
            more = self.train_tail(self.fine_tune, data, reserve=reserve)
            runs += [] if more is None else [more]
        return Run(phases=tuple(runs))

    def train_head(self, data: ImageDataset, *, name: str = "head") -> PhaseRun:
        """Train or solve the head."""
        return self._train(self._limit(self.head), data, name=name, seed=self.seed)

    def train_tail(
        self, phase: Phase, data: ImageDataset, *, name: str = "fine_tune", reserve: float = 0.0
    ) -> PhaseRun | None:
        """Fine-tune as many epochs as fit; return None if not even one does.

        Args:
            phase: The phase.
            data: The images.
            name: The phase's name, and that of the folder of its state.
            reserve: Seconds of the budget to leave for what comes after.
        """
        if self.until is None:
            return self._train(phase, data, name=name, seed=self.seed + 1)
        return train_within(
            self.model,
            phase,
            data,
            name=name,
            seconds=self.until - reserve - time.perf_counter(),
            seed=self.seed + 1,
            cache=self.cache,
            checkpoint=self.places.of(name),
            verbose=self.verbose,
        )

    def train_whole_tail(self, phase: Phase, data: ImageDataset) -> PhaseRun:
        """Fine-tune all epochs, for which there should be time; a deadline stops them otherwise."""
        return self._train(self._limit(phase), data, name="fine_tune", seed=self.seed + 1)

    def time_image(self, data: ImageDataset) -> float:
        """Return the seconds that a prediction takes for one image; 0 without a budget."""
        if self.until is None:
            return 0.0
        few = data.take(slice(_TIMED)).images
        predict(self.model, few)  # compiles
        started = time.perf_counter()
        predict(self.model, few)
        return (time.perf_counter() - started) / len(few)

    def has_begun(self, name: str) -> bool:
        """Return whether an earlier process has kept a state of this phase."""
        folder = self.places.of(name)
        return folder is not None and folder.exists()

    def may_fit_epoch(self, data: ImageDataset, held_out: ImageDataset) -> bool:
        """Return whether an epoch of fine-tuning, and its evaluation, may fit into the budget.

        An epoch takes at least about as long as predicting its images. If not even that fits, a
        comparison with the head alone would only delay the head.
        """
        return self.seconds_left() > 0 and (
            self.until is None
            or self.time_image(data) * (len(data) + len(held_out)) < self.seconds_left()
        )

    def seconds_left(self) -> float:
        """Return the seconds that are left of the budget; infinity without one."""
        return float("inf") if self.until is None else self.until - time.perf_counter()

    def print(self, shown: object) -> None:
        """Print what was found, if it is verbose."""
        CacheProgress(verbose=self.verbose).print(str(shown))

    def _limit(self, phase: Phase | SolvedHead) -> Phase | SolvedHead:
        if self.until is None or isinstance(phase, SolvedHead):
            return phase
        return replace(phase, callbacks=(*phase.callbacks, Deadline(self.until)))

    def _train(
        self, phase: Phase | SolvedHead, data: ImageDataset, *, name: str, seed: int
    ) -> PhaseRun:
        return train_phase(
            self.model,
            phase,
            data,
            name=name,
            seed=seed,
            cache=self.cache,
            checkpoint=self.places.of(name),
            verbose=self.verbose,
        )


def count_described(data: ImageDataset) -> int:
    """Return how many images run again after the training, to describe what they are like."""
    is_described = not data.is_multi_label and len(data) >= ood_detector.MIN_IMAGES
    return min(len(data), _MAX_DESCRIBED) if is_described else 0
