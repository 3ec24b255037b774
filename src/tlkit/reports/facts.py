"""The values that a report states about a finished run, checked for agreement with each other."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, get_args

import keras
from matplotlib.figure import Figure

from tlkit._internal import arguments
from tlkit._internal.keras_private import operation_of
from tlkit._internal.signatures import check_arguments
from tlkit._internal.text import show
from tlkit.data.decoding import Fit, check_fit
from tlkit.data.splits import Duplicates
from tlkit.errors import ConfigError, DataError
from tlkit.evaluation.candidates import Choice
from tlkit.evaluation.class_metrics import ClassMetrics
from tlkit.evaluation.estimates import Estimate
from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.prediction_sets import MeasuredSets
from tlkit.evaluation.probing.search_result import BackboneSearch
from tlkit.models.freezing import FreezePlan
from tlkit.models.inspection import backbone_of, probabilities_of
from tlkit.models.layers import GrayToRGBResize
from tlkit.training.records import PhaseRun

_FILE_NAME = re.compile(r"[\w-]+")


@dataclass(frozen=True, kw_only=True)
class PhaseFacts:
    """The values that a report states about one phase of training; see `phase_facts`.

    Attributes:
        name: "head" or "fine_tune".
        epochs: The number of epochs.
        best_epoch: The epoch whose weights were restored, from 1; 0 for the weights from before
            the phase.
        learning_rates: The learning rates after the first and the last epoch; None if the head was
            solved, which takes no epochs.
        frozen_layers: How many layers of the backbone were frozen.
        trained_layers: How many layers of the backbone were trained.
        seconds: How long the phase took.
        moved: How many weight tensors changed.
        untouched: How many weight tensors are the same, bit for bit.
        metrics: The loss and the metrics of the last epoch, by name.
        losses: The loss on training images in each epoch; empty if the head was solved.
        settings: The settings of the phase as text, by names such as "optimizer" and "batch size".
    """

    name: str
    epochs: int
    best_epoch: int
    learning_rates: tuple[float, float] | None
    frozen_layers: int
    trained_layers: int
    seconds: float
    moved: int
    untouched: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    losses: Sequence[float] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """The values that a report states about a classifier; see `model_facts`.

    Attributes:
        input_size: Height and width of the images that the classifier takes; None for any size.
        resized_to: Height and width that it resizes images to; None if it does not resize.
        interpolation: The interpolation of resizing.
        input_range: The lowest and the highest pixel value that it takes.
        output_range: The pixel values that the backbone gets for these.
        grayscale: Whether it copies one channel to three.
        standardized: Whether it shifts and scales each channel, as the backbone's weights need.
        feature_layers: The layers of the backbone whose outputs are the head's input.
        head_weights: How many weights the head has.
        backbone_layers: How many layers the backbone has.
        backbone_weights: How many weights the backbone has.
        temperature: The divisor of the logits.
        thresholds_chosen: Whether thresholds of a multi-label classifier were chosen on validation
            images.
    """

    input_size: tuple[int, int] | None = None
    resized_to: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    input_range: tuple[float, float] = (0, 255)
    output_range: tuple[float, float] = (0, 255)
    grayscale: bool = False
    standardized: bool = False
    feature_layers: tuple[str, ...]
    head_weights: int
    backbone_layers: int
    backbone_weights: int
    temperature: float = 1.0
    thresholds_chosen: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportFacts:
    """The values that a report states.

    Attributes:
        title: The title of the report.
        source: Where the images come from, in a few words.
        counts: The number of images of each class in each part: `{"train": {"cat": 10, ...}, ...}`;
            there must be a part "test".
        backbone: The name of the backbone.
        weights: The weights that training started from: "imagenet", "starter", "own" for those of a
            backbone from a file or a preset, None for random weights, or the path of a file.
        model: The facts of the classifier.
        phases: The facts of each phase of training.
        evaluation: The evaluation of the classifier on the test images.
        figures: Figures by name. "curves", "confusion", "classes" and "calibration" are shown in
            the sections they belong to, the others in their order under "Visualisations".
        environment: Versions, the machine and the date, as
            `tlkit.experiments.run_folder.environment` returns them.
        command: The command that repeats the run; may be empty.
        seed: The seed of the run.
        seconds: How long training took, including building the model and choosing features.
        image_size: Height and width at which image files were read, or one number for both; None
            if the images were not read from files.
        fit: How images of another aspect ratio were fitted: "crop", "pad" or "squash".
        augmentation: The random changes to images during training.
        class_weights: The weight of each class in training; None if all have the same weight.
        sets: The measured prediction sets of the test images; None if the classifier has none.
        ood_rejected: The share of the test images whose out-of-distribution score is above the
            threshold; None if the classifier has no such score.
        unreadable: Files and folders that could not be used, and why; None if the images were not
            read from files.
        num_replaced: How many of these files were replaced by grey images; others were left out.
        duplicates: Pairs of identical or nearly identical images; None if they were not searched
            for.
        duplicates_policy: How the split treated duplicates: "together", "allow" or "refuse".
        own_parts: The parts of the user's own split; empty if tlkit split the images.
        num_folds: How many folds the evaluation is pooled over; 0 if there are test images.
        fold_accuracy: The mean accuracy over the folds.
        duplicates_apart: How many pairs of duplicates are in different parts.
        conflicting_labels: The pairs of identical images with different labels.
        test_source: Where the test images come from, if it is not `source`.
        additions: The accuracy on old and new images, as `Additions.to_dict` returns it; None if no
            images were added.
        limit: The number of training images that the training was limited to; None without a limit.
        others: The results of other classifiers on the test images, each with "name", "accuracy",
            its "interval", "loss", the "difference" in accuracy from it with half the width of its
            95 % interval ("difference_interval"), and the "p_value" of McNemar's test.
        joules: The energy used; None if it was not measured.
        captions: Captions of figures by name, for figures that tlkit has no caption for.
        figure_errors: Why a figure could not be drawn, by its name: half a sentence.
        search: The comparison of backbones; None if the user named one backbone.
        choice: The comparison of fine-tuning with the head alone; None if there was no comparison.
        exports: The files in other formats, as a run's `exports.json` lists them.
        license: The license of the model for its card, as Hugging Face names it, such as "mit".
        has_probed: Whether a probe chose the layers that the head reads.
        pretraining_range: The pixel values that the backbone was pretrained on, if the run repeats
            an experiment as described that scales pixels to others; None otherwise.
        authors: The names of the authors of the report.
        num_images: How many images each part has, needed where images can have several classes, or
            none; by default the sum of `counts`.
        drawn_by_content: Whether the part of each image was drawn from its file's content, so that
            copies are in one part, without a search for similar images.
        num_sampled: How many test images were drawn for the figures; None for all.

    Raises:
        ConfigError: `fit` or `duplicates_policy` is unknown, or a figure has a name that can't be
            that of a file.
        DataError: The counts of the part "test" differ from those of the evaluation.
    """

    title: str
    source: str
    counts: Mapping[str, Mapping[str, int]]
    backbone: str
    weights: str | None
    model: ModelFacts
    phases: Sequence[PhaseFacts]
    evaluation: Evaluation
    figures: Mapping[str, Figure]
    environment: Mapping[str, str]
    command: str
    seed: int
    seconds: float
    image_size: int | tuple[int, int] | None = None
    fit: Fit = "squash"
    augmentation: Sequence[str] = ()
    class_weights: Mapping[str, float] | None = None
    sets: MeasuredSets | None = None
    ood_rejected: float | None = None
    unreadable: Sequence[tuple[str, str]] | None = None
    num_replaced: int = 0
    duplicates: Sequence[tuple[str, str]] | None = None
    duplicates_policy: Duplicates = "together"
    own_parts: Sequence[str] = ()
    num_folds: int = 0
    fold_accuracy: Estimate | None = None
    duplicates_apart: int = 0
    conflicting_labels: Sequence[tuple[str, str]] = ()
    test_source: str | None = None
    additions: Sequence[Mapping[str, Any]] | None = None
    limit: int | None = None
    others: Sequence[Mapping[str, Any]] = ()
    joules: float | None = None
    captions: Mapping[str, str] = field(default_factory=dict)
    figure_errors: Mapping[str, str] = field(default_factory=dict)
    search: BackboneSearch | None = None
    choice: Choice | None = None
    exports: Sequence[Mapping[str, Any]] = ()
    license: str | None = None
    has_probed: bool = False
    pretraining_range: tuple[float, float] | None = None
    authors: Sequence[str] = ()
    num_images: Mapping[str, int] = field(default_factory=dict)
    drawn_by_content: bool = False
    num_sampled: int | None = None

    def __post_init__(self) -> None:
        check_fit(self.fit)
        arguments.one_of("duplicates_policy", self.duplicates_policy, get_args(Duplicates))
        for name in self.figures:
            if not _FILE_NAME.fullmatch(name):
                raise ConfigError(
                    "`figures` must have names of letters, digits, - and _, as their files are "
                    f"named after them, got {show(name)}."
                )
        tested = {score.name: score.support for score in self.evaluation.classes}
        if dict(self.counts.get("test", {})) != tested:
            raise DataError(
                "`counts` must have the evaluation's number of test images under 'test', "
                f"{tested}, got {dict(self.counts.get('test', {}))}."
            )

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the data that have images, such as "train" and "test"."""
        return tuple(part for part in self.counts if self.total(part))

    def total(self, part: str) -> int:
        """Return how many images a part has."""
        return self.num_images.get(part, sum(self.counts.get(part, {}).values()))

    @property
    def validation_uses(self) -> tuple[str, ...]:
        """The uses of the validation images that follow from the facts, as text."""
        names = {name for phase in self.phases for name in phase.metrics}
        uses = {
            "follow the training": any(name.startswith("val_") for name in names),
            "calibrate the probabilities": self.model.temperature != 1,
            "choose the thresholds of the classes": self.model.thresholds_chosen,
            "calibrate the prediction sets": self.sets is not None,
        }
        return tuple(use for use, is_one in uses.items() if is_one)

    @property
    def majority_share(self) -> float:
        """The accuracy of always predicting the most frequent class of the test images."""
        return max(score.support for score in self.evaluation.classes) / self.evaluation.count

    @property
    def chance_precision(self) -> float:
        """The mean average precision of guessing: the mean share of images that have a class."""
        shares = [score.support for score in self.evaluation.classes if score.support]
        return sum(shares) / (max(len(shares), 1) * self.evaluation.count)

    @property
    def validation_accuracies(self) -> tuple[float, float] | None:
        """The accuracy on validation images before and after fine-tuning; None if it is unknown.

        That of weights between those of the head alone and the fine-tuned ones is unknown.
        """
        values = [phase.metrics.get("val_accuracy") for phase in self.phases]
        is_between = self.choice is not None and self.choice.chosen.share != 1
        if len(values) < 2 or is_between or values[0] is None or values[-1] is None:
            return None
        return values[0], values[-1]

    @property
    def weakest_class(self) -> ClassMetrics:
        """The tested class with the lowest recall, or for multi-label, average precision."""
        tested = [score for score in self.evaluation.classes if score.support]
        if self.evaluation.is_multi_label:
            scores = tested or self.evaluation.classes
            return min(scores, key=lambda score: score.average_precision or 0)
        return min(tested, key=lambda score: score.recall)


