import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tlkit.cli.import_hook import while_importing


def test_a_package_is_loaded_within_the_context_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tlkit_first.py").write_text("import sys\nwithin = sys.tlkit_within\n")
    (tmp_path / "tlkit_second.py").write_text("import sys\nwithin = sys.tlkit_within\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "tlkit_within", False, raising=False)

    @contextmanager
    def mark() -> Iterator[None]:
        monkeypatch.setattr(sys, "tlkit_within", True)
        yield
        monkeypatch.setattr(sys, "tlkit_within", False)

    before = list(sys.meta_path)
    with while_importing("tlkit_first", mark):
        assert not importlib.import_module("tlkit_second").within
        first = importlib.import_module("tlkit_first")
    assert first.within
    assert sys.meta_path == before


def test_nothing_is_left_where_the_package_is_not_imported() -> None:
    before = list(sys.meta_path)
    with while_importing("tlkit_never", contextmanager(lambda: iter([None]))):
        assert len(sys.meta_path) == len(before) + 1
    assert sys.meta_path == before
