"""Solve, calibrate and evaluate a head by features that are spread over a cluster."""

from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
from scipy.special import softmax

from tlkit.distributed import head
from tlkit.distributed.drawn_split import Survey
from tlkit.distributed.feature_set import FeatureSet
from tlkit.distributed.shards import Shards
from tlkit.evaluation.calibration import Calibration, calibrate_by
from tlkit.evaluation.metrics import Evaluation, compute_metrics
from tlkit.evaluation.summed_metrics import to_evaluation
from tlkit.models.inspection import class_names, head_of, probabilities_of
from tlkit.training import ood_detector
from tlkit.training.head_solver import solver_of
from tlkit.training.linear import Linear
from tlkit.training.phase import SolvedHead


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterHead:
    """A classifier, and the features of all images.

    Attributes:
        model: The classifier; its head is changed.
        features: The features that its head reads.
        shards: The processes that hold the features.
        survey: The number of images in each part, and samples of them.
    """

    model: keras.Model
    features: FeatureSet
    shards: Shards
    survey: Survey

    def solve(self, phase: SolvedHead, *, seed: int) -> dict[str, float]:
        """Set the head to the solution for the training images, and return their metrics.

        Args:
            phase: The settings of the solver.
            seed: The seed of the images that are held out to choose the penalty.
        """
        dense = head_of(self.model)
        solver, classes = solver_of(self.model, phase), dense.units
        solution = head.solve(self.shards, solver, classes=classes, seed=seed)
        loss, correct = self.shards.add_up("measure", solution)
        dense.kernel.assign(solution.kernel)
        dense.bias.assign(solution.bias)
        count = self.survey.total("train")
        accuracy = float(correct / count)
        return {"loss": float(loss / count), "accuracy": accuracy, "penalty": solution.penalty}

    def fit_detector(self, seed: int) -> None:
        """Store an out-of-distribution detector of the training images in the model.

        Args:
            seed: The seed of the images that it is fitted to, if there are too many.
        """
        count = self.survey.total("train")
        if count < ood_detector.MIN_IMAGES:
            return
        rows = ood_detector.draw_images(count, np.random.default_rng(seed))
        detector = ood_detector.fit(*self._take("train", rows))
        probabilities_of(self.model).stored |= detector.to_arrays()

    def calibrate(self) -> Calibration:
        """Fit the temperature to the validation images, or to the sample of them."""
        sample = self._take_sample("validation")
        return calibrate_by(self.model, lambda: self._measure(*sample))

    def evaluate(self) -> Evaluation:
        """Return the metrics of all test images, with the predictions of the sample of them."""
        sampled = self._measure(*self._take_sample("test"))
        if sampled.count == self.survey.total("test"):
            return sampled
        totals = self.shards.add_up("evaluate", self._linear, self._temperature, "test")
        return to_evaluation(
            totals,
            class_names(self.model),
            labels=sampled.labels,
            probabilities=sampled.probabilities,
        )

    def _measure(self, features: np.ndarray, labels: np.ndarray) -> Evaluation:
        logits = self._linear.logits(features) / self._temperature
        return compute_metrics(labels, softmax(logits, axis=1), class_names=class_names(self.model))

    def _take_sample(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        return self._take(part, self.survey.samples[part].rows)

    def _take(self, part: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.shards.take(rows, part=part, counts=self.survey.counts[part])

    @property
    def _temperature(self) -> float:
        return float(probabilities_of(self.model).temperature)

    @cached_property
    def _linear(self) -> Linear:
        """The head, after it was solved."""
        dense = head_of(self.model)
        kernel, bias = (keras.ops.convert_to_numpy(each) for each in (dense.kernel, dense.bias))
        return Linear(kernel=kernel, bias=bias, penalty=0.0)
