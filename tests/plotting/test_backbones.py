from dataclasses import replace

from tests.evaluation.probing.test_backbone_search import SEARCH

from tlkit import plotting


def test_the_chart_shows_every_depth_by_time_and_size() -> None:
    figure = plotting.backbone_chart(replace(SEARCH, max_ms=7.0))
    by_time, by_size = figure.axes
    places = {
        (float(x), float(y))
        for line in by_time.lines
        if line.get_marker() == "o"
        for x, y in line.get_xydata()
    }
    assert {(row.milliseconds, 100 * row.accuracy) for row in SEARCH.rows} <= places
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named[:2] == ["best", "close"]
    assert named[-4:] == ["32 px", "Pareto front", "recommended", "limit"]
    assert by_size.get_xlabel() == "megabytes of weights"
    assert plotting.backbone_chart(replace(SEARCH, max_ms=0.1)).axes  # nothing is recommended
