"""What a report says of how good the classifier is, and which classes it confuses."""

from collections.abc import Iterator

from tlkit._internal.text import interval, percent, plural, to_words
from tlkit.evaluation.metrics import Evaluation
from tlkit.reports.documents import Block, Paragraph, Picture, Section, Table
from tlkit.reports.facts import ReportFacts

_CAPTIONS = {
    "audit": "Images whose label is probably wrong, most suspicious first.",
    "calibration": "Reliability diagram. Above: the share of correct predictions against their "
    "confidence; on the dashed line both are equal. Below: how many predictions there are.",
    "confusion": "Confusion matrix: test images of each true class (row) by predicted class "
    "(column).",
    "curves": "Loss and accuracy by epoch, over all phases.",
    "errors": "Misclassified test images, most confident first.",
    "features": "Test images by the features that the head reads, projected onto their first two "
    "principal components: images with similar features lie close together. Classes that overlap "
    "here may still be separated by the other components.",
    "grad_cam": "Grad-CAM: where the evidence for the predicted class lies, on a scale from none "
    "(0) to the most in the image (1). The line encloses the values above 0.5. The most confident "
    "errors come first, then correct predictions chosen at random.",
    "predictions": "Test images chosen at random, with true and predicted class.",
}
_MOST_PAIRS = 10
_READABLE_MATRIX = 20


def results(facts: ReportFacts) -> Section:
    """Return the results: overall, class by class, what is confused, and the calibration.

    Args:
        facts: Of the run.
    """
    found = facts.evaluation
    return Section(
        title="Results",
        blocks=(
            Table(
                caption=f"On {plural(found.count, 'test image')}.",
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
            shares[f"top_{count}"] = (f"top-{count} accuracy", share)
    for key, (name, share) in shares.items():
        spread = interval(between[key], of=found.count) if key in between else "-"
        yield name, percent(share, of=found.count), spread
    low, high = between.get("loss", (None, None))
    spread = "-" if low is None else f"{low:.4f} to {high:.4f}"
    yield "loss (mean cross-entropy)", f"{found.loss:.4f}", spread


def _per_class(found: Evaluation) -> Table:
    return Table(
        caption="Precision: the share of the predictions of a class that are correct. Recall: the "
        "share of the images of a class that are found.",
        columns=("class", "precision", "recall", "F1", "images"),
        rows=tuple(
            (
                each.name,
                *("-" if x is None else percent(x, of=found.count) for x in each.defined()),
                f"{each.support:,}",
            )
            for each in found.classes
        ),
    )


def _confusion(facts: ReportFacts) -> Iterator[Block]:
    found = facts.evaluation
    pairs = found.most_confused(_MOST_PAIRS)
    if not pairs:
        yield Paragraph(text="No test image was misclassified.")
        return
    yield Table(
        caption="The classes confused most often.",
        columns=("true class", "predicted class", "images", "share of the true class"),
        rows=tuple(
            (pair.true, pair.predicted, f"{pair.count:,}", percent(pair.share, of=found.count))
            for pair in pairs
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
    between = "" if bounds is None else f" (95 % interval {interval(bounds, of=found.count)})"
    yield Paragraph(
        text=f"The expected calibration error is {percent(found.calibration_error, of=found.count)}"
        f"{between}: the mean difference between the confidence of a prediction, which is the "
        "highest probability, and the share of such predictions that are correct."
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
        yield Picture(name=name, caption=known.get(name, f"{to_words(name).capitalize()}."))
