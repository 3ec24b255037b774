import re
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure
from tests.reports.example import facts, outcome

from tlkit.reports import render
from tlkit.reports.portfolio import describe_task, list_numbers


def test_a_portfolio_has_a_task_one_figure_and_three_numbers(tmp_path: Path) -> None:
    report = facts(outcome(names=("cat", "dog"))[2])
    with_picture = replace(report, figures={**report.figures, "portfolio": Figure((1, 1))})
    render.write(tmp_path, with_picture)
    page = (tmp_path / "portfolio.md").read_text("utf-8")
    assert "Distinguishes 2 classes of images: cat and dog; MobileNetV2, trained on 600" in page
    [picture] = re.findall(r"\]\((.*?\.png)\)", page)
    assert (tmp_path / picture).is_file()
    assert len(re.findall(r"^\| .* \d", page, flags=re.M)) == 3
    assert f"{100 * report.evaluation.accuracy:.1f} %" in page
    assert "portfolio.png" not in (tmp_path / "report.md").read_text("utf-8")
    assert "](portfolio.png)" not in render._fill("portfolio.md.j2", report, escape=str)


def test_many_classes_are_counted_and_not_named() -> None:
    evaluation = outcome(names=tuple(f"class {number}" for number in range(11)))[2]
    task = describe_task(evaluation, backbone="resnet50", num_training=1)
    assert task == "Distinguishes 11 classes of images; ResNet50, trained on one image."
    assert list_numbers(evaluation, 61)["training time"] == "1 min 1 s"
