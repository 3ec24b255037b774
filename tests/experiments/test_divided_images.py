import json

import numpy as np

from tlkit.data.image_dataset import Problem
from tlkit.evaluation import compute_metrics
from tlkit.evaluation.summed_metrics import Totals, to_evaluation
from tlkit.experiments import Experiment
from tlkit.experiments.divided_images import (
    DividedImages,
    format_rows,
    keep_problems,
    restore_evaluation,
)

DIVIDED = DividedImages(
    name="photos",
    counts={
        "train": {"cat": 5, "dog": 6},
        "validation": {"cat": 0, "dog": 0},
        "test": {"cat": 3, "dog": 0},
    },
    num_sampled=2,
    is_listed=True,
    problems=keep_problems([Problem(path="a.jpg", reason="it is empty")]),
    own_parts=("test",),
    features={"folder": "/features"},
)


def test_counts_come_back_from_json() -> None:
    again = DividedImages.from_dict(json.loads(json.dumps(DIVIDED.to_dict())))
    assert again == DIVIDED
    assert again.num_images == {"train": 11, "validation": 0, "test": 3}


def test_a_report_gets_the_parts_that_have_images() -> None:
    facts = DIVIDED.describe(Experiment("photos", weights="starter", title="Pets"))
    assert [*facts["counts"]] == ["train", "test"]
    assert (facts["title"], facts["own_parts"], facts["drawn_by_content"]) == (
        "Pets",
        ("test",),
        False,
    )
    assert facts["unreadable"] == (("a.jpg", "it is empty"),)


def test_metrics_of_all_images_come_back_with_the_sample() -> None:
    draw = np.random.default_rng(0)
    probabilities = draw.dirichlet([1, 1, 1, 1], size=50)
    labels = draw.integers(0, 4, 50)
    totals = Totals.empty(4)
    totals.add(labels, probabilities)
    names = ["ant", "bee", "cat", "dog"]
    sampled = compute_metrics(labels[:6], probabilities[:6], class_names=names)
    whole = to_evaluation(totals, names, labels=sampled.labels, probabilities=probabilities[:6])
    stored = json.loads(json.dumps(whole.to_dict()))
    found = restore_evaluation(stored, sampled)
    assert json.loads(json.dumps(found.to_dict())) == stored
    np.testing.assert_array_equal(found.probabilities, probabilities[:6])
    assert found.count == 50


def test_rows_with_separators_are_quoted() -> None:
    text = format_rows([("test", 'a,"b".jpg', "0f", "cat")])
    assert text.splitlines() == ["part,path,digest,label", 'test,"a,""b"".jpg",0f,cat']
