import io
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import keras
import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text
from tests.samples import small_classifier

import tlkit
from tlkit import plotting
from tlkit.evaluation.metrics import compute_metrics
from tlkit.plotting import labels

LONG = "Pseudotsuga_menziesii_variety_glauca_of_the_mountains_"
ROWS = np.random.default_rng(0).dirichlet(np.ones(3), 24)


def evaluate(names: list[str]) -> tlkit.evaluation.Evaluation:
    return compute_metrics(np.arange(24) % 3, ROWS, class_names=names)


def draw_audit(model: keras.Model, data: Any) -> Figure:
    a, b, _ = tlkit.models.class_names(model)
    suspect = tlkit.evaluation.Suspect(
        index=0, path=f"{a}/1.png", label=a, suggested_label=b, score=0.1
    )
    return plotting.audit_grid(
        tlkit.evaluation.Audit(suspects=(suspect,), outliers=(), scores=ROWS[:, 0], num_folds=2),
        data,
    )


FIGURES: dict[str, Callable[[keras.Model, Any], Figure]] = {
    "confusion": lambda model, data: plotting.confusion_matrix(
        evaluate(list(tlkit.models.class_names(model)))
    ),
    "predictions": lambda model, data: plotting.prediction_grid(
        model, data, count=3, which="per_class", probabilities=ROWS
    ),
    "saliency": lambda model, data: plotting.grad_cam_grid(
        model, (data[0][:3], data[1][:3]), count=3, probabilities=ROWS[:3]
    ),
    "features": plotting.feature_map,
    "audit": draw_audit,
}


def read_texts(figure: Figure) -> str:
    """Draw a figure, with any warning as an error, and return its texts without line breaks."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO())
    texts = figure.findobj(lambda each: isinstance(each, Text))
    assert not any(text.get_parse_math() for text in texts if text.get_text().strip("$") != "")
    return " ".join(text.get_text() for text in texts).replace("\n", " ")


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system with Matplotlib's own fonts only, none of which was asked for yet."""
    own = [
        each
        for each in font_manager.fontManager.ttflist
        if str(each.fname).startswith(matplotlib.get_data_path())
    ]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(labels, "_warned", set())
    labels._find_fonts.cache_clear()
    yield
    labels._find_fonts.cache_clear()


def make(backbone: keras.Model, names: list[str]) -> tuple[keras.Model, Any]:
    images = np.random.default_rng(0).integers(0, 256, (24, 9, 9, 1), "uint8")
    return small_classifier(backbone, class_names=names), (images, np.arange(24) % 3)


@pytest.mark.parametrize("kind", FIGURES)
def test_names_are_drawn_as_they_are(small_backbone: keras.Model, kind: str) -> None:
    names = ["$a_1$", "_b_", "two\nlines"]
    text = read_texts(FIGURES[kind](*make(small_backbone, names)))
    for name in ("$a_1$", "_b_", "two lines")[: 2 if kind == "audit" else 3]:
        assert name in text


@pytest.mark.parametrize("kind", FIGURES)
def test_one_warning_at_most_says_which_characters_have_no_font(
    small_backbone: keras.Model, no_fonts: None, kind: str
) -> None:
    model, data = make(small_backbone, ["\u732b", "\u72ac\u3068\u732b", "\u0642\u0637\u0629"])
    with pytest.warns(UserWarning, match="has no font for '\u3068\u72ac\u732b', which fig") as told:
        figure = FIGURES[kind](model, data)
    assert len(told) == 1
    assert "\u72ac\u3068\u732b" in read_texts(figure)  # a warning is an error there
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FIGURES[kind](model, data)


def test_a_font_of_the_system_is_used_where_the_usual_one_lacks_a_character(
    no_fonts: None,
) -> None:
    others = labels._characters(("STIXNonUnicode",)) - labels._characters(("sans-serif",))
    only_there = min(others)
    figure = plotting.confusion_matrix(evaluate(["cat", f"a {only_there}", "dog"]))
    assert only_there in read_texts(figure)
    plain, changed, _ = (label.get_fontfamily() for label in figure.axes[0].get_xticklabels())
    assert plain == ["sans-serif"]
    assert changed[0] == "sans-serif" and changed[1].startswith("STIX")


def test_a_name_that_is_not_unicode_is_drawn() -> None:
    assert r"caf\udce9" in read_texts(plotting.confusion_matrix(evaluate(["caf\udce9", "b", "c"])))


@pytest.mark.parametrize("classes", [3, 12, 30])
def test_long_names_leave_room_for_the_confusion_matrix(classes: int) -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(classes), 2 * classes)
    names = [f"{LONG}{number}" for number in range(classes)]
    figure = plotting.confusion_matrix(
        compute_metrics(np.arange(2 * classes) % classes, rows, class_names=names)
    )
    read_texts(figure)
    panel = figure.axes[0]
    shown = [label.get_text() for label in panel.get_yticklabels()]
    assert len(set(shown)) == classes
    assert max(map(len, shown)) <= 20
    width = panel.get_position().width
    assert width > 0.45
    boxes = [label.get_window_extent() for label in panel.get_yticklabels()]
    assert all(below.y1 <= above.y0 + 1 for above, below in itertools.pairwise(boxes))


def test_long_names_in_captions_take_few_lines(small_backbone: keras.Model) -> None:
    model, data = make(small_backbone, [LONG + "1", LONG + "2", "cat"])
    figure = plotting.prediction_grid(model, data, count=6, which="per_class")
    assert max(panel.get_title().count("\n") for panel in figure.axes) <= 2
    assert all(panel.get_position().height > 0.2 for panel in figure.axes)
