"""What a terminal is shown of figures: tables by rich; elsewhere the plain lines."""

import rich.console
import rich.table

from tlkit.evaluation.metrics import Evaluation
from tlkit.evaluation.probing.result import Probe, said


def show(console: rich.console.Console, value: object) -> None:
    """Write a value as `print` does, or where there is a terminal what is a table in it as one.

    Args:
        console: Where to write.
        value: A line, or anything that `print` shows.
    """
    if not console.is_terminal or not isinstance(value, Evaluation | Probe):
        console.print(str(value))
        return
    head, table = _scores(value) if isinstance(value, Evaluation) else _readings(value)
    console.print(head)
    console.print(table)


def _scores(value: Evaluation) -> tuple[str, rich.table.Table]:
    table = _table("class", "precision", "recall", "F1", "images")
    for score, values in value.defined():
        cells = ("-" if each is None else f"{each:.3f}" for each in values)
        table.add_row(score.name, *cells, f"{score.support:,}")
    return value.summary(), table


def _readings(value: Probe) -> tuple[str, rich.table.Table]:
    table = _table("layer", "pooling", "features", "million multiply-adds", "weights", "accuracy")
    for reading in value.readings:
        mark = {value.best: " best", value.chosen: " chosen"}.get(reading, "")
        table.add_row(
            f"{reading.layer}{mark}",
            said(reading.pooling),
            f"{reading.size:,}",
            f"{reading.work / 1e6:.2f}",
            f"{reading.weights:,}",
            f"{100 * reading.accuracy:.2f} %",
            style="bold" if mark else None,
        )
    return value.summary(), table


def _table(first: str, *others: str) -> rich.table.Table:
    table = rich.table.Table(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
