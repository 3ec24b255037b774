"""The text of a demo's page about a prediction, as HTML in which every value is escaped."""

from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import escape

from tlkit.deployment.predictor import Prediction


def render_prediction(
    prediction: Prediction,
    *,
    top: int,
    thresholds: Mapping[str, float] | None,
    ood_threshold: float,
) -> str:
    """Return a prediction as HTML: the class, bars of the most probable classes, the score.

    Args:
        prediction: The prediction.
        top: Number of classes to show; for a multi-label classifier, all predicted ones are shown.
        thresholds: For multi-label, the threshold of each class by name; None otherwise.
        ood_threshold: The score above which an image is probably none of the classes.
    """
    labels = prediction.labels
    chosen = {prediction.label} if labels is None else set(labels)
    ranked = enumerate(prediction.classes)
    shown = [each for rank, each in ranked if rank < top or each[0] in chosen]
    rows = [
        {
            "name": name,
            "probability": probability,
            "threshold": None if thresholds is None else thresholds[name],
            "is_chosen": name in chosen,
        }
        for name, probability in shown
    ]
    return (
        _environment()
        .get_template("demo_result.html.j2")
        .render(
            rows=rows,
            labels=labels,
            caption=_describe_rows(len(shown), len(prediction.classes)),
            score=prediction.ood_score,
            is_unlike=prediction.is_unlike,
            ood_threshold=ood_threshold,
        )
    )


def _describe_rows(count: int, total: int) -> str:
    if count == total:
        return f"All {total:,} classes"
    return f"{count:,} of {total:,} classes, the most probable first"


def render_note(message: object, kind: str) -> str:
    """Return a sentence as HTML.

    Args:
        message: The sentence.
        kind: "hint", "done" or "problem".
    """
    role = "alert" if kind == "problem" else "status"
    return f'<div class="tl-{kind}" role="{role}">{escape(message)}</div>'


def render_head(title: str, description: str) -> str:
    """Return the head of the page as HTML."""
    return f'<div class="tl-head"><h1>{escape(title)}</h1><p>{escape(description)}</p></div>'


def read_style() -> str:
    """Return the page's style sheet."""
    loader = PackageLoader("tlkit.deployment")
    return loader.get_source(_environment(), "demo.css")[0]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tlkit.deployment"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    return environment


def _percent(share: float) -> str:
    """Return a share in percent with two decimals; only 0 and 1 are shown as 0 % and 100 %."""
    percent = f"{100 * share:.2f}"
    if percent == "0.00":
        return "< 0.01 %" if share else "0 %"
    if percent == "100.00":
        return "> 99.99 %" if share < 1 else "100 %"
    return f"{percent} %"
