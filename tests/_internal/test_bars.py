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


def _open_in_log(monkeypatch: pytest.MonkeyPatch) -> bars.Bar:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    return bars.open_bar("probe", rich.console.Console(file=io.StringIO()))


def test_a_log_gets_no_line_for_what_is_quick(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = _open_in_log(monkeypatch)
    bar.update(5, 20)
    bar.close()
    assert isinstance(bar, bars.LogBar)
    assert not bar._first.is_alive() or bar._first.finished.is_set()
    assert capsys.readouterr() == ("", "")


def test_a_log_gets_a_line_before_the_first_step_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bars, "_FIRST_LINE", 0.01)
    bar = _open_in_log(monkeypatch)
    assert isinstance(bar, bars.LogBar)
    bar._first.join(30)
    assert capsys.readouterr() == ("", "probe ...\n")


def test_a_log_gets_the_progress_and_the_time_left_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(bars, "time", SimpleNamespace(monotonic=lambda: now))
    bar = _open_in_log(monkeypatch)
    for step in range(1, 8):
        now += 10
        bar.update(1000 * step, 8000, "100 images/s")
    bar.close()
    assert capsys.readouterr().err.splitlines() == [
        "probe: 3,000 of 8,000, 100 images/s, 50.0 s left",
        "probe: 6,000 of 8,000, 100 images/s, 20.0 s left",
    ]


def test_the_bar_is_on_standard_error_where_only_that_is_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = _open_in_log(monkeypatch)
    bar.update(5, 20)
    bar.close()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "5/20" in printed.err


def test_a_terminal_shows_what_is_done_and_the_time_left() -> None:
    page = io.StringIO()
    bar = bars.open_bar("probe", rich.console.Console(file=page, force_terminal=True, width=80))
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
