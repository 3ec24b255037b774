"""The results of a comparison of backbones by accuracy, time and size, and the recommended one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import rich.console

from tlkit._internal import text
from tlkit._internal.html import render_html
from tlkit._internal.tables import build_table, render_text
from tlkit.evaluation.probing.result import pooling_name
from tlkit.models.feature_extraction import Pooling

_SAME_TIME = 1.1
"""Times that differ by less than this factor count as equal: timing is not more precise."""

_BEHIND = "behind: points of accuracy less than the best, ± one standard error of the difference"
_CLEARLY_CHEAPER = 0.7  # times the cost of the row above; otherwise a table has too many rows


@dataclass(frozen=True, kw_only=True)
class ProbedBackbone:
    """A linear head at one layer of one backbone, for images of one size.

    Attributes:
        candidate: The backbone with its options, as text for `--backbones`.
        backbone: The backbone's name.
        options: The options of its constructor.
        weights: Its weights, as for `BackboneCandidate`.
        image_size: Height and width of its images in pixels.
        layer: The layer that the backbone ends with, which the head reads.
        pooling: How its maps become features.
        num_parameters: Parameters of the backbone up to this layer, and of the head.
        accuracy: The share of training images classified correctly by heads not fitted to them.
        interval: The 95 % interval of the accuracy.
        milliseconds: The time per image, from pixels to probabilities.
        pixels: The pixels that the backbone takes, if they were named.
        num_prefix_tokens: The number of tokens before the patches, if it was set.
        behind: The accuracy of the best row within the limits, minus this accuracy.
        behind_error: The standard error of that difference, measured on the same images.
    """

    candidate: str
    backbone: str
    options: Mapping[str, Any]
    weights: str | None
    image_size: int | tuple[int, int]
    layer: str
    pooling: Pooling
    num_parameters: int
    accuracy: float
    interval: tuple[float, float]
    milliseconds: float
    pixels: str | None = None
    num_prefix_tokens: int | None = None
    behind: float = 0.0
    behind_error: float = 0.0

    @property
    def megabytes(self) -> float:
        """The weights in float32, in millions of bytes."""
        return 4 * self.num_parameters / 1e6

    @property
    def size_name(self) -> str:
        """The image size as text: "96", or "96x128" for height and width."""
        pair = isinstance(self.image_size, tuple)
        return "x".join(map(str, self.image_size)) if pair else str(self.image_size)  # type: ignore[arg-type]

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of `build_classifier` that build its classifier, with an untrained head."""
        return {
            "backbone": self.backbone,
            "backbone_options": dict(self.options),
            "weights": self.weights,
            "pixels": self.pixels,
            "num_prefix_tokens": self.num_prefix_tokens,
            "image_size": self.image_size,
            "features": (self.layer,),
            "pooling": self.pooling,
        }

    def describe(self) -> str:
        """Return the backbone, its image size and the layer that it ends with, as text."""
        return f"{self.candidate} at {self.size_name} px, after {self.layer}"


