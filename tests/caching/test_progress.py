import io
import time

import pytest
import rich.console

from tlkit._internal import bars
from tlkit.caching.progress import CacheProgress, show_waiting


def _show(*, verbose: bool = True, total: int | None = 20, **console: object) -> str:
    page = io.StringIO()
    progress = CacheProgress(
        verbose=verbose, console=rich.console.Console(file=page, width=120, **console)
    )
    progress.print("train: stores [all] of it")
    for done in (10, 20):
        progress.update(done, total)
    progress.close()
    return page.getvalue()


def test_a_log_gets_plain_lines() -> None:
    assert _show() == "train: stores [all] of it\n"


@pytest.mark.parametrize("total", [20, None])
def test_a_terminal_gets_a_bar_with_images_per_second(total: int | None) -> None:
    assert "images/s" in _show(force_terminal=True, total=total)


def test_other_steps_than_images_have_no_images_per_second() -> None:
    page = io.StringIO()
    console = rich.console.Console(file=page, width=120, force_terminal=True)
    progress = CacheProgress(verbose=True, console=console, title="scoring", shows_speed=False)
    progress.update(5, 34)
    progress.close()
    assert "scoring" in page.getvalue() and "5/34" in page.getvalue()
    assert "images/s" not in page.getvalue()


def test_nothing_is_shown_unless_verbose() -> None:
    assert _show(verbose=False) == ""
    assert _show(force_terminal=True, verbose=False) == ""


@pytest.mark.parametrize(
    ("verbose", "is_terminal", "is_shown"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_a_terminal_shows_what_it_waits_for(
    verbose: bool, is_terminal: bool, is_shown: bool
) -> None:
    page = io.StringIO()
    console = rich.console.Console(file=page, width=80, force_terminal=is_terminal)
    with show_waiting("drawing [all] figures", verbose=verbose, console=console):
        pass
    assert ("drawing [all] figures" in page.getvalue()) == is_shown


def test_a_log_gets_a_line_for_what_takes_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bars, "_FIRST_LINE", 0.01)
    console = rich.console.Console(file=io.StringIO())
    with show_waiting("drawing [all] figures", verbose=True, console=console):
        time.sleep(1)
    assert capsys.readouterr().err == "drawing [all] figures ...\n"
