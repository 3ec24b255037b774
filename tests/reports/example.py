"""A finished run for the tests of reports, with names that Markdown or HTML would misread."""

import functools
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tlkit.evaluation.metrics import Evaluation, compute_metrics
from tlkit.reports import ModelFacts, PhaseFacts, ReportFacts

NAMES = ("<b>rose</b> & co", 'tu"lip', "a_b*c|d", "line\nbreak", "Gänseblümchen")


@functools.cache
def outcome(
    *, count: int = 400, sure: float = 2.0, names: tuple[str, ...] = NAMES
) -> tuple[np.ndarray, np.ndarray, Evaluation]:
    """Return labels, probabilities and their evaluation."""
    random = np.random.default_rng(0)
    labels = random.integers(0, len(names), count)
    logits = random.normal(size=(count, len(names)))
    logits[np.arange(count), labels] += sure
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities, compute_metrics(labels, probabilities, class_names=names)


def predicted(confusion: list[list[int]], names: str, confidence: float = 0.9) -> Evaluation:
    """Return the evaluation of a confusion matrix, all predictions with the same confidence."""
    counts, classes = np.array(confusion), len(names)
    true, called = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    rows = np.full((len(true), classes), (1 - confidence) / (classes - 1))
    rows[np.arange(len(true)), called] = confidence
    return compute_metrics(true, rows, class_names=list(names))


def phase(name: str = "head", **change: Any) -> PhaseFacts:
    values: dict[str, Any] = {
        "epochs": 4,
        "best_epoch": 4,
        "learning_rates": (0.003, 0.003),
        "frozen_layers": 154,
        "trained_layers": 0,
        "seconds": 61.0,
        "moved": 2,
        "untouched": 260,
        "metrics": {"loss": 0.25, "accuracy": 0.875, "val_accuracy": 0.8125},
    }
    return PhaseFacts(name=name, **{**values, **change})


def model(**change: Any) -> ModelFacts:
    values: dict[str, Any] = {
        "feature_layers": ("block_13_expand_relu",),
        "head_weights": 1285,
        "backbone_layers": 117,
        "backbone_weights": 700_000,
    }
    return ModelFacts(**{**values, **change})


def facts(evaluation: Evaluation | None = None, **change: Any) -> ReportFacts:
    evaluation = outcome()[2] if evaluation is None else evaluation
    tested = {each.name: each.support for each in evaluation.classes}
    values: dict[str, Any] = {
        "title": "Flowers <in> & out",
        "source": "a folder of flowers",
        "counts": {"train": dict.fromkeys(evaluation.class_names, 300), "test": tested},
        "backbone": "mobilenet_v2",
        "weights": "imagenet",
        "model": model(),
        "phases": [phase(), phase("fine_tune", moved=104, untouched=0, trained_layers=54)],
        "evaluation": evaluation,
        "figures": {name: Figure(figsize=(1, 1)) for name in ("curves", "predictions")},
        "environment": {"keras": "3.15.1", "machine": "Linux x86_64, 2 cores"},
        "command": "tlkit train <flowers> && echo done\n  --seed 3",
        "seed": 3,
        "seconds": 725.0,
        "unreadable": [("roses/<broken>.jpg", "cannot identify & read")],
        "duplicates": [],
    }
    return ReportFacts(**{**values, **change})
