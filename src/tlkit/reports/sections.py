"""What a report says, section by section, in the order of an academic paper."""

from collections.abc import Iterator, Sequence
from functools import partial

from tlkit._internal.text import duration, interval, join_first, percent, plural, to_words
from tlkit.reports.documents import (
    Block,
    Bullets,
    Code,
    Document,
    KeyFigures,
    Paragraph,
    Section,
    Table,
)
from tlkit.reports.facts import PhaseFacts, ReportFacts
from tlkit.reports.limitations import limits
from tlkit.reports.results import picture, results
from tlkit.reports.words import commonest_share, how, least_found, weights

_HAVE_A_PLACE = ("calibration", "confusion", "curves")
_PHASES = {"head": "the head", "fine_tune": "fine-tuning"}
_FIGURES = {"grad_cam": "Grad-CAM", "features": "map of the features"}
_MOST_ROWS = 100
_NAMED_CLASSES = 12
_KILOWATT_HOUR = 3.6e6


def report(facts: ReportFacts) -> Document:
    """Return the whole report.

    Args:
        facts: Of the run.
    """
    return Document(
        title=facts.title,
        sections=(
            Section(title="Abstract", blocks=(Paragraph(text=abstract(facts)), _key(facts))),
            _data(facts),
            Section(title="Preprocessing", blocks=(_bullets(facts.preprocessing),)),
            _model(facts),
            _training(facts),
            results(facts),
            *_visualisations(facts),
            _limits(facts),
            _reproduction(facts),
        ),
    )


def card(facts: ReportFacts) -> Document:
    """Return what a model card says: first what the model is for, and where it ends.

    Args:
        facts: Of the run.
    """
    use = 'import tlkit\n\nmodel = tlkit.load("model.keras")\n'
    use += "print(tlkit.models.class_names(model))\nprobabilities = tlkit.predict(model, images)"
    return Document(
        title=facts.title,
        sections=(
            Section(title="Model description", blocks=(Paragraph(text=abstract(facts)),)),
            Section(title="How to use", blocks=(Code(text=use, language="python"),)),
            _limits(facts),
            _model(facts),
            Section(title="Preprocessing", blocks=(_bullets(facts.preprocessing),)),
            _data(facts),
            _training(facts),
            results(facts),
            _reproduction(facts),
        ),
    )


def abstract(facts: ReportFacts) -> str:
    """Return the report in a few sentences, made of its figures.

    Args:
        facts: Of the run.
    """
    found = facts.evaluation
    names, weakest = found.class_names, least_found(found)
    named = f": {join_first(names, limit=len(names))}" if len(names) <= _NAMED_CLASSES else ""
    share = partial(percent, of=found.count)
    sentences = [
        f"This image classifier distinguishes {len(names):,} classes{named}.",
        f"It was trained {how(facts.weights)}: {facts.backbone} with {weights(facts.weights)}, "
        f"trained on {plural(facts.total('train'), 'image')} of {facts.source} in "
        f"{plural(len(facts.phases), 'phase')}.",
        f"It classifies {share(found.accuracy)} of {plural(found.count, 'test image')} correctly "
        f"(95 % interval {interval(found.accuracy_interval, of=found.count)}); always predicting "
        f"the most frequent class would give {share(commonest_share(found))}.",
        f"The macro-averaged F1 is {share(found.macro_f1)}, the mean cross-entropy "
        f"{found.loss:.4f} and the expected calibration error {share(found.calibration_error)}.",
        f"The class with the lowest recall is {weakest.name} ({share(weakest.recall)}).",
        f"The whole training took {duration(facts.seconds)}.",
    ]
    return " ".join(sentences)


def _key(facts: ReportFacts) -> KeyFigures:
    found = facts.evaluation
    return KeyFigures(
        figures={
            "accuracy": percent(found.accuracy, of=found.count),
            "95 % interval": interval(found.accuracy_interval, of=found.count),
            "test images": f"{found.count:,}",
            "time": duration(facts.seconds),
        }
    )


def _data(facts: ReportFacts) -> Section:
    parts = {part: counts for part, counts in facts.counts.items() if sum(counts.values())}
    names = facts.evaluation.class_names
    rows = [(name, *(f"{counts.get(name, 0):,}" for counts in parts.values())) for name in names]
    rows.append(("all classes", *(f"{facts.total(part):,}" for part in parts)))
    sizes = [f"{facts.total(part):,} ({part})" for part in parts]
    said = f"The images come from {facts.source}: {join_first(sizes, limit=len(sizes))}."
    if facts.test_source is not None:
        said += f" The test images come from {facts.test_source}."
    return Section(
        title="Data",
        blocks=(
            Paragraph(text=said),
            Table(
                caption="Number of images by class and part.",
                columns=("class", *parts),
                rows=tuple(rows),
            ),
        ),
        sections=(
            Section(title="Unreadable images", blocks=tuple(_unreadable(facts))),
            Section(title="Duplicates", blocks=tuple(_duplicates(facts))),
        ),
    )


