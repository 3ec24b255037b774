import keras
import pytest

from tlkit.caching import tail


@pytest.mark.parametrize(
    ("backend", "watched", "expected"),
    [("tensorflow", False, 32), ("jax", False, 32), ("tensorflow", True, 1), ("torch", False, 1)],
)
def test_several_steps_run_at_a_time_where_the_backend_can(
    backend: str, expected: int, monkeypatch: pytest.MonkeyPatch, *, watched: bool
) -> None:
    monkeypatch.setattr(keras.config, "backend", lambda: backend)
    assert tail._choose_steps_per_call(100, watched=watched) == expected
    assert tail._choose_steps_per_call(7, watched=watched) == min(expected, 7)
