import json
from pathlib import Path

import numpy as np
import pytest

from tlkit.caching.store import Store
from tlkit.cli import app


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "kept"))
    facts = {
        "columns": ["a"],
        "last_layer": "pooling",
        "image": [32, 32, 3, "uint8"],
        "engine": ["keras", "3"],
        "dtype": "float32",
    }
    store = Store()
    store.entry(facts).write_rows(np.zeros((5, 2), "uint64"), [np.zeros((5, 4), "float32")])
    store.entry({"of": "another program"}).write("x", [np.zeros(3)])
    return store


def test_where_names_the_folder(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["cache", "where"]) == app.DONE
    assert capsys.readouterr().out == f"{store.folder}\n"


def test_list_tells_what_is_stored(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["cache", "list"]) == app.DONE
    text = capsys.readouterr().out
    assert ": 5 images of 32 x 32 x 3, after pooling, by keras, float32, 0.0 MB, used 20" in text
    assert f"2 entries of 0.0 MB in {store.folder}" in text
    assert app.main(["cache", "list", "--json"]) == app.DONE
    listed = json.loads(capsys.readouterr().out)["entries"]
    assert {each["key"] for each in listed} == {info.key for info in store.entries()}


def test_prune_deletes(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["cache", "prune"]) == app.WRONG_ARGUMENTS
    assert "must have something to delete" in capsys.readouterr().err
    assert app.main(["cache", "prune", "--keep-bytes", "0", "--json"]) == app.DONE
    assert json.loads(capsys.readouterr().out)["bytes"] > 0
    assert store.entries() == []


def test_a_missing_folder_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["cache", "list", "--folder", str(tmp_path / "nowhere")]) == app.DONE
    assert "0 entries" in capsys.readouterr().out
