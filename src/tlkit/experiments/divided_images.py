"""The images of a run that are not listed one by one: how many each part has, and how divided."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tlkit.data.image_dataset import Problem
from tlkit.experiments.experiment import Experiment
from tlkit.experiments.loading import image_size_of
from tlkit.reports.titles import name_images

_MAX_PROBLEMS = 10_000  # in config.json; the record of the features has all


@dataclass(frozen=True, kw_only=True)
class DividedImages:
    """The images of a run on a cluster.

    Attributes:
        name: The name of the images.
        counts: The number of images of each class in each part.
        num_sampled: How many test images were drawn for the figures; None if they are all.
        is_listed: Whether `split.csv` lists all images, not only the sample of the test images.
        problems: Files and folders that were left out, with the reasons.
        own_parts: The parts that the user made; empty if all were drawn.
        features: The place of the features, and how they were computed.
    """

    name: str
    counts: Mapping[str, Mapping[str, int]]
    num_sampled: int | None
    is_listed: bool
    problems: tuple[tuple[str, str], ...]
    own_parts: tuple[str, ...]
    features: Mapping[str, Any]

    @property
    def num_images(self) -> dict[str, int]:
        """The number of images in each part."""
        return {part: sum(counts.values()) for part, counts in self.counts.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as values that JSON can hold."""
        problems = [list(each) for each in self.problems]
        return {**asdict(self), "problems": problems, "own_parts": list(self.own_parts)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DividedImages":
        """Return the inverse of `to_dict`."""
        problems = tuple((str(path), str(reason)) for path, reason in values["problems"])
        own_parts = tuple(str(part) for part in values["own_parts"])
        return cls(**{**values, "problems": problems, "own_parts": own_parts})

    def describe(self, experiment: Experiment) -> dict[str, Any]:
        """Return the fields of `ReportFacts` on the images.

        Args:
            experiment: The settings.
        """
        return {
            "title": experiment.title or f"Classifying {name_images(self.name)}",
            "source": name_images(self.name),
            "counts": {part: found for part, found in self.counts.items() if any(found.values())},
            "num_images": self.num_images,
            "image_size": image_size_of(experiment),
            "fit": experiment.fit,
            "unreadable": self.problems,
            "drawn_by_content": not self.own_parts,
            "own_parts": self.own_parts,
            "num_sampled": self.num_sampled,
        }


def keep_problems(problems: Iterable[Problem]) -> tuple[tuple[str, str], ...]:
    """Return the first problems as pairs of path and reason."""
    return tuple((each.path, each.reason) for each in problems)[:_MAX_PROBLEMS]
