"""A finished run as text: an HTML page, Markdown, a model card, a summary of five lines.

All sentences are in `templates/`: Markdown with Jinja2. Every value that a template inserts is
escaped, so that the names of files and classes can't become markup. The HTML page is rendered from
the Markdown, so that the two can't disagree.
"""

import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tlkit._internal import arguments, optional, text
from tlkit._internal.files import replace_atomically
from tlkit._internal.signatures import check_arguments
from tlkit.data.image_dataset import describe_treatment
from tlkit.reports import (
    advice,
    escaping,
    images,
    limitations,
    paper,
    portfolio,
    references,
    titles,
)
from tlkit.reports.facts import ReportFacts
from tlkit.reports.page import render_page

_COMMAND_LENGTH = 60  # characters; a line of the page holds more
_FOLDED = (
    *("Data", "Preprocessing", "Model", "Training", "Related work", "How to reproduce"),
    "References",
)
"""Sections of the page that are folded at first, because pictures and results come first."""

__all__ = ["card", "html", "markdown", "summary", "write"]


@check_arguments
def html(facts: ReportFacts) -> str:
    """Return the report as one HTML page that contains its figures and loads no other file.

    Args:
        facts: The values that the report states.
    """
    facts, pictures, dark = _draw(facts)
    return render_page(markdown(facts), pictures, dark=dark, folded=_FOLDED)


@check_arguments
def markdown(facts: ReportFacts) -> str:
    """Return the same report as Markdown; its figures are linked as `<name>.png`.

    Args:
        facts: The values that the report states.
    """
    return _fill("report.md.j2", facts, escape=escaping.escape)


@check_arguments
def summary(facts: ReportFacts) -> str:
    """Return the report's main results in five lines of plain text.

    Args:
        facts: The values that the report states.
    """
    return _fill("summary.txt.j2", facts, escape=_plain)


