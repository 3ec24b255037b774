"""Format what `cluster.py` measured for its page."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tlkit._internal import system
from tlkit._internal.text import byte_size

Row = dict[str, Any]

FASTEST = 0.1  # of the parts: other programs slow down the rest, by the caches that they share


def render(rows: Row) -> str:
    """Return the text between the page's marks."""
    parts = (
        [f"Measured on {system.count_cores()} cores of this processor: {system.processor()}."],
        format_kills(rows["kills"]),
        format_rest(rows["kills"]),
        format_compared(rows["compared"]),
        format_heads(rows["compared"]["heads"]),
        format_measured(rows["measured"]),
    )
    return "\n".join(line for part in parts for line in (*part, ""))


def format_kills(kills: Row) -> Iterator[str]:
    """Yield a row for each kill."""
    yield f"| killed | finished parts of {kills['parts']} |"
    yield "|---|---:|"
    victims = {"driver": "driver", "worker": "a worker"}
    for kill in kills["killed"]:
        yield f"| {victims[kill['victim']]} | {kill['finished']} |"


def format_rest(kills: Row) -> Iterator[str]:
    """Yield a sentence about finished files, and about the processes of killed drivers."""
    yield (
        f"{kills['rewritten']} of {kills['parts']} finished files were lost or written again. "
        f"{len(kills['temporary'])} temporary files were left in the folder. Of {kills['orphans']} "
        f"processes that killed drivers had started, {kills['alive']} were left."
    )


def format_compared(compared: Row) -> Iterator[str]:
    """Yield a row for each column of the files of features."""
    yield f"| | of {compared['images']:,} images, differ from one machine |"
    yield "|---|---:|"
    for name in ("digests", "labels", "features"):
        yield f"| {name} | {compared['different'][name]:,} |"


def format_heads(heads: Row) -> Iterator[str]:
    """Yield a row for each solved variable."""
    yield "| head | largest weight | largest difference from one machine | relative to it |"
    yield "|---|---:|---:|---:|"
    for name, head in heads.items():
        largest, difference = head["largest"], head["difference"]
        yield f"| {name} | {largest:.2g} | {difference:.0e} | {difference / largest:.0e} |"


def format_measured(measured: Sequence[Row]) -> Iterator[str]:
    """Yield a row for each number of images, over all rounds."""
    yield (
        "| images | in a part | peak memory of a worker | of the driver | processor time "
        "for an image | of a worker's start | of the driver |"
    )
    yield "|---:|---:|---:|---:|---:|---:|---:|"
    for count, rows in dict.fromkeys((each["count"], each["rows"]) for each in measured):
        own = [each for each in measured if (each["count"], each["rows"]) == (count, rows)]
        found = [summarize(each) for each in own]
        peak, driver = (max(each[name] for each in found) for name in ("peak", "driver_peak"))
        image, start, rest = (
            statistics.median(each[name] for each in found)
            for name in ("image_seconds", "start_seconds", "driver_seconds")
        )
        yield (
            f"| {count:,} | {rows:,} | {byte_size(peak)} | {byte_size(driver)} | "
            f"{1000 * image:.2f} ms | {start:.1f} s | {rest:.1f} s |"
        )


def summarize(measured: Row) -> Row:
    """Return the use of a run; a worker's first part, which prepares the engine, is its start."""
    first: dict[str, Row] = {}
    later = []
    for report in measured["reports"]:
        if report["worker"] in first:
            later.append(report["cpu_seconds"] / report["images"])
        else:
            first[report["worker"]] = report
    image = float(np.quantile(later, FASTEST))
    starts = [each["process_seconds"] - each["images"] * image for each in first.values()]
    return {
        "peak": max(max(each.get("peak_bytes", 0), each["bytes"]) for each in measured["reports"]),
        "image_seconds": image,
        "start_seconds": statistics.median(starts),
        "driver_peak": measured["driver"]["peak_bytes"],
        "driver_seconds": measured["driver"]["process_seconds"],
    }
