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
        )
        for layer, pooling, multiply_adds, accuracy in (
            ("stem", "avg", 1_000_000, 0.80),
            ("block", 4, 2_000_000, 0.89),
            ("top", "flatten", 3_000_000, 0.90),
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


def test_the_cheapest_layer_within_one_standard_error_of_the_best_is_chosen() -> None:
    probe = _probe()
    assert (probe.best.layer, probe.chosen.layer) == ("top", "block")
    assert probe.standard_error == pytest.approx(0.03)


def test_a_probe_prints_as_a_table_that_marks_the_best_and_the_chosen_layer() -> None:
    first, second, heading, *lines = str(_probe()).splitlines()
    assert first.startswith("ridge on 2,000 images, accuracy on 100 images")
    assert second == "together: block + top  95.00 %"
    assert heading.split()[:3] == ["layer", "pooling", "features"]
    assert [line.split() for line in lines] == [
        ["stem", "avg", "1,024", "1.00", "10", "80.00", "%"],
        ["block", "4x4", "1,024", "2.00", "10", "89.00", "%", "chosen"],
        ["top", "flatten", "1,024", "3.00", "10", "90.00", "%", "best"],
    ]
