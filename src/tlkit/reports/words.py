"""How a report says a number, a time or a list: one way for every place."""

from tlkit.evaluation.metrics import ClassMetrics, Evaluation

_WEIGHTS = {
    "imagenet": "ImageNet weights",
    "starter": "tlkit's starter weights",
    None: "random weights",
}


def how(weights: str | None) -> str:
    """Return what kind of training it was: with random weights there is nothing to transfer."""
    return "without transfer learning" if weights is None else "by transfer learning"


def weights(name: str | None) -> str:
    """Return what a backbone began with, in words."""
    return _WEIGHTS.get(name, f"the weights of {name}")


def commonest_share(evaluation: Evaluation) -> float:
    """Return the share of the test that the commonest class is: the accuracy of a constant."""
    return max(score.support for score in evaluation.classes) / evaluation.count


def least_found(evaluation: Evaluation) -> ClassMetrics:
    """Return the class of lowest recall, among those that were tested."""
    tested = [score for score in evaluation.classes if score.support]
    return min(tested, key=lambda score: score.recall)
