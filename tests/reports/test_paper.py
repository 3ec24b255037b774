import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from tests.reports.example import NAMES, facts, phase

from tlkit.reports import paper, render
from tlkit.reports.bibtex import Reference

_ROOT = Path(__file__).parents[2]
_REFERENCES = [Reference(f"key{year}", "A. Author", "Title", "Venue", "doi:1") for year in (1, 2)]
_REPORT = """# A "title" of @all

## Results

![A caption -- long.](curves.png)

*A caption -- long.*

*Of a table.*

| a | b |
| --- | ---: |
| \\[1\\] | x^2 |

### More

Known [2], and `code --option`.

```sh
# a comment [1]

## References
```

## References

1. A. Author
"""


def test_the_sections_are_in_the_order_of_a_paper() -> None:
    names = ("Abstract", "Visualisations", "Results", "Limitations", "Data", "Own", "Training")
    names += ("Related work", "How to use", "References")
    sections = [f"## {name}\n\nAbout {name}.\n\n- a number\n" for name in names]
    code = "```sh\n## Data\n```\n"
    text = paper.to_pandoc(
        "\n".join(["# Title", "", "By A.", "", *sections[:3], code, *sections[3:]]), []
    )
    body = text.split("\n---\n")[1]
    assert body.startswith("\nBy A.")
    assert re.findall(r"^# (.*)", body, flags=re.M) == [
        *("Abstract", "Related work", "Data", "Training", "Results", "Visualisations"),
        *("Limitations", "Own", "How to use", "References"),
    ]
    assert body.index("# Results") < body.index("```sh\n## Data") < body.index("# Visualisations")
    assert "- a number" not in body.split("# Related work")[0]
    assert body.count("- a number") == len(names) - 2  # nor in the references


def test_captions_citations_and_the_title_take_the_form_of_pandoc() -> None:
    text = paper.to_pandoc(_REPORT, _REFERENCES, date="2026-01-02")
    head, body = text.removeprefix("---\n").split("\n---\n")
    values = dict(line.split(": ", 1) for line in head.splitlines())
    assert json.loads(values["title"]) == 'A \\"title\\" of \\@all'
    assert json.loads(values["date"]) == "2026-01-02"
    assert json.loads(values["bibliography"]) == "references.bib"
    assert (
        body
        == """
# Results

![A caption \\-- long.](curves.png){width=60%}


: Of a table.

| a | b |
| --- | ---: |
| \\[1\\] | x\\^2 |

## More

Known [@key2], and `code --option`.

```sh
# a comment [1]

## References
```

# References

::: {#refs}
:::
"""
    )


def test_authors_are_metadata_of_the_paper_and_a_line_of_the_report(tmp_path: Path) -> None:
    names = ("Ada Lovelace", "A_b *c* @d")
    render.write(tmp_path, facts(authors=names))
    text = (tmp_path / "paper.md").read_text("utf-8")
    [line] = re.findall(r"^author: (.*)$", text, flags=re.M)
    assert json.loads(line) == ["Ada Lovelace", "A_b \\*c\\* \\@d"]
    assert "By Ada" not in text
    report = (tmp_path / "report.md").read_text("utf-8")
    assert report.splitlines()[2] == "By Ada Lovelace and A_b \\*c\\* @d."
    assert "<p>By Ada Lovelace and A_b *c* @d.</p>" in (tmp_path / "report.html").read_text("utf-8")
    render.write(tmp_path, facts())
    assert "\nauthor: " not in (tmp_path / "paper.md").read_text("utf-8")


def test_each_run_has_a_paper_with_the_text_of_its_report(tmp_path: Path) -> None:
    render.write(tmp_path, facts())
    text = (tmp_path / "paper.md").read_text("utf-8")
    report = (tmp_path / "report.md").read_text("utf-8")
    cited = set(re.findall(r"\[@(\w+)\]", text))
    assert cited
    assert cited == set(re.findall(r"@\w+\{(\w+),", (tmp_path / "references.bib").read_text()))
    for path in re.findall(r"\]\((\S+\.png)\)", text):
        assert (tmp_path / path).is_file()
    rows = [line for line in report.splitlines() if line.startswith("| ") and "^" not in line]
    assert len(rows) > 10
    assert paper.COMMAND in report