def _unreadable(facts: ReportFacts) -> Iterator[Block]:
    if facts.unreadable is None:
        yield Paragraph(text="The images were not read from files.")
    elif not facts.unreadable:
        yield Paragraph(text="Every file could be read.")
    else:
        yield from _pairs(
            "Files and folders that were left out or replaced.",
            ("which", "reason"),
            facts.unreadable,
        )


def _duplicates(facts: ReportFacts) -> Iterator[Block]:
    if facts.duplicates is None:
        yield Paragraph(text="The data were not searched for duplicate images.")
    elif not facts.duplicates:
        yield Paragraph(text="No two images are identical or nearly identical.")
    else:
        yield from _pairs(
            f"Pairs of identical or nearly identical images; they were {facts.duplicates_were}.",
            ("image", "similar to"),
            facts.duplicates,
        )


def _pairs(
    caption: str, columns: tuple[str, ...], pairs: Sequence[tuple[str, str]]
) -> Iterator[Block]:
    yield Table(caption=caption, columns=columns, rows=tuple(pairs[:_MOST_ROWS]), words=2)
    if len(pairs) > _MOST_ROWS:
        yield Paragraph(text=f"There are {len(pairs) - _MOST_ROWS:,} more.")


def _model(facts: ReportFacts) -> Section:
    began = f"The backbone is {facts.backbone}; it started from {weights(facts.weights)}."
    return Section(title="Model", blocks=(_bullets((began, *facts.model)),))


def _training(facts: ReportFacts) -> Section:
    total = duration(sum(phase.seconds for phase in facts.phases))
    said = f"Training had {plural(len(facts.phases), 'phase')} and took {total}."
    return Section(
        title="Training",
        blocks=(Paragraph(text=said), *picture(facts, "curves")),
        sections=tuple(_phase(number, phase) for number, phase in enumerate(facts.phases, start=1)),
    )


def _phase(number: int, phase: PhaseFacts) -> Section:
    still = (
        f"all {phase.untouched:,} that were frozen in the backbone are unchanged."
        if phase.untouched
        else "no weight of the backbone was frozen."
    )
    proof = (
        f"Compared bit for bit before and after the phase, {plural(phase.moved, 'weight tensor')} "
        f"changed; {still}"
    )
    return Section(
        title=f"Phase {number}: {_PHASES.get(phase.name, phase.name)}",
        blocks=(
            Table(
                caption="Settings and results of the phase.",
                columns=("what", "value"),
                rows=(
                    *(_solved(phase) if phase.solved else _epochs(phase)),
                    ("backbone layers frozen", f"{phase.frozen_layers:,}"),
                    ("backbone layers trained", f"{phase.trained_layers:,}"),
                    ("time", duration(phase.seconds)),
                ),
                words=2,
            ),
            Paragraph(text=proof),
        ),
    )


def _solved(phase: PhaseFacts) -> Iterator[tuple[str, str]]:
    yield "method", "the head was computed in one step from the features, without epochs"
    for name, value in phase.last.items():
        where = "validation" if name.startswith("val_") else "training"
        what = name.removeprefix("val_")
        said = (
            "L2 penalty of the head" if what == "penalty" else f"{to_words(what)} on {where} images"
        )
        yield said, f"{value:.4g}"


def _epochs(phase: PhaseFacts) -> Iterator[tuple[str, str]]:
    kept = "those before the phase" if phase.best_epoch == 0 else f"epoch {phase.best_epoch}"
    yield "epochs", f"{phase.epochs:,}"
    yield "weights kept", kept
    yield "learning rate", phase.learning_rate
    for name, value in phase.last.items():
        yield f"{_measure(name)}, last epoch", f"{value:.4g}"


def _visualisations(facts: ReportFacts) -> Iterator[Section]:
    others = [name for name in facts.figures if name not in _HAVE_A_PLACE]
    blocks: list[Block] = [block for name in others for block in picture(facts, name)]
    for name, reason in facts.left_out.items():
        what = _FIGURES.get(name, to_words(name))
        blocks.append(Paragraph(text=f"There is no {what}: {reason.rstrip('.')}."))
    if blocks:
        yield Section(title="Visualisations", blocks=tuple(blocks))


def _limits(facts: ReportFacts) -> Section:
    return Section(title="Limits", blocks=(_bullets(limits(facts)),))


def _reproduction(facts: ReportFacts) -> Section:
    if facts.joules is None:
        energy = "Energy: not measured."
    else:
        energy = (
            f"Energy: {facts.joules / _KILOWATT_HOUR:.3g} kWh by the processor's own counter, "
            "without the rest of the machine."
        )
    return Section(
        title="How to reproduce",
        blocks=(
            *((Code(text=facts.command, language="sh"),) if facts.command else ()),
            _bullets((f"Seed: {facts.seed}.", f"Time: {duration(facts.seconds)}.", energy)),
            Table(
                caption="Versions, machine and date.",
                columns=("what", "which"),
                rows=tuple((to_words(name), value) for name, value in facts.environment.items()),
                words=2,
            ),
        ),
    )


def _bullets(items: Sequence[str]) -> Bullets:
    return Bullets(items=tuple(items))


def _measure(name: str) -> str:
    return to_words(f"validation {name[4:]}" if name.startswith("val_") else name)
