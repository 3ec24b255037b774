import json
from pathlib import Path

import pytest

from tlkit.cli import app
from tlkit.experiments.loading import load_classifier


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "run", "data": "x", "unreadible": "skip"}, "Did you mean --unreadable?"),
        ({"data": "photos"}, "--model requires an argument"),
        ({"model": "run", "data": "x", "assert_accuracy": "high"}, '"high" into float'),
        ({"model": "run", "data": "x", "unreadable": "skipp"}, 'Did you mean "skip"?'),
        ({"model": "run", "data": "x", "json": "perhaps"}, '"perhaps" into bool'),
    ],
)
def test_a_config_with_wrong_names_or_types_is_refused(
    tmp_path: Path, values: dict, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(values))
    assert app.main(["evaluate", "--config", str(path)]) == app.WRONG_ARGUMENTS
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    ["data: [", "- a list", "experiment: 5", "{experiment: {seed: x}, making: {data: x}}"],
)
def test_a_file_that_holds_no_options_is_refused(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("yaml")
    path = tmp_path / "c.yaml"
    path.write_text(content)
    assert app.main(["inspect", "--config", str(path)]) == app.WRONG_ARGUMENTS
    assert capsys.readouterr().err.startswith("tlkit: ")


def test_a_classifier_reads_images_as_its_run_did(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.keras").symlink_to(trained / "model.keras")
    config = json.loads((trained / "config.json").read_text())
    config["experiment"]["fit"] = "crop"
    (run / "config.json").write_text(json.dumps(config))
    for model in (run, run / "model.keras"):
        experiment = load_classifier(str(model), data="elsewhere")[1]
        assert (experiment.fit, experiment.image_size) == ("crop", 32)
    (run / "config.json").write_text('{"about": "a script of mine"}')
    assert load_classifier(str(run), data="elsewhere")[1].fit == "squash"
