"""Train the phases of a recipe, as far as a time budget allows."""

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

_TIMED = 64  # images for timing a prediction


@dataclass(frozen=True, kw_only=True)
class RecipeTraining:
    """A training of a recipe's phases.

    Attributes:
        model: The classifier, with a new head.
        head: The first phase.
        fine_tune: The second phase; None trains the head only.
        seed: The seed of the head; that of fine-tuning is the next number.
        until: The end of the budget, by `time.perf_counter`; None without a budget.
        places: The folders where the state of each phase is saved.
        cache: As for `Recipe.train`.
        validation_data: The images to evaluate after every epoch; None evaluates none.
        verbose: As for `Recipe.train`.
    """

    model: keras.Model
    head: Phase | SolvedHead
    fine_tune: Phase | None
    seed: int
    until: float | None
    places: RecipeCheckpoint
    cache: Cache | None
    validation_data: ImageDataset | None
    verbose: bool

    def run(self, data: ImageDataset) -> Run:
        """Train both phases, or those for which there is time."""
        if self.until is None:
            trainer = TwoPhaseTrainer(
                head=self.head,
                fine_tune=self.fine_tune,
                seed=self.seed,
                cache=self.cache,
                checkpoint=self.places.folder,
            )
            return trainer.fit(
                self.model, data, validation_data=self.validation_data, verbose=self.verbose
            )
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
        """Fine-tune for as many epochs as fit; return None if not one fits.

        Args:
            phase: The phase.
            data: The images.
            name: The name of the phase, and of the folder of its state.
            reserve: The seconds of the budget to leave for later work.
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
        """Fine-tune for all epochs if there is time; a deadline stops the phase otherwise."""
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
        """Print an object, if the training is verbose."""
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
            validation_data=self.validation_data,
            seed=seed,
            cache=self.cache,
            checkpoint=self.places.of(name),
            verbose=self.verbose,
        )


def count_described(data: ImageDataset) -> int:
    """Return how many images are processed after training, to fit the OOD detector to them."""
    is_described = not data.is_multi_label and len(data) >= ood_detector.MIN_IMAGES
    return min(len(data), ood_detector.MAX_IMAGES) if is_described else 0
