from dataclasses import replace

import keras
import numpy as np
import pytest
from tests.samples import make_noise, small_classifier

import tlkit
from tlkit.evaluation.candidates import Candidate, Choice
from tlkit.experiments import Experiment, Trained, describe_training, recipes, reporting
from tlkit.training import PhaseRun, Run
from tlkit.training.verification import Movement


def _trained(model: keras.Model, *names: str) -> Trained:
    movement = Movement(moved=2, untouched=1)
    phases = tuple(
        PhaseRun(name=name, history={"loss": [1.0]}, seconds=1, best_epoch=1, movement=movement)
        for name in names
    )
    return Trained(recipe="best", model=model, run=Run(phases=phases), seconds=3.0)


@pytest.mark.parametrize(
    ("recipe", "names", "expected"),
    [
        ("best", ("head", "fine_tune"), ("flip",)),
        ("best", ("head",), ()),  # the budget ran out before the phase with augmentation
        ("fast", ("head",), ("flip",)),
    ],
)
def test_only_augmentation_that_was_used_is_reported(
    recipe: str, names: tuple[str, ...], expected: tuple[str, ...], small_backbone: keras.Model
) -> None:
    experiment = Experiment("photos", recipe=recipe, augment=("flip",))
    trained = _trained(small_classifier(small_backbone), *names)
    assert reporting._list_augmentation(experiment, trained) == expected


def test_the_learning_rate_that_was_chosen_is_reported() -> None:
    recipe = recipes.best()
    candidates = [
        Candidate(accuracy=0.5, loss=1.0),
        Candidate(learning_rate=0.007, share=1.0, accuracy=0.9, loss=0.1),
    ]
    tuned = Choice(candidates=tuple(candidates), num_held_out=9)
    assert reporting._set_chosen_rate(recipe, tuned).fine_tune.learning_rate == 0.007
    alone = Choice(candidates=tuple(candidates[:1]), num_held_out=9)
    for choice in (alone, None):
        assert reporting._set_chosen_rate(recipe, choice) is recipe


def test_a_training_on_arrays_is_described_with_its_parts_and_settings(
    small_backbone: keras.Model,
) -> None:
    images, labels = make_noise(60)
    data = tlkit.sources.from_arrays(images, labels, class_names=("a", "b", "c"), name="noise")
    parts = tlkit.data.Split(
        train=data.take(np.arange(30)),
        validation=data.take(np.arange(30, 40)),
        test=data.take(np.arange(40, 60)),
    )
    recipe = replace(
        recipes.few_images(), head=tlkit.Phase(batch_size=8, learning_rate=0.01), fine_tune=None
    )
    model = small_classifier(small_backbone, class_names=("a", "b", "c"))
    run = recipe.trainer(seed=0).fit(
        model, parts.train, validation_data=parts.validation, verbose=False
    )
    trained = Trained(recipe=recipe.name, model=model, run=run, seconds=run.seconds)
    evaluation = tlkit.evaluate(model, parts.test)
    facts = describe_training(
        recipe, parts, trained, evaluation, weights=None, command="python mine.py", seed=0
    )
    assert {part: facts.total(part) for part in facts.parts} == {
        "train": 30,
        "validation": 10,
        "test": 20,
    }
    [phase] = facts.phases
    assert phase.settings["batch size"] == "8"
    assert phase.settings["learning-rate schedule"] == "constant, 0.01"
    assert {"curves", "portfolio", "predictions"} <= facts.figures.keys()
    assert "The validation images were held out" in tlkit.reports.markdown(facts)
