"""What a report's reader must not conclude: sentences that follow from the facts of the run."""

from collections.abc import Iterator, Sequence

from tlkit._internal.text import interval, join_first, percent, plural
from tlkit.evaluation.metrics import Evaluation
from tlkit.reports.facts import ReportFacts
from tlkit.reports.words import commonest_share

_WIDE = 0.05
_LOW_RECALL = 0.8
_FEW_TESTED = 30
_CALIBRATED, _BADLY_CALIBRATED = 0.03, 0.1


def limits(facts: ReportFacts) -> tuple[str, ...]:
    """Return the limits of a run, a sentence or two each.

    Args:
        facts: Of the run.
    """
    return (
        *_of_the_test(facts.evaluation),
        *_of_the_probabilities(facts.evaluation),
        *_of_the_classes(facts.evaluation),
        *_of_the_data(facts),
        *_of_the_weights(facts),
        f"This is a single run, with seed {facts.seed}; another seed would give other results.",
        "The classifier assigns one of its classes to every image, even to one that shows none of "
        "them.",
    )


def _of_the_test(found: Evaluation) -> Iterator[str]:
    low, high = found.accuracy_interval
    if high - low > _WIDE:
        yield (
            f"The test set is small: with {plural(found.count, 'image')}, the 95 % interval of "
            f"the accuracy is {100 * (high - low):.1f} percentage points wide, so smaller "
            "differences between classifiers may be chance."
        )
    constant = commonest_share(found)
    if low <= constant:
        yield (
            "It is not shown to be better than always predicting the most frequent class, whose "
            f"accuracy of {percent(constant, of=found.count)} lies within or above the interval, "
            f"{interval((low, high), of=found.count)}."
        )


def _of_the_probabilities(found: Evaluation) -> Iterator[str]:
    """Yield what the calibration error means, in proportion to it."""
    error = found.calibration_error
    if error <= _CALIBRATED:
        return
    surplus = float(found.probabilities.max(axis=1).mean()) - found.accuracy
    tends = "overconfident" if surplus > 0 else "underconfident"
    advice = (
        "should not be read as probabilities of being correct"
        if error > _BADLY_CALIBRATED
        else "should be taken as approximate"
    )
    yield (
        f"The confidence of its predictions {advice}: it differs from the share that are correct "
        f"by {100 * error:.1f} percentage points on average (the classifier tends to be {tends}). "
        "With few test images, part of that difference is chance."
    )


def _of_the_classes(found: Evaluation) -> Iterator[str]:
    untested = [score.name for score in found.classes if not score.support]
    if untested:
        yield (f"Nothing is known about {join_first(untested)}: the test set has no such image.")
    few = [
        f"{score.name} ({score.support})"
        for score in found.classes
        if 0 < score.support < _FEW_TESTED
    ]
    if few:
        yield (
            f"Fewer than {_FEW_TESTED} test images: {join_first(few)}. A single image "
            "changes the results of such a class by several percentage points."
        )
    low = sorted(
        (score for score in found.classes if score.support and score.recall < _LOW_RECALL),
        key=lambda score: score.recall,
    )
    if low:
        named = [f"{score.name} ({percent(score.recall, of=found.count)})" for score in low]
        yield f"Recall below {100 * _LOW_RECALL:.0f} %: {join_first(named)}."
    for pair in found.most_confused(1):
        yield (
            f"The most frequent error is to take {pair.true} for {pair.predicted}: "
            f"{plural(pair.count, 'image')}, {percent(pair.share, of=found.count)} of {pair.true}."
        )


def _of_the_data(facts: ReportFacts) -> Iterator[str]:
    if facts.test_source is None:
        yield (
            f"The test images come from the same source as the training images, {facts.source}. "
            "Performance on images from elsewhere was not measured and is probably lower."
        )
    yield from _of_the_labels(facts.two_labels)
    if facts.unreadable:
        were = "file or folder was" if len(facts.unreadable) == 1 else "files or folders were"
        yield (
            f"{len(facts.unreadable):,} {were} left out or replaced; how the classifier performs "
            "on such images is unknown."
        )
    if facts.duplicates is None:
        yield (
            "The data were not searched for images that occur in both training and test; such "
            "images would make the accuracy look higher than it is."
        )


def _of_the_labels(two_labels: Sequence[tuple[str, str]]) -> Iterator[str]:
    if not two_labels:
        return
    named = [f"{first} = {second}" for first, second in two_labels]
    pairs = "pair of files is" if len(named) == 1 else "pairs of files are"
    yield (
        f"{len(named):,} {pairs} the same image under two labels, at least one of which is wrong: "
        f"{join_first(named)}. Correct them and train again."
    )


def _of_the_weights(facts: ReportFacts) -> Iterator[str]:
    if facts.weights is None:
        yield (
            "The backbone started from random weights: nothing was transferred, and pretrained "
            "weights usually give a far higher accuracy."
        )
    if facts.weights == "starter":
        yield (
            "The backbone started from tlkit's starter weights, those of a small network that was "
            "trained on drawn shapes and has seen no photo; ImageNet weights usually give a "
            "higher accuracy."
        )
