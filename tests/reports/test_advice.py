from typing import Any

import pytest
from tests.reports.example import facts, phase, predicted
from tests.reports.test_render import CHOICE

from tlkit.reports import PhaseFacts, advice, render

_TESTED = predicted([[85, 15], [15, 85]], "ab")  # 85 % of 200 images
_FALLING, _FLAT = (1.0, 0.5, 0.4), (0.42, 0.401, 0.4)


def _phase(accuracy: float, **change: Any) -> PhaseFacts:
    values: dict[str, Any] = {"epochs": 3, "best_epoch": 3, "losses": _FALLING}
    return phase(metrics={"accuracy": accuracy}, **{**values, **change})


@pytest.mark.parametrize(
    ("last", "expected", "sentence"),
    [
        (_phase(0.84), "epochs", "still fell in the last of 3 epochs: train for more epochs first"),
        (_phase(0.84, epochs=1, best_epoch=1, losses=(1.0,)), "epochs", "in a single epoch: train"),
        (_phase(0.84, losses=_FLAT), "fine-tuning", "fine-tuning, which trains layers of the"),
        (_phase(0.84, epochs=20, best_epoch=20), "fine-tuning", "(`--recipe best`)"),
        (_phase(0.84, best_epoch=2), "fine-tuning", "fine-tuning"),
        (
            _phase(0.84, learning_rates=None, losses=()),
            "fine-tuning",
            "The head alone does not fit",
        ),
        (_phase(0.84, losses=_FLAT, trained_layers=9), "backbone", "another backbone or larger"),
        (_phase(0.97), "images", "more images, or random changes of them"),
        (_phase(0.89, losses=_FLAT, trained_layers=9), "backbone", "another backbone"),
        (_phase(0.955, losses=_FLAT), "images", "fits its training images much better"),
    ],
)
def test_the_advice_follows_from_the_run(
    last: PhaseFacts, expected: advice.Advice, sentence: str
) -> None:
    report = facts(_TESTED, phases=[last])
    assert advice.choose(report) == expected
    discussion = render.markdown(report).split("## Discussion")[1].split("\n## ")[0]
    assert sentence in discussion
    assert ("another backbone or" in discussion) == (expected == "backbone")


def test_where_fine_tuning_was_tried_it_is_not_advised() -> None:
    solved = _phase(0.84, learning_rates=None, losses=())
    assert advice.choose(facts(_TESTED, phases=[solved], choice=CHOICE)) == "backbone"


def test_what_is_fitted_well_needs_no_advice() -> None:
    well = predicted([[96, 4], [4, 96]], "ab")
    report = facts(well, phases=[_phase(0.97)])
    assert advice.choose(report) == "none"
    assert "There is little overfitting." in render.markdown(report)
    assert advice.choose(facts(well, phases=[phase(metrics={"loss": 1.0})])) == "none"


def test_a_gap_within_the_interval_of_few_test_images_may_be_chance() -> None:
    report = facts(predicted([[9, 1], [1, 9]], "ab"), phases=[_phase(0.96)])
    assert advice.choose(report) == "none"
    assert "With so few test images, that difference may be chance." in render.markdown(report)
