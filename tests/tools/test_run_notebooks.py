import base64
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")

from tools import run_notebooks  # noqa: E402  # it needs both

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"


def _notebook(*outputs: Any, code: str = "1 + 1") -> Any:
    cell = nbformat.v4.new_code_cell(code, outputs=list(outputs))
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title"), cell])


def _lines(text: str) -> Any:
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def _shown(**data: str) -> Any:
    named = {kind.replace("_", "/"): text for kind, text in data.items()}
    return nbformat.v4.new_output("display_data", data=named)


def test_changed_words_are_listed_and_changed_numbers_are_not() -> None:
    before = _notebook(_lines("accuracy 98.1 %, 3 s\nsaved\n"))
    assert run_notebooks.list_changes(before, _notebook(_lines("accuracy 97 %, 12 s\nsaved"))) == []
    after = _notebook(_lines("accuracy 98.1 %, 3 s\nlost\n"), _shown(image_png=""))
    assert run_notebooks.list_changes(before, after) == ["- saved", "+ lost", "+ a picture"]


def test_kinds_tell_that_a_cell_shows_something_else() -> None:
    figure = _notebook(_shown(image_png="aGk=", text_plain="<Figure>"))
    assert run_notebooks.list_kinds(figure) == [[], ["image/png"]]
    assert run_notebooks.list_kinds(_notebook(_shown(text_plain="<Figure>"))) == [
        [],
        ["text/plain"],
    ]


def test_a_page_has_the_cells_and_their_outputs(tmp_path: Path) -> None:
    picture = base64.b64encode(b"png").decode()
    notebook = _notebook(
        _lines("one\n"), _shown(text_html="<div>\n\n2</div>"), _shown(image_png=picture)
    )
    run_notebooks.write_page(notebook, tmp_path / "page.ipynb")
    assert (tmp_path / "page.md").read_text().split("\n\n") == [
        "# Title",
        "```python\n1 + 1\n```",
        "```text\none\n```",
        "<div>\n2</div>",
        "![The figure that the code above draws](page/1-2.png)\n",
    ]
    assert (tmp_path / "page" / "1-2.png").read_bytes() == b"png"


def test_a_cell_runs_without_errors_of_the_machine_and_lines_are_joined() -> None:
    pytest.importorskip("ipykernel")
    code = "import sys\nprint('a', flush=True); sys.stderr.write('noise\\n'); print('b')"
    done = run_notebooks.execute(_notebook(code=code))
    assert [each.text for each in done.cells[1].outputs] == ["a\nb\n"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_pages_show_the_notebooks_as_they_were_executed(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    run_notebooks.write_page(notebook, tmp_path / path.name)
    written = (tmp_path / path.name).with_suffix(".md").read_text()
    assert written == path.with_suffix(".md").read_text()
    assert all(
        cell.outputs or cell.execution_count for cell in notebook.cells if cell.cell_type == "code"
    )
    assert "/tmp/" not in written
