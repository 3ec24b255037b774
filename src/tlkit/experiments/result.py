"""The result of an experiment, and its metrics as values that JSON can hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlkit.data.listings import PARTS
from tlkit.data.splits import Split
from tlkit.evaluation.cross_validation import CrossValidation
from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.probing.search_result import BackboneSearch
from tlkit.experiments.additions import Additions
from tlkit.experiments.divided_images import DividedImages
from tlkit.experiments.trained import Trained


@dataclass(frozen=True, kw_only=True, eq=False)
class ExperimentResult:
    """The result of an experiment.

    Attributes:
        folder: The run's folder.
        split: The training, validation and test images. On a cluster: a sample of the training
            images, no validation images, and the test images or, if they are many, a sample.
        trained: The classifier and the record of its training.
        evaluation: Metrics on the test images; with folds, on all images.
        cross_validation: The results of the folds; None without folds.
        additions: The accuracy on old and new images; None if no images were added.
        search: The comparison of backbones; None if the user named one backbone.
        stages: The seconds of each stage, by its name.
        divided: How many images each part has, if they are on a cluster; None otherwise.
    """

    folder: Path
    split: Split
    trained: Trained
    evaluation: Evaluation
    cross_validation: CrossValidation | None = None
    additions: Additions | None = None
    search: BackboneSearch | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    divided: DividedImages | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics, seconds and counts of images as values that JSON can hold."""
        images = {name: len(getattr(self.split, name)) for name in PARTS}
        return {
            **self.evaluation.to_dict(),
            "seconds": self.trained.seconds,
            "images": images if self.divided is None else self.divided.num_images,
            **({} if self.cross_validation is None else {"folds": self.cross_validation.to_dict()}),
            "additions": None if self.additions is None else self.additions.to_dict(),
            "search": None if self.search is None else self.search.to_dict(),
            "choice": None if self.trained.choice is None else self.trained.choice.to_dict(),
            "stages": dict(self.stages),
        }