@dataclass(frozen=True, kw_only=True)
class LeftOutBackbone:
    """A backbone that could not be measured.

    Attributes:
        candidate: The backbone with its options, and the image size if the reason depends on it.
        reason: Why it could not be measured.
    """

    candidate: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class BackboneSearch:
    """Backbones, image sizes and depths compared; `print(search)` shows a table.

    Attributes:
        rows: The depths of every backbone and image size that were worth timing.
        left_out: The backbones that could not be measured.
        num_images: The number of training images that all of them were measured on.
        engine: The engine that times were measured with.
        batch_size: Images in a batch when times were measured.
        max_ms: The limit on milliseconds per image; None if there was none.
        max_mb: The limit on megabytes of weights; None if there was none.
        seconds: How long the comparison took.
    """

    rows: tuple[ProbedBackbone, ...]
    left_out: tuple[LeftOutBackbone, ...]
    num_images: int
    engine: str
    batch_size: int
    max_ms: float | None
    max_mb: float | None
    seconds: float

    @property
    def allowed(self) -> tuple[ProbedBackbone, ...]:
        """The rows within the limits."""
        return within_limits(self.rows, self.max_ms, self.max_mb)

    @property
    def best(self) -> ProbedBackbone:
        """The most accurate row within the limits, or of all rows if no row is within them."""
        return find_best(self.allowed or self.rows)

    # The rule of choice (docs/decisions/0020). A row is not measurably worse than the best if it is
    # behind by at most one standard error of the difference, measured on the same images: the one
    # standard error rule of Breiman and others (1984), but with a paired error, which is smaller.
    # The fastest of these rows is recommended. Times within a tenth of it count as equal, and then
    # the smallest of the equally fast rows is recommended.
    @property
    def recommended(self) -> ProbedBackbone | None:
        """The fastest row not measurably worse than the best; None if no row is within limits."""
        good = [row for row in self.allowed if row.behind <= row.behind_error]
        if not good:
            return None
        most = _SAME_TIME * min(row.milliseconds for row in good)
        fast = [row for row in good if row.milliseconds <= most]
        return min(fast, key=lambda row: (row.num_parameters, row.milliseconds))

    @property
    def fronts(self) -> tuple[tuple[ProbedBackbone, ...], tuple[ProbedBackbone, ...]]:
        """The Pareto fronts by milliseconds and by megabytes."""
        return (
            pareto_front(self.rows, milliseconds),
            pareto_front(self.rows, megabytes),
        )

    @property
    def shown(self) -> tuple[ProbedBackbone, ...]:
        """The rows of the table, by time: the best of each backbone and size, and parts of fronts.

        A row of a front is left out if the next one shown costs hardly more.
        """
        pairs = {(row.candidate, row.image_size) for row in self.rows}
        best = [
            find_best([row for row in self.rows if (row.candidate, row.image_size) == pair])
            for pair in pairs
        ]
        thinned = [_thin(pareto_front(self.rows, cost), cost) for cost in (milliseconds, megabytes)]
        picked = {id(row) for row in (*thinned[0], *thinned[1], *best, self.recommended)}
        rows = (row for row in self.rows if id(row) in picked)
        return tuple(sorted(rows, key=milliseconds))

    def note(self, row: ProbedBackbone) -> str:
        """Return the remarks on a row of the table, such as "recommended"."""
        by_time, by_size = self.fronts
        notes = {
            "recommended": row is self.recommended,
            "best": row is self.best,
            "front: ms": row in by_time,
            "front: MB": row in by_size,
            "above the limit": row not in self.allowed,
        }
        return ", ".join(name for name, holds in notes.items() if holds)

    def explain(self) -> str:
        """Return the recommendation and its reason, in plain sentences."""
        chosen, best = self.recommended, self.best
        if chosen is None:
            return self._explain_none()
        cost = f"{chosen.milliseconds:.2f} ms an image, {chosen.megabytes:.2f} MB"
        limits = " and ".join(self._limits())
        lines = [
            f"Recommended{f' under {limits}' if limits else ''}: {chosen.describe()}: "
            f"{self.percent(chosen.accuracy)}, {cost}."
        ]
        if chosen is best:
            lines.append("It is the most accurate, and all faster ones are measurably worse.")
        else:
            lines.append(
                f"The most accurate, {best.describe()}, is not measurably better: "
                f"{self.percent(best.accuracy)}, {100 * chosen.behind:.1f} points ahead with a "
                f"standard error of {100 * chosen.behind_error:.1f}, at "
                f"{best.milliseconds:.2f} ms and {best.megabytes:.2f} MB."
            )
        return " ".join(lines)

    def _limits(self) -> list[str]:
        ms = [] if self.max_ms is None else [f"{self.max_ms:g} ms an image"]
        return ms + ([] if self.max_mb is None else [f"{self.max_mb:g} MB"])

    def _explain_none(self) -> str:
        fastest, smallest = min(self.rows, key=milliseconds), min(self.rows, key=megabytes)
        return (
            f"No backbone is within {' and '.join(self._limits())}. The fastest is "
            f"{fastest.describe()}: {fastest.milliseconds:.2f} ms an image. The smallest is "
            f"{smallest.describe()}: {smallest.megabytes:.2f} MB. Raise the limit, or add a "
            "smaller backbone or image size."
        )

    def percent(self, share: float) -> str:
        """Return a share in percent, as precisely as it was measured."""
        return text.percent(share, of=self.num_images)

    def summary(self) -> str:
        """Return how backbones were compared, in a line."""
        batches = "one image" if self.batch_size == 1 else f"{self.batch_size} images"
        return (
            f"ridge heads on {self.num_images:,} training images, each scored by a head not "
            f"fitted to it; times of batches of {batches} by {self.engine}; "
            f"{text.duration(self.seconds)}"
        )

    def __rich__(self) -> rich.console.RenderableType:
        columns = (
            *("backbone", "px", "layer", "pooling", "accuracy", "95 % interval", "behind"),
            *("ms", "MB", ""),
        )
        rows = [
            (
                row.candidate,
                row.size_name,
                row.layer,
                pooling_name(row.pooling),
                self.percent(row.accuracy),
                text.interval(row.interval, of=self.num_images),
                f"{100 * row.behind:.1f} ± {100 * row.behind_error:.1f}",
                f"{row.milliseconds:.2f}",
                f"{row.megabytes:.2f}",
                self.note(row),
            )
            for row in self.shown
        ]
        lines = [f"left out: {each.candidate}: {each.reason}" for each in self.left_out]
        table = build_table(columns, rows, align="lrllrrrrrl", bars=("accuracy",))
        return rich.console.Group(self.summary(), table, _BEHIND, *lines, self.explain())

    def __str__(self) -> str:
        return render_text(self)

    def _repr_html_(self) -> str:
        return render_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and the recommendation as values that JSON can hold."""
        by_time, by_size = self.fronts
        more = [
            {
                "megabytes": row.megabytes,
                "front_ms": row in by_time,
                "front_mb": row in by_size,
                "recommended": row is self.recommended,
            }
            for row in self.rows
        ]
        rows = [asdict(row) | extra for row, extra in zip(self.rows, more, strict=True)]
        return {**asdict(self), "rows": rows, "explanation": self.explain()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "BackboneSearch":
        """Return the search with these values, the inverse of `to_dict`."""
        names = ProbedBackbone.__dataclass_fields__
        rows = [{name: _as_tuple(row[name]) for name in names} for row in values["rows"]]
        known = {name: values[name] for name in cls.__dataclass_fields__}
        return cls(
            **{
                **known,
                "rows": tuple(ProbedBackbone(**row) for row in rows),
                "left_out": tuple(LeftOutBackbone(**each) for each in values["left_out"]),
            }
        )


def milliseconds(row: ProbedBackbone) -> float:
    """Return the time of a row, as a cost."""
    return row.milliseconds


def megabytes(row: ProbedBackbone) -> float:
    """Return the size of a row, as a cost."""
    return row.megabytes


def pareto_front(
    rows: Sequence[ProbedBackbone], cost: Callable[[ProbedBackbone], float]
) -> tuple[ProbedBackbone, ...]:
    """Return the Pareto front by cost: rows more accurate than all others that cost no more."""
    found: list[ProbedBackbone] = []
    for row in sorted(rows, key=lambda row: (cost(row), -row.accuracy)):
        if not found or row.accuracy > found[-1].accuracy:
            found.append(row)
    return tuple(found)


def _thin(
    front: Sequence[ProbedBackbone], cost: Callable[[ProbedBackbone], float]
) -> list[ProbedBackbone]:
    """Return rows of a front, last first, each clearly cheaper than the row before."""
    kept: list[ProbedBackbone] = []
    for row in reversed(front):
        if not kept or cost(row) <= _CLEARLY_CHEAPER * cost(kept[-1]):
            kept.append(row)
    return kept


def within_limits(
    rows: Sequence[ProbedBackbone], max_ms: float | None, max_mb: float | None
) -> tuple[ProbedBackbone, ...]:
    """Return the rows within both limits."""
    return tuple(
        row
        for row in rows
        if (max_ms is None or row.milliseconds <= max_ms)
        and (max_mb is None or row.megabytes <= max_mb)
    )


def find_best(rows: Sequence[ProbedBackbone]) -> ProbedBackbone:
    """Return the most accurate row; if several are equal, the fastest of them."""
    return max(rows, key=lambda row: (row.accuracy, -row.milliseconds))


def with_difference(row: ProbedBackbone, behind: float, error: float) -> ProbedBackbone:
    """Return a row with its difference from the best row, and the standard error of it."""
    return replace(row, behind=behind, behind_error=error)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