@check_arguments
def card(facts: ReportFacts) -> str:
    """Return a model card for the Hugging Face Hub: metadata, then the report in another order.

    Saved as `README.md` beside `model.keras`, the card is the page of a model repository.

    Args:
        facts: The values that the report states.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
    """
    hub = optional.require("huggingface_hub", extra="card")
    measured = {"accuracy": facts.evaluation.accuracy, "f1": facts.evaluation.macro_f1}
    if facts.evaluation.mean_average_precision is not None:
        measured["mean_average_precision"] = facts.evaluation.mean_average_precision
    metadata = hub.ModelCardData(
        language="en",
        license=facts.license,
        library_name="keras",
        pipeline_tag="image-classification",
        tags=["image-classification", "tlkit", "transfer-learning"],
        metrics=list(measured),
        model_name=escaping.plain(facts.title),
        eval_results=[
            hub.EvalResult(
                task_type="image-classification",
                dataset_type="images",
                dataset_name=escaping.plain(facts.test_source or facts.source),
                dataset_split="test",
                metric_type=name,
                metric_value=value,
                metric_args={"average": "macro"} if name == "f1" else None,
            )
            for name, value in measured.items()
        ],
    )
    body = _fill("card.md.j2", facts, escape=escaping.escape)
    return str(hub.ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{body}"))


@check_arguments
def write(folder: str | Path, facts: ReportFacts) -> Path:
    """Write `report.html`, `report.md`, `summary.txt` and each figure as `<name>.png`.

    `paper.md` is the report for Pandoc, with the publications that it cites in `references.bib`:
    `pandoc paper.md --citeproc -s -o paper.pdf`, or `.tex`. `portfolio.md` is a short page with one
    figure and three numbers, for a profile or a README. If huggingface_hub is installed,
    `model_card.md` is written too. Files of these names are replaced, each atomically; other files
    in the folder stay. A figure that can't be drawn is mentioned in the report.

    Args:
        folder: The folder to write to; it is created if it does not exist.
        facts: The values that the report states.
    """
    target = arguments.path("folder", folder)
    facts, pictures, dark = _draw(facts)
    body = markdown(facts)
    texts = {
        "report.html": render_page(body, pictures, dark=dark, folded=_FOLDED),
        "report.md": body,
        "summary.txt": summary(facts),
        "references.bib": references.to_bibtex(facts),
        "paper.md": _write_paper(facts),
        "portfolio.md": _fill("portfolio.md.j2", facts, escape=escaping.escape),
    }
    if optional.installed("huggingface_hub"):
        texts["model_card.md"] = card(facts)
    files = {name: content.encode() for name, content in texts.items()}
    files |= {f"{name}.png": data for name, data in pictures.items()}
    target.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        with replace_atomically(target / name) as temporary:
            temporary.write_bytes(data)
    return target


def _write_paper(facts: ReportFacts) -> str:
    """Return the report as Pandoc reads it, where the authors are metadata."""
    return paper.to_pandoc(
        markdown(replace(facts, authors=())),
        [*references.select(facts).values()],
        authors=[str(escaping.escape(name)) for name in facts.authors],
        date=facts.environment.get("date"),
    )


def break_lines(command: str) -> str:
    r"""Return a long shell command with one line for each option, as a shell accepts it.

    Examples:
        >>> print(break_lines("tlkit train a_folder_of_photos --recipe best --out runs/first_one"))
        tlkit train a_folder_of_photos \
          --recipe best \
          --out runs/first_one
    """
    if len(command) <= _COMMAND_LENGTH or "\n" in command or "(" in command.split(" ")[0]:
        return command  # it is short, has several lines already, or is a call in Python
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if shlex.join(words) != command:
        return command
    return "".join(
        f" \\\n  {shlex.quote(word)}" if word.startswith("--") else f" {shlex.quote(word)}"
        for word in words
    ).strip()


def _plain(value: object) -> Markup:
    return Markup(escaping.plain(value))  # noqa: S704 (not markup: the summary is plain text)


# A thread compresses the pictures of a figure while the next figure is drawn: compression releases
# Python's lock.
def _draw(facts: ReportFacts) -> tuple[ReportFacts, dict[str, bytes], dict[str, bytes]]:
    """Draw each figure as a picture for light and for dark pages.

    The facts are returned with the errors of figures that failed. A dark picture that fails is left
    out, and the light picture is used for both modes.
    """
    errors = dict(facts.figure_errors)
    with ThreadPoolExecutor(1, thread_name_prefix="tlkit-draw") as pool:
        light, dark = {}, {}
        for name, figure in facts.figures.items():
            try:
                pixels = images.rasterize(figure)
            except Exception as error:  # a figure is not worth losing the report
                errors[name] = text.reason(error)
            else:
                light[name] = pool.submit(images.encode_light, pixels)
                dark[name] = pool.submit(images.encode_dark, figure, pixels)
    pictures, dark_pictures = {}, {}
    for name in light:
        pictures[name] = light[name].result()
        with suppress(MemoryError):
            dark_pictures[name] = dark[name].result()
    drawn = {name: facts.figures[name] for name in pictures}
    return replace(facts, figures=drawn, figure_errors=errors), pictures, dark_pictures


def _fill(name: str, facts: ReportFacts, *, escape: Callable[[object], Markup]) -> str:
    """Return a template with the facts of a run filled in, each value escaped."""
    evaluation = facts.evaluation
    filled = (
        _environment(escape)
        .get_template(name)
        .render(
            facts=facts,
            evaluation=evaluation,
            limitations=limitations.find(
                evaluation,
                majority_share=facts.chance_precision
                if evaluation.is_multi_label
                else facts.majority_share,
                sets=facts.sets,
            ),
            references=references.select(facts),
            advice=advice.choose(facts),
            task=portfolio.describe_task(
                evaluation, backbone=facts.backbone, num_training=facts.total("train")
            ),
            numbers=portfolio.list_numbers(evaluation, facts.seconds),
            few_images=limitations.FEW_IMAGES,
            pandoc=paper.COMMAND,
            low_recall=limitations.LOW_RECALL,
        )
    )
    return filled.rstrip() + "\n"


@cache
def _environment(escape: Callable[[object], Markup]) -> Environment:
    """Return the environment that renders templates.

    Jinja2 passes every value to `finalize`, and the result to its own escaping for HTML. Both leave
    a `Markup` unchanged, so results of `escape` and of macros are escaped only once.
    """
    environment = Environment(
        loader=PackageLoader("tlkit.reports"),
        autoescape=True,
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    functions = (text.percent, text.interval, text.duration, text.join_first, text.plural)
    environment.filters |= {function.__name__: function for function in (*functions, text.to_words)}
    environment.filters |= {"thousands": "{:,}".format, "fence": escaping.fence}
    environment.filters |= {"treatment": describe_treatment}
    environment.filters |= {"break_lines": break_lines, "name_backbone": titles.name_backbone}
    return environment
