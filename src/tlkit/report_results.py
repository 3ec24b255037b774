"""What a report says of how good the classifier is, and what it takes for what."""

from collections.abc import Iterator

from tlkit.documents import Block, Paragraph, Picture, Section, Table
from tlkit.report_facts import ReportFacts
from tlkit.report_words import counted, interval, percent, spaced
from tlkit.scores import Evaluation

_CAPTIONS = {
    "audit": "Images whose label is probably wrong, the most suspicious first.",
    "calibration": "How often the classifier is right, against how sure it says it is.",
    "confusion": "How many images of each true class (row) were called each class (column).",
    "curves": "Loss and accuracy over the epochs of all phases.",
    "errors": "Test images it is wrong about, the surest first.",
    "predictions": "Test images at random, with their class and what the classifier says.",
}
_MOST_PAIRS = 10
_READABLE_MATRIX = 20


def results(facts: ReportFacts) -> Section:
    """Return the results: overall, class by class, what is confused, and how sure it may be.

    Args:
        facts: Of the run.
    """
    found = facts.evaluation
    return Section(
        title="Results",
        blocks=(
            Table(
                caption=f"On {counted(found.count, 'test image')}.",
                columns=("measure", "value", "95 % interval"),
                rows=tuple(_measures(found)),
            ),
        ),
        sections=(
            Section(title="Class by class", blocks=(_per_class(found),)),
            Section(title="Confusion", blocks=tuple(_confusion(facts))),
            Section(title="Calibration", blocks=tuple(_calibration(facts))),
        ),
    )


def _measures(found: Evaluation) -> Iterator[tuple[str, str, str]]:
    between = {"accuracy": found.accuracy_interval, **found.intervals}
    shares = {
        "accuracy": ("accuracy", found.accuracy),
        "balanced_accuracy": ("balanced accuracy (mean recall)", found.balanced_accuracy),
        "macro_f1": ("macro-averaged F1", found.macro_f1),
    }
    for count, share in found.top_k.items():
        if count > 1:
            shares[f"top_{count}"] = (f"true class among the {count} likeliest", share)
    for key, (name, share) in shares.items():
        yield name, percent(share), interval(between[key]) if key in between else "-"
    low, high = between.get("loss", (None, None))
    spread = "-" if low is None else f"{low:.4f} to {high:.4f}"
    yield "loss (mean cross-entropy)", f"{found.loss:.4f}", spread


def _per_class(found: Evaluation) -> Table:
    return Table(
        caption="Precision: of the images called a class, the share that are. Recall: of the "
        "images of a class, the share found.",
        columns=("class", "precision", "recall", "F1", "images"),
        rows=tuple(
            (
                score.name,
                *(percent(value) for value in (score.precision, score.recall, score.f1)),
                f"{score.support:,}",
            )
            for score in found.classes
        ),
    )


def _confusion(facts: ReportFacts) -> Iterator[Block]:
    found = facts.evaluation
    pairs = found.confused(_MOST_PAIRS)
    if not pairs:
        yield Paragraph(text="No test image was called another class.")
        return
    yield Table(
        caption="The classes confused most often.",
        columns=("true class", "called", "images", "share of the true class"),
        rows=tuple(
            (pair.true, pair.called, f"{pair.count:,}", percent(pair.share)) for pair in pairs
        ),
        words=2,
    )
    if "confusion" in facts.figures:
        yield from picture(facts, "confusion")
    elif len(found.class_names) <= _READABLE_MATRIX:
        rows = zip(found.class_names, found.confusion.tolist(), strict=True)
        yield Table(
            caption=_CAPTIONS["confusion"],
            columns=("true class", *found.class_names),
            rows=tuple((name, *(f"{count:,}" for count in counts)) for name, counts in rows),
        )


def _calibration(facts: ReportFacts) -> Iterator[Block]:
    found = facts.evaluation
    bounds = found.intervals.get("calibration_error")
    between = "" if bounds is None else f" (95 % interval {interval(bounds)})"
    yield Paragraph(
        text=f"The expected calibration error is {percent(found.calibration_error)}{between}: how "
        "far the probability given to the class named is from the share that is right, on average."
    )
    yield from picture(facts, "calibration")


def picture(facts: ReportFacts, name: str) -> Iterator[Picture]:
    """Yield the figure of this name with its caption, if there is one.

    Args:
        facts: Of the run.
        name: The figure's.
    """
    if name in facts.figures:
        known = {**_CAPTIONS, **facts.captions}
        yield Picture(name=name, caption=known.get(name, f"{spaced(name).capitalize()}."))
