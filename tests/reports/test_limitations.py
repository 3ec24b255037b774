import pytest
from tests.reading import shown
from tests.reports.example import facts, outcome, predicted

from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.prediction_sets import MeasuredSets
from tlkit.reports import limitations, render

GOOD = {"unreadable": [], "test_source": "elsewhere", "weights": "imagenet"}


def _limitations(evaluation: Evaluation | None = None, **change: object) -> str:
    text = "\n".join(shown(render.html(facts(evaluation, figures={}, **change))))
    return text.split("\nLimitations\n")[1].split("\nHow to reproduce\n")[0]


@pytest.mark.parametrize(
    ("outcome_of", "change", "sentence"),
    [
        ({"count": 60}, {}, "The test set is small: with 60 images, the 95 % interval"),
        ({"count": 60}, {}, 'fewer than 30 test images: <b>rose</b> & co, tu"lip'),
        ({"sure": 0.0}, {}, "not shown to be better than always predicting the most frequent"),
        ({}, {"weights": "starter"}, "starter weights: a small network"),
        ({}, {"weights": None}, "nothing was transferred"),
        ({}, {"duplicates": None}, "The images were not searched for duplicates."),
        ({}, {}, "1 file or folder was left out"),
        ({}, {}, "come from the same source as the training images, a folder of flowers"),
    ],
)
def test_a_limitation_follows_from_the_facts(
    outcome_of: dict[str, float], change: dict[str, object], sentence: str
) -> None:
    assert sentence in _limitations(outcome(**outcome_of)[2], **change)
    good = _limitations(outcome(count=4000, sure=9.0)[2], **GOOD)
    assert sentence not in good
    assert "one run with seed 3." in good


def test_a_tie_of_the_most_frequent_errors_is_told() -> None:
    tied = predicted([[50, 0, 0], [20, 30, 0], [20, 0, 30]], "xyz")
    text = "\n".join(shown(render.html(facts(tied, figures={}))))
    assert text.count("One of the most frequent errors") == 2  # Discussion and Limitations
    assert "The most frequent error" not in text
    assert "; one of the most frequent errors: class " in render.summary(facts(tied, figures={}))


def test_weak_classes_and_the_most_frequent_error_are_named() -> None:
    text = _limitations(predicted([[50, 0, 0], [20, 30, 0], [1, 0, 49]], "xyz"))
    assert "These classes have a recall below 80 %: y." in text
    assert "most frequent error is to predict class x for class y: 20 images, 40.0 % of th" in text


def test_a_class_without_test_images_is_not_called_weak() -> None:
    text = _limitations(predicted([[2, 0, 0], [0, 1, 0], [0, 0, 0]], "xyz"))
    assert "no test images, so that nothing is known about them: z." in text
    assert "recall below" not in text


@pytest.mark.parametrize(
    ("confidence", "judged", "sentences"),
    [
        (0.72, "reliable", ()),
        (0.76, "approximate", ("is only approximately the probability", "by 6.0", "over")),
        (0.64, "approximate", ("is only approximately the probability", "by 6.0", "under")),
        (0.95, "unreliable", ("is not the probability", "by 25.0 percentage points", "over")),
    ],
)
def test_confidences_are_judged_by_the_calibration_error(
    confidence: float, judged: str, sentences: tuple[str, ...]
) -> None:
    evaluation = predicted([[70, 30], [30, 70]], "ab", confidence)
    found = limitations.find(evaluation, majority_share=0.5)
    text = _limitations(evaluation)
    assert found.confidences == judged
    assert all(sentence in text for sentence in sentences)
    assert ("confidence of a prediction" in text) == bool(sentences)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (28, "calibrated on only 28 validation images. They promise 90 % on average"),
        (28, "is anywhere from 81.7 to 99.1 % (for 95 % of such calibrations)"),
        (999, "calibrated on only 999 validation images"),
    ],
)
def test_sets_calibrated_on_few_images_are_a_limitation(count: int, words: str) -> None:
    sets = MeasuredSets(coverage=0.9, measured=0.9, mean_size=1.2, num_calibrated=count)
    assert words in _limitations(sets=sets).replace("\N{NO-BREAK SPACE}", " ")
    assert "calibrated on only" not in _limitations()
    accurate = outcome(count=4000, sure=9.0)[2]  # a set contains the most probable class
    assert "calibrated on only" not in _limitations(accurate, sets=sets)
    many = MeasuredSets(coverage=0.9, measured=0.9, mean_size=1.2, num_calibrated=1000)
    assert "calibrated on only" not in _limitations(sets=many)


def test_images_with_two_labels_are_named() -> None:
    pairs = [(f"a/{n}.jpg", f"b/{n}.jpg") for n in range(7)]
    text = _limitations(duplicates=pairs, conflicting_labels=pairs)
    assert "7 pairs of identical images have two different labels" in text
    assert "a/0.jpg and b/0.jpg; a/1.jpg and b/1.jpg" in text
    assert "and 2 more" in text
    assert "One pair of identical images has two" in _limitations(conflicting_labels=pairs[:1])
    assert "different labels" not in _limitations(duplicates=pairs)
