import json
import os
import signal
from pathlib import Path
from typing import Any

import keras
import pytest
from tests.samples import run_until_killed

from tlkit.cli import app
from tlkit.errors import ConfigError, StoreError, TrainingInterrupted
from tlkit.experiments import Experiment, run, run_folder, run_saving, run_state

SETTINGS = {"data": "photos", "seed": 0, "pixels": (), "budget": None}
HOLD = """
import sys, time
from tlkit.experiments import run_state
with run_state.claim(sys.argv[1], {"data": "photos"}, command="x") as claim:
    claim.checkpoint.mkdir()
    print("held", flush=True)
    time.sleep(60)
"""


def _claim(folder: Path, settings: dict[str, Any] = SETTINGS, **how: Any) -> Any:
    return run_state.claim(folder, settings, command="tlkit train", **how)


def _state(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "state.json").read_text())


def _leave(folder: Path, error: BaseException) -> None:
    """Leave an unfinished run that has a checkpoint."""
    with pytest.raises(type(error)), _claim(folder) as claim:
        claim.checkpoint.mkdir()
        raise error


def test_the_folder_says_its_state_and_who_trains_into_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    with _claim(folder) as claim:
        claim.checkpoint.mkdir()
        state = _state(folder)
        assert (state["state"], state["pid"]) == ("running", os.getpid())
        assert {"host", "since", "command", "tlkit", "experiment"} <= state.keys()
        assert not claim.is_resumed
    assert _state(folder)["state"] == "finished"
    assert [path.name for path in folder.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    ("error", "state"), [(KeyboardInterrupt(), "interrupted"), (StoreError("full"), "failed")]
)
def test_what_was_done_is_kept_and_gone_on_with(
    tmp_path: Path, error: BaseException, state: str
) -> None:
    _leave(tmp_path, error)
    assert _state(tmp_path)["state"] == state
    with _claim(tmp_path) as claim:
        assert claim.is_resumed
        assert claim.checkpoint.is_dir()


def test_nothing_is_left_of_a_run_that_failed_before_anything_was_done(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), _claim(tmp_path / "run"):
        _ = 1 / 0
    assert not (tmp_path / "run").exists()
    with pytest.raises(ZeroDivisionError), _claim(tmp_path):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


def test_an_unfinished_run_of_other_settings_is_refused_with_what_differs(tmp_path: Path) -> None:
    _leave(tmp_path, KeyboardInterrupt())
    message = "other settings, .*: seed 0, now 1; recipe None, now 'best'. Give the same"
    with (
        pytest.raises(ConfigError, match=message),
        _claim(tmp_path, SETTINGS | {"seed": 1, "recipe": "best"}),
    ):
        pass
    assert _state(tmp_path)["state"] == "interrupted"  # and is as it was
    with _claim(tmp_path, SETTINGS | {"seed": 1}, resume=False) as claim:
        assert not claim.is_resumed
        assert not claim.checkpoint.exists()


def test_a_finished_run_is_refused(tmp_path: Path) -> None:
    with _claim(tmp_path):
        pass
    (tmp_path / ".checkpoint").mkdir()  # as after a kill at the very end
    with pytest.raises(ConfigError, match="holds a finished run"), _claim(tmp_path):
        pass
    assert not (tmp_path / ".checkpoint").exists()


def test_a_run_whose_budget_ran_out_goes_on_with_a_larger_one(tmp_path: Path) -> None:
    with _claim(tmp_path, SETTINGS | {"budget": 3.0}) as claim:
        claim.checkpoint.mkdir()
        claim.ran_out = True
    message = "`budget` must be above the 3 minutes that ran out"
    with pytest.raises(ConfigError, match=message), _claim(tmp_path, SETTINGS | {"budget": 3.0}):
        pass
    with _claim(tmp_path, SETTINGS | {"budget": 10.0}) as claim:
        assert claim.is_resumed
    assert not claim.checkpoint.exists()


