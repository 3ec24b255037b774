"""The errors of calls to workers; no cluster is needed."""

from types import SimpleNamespace
from typing import Any

import pytest

from tlkit.distributed import tail_group
from tlkit.errors import Argument, ConfigError


def test_an_error_of_a_worker_keeps_the_arguments_that_its_message_names() -> None:
    class RayError(Exception):
        cause = ConfigError(Argument("checkpoint"), " can't be read.")

    def get(_: object) -> None:
        raise RayError

    ray: Any = SimpleNamespace(get=get, exceptions=SimpleNamespace(RayError=RayError))
    with pytest.raises(ConfigError, match="`checkpoint` can't be read") as caught:
        tail_group._fetch(ray, None)
    assert caught.value.argument == "checkpoint"
