from dataclasses import replace
from pathlib import Path

import keras
import pytest

from tlkit.distributed import environment
from tlkit.distributed.environment import Machine
from tlkit.distributed.storage import Location
from tlkit.errors import ConfigError

HERE = Machine(name="here", versions={"keras": "3.15.1", "openvino": "2026.1"})


def test_equal_machines_are_fine() -> None:
    environment.compare(HERE, [replace(HERE, name="there")])


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ({"keras": "3.14.0"}, "there: keras 3.14.0, here 3.15.1"),
        ({"openvino": ""}, "there: openvino is missing, here 2026.1"),
    ],
)
def test_another_version_and_a_missing_engine_are_named(
    versions: dict[str, str], message: str
) -> None:
    there = Machine(name="there", versions={**HERE.versions, **versions})
    with pytest.raises(ConfigError) as caught:
        environment.compare(HERE, [HERE, there])
    assert message in str(caught.value)
    assert "`cluster` must have machines with the same packages" in str(caught.value)


def test_a_file_that_a_machine_can_t_read_is_named(tmp_path: Path) -> None:
    gone = Location(str(tmp_path / "none"))
    there = environment.describe(["keras"], [("`out`", gone)])
    assert there.versions["keras"] == keras.__version__
    with pytest.raises(ConfigError, match="`out` .* does not exist there"):
        environment.compare(environment.describe(["keras"], []), [there])
