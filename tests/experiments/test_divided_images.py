import json

from tlkit.data.image_dataset import Problem
from tlkit.experiments import Experiment
from tlkit.experiments.divided_images import DividedImages, keep_problems

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
