import re

import pytest

from tlkit.deployment.demo_text import read_style, render_head, render_note, render_prediction
from tlkit.deployment.predictor import Prediction


def render(prediction: Prediction, **settings: object) -> str:
    settings = {"top": 5, "thresholds": None, "ood_threshold": 0.95, **settings}
    return render_prediction(prediction, **settings)


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_the_most_probable_classes_have_bars_as_long_as_they_are_probable() -> None:
    page = render(Prediction(classes=(("cat", 0.75), ("dog", 0.2), ("owl", 0.05))), top=2)
    assert re.findall(r"width:([\d.]+)%", page) == ["75.0", "20.0"]
    assert words(page).startswith(
        "cat 75.00 % 2 of 3 classes, the most probable first cat 75.00 % dog"
    )
    assert "score" not in page and "threshold" not in page


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (1.0, "100 %"),
        (0.999999, "&gt; 99.99 %"),
        (0.99994, "99.99 %"),
        (0.00001, "&lt; 0.01 %"),
        (0.0, "0 %"),
    ],
)
def test_no_probability_is_rounded_to_certainty(probability: float, text: str) -> None:
    page = render(Prediction(classes=(("cat", probability),)))
    assert f'<data value="{probability}">{text}</data>' in page


def test_the_score_of_none_of_these_is_said_with_its_threshold() -> None:
    classes = (("cat", 1.0),)
    near = words(render(Prediction(classes=classes, ood_score=0.4, is_unlike=False)))
    assert "none of these is 0.40, below the threshold of 0.95." in near
    far = words(render(Prediction(classes=classes, ood_score=0.99, is_unlike=True)))
    assert "Probably none of these : it scores 0.99, above the threshold of 0.95" in far
    assert "than 99.00 % of them." in far
    assert "than all of them." in words(
        render(Prediction(classes=classes, ood_score=1.0, is_unlike=True))
    )


def test_a_multi_label_prediction_shows_every_predicted_class_and_the_thresholds() -> None:
    found = Prediction(classes=(("cat", 0.9), ("dog", 0.7), ("owl", 0.4)), labels=("cat", "owl"))
    page = render(found, top=1, thresholds={"cat": 0.5, "dog": 0.8, "owl": 0.3})
    assert words(page).startswith("cat, owl 2 of 3 classes, the most probable first")
    assert words(page).endswith("cat 90.00 % 50.00 % owl 40.00 % 30.00 %")
    none = Prediction(classes=(("cat", 0.1),), labels=())
    assert words(render(none, thresholds={"cat": 0.5})).startswith("no class All 1 classes")


def test_names_and_messages_can_hold_no_html() -> None:
    nasty = "<script>alert(1)</script>"
    pages = [
        render(Prediction(classes=((nasty, 1.0),))),
        render(Prediction(classes=((nasty, 1.0),), labels=(nasty,)), thresholds={nasty: 0.5}),
        render_note(nasty, "problem"),
        render_head(nasty, nasty),
    ]
    for page in pages:
        assert "<script" not in page and "&lt;script&gt;" in page


def test_the_style_sheet_loads_nothing() -> None:
    assert ".tl-bar" in read_style()
    assert not re.search(r"url\(|@import|https?:", read_style())
