import json
from pathlib import Path

import pytest

from tlkit.experiments import public_files
from tlkit.experiments.experiment import Experiment

CONFIG = {
    "about": "fast on my photos, 32 px",
    "experiment": {
        **Experiment("../jane/my photos", weights="/home/jane/weights.h5").to_dict(),
        "add": ["/data/more"],
        "label_columns": ["cat/dog", "n/a"],
    },
    "making": {
        "command": "tlkit train '../jane/my photos' --add /data/more --out=/tmp/x/run --test 1/5",
        "data": "/home/jane/my photos",
        "add": ["/data/more"],
        "search": {"file": "C:\\Users\\jane\\backbone.keras"},
    },
    "environment": {"machine": "Linux x86_64, 2 cores"},
}


def test_a_config_keeps_the_last_name_of_each_path_and_all_else() -> None:
    places = public_files.find_places(CONFIG)
    assert places == [
        "/home/jane/weights.h5",
        "/home/jane/my photos",
        "../jane/my photos",
        "/data/more",
    ]
    cleaned = public_files.clean_config(CONFIG, places)
    text = json.dumps(cleaned)
    assert not any(word in text for word in ("jane", "/data", "/tmp", "Users"))
    experiment = cleaned["experiment"]
    assert (experiment["data"], experiment["weights"]) == ("my photos", "weights.h5")
    assert (experiment["add"], experiment["label_columns"]) == (["more"], ["cat/dog", "n/a"])
    assert cleaned["making"] == {
        "command": "tlkit train 'my photos' --add more --out=run --test 1/5",
        "data": "my photos",
        "add": ["more"],
        "search": {"file": "backbone.keras"},
    }
    assert cleaned["environment"] == CONFIG["environment"]
    Experiment.from_dict({**experiment, "label_columns": []})


@pytest.mark.parametrize(
    "text",
    [
        "and/or",
        "images/s",
        "https://arxiv.org/abs/1610.02391",
        "hf://keras/vit",
        "32 / 255",
        "a/b.png",
    ],
)
def test_what_is_no_path_of_the_machine_stays(text: str) -> None:
    assert public_files.remove_paths(text, []) == text


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("(/home/jane/a.png)", "(a.png)"),
        ('"/srv/data/photos/"', '"photos"'),
        ("~/secret/photos", "photos"),
        ("D:\\work\\photos x", "photos x"),
    ],
)
def test_other_absolute_paths_are_found_in_a_text(text: str, public: str) -> None:
    assert public_files.remove_paths(text, []) == public


def test_a_json_file_without_paths_stays_as_it_is() -> None:
    text = '{"a": [1, 2],\n "b": "c"}\n'
    assert public_files.clean_json(text, []) == text
    assert json.loads(public_files.clean_json('{"a": "/b/c"}', [])) == {"a": "c"}


def test_paths_inside_other_files_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/jane"))
    find = public_files.find_leftovers
    assert find(b"\x00/home/jane/x", []) == ["/home/jane"]
    assert find(b"\x00/data/photos", ["/data/photos", "photos"]) == ["/data/photos"]
    assert find(b"photos", ["/data/photos", "photos"]) == []
