"""The literature that a report cites: publications on the methods that the run used."""

from dataclasses import replace
from importlib import metadata

from tlkit.reports import publications
from tlkit.reports.bibtex import Reference
from tlkit.reports.facts import ReportFacts

_TLKIT = Reference(
    "tlkit",
    "The tlkit authors",
    "tlkit: transfer learning for image classification on Keras 3",
    "Software",
    "",
)
_URL_LABELS = ("source", "repository", "homepage", "documentation")
"""The labels of the project's addresses that are cited, the first that there is."""


def select_backbone(name: str) -> Reference | None:
    """Return the publication of a backbone of keras.applications; None for other backbones."""
    found = [each for start, each in publications.BACKBONES.items() if name.startswith(start)]
    return found[0] if found else None


def select(facts: ReportFacts) -> dict[str, Reference]:
    """Return the publications that a report cites, by their subjects, in the order of citation.

    Args:
        facts: The values that the report states.
    """
    settings = " ".join(
        f"{name} {value}" for phase in facts.phases for name, value in phase.settings.items()
    )
    fine_tuned = any(phase.trained_layers for phase in facts.phases)
    uncertain = facts.sets is not None and facts.sets.is_uncertain
    used = {
        "transfer": ("yosinski2014", facts.weights is not None),
        "ImageNet": ("russakovsky2015", facts.weights == "imagenet"),
        "better backbones": ("kornblith2019", facts.weights == "imagenet"),
        "backbone": ("", True),
        "MNIST": ("lecun1998", facts.source.upper().startswith("MNIST")),
        "fine-tuning": ("kumar2022", fine_tuned and facts.weights is not None),
        "Adam": ("kingma2015", "optimizer Adam" in settings),
        "cosine": ("loshchilov2017", "cosine" in settings),
        "L-BFGS": ("liu1989", "L-BFGS" in settings),
        "BatchNormalization": ("ioffe2015", "BatchNormalization" in settings),
        "Wilson": ("wilson1927", True),
        "bootstrap": ("efron1979", bool(facts.evaluation.intervals)),
        "pairs": ("bonett2012", bool(facts.others)),
        "McNemar": ("mcnemar1947", bool(facts.others)),
        "calibration": ("guo2017", True),
        "prediction sets": ("sadinle2019", facts.sets is not None),
        "coverage": ("vovk2012", uncertain),
        "conformal prediction": ("angelopoulos2021", uncertain),
        "Grad-CAM": ("selvaraju2017", "grad_cam" in facts.figures),
    }
    by_key: dict[str, Reference | None] = {each.key: each for each in publications.METHODS}
    by_key[""] = select_backbone(facts.backbone)
    found = {about: by_key[key] for about, (key, is_used) in used.items() if is_used}
    found["tlkit"] = _describe_tlkit(facts)
    found["Keras"] = publications.KERAS
    found["backend"] = publications.BACKENDS.get(facts.environment.get("keras_backend", ""))
    if "scikit-learn" in facts.environment:
        found["scikit-learn"] = publications.SCIKIT_LEARN
    return {about: each for about, each in found.items() if each is not None}


def _describe_tlkit(facts: ReportFacts) -> Reference:
    """Return the reference to tlkit: the version, the year in which it was used, its address."""
    version, date = facts.environment.get("tlkit"), facts.environment.get("date", "")
    return replace(
        _TLKIT,
        venue=f"Version {version}" if version else _TLKIT.venue,
        published=date[:4],
        url=_find_url(),
    )


def _find_url() -> str:
    """Return the address of the project from its package's metadata; empty if it has none."""
    try:
        lines = metadata.metadata("tlkit").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:  # it runs from its source, without being installed
        return ""
    urls = {
        label.strip().lower(): url.strip() for label, _, url in (x.partition(",") for x in lines)
    }
    known = [urls[label] for label in _URL_LABELS if label in urls]
    return next(iter([*known, *urls.values()]), "")


def to_bibtex(facts: ReportFacts) -> str:
    """Return the publications that a report cites as a `.bib` file."""
    return "\n\n".join(each.to_bibtex() for each in select(facts).values()) + "\n"
