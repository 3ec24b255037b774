"""A finished run as something to read: a page, Markdown, a model card, five lines."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from tlkit._internal import optional
from tlkit._internal.files import replace_atomically
from tlkit._internal.text import duration, interval, percent, plural
from tlkit.reports import document_html, document_markdown, images, sections
from tlkit.reports.documents import plain
from tlkit.reports.facts import PhaseFacts, ReportFacts, model_lines, phase_facts, preprocessing
from tlkit.reports.words import commonest_share, how, least_found, weights

__all__ = [
    "PhaseFacts",
    "ReportFacts",
    "card",
    "html",
    "markdown",
    "model_lines",
    "phase_facts",
    "preprocessing",
    "summary",
    "write",
]


def html(facts: ReportFacts) -> str:
    """Return the report as one HTML page with its figures inside; it loads nothing.

    Args:
        facts: Of the run.
    """
    return _page(facts, _drawn(facts.figures))


def markdown(facts: ReportFacts) -> str:
    """Return the same report as Markdown; its figures are linked as `<name>.png`.

    Args:
        facts: Of the run.
    """
    return document_markdown.written(sections.report(facts))


def summary(facts: ReportFacts) -> str:
    """Return the run in five plain lines, as for a portfolio.

    Args:
        facts: Of the run.
    """
    found = facts.evaluation
    weakest = least_found(found)
    most = found.most_confused(1)
    mistake = f"; most frequent error: {most[0].true} taken for {most[0].predicted}" if most else ""
    share = partial(percent, of=found.count)
    lines = (
        facts.title,
        f"Trained {how(facts.weights)}: {facts.backbone} with {weights(facts.weights)}, "
        f"{plural(facts.total('train'), 'training image')} of {len(found.classes):,} classes, "
        f"from {facts.source}.",
        f"Accuracy {share(found.accuracy)} on {plural(found.count, 'test image')} (95 % interval "
        f"{interval(found.accuracy_interval, of=found.count)}); always predicting the most "
        f"frequent class: {share(commonest_share(found))}.",
        f"Weakest class: {weakest.name}, recall {share(weakest.recall)}{mistake}.",
        f"Training took {duration(facts.seconds)} on "
        f"{facts.environment.get('machine', 'one machine')}; seed {facts.seed}; made with tlkit.",
    )
    return "\n".join(plain(line) for line in lines) + "\n"


def card(facts: ReportFacts) -> str:
    """Return a model card for the Hugging Face Hub: metadata, then the report in a card's order.

    Saved as `README.md` beside `model.keras`, it is the page of a model repository.

    Args:
        facts: Of the run.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
    """
    hub = optional.require("huggingface_hub", extra="card")
    measured = {"accuracy": facts.evaluation.accuracy, "f1": facts.evaluation.macro_f1}
    source = plain(facts.test_source or facts.source)
    about = hub.ModelCardData(
        language="en",
        license=facts.license,
        library_name="keras",
        pipeline_tag="image-classification",
        tags=["image-classification", "tlkit", "transfer-learning"],
        metrics=list(measured),
        model_name=plain(facts.title),
        eval_results=[
            hub.EvalResult(
                task_type="image-classification",
                dataset_type="images",
                dataset_name=source,
                dataset_split="test",
                metric_type=name,
                metric_value=value,
                metric_args={"average": "macro"} if name == "f1" else None,
            )
            for name, value in measured.items()
        ],
    )
    text = document_markdown.written(sections.card(facts))
    return str(hub.ModelCard(f"---\n{about.to_yaml()}\n---\n\n{text}"))


def write(folder: str | Path, facts: ReportFacts) -> Path:
    """Write `report.html`, `report.md`, `summary.txt` and each figure as `<name>.png`.

    Where huggingface_hub is installed, `model_card.md` too. Files of those names are replaced,
    each at once; others in the folder stay.

    Args:
        folder: Where; it is made where it is not there.
        facts: Of the run.
    """
    target = Path(folder)
    pictures = _drawn(facts.figures)
    texts = {
        "report.html": _page(facts, pictures),
        "report.md": markdown(facts),
        "summary.txt": summary(facts),
    }
    if optional.installed("huggingface_hub"):
        texts["model_card.md"] = card(facts)
    files = {name: text.encode() for name, text in texts.items()}
    files |= {f"{name}.png": data for name, data in pictures.items()}
    target.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        with replace_atomically(target / name) as temporary:
            temporary.write_bytes(data)
    return target


def _drawn(figures: Mapping[str, Figure]) -> dict[str, bytes]:
    """Return each figure as a PNG file."""
    return {name: images.light(figure) for name, figure in figures.items()}


def _page(facts: ReportFacts, pictures: Mapping[str, bytes]) -> str:
    dark = {name: images.dark(facts.figures[name], light) for name, light in pictures.items()}
    return document_html.written(sections.report(facts), pictures, dark=dark)
