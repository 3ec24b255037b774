from dataclasses import replace

import pytest
from tests.samples import TickingClock

from tlkit.caching.cache import TrunkRun
from tlkit.experiments import stages as stages_module
from tlkit.experiments.stages import Stages, describe
from tlkit.experiments.trained import Trained
from tlkit.training import PhaseRun, Run
from tlkit.training.verification import Movement


def _phase(name: str, seconds: float, trunk_seconds: float | None = None) -> PhaseRun:
    trunk = None
    if trunk_seconds is not None:
        trunk = TrunkRun(
            cut_reason="",
            engine="keras",
            engine_error=0.0,
            num_images=1,
            num_computed=1,
            num_bytes=1,
            on_disk=False,
            seconds=trunk_seconds,
            float16_error=0.0,
            disabled_layers=(),
        )
    movement = Movement(moved=1, untouched=0)
    history = {"loss": [0.5], "accuracy": [0.5]}
    return PhaseRun(
        name=name, history=history, seconds=seconds, best_epoch=1, movement=movement, trunk=trunk
    )


def _trained(*phases: PhaseRun) -> Trained:
    return Trained(recipe="best", model=None, run=Run(phases=phases), seconds=100.0)


def test_training_is_divided_into_what_it_did() -> None:
    stages = Stages()
    stages.seconds = {"images": 2.0, "training": 100.0}
    trained = _trained(_phase("head", 20.0, 15.0), _phase("fine_tune", 60.0, 1.0))
    stages.divide("training", replace(trained, has_probed=True))
    assert stages.seconds == pytest.approx(
        {
            "images": 2.0,
            "build and probe": 20.0,
            "frozen part": 16.0,
            "head": 5.0,
            "fine_tune": 59.0,
        }
    )
    assert list(stages.seconds) == ["images", "build and probe", "frozen part", "head", "fine_tune"]
    assert str(stages).endswith("head 5.0 s, fine-tune 59.0 s")


def test_a_recipe_that_does_not_probe_only_builds() -> None:
    stages = Stages()
    stages.seconds = {"training": 100.0}
    stages.divide("training", _trained(_phase("head", 20.0, 15.0)))
    assert list(stages.seconds) == ["build", "frozen part", "head"]


def test_what_an_earlier_process_did_is_not_counted() -> None:
    stages = Stages()
    stages.seconds = {"training": 10.0}
    stages.divide("training", _trained(_phase("head", 50.0, 30.0)))
    assert sum(stages.seconds.values()) == pytest.approx(10.0)
    assert min(stages.seconds.values()) >= 0


def test_a_stage_that_fails_is_measured_too() -> None:
    stages = Stages()
    with pytest.raises(ValueError), stages.measure("images"):
        raise ValueError
    assert stages.seconds["images"] >= 0


def test_stages_in_a_line() -> None:
    assert describe({"fine_tune": 192.0}) == "fine-tune 3 min 12 s"


def test_a_stage_that_comes_again_adds_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages_module, "time", TickingClock(2.0))
    measured = Stages()
    for _ in range(2):
        with measured.measure("frozen part"):
            pass
    assert measured.seconds == {"frozen part": 4.0}
