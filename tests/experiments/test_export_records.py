from dataclasses import replace
from pathlib import Path

import pytest
from tests.samples import PROOF

from tlkit.deployment import Export, Metadata
from tlkit.errors import ConfigError
from tlkit.experiments import export_records

METADATA = Metadata(
    format="onnx",
    precision="float32",
    class_names=("cat", "dog"),
    multi_label=False,
    thresholds=None,
    input_shape=(None, 8, 8, 3),
    input_dtype="uint8",
    value_range=(0, 255),
)


def test_an_export_replaces_its_earlier_record_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert export_records.load(run) == []
    for name, size in (("run/exports/a.onnx", 1), ("b.onnx", 2), ("run/exports/a.onnx", 3)):
        proof = replace(PROOF, megabytes=size)
        export_records.add(run, Export(path=tmp_path / name, metadata=METADATA, proof=proof))
    sizes = [(each["file"], each["proof"]["megabytes"]) for each in export_records.load(run)]
    assert sizes == [("b.onnx", 2), ("exports/a.onnx", 3)]


def test_a_damaged_list_is_named(tmp_path: Path) -> None:
    (tmp_path / "exports.json").write_text("[")
    with pytest.raises(ConfigError, match="exports.json.* must be as the run wrote it"):
        export_records.load(tmp_path)
