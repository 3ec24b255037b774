from dataclasses import replace

import keras
import pytest
from matplotlib.figure import Figure
from tests.reports import example
from tests.samples import make_noise, small_classifier

import tlkit
from tlkit.errors import ConfigError, DataError
from tlkit.reports import facts
from tlkit.training.phase import plan_freezing


def test_wrong_facts_are_refused() -> None:
    good = example.facts()
    with pytest.raises(DataError, match="`counts` must have the evaluation's number of test"):
        replace(good, counts={**good.counts, "test": dict.fromkeys(example.NAMES, 1)})
    with pytest.raises(ConfigError, match="`figures` must have names of letters.*got '../x'"):
        replace(good, figures={"../x": Figure()})
    with pytest.raises(ConfigError, match="`fit` must be one of .*got 'cut'"):
        replace(good, fit="cut")
    with pytest.raises(ConfigError, match="`duplicates_policy` must be one of"):
        replace(good, duplicates_policy="drop")


@pytest.mark.parametrize(
    ("phase", "rates"),
    [
        (tlkit.Phase(epochs=2, learning_rate=0.01), (0.01, 0.01)),
        (tlkit.SolvedHead(), None),
        (tlkit.Phase(epochs=3, learning_rate=0.01, schedule="cosine"), (0.0075, 0.0)),
    ],
)
def test_phase_facts_are_those_of_the_run(
    small_backbone: keras.Model,
    phase: tlkit.Phase | tlkit.SolvedHead,
    rates: tuple[float, float] | None,
) -> None:
    model = small_classifier(small_backbone)
    run = tlkit.train_phase(model, phase, make_noise(), name="head", seed=0, verbose=False)
    found = facts.phase_facts(run, plan_freezing(model, phase))
    assert found.learning_rates == (None if rates is None else pytest.approx(rates, abs=1e-4))
    assert (found.frozen_layers, found.trained_layers) == (len(small_backbone.layers), 0)
    assert (found.moved, found.untouched) == (2, len(small_backbone.weights))
    assert found.metrics["loss"] == run.history["loss"][-1]
    assert "learning_rate" not in found.metrics


def test_model_facts_are_those_of_the_classifier(small_backbone: keras.Model) -> None:
    model = tlkit.build_classifier(
        small_backbone,
        3,
        input_shape=(9, 9, 1),
        value_range=(0, 16),
        pixels=tlkit.models.backbones.get("resnet50").pixels,
        features="block_1_add",
    )
    backbone = tlkit.models.backbone_of(model)
    assert facts.model_facts(model) == facts.ModelFacts(
        input_size=(9, 9),
        resized_to=(16, 16),
        interpolation="bilinear",
        input_range=(0, 16),
        output_range=(0, 255),
        grayscale=True,
        standardized=True,
        feature_layers=("block_1_add",),
        head_weights=27,
        backbone_layers=len(backbone.layers),
        backbone_weights=backbone.count_params(),
    )
