import io

import pytest
import rich.console

from tlkit._internal.tables import build_table, find_width, render_text

LAYER = "a_" + "long_" * 14 + "name"
TABLE = build_table(
    ("layer", "share"), [(LAYER, "7 %"), ("[red]block :dog: <1>[/red]", "12.5 %")], align="lr"
)


def test_a_table_as_text_has_a_line_a_row_and_columns_that_line_up() -> None:
    lines = render_text(TABLE).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["layer", LAYER, "[red]block :dog: <1>[/red]"]
    assert {len(line) for line in lines} == {len(LAYER) + 2 + len("12.5 %")}


def test_a_name_cannot_change_the_terminal() -> None:
    table = build_table(("name",), [("a\x1b]0;title\x07\u202eb",)], align="l")
    assert render_text(table).splitlines()[1] == r"a\x1b]0;title\x07\u202eb"


def test_text_depends_neither_on_the_terminal_nor_on_its_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = render_text(TABLE)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    assert render_text(TABLE) == plain
    assert "\x1b" not in plain


def test_a_narrow_terminal_loses_nothing_of_a_table_and_divides_no_cell() -> None:
    page = io.StringIO()
    console = rich.console.Console(file=page, width=40, force_terminal=True, color_system=None)
    console.print(TABLE, width=find_width(TABLE, console), crop=False)
    assert page.getvalue().count("long_") >= 13
    assert "[red]block :dog: <1>[/red]" in page.getvalue()


def test_a_table_may_be_empty() -> None:
    assert render_text(build_table(("layer",), [], align="l")) == "layer"
