from typing import Any

import pytest

from tlkit import Cache
from tlkit.caching import TrunkRun
from tlkit.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"engine": "openvina"}, "`engine` must be one of .* Did you mean 'openvino'?"),
        ({"dtype": "int8"}, "`dtype` must be one of ['float16', 'float32'], got 'int8'"),
        ({"views": 0}, "`views` must be a whole number of at least 1, got 0"),
        ({"memory_limit": -1}, "`memory_limit` must be a whole number of at least 0, got -1"),
        ({"tolerance": 0}, "`tolerance` must be a number above 0, got 0"),
        ({"folder": 3}, "`folder` must be a path, got 3"),
        ({"engine": "litert", "views": 2}, "`engine` must be 'keras' if `views` is 2"),
    ],
)
def test_a_wrong_value_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("[", r"\[")):
        Cache(**settings)


def test_what_was_done_reads_as_a_sentence() -> None:
    run = TrunkRun(
        cut_reason="caching after pooling, where training starts",
        engine="litert 2.3.0",
        engine_error=1e-5,
        num_images=70_000,
        num_computed=60_000,
        num_bytes=466_000_000,
        on_disk=False,
        seconds=9.25,
        float16_error=0.0,
        disabled_layers=(),
    )
    assert str(run) == (
        "caching after pooling, where training starts. Frozen part by litert 2.3.0: "
        "ran 60,000 of 70,000 images in 9.2 s, 466 MB in memory"
    )
