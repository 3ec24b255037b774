import random
import tempfile
from pathlib import Path

import pytest
from tests.fuzz import command
from tests.fuzz.world import World

_CASES = 200


@pytest.mark.filterwarnings("ignore")
def test_a_wrong_word_ends_in_one_line_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command that is refused once its options are read, with a wrong word for one of them."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "temporary").mkdir()  # of this process alone, to see what is left there
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    world = World(tmp_path / "world")
    world.folder.mkdir()
    monkeypatch.chdir(world.folder)
    every = [
        (name, option, word)
        for name, option in command.options()
        for word in command.WORDS
        if name in command.REFUSED and (name, option) != ("train", "--out")  # it would train
    ]
    random.Random(0).shuffle(every)
    faults = []
    for name, option, word in every[:_CASES]:
        fault = command.run_command(world, name, option, word)
        if fault is not None:
            faults.append(f"tlkit {name} {option} {word[:40]!r}: {fault}")
    assert not faults, "\n".join(faults)