def test_a_second_training_into_the_folder_is_refused_until_the_first_is_killed(
    tmp_path: Path,
) -> None:
    with run_until_killed(HOLD, tmp_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        message = f"into which process {holder.pid} on .* trains"
        with pytest.raises(ConfigError, match=message), _claim(tmp_path):
            pass
        assert _state(tmp_path)["state"] == "running"
        os.kill(holder.pid, signal.SIGKILL)
    (tmp_path / ".writing-1").mkdir()  # of the one that was killed
    with _claim(tmp_path, {"data": "photos"}) as claim:
        assert claim.is_resumed
        assert not (tmp_path / ".writing-1").exists()


@pytest.mark.parametrize("content", ["", "null", "[]", "{}", '{"state": "finished"}'])
def test_a_damaged_state_is_one_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(ConfigError, match="damaged or was changed"), _claim(tmp_path):
        pass


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="must be new or empty"):
        run_state.check_folder(tmp_path)
    with pytest.raises(ConfigError, match="it is a file"):
        run_state.check_folder(tmp_path / "thesis.txt")


class _Interrupt(keras.callbacks.Callback):
    """Presses Ctrl-C when the third epoch of fine-tuning begins, once."""

    pressed = False

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        if epoch == 2 and not self.pressed:
            self.pressed = True
            raise KeyboardInterrupt


@pytest.mark.slow
def test_an_experiment_goes_on_and_ends_as_one_that_was_not_interrupted(
    photos: Path, tmp_path: Path
) -> None:
    experiment = Experiment(photos, recipe="best", image_size=32, weights="starter")
    folder, other = tmp_path / "run", tmp_path / "other"
    never, once = _Interrupt(), _Interrupt()
    never.pressed = True
    expected = run(experiment, other, callbacks=[never])
    with pytest.raises(TrainingInterrupted, match="Run the same again"):
        run(experiment, folder, callbacks=[once])
    assert _state(folder)["state"] == "interrupted"
    lines: list[str] = []
    how = {"callbacks": [once], "on_message": lambda line: lines.append(str(line))}
    found = run(experiment, folder, **how)
    assert lines[0] == f"going on with the unfinished run in {folder}"
    assert any(line.startswith("since it went on: images ") for line in lines)
    assert "training" in found.stages
    assert "training" not in expected.stages  # which has its parts
    for weight, same in zip(
        found.trained.model.get_weights(), expected.trained.model.get_weights(), strict=True
    ):
        assert (weight == same).all()
    assert (folder / "history.csv").read_text() == (other / "history.csv").read_text()
    assert {path.name for path in folder.iterdir()} == {path.name for path in other.iterdir()}


@pytest.mark.slow
def test_the_current_folder_can_be_the_run(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", str(photos), "--image-size", "32", "--weights", "starter", "--json"]
    assert app.main([*words, "--out", "."]) == app.DONE
    assert (tmp_path / "model.keras").is_file()


def test_a_run_that_cannot_be_written_is_written_elsewhere_and_can_go_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "target").mkdir()
    folder, written = tmp_path / "link", []
    folder.symlink_to(tmp_path / "target")
    save = run_folder.save_run

    def fail_in_folder(target: Path, **parts: Any) -> Path:
        if Path(target) == folder:
            raise StoreError("Can't write: no space left.")
        written.append(Path(target))
        return save(target, **parts)

    monkeypatch.setattr(run_saving.run_folder, "save_run", fail_in_folder)
    experiment = Experiment(photos, image_size=32, weights="starter")
    with pytest.raises(StoreError, match=r"no space left. The run is in '.*' instead") as error:
        run(experiment, folder)
    assert str(written[0]) in str(error.value)
    assert run_folder.load_run(written[0]).phases[0].name == "head"
    assert _state(folder)["state"] == "failed"
    monkeypatch.setattr(run_saving.run_folder, "save_run", save)
    monkeypatch.setattr(run_saving, "write_report", lambda *_: None)
    assert run(experiment, folder).trained.run.seconds > 0  # the training was kept
    assert (tmp_path / "target" / "model.keras").is_file()
    assert folder.is_symlink()
