"""The text of a run's portfolio page: a sentence on the task, and three numbers."""

from tlkit._internal import text
from tlkit.evaluation.metrics import Evaluation
from tlkit.reports.titles import name_backbone

_MAX_NAMED = 10


def describe_task(evaluation: Evaluation, *, backbone: str, num_training: int) -> str:
    """Return a sentence on the task of a classifier and how it was trained.

    Args:
        evaluation: The evaluation of the classifier on the test images.
        backbone: The name of its backbone.
        num_training: The number of training images.
    """
    count = len(evaluation.classes)
    verb = "Finds" if evaluation.is_multi_label else "Distinguishes"
    names = text.join_first(evaluation.class_names, limit=_MAX_NAMED)
    named = f": {names}" if count <= _MAX_NAMED else ""
    return (
        f"{verb} {count:,} classes of images{named}; {name_backbone(backbone)}, trained on "
        f"{text.plural(num_training, 'image')}."
    )


def list_numbers(evaluation: Evaluation, seconds: float) -> dict[str, str]:
    """Return the three most important numbers as text, by their names.

    Args:
        evaluation: The evaluation of the classifier on the test images.
        seconds: How long training took.
    """
    measure, value, bounds = "accuracy", evaluation.accuracy, evaluation.accuracy_interval
    if evaluation.mean_average_precision is not None:
        measure, value = "mean average precision", evaluation.mean_average_precision
        bounds = evaluation.intervals.get("mean_average_precision", bounds)
    return {
        f"{measure} on test images": text.percent(value, of=evaluation.count),
        "95 % interval": text.interval(bounds, of=evaluation.count),
        "training time": text.duration(seconds),
    }