@check_arguments
def phase_facts(
    run: PhaseRun, plan: FreezePlan, settings: Mapping[str, str] = MappingProxyType({})
) -> PhaseFacts:
    """Return the values that a report states about a phase.

    Args:
        run: The record of the phase: one of `Run.phases`.
        plan: The layers that it froze, from `tlkit.freezing.plan`.
        settings: Its settings as text, from `describe_settings`.
    """
    rates = run.history.get("learning_rate", [])
    return PhaseFacts(
        name=run.name,
        epochs=run.num_epochs,
        best_epoch=run.best_epoch,
        learning_rates=(rates[0], rates[-1]) if rates else None,
        frozen_layers=len(plan.frozen),
        trained_layers=len(plan.trained),
        seconds=run.seconds,
        moved=run.movement.moved,
        untouched=run.movement.untouched,
        metrics={
            name: values[-1]
            for name, values in run.history.items()
            if not name.endswith("learning_rate")
        },
        losses=tuple(run.history.get("loss", ())) if rates else (),
        settings=dict(settings),
    )


@check_arguments
def model_facts(model: keras.Model) -> ModelFacts:
    """Return the values that a report states about a classifier.

    Args:
        model: A classifier from build_classifier.

    Examples:
        >>> from tlkit import build_classifier
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        >>> facts = model_facts(build_classifier(backbone, 2, pixels=(0, 1)))
        >>> facts.resized_to, facts.output_range, facts.head_weights
        ((8, 8), (0.0, 1.0), 10)
    """
    backbone = backbone_of(model)
    height, width = model.input_shape[1:3]
    pixels: dict[str, Any] = {}
    for layer in model.layers:
        if isinstance(layer, GrayToRGBResize):
            pixels = {
                "resized_to": layer.size,
                "interpolation": layer.interpolation,
                "input_range": layer.input_range,
                "output_range": layer.output_range,
                "grayscale": model.input_shape[-1] == 1 or len(model.input_shape) == 3,
            }
    return ModelFacts(
        **pixels,
        input_size=None if height is None else (height, width),
        standardized=any(isinstance(each, keras.layers.Normalization) for each in model.layers),
        feature_layers=tuple(operation_of(tensor).name for tensor in backbone.outputs),
        head_weights=sum(each.count_params() for each in model.layers if each is not backbone),
        backbone_layers=len(backbone.layers),
        backbone_weights=backbone.count_params(),
        temperature=probabilities_of(model).temperature,
        thresholds_chosen=probabilities_of(model).thresholds is not None,
    )
