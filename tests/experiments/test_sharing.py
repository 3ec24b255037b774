"""Pushing and pulling a run, by huggingface_hub and a server on this machine."""

import csv
import hashlib
import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlkit._internal.optional import installed
from tlkit.cli import app
from tlkit.errors import ConfigError, DataError, DownloadError
from tlkit.experiments import pull, push

if not installed("huggingface_hub"):
    pytest.skip("huggingface_hub is not installed", allow_module_level=True)

from tests.hub import READ_ONLY, LocalHub, serve_hub


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with serve_hub() as started:
        yield started


@pytest.fixture(scope="module")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a run, with what stands for an export in it."""
    copy = shutil.copytree(trained, tmp_path_factory.mktemp("pushed") / "digits")
    (copy / "exports").mkdir()
    (copy / "exports" / "model.onnx").write_bytes(b"\x08\x0a network")
    proof = {"run_id": "digits-1234", "file": str(copy / "exports" / "model.onnx")}
    (copy / "exports" / "model.onnx.json").write_text(json.dumps(proof))
    return copy


def test_a_run_comes_back_as_it_was_sent(
    hub: LocalHub, run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["push", str(run), "me/digits", "--private", "--json"]) == app.DONE
    sent = json.loads(capsys.readouterr().out)
    assert sent["url"] == f"{hub.url}/me/digits" and sent["private"]
    repository = hub.repositories["me/digits"]
    assert repository.private and repository.newest == sent["commit"]
    folder = tmp_path / "pulled"
    assert app.main(["pull", "me/digits", str(folder), "--json"]) == app.DONE
    assert json.loads(capsys.readouterr().out) == {"run": str(folder)}
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == sent["files"].keys() == repository.files.keys() - {".gitattributes"}
    assert names >= {"model.keras", "README.md", "exports/model.onnx", "exports/model.onnx.json"}
    assert (folder / "model.keras").read_bytes() == (run / "model.keras").read_bytes()
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    tables = []
    for number, model in enumerate((run, folder)):
        table = tmp_path / f"{number}.csv"
        assert app.main(["predict", str(model), str(photos), "--csv", str(table)]) == app.DONE
        tables.append(list(csv.reader(table.open())))
    assert tables[0] == tables[1] and len(tables[0]) > 100
    capsys.readouterr()
    assert app.main(["evaluate", str(folder), str(photos), "--json"]) == app.DONE
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.9


def test_nothing_of_this_machine_is_sent(hub: LocalHub, run: Path, photos: Path) -> None:
    messages: list[object] = []
    push(run, "me/digits", on_message=messages.append)
    assert [str(each)[:6] for each in messages] == ["pushed"]
    files = hub.repositories["me/digits"].files
    assert not files.keys() & {"split.csv", "report.html", "report.md", "summary.txt"}
    assert not files.keys() & {"predictions.png", "errors.png", "grad_cam.png"}
    linked = set(re.findall(r"\]\(([\w-]+\.png)\)", files["README.md"].decode()))
    assert linked == {name for name in files if name.endswith(".png")} != set()
    for name, content in files.items():
        for place in (str(photos.parent), str(run.parent), str(run.parents[1])):
            assert place.encode() not in content, name
    config = json.loads(files["config.json"])
    assert config["experiment"]["data"] == config["making"]["data"] == "digits"
    assert config["making"]["command"].startswith("tlkit train digits --out run ")
    card = files["README.md"].decode()
    assert card.startswith("---\n") and "pipeline_tag: image-classification" in card
    commands = " ".join(card.replace("\\\n", " ").split())
    assert "tlkit pull me/digits run " in commands and "tlkit train digits --out run" in commands


@pytest.mark.slow
def test_a_pulled_run_can_be_exported(
    hub: LocalHub, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push(run, "me/digits")
    folder = pull("me/digits", tmp_path / "pulled")
    assert app.main(["export", str(folder), "--format", "keras"]) == app.DONE
    assert (folder / "exports" / "model.keras").is_file()
    assert "compared on random pixels" in capsys.readouterr().out


def test_a_path_inside_a_file_that_is_sent_as_it_is_is_told(
    hub: LocalHub, run: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "exports" / "notes.bin").write_bytes(b"\0 written to " + str(copy.resolve()).encode())
    messages: list[object] = []
    push(copy, "me/digits", on_message=messages.append)
    assert messages[0] == f"exports/notes.bin holds paths of this machine: {copy.resolve()}"


def test_a_second_push_replaces_the_exports_and_an_old_commit_can_be_pulled(
    hub: LocalHub, run: Path, tmp_path: Path
) -> None:
    first = push(run, "me/digits")
    hub.repositories["me/digits"].files["LICENSE"] = b"MIT"
    copy = shutil.copytree(run, tmp_path / "copy")
    shutil.rmtree(copy / "exports")
    push(copy, "me/digits")
    files = hub.repositories["me/digits"].files
    assert "LICENSE" in files and not any(name.startswith("exports") for name in files)
    assert not (pull("me/digits", tmp_path / "new") / "exports").exists()
    assert (pull("me/digits", tmp_path / "old", revision=first.commit) / "exports").exists()
    again = push(tmp_path / "new", "me/again")  # without model_card.md
    assert again.files.keys() == {*files} - {"LICENSE", ".gitattributes"}


@pytest.mark.parametrize("change", ["bit", "missing", "outside"])
def test_a_file_that_differs_is_refused_and_nothing_is_written(
    hub: LocalHub, run: Path, tmp_path: Path, change: str
) -> None:
    push(run, "me/digits")
    files = hub.repositories["me/digits"].files
    if change == "bit":
        content = bytearray(files["model.keras"])
        content[len(content) // 2] ^= 1
        files["model.keras"] = bytes(content)
    elif change == "missing":
        del files["metrics.json"]
    else:
        files["SHA256SUMS"] += f"{hashlib.sha256(b'').hexdigest()}  ../x\n".encode()
    with pytest.raises(DownloadError, match="is missing or differs from what was sent"):
        pull("me/digits", tmp_path / "pulled")
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_sent_by_the_upload_of_newer_versions_too(
    hub: LocalHub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    hub.large = (".nothing",)  # those would go to a storage of its own
    first = push(run, "me/digits")
    assert first.commit == hub.repositories["me/digits"].newest
    again = push(run, "me/digits")
    assert again.files == first.files
    assert pull("me/digits", tmp_path / "run", revision=again.commit).is_dir()


def test_an_edited_card_is_no_damage(hub: LocalHub, run: Path, tmp_path: Path) -> None:
    push(run, "me/digits")
    hub.repositories["me/digits"].files["README.md"] = b"edited on the Hub"
    assert (pull("me/digits", tmp_path / "run") / "README.md").read_text() == "edited on the Hub"


def test_a_run_that_should_be_private_is_not_sent_to_a_public_repository(
    hub: LocalHub, run: Path
) -> None:
    push(run, "me/digits")
    before = hub.repositories["me/digits"].newest
    with pytest.raises(ConfigError, match="must be new or private, got 'me/digits'"):
        push(run, "me/digits", private=True)
    assert hub.repositories["me/digits"].newest == before


def test_what_the_hub_refuses_is_said(
    hub: LocalHub, run: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(run, "me/private", private=True)
    cases = [
        (
            lambda: push(run, "me/a b"),
            "`repo` must be a repository such as 'me/flowers', got 'me/a b'",
        ),
        (lambda: push(run, "me/new", token=READ_ONLY), "the access token may not do this"),
        (lambda: push(run, "me/new", token="wrong"), "the access token is missing or wrong"),
        (lambda: pull("me/missing", tmp_path / "a"), "there is no such repository"),
        (
            lambda: pull("me/private", tmp_path / "a", revision="v9"),
            "`revision` must be a branch, tag or commit of 'me/private'",
        ),
        (lambda: push(tmp_path, "me/new"), "must be a run's folder with model.keras"),
        (lambda: pull("me/private", trained), "must be new or empty"),
    ]
    for call, message in cases:
        with pytest.raises(ConfigError, match=message):
            call()
    hub.max_bytes = 1000
    with pytest.raises(ConfigError, match="a file is too large for the Hub"):
        push(run, "me/large")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ConfigError, match="Pushing needs an access token.* `hf auth login`"):
        push(run, "me/new")
    with pytest.raises(ConfigError, match="access token is missing or wrong"):
        pull("me/private", tmp_path / "a")
    hub.repositories["me/other"] = hub.repositories.pop("me/private")
    hub.repositories["me/other"].private = False
    hub.repositories["me/other"].commit({"README.md": b"another model"})
    with pytest.raises(ConfigError, match="must be a run that `tlkit push` sent, got 'me/other'"):
        pull("me/other", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_hub_that_cannot_be_reached_is_said(
    hub: LocalHub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", nowhere)
    for call in (lambda: push(run, "me/digits"), lambda: pull("me/digits", tmp_path / "a")):
        with pytest.raises(DownloadError, match="Can't reach 'me/digits': .*Check the network"):
            call()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        push(run, "me/digits")


def test_a_run_without_a_card_says_how_to_write_it(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "model_card.md").unlink()
    with pytest.raises(ConfigError, match="with model_card.md, .*write it with `tlkit report`"):
        push(copy, "me/digits")


def test_a_run_that_was_changed_is_not_sent(hub: LocalHub, run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    metrics = json.loads((copy / "metrics.json").read_text())
    (copy / "metrics.json").write_text(json.dumps({**metrics, "accuracy": 1.0}))
    with pytest.raises(DataError, match=r"One file of the run .* changed .*: metrics.json"):
        push(copy, "me/digits")
    assert "me/digits" not in hub.repositories
