"""The order of the phases of a training on a cluster; no cluster is needed."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tlkit.distributed.storage import Location
from tlkit.errors import DataError
from tlkit.experiments import Experiment, cluster_epochs, cluster_training, recipes
from tlkit.experiments.stages import Stages
from tlkit.training.records import PhaseRun
from tlkit.training.verification import Movement


def _prepare(recipe: Any, **settings: Any) -> Any:
    """Return a training of images of two classes, and the lines that it shows."""
    lines: list[str] = []
    found = recipes.get(recipe, **settings)
    phases = {"head": found.head, "fine_tune": found.fine_tune}
    training = SimpleNamespace(
        experiment=Experiment("photos", recipe=recipe, cluster="local"),
        recipe=found,
        phases={name: phase for name, phase in phases.items() if hasattr(phase, "epochs")},
        listed=SimpleNamespace(class_names=("a", "b"), folders=()),
        split=None,
        folder=Location("/shared"),
        own_folder=Location("/own"),
        stages=Stages(),
        on_message=lines.append,
    )
    return training, lines


def _survey(train: int, test: int) -> Any:
    counts = {"train": np.array([train]), "validation": np.array([0]), "test": np.array([test])}
    return SimpleNamespace(
        counts=counts,
        class_counts={"train": {"a": train, "b": train}},
        total=lambda part: int(counts[part].sum()),
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that need a cluster, in their order; they do nothing."""
    found: list[str] = []

    def extract(*_: Any, out: Location, **__: Any) -> Any:
        found.append(out.text)
        return SimpleNamespace(seconds=5.0)

    def train(_training: Any, _model: Any, phase: Any, _features: Any, *, name: str) -> Any:
        found.append(f"{name} in steps of {phase.batch_size}")
        return SimpleNamespace(history={})

    monkeypatch.setattr(cluster_epochs, "extract_features", extract)
    monkeypatch.setattr(cluster_epochs, "train_phase", train)
    monkeypatch.setattr(cluster_training.finished_epochs, "notify", lambda *_: None)
    return found


def test_a_step_has_as_many_images_as_the_phase_says(calls: list[str]) -> None:
    training, lines = _prepare("best", held_out=0, batch_size=64)
    none: Any = None
    cluster_training._train_epochs(training, none, (), _survey(100, 9))
    assert calls == ["/own/features-fine_tune", "fine_tune in steps of 64"]
    assert not lines


def test_images_are_counted_before_anything_is_trained(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    training, lines = _prepare("few_images")
    none: Any = None
    monkeypatch.setattr(cluster_training.drawn_split, "survey", lambda *_, **__: _survey(9, 0))
    with pytest.raises(DataError, match="and test images, got no test images in 'photos'"):
        cluster_training._train(none, training, none, ())
    assert calls == ["/own/features-head"]
    calls.clear()
    monkeypatch.setattr(cluster_training.drawn_split, "survey", lambda *_, **__: _survey(9, 3))
    cluster_training._train_epochs(training, none, (), None)
    assert calls == [
        "/own/features-head",
        "head in steps of 9",  # of 9 training images
        "/own/features-fine_tune",
        "fine_tune in steps of 9",
    ]
    assert lines == ["train 9, validation 0, test 3 images (drawn from the content of each file)"]


def test_the_seconds_of_a_phase_include_its_features(monkeypatch: pytest.MonkeyPatch) -> None:
    training, _ = _prepare("few_images")
    movement = Movement(moved=1, untouched=0)
    run = PhaseRun(name="head", history={}, seconds=2.0, best_epoch=1, movement=movement)
    monkeypatch.setattr(cluster_epochs.fine_tuning, "train", lambda *_, **__: run)
    none, features = cast(Any, None), cast(Any, SimpleNamespace(seconds=5.0))
    found = cluster_epochs.train_phase(
        training, none, training.phases["head"], features, name="head"
    )
    assert found.seconds == 7.0
