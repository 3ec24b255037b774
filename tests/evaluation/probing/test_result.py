import math
from dataclasses import replace

import pytest

from tlkit.evaluation import Probe, ProbedLayer


def _probe() -> Probe:
    layers = tuple(
        ProbedLayer(
            layer=layer,
            pooling=pooling,
            num_features=1024,
            multiply_adds=multiply_adds,
            num_parameters=10,
            accuracy=accuracy,
            loss=loss,
            loss_error=0.05,
        )
        for layer, pooling, multiply_adds, accuracy, loss in (
            ("stem", "avg", 1_000_000, 0.80, 0.5),
            ("block", 4, 2_000_000, 0.88, 0.4),
            ("middle", 4, 2_500_000, 0.89, 0.32),
            ("top", "flatten", 3_000_000, 0.90, 0.3),
        )
    )
    return Probe(
        layers=layers,
        solver="ridge",
        num_fitted=2000,
        num_scored=100,
        engine="keras",
        seconds=1.0,
        joint=layers[1:],
        joint_accuracy=0.95,
    )


def test_the_cheapest_is_chosen_whose_loss_is_within_half_a_standard_error_of_the_lowest() -> None:
    probe = _probe()
    assert (probe.best.layer, probe.chosen.layer) == ("top", "middle")
    assert probe.standard_error == pytest.approx(0.03)
    said = replace(probe, joint=()).explain()
    assert "89.0 % after middle (4x4), the cheapest of the lowest loss" in said
    assert "the best has 90.0 ± 3.0 % (± one standard error)" in said


def test_without_losses_the_cheapest_is_chosen() -> None:
    probe = _probe()
    layers = tuple(replace(each, loss=math.nan) for each in probe.layers)
    probe = replace(probe, layers=layers, joint=())
    assert probe.chosen.layer == "block"
    assert "the cheapest; the best has" in probe.explain()
    assert "nan" not in str(probe)


def test_a_probe_prints_as_a_table_that_marks_the_best_and_the_chosen_layer() -> None:
    first, second, heading, *lines = str(_probe()).splitlines()
    assert first.startswith("ridge on 2,000 images, accuracy on 100 images")
    assert second == "together: block + middle + top  95.00 %"
    assert heading.split()[:3] == ["layer", "pooling", "features"]
    assert [line.split() for line in lines] == [
        ["stem", "avg", "1,024", "1.00", "10", "80.00", "%", "0.500"],
        ["block", "4x4", "1,024", "2.00", "10", "88.00", "%", "0.400"],
        ["middle", "4x4", "1,024", "2.50", "10", "89.00", "%", "0.320", "chosen"],
        ["top", "flatten", "1,024", "3.00", "10", "90.00", "%", "0.300", "best"],
    ]
