import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import rich.console

from tlkit._internal import bars


class _Display:
    """A stand-in for IPython.display that keeps what it shows."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.num_places = 0

    def HTML(self, text: str) -> str:  # noqa: N802  # as in IPython
        return text

    def display(self, text: str, *, display_id: bool) -> "_Display":
        assert display_id
        self.num_places += 1
        self.shown.append(text)
        return self

    def update(self, text: str) -> None:
        self.shown.append(text)


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> _Display:
    shown: Any = _Display()
    shell = SimpleNamespace(kernel=None, execution_count=7)
    ipython = SimpleNamespace(get_ipython=lambda: shell, display=shown)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    monkeypatch.setattr(bars.NotebookBar, "_place", (-1, None))
    return shown


def test_a_log_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert bars.open_bar("probe", rich.console.Console(file=io.StringIO())) is None


def test_a_terminal_shows_what_is_done_and_the_time_left() -> None:
    page = io.StringIO()
    bar = bars.open_bar("probe", rich.console.Console(file=page, force_terminal=True, width=80))
    assert bar is not None
    bar.update(5, 20, "3 images/s")
    bar.close()
    assert "probe" in page.getvalue()
    assert "5/20" in page.getvalue()
    assert "3 images/s" in page.getvalue()


def test_a_notebook_shows_a_bar_with_the_time_left_and_removes_it(display: _Display) -> None:
    bar = bars.open_bar("<probe>", rich.console.Console(file=io.StringIO()))
    assert isinstance(bar, bars.NotebookBar)
    bar.update(5, 20)
    bar.update(6, 20)  # too soon after the other
    bar.update(20, 20)
    bar.close()
    first, some, all_of_it, removed = display.shown
    assert first == "&lt;probe&gt;"
    assert 'value="5" max="20"' in some
    assert " s left" in some
    assert 'value="20" max="20"' in all_of_it
    assert removed == ""
    bars.open_bar("solving", rich.console.Console(file=io.StringIO()))
    assert display.num_places == 1  # the next bar of the cell is at the same place


def test_a_notebook_gets_lines_as_text() -> None:
    assert not bars.create_console().is_jupyter
