"""What a report tells of a finished run, as plain values that agree with each other."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import keras
from matplotlib.figure import Figure

from tlkit._internal.keras_private import operation_of
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation.metrics import Evaluation
from tlkit.models.freezing import FreezePlan
from tlkit.models.inspection import backbone_of
from tlkit.models.layers import GrayToRGBResize
from tlkit.training.records import PhaseRun

_FILE_NAME = re.compile(r"[\w-]+")


@dataclass(frozen=True, kw_only=True)
class PhaseFacts:
    """One phase of training, as a report tells it; `phase_facts` makes it.

    Attributes:
        name: "head" or "fine_tune".
        epochs: How many there were.
        best_epoch: The one whose weights were kept, from 1; 0 for those from before the phase.
        learning_rate: In words.
        frozen_layers: How many layers of the backbone stayed as they were.
        trained_layers: How many were trained.
        seconds: How long it took.
        moved: How many weight tensors moved.
        untouched: How many were proved to be the same, bit for bit.
        last: The loss and the metrics of the last epoch by name.
        solved: Whether the head was computed at once, not trained in epochs.
    """

    name: str
    epochs: int
    best_epoch: int
    learning_rate: str
    frozen_layers: int
    trained_layers: int
    seconds: float
    moved: int
    untouched: int
    last: Mapping[str, float] = field(default_factory=dict)
    solved: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportFacts:
    """All that a report is made of.

    Attributes:
        title: Its heading.
        source: Where the images come from, in a few words.
        counts: How many images of each class each part has: `{"train": {"cat": 10, ...}, ...}`;
            one part is "test".
        preprocessing: What is done to an image, a sentence each; see `preprocessing`.
        backbone: Its name.
        weights: What it began with: "imagenet", "starter", None for random, or a file's path.
        model: What the classifier is made of, a sentence each; see `model_lines`.
        phases: What training did.
        evaluation: How good it is on the test images.
        figures: Figures by name; "curves", "confusion" and "calibration" have a place of their
            own, the others are shown in their order.
        environment: Versions, the machine and the date, as
            `tlkit.experiments.run_folder.environment` returns them.
        command: What was typed, to be typed again; empty where nothing was.
        seed: What all that is random began with.
        seconds: How long it all took.
        unreadable: The files and folders that could not be used, and why; None where images were
            not read from files.
        duplicates: Pairs of images that are the same or look it; None where nobody looked.
        duplicates_were: What was done about them, such as "kept in one part".
        two_labels: Those of the pairs that are the same image with different labels.
        test_source: Where the test images come from, if from elsewhere.
        joules: The energy it took; None where it was not measured.
        captions: What figures show, by name, for those that tlkit does not know.
        left_out: Why a figure could not be made, by its name: half a sentence.
        license: The model's, for its card, as Hugging Face names it: "mit".

    Raises:
        ConfigError: A figure's name can't be a file's.
        DataError: The counts are not those of the evaluation.
    """

    title: str
    source: str
    counts: Mapping[str, Mapping[str, int]]
    preprocessing: Sequence[str]
    backbone: str
    weights: str | None
    model: Sequence[str]
    phases: Sequence[PhaseFacts]
    evaluation: Evaluation
    figures: Mapping[str, Figure]
    environment: Mapping[str, str]
    command: str
    seed: int
    seconds: float
    unreadable: Sequence[tuple[str, str]] | None = None
    duplicates: Sequence[tuple[str, str]] | None = None
    duplicates_were: str = "kept in one part"
    two_labels: Sequence[tuple[str, str]] = ()
    test_source: str | None = None
    joules: float | None = None
    captions: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    license: str | None = None

    def __post_init__(self) -> None:
        for name in self.figures:
            if not _FILE_NAME.fullmatch(name):
                raise ConfigError(
                    "`figures` must be named by letters, digits, - and _, for their files, got "
                    f"{name!r}."
                )
        tested = {score.name: score.support for score in self.evaluation.classes}
        if dict(self.counts.get("test", {})) != tested:
            raise DataError(
                f"`counts` must hold what was tested under 'test', {tested}, "
                f"got {dict(self.counts.get('test', {}))}."
            )

    def total(self, part: str) -> int:
        """Return how many images a part has."""
        return sum(self.counts.get(part, {}).values())


def phase_facts(run: PhaseRun, plan: FreezePlan) -> PhaseFacts:
    """Return what a report tells of a phase.

    Args:
        run: What the phase did: one of `Run.phases`.
        plan: What it froze, by `tlkit.freezing.plan`.
    """
    last = {
        name: values[-1]
        for name, values in run.history.items()
        if not name.endswith("learning_rate")
    }
    return PhaseFacts(
        name=run.name,
        epochs=run.num_epochs,
        best_epoch=run.best_epoch,
        learning_rate=_learning_rate(run),
        frozen_layers=len(plan.frozen),
        trained_layers=len(plan.trained),
        seconds=run.seconds,
        moved=run.movement.moved,
        untouched=run.movement.untouched,
        last=last,
        solved=not _rates(run),
    )


def preprocessing(model: keras.Model) -> tuple[str, ...]:
    r"""Return what a classifier does to a raw image before its backbone, a sentence each.

    Args:
        model: A classifier from build_classifier.

    Examples:
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> print(*preprocessing(build_classifier(backbone, 2, pixels=(0, 1))), sep="\n")
        Images are resized to 8 x 8 pixels (bilinear).
        Values from 0 to 255 become values from 0 to 1.
        All of this is part of the model: its file takes raw images.
    """
    lines = []
    for layer in model.layers:
        if isinstance(layer, GrayToRGBResize):
            height, width = layer.size
            lines += [
                f"Images are resized to {height} x {width} pixels ({layer.interpolation}).",
                f"Values from {_interval(layer.input_range)} become values from "
                f"{_interval(layer.output_range)}.",
            ]
            if model.input_shape[-1] == 1 or len(model.input_shape) == 3:
                lines.append("Grey is copied to three equal channels.")
        if isinstance(layer, keras.layers.Normalization):
            lines.append("Each channel is shifted and scaled as the backbone's weights expect.")
    height, width = model.input_shape[1:3]
    takes = "raw images" if height is None else f"images of {height} x {width} pixels"
    return (*lines, f"All of this is part of the model: its file takes {takes}.")


def model_lines(model: keras.Model) -> tuple[str, ...]:
    """Return what a classifier is made of, a sentence each.

    Args:
        model: A classifier from build_classifier.
    """
    backbone = backbone_of(model)
    read = [repr(operation_of(tensor).name) for tensor in backbone.outputs]
    head = sum(layer.count_params() for layer in model.layers if layer is not backbone)
    return (
        f"The head reads the backbone after {' and '.join(read)} and has {head:,} weights.",
        "The backbone is kept as far as the head reads it; any layers of the original network "
        f"beyond that are not part of the classifier. So it has {len(backbone.layers):,} layers "
        f"with {backbone.count_params():,} weights here.",
        f"The output is a probability for each of {model.output_shape[-1]:,} classes (softmax).",
    )


def _rates(run: PhaseRun) -> list[float]:
    """Return the learning rate of each epoch; none where the head was solved."""
    return run.history.get("learning_rate", [])


def _learning_rate(run: PhaseRun) -> str:
    rates = _rates(run)
    if not rates:
        return "none: the head was solved"
    if rates[0] == rates[-1]:
        return f"{rates[0]:.3g}"
    return f"{rates[0]:.3g} after the first epoch, {rates[-1]:.3g} after the last"


def _interval(bounds: tuple[float, float]) -> str:
    low, high = bounds
    return f"{low:g} to {high:g}"
