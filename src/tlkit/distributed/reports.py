"""Collect what workers report about the parts that they have finished."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tlkit._internal.text import join_first
from tlkit.data.image_dataset import Problem
from tlkit.distributed.feature_set import FeatureSet, WorkerUse
from tlkit.errors import Argument, DataError, TlkitError

Meter = Callable[[int, int], None]
"""A function that is called with the number of images done, and of all images."""


@dataclass(kw_only=True, eq=False)
class Reports:
    """The reports of workers, in the order of the manifest.

    Attributes:
        reports: The report of each part.
    """

    reports: list[dict[str, Any]]

    def summarize(self, **about: Any) -> FeatureSet:
        """Return the features that were extracted, and how.

        Args:
            about: The other fields of `FeatureSet`.
        """
        counts: dict[str, int] = {}
        for report in self.reports:
            for label, count in report["labels"].items():
                counts[label] = counts.get(label, 0) + count
        return FeatureSet(
            files=tuple(report["file"] for report in self.reports),
            num_images=sum(report["images"] for report in self.reports),
            num_computed=sum(report["computed"] for report in self.reports),
            read_bytes=sum(report["read_bytes"] for report in self.reports),
            class_counts=counts,
            problems=tuple(
                Problem(path=path, reason=reason)
                for report in self.reports
                for path, reason in report["problems"]
            ),
            workers=self._measure_workers(),
            **about,
        )

    def _measure_workers(self) -> tuple[WorkerUse, ...]:
        grouped: dict[str, list[dict[str, Any]]] = {}
        for report in self.reports:
            grouped.setdefault(report["worker"], []).append(report)
        return tuple(
            WorkerUse(
                name=name,
                images=sum(report["images"] for report in own),
                seconds=sum(report["seconds"] for report in own),
                cpu_seconds=sum(report["cpu_seconds"] for report in own),
                peak_bytes=max(report["bytes"] for report in own),
            )
            for name, own in sorted(grouped.items())
        )


def collect(
    reports: Iterator[dict[str, Any]], *, total: int, max_unreadable: float, on_progress: Meter
) -> Reports:
    """Return the reports of all parts, in the order of the manifest.

    Args:
        reports: The reports, in the order in which parts are finished.
        total: The number of images.
        max_unreadable: The largest share of unreadable images.
        on_progress: Is called after each part.

    Raises:
        DataError: The share of unreadable images is above `max_unreadable`.
        TlkitError: A worker has failed.
    """
    found: list[dict[str, Any]] = []
    done, problems = 0, list[Problem]()
    for report in reports:
        _raise_error(report)
        found.append(report)
        done += report["images"] + len(report["problems"])
        problems += [Problem(path=path, reason=reason) for path, reason in report["problems"]]
        on_progress(done, total)
        if len(problems) > max_unreadable * total:
            raise DataError(
                f"At most {100 * max_unreadable:g} % of the images may be unreadable, got "
                f"{len(problems):,} among the first {done:,} of {total:,}: "
                f"{join_first(problems, limit=10, separator='; ')}. To accept more, raise ",
                Argument("max_unreadable"),
                ".",
            )
    return Reports(reports=sorted(found, key=lambda report: report["part"]))


def _raise_error(report: dict[str, Any]) -> None:
    if "error" in report:
        kind = getattr(importlib.import_module("tlkit.errors"), report["error"], TlkitError)
        raise kind(f"{report['message']} (worker {report['worker']})")
