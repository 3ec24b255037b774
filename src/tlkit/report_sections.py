"""What a report says, section by section, in the order of an academic paper."""

from collections.abc import Iterator, Sequence

from tlkit.documents import (
    Block,
    Bullets,
    Code,
    Document,
    KeyFigures,
    Paragraph,
    Section,
    Table,
)
from tlkit.report_facts import PhaseFacts, ReportFacts
from tlkit.report_limits import limits
from tlkit.report_results import picture, results
from tlkit.report_words import (
    commonest_share,
    counted,
    duration,
    how,
    interval,
    least_found,
    listed,
    percent,
    spaced,
    weights,
)

_HAVE_A_PLACE = ("calibration", "confusion", "curves")
_PHASES = {"head": "the head", "fine_tune": "fine-tuning"}
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
    use += "print(tlkit.class_names(model))\nprobabilities = tlkit.predict(model, images)"
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
    named = f": {listed(names, most=len(names))}" if len(names) <= _NAMED_CLASSES else ""
    sentences = [
        f"This classifier of images tells {len(names):,} classes apart{named}.",
        f"It was made {how(facts.weights)}: {facts.backbone} with {weights(facts.weights)}, "
        f"trained on {counted(facts.total('train'), 'image')} of {facts.source} in "
        f"{counted(len(facts.phases), 'phase')}.",
        f"Of {counted(found.count, 'test image')} it names {percent(found.accuracy)} rightly "
        f"(95 % interval {interval(found.accuracy_interval)}); always naming the commonest class "
        f"would be right for {percent(commonest_share(found))}.",
        f"Its macro-averaged F1 is {percent(found.macro_f1)}, its mean cross-entropy "
        f"{found.loss:.4f}, and its probabilities are off by {percent(found.calibration_error)} on "
        "average.",
        f"The class it finds least often is {weakest.name}, with a recall of "
        f"{percent(weakest.recall)}.",
        f"Making it took {duration(facts.seconds)}.",
    ]
    return " ".join(sentences)


def _key(facts: ReportFacts) -> KeyFigures:
    found = facts.evaluation
    return KeyFigures(
        figures={
            "accuracy": percent(found.accuracy),
            "95 % interval": interval(found.accuracy_interval),
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
    said = f"The images come from {facts.source}: {listed(sizes, most=len(sizes))}."
    if facts.test_source is not None:
        said += f" Those of the test come from {facts.test_source}."
    return Section(
        title="Data",
        blocks=(
            Paragraph(text=said),
            Table(
                caption="Images of each class in each part.",
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
        yield Paragraph(text="Nobody looked for images that are the same.")
    elif not facts.duplicates:
        yield Paragraph(text="No two images are the same or look it.")
    else:
        yield from _pairs(
            f"Pairs of images that are the same or look it; they were {facts.duplicates_were}.",
            ("image", "looks like"),
            facts.duplicates,
        )


def _pairs(
    caption: str, columns: tuple[str, ...], pairs: Sequence[tuple[str, str]]
) -> Iterator[Block]:
    yield Table(caption=caption, columns=columns, rows=tuple(pairs[:_MOST_ROWS]), words=2)
    if len(pairs) > _MOST_ROWS:
        yield Paragraph(text=f"There are {len(pairs) - _MOST_ROWS:,} more.")


def _model(facts: ReportFacts) -> Section:
    began = f"The backbone is {facts.backbone}; it began with {weights(facts.weights)}."
    return Section(title="Model", blocks=(_bullets((began, *facts.model)),))


def _training(facts: ReportFacts) -> Section:
    total = duration(sum(phase.seconds for phase in facts.phases))
    said = f"Training had {counted(len(facts.phases), 'phase')} and took {total}."
    return Section(
        title="Training",
        blocks=(Paragraph(text=said), *picture(facts, "curves")),
        sections=tuple(_phase(number, phase) for number, phase in enumerate(facts.phases, start=1)),
    )


def _phase(number: int, phase: PhaseFacts) -> Section:
    kept = "those before the phase" if phase.best_epoch == 0 else f"epoch {phase.best_epoch}"
    rows = [
        ("epochs", f"{phase.epochs:,}"),
        ("weights kept", kept),
        ("learning rate", phase.learning_rate),
        ("backbone layers frozen", f"{phase.frozen_layers:,}"),
        ("backbone layers trained", f"{phase.trained_layers:,}"),
        ("time", duration(phase.seconds)),
        *((f"{_measure(name)}, last epoch", f"{value:.4g}") for name, value in phase.last.items()),
    ]
    still = (
        f"all {phase.untouched:,} that were frozen in the backbone stayed as they were."
        if phase.untouched
        else "no weight of the backbone was frozen."
    )
    proof = (
        f"Compared to the bit, before and after: {counted(phase.moved, 'weight tensor')} moved; "
        f"{still}"
    )
    return Section(
        title=f"Phase {number}: {_PHASES.get(phase.name, phase.name)}",
        blocks=(
            Table(
                caption="Settings and course.",
                columns=("what", "value"),
                rows=tuple(rows),
                words=2,
            ),
            Paragraph(text=proof),
        ),
    )


def _visualisations(facts: ReportFacts) -> Iterator[Section]:
    others = [name for name in facts.figures if name not in _HAVE_A_PLACE]
    if others:
        blocks = tuple(block for name in others for block in picture(facts, name))
        yield Section(title="Visualisations", blocks=blocks)


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
                caption="Versions and machine.",
                columns=("what", "which"),
                rows=tuple((spaced(name), value) for name, value in facts.environment.items()),
                words=2,
            ),
        ),
    )


def _bullets(items: Sequence[str]) -> Bullets:
    return Bullets(items=tuple(items))


def _measure(name: str) -> str:
    return spaced(f"validation {name[4:]}" if name.startswith("val_") else name)
