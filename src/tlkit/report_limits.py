"""What a report's reader must not conclude: sentences that follow from the facts of the run."""

from collections.abc import Iterator

from tlkit.report_facts import ReportFacts
from tlkit.report_words import commonest_share, counted, interval, listed, percent
from tlkit.scores import Evaluation

_WIDE = 0.05
_LOW_RECALL = 0.8
_FEW_TESTED = 30
_BADLY_CALIBRATED = 0.05
_NAMED = 5


def limits(facts: ReportFacts) -> tuple[str, ...]:
    """Return the limits of a run, a sentence or two each.

    Args:
        facts: Of the run.
    """
    return (
        *_of_the_test(facts.evaluation),
        *_of_the_classes(facts.evaluation),
        *_of_the_data(facts),
        *_of_the_weights(facts),
        f"This is one run, with seed {facts.seed}; another seed would give other figures.",
        "The classifier gives one of its classes for every image, also for one of something else.",
    )


def _of_the_test(evaluation: Evaluation) -> Iterator[str]:
    low, high = evaluation.accuracy_interval
    if high - low > _WIDE:
        yield (
            f"The test is small: with {counted(evaluation.count, 'image')} the 95 % interval of "
            f"the accuracy is {100 * (high - low):.1f} points wide, so classifiers that are closer "
            "to each other than that can't be told apart by it."
        )
    constant = commonest_share(evaluation)
    if low <= constant:
        yield (
            "It is not shown to be better than always naming the commonest class, which is right "
            f"for {percent(constant)}: that lies within or above the interval, "
            f"{interval((low, high))}."
        )
    if evaluation.calibration_error > _BADLY_CALIBRATED:
        yield (
            "Its probabilities can't be read as chances: they are off by "
            f"{percent(evaluation.calibration_error)} on average."
        )


def _of_the_classes(evaluation: Evaluation) -> Iterator[str]:
    untested = [score.name for score in evaluation.classes if not score.support]
    if untested:
        yield f"Nothing is known of {listed(untested, most=_NAMED)}: the test has no such image."
    few = [
        f"{score.name} ({score.support})"
        for score in evaluation.classes
        if 0 < score.support < _FEW_TESTED
    ]
    if few:
        yield (
            f"Fewer than {_FEW_TESTED} test images: {listed(few, most=_NAMED)}. One image more or "
            "less moves the figures of such a class by several points."
        )
    low = sorted(
        (score for score in evaluation.classes if score.support and score.recall < _LOW_RECALL),
        key=lambda score: score.recall,
    )
    if low:
        named = [f"{score.name} ({percent(score.recall)})" for score in low]
        yield f"Low recall, below {percent(_LOW_RECALL)}: {listed(named, most=_NAMED)}."
    for pair in evaluation.confused(1):
        yield (
            f"Most often it takes {pair.true} for {pair.called}: "
            f"{counted(pair.count, 'image')}, {percent(pair.share)} of {pair.true}."
        )


def _of_the_data(facts: ReportFacts) -> Iterator[str]:
    if facts.test_source is None:
        yield (
            f"The test images come from the same source as the others, {facts.source}. How good "
            "it is on images from elsewhere was not measured; expect less."
        )
    if facts.unreadable:
        yield (
            f"{len(facts.unreadable):,} files or folders were left out or replaced; nothing is "
            "known of how it does on such images."
        )
    if facts.duplicates is None:
        yield (
            "Nobody looked for images that are in the training and in the test; such would make "
            "the accuracy look higher than it is."
        )


def _of_the_weights(facts: ReportFacts) -> Iterator[str]:
    if facts.weights is None:
        yield (
            "The backbone began with random weights: nothing was transferred, and pretrained "
            "weights usually give far more."
        )
    if facts.weights == "starter":
        yield (
            "The backbone began with tlkit's starter weights, a small network that learned from "
            "drawn forms and has seen no photo; ImageNet weights usually give more."
        )