def _read(folder: Path) -> Any:
    pandoc = shutil.which("pandoc")
    if pandoc is None:
        pytest.skip("Pandoc is not installed")
    words = [pandoc, "paper.md", "--citeproc", "--fail-if-warnings", "-t", "json"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _find(node: Any, kind: str) -> list[Any]:
    """Return all parts of a document of Pandoc's that are of a kind, such as "Table"."""
    if isinstance(node, list):
        return [found for each in node for found in _find(each, kind)]
    if isinstance(node, dict):
        own = [node] if node.get("t") == kind else []
        return own + [found for each in node.values() for found in _find(each, kind)]
    return []


def _text(node: Any) -> str:
    if isinstance(node, list):
        return "".join(map(_text, node))
    if isinstance(node, dict):
        kind, content = node.get("t"), node.get("c")
        return {"Str": content, "Space": " ", "SoftBreak": " "}.get(str(kind)) or _text(content)
    return ""


def test_pandoc_reads_figures_tables_citations_and_names(tmp_path: Path) -> None:
    figures = {"curves": Figure(figsize=(1, 1)), "predictions": Figure(figsize=(1, 1))}
    render.write(tmp_path, facts(figures=figures))
    document = _read(tmp_path)
    pictures = _find(document["blocks"], "Image")
    assert len(pictures) == 2
    assert all(_text(picture["c"][1]) for picture in pictures)  # which is the caption
    tables = _find(document["blocks"], "Table")
    assert tables
    assert all(_text(table["c"][1]) for table in tables)
    everything = _text(document["blocks"])
    for name in NAMES:
        assert " ".join(name.split()) in everything
    assert "[@" not in everything
    assert not _find(document["blocks"], "Math")
    assert "References" in everything


def test_the_pages_of_a_paper_lose_no_line(tmp_path: Path) -> None:
    if shutil.which("pandoc") is None or shutil.which("pdflatex") is None:
        pytest.skip("Pandoc or LaTeX is not installed")
    names = ["calibration", "confusion", "curves", "errors", "features", "grad_cam", "predictions"]
    figures = {name: Figure(figsize=(6, 9)) for name in names}  # as tall as a page
    render.write(tmp_path, facts(figures=figures))
    words = ["pandoc", "paper.md", "--citeproc", "-s", "-o", "paper.tex"]
    subprocess.run(words, cwd=tmp_path, check=True)
    tex = (tmp_path / "paper.tex").read_text("utf-8")
    for name in NAMES:  # of other scripts, which need xelatex
        tex = tex.replace(name, "name")
    (tmp_path / "paper.tex").write_text(tex, "utf-8")
    words = ["pdflatex", "-interaction=nonstopmode", "paper.tex"]
    subprocess.run(words, cwd=tmp_path, capture_output=True, check=False)
    log = (tmp_path / "paper.log").read_text("latin-1")
    assert "Output written on paper.pdf" in log
    too_high = [float(each) for each in re.findall(r"Overfull \\vbox \(([\d.]+)pt too high\)", log)]
    assert max(too_high, default=0) < 20


def test_the_entry_of_tlkit_is_the_one_that_the_questions_show(tmp_path: Path) -> None:
    cff = (_ROOT / "CITATION.cff").read_text("utf-8")
    [version] = re.findall(r"^version: (\S+)$", cff, flags=re.M)
    render.write(tmp_path, facts(environment={"tlkit": version, "date": "2026-11-30"}))
    entry = re.search(r"^@misc\{tlkit,\n.*?^\}$", _bibtex(tmp_path), flags=re.M | re.S)
    assert entry
    assert f"```bibtex\n{entry[0]}\n```" in (_ROOT / "docs" / "faq.md").read_text("utf-8")
    assert "[@tlkit]" in (tmp_path / "paper.md").read_text("utf-8")


def test_literature_has_the_kind_of_entry_that_it_is(tmp_path: Path) -> None:
    phases = [phase(settings={"method": "L-BFGS"})]
    render.write(tmp_path, facts(phases=phases, source="MNIST"))
    bibtex = _bibtex(tmp_path)
    assert "@inproceedings{sandler2018,\n  author = {M. Sandler and A. Howard and " in bibtex
    assert "booktitle = {Conference on Computer Vision and Pattern Recognition (CVPR)}" in bibtex
    assert "@article{lecun1998," in bibtex
    journal = "journal = {Proceedings of the IEEE},\n  volume = {86},\n  number = {11},"
    assert journal in bibtex
    assert "journal = {Mathematical Programming},\n  volume = {45},\n  year" in bibtex
    assert "et al." not in bibtex and "howpublished" not in bibtex


def _bibtex(folder: Path) -> str:
    return (folder / "references.bib").read_text("utf-8")
